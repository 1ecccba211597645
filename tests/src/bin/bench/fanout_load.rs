//! What `fanout` measures with, in processes of their own so that their cost is not counted: many viewers that only read, and
//! the floor, a program that writes the same bytes at the same pace to as many sockets with `writev` and does nothing else.
//!
//! Each is started with its part as JSON, says `ready`, begins at `go`, and at `stop` tells what it saw.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{cell::RefCell, rc::Rc, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sightline_tests::process::Process;
use sightline_wire::{HEADER_LEN, Header, Kind, frame_head};
use socket2::{Domain, Socket, Type};

const NAME: &str = "fanout-load";
const READY: &str = "ready";
const FRAME: Duration = Duration::from_millis(40);
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];
/// As the proxy sets it.
const NOTSENT_LOWAT: u32 = 128 * 1024;
/// `moof` and the header of `mdat`, in bytes.
const OVERHEAD: usize = 112;
/// How often a slow reader reads.
const SIP: Duration = Duration::from_millis(100);

/// What a process does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Part {
    /// Reads as so many viewers.
    Readers {
        /// Host and port.
        address: String,
        /// Streams, each with its viewers.
        streams: Vec<(String, u32)>,
        /// Reads no more than so many bytes a second, with the smallest receive buffer.
        bytes_per_second: Option<u32>,
    },
    /// Writes frames of these payload sizes, over and over, to so many sockets.
    Floor {
        /// Sockets.
        viewers: u32,
        /// Bytes of each frame.
        sizes: Vec<usize>,
    },
    /// Hands what a floor writes on to one viewer, and does nothing else.
    Relay {
        /// Where the floor listens.
        address: String,
    },
}

/// What was seen between `go` and `stop`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Bytes.
    pub(crate) bytes: u64,
    /// Connections that ended.
    pub(crate) ended: u32,
    /// By number of stream and sequence: how many viewers had it, and when the first and the last of them (microseconds
    /// since 1970).
    pub(crate) frames: Vec<(u32, u32, u32, i64, i64)>,
    /// By the floor: when it began to write each frame (microseconds since 1970).
    pub(crate) sent_us: Vec<i64>,
}

impl Seen {
    /// How long each frame that all viewers have seen took to the last of them, in milliseconds, where they were sent at
    /// these times.
    pub(crate) fn took_ms(&self, sent_us: &[i64], viewers: u32) -> Vec<f64> {
        let whole = self.frames.iter().filter(|frame| frame.2 == viewers);
        whole
            .filter_map(|(_, sequence, _, _, last)| {
                Some((last - sent_us.get(*sequence as usize)?) as f64 / 1e3)
            })
            .collect()
    }
}

/// The part that the command line asks for, if it does.
pub(crate) fn asked_for() -> Option<Result<Part>> {
    let mut arguments = std::env::args().skip(1);
    let part = (arguments.next()? == NAME).then(|| arguments.next())?;
    Some(part.context("which part").and_then(|json| Ok(serde_json::from_str(&json)?)))
}

/// A running part.
#[derive(Debug)]
pub(crate) struct Running {
    process: Process,
    /// Where the floor listens.
    pub(crate) address: String,
}

impl Running {
    /// Has it begin.
    pub(crate) fn go(&mut self) -> Result<()> {
        self.say("go")
    }

    /// Has it end, and gives what it saw.
    pub(crate) fn stop(mut self) -> Result<Seen> {
        self.say("stop")?;
        self.process.wait_for_line("what was seen", |line| serde_json::from_str(line).ok())
    }

    /// Waits until all viewers have something.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        self.process.wait_for_line("ready", |line| (line == READY).then_some(()))
    }

    /// Processor time it has used, in hundredths of a second.
    pub(crate) fn cpu_ticks(&self) -> Result<u64> {
        self.process.cpu_ticks()
    }

    fn say(&mut self, word: &str) -> Result<()> {
        let input = self.process.stdin.as_mut().context("an input")?;
        Ok(writeln!(input, "{word}")?)
    }
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

impl Part {
    /// Starts it.
    pub(crate) fn start(&self) -> Result<Running> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = Process::start(command.args([NAME, &serde_json::to_string(self)?]))?;
        let address = match self {
            Self::Readers { .. } => String::new(),
            Self::Floor { .. } | Self::Relay { .. } => {
                process.wait_for_line("an address", |line| line.strip_prefix("at ").map(str::to_owned))?
            }
        };
        Ok(Running { process, address })
    }

    /// The process' own part.
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Readers { address, streams, bytes_per_second } => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let set = tokio::task::LocalSet::new();
                let seen = set.block_on(&runtime, read_all(&address, &streams, bytes_per_second))?;
                println!("{}", serde_json::to_string(&seen)?);
                Ok(())
            }
            Self::Floor { viewers, sizes } => floor(viewers, &sizes),
            Self::Relay { address } => relay(&address),
        }
    }
}

