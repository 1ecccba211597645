//! One connection to a server, shared by all sessions of a page that play its streams.
//!
//! Here: connecting, the greeting, pings and the server's clock, silence, back-off, and which message belongs to which
//! session. What a session does with a stream is in `session`. No clock, no timer, no random numbers, no browser.
//!
//! Every stream is asked for by one session at most: on one connection a second `subscribe` begins anew for both.
//!
//! Invariant: a session hears of a stream's media only what its own last `subscribe` brought; whatever happens, as long
//! as a session wants its stream a later tick leads back to a connection on which it is asked for; and what is wrong
//! with one stream ends the connection only where no other session gets anything on it either.

use sightline_wire::{ClientMessage, ErrorCode, ServerMessage, VERSIONS};

use crate::clock::{Reading, ServerClock};
use crate::message;
use crate::prelude::*;
use crate::reconnect::BackOff;
use crate::within;

/// How long a connection may take to open, in milliseconds.
const CONNECT_TIMEOUT_MS: f64 = 5_000.0;

/// Nothing came for this long: ask whether anybody is there, in milliseconds.
const QUIET_PING_MS: f64 = 1_000.0;

/// Nothing came for this long, not even the answer to a ping: the connection is dead, in milliseconds. After an outage of 3 s TCP
/// sends again 4 s after its beginning at the latest, and goes on sooner than a new connection would.
const DEAD_MS: f64 = 4_200.0;

/// The same where there is reason to doubt it: the page slept, or the network was away.
const DOUBTED_DEAD_MS: f64 = 2_000.0;

/// Time between two pings, and between the first few, in milliseconds.
const PING_EVERY_MS: (f64, f64) = (5_000.0, 150.0);

/// After this long a connection has proved itself: the back-off starts from the beginning, in milliseconds.
const STABLE_MS: f64 = 5_000.0;

/// A request without an answer for this long is made again, in milliseconds; sooner where a later ping was answered,
/// since servers answer in order.
const ANSWER_MS: (f64, f64) = (5_000.0, 1_000.0);

/// And after so many requests the connection is taken to be of no use.
const MAX_UNANSWERED: u8 = 3;

/// A session got something lately: within this time, in milliseconds.
const LATELY_MS: f64 = 2_000.0;

/// The longest step a tick counts, in milliseconds: a page that slept was not waiting.
const MAX_TICK_MS: f64 = 500.0;

/// A pause between two ticks that means that the page slept, in milliseconds. Hidden pages tick once a second.
const SLEPT_MS: f64 = 2_500.0;

/// Sessions on one connection at most: the server takes 256 streams.
const MAX_MEMBERS: usize = 200;

/// How a stream is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// With its sound.
    pub audio: bool,
    /// As high as it is shown, in pixels of the screen; none: as high as there is.
    pub max_height: Option<u32>,
}

/// What a session asks its link for.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Subscribe, or begin anew, and do so on each later connection.
    Subscribe(Wanted),
    /// No more of it.
    Unsubscribe,
    /// The stream is shown at another height from now on.
    MaxHeight(Option<u32>),
    /// What comes is of no use: another connection, because of this.
    Reconnect(String),
    /// Somebody looks again: whatever is waited for, now is the time.
    Hurry,
}

/// What a session hears from its link.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// A connection is being opened.
    Connecting,
    /// The connection is gone or of no use. Another one is tried for.
    Down {
        /// Why.
        why: String,
        /// How often this happened in a row.
        attempts: u32,
    },
    /// A message for this session, or for all of them.
    Message(ServerMessage),
    /// Something came that was not understood.
    BadMessage,
    /// The server's clock is known, or better known.
    Clock(Reading),
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A session came.
    Joined {
        /// Names it.
        member: u32,
        /// Its stream; no other session here has it.
        stream: String,
    },
    /// A session went.
    Left(u32),
    /// A session asks. `random` is in 0..1, here and below.
    Ask(u32, Ask, f64),
    /// The connection is open.
    Open(u32),
    /// The connection is closed, or could not be opened: which, the close code, and a random number.
    Closed(u32, u16, f64),
    /// A text message came on this connection.
    Text(u32, String),
    /// A message came that is none.
    Unreadable,
    /// Some time passed.
    Tick(f64),
    /// The browser says that there is a network again.
    NetworkBack,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Open a connection of this number, after closing the one before.
    Connect(u32),
    /// Close the connection.
    Disconnect,
    /// Send a text message.
    Send(String),
    /// Tell a session.
    Tell(u32, News),
    /// This session left: take it to another link, where it is joined and asks for this of its stream.
    Move(u32, String, Wanted),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Nothing is open. Connect when the wait is over and somebody wants something.
    Down {
        wait_ms: f64,
    },
    Connecting {
        since_ms: f64,
    },
    Up {
        since_ms: f64,
    },
    /// The server speaks another protocol; nothing is tried.
    Stopped,
}

