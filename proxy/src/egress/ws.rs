//! The main way out: one WebSocket a viewer, many streams on it. The protocol is `sightline-wire`'s page.
//!
//! There is no queue: the task of a viewer asks its cursors for what comes next whenever its socket has taken what
//! came before. Invariant: whatever a client sends or fails to read costs that client's connection at most.

use std::{sync::Arc, time::Duration};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::SinkExt as _;
use sightline_wire::{
    ClientMessage, DEFAULT_CODECS, ErrorCode, MAX_CLIENT_MESSAGE_LEN, Media as WireMedia, ServerMessage,
    Track as WireTrack, VERSIONS, covers,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    hub::{self, Cursor, Epoch, Fault, Hub, Item, State, unix_time_us},
    media::{Media, Track},
    metrics::Metrics,
};

/// How often a viewer is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(10);
/// A connection from which nothing came for this long is given up at the next ping, and so within 30 s.
const SILENT_MAX: Duration = Duration::from_secs(25);
/// A viewer that takes nothing for this long is given up.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// The most bytes handed to a socket before waiting for it to take them.
const BATCH_BYTES: usize = 64 * 1024;
/// The most streams on one connection.
const MAX_SUBSCRIPTIONS: usize = 256;
/// The longest reason a close frame holds, in bytes (RFC 6455, 5.5: 125 with its code).
const MAX_CLOSE_REASON: usize = 123;
/// The longest text of ours that repeats what a client sent, in bytes.
const MAX_ERROR_LEN: usize = 256;
/// The longest names and codec strings are far shorter.
const MAX_CODECS: usize = 64;

/// What every viewer's connection needs.
#[derive(Clone, Debug)]
pub struct Service {
    /// The streams.
    pub hub: Arc<Hub>,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// Becomes true when the server stops.
    pub shutdown: watch::Receiver<bool>,
}

/// Read limits of a viewer's socket, in bytes: (message, buffer).
pub const READ_LIMITS: (usize, usize) = (MAX_CLIENT_MESSAGE_LEN, 4 * 1024);

/// Serves one viewer until it leaves, misbehaves, stops reading, or the server stops. `stream` is subscribed at once.
pub async fn serve(socket: WebSocket, service: Service, stream: Option<String>) {
    let _connection = Connection::count(service.metrics.clone());
    let mut viewer = Viewer {
        socket,
        service,
        codecs: DEFAULT_CODECS.iter().map(|&codec| codec.into()).collect(),
        subscriptions: Vec::new(),
        turn: 0,
        waker: Arc::new(Notify::new()),
        heard: Instant::now(),
    };
    let end = viewer.run(stream).await;
    tracing::debug!(?end, "viewer left");
    if let End::Close { code, reason, error } = end {
        if let Some(code) = error {
            let retryable = code == ErrorCode::ShuttingDown;
            let error = ServerMessage::Error { code, message: reason.clone(), retryable, stream: None };
            let _ = timeout(Duration::from_secs(1), viewer.say(&error)).await;
        }
        let frame = CloseFrame { code, reason: cut(&reason, MAX_CLOSE_REASON).into() };
        let _ = timeout(Duration::from_secs(1), viewer.socket.send(Message::Close(Some(frame)))).await;
    }
}

/// Counts a connection for as long as it lives, however it ends.
struct Connection(Arc<Metrics>);

