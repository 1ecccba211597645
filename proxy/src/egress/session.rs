//! What is said with one viewer: its subscriptions, what comes next on them, and (`answers`) what it says itself.
//!
//! Nothing here waits: what the socket does not take stays where it is.

mod answers;

use bytes::Bytes;
use sightline_wire::{
    DEFAULT_CODECS, ErrorCode, Media as WireMedia, ServerMessage, Track as WireTrack, VERSIONS, covers,
};
use smallvec::SmallVec;
use tokio::time::Instant;
use tungstenite::{Message, protocol::frame::coding::CloseCode};

use super::{
    climb::{Change, Climb, Loss},
    crowd::Seat,
    rate::Rate,
    silence::Silence,
    socket::{Link, Socket},
    ws::{Service, Viewer},
};
use crate::{
    hub::{Admitted, Cursor, Epoch, Fault, Item, State, Stream, unix_time_us},
    media::{Media, Track},
};

/// The most bytes handed to a socket before the viewer is heard, and the most frames.
const BATCH_BYTES: usize = 16 * 1024;
const BATCH_PIECES: usize = 64;
/// The most streams on one connection.
const MAX_SUBSCRIPTIONS: usize = 256;
/// The longest text of ours that repeats what a client sent, in bytes.
const MAX_ERROR_LEN: usize = 256;
/// The longest names and codec strings are far shorter.
const MAX_CODECS: usize = 64;

/// The beginning of `text`, at most `max` bytes of it.
pub(super) fn cut(text: &str, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The socket is gone, or takes nothing any more.
    Gone,
    /// The viewer has said goodbye.
    Left,
    /// We end it and say why.
    Close { code: CloseCode, reason: String, error: Option<ErrorCode> },
}

impl End {
    fn bad_message(reason: &str) -> Self {
        let reason = cut(reason, MAX_ERROR_LEN);
        Self::Close { code: CloseCode::Policy, reason, error: Some(ErrorCode::BadMessage) }
    }

    pub(super) fn stopping() -> Self {
        let reason = "the server is stopping".to_owned();
        Self::Close { code: CloseCode::Away, reason, error: Some(ErrorCode::ShuttingDown) }
    }
}

/// How far writing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All there is was taken.
    Idle,
    /// A batch was taken, and there may be more.
    More,
    /// The socket takes nothing more.
    Full,
    /// The link is silent: there is nothing to send but a call, see [`call_after`](super::silence::call_after).
    Silent,
}

#[derive(Debug)]
struct Subscription {
    cursor: Cursor,
    /// The cursor may have something.
    news: bool,
    audio: bool,
    /// Which tracks of the current epoch are wanted and can be decoded, a bit each.
    tracks: u32,
    /// The newest fragment there was at the start of the epoch: up to it, all is history.
    history_until: Option<u32>,
    seat: Seat<Viewer>,
    _admitted: Admitted,
    /// Where the stream comes in several qualities.
    climb: Option<Box<Climb<Viewer>>>,
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

/// One viewer's session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) socket: Socket,
    /// Its own task writes, and nobody else.
    pub(super) attended: bool,
    /// Why it has to end, where somebody else than its own task has seen it.
    pub(super) end: Option<End>,
    /// When something was last heard.
    pub(super) heard: Instant,
    /// Since when the socket, which is full, has taken nothing.
    full_since: Option<Instant>,
    service: Service,
    /// What the viewer decodes, once it has said so.
    codecs: Option<Vec<String>>,
    /// The first one without a way to go to it: of a thousand viewers' memory nothing is in the processor's own.
    subscriptions: SmallVec<[Subscription; 1]>,
    /// The subscription whose turn it was last.
    turn: usize,
    pub(super) rate: Rate,
    silence: Silence,
    /// The batch that is being taken: its bytes, and when the oldest of its live fragments was received.
    batch: (usize, Option<std::time::Instant>),
}

impl Session {
    pub(super) fn new(service: Service, early: &[u8]) -> Self {
        let now = Instant::now();
        Self {
            socket: Socket::new(early),
            attended: true,
            end: None,
            heard: now,
            full_since: None,
            service,
            codecs: None,
            subscriptions: SmallVec::new(),
            turn: 0,
            rate: Rate::default(),
            silence: Silence::default(),
            batch: (0, None),
        }
    }

    pub(super) fn welcome(&mut self) {
        self.say(&ServerMessage::Welcome {
            versions: VERSIONS.to_vec(),
            server: concat!("sightline/", env!("CARGO_PKG_VERSION")).into(),
            time_us: unix_time_us(),
            features: vec!["quality".into()],
        });
    }

    /// The stream of this number may have something.
    pub(super) fn mark(&mut self, id: u32) {
        for subscription in &mut self.subscriptions {
            subscription.news |= subscription.cursor.stream().id == id;
            if let Some(climb) = subscription.climb.as_deref_mut().filter(|climb| climb.awaits(id)) {
                (subscription.news, climb.look) = (true, true);
            }
        }
    }

    pub(super) fn unsubscribe_all(&mut self) {
        self.subscriptions = SmallVec::new();
    }

