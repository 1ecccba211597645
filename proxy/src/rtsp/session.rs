//! PURE: one client's RTSP session (RFC 2326): bytes in, bytes out, with time passed in.
//!
//! Here: requests and their answers, the state machine, which units go out, sender reports, the session's time-out.
//! Not here: sockets, tasks, clocks, how much may wait to be sent ([`super::server`]).
//! One connection carries at most one session; only RTP over TCP is offered (UDP is answered 461).

use std::sync::Arc;

use rtsp_types::headers::{self, RtpLowerTransport, RtpProfile, Transport, Transports};
use rtsp_types::{HeaderName, Method, Request, Response, StatusCode, Version};

use super::inbox::{self, Inbox, Item};
use super::packetise::{Origin, Packetiser};
use super::{AccessUnit, Offer, Track, sdp};

/// A session without any sign of life for this long is ended; told to clients in the `Session` header, in seconds.
pub const SESSION_TIMEOUT_MS: u64 = 60_000;
/// How often each track's clock is told (RFC 3550 recommends 5 s as the least).
pub const REPORT_INTERVAL_MS: u64 = 5_000;
/// Beyond the time-out promised to the client, for a keep-alive on its way.
const TIMEOUT_GRACE_MS: u64 = 10_000;
const METHODS: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN";

/// What can be watched, by path (no slash before or after).
pub trait Directory {
    /// What is offered under `path`; `None` is answered 404.
    fn offer(&self, path: &str) -> Option<Offer>;
}

/// The moment of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, from any origin.
    pub mono_ms: u64,
    /// Wall clock, microseconds since 1970.
    pub unix_us: i64,
}

/// What must be unguessable or random about a session.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Session id.
    pub session: u64,
    /// The first track's numbers; further tracks' are derived from it.
    pub origin: Origin,
}

/// What the shell does beyond sending [`Session::take_output`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Feed access units of this path to [`Session::unit`] from now on.
    Subscribe(String),
    /// Feed no more.
    Unsubscribe,
    /// Send what is left, then close.
    Close(CloseReason),
}

/// Why a session ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The client said TEARDOWN.
    Teardown,
    /// No sign of life within the time-out.
    TimedOut,
    /// The client does not speak RTSP as we can read it.
    Malformed,
}

#[derive(Debug)]
struct SetUp {
    track: usize,
    packetiser: Packetiser,
    /// Video begins at a key frame, and again at one after a gap.
    awaits_key_frame: bool,
}

#[derive(Debug)]
struct Presentation {
    path: String,
    tracks: Arc<[Track]>,
    set_up: Vec<SetUp>,
    playing: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    identity: Identity,
    inbox: Inbox,
    out: Vec<u8>,
    presentation: Option<Presentation>,
    last_heard_ms: u64,
    next_report_ms: u64,
    closed: bool,
}

/// An answer in the making: status and headers beyond `CSeq` and `Session`.
struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    body: String,
}

impl Answer {
    fn new(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }
    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Session {
    /// A session for a connection made at `now`.
    pub fn new(identity: Identity, now: Now) -> Self {
        Self {
            identity,
            inbox: Inbox::default(),
            out: Vec::new(),
            presentation: None,
            last_heard_ms: now.mono_ms,
            next_report_ms: now.mono_ms,
            closed: false,
        }
    }

    /// Bytes to send, in order; leaves none behind.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Takes what was read from the client.
    pub fn receive(&mut self, bytes: &[u8], now: Now, directory: &dyn Directory) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.closed {
            return commands;
        }
        self.inbox.push(bytes);
        loop {
            match self.inbox.take() {
                Ok(Some(Item::Request(request))) => {
                    self.last_heard_ms = now.mono_ms;
                    self.request(&request, now, directory, &mut commands);
                    if self.closed {
                        return commands;
                    }
                }
                Ok(Some(Item::Packet { .. } | Item::Response)) => self.last_heard_ms = now.mono_ms,
                Ok(None) => return commands,
                Err(error) => {
                    let status = match error {
                        inbox::Error::Malformed => StatusCode::BadRequest,
                        inbox::Error::TooLong => StatusCode::RequestMessageBodyTooLarge,
                    };
                    self.answer(None, Answer::new(status));
                    self.close(CloseReason::Malformed, &mut commands);
                    return commands;
                }
            }
        }
    }