/// What the parent says, a word a line.
fn words() -> tokio::sync::mpsc::UnboundedReceiver<String> {
    let (told, words) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = told.send(line);
        }
    });
    words
}

#[derive(Default)]
struct Sights {
    recording: bool,
    bytes: u64,
    ended: u32,
    begun: u32,
    frames: BTreeMap<(u32, u32), (u32, i64, i64)>,
}

async fn read_all(address: &str, streams: &[(String, u32)], rate: Option<u32>) -> Result<Seen> {
    let mut words = words();
    let sights = Rc::new(RefCell::new(Sights::default()));
    let address: SocketAddr = address.parse()?;
    let mut all = 0;
    for (stream, viewers) in streams {
        for _ in 0..*viewers {
            let socket = connect(address, stream, rate.is_some())?;
            let sights = Rc::clone(&sights);
            tokio::task::spawn_local(async move {
                let _ = read(socket, rate, &sights).await;
                sights.borrow_mut().ended += 1;
            });
            all += 1;
            // Whoever is connected already reads meanwhile.
            tokio::task::yield_now().await;
        }
    }
    while sights.borrow().begun < all {
        ensure!(sights.borrow().ended == 0, "a viewer was refused, or let go");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("{READY}");
    while let Some(word) = words.recv().await {
        let mut sights = sights.borrow_mut();
        if word == "go" {
            sights.recording = true;
            continue;
        }
        let frames = std::mem::take(&mut sights.frames);
        let frames = frames.into_iter().map(|((n, s), (count, first, last))| (n, s, count, first, last));
        return Ok(Seen {
            bytes: sights.bytes,
            ended: sights.ended,
            frames: frames.collect(),
            sent_us: vec![],
        });
    }
    bail!("nobody said stop")
}

fn connect(address: SocketAddr, stream: &str, slow: bool) -> Result<tokio::net::TcpStream> {
    let socket = handshake(address, stream, slow)?;
    socket.set_nonblocking(true)?;
    Ok(tokio::net::TcpStream::from_std(socket)?)
}

fn handshake(address: SocketAddr, stream: &str, slow: bool) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if slow {
        socket.set_recv_buffer_size(4096)?;
    }
    socket.connect(&address.into())?;
    let mut socket = TcpStream::from(socket);
    write!(
        socket,
        "GET /ws?stream={stream} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    ensure!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    Ok(socket)
}

async fn read(socket: tokio::net::TcpStream, rate: Option<u32>, sights: &RefCell<Sights>) -> Result<()> {
    let mut bytes = vec![0; rate.map_or(16 * 1024, |rate| rate as usize / 10)];
    let mut frames = Frames::default();
    let mut begun = false;
    loop {
        if rate.is_some() {
            tokio::time::sleep(SIP).await;
        }
        socket.readable().await?;
        let len = match socket.try_read(&mut bytes) {
            Ok(0) => bail!("ended"),
            Ok(len) => len,
            Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
            Err(e) => return Err(e.into()),
        };
        let mut sights = sights.borrow_mut();
        if sights.recording {
            sights.bytes += len as u64;
        }
        frames.take(&bytes[..len], |event| match event {
            Event::Ping => drop(socket.try_write(&PONG)),
            Event::Media(header) => {
                sights.begun += u32::from(!std::mem::replace(&mut begun, true));
                if sights.recording {
                    let now = now_us();
                    let seen = sights.frames.entry((header.number, header.sequence)).or_insert((0, now, now));
                    (seen.0, seen.2) = (seen.0 + 1, now);
                }
            }
        });
    }
}

enum Event {
    Ping,
    /// All of a fragment has come.
    Media(Header),
}

/// Finds the ends of WebSocket frames, and keeps nothing but their heads.
#[derive(Default)]
struct Frames {
    head: Vec<u8>,
    /// What is still to come of the frame, and its header.
    rest: Option<(usize, Option<Header>)>,
}

impl Frames {
    fn take(&mut self, mut bytes: &[u8], mut event: impl FnMut(Event)) {
        loop {
            if let Some((rest, header)) = &mut self.rest {
                let skipped = bytes.len().min(*rest);
                *rest -= skipped;
                bytes = &bytes[skipped..];
                if *rest > 0 {
                    return;
                }
                if let Some(header) = header {
                    event(Event::Media(*header));
                }
                self.rest = None;
            }
            let Some((byte, behind)) = bytes.split_first() else { return };
            self.head.push(*byte);
            bytes = behind;
            let [first, second, extended @ ..] = &self.head[..] else { continue };
            let extended_len = match second {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let Some((length, payload)) = extended.split_at_checked(extended_len) else { continue };
            let length = match extended_len {
                0 => usize::from(*second),
                _ => length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
            };
            let needed = if *first == 0x82 { HEADER_LEN.min(length) } else { 0 };
            if payload.len() < needed {
                continue;
            }
            if *first == 0x89 {
                event(Event::Ping);
            }
            let header = Header::decode(payload).ok().map(|(header, _)| header);
            self.rest = Some((length - payload.len(), header.filter(|header| header.kind == Kind::Media)));
            self.head.clear();
        }
    }
}

/// Takes a viewer in, with the proxy's options.
fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (mut socket, _) = listener.accept()?;
    let mut request = BufReader::new(socket.try_clone()?).lines();
    while request.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    socket.write_all(b"HTTP/1.1 101 Floor\r\n\r\n")?;
    socket.set_nodelay(true)?;
    socket2::SockRef::from(&socket).set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    Ok(socket)
}

/// Takes one viewer in, connects to a floor and hands on what that writes, until it ends.
fn relay(address: &str) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("at {}", listener.local_addr()?);
    let mut viewer = accept(&listener)?;
    let mut floor = handshake(address.parse()?, "bare", false)?;
    let mut bytes = vec![0; 256 * 1024];
    loop {
        match floor.read(&mut bytes)? {
            0 => return Ok(()),
            len => viewer.write_all(&bytes[..len])?,
        }
    }
}