#[derive(Debug)]
struct Member {
    /// None: it went, and answers to what it asked are still to come.
    id: Option<u32>,
    stream: String,
    wanted: Option<Wanted>,
    /// What stands for the stream in media, once the last `subscribe` is answered.
    number: Option<u32>,
    /// Requests that are not answered yet. Media on its way meanwhile belongs to nobody.
    owed: u32,
    owed_ms: f64,
    asked_ms: f64,
    overtaken: bool,
    unanswered: u8,
    heard_ms: f64,
}

/// The connection and who shares it.
#[derive(Debug)]
pub struct Link {
    codecs: Vec<String>,
    state: State,
    connection: u32,
    back_off: BackOff,
    clock: ServerClock,
    /// The server understands `quality`.
    tells_quality: bool,
    now_ms: f64,
    ticked_ms: f64,
    quiet_ms: f64,
    dead_ms: f64,
    pings: u32,
    ping_in_ms: f64,
    members: Vec<Member>,
    out: Vec<Command>,
}

impl Link {
    /// A link for sessions that decode these, as in `hello`. It connects when the first of them wants its stream.
    pub fn new(codecs: Vec<String>) -> Self {
        Self {
            codecs,
            state: State::Down { wait_ms: 0.0 },
            connection: 0,
            back_off: BackOff::default(),
            clock: ServerClock::default(),
            tells_quality: false,
            now_ms: 0.0,
            ticked_ms: f64::NAN,
            quiet_ms: 0.0,
            dead_ms: DEAD_MS,
            pings: 0,
            ping_in_ms: 0.0,
            members: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Whether a session that plays `stream` and decodes `codecs` could join.
    pub fn takes(&self, codecs: &[String], stream: &str) -> bool {
        self.codecs == codecs
            && self.state != State::Stopped
            && self.members.len() < MAX_MEMBERS
            && !self.members.iter().any(|member| member.id.is_some() && member.stream == stream)
    }

    /// What its sessions decode.
    pub fn codecs(&self) -> &[String] {
        &self.codecs
    }

    /// Takes an event at `now_ms`, the page's monotonic clock, and returns what to do, in order.
    pub fn handle(&mut self, event: Event, now_ms: f64) -> Vec<Command> {
        self.now_ms = now_ms;
        self.take(event);
        core::mem::take(&mut self.out)
    }

    /// A fragment of the stream that `number` stands for came on this connection: whose it is.
    pub fn on_fragment(&mut self, connection: u32, number: u32, now_ms: f64) -> Option<u32> {
        if connection != self.connection || !self.is_up() {
            return None;
        }
        self.hear();
        let member = self.members.iter_mut().find(|m| m.number == Some(number) && m.owed == 0)?;
        member.heard_ms = now_ms;
        member.id
    }

    fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Joined { member, stream } => self.join(member, stream),
            Event::Left(member) => self.leave(member),
            Event::Ask(member, ask, random) => self.on_ask(member, ask, random),
            Event::Open(connection) if connection == self.connection => self.on_open(),
            Event::Closed(connection, code, random) if connection == self.connection => {
                if self.is_up() || matches!(self.state, State::Connecting { .. }) {
                    let mut why = String::from("connection closed, ");
                    why.push_str(&crate::json::number_text(f64::from(code)));
                    self.lost(&why, random);
                }
            }
            Event::Text(connection, text) if connection == self.connection && self.is_up() => {
                self.hear();
                match message::read(&text) {
                    Some(message) => self.on_message(message),
                    None => self.tell_all(&News::BadMessage), // how the protocol grows: see `wire`
                }
            }
            Event::Unreadable => self.tell_all(&News::BadMessage),
            Event::Tick(random) => self.on_tick(random),
            Event::NetworkBack => self.doubt(true),
            Event::Open(_) | Event::Closed(..) | Event::Text(..) => {}
        }
    }