impl Connection {
    fn count(metrics: Arc<Metrics>) -> Self {
        metrics.connections.inc();
        Self(metrics)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// The beginning of `text`, at most `max` bytes of it.
fn cut(text: &str, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The socket is gone.
    Gone,
    /// We end it and say why.
    Close { code: u16, reason: String, error: Option<ErrorCode> },
}

impl End {
    fn bad_message(reason: &str) -> Self {
        let reason = cut(reason, MAX_ERROR_LEN);
        Self::Close { code: close_code::POLICY, reason, error: Some(ErrorCode::BadMessage) }
    }

    fn stopping() -> Self {
        let reason = "the server is stopping".to_owned();
        Self::Close { code: close_code::AWAY, reason, error: Some(ErrorCode::ShuttingDown) }
    }
}

struct Subscription {
    cursor: Cursor,
    audio: bool,
    /// Which tracks of the current epoch are wanted and can be decoded, a bit each.
    tracks: u32,
    /// The newest fragment there was at the start of the epoch: up to it, all is history.
    history_until: Option<u32>,
}

impl Subscription {
    /// Whether the fragment of this sequence, the next one, was not history already when the viewer came.
    fn is_live(&mut self, sequence: u32) -> bool {
        let history = self.history_until.is_some_and(|until| until.wrapping_sub(sequence) < u32::MAX / 2);
        if !history {
            self.history_until = None;
        }
        !history
    }
}

struct Viewer {
    socket: WebSocket,
    service: Service,
    codecs: Vec<String>,
    subscriptions: Vec<Subscription>,
    /// The subscription whose turn it was last.
    turn: usize,
    waker: Arc<Notify>,
    heard: Instant,
}

impl Viewer {
    async fn run(&mut self, stream: Option<String>) -> End {
        let mut shutdown = self.service.shutdown.clone();
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        let waker = self.waker.clone();
        let welcome = ServerMessage::Welcome {
            versions: VERSIONS.to_vec(),
            server: concat!("sightline/", env!("CARGO_PKG_VERSION")).into(),
            time_us: unix_time_us(),
            features: vec!["quality".into()],
        };
        let begun = async {
            self.say(&welcome).await?;
            match stream {
                Some(stream) => self.subscribe(stream, true).await,
                None => Ok(()),
            }
        };
        if let Err(end) = begun.await {
            return end;
        }
        loop {
            let more = match self.pump().await {
                Ok(more) => more,
                Err(end) => return end,
            };
            // What a viewer says and what the clock says come before its next batch: one that is slower than its
            // stream would not be heard otherwise.
            let step = tokio::select! {
                biased;
                () = stopping(&mut shutdown) => return End::stopping(),
                message = self.socket.recv() => self.hear(message).await,
                _ = ping.tick() => self.ping().await,
                () = std::future::ready(()), if more => Ok(()),
                () = waker.notified() => Ok(()),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Hands the socket one batch of what is there, taking turns between the streams. True if there is more.
    async fn pump(&mut self) -> Result<bool, End> {
        let (mut batch_bytes, mut oldest, mut idle) = (0, None, 0);
        while idle < self.subscriptions.len() && batch_bytes < BATCH_BYTES {
            self.turn = (self.turn + 1) % self.subscriptions.len();
            let i = self.turn;
            let Some(item) = self.subscriptions[i].cursor.next() else {
                idle += 1;
                continue;
            };
            idle = 0;
            match item {
                Item::Fragment(fragment) => {
                    let subscription = &mut self.subscriptions[i];
                    let wanted = subscription.tracks >> fragment.header.track & 1 == 1;
                    let live = subscription.is_live(fragment.header.sequence);
                    if wanted {
                        if live {
                            oldest.get_or_insert(fragment.received);
                        }
                        batch_bytes += fragment.message.len();
                        self.feed(Message::Binary(fragment.message.clone())).await?;
                    }
                }
                Item::State(state, since_time_us, fault) => {
                    let number = self.subscriptions[i].cursor.stream().number;
                    self.feed_text(&state_message(number, state, since_time_us, fault)).await?;
                }
                Item::Epoch(epoch, catch_up_sequence) => {
                    match self.epoch(i, &epoch, catch_up_sequence).await? {
                        Some(bytes) => batch_bytes += bytes,
                        None => drop(self.subscriptions.swap_remove(i)),
                    }
                }
                Item::Dropped(frames) => {
                    let number = self.subscriptions[i].cursor.stream().number;
                    self.feed_text(&ServerMessage::Dropped { number, frames }).await?;
                }
            }
        }
        self.flush().await?;
        self.observe(batch_bytes, oldest);
        Ok(batch_bytes >= BATCH_BYTES)
    }

    fn observe(&self, bytes: usize, oldest: Option<std::time::Instant>) {
        self.service.metrics.sent_bytes.inc_by(bytes as u64);
        if let Some(received) = oldest {
            self.service.metrics.transit_seconds.observe(received.elapsed().as_secs_f64());
        }
    }

    /// Announces an epoch; returns its bytes, or nothing when the viewer can decode none of its video, of which it is told.
    async fn epoch(
        &mut self,
        i: usize,
        epoch: &Epoch,
        catch_up_sequence: Option<u32>,
    ) -> Result<Option<usize>, End> {
        let subscription = &mut self.subscriptions[i];
        let stream = subscription.cursor.stream().clone();
        subscription.tracks = 0;
        subscription.history_until = catch_up_sequence;
        let mut tracks = Vec::with_capacity(epoch.tracks.len());
        for (index, track) in epoch.tracks.iter().enumerate().take(32) {
            let wanted = track.is_video() || subscription.audio;
            if wanted && covers(&self.codecs, &track.codec) {
                subscription.tracks |= 1 << index;
                tracks.push(wire_track(index as u8, track));
            }
        }
        let chosen = subscription.tracks;
        if let Some(video) = epoch.tracks.iter().find(|track| track.is_video())
            && !tracks.iter().any(WireTrack::is_video)
        {
            let error = ServerMessage::Error {
                code: ErrorCode::UnsupportedCodec,
                message: format!(
                    "this browser cannot decode the camera's {} ({}): try another browser, or set the camera to H.264",
                    video.coding.name(),
                    video.codec
                ),
                retryable: false,
                stream: Some(stream.name.to_string()),
            };
            self.feed_text(&error).await?;
            return Ok(None);
        }
        let (number, epoch_number) = (stream.number, epoch.number);
        self.feed_text(&ServerMessage::Tracks { number, epoch: epoch_number, catch_up_sequence, tracks })
            .await?;
        let mut bytes = 0;
        for (index, init) in epoch.inits.iter().enumerate().take(32) {
            if chosen >> index & 1 == 1 {
                bytes += init.len();
                self.feed(Message::Binary(init.clone())).await?;
            }
        }
        Ok(Some(bytes))
    }

    async fn hear(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        self.heard = Instant::now();
        match message {
            Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                Ok(message) => self.answer(message).await,
                Err(error) => Err(End::bad_message(&format!("not a message of this protocol: {error}"))),
            },
            Some(Ok(Message::Binary(_))) => Err(End::bad_message("binary messages only go to viewers")),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Close(_))) | None => Err(End::Gone),
            Some(Err(error)) => {
                tracing::debug!(%error, "viewer's socket");
                let limit = format!(
                    "it breaks the WebSocket protocol or has more than {MAX_CLIENT_MESSAGE_LEN} bytes"
                );
                Err(End::bad_message(&limit))
            }
        }
    }

    async fn answer(&mut self, message: ClientMessage) -> Result<(), End> {
        match message {
            ClientMessage::Hello { version, codecs } => {
                if !VERSIONS.contains(&version) {
                    let reason = format!("version {version} is not spoken here; {VERSIONS:?} are");
                    let error = Some(ErrorCode::UnsupportedVersion);
                    return Err(End::Close { code: close_code::PROTOCOL, reason, error });
                }
                if codecs.len() > MAX_CODECS {
                    return Err(End::bad_message(&format!("more than {MAX_CODECS} codecs")));
                }
                self.codecs = codecs;
                Ok(())
            }
            ClientMessage::Subscribe { stream, audio, .. } => self.subscribe(stream, audio).await,
            // Every stream has one size yet.
            ClientMessage::Quality { .. } => Ok(()),
            ClientMessage::Unsubscribe { stream } => {
                self.subscriptions.retain(|s| s.cursor.stream().name.as_str() != stream);
                match self.service.hub.get(&stream).map(|stream| stream.number) {
                    Some(number) => self.say(&ServerMessage::Unsubscribed { stream, number }).await,
                    None => self.unknown(&stream).await,
                }
            }
            ClientMessage::Ping { client_time_ms } => {
                self.say(&ServerMessage::Pong { client_time_ms, time_us: unix_time_us() }).await
            }
        }
    }

    /// Subscribes, or begins anew where there is a subscription already.
    async fn subscribe(&mut self, name: String, audio: bool) -> Result<(), End> {
        self.subscriptions.retain(|s| s.cursor.stream().name.as_str() != name);
        let Some(stream) = self.service.hub.get(&name).cloned() else {
            return self.unknown(&name).await;
        };
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            let message = format!("at most {MAX_SUBSCRIPTIONS} streams fit one connection");
            let code = ErrorCode::TooMany;
            return self
                .say(&ServerMessage::Error { code, message, retryable: false, stream: Some(name) })
                .await;
        }
        self.say(&ServerMessage::Subscribed { stream: name, number: stream.number }).await?;
        let cursor = Cursor::new(stream, self.waker.clone());
        self.subscriptions.push(Subscription { cursor, audio, tracks: 0, history_until: None });
        Ok(())
    }

    async fn unknown(&mut self, name: &str) -> Result<(), End> {
        let name = cut(name, MAX_ERROR_LEN);
        let message = hub::unknown_stream(&name);
        let code = ErrorCode::UnknownStream;
        self.say(&ServerMessage::Error { code, message, retryable: false, stream: Some(name) }).await
    }

    async fn ping(&mut self) -> Result<(), End> {
        if self.heard.elapsed() > SILENT_MAX {
            return Err(End::Gone);
        }
        self.feed(Message::Ping(bytes::Bytes::new())).await?;
        self.flush().await
    }

    async fn say(&mut self, message: &ServerMessage) -> Result<(), End> {
        self.feed_text(message).await?;
        self.flush().await
    }

    async fn feed_text(&mut self, message: &ServerMessage) -> Result<(), End> {
        let text = serde_json::to_string(message).expect("messages are plain data and always serialise");
        self.feed(Message::Text(text.into())).await
    }

    async fn feed(&mut self, message: Message) -> Result<(), End> {
        let mut shutdown = self.service.shutdown.clone();
        in_time(&mut shutdown, self.socket.feed(message)).await
    }

    async fn flush(&mut self) -> Result<(), End> {
        let mut shutdown = self.service.shutdown.clone();
        in_time(&mut shutdown, self.socket.flush()).await
    }
}

/// Waits for a socket to take what it was given: not for ever, and not when the server stops.
async fn in_time(
    shutdown: &mut watch::Receiver<bool>,
    writing: impl Future<Output = Result<(), axum::Error>>,
) -> Result<(), End> {
    tokio::select! {
        biased;
        written = timeout(WRITE_MAX, writing) => match written {
            Ok(Ok(())) => Ok(()),
            // Also where the time is up: nothing can be said to somebody who does not read.
            _ => Err(End::Gone),
        },
        () = stopping(shutdown) => Err(End::stopping()),
    }
}

fn state_message(number: u32, state: State, since_time_us: i64, fault: Option<Fault>) -> ServerMessage {
    let (code, reason) = match (state, fault) {
        (State::Live, _) => return ServerMessage::Online { number },
        (_, Some(fault)) => (fault.code.into(), fault.reason),
        (_, None) => ("connecting".into(), "connecting to the camera".into()),
    };
    ServerMessage::Offline { number, since_time_us, code, reason }
}

async fn stopping(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

fn wire_track(index: u8, track: &Track) -> WireTrack {
    let media = match track.media {
        Media::Video { width, height, .. } => WireMedia::Video { width, height },
        Media::Audio { sample_rate, channels } => WireMedia::Audio { sample_rate, channels: channels.into() },
    };
    WireTrack {
        index,
        codec: track.codec.clone(),
        timescale: track.timescale,
        decoder_config: track.decoder_config.to_vec(),
        media,
    }
}
