//! A viewer without a browser: a WebSocket client that keeps everything the proxy sends, with arrival times.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use sightline_wire::{ClientMessage, Header, Kind, ServerMessage, Track, VERSIONS};
use tokio::net::TcpSocket;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::proxy::Proxy;
use crate::wait;

/// One init segment or fragment.
#[derive(Clone, Debug)]
pub struct Binary {
    /// When it had arrived whole.
    pub at: Instant,
    /// Its header.
    pub header: Header,
    /// What follows the header.
    pub payload: Bytes,
}

/// How the connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With a close frame of this code and reason (code 1005 when it carried none).
    Closed(u16, String),
    /// Without one.
    Broken(String),
}

/// Everything that came so far.
#[derive(Debug, Default)]
pub struct Record {
    /// Text messages in order, with how many binary messages stood before each.
    pub texts: Vec<(Instant, usize, ServerMessage)>,
    /// Binary messages in order.
    pub binaries: Vec<Binary>,
    /// How the connection ended, if it did.
    pub end: Option<End>,
    /// What was no message of the protocol; a test should find this empty.
    pub nonsense: Vec<String>,
}

impl Record {
    /// The newest `tracks`: its epoch, `catch_up_sequence` and tracks.
    pub fn tracks(&self) -> Option<(u32, Option<u32>, &[Track])> {
        self.texts.iter().rev().find_map(|(_, _, message)| match message {
            ServerMessage::Tracks { epoch, catch_up_sequence, tracks, .. } => {
                Some((*epoch, *catch_up_sequence, tracks.as_slice()))
            }
            _ => None,
        })
    }

    /// The first text message of which `find` makes something.
    pub fn text<T>(&self, find: impl Fn(&ServerMessage) -> Option<T>) -> Option<T> {
        self.texts.iter().find_map(|(_, _, message)| find(message))
    }

    /// The fragments of one track.
    pub fn fragments(&self, track: u8) -> impl Iterator<Item = &Binary> {
        self.binaries.iter().filter(move |b| b.header.kind == Kind::Media && b.header.track == track)
    }

    /// The init segment of one track of an epoch followed by all its fragments: a file that a player plays.
    pub fn file(&self, track: u8, epoch: u32) -> Vec<u8> {
        let of_track = self.binaries.iter().filter(|b| b.header.track == track && b.header.epoch == epoch);
        of_track.flat_map(|b| b.payload.iter().copied()).collect()
    }
}

/// A connected viewer. Its socket is closed, without goodbye, when it is dropped.
#[derive(Debug)]
pub struct Viewer {
    record: Arc<Mutex<Record>>,
    out: UnboundedSender<Message>,
    paused: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("a runtime with two threads can be made")
    })
}

impl Viewer {
    /// Connects to a WebSocket address.
    pub fn connect(url: &str) -> Result<Self> {
        Self::connect_with(url, None)
    }

    /// Connects with a receive buffer of so many bytes: for viewers that are slow.
    pub fn connect_with(url: &str, receive_buffer: Option<u32>) -> Result<Self> {
        let record = Arc::new(Mutex::new(Record::default()));
        let (out, mut outgoing) = unbounded_channel();
        let (paused, mut pause) = watch::channel(false);
        let connect = async {
            let host = url.trim_start_matches("ws://").split('/').next().unwrap_or_default();
            let tcp = TcpSocket::new_v4()?;
            if let Some(bytes) = receive_buffer {
                tcp.set_recv_buffer_size(bytes)?;
            }
            let tcp = tcp.connect(host.parse().context("host and port")?).await?;
            tcp.set_nodelay(true)?;
            anyhow::Ok(tokio_tungstenite::client_async(url, tcp).await?)
        };
        let limit = Duration::from_secs(10);
        let (socket, _) = runtime()
            .block_on(async { tokio::time::timeout(limit, connect).await })
            .with_context(|| format!("{url}: no answer"))?
            .with_context(|| url.to_owned())?;
        let (mut sink, mut stream) = socket.split();
        let kept = Arc::clone(&record);
        let task = runtime().spawn(async move {
            loop {
                // Fails only when the viewer is gone, and then this task is aborted.
                let _ = pause.wait_for(|paused| !paused).await;
                tokio::select! {
                    _ = pause.changed() => {}
                    incoming = stream.next() => if keep(&kept, incoming) { break },
                    message = outgoing.recv() => match message {
                        Some(message) => if sink.send(message).await.is_err() {
                            // The peer has closed: what it said before that is still to be read.
                            while !keep(&kept, stream.next().await) {}
                            break;
                        },
                        None => break,
                    },
                }
            }
        });
        Ok(Self { record, out, paused, task })
    }