    // ---- who shares it

    fn join(&mut self, id: u32, stream: String) {
        let waiting = self.members.iter_mut().find(|member| member.id.is_none() && member.stream == stream);
        match waiting {
            Some(member) => member.id = Some(id),
            None => self.members.push(Member {
                id: Some(id),
                stream,
                wanted: None,
                number: None,
                owed: 0,
                owed_ms: 0.0,
                asked_ms: 0.0,
                overtaken: false,
                unanswered: 0,
                heard_ms: f64::MIN,
            }),
        }
        if self.clock.offset_ms().is_some() {
            self.out.push(Command::Tell(id, News::Clock(self.clock.reading())));
        }
    }

    fn position(&self, id: u32) -> Option<usize> {
        self.members.iter().position(|member| member.id == Some(id))
    }

    fn leave(&mut self, id: u32) {
        let Some(index) = self.position(id) else { return };
        self.unsubscribe(index);
        self.members[index].id = None;
        self.members.retain(|member| member.id.is_some() || member.owed > 0);
    }

    fn on_ask(&mut self, id: u32, ask: Ask, random: f64) {
        let Some(index) = self.position(id) else { return };
        match ask {
            Ask::Subscribe(wanted) => {
                let idle = !self.somebody_wants();
                self.members[index].wanted = Some(wanted);
                self.members[index].unanswered = 0;
                match self.state {
                    State::Up { .. } => self.subscribe(index),
                    // Nobody waited for the back-off: it says nothing about now.
                    State::Down { .. } if idle => self.connect(),
                    State::Down { .. } | State::Connecting { .. } | State::Stopped => {}
                }
            }
            Ask::Unsubscribe => self.unsubscribe(index),
            Ask::MaxHeight(max_height) => {
                if let Some(wanted) = &mut self.members[index].wanted {
                    wanted.max_height = max_height;
                    if self.is_up() && self.tells_quality {
                        let stream = self.members[index].stream.clone();
                        self.send(&ClientMessage::Quality { stream, max_height });
                    }
                }
            }
            Ask::Reconnect(why) => self.complain(index, &why, random),
            Ask::Hurry => self.doubt(false),
        }
    }

    fn somebody_wants(&self) -> bool {
        self.members.iter().any(|member| member.wanted.is_some())
    }

    fn subscribe(&mut self, index: usize) {
        let member = &mut self.members[index];
        let Some(Wanted { audio, max_height }) = member.wanted else { return };
        member.owed += 1;
        member.owed_ms = 0.0;
        member.asked_ms = self.now_ms;
        member.overtaken = false;
        member.number = None;
        let stream = member.stream.clone();
        self.send(&ClientMessage::Subscribe { stream, audio, max_height });
        self.ping_in_ms = self.ping_in_ms.min(PING_EVERY_MS.1);
    }

    fn unsubscribe(&mut self, index: usize) {
        let up = self.is_up();
        let member = &mut self.members[index];
        let asked = member.wanted.take().is_some();
        member.number = None;
        if asked && up {
            member.owed += 1;
            member.owed_ms = 0.0;
            let stream = member.stream.clone();
            self.send(&ClientMessage::Unsubscribe { stream });
        }
    }

    /// What comes for one session is of no use to it. Where others get what they want the connection is not to blame.
    fn complain(&mut self, index: usize, why: &str, random: f64) {
        let now_ms = self.now_ms;
        let well = |member: &Member| member.number.is_some() && now_ms - member.heard_ms < LATELY_MS;
        let others = self.members.iter().enumerate().any(|(other, member)| other != index && well(member));
        if !others {
            return self.lost(why, random);
        }
        let Member { id: Some(id), wanted: Some(wanted), ref stream, .. } = self.members[index] else {
            return;
        };
        let stream = stream.clone();
        self.tell(id, News::Down { why: why.into(), attempts: 1 });
        self.leave(id);
        self.out.push(Command::Move(id, stream, wanted));
    }

    fn tell(&mut self, id: u32, news: News) {
        self.out.push(Command::Tell(id, news));
    }