/// Listens, takes so many connections, and writes.
fn floor(viewers: u32, sizes: &[usize]) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("at {}", listener.local_addr()?);
    let mut sockets = vec![];
    for _ in 0..viewers {
        sockets.push(accept(&listener)?);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            told.store(line == "stop", Ordering::Relaxed);
        }
    });
    println!("{READY}");
    let payload = vec![0x55; sizes.iter().copied().max().context("no frames")?];
    let started = Instant::now();
    let (mut bytes, mut sent_us) = (0, vec![]);
    for (number, size) in (0u32..).zip(sizes.iter().copied().cycle()) {
        std::thread::sleep((started + FRAME * number).saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        sent_us.push(now_us());
        let header = Header { kind: Kind::Media, sequence: number, ..Header::init(1, 1, 0) };
        let (frame, frame_len) = frame_head(HEADER_LEN + OVERHEAD + size);
        let head = [&frame[..frame_len], &header.encode(), &[0; OVERHEAD]].concat();
        for socket in &mut sockets {
            let (mut head, mut rest) = (&head[..], &payload[..size]);
            while !rest.is_empty() {
                let written = socket.write_vectored(&[IoSlice::new(head), IoSlice::new(rest)])?;
                bytes += written as u64;
                let of_head = written.min(head.len());
                (head, rest) = (&head[of_head..], &rest[written - of_head..]);
            }
        }
    }
    println!("{}", serde_json::to_string(&Seen { bytes, sent_us, ..Seen::default() })?);
    Ok(())
}

/// When each picture of a stream was sent, by its number: microseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    times_us: Mutex<Vec<i64>>,
    stop: AtomicBool,
    /// How late the latest picture was.
    pub(crate) latest_us: AtomicU64,
}

impl Moments {
    /// How long each frame took to its last viewer, in milliseconds.
    pub(crate) fn took_ms(&self, seen: &Seen, viewers: u32) -> Vec<f64> {
        seen.took_ms(&self.times_us.lock().unwrap_or_else(std::sync::PoisonError::into_inner), viewers)
    }

    /// Has its stream end.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Publishes a clip over and over, until told to stop.
    pub(crate) fn publish(
        address: &str,
        name_and_key: &str,
        clip: &Arc<sightline_tests::flv::Clip>,
    ) -> Result<Arc<Self>> {
        let mut peer = sightline_tests::peer::Peer::publish_to(address, name_and_key)?;
        peer.set_chunk_size(4096)?;
        let moments = Arc::new(Self::default());
        let (told, clip) = (Arc::clone(&moments), Arc::clone(clip));
        std::thread::spawn(move || {
            let started = Instant::now();
            for tag in clip.looped() {
                let due = started + Duration::from_millis(tag.time_ms.into());
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                told.latest_us.fetch_max(due.elapsed().as_micros() as u64, Ordering::Relaxed);
                if tag.is_picture() {
                    told.times_us.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(now_us());
                }
                if told.stop.load(Ordering::Relaxed) || peer.tag(&tag).is_err() {
                    return;
                }
            }
        });
        Ok(moments)
    }
}