    /// Takes one access unit of the subscribed path; returns whether it was packed for sending.
    pub fn unit(&mut self, unit: &AccessUnit) -> bool {
        let Some(presentation) = self.presentation.as_mut().filter(|p| p.playing) else { return false };
        let Some(set_up) = presentation.set_up.iter_mut().find(|s| s.track == unit.track) else {
            return false;
        };
        if set_up.awaits_key_frame && !unit.key_frame {
            return false;
        }
        set_up.awaits_key_frame = false;
        set_up.packetiser.pack(unit, &mut self.out) > 0
    }

    /// Units were lost between source and session: each track resumes at a key frame.
    pub fn gap(&mut self) {
        for set_up in self.presentation.iter_mut().flat_map(|p| &mut p.set_up) {
            set_up.awaits_key_frame = true;
        }
    }

    /// Time passed: sends reports that are due, ends a session nobody keeps alive. Call at least once a second.
    pub fn tick(&mut self, now: Now, directory: &dyn Directory) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.closed {
            return commands;
        }
        if now.mono_ms.saturating_sub(self.last_heard_ms) > SESSION_TIMEOUT_MS + TIMEOUT_GRACE_MS {
            self.close(CloseReason::TimedOut, &mut commands);
            return commands;
        }
        self.report(now, directory);
        commands
    }

    /// Sends the sender reports of a playing session when they are due.
    fn report(&mut self, now: Now, directory: &dyn Directory) {
        let Some(presentation) = self.presentation.as_ref().filter(|p| p.playing) else { return };
        if now.mono_ms < self.next_report_ms {
            return;
        }
        self.next_report_ms = now.mono_ms + REPORT_INTERVAL_MS;
        if let Some(offer) = directory.offer(&presentation.path) {
            for set_up in &presentation.set_up {
                set_up.packetiser.report(now.unix_us, offer.epoch_unix_us, &mut self.out);
            }
        }
    }

    fn close(&mut self, reason: CloseReason, commands: &mut Vec<Command>) {
        self.closed = true;
        self.presentation = None;
        commands.push(Command::Close(reason));
    }

    fn request(
        &mut self,
        request: &Request<Vec<u8>>,
        now: Now,
        directory: &dyn Directory,
        commands: &mut Vec<Command>,
    ) {
        let answer = self.check(request).unwrap_or_else(|| match request.method() {
            Method::Options => Answer::new(StatusCode::Ok).with(headers::PUBLIC, METHODS),
            Method::Describe => Self::describe(request, directory),
            Method::Setup => self.set_up(request, directory),
            Method::Play => self.play(now, directory, commands),
            Method::Pause => self.pause(commands),
            Method::Teardown => Answer::new(StatusCode::Ok),
            // Both serve as keep-alive when their body is empty (RFC 2326, 10.8).
            Method::GetParameter | Method::SetParameter => Answer::new(if request.body().is_empty() {
                StatusCode::Ok
            } else {
                StatusCode::ParameterNotUnderstood
            }),
            Method::Announce | Method::Record => {
                Answer::new(StatusCode::MethodNotAllowed).with(headers::ALLOW, METHODS)
            }
            Method::Redirect | Method::PlayNotify | Method::Extension(_) => {
                Answer::new(StatusCode::NotImplemented)
            }
        });
        let ends = matches!(request.method(), Method::Teardown) && answer.status.is_success();
        self.answer(Some(request), answer);
        // The first reports go ahead of the first packet: ffmpeg rebases its times on the first report it sees, and would
        // step back when that comes in the middle.
        self.report(now, directory);
        if ends {
            self.close(CloseReason::Teardown, commands);
        }
    }

    /// What every request must fulfil, whatever it asks.
    fn check(&self, request: &Request<Vec<u8>>) -> Option<Answer> {
        if request.version() != Version::V1_0 {
            return Some(Answer::new(StatusCode::RTSPVersionNotSupported));
        }
        let cseq = request.header(&headers::CSEQ).map(|v| v.as_str().trim().parse::<u32>());
        if !matches!(cseq, Some(Ok(_))) {
            return Some(Answer::new(StatusCode::BadRequest));
        }
        if let Some(required) = request.header(&headers::REQUIRE) {
            return Some(
                Answer::new(StatusCode::OptionNotSupported)
                    .with(headers::UNSUPPORTED, printable(required.as_str())),
            );
        }
        let named =
            request.header(&headers::SESSION).map(|v| v.as_str().split(';').next().unwrap_or("").trim());
        match (named, &self.presentation) {
            (Some(named), Some(_)) if named == self.session_id() => None,
            (Some(_), _) => Some(Answer::new(StatusCode::SessionNotFound)),
            (None, _) => None,
        }
    }

    fn describe(request: &Request<Vec<u8>>, directory: &dyn Directory) -> Answer {
        let acceptable = request.header(&headers::ACCEPT).is_none_or(|accept| {
            let accept = accept.as_str().to_ascii_lowercase();
            ["application/sdp", "application/*", "*/*"].iter().any(|kind| accept.contains(kind))
        });
        let Some(path) = path(request) else { return Answer::new(StatusCode::NotFound) };
        let Some(offer) = directory.offer(path) else { return Answer::new(StatusCode::NotFound) };
        if !acceptable {
            return Answer::new(StatusCode::NotAcceptable);
        }
        let mut answer = Answer::new(StatusCode::Ok)
            .with(headers::CONTENT_TYPE, "application/sdp")
            .with(headers::CONTENT_BASE, format!("{}/", base(request)));
        answer.body = sdp::describe(path, &offer.tracks);
        answer
    }

    fn set_up(&mut self, request: &Request<Vec<u8>>, directory: &dyn Directory) -> Answer {
        let target = path(request).and_then(|path| {
            let (path, control) = path.rsplit_once('/')?;
            let offer = directory.offer(path)?;
            let index = control.strip_prefix("track")?.parse::<usize>().ok()?;
            Some((path.to_owned(), index, offer.tracks.get(index)?.clone(), offer.tracks))
        });
        let Some((path, index, track, tracks)) = target else { return Answer::new(StatusCode::NotFound) };
        if self.presentation.as_ref().is_some_and(|p| p.playing) {
            return Answer::new(StatusCode::MethodNotValidInThisState);
        }
        if self.presentation.as_ref().is_some_and(|p| p.path != path) {
            return Answer::new(StatusCode::AggregateOperationNotAllowed);
        }
        let Ok(Some(transports)) = request.typed_header::<Transports>() else {
            return Answer::new(StatusCode::UnsupportedTransport);
        };
        let wanted = transports.iter().find_map(|transport| match transport {
            Transport::Rtp(rtp)
                if rtp.profile == RtpProfile::Avp
                    && rtp.lower_transport == Some(RtpLowerTransport::Tcp)
                    && !rtp.params.multicast =>
            {
                Some(rtp.params.interleaved)
            }
            _ => None,
        });
        let Some(wanted) = wanted else { return Answer::new(StatusCode::UnsupportedTransport) };
        let origin = self.identity.origin;
        let origin = Origin { ssrc: origin.ssrc.wrapping_add(index as u32), ..origin };
        let presentation = self.presentation.get_or_insert_with(|| Presentation {
            path,
            tracks,
            set_up: Vec::new(),
            playing: false,
        });
        presentation.set_up.retain(|s| s.track != index);
        let Some((rtp, rtcp)) = channels(wanted, &presentation.set_up) else {
            return Answer::new(StatusCode::NotEnoughBandwidth);
        };
        presentation.set_up.push(SetUp {
            track: index,
            packetiser: Packetiser::new(&track, index, rtp, rtcp, origin),
            awaits_key_frame: true,
        });
        Answer::new(StatusCode::Ok).with(
            headers::TRANSPORT,
            format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp};ssrc={:08X}", origin.ssrc),
        )
    }

    fn play(&mut self, now: Now, directory: &dyn Directory, commands: &mut Vec<Command>) -> Answer {
        let Some(presentation) = self.presentation.as_mut() else {
            return Answer::new(StatusCode::MethodNotValidInThisState);
        };
        // Told tracks and running tracks must be one: a source that changed since must be described anew.
        let offer = directory.offer(&presentation.path).filter(|offer| offer.tracks == presentation.tracks);
        let Some(offer) = offer else { return Answer::new(StatusCode::NotFound) };
        let info: Vec<_> = presentation
            .set_up
            .iter()
            .map(|s| {
                let rtptime = s.packetiser.timestamp_now(now.unix_us, offer.epoch_unix_us);
                format!("url=track{};seq={};rtptime={rtptime}", s.track, s.packetiser.next_sequence())
            })
            .collect();
        // A PLAY while playing is a keep-alive of some players and changes nothing (live has no position).
        if !presentation.playing {
            presentation.playing = true;
            self.next_report_ms = now.mono_ms;
            commands.push(Command::Subscribe(presentation.path.clone()));
        }
        Answer::new(StatusCode::Ok).with(headers::RANGE, "npt=now-").with(headers::RTP_INFO, info.join(","))
    }

    fn pause(&mut self, commands: &mut Vec<Command>) -> Answer {
        let Some(presentation) = self.presentation.as_mut() else {
            return Answer::new(StatusCode::MethodNotValidInThisState);
        };
        if std::mem::take(&mut presentation.playing) {
            commands.push(Command::Unsubscribe);
        }
        self.gap();
        Answer::new(StatusCode::Ok)
    }

    fn session_id(&self) -> String {
        format!("{:016x}", self.identity.session)
    }

    fn answer(&mut self, request: Option<&Request<Vec<u8>>>, answer: Answer) {
        let mut response = Response::builder(Version::V1_0, answer.status)
            .header(headers::SERVER, concat!("Sightline/", env!("CARGO_PKG_VERSION")));
        if let Some(cseq) = request.and_then(|r| r.header(&headers::CSEQ)) {
            response = response.header(headers::CSEQ, printable(cseq.as_str()));
        }
        if self.presentation.is_some() && answer.status.is_success() {
            let timeout_s = SESSION_TIMEOUT_MS / 1000;
            response =
                response.header(headers::SESSION, format!("{};timeout={timeout_s}", self.session_id()));
        }
        for (name, value) in answer.headers {
            response = response.header(name, value);
        }
        // Writing to a Vec cannot fail.
        let _ = if answer.body.is_empty() {
            response.header(headers::CONTENT_LENGTH, "0").empty().write(&mut self.out)
        } else {
            response.build(answer.body).write(&mut self.out)
        };
    }
}

