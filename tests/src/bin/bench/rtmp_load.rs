//! Many publishers at once, in a process of their own so that their cost is not counted: `bench rtmp-load …`.
//!
//! They replay the tags of one real encode. Each message is cut into chunks of 4096 bytes (what OBS sends) once for
//! all; only its time is written anew. What the other end says is read and forgotten.

use std::io::BufRead;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sightline_tests::flv::Clip;
use sightline_tests::peer::{Chunks, Peer};
use sightline_tests::process::Process;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep_until};

const NAME: &str = "rtmp-load";
const READY: &str = "ready";
const CHUNK_BYTES: u32 = 4096;
const FRAME: Duration = Duration::from_millis(40);
/// Two whole groups of pictures.
const CLIP_SECONDS: u32 = 4;

/// What is sent, and where to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Host and port.
    pub(crate) address: String,
    /// How many publishers; number 7 publishes `s7?key=KEY`.
    pub(crate) publishers: u32,
    /// The key of all streams.
    pub(crate) key: String,
    /// Of each publisher.
    pub(crate) kbps: u32,
    /// Width and height of the pictures.
    pub(crate) size: (u32, u32),
    /// How long.
    pub(crate) seconds: u32,
}

/// What was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Pictures, by publisher.
    pub(crate) pictures: Vec<u64>,
    /// Bytes of RTMP, all publishers together.
    pub(crate) bytes: u64,
    /// Publishers that were let go before their end.
    pub(crate) dropped: usize,
    /// How late the latest picture was written: more than a little means that this machine cannot make the load.
    pub(crate) latest_ms: f64,
    /// From the first to the last byte.
    pub(crate) took_s: f64,
}

/// The load that the command line asks for, if it does.
pub(crate) fn asked_for() -> Option<Result<Load>> {
    let mut arguments = std::env::args().skip(1);
    let load = (arguments.next()? == NAME).then(|| arguments.next())?;
    Some(load.context("what to send").and_then(|json| Ok(serde_json::from_str(&json)?)))
}

/// A process that has connected all its publishers.
#[derive(Debug)]
pub(crate) struct Ready {
    process: Process,
    seconds: u32,
}

impl Load {
    /// Starts the process and waits until all publishers may publish.
    pub(crate) fn connect(&self) -> Result<Ready> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = Process::start(command.args([NAME, &serde_json::to_string(self)?]))?;
        process.wait_for_line("publishers", |line| (line == READY).then_some(()))?;
        Ok(Ready { process, seconds: self.seconds })
    }

    /// The process' own part.
    pub(crate) fn run(&self) -> Result<()> {
        let clip = Clip::encode(CLIP_SECONDS, self.kbps, self.size, false)?;
        let chunks = Chunks { size: CHUNK_BYTES as usize };
        let messages: Vec<Message> = clip
            .tags
            .iter()
            .map(|tag| Message {
                time_ms: tag.time_ms,
                once: !tag.is_picture(),
                bytes: chunks.tag(tag).concat().into(),
            })
            .collect();
        let script = Arc::new(Script { messages, duration_ms: clip.duration_ms });
        let sockets = (0..self.publishers).map(|number| {
            let mut peer = Peer::publish_to(&self.address, &format!("s{number}?key={}", self.key))?;
            peer.set_chunk_size(CHUNK_BYTES)?;
            let socket = peer.into_socket();
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        let sockets: Vec<std::net::TcpStream> = sockets.collect::<Result<_>>()?;
        let mut input = std::io::stdin().lock().lines();
        println!("{READY}");
        input.next().transpose()?;
        let sent = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(self.publish(sockets, &script, move || input.next()))?;
        ensure!(sent.pictures.len() == self.publishers as usize, "publishers are missing");
        Ok(())
    }

    /// Publishes, tells what was sent, and keeps the connections until `wait` returns.
    async fn publish<T>(
        &self,
        sockets: Vec<std::net::TcpStream>,
        script: &Arc<Script>,
        wait: impl FnOnce() -> T,
    ) -> Result<Sent> {
        let started = Instant::now();
        let until = started + Duration::from_secs(self.seconds.into());
        let publishers: Vec<_> = sockets
            .into_iter()
            .enumerate()
            .map(|(number, socket)| {
                // Not all at the same moment, like encoders that know nothing of each other.
                let begin = started + FRAME * number as u32 / self.publishers;
                tokio::spawn(publish(socket, Arc::clone(script), begin, until))
            })
            .collect();
        let mut sent = Sent { pictures: vec![], bytes: 0, dropped: 0, latest_ms: 0.0, took_s: 0.0 };
        let mut open = vec![];
        for publisher in publishers {
            let told = publisher.await??;
            sent.pictures.push(told.pictures);
            sent.bytes += told.bytes;
            sent.dropped += usize::from(told.dropped);
            sent.latest_ms = sent.latest_ms.max(told.latest.as_secs_f64() * 1000.0);
            open.push(told.socket);
        }
        sent.took_s = started.elapsed().as_secs_f64();
        println!("{}", serde_json::to_string(&sent)?);
        wait();
        Ok(sent)
    }
}

/// A message with its chunk headers.
#[derive(Debug)]
struct Message {
    time_ms: u32,
    /// What is not repeated: metadata and sequence headers.
    once: bool,
    bytes: Bytes,
}

#[derive(Debug)]
struct Script {
    messages: Vec<Message>,
    duration_ms: u32,
}

struct Told {
    socket: tokio::net::TcpStream,
    pictures: u64,
    bytes: u64,
    dropped: bool,
    latest: Duration,
}

async fn publish(
    socket: std::net::TcpStream,
    script: Arc<Script>,
    begin: Instant,
    until: Instant,
) -> Result<Told> {
    let mut socket = tokio::net::TcpStream::from_std(socket)?;
    let (mut pictures, mut bytes, mut latest) = (0, 0, Duration::ZERO);
    let mut said = [0; 1024];
    let mut dropped = false;
    let all = script.messages.len() as u32;
    for number in 0.. {
        let (round, message) = (number / all, &script.messages[(number % all) as usize]);
        if round > 0 && message.once {
            continue;
        }
        let time_ms = message.time_ms + round * script.duration_ms;
        let due = begin + Duration::from_millis(time_ms.into());
        if due >= until {
            break;
        }
        sleep_until(due).await;
        latest = latest.max(due.elapsed());
        // Type, message stream and length stay; the time stands behind the first byte, in three.
        let mut header = [0; 4];
        header.copy_from_slice(&message.bytes[..4]);
        header[1..].copy_from_slice(&time_ms.to_be_bytes()[1..]);
        let mut whole = bytes::Buf::chain(&header[..], &message.bytes[4..]);
        if socket.write_all_buf(&mut whole).await.is_err() {
            dropped = true;
            break;
        }
        pictures += u64::from(!message.once);
        bytes += message.bytes.len() as u64;
        // What it says, such as acknowledgements, is read and forgotten.
        dropped = loop {
            match socket.try_read(&mut said) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() != std::io::ErrorKind::WouldBlock,
            }
        };
        if dropped {
            break;
        }
    }
    Ok(Told { socket, pictures, bytes, dropped, latest })
}

impl Ready {
    /// Sends all, and tells what was sent; the connections stay open until this is dropped.
    pub(crate) fn send(&mut self) -> Result<Sent> {
        use std::io::Write;
        let input = self.process.stdin.as_mut().context("an input")?;
        input.write_all(b"go\n")?;
        std::thread::sleep(Duration::from_secs(self.seconds.into()));
        self.process.wait_for_line("what was sent", |line| serde_json::from_str(line).ok())
    }
}
