//! A publisher of our own: RTMP down to the single byte, so that it can also be wrong.
//!
//! What it sends it writes itself; what it is told is read with `rml_rtmp`, since the proxy is not its enemy.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rml_rtmp::chunk_io::ChunkDeserializer;
use rml_rtmp::messages::RtmpMessage;
use rml_rtmp::rml_amf0::{self, Amf0Value};

use crate::flv::{AUDIO, Clip, SCRIPT, Tag};
use crate::wait;

/// The message type of a command in AMF0.
pub const COMMAND: u8 = 20;
/// The message type that sets the size of the chunks that follow.
pub const SET_CHUNK_SIZE: u8 = 1;

const HANDSHAKE: usize = 1536;
const CONTROL_CHUNKS: u32 = 2;
const COMMAND_CHUNKS: u32 = 3;
const AUDIO_CHUNKS: u32 = 4;
const VIDEO_CHUNKS: u32 = 6;

/// What `onStatus`, or an answer to `connect`, says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Such as `NetStream.Publish.Start`.
    pub code: String,
    /// For people.
    pub description: String,
}

/// A connection to the proxy's RTMP listener, or any other.
#[derive(Debug)]
pub struct Peer {
    socket: TcpStream,
    chunks: Chunks,
    incoming: Incoming,
}

/// What reads the answers, and the status in the newest.
struct Incoming(ChunkDeserializer, Option<Status>);

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Incoming")
    }
}

/// Cuts messages into chunks (specification 1.0, 5.3).
#[derive(Clone, Copy, Debug)]
pub struct Chunks {
    /// The most bytes of a message in one chunk.
    pub size: usize,
}

impl Chunks {
    /// A chunk stream's header with all fields, and extended time where it needs one.
    pub fn header(chunk_stream: u32, kind: u8, stream: u32, time_ms: u32, length: usize) -> Vec<u8> {
        let mut bytes = basic_header(0, chunk_stream);
        let short = time_ms.min(0xff_ffff);
        bytes.extend(&short.to_be_bytes()[1..]);
        bytes.extend(&(length as u32).to_be_bytes()[1..]);
        bytes.push(kind);
        bytes.extend(stream.to_le_bytes());
        if short == 0xff_ffff {
            bytes.extend(time_ms.to_be_bytes());
        }
        bytes
    }

    /// One message, chunk by chunk; all but the first chunk repeat nothing.
    pub fn cut(self, chunk_stream: u32, kind: u8, stream: u32, time_ms: u32, payload: &[u8]) -> Vec<Vec<u8>> {
        let mut chunks = vec![];
        let mut header = Self::header(chunk_stream, kind, stream, time_ms, payload.len());
        let mut rest = payload;
        loop {
            let (part, later) = rest.split_at(rest.len().min(self.size));
            chunks.push([&header[..], part].concat());
            rest = later;
            if rest.is_empty() {
                return chunks;
            }
            header = basic_header(3, chunk_stream);
            if time_ms >= 0xff_ffff {
                header.extend(time_ms.to_be_bytes());
            }
        }
    }

    /// A tag on the message stream 1, chunk by chunk.
    pub fn tag(self, tag: &Tag) -> Vec<Vec<u8>> {
        let chunk_stream = if tag.kind == AUDIO { AUDIO_CHUNKS } else { VIDEO_CHUNKS };
        if tag.kind != SCRIPT {
            return self.cut(chunk_stream, tag.kind, 1, tag.time_ms, &tag.payload);
        }
        let payload = [&amf(&[text("@setDataFrame")])[..], &tag.payload].concat();
        self.cut(AUDIO_CHUNKS, tag.kind, 1, tag.time_ms, &payload)
    }
}

/// Format and chunk stream (5.3.1.1).
pub fn basic_header(format: u8, chunk_stream: u32) -> Vec<u8> {
    let format = format << 6;
    match chunk_stream {
        0..=63 => vec![format | chunk_stream as u8],
        64..=319 => vec![format, (chunk_stream - 64) as u8],
        _ => {
            let [low, high, ..] = (chunk_stream - 64).to_le_bytes();
            vec![format | 1, low, high]
        }
    }
}