/// The client's channels when they are free and a pair, else the lowest free pair.
fn channels(wanted: Option<(u8, Option<u8>)>, taken: &[SetUp]) -> Option<(u8, u8)> {
    let free = |rtp: u8, rtcp: u8| {
        rtp != rtcp
            && !taken
                .iter()
                .map(|s| s.packetiser.channels())
                .any(|(a, b)| [a, b].iter().any(|c| [rtp, rtcp].contains(c)))
    };
    wanted
        .and_then(|(rtp, rtcp)| Some((rtp, rtcp.or(rtp.checked_add(1))?)))
        .filter(|&(rtp, rtcp)| free(rtp, rtcp))
        .or_else(|| (0..=254).step_by(2).map(|rtp| (rtp, rtp + 1)).find(|&(rtp, rtcp)| free(rtp, rtcp)))
}

/// The request's path without slashes around it, or none for `*`.
fn path(request: &Request<Vec<u8>>) -> Option<&str> {
    Some(request.request_uri()?.path().trim_matches('/'))
}

/// The request's URL as the base of the tracks' URLs: no user, query or closing slash.
fn base(request: &Request<Vec<u8>>) -> String {
    let Some(mut url) = request.request_uri().cloned() else { return String::new() };
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
}

/// A client's value as it may stand in our header: no line breaks, no length worth talking of.
fn printable(value: &str) -> String {
    value.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect()
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