    /// Connects to a proxy's `/ws?stream=NAME`.
    pub fn watch(proxy: &Proxy, stream: &str) -> Result<Self> {
        Self::connect(&proxy.ws_url(Some(stream)))
    }

    /// Connects as a browser that decodes these codecs does, and subscribes with sound.
    pub fn watch_decoding(proxy: &Proxy, stream: &str, codecs: &[&str]) -> Result<Self> {
        let viewer = Self::connect(&proxy.ws_url(None))?;
        let codecs = codecs.iter().map(|&codec| codec.to_owned()).collect();
        viewer.say(&ClientMessage::Hello { version: VERSIONS[0], codecs });
        viewer.say(&ClientMessage::Subscribe { stream: stream.to_owned(), audio: true, max_height: None });
        Ok(viewer)
    }

    /// What came so far. Do not hold it for long: nothing is received meanwhile.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest epoch's tracks, each as a file that a player plays.
    pub fn files(&self) -> Result<Vec<(Track, Vec<u8>)>> {
        let record = self.record();
        let (epoch, _, tracks) = record.tracks().context("no tracks")?;
        Ok(tracks.iter().map(|track| (track.clone(), record.file(track.index, epoch))).collect())
    }

    /// How many fragments, of whatever track, did not come between the first and the last.
    pub fn missing(&self) -> u32 {
        let record = self.record();
        let media = record.binaries.iter().filter(|b| b.header.kind == Kind::Media);
        let sequences: Vec<u32> = media.map(|b| b.header.sequence).collect();
        sequences.windows(2).map(|w| w[1].wrapping_sub(w[0]).wrapping_sub(1)).sum()
    }

    /// Waits until `find` gets something from the record.
    pub fn wait<T>(&self, what: &str, mut find: impl FnMut(&Record) -> Option<T>) -> Result<T> {
        wait::until(what, || find(&self.record())).with_context(|| {
            let record = self.record();
            let texts: Vec<_> = record.texts.iter().map(|(_, _, message)| message).collect();
            format!("got {} binary messages, {:?}, texts {texts:?}", record.binaries.len(), record.end)
        })
    }

    /// Waits for the text message of which `find` makes something.
    pub fn wait_text<T>(&self, what: &str, find: impl Fn(&ServerMessage) -> Option<T>) -> Result<T> {
        self.wait(what, |record| record.text(&find))
    }

    /// Waits until so many fragments of video have come.
    pub fn wait_fragments(&self, count: usize) -> Result<()> {
        self.wait(&format!("{count} fragments of track 0"), |record| {
            (record.fragments(0).count() >= count).then_some(())
        })
    }

    /// Waits until so many more fragments of video have come than there are now.
    pub fn wait_more_fragments(&self, count: usize) -> Result<()> {
        let now = self.record().fragments(0).count();
        self.wait_fragments(now + count)
    }

    /// Stops reading: what the proxy sends stays in the kernel's buffers, and then in the proxy.
    pub fn pause(&self) {
        self.paused.send_replace(true);
    }

    /// Reads on.
    pub fn resume(&self) {
        self.paused.send_replace(false);
    }

    /// Sends a message of the protocol.
    pub fn say(&self, message: &ClientMessage) {
        self.send(Message::text(serde_json::to_string(message).expect("messages are JSON")));
    }

    /// Sends anything.
    pub fn send(&self, message: Message) {
        // Fails when the connection has ended: the record tells that better.
        let _ = self.out.send(message);
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Keeps what came; true when it was the end.
fn keep(
    record: &Mutex<Record>,
    incoming: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
) -> bool {
    let at = Instant::now();
    let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
    match incoming {
        Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
            Ok(message) => {
                let before = record.binaries.len();
                record.texts.push((at, before, message));
            }
            Err(e) => record.nonsense.push(format!("{e}: {text}")),
        },
        Some(Ok(Message::Binary(bytes))) => match Header::decode(&bytes) {
            Ok((header, len)) => record.binaries.push(Binary { at, header, payload: bytes.slice(len..) }),
            Err(e) => record.nonsense.push(e.to_string()),
        },
        Some(Ok(Message::Close(frame))) => {
            let end = frame.map_or((u16::from(CloseCode::Status), String::new()), |f| {
                (f.code.into(), f.reason.as_str().to_owned())
            });
            record.end = Some(End::Closed(end.0, end.1));
        }
        Some(Ok(_)) => {}
        Some(Err(e)) => {
            record.end.get_or_insert(End::Broken(e.to_string()));
            return true;
        }
        None => {
            record.end.get_or_insert(End::Broken("end of stream".into()));
            return true;
        }
    }
    false
}