    /// Hands the socket one batch of what is there, taking turns between the streams.
    pub(super) fn pump(&mut self, link: &Link) -> Result<Progress, End> {
        self.find_rate(link);
        if !self.send(link)? {
            return Ok(Progress::Full);
        }
        if self.is_silent(link) {
            // A pong that nobody asked for: browsers do not answer it (RFC 6455, 5.5.3).
            self.socket.say(Message::Pong(Bytes::new()));
            return Ok(if self.send(link)? { Progress::Silent } else { Progress::Full });
        }
        let more = self.gather();
        self.find_rate(link);
        if !self.send(link)? {
            self.rate.on_full(self.batch.0);
            self.find_rate(link);
            return Ok(Progress::Full);
        }
        Ok(if more { Progress::More } else { Progress::Idle })
    }

    fn find_rate(&mut self, link: &Link) {
        if self.rate.is_due()
            && let Some(told) = link.told()
            && self.rate.finds(&told, std::time::Instant::now())
        {
            link.find_rate_anew();
        }
    }

    fn is_silent(&mut self, link: &Link) -> bool {
        let now = std::time::Instant::now();
        if self.silence.is_due(now)
            && let Some(told) = link.told()
        {
            self.silence.look(&told, now);
            self.rate.look(&told, now);
        }
        self.silence.since().is_some()
    }

    /// Since when the viewer has taken nothing.
    pub(super) fn stuck_since(&self, progress: Progress) -> Option<Instant> {
        if progress == Progress::Silent {
            return self.silence.since().map(Instant::from_std);
        }
        self.full_since
    }

    /// Hands the socket what waits. True if it took all.
    fn send(&mut self, link: &Link) -> Result<bool, End> {
        if self.socket.is_clear() {
            return Ok(true);
        }
        let taken = self.socket.send(link).map_err(|_| End::Gone)?;
        if !self.socket.is_clear() {
            if taken > 0 || self.full_since.is_none() {
                self.full_since = Some(Instant::now());
            }
            return Ok(false);
        }
        self.full_since = None;
        let (bytes, oldest) = std::mem::take(&mut self.batch);
        self.rate.on_sent(bytes);
        self.service.metrics.sent_bytes.inc_by(bytes as u64);
        if let Some(received) = oldest {
            self.service.metrics.transit_seconds.observe(received.elapsed().as_secs_f64());
        }
        Ok(true)
    }

    /// Takes a batch from the cursors. True if there may be more.
    fn gather(&mut self) -> bool {
        let mut idle = 0;
        while idle < self.subscriptions.len() {
            if self.batch.0 >= BATCH_BYTES || self.socket.pieces() >= BATCH_PIECES {
                // Mostly a key frame with nothing behind it: no reason to wake a viewer's own task.
                return self.subscriptions.iter().any(|subscription| subscription.news);
            }
            self.turn = (self.turn + 1) % self.subscriptions.len();
            let i = self.turn;
            if self.subscriptions[i].climb.is_some() && !self.climb(i) {
                continue;
            }
            let subscription = &mut self.subscriptions[i];
            let held = subscription
                .climb
                .as_mut()
                .is_some_and(|climb| climb.holds(&subscription.cursor, std::time::Instant::now));
            let item = if subscription.news && !held { subscription.cursor.next() } else { None };
            // Whatever comes from now on is told of.
            subscription.news &= held || !subscription.cursor.has_given_all();
            let Some(item) = item else {
                subscription.news = false;
                idle += 1;
                continue;
            };
            idle = 0;
            match item {
                Item::Fragment(fragment) => {
                    let wanted = subscription.tracks >> fragment.header.track & 1 == 1;
                    let live = subscription.is_live(fragment.header.sequence);
                    if let Some(climb) = &mut subscription.climb {
                        climb.look |= fragment.is_entry && fragment.video;
                    }
                    if wanted {
                        let is_key = fragment.is_entry && fragment.video;
                        if is_key && live && subscription.cursor.has_given_all() {
                            self.rate.on_key_frame(fragment.received, fragment.len());
                        }
                        if live {
                            self.batch.1.get_or_insert(fragment.received);
                        }
                        self.batch.0 += fragment.len();
                        self.socket.pass(fragment);
                    }
                }
                Item::State(state, since_time_us, fault) => {
                    let number = subscription.cursor.stream().number;
                    let now = std::time::Instant::now();
                    match (&mut subscription.climb, state) {
                        // It is told when it is known whether another quality can be had.
                        (Some(climb), State::Offline) => {
                            climb.lose(Loss::Offline(since_time_us, fault), now);
                            continue;
                        }
                        (Some(climb), State::Live) => climb.live(now),
                        _ => {}
                    }
                    self.say(&state_message(number, state, since_time_us, fault));
                }
                Item::Epoch(epoch, catch_up_sequence) => match self.epoch(i, &epoch, catch_up_sequence) {
                    Some(bytes) => self.batch.0 += bytes,
                    None => drop(self.subscriptions.swap_remove(i)),
                },
                Item::Dropped(frames) => {
                    let number = subscription.cursor.stream().number;
                    self.say(&ServerMessage::Dropped { number, frames });
                }
            }
        }
        false
    }