    fn tell_all(&mut self, news: &News) {
        let ids = self.members.iter().filter_map(|member| member.id);
        self.out.extend(ids.map(|id| Command::Tell(id, news.clone())));
    }

    // ---- the connection

    fn connect(&mut self) {
        self.connection = self.connection.wrapping_add(1);
        self.state = State::Connecting { since_ms: 0.0 };
        self.tell_all(&News::Connecting);
        self.out.push(Command::Connect(self.connection));
    }

    /// Everything is said at once: the server's greeting need not be waited for.
    fn on_open(&mut self) {
        if !matches!(self.state, State::Connecting { .. }) {
            return;
        }
        self.state = State::Up { since_ms: 0.0 };
        self.quiet_ms = 0.0;
        self.dead_ms = DEAD_MS;
        self.tells_quality = false;
        self.members.retain(|member| member.id.is_some());
        let codecs = self.codecs.clone();
        self.send(&ClientMessage::Hello { version: VERSIONS[0], codecs });
        for index in 0..self.members.len() {
            self.members[index].owed = 0;
            self.subscribe(index);
        }
        self.pings = 0;
        self.ping();
    }

    fn lost(&mut self, why: &str, random: f64) {
        let wait_ms = self.back_off.next_delay_ms(random);
        self.state = State::Down { wait_ms };
        for member in &mut self.members {
            member.number = None;
            member.owed = 0;
        }
        self.members.retain(|member| member.id.is_some());
        self.out.push(Command::Disconnect);
        self.tell_all(&News::Down { why: why.into(), attempts: self.back_off.attempts() });
    }

    /// There is reason to ask whether the connection still holds, or to try again at once: even where that was begun
    /// already, if the network was not there.
    fn doubt(&mut self, anew: bool) {
        match self.state {
            State::Down { .. } => {
                self.back_off.reset();
                if self.somebody_wants() {
                    self.connect();
                }
            }
            State::Up { .. } => {
                self.quiet_ms = 0.0;
                self.dead_ms = DOUBTED_DEAD_MS;
                self.ping();
            }
            State::Connecting { .. } if anew => self.connect(),
            State::Connecting { .. } | State::Stopped => {}
        }
    }

    fn hear(&mut self) {
        self.quiet_ms = 0.0;
        self.dead_ms = DEAD_MS;
    }

    fn ping(&mut self) {
        self.pings = self.pings.saturating_add(1);
        self.ping_in_ms = if self.pings < 4 { PING_EVERY_MS.1 } else { PING_EVERY_MS.0 };
        self.send(&ClientMessage::Ping { client_time_ms: self.now_ms });
    }

    fn send(&mut self, message: &ClientMessage) {
        self.out.push(Command::Send(message::write(message)));
    }

    fn on_tick(&mut self, random: f64) {
        let passed_ms = self.now_ms - self.ticked_ms; // NaN the first time
        self.ticked_ms = self.now_ms;
        if passed_ms > SLEPT_MS {
            self.doubt(true);
        }
        let passed_ms = within(passed_ms, 0.0, MAX_TICK_MS);
        match self.state {
            State::Stopped => {}
            State::Down { wait_ms } if wait_ms > passed_ms => {
                self.state = State::Down { wait_ms: wait_ms - passed_ms };
            }
            State::Down { .. } => {
                if self.somebody_wants() {
                    self.connect();
                }
            }
            State::Connecting { since_ms } if since_ms + passed_ms > CONNECT_TIMEOUT_MS => {
                self.lost("no answer to the connection attempt", random);
            }
            State::Connecting { since_ms } => {
                self.state = State::Connecting { since_ms: since_ms + passed_ms };
            }
            State::Up { since_ms } => {
                self.state = State::Up { since_ms: since_ms + passed_ms };
                if since_ms >= STABLE_MS {
                    self.back_off.reset();
                }
                self.on_tick_up(passed_ms, random);
            }
        }
    }