/// Values in AMF0.
pub fn amf(values: &[Amf0Value]) -> Vec<u8> {
    rml_amf0::serialize(&values.to_vec()).expect("texts are short")
}

/// A text in AMF0.
pub fn text(value: &str) -> Amf0Value {
    Amf0Value::Utf8String(value.to_owned())
}

impl Peer {
    /// Connects to host and port, and says nothing yet.
    pub fn dial(address: &str) -> Result<Self> {
        let socket = TcpStream::connect(address).with_context(|| address.to_owned())?;
        socket.set_read_timeout(Some(wait::PATIENCE))?;
        socket.set_write_timeout(Some(wait::PATIENCE))?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, chunks: Chunks { size: 128 }, incoming: Incoming(ChunkDeserializer::new(), None) })
    }

    /// Connects, shakes hands and connects to the application `live`.
    pub fn connect(address: &str) -> Result<Self> {
        let mut peer = Self::dial(address)?;
        peer.shake_hands()?;
        let status = peer.application("live")?;
        ensure!(status.code == "NetConnection.Connect.Success", "{status:?}");
        Ok(peer)
    }

    /// As [`Peer::connect`], and publishes this, which must be allowed.
    pub fn publish_to(address: &str, name_and_key: &str) -> Result<Self> {
        let mut peer = Self::connect(address)?;
        let status = peer.publish(name_and_key)?;
        ensure!(status.code == "NetStream.Publish.Start", "{status:?}");
        Ok(peer)
    }

    /// The handshake (5.2), the simple one.
    pub fn shake_hands(&mut self) -> Result<()> {
        let mut hello = vec![3];
        hello.extend((0..HANDSHAKE).map(|i| if i < 8 { 0 } else { (i * 7) as u8 }));
        self.write(&hello)?;
        let mut answer = vec![0; 1 + 2 * HANDSHAKE];
        self.socket.read_exact(&mut answer).context("the handshake's answer")?;
        self.write(&answer[1..=HANDSHAKE])
    }

    /// `connect`, and what is answered.
    pub fn application(&mut self, app: &str) -> Result<Status> {
        let properties =
            [("app", text(app)), ("flashVer", text("sightline-tests")), ("type", text("nonprivate"))];
        let properties = properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.command(0, "connect", 1.0, vec![Amf0Value::Object(properties)])?;
        self.wait_command(&["_result", "_error"])?;
        self.last_status()
    }

    /// `createStream` and `publish`, and what `onStatus` says to that.
    pub fn publish(&mut self, name_and_key: &str) -> Result<Status> {
        self.command(0, "createStream", 2.0, vec![Amf0Value::Null])?;
        self.wait_command(&["_result"])?;
        self.command(1, "publish", 3.0, vec![Amf0Value::Null, text(name_and_key), text("live")])?;
        self.wait_command(&["onStatus"])?;
        self.last_status()
    }

    /// Sends a command on a message stream.
    pub fn command(&mut self, stream: u32, name: &str, transaction: f64, rest: Vec<Amf0Value>) -> Result<()> {
        let mut values = vec![text(name), Amf0Value::Number(transaction)];
        values.extend(rest);
        self.send(COMMAND_CHUNKS, COMMAND, stream, 0, &amf(&values))
    }

    /// Sends a message of whatever kind.
    pub fn send(
        &mut self,
        chunk_stream: u32,
        kind: u8,
        stream: u32,
        time_ms: u32,
        payload: &[u8],
    ) -> Result<()> {
        let bytes = self.chunks.cut(chunk_stream, kind, stream, time_ms, payload).concat();
        self.write(&bytes)
    }

    /// Says that chunks are of this size from now on, and keeps to it.
    pub fn set_chunk_size(&mut self, bytes: u32) -> Result<()> {
        self.send(CONTROL_CHUNKS, SET_CHUNK_SIZE, 0, 0, &bytes.to_be_bytes())?;
        self.chunks.size = bytes as usize;
        Ok(())
    }

    /// Sends a tag.
    pub fn tag(&mut self, tag: &Tag) -> Result<()> {
        let bytes = self.chunks.tag(tag).concat();
        self.write(&bytes)
    }

    /// Sends tags at the pace of their times.
    pub fn tags(&mut self, tags: impl IntoIterator<Item = Tag>) -> Result<()> {
        let mut first: Option<(Instant, u32)> = None;
        for tag in tags {
            let (started, from_ms) = *first.get_or_insert((Instant::now(), tag.time_ms));
            let due = started + Duration::from_millis(u64::from(tag.time_ms.saturating_sub(from_ms)));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.tag(&tag)?;
        }
        Ok(())
    }

    /// How it cuts its messages.
    pub fn chunks(&self) -> Chunks {
        self.chunks
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.socket.write_all(bytes)?)
    }

    /// Waits until the other end closes, whatever it says before that, and gives how long that took.
    pub fn wait_for_end(&mut self) -> Result<Duration> {
        let started = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Ok(started.elapsed()),
                Ok(_) => {}
                Err(e) if matches!(e.kind(), std::io::ErrorKind::ConnectionReset) => {
                    return Ok(started.elapsed());
                }
                Err(e) => return Err(anyhow!(e).context("the connection is not closed")),
            }
            ensure!(started.elapsed() < wait::PATIENCE, "the connection is not closed");
        }
    }

    /// Waits for one of these commands, and gives its values.
    pub fn wait_command(&mut self, names: &[&str]) -> Result<Vec<Amf0Value>> {
        loop {
            if let RtmpMessage::Amf0Command { command_name, command_object, additional_arguments, .. } =
                self.next_message().with_context(|| format!("waited for {names:?}"))?
                && names.contains(&command_name.as_str())
            {
                let mut values = vec![command_object];
                values.extend(additional_arguments);
                self.incoming.1 = status_in(&values);
                return Ok(values);
            }
        }
    }

    fn last_status(&mut self) -> Result<Status> {
        self.incoming.1.take().context("the answer says no code")
    }

    fn next_message(&mut self) -> Result<RtmpMessage> {
        let mut read = vec![];
        loop {
            // An empty input: what came before may hold another message.
            if let Some(payload) = self.incoming.0.get_next_message(&read).map_err(|e| anyhow!("{e}"))? {
                let message = payload.to_rtmp_message().map_err(|e| anyhow!("{e}"))?;
                if let RtmpMessage::SetChunkSize { size } = message {
                    self.incoming.0.set_max_chunk_size(size as usize).map_err(|e| anyhow!("{e}"))?;
                }
                return Ok(message);
            }
            read.resize(4096, 0);
            let count = self.socket.read(&mut read)?;
            if count == 0 {
                bail!("the connection ended");
            }
            read.truncate(count);
        }
    }

    /// The socket, once all is agreed.
    pub fn into_socket(self) -> TcpStream {
        self.socket
    }
}