    /// Goes on with another quality, where it is time to. False if that ended the subscription.
    fn climb(&mut self, i: usize) -> bool {
        let Self { subscriptions, codecs, service, .. } = self;
        let Some(Subscription { climb: Some(climb), cursor, seat, news, .. }) = subscriptions.get_mut(i)
        else {
            return true;
        };
        let troubled = cursor.take_trouble();
        if !(*news && (climb.look || troubled)) {
            return true;
        }
        let decodes = |epoch: &Epoch| is_shown(codecs.as_deref(), epoch);
        let now = std::time::Instant::now();
        let Some(change) = climb.step((cursor, seat), &service.crowds, decodes, troubled, now) else {
            let Some(message) = climb.untold(decodes) else { return true };
            self.say(&message);
            let ends = matches!(message, ServerMessage::Error { .. });
            if ends {
                self.subscriptions.swap_remove(i);
            }
            return !ends;
        };
        let Change { cursor, seat, begins_us } = change;
        let subscription = &mut self.subscriptions[i];
        let frames = subscription.cursor.leave_out(begins_us);
        (subscription.cursor, subscription.seat, subscription.history_until) = (cursor, seat, None);
        let stream = subscription.cursor.stream().clone();
        self.switched(&stream);
        if frames > 0 {
            self.say(&ServerMessage::Dropped { number: stream.number, frames });
        }
        true
    }

    fn switched(&mut self, stream: &Stream) {
        if let Some(quality) = &stream.quality {
            let (number, quality) = (stream.number, quality.to_string());
            self.say(&ServerMessage::Switched { number, quality });
        }
    }

    /// Announces an epoch; returns its bytes, or nothing when the viewer can decode none of its video, of which it is told, and
    /// there is no other quality.
    fn epoch(&mut self, i: usize, epoch: &Epoch, catch_up_sequence: Option<u32>) -> Option<usize> {
        let audio = self.subscriptions[i].audio;
        let mut chosen = 0;
        let mut tracks = Vec::with_capacity(epoch.tracks.len());
        for (index, track) in epoch.tracks.iter().enumerate().take(32) {
            if (track.is_video() || audio) && decodes(self.codecs.as_deref(), &track.codec) {
                chosen |= 1 << index;
                tracks.push(wire_track(index as u8, track));
            }
        }
        let subscription = &mut self.subscriptions[i];
        (subscription.tracks, subscription.history_until) = (chosen, catch_up_sequence);
        let stream = subscription.cursor.stream().clone();
        let now = std::time::Instant::now();
        if let Some(video) = epoch.tracks.iter().find(|track| track.is_video())
            && !tracks.iter().any(WireTrack::is_video)
        {
            let codec = format!("{} ({})", video.coding.name(), video.codec);
            if let Some(climb) = &mut subscription.climb {
                subscription.tracks = 0;
                climb.lose(Loss::Undecodable(codec), now);
                return Some(0);
            }
            self.say(&undecodable(&codec, &stream));
            return None;
        }
        if let Some(climb) = &mut subscription.climb {
            climb.decodable(now);
        }
        let (number, epoch_number) = (stream.number, epoch.number);
        self.say(&ServerMessage::Tracks { number, epoch: epoch_number, catch_up_sequence, tracks });
        let mut bytes = 0;
        for (index, init) in epoch.inits.iter().enumerate().take(32) {
            if chosen >> index & 1 == 1 {
                bytes += init.len();
                self.socket.pass_frames(init.clone());
            }
        }
        Some(bytes)
    }

    pub(super) fn say(&mut self, message: &ServerMessage) {
        let text = serde_json::to_string(message).expect("messages are plain data and always serialise");
        self.socket.say(Message::Text(text.into()));
    }
}

/// Whether a viewer that decodes these codecs, if it said so, decodes this one.
fn decodes(codecs: Option<&[String]>, codec: &str) -> bool {
    codecs.map_or_else(|| covers(DEFAULT_CODECS, codec), |codecs| covers(codecs, codec))
}

/// Whether it sees pictures of this epoch, if there are some.
fn is_shown(codecs: Option<&[String]>, epoch: &Epoch) -> bool {
    let mut video = epoch.tracks.iter().filter(|track| track.is_video()).peekable();
    video.peek().is_none() || video.any(|track| decodes(codecs, &track.codec))
}

/// What is wrong with such pictures, for people.
pub(super) fn undecodable_reason(codec: &str) -> String {
    format!(
        "this browser cannot decode the camera's {codec}: try another browser, or set the camera to H.264"
    )
}

/// The viewer decodes no picture of the stream.
pub(super) fn undecodable(codec: &str, stream: &Stream) -> ServerMessage {
    ServerMessage::Error {
        code: ErrorCode::UnsupportedCodec,
        message: undecodable_reason(codec),
        retryable: false,
        stream: Some(stream.name.to_string()),
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