    fn on_tick_up(&mut self, passed_ms: f64, random: f64) {
        let was_quiet_ms = self.quiet_ms;
        self.quiet_ms += passed_ms;
        if self.quiet_ms >= self.dead_ms {
            self.back_off.reset(); // the silence was waiting enough
            return self.lost("the server fell silent", random);
        }
        self.ping_in_ms -= passed_ms;
        let second = |ms: f64| (ms / QUIET_PING_MS) as u32;
        if self.ping_in_ms <= 0.0 || second(self.quiet_ms) > second(was_quiet_ms) {
            self.ping();
        }
        let late = self.members.iter_mut().position(|member| {
            member.owed_ms += passed_ms;
            // An answer to something else is none.
            (member.owed > 0 || member.wanted.is_some() && member.number.is_none())
                && member.owed_ms >= if member.overtaken { ANSWER_MS.1 } else { ANSWER_MS.0 }
        });
        if let Some(index) = late {
            // One a tick is enough: the next one is late at the next tick, too.
            let member = &mut self.members[index];
            member.owed = 0;
            member.unanswered += 1;
            if member.id.is_none() || member.wanted.is_none() {
                self.members.retain(|member| member.id.is_some() || member.owed > 0);
            } else if member.unanswered >= MAX_UNANSWERED {
                member.unanswered = 0;
                self.complain(index, "the server does not answer", random);
            } else {
                self.subscribe(index);
            }
        }
    }

    // ---- what the server says

    fn on_message(&mut self, message: ServerMessage) {
        match &message {
            ServerMessage::Welcome { time_us, features, .. } => {
                self.tells_quality = features.iter().any(|feature| feature.as_bytes() == b"quality");
                self.clock.on_welcome(*time_us, self.now_ms);
                self.tell_all(&News::Clock(self.clock.reading()));
            }
            ServerMessage::Pong { client_time_ms, time_us } => {
                self.clock.on_pong(*client_time_ms, *time_us, self.now_ms);
                for member in &mut self.members {
                    member.overtaken |= member.asked_ms < *client_time_ms;
                }
                self.tell_all(&News::Clock(self.clock.reading()));
            }
            ServerMessage::Subscribed { stream, number } => {
                if let Some(index) = self.answered(stream) {
                    let member = &mut self.members[index];
                    member.number = Some(*number);
                    member.heard_ms = f64::MIN;
                    self.pass_on(index, message);
                }
            }
            ServerMessage::Unsubscribed { stream, .. } => drop(self.answered(stream)),
            ServerMessage::Error { code, stream: Some(stream), .. } => {
                let index = match code {
                    // The answer to what was asked for last.
                    ErrorCode::UnknownStream | ErrorCode::TooMany => self.answered(stream),
                    _ => self.members.iter().position(|member| member.stream == *stream),
                };
                if let Some(index) = index {
                    let member = &mut self.members[index];
                    // Whether and when to ask again is the session's matter.
                    if matches!(
                        code,
                        ErrorCode::UnknownStream | ErrorCode::TooMany | ErrorCode::UnsupportedCodec
                    ) {
                        member.wanted = None;
                        member.number = None;
                    }
                    self.pass_on(index, message);
                }
            }
            ServerMessage::Error { code, .. } => {
                if *code == ErrorCode::UnsupportedVersion {
                    self.state = State::Stopped;
                    self.out.push(Command::Disconnect);
                }
                self.tell_all(&News::Message(message));
            }
            ServerMessage::Tracks { number, .. }
            | ServerMessage::Online { number }
            | ServerMessage::Offline { number, .. }
            | ServerMessage::Dropped { number, .. }
            | ServerMessage::Switched { number, .. } => {
                let whose = |member: &Member| member.number == Some(*number) && member.owed == 0;
                if let Some(index) = self.members.iter().position(whose) {
                    self.pass_on(index, message);
                }
            }
        }
    }

    /// A request about this stream was answered. Which session's, if it was the last one and the stream is still wanted.
    fn answered(&mut self, stream: &str) -> Option<usize> {
        let index = self.members.iter().position(|member| member.stream == stream)?;
        let member = &mut self.members[index];
        member.owed = member.owed.saturating_sub(1);
        member.owed_ms = 0.0;
        member.unanswered = 0;
        if member.owed > 0 {
            return None;
        }
        if member.id.is_none() {
            self.members.remove(index);
            return None;
        }
        member.wanted.map(|_| index)
    }

    fn pass_on(&mut self, index: usize, message: ServerMessage) {
        if let Some(id) = self.members[index].id {
            self.tell(id, News::Message(message));
        }
    }
}

#[cfg(test)]
mod tests;