/// The first object with a code.
fn status_in(values: &[Amf0Value]) -> Option<Status> {
    values.iter().find_map(|value| {
        let Amf0Value::Object(properties) = value else { return None };
        let text = |name: &str| match properties.get(name) {
            Some(Amf0Value::Utf8String(text)) => Some(text.clone()),
            _ => None,
        };
        Some(Status { code: text("code")?, description: text("description").unwrap_or_default() })
    })
}

/// A publisher that sends a clip again and again in the background, at its pace, until it is dropped.
#[derive(Debug)]
pub struct Replay {
    stop: Arc<AtomicBool>,
    pictures: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Replay {
    /// Publishes `name_and_key` at host and port.
    pub fn start(address: &str, name_and_key: &str, clip: Arc<Clip>) -> Result<Self> {
        let mut peer = Peer::publish_to(address, name_and_key)?;
        peer.set_chunk_size(4096)?;
        let (stop, pictures) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (asked, sent) = (Arc::clone(&stop), Arc::clone(&pictures));
        let thread = std::thread::spawn(move || {
            let tags = clip.looped().take_while(|_| !asked.load(Ordering::Relaxed));
            peer.tags(tags.inspect(|tag| {
                sent.fetch_add(u64::from(tag.is_picture()), Ordering::Relaxed);
            }))
        });
        Ok(Self { stop, pictures, thread: Some(thread) })
    }

    /// How many pictures it has sent.
    pub fn pictures(&self) -> u64 {
        self.pictures.load(Ordering::Relaxed)
    }

    /// Whether it was let go by the other end.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it failed on shows in what the test waits for.
            let _ = thread.join();
        }
    }
}
