//! The whole player as a state machine: events and the time go in, commands come out.
//!
//! Here: connecting, subscribing, and which stream of bytes belongs to which MediaSource. How the picture is placed
//! and kept at the live edge is in `session/play.rs`; what the server says is read in `session/server.rs`. No clock, no timer, no random numbers, no browser.
//!
//! Invariant: every event is either of the present connection and MediaSource or ignored, and whatever happens, a
//! later `Tick` leads back to a connection, a subscription and a picture, unless a fatal error was told.

mod decode;
mod events;
mod play;
mod server;

use sightline_wire::{ClientMessage, VERSIONS};

pub use events::{Command, Config, Event, Facts, Notice, Problem, Renderer, State};

use crate::clock::ServerClock;
use crate::latency::{SoundClock, Target};
use crate::message;
use crate::reconnect::BackOff;
use crate::stats::{Counters, Stats};
use crate::within;
use play::Playback;

/// How long a connection may take to open, in milliseconds.
const CONNECT_TIMEOUT_MS: f64 = 5_000.0;

/// Nothing came for this long: ask whether anybody is there, in milliseconds.
const QUIET_PING_MS: f64 = 1_000.0;

/// Nothing came for this long, not even the answer to a ping: the connection is dead, in milliseconds.
const DEAD_MS: f64 = 4_000.0;

/// Time between two pings, and between the first few, in milliseconds.
const PING_EVERY_MS: (f64, f64) = (5_000.0, 150.0);

/// After this long with a picture a failure starts the back-off from the beginning, in milliseconds.
const STABLE_MS: f64 = 5_000.0;

/// Hidden or paused for this long, the stream is given back, in milliseconds.
const PARK_AFTER_MS: f64 = 5_000.0;

/// When to ask again for a stream that the server does not know, in milliseconds.
const ASK_AGAIN_MS: f64 = 5_000.0;

/// The longest step a tick counts, in milliseconds: a page that slept was not waiting.
const MAX_TICK_MS: f64 = 500.0;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    /// Nothing is open. Connect when the tick's account reaches zero.
    Down {
        wait_ms: f64,
    },
    Connecting {
        since_ms: f64,
    },
    Up,
    /// A fatal error was told; nothing is tried.
    Stopped,
}

/// A player's session with one stream of one server.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states of one thing")]
pub struct Session<P> {
    config: Config,
    out: Vec<Command<P>>,
    now_ms: f64,
    started_ms: f64,
    link: Link,
    connection: u32,
    back_off: BackOff,
    clock: ServerClock,
    quiet_ms: f64,
    pings: u32,
    ping_in_ms: f64,
    /// Subscriptions asked for and not answered yet. Media belongs to us only at 0.
    unanswered: u32,
    number: Option<u32>,
    /// Sound was asked for in the last subscription.
    with_audio: bool,
    ask_again_in_ms: Option<f64>,
    /// Subscription given back because nobody looks.
    parked: bool,
    idle_ms: f64,
    hidden: bool,
    wants_play: bool,
    live_ms: f64,
    trouble: Option<State>,
    told: Option<State>,
    counters: Counters,
    last_trouble: String,
    play: Playback<P>,
}

impl<P: Clone> Session<P> {
    /// A session that waits for [`Event::Started`].
    pub fn new(config: Config) -> Self {
        Self {
            play: Playback::new(config.target, config.sound_clock).by(config.renderer),
            wants_play: config.autoplay,
            config,
            out: Vec::new(),
            now_ms: 0.0,
            started_ms: 0.0,
            link: Link::Down { wait_ms: f64::INFINITY },
            connection: 0,
            back_off: BackOff::default(),
            clock: ServerClock::default(),
            quiet_ms: 0.0,
            pings: 0,
            ping_in_ms: 0.0,
            unanswered: 0,
            number: None,
            with_audio: false,
            ask_again_in_ms: None,
            parked: false,
            idle_ms: 0.0,
            hidden: false,
            live_ms: 0.0,
            trouble: None,
            told: None,
            counters: Counters::default(),
            last_trouble: String::new(),
        }
    }

    /// Takes an event at `now_ms`, the page's monotonic clock, and returns what to do, in order.
    pub fn handle(&mut self, event: Event<P>, now_ms: f64) -> Vec<Command<P>> {
        self.now_ms = now_ms;
        self.take(event);
        self.tell_state();
        std::mem::take(&mut self.out)
    }

    fn take(&mut self, event: Event<P>) {
        match event {
            Event::Started => {
                self.started_ms = self.now_ms;
                if self.wants_play {
                    self.connect();
                }
            }
            Event::SocketOpen { connection } if connection == self.connection => self.on_open(),
            Event::SocketClosed { connection, code, random } if connection == self.connection => {
                if matches!(self.link, Link::Up | Link::Connecting { .. }) {
                    self.lost(&format!("connection closed ({code})"), random);
                }
            }
            Event::Text { connection, text } if connection == self.connection && self.link == Link::Up => {
                self.quiet_ms = 0.0;
                match message::read(&text) {
                    Some(message) => self.on_message(message),
                    None => self.counters.bad_messages += 1, // how the protocol grows: see `wire`
                }
            }
            Event::Fragment { connection, header, payload, bytes, position_s } => {
                if connection == self.connection && self.link == Link::Up {
                    self.quiet_ms = 0.0;
                    self.on_fragment(&header, payload, bytes, position_s);
                }
            }
            Event::BadMessage => self.counters.bad_messages += 1,
            Event::Tick { facts, random } => self.on_tick(facts, random),
            Event::Hidden(hidden) => {
                self.hidden = hidden;
                self.idle_ms = 0.0;
                if !hidden {
                    self.unpark();
                }
            }
            Event::NetworkBack => {
                if let Link::Down { .. } = self.link
                    && !self.parked
                    && self.wants_play
                {
                    self.back_off.reset();
                    self.connect();
                } else if self.link == Link::Up {
                    self.quiet_ms = self.quiet_ms.max(QUIET_PING_MS); // ask now whether the old one still holds
                }
            }
            Event::Play => {
                let again = !std::mem::replace(&mut self.wants_play, true);
                self.idle_ms = 0.0;
                self.unpark();
                // The element's own `play` event comes here too: it changes nothing.
                if again && self.play.is_placed() {
                    self.out.push(Command::Play);
                    self.seek_to_live();
                }
            }
            Event::Pause => {
                if std::mem::take(&mut self.wants_play) {
                    self.idle_ms = 0.0;
                    self.out.push(Command::Pause);
                }
            }
            Event::Muted(muted) => {
                self.config.muted = muted;
                if !muted && !self.with_audio && self.link == Link::Up && !self.parked {
                    self.resubscribe();
                }
            }
            Event::SoundRouted(routed, lead_s) => {
                let sound_clock = if routed { SoundClock::Routed } else { self.config.sound_clock };
                self.play.controller.set_sound_clock(sound_clock, lead_s);
            }
            Event::Target(target) => self.set_target(target),
            Event::PlayRejected if self.config.muted => {
                self.wants_play = false;
                self.notify(Notice::GestureNeeded);
            }
            Event::PlayRejected => {
                self.config.muted = true;
                self.out.extend([Command::Mute, Command::Play]);
                self.notify(Notice::Muted);
            }
            other => self.on_media_event(other),
        }
    }

    fn set_target(&mut self, target: Target) {
        self.config.target = target;
        self.play.controller.set_target(target);
    }

    fn notify(&mut self, notice: Notice) {
        self.out.push(Command::Notify(notice));
    }

    fn send(&mut self, message: &ClientMessage) {
        self.out.push(Command::Send(crate::message::write(message)));
    }

    // ---- the connection

    fn connect(&mut self) {
        self.connection = self.connection.wrapping_add(1);
        self.link = Link::Connecting { since_ms: 0.0 };
        self.open_source(); // it opens while the connection does
        self.out.push(Command::Connect { connection: self.connection });
    }

    fn on_open(&mut self) {
        self.link = Link::Up;
        self.quiet_ms = 0.0;
        self.unanswered = 0;
        self.number = None;
        let codecs = self.config.codecs.clone();
        self.send(&ClientMessage::Hello { version: VERSIONS[0], codecs });
        self.subscribe();
        self.pings = 0;
        self.ping();
    }

    /// The connection is gone or of no use. The picture stays; a new one is tried for.
    fn lost(&mut self, why: &str, random: f64) {
        self.counters.reconnects += 1;
        why.clone_into(&mut self.last_trouble);
        let wait_ms = self.back_off.next_delay_ms(random);
        self.link = Link::Down { wait_ms };
        self.number = None;
        self.ask_again_in_ms = None;
        self.out.push(Command::Disconnect);
        self.trouble = Some(State {
            state: "connecting",
            code: "disconnected".into(),
            reason: if self.back_off.attempts() > 1 {
                "the server does not answer; trying again".into()
            } else {
                "the connection was lost; connecting again".into()
            },
            since_us: None,
        });
        self.hold_and_forget();
    }

    fn subscribe(&mut self) {
        self.unanswered += 1;
        self.with_audio = !self.config.muted;
        self.ask_again_in_ms = None;
        let (stream, audio) = (self.config.stream.clone(), self.with_audio);
        self.send(&ClientMessage::Subscribe { stream, audio });
    }

    fn unsubscribe(&mut self) {
        if self.number.take().is_some() || self.unanswered > 0 {
            let stream = self.config.stream.clone();
            self.send(&ClientMessage::Unsubscribe { stream });
        }
    }

    /// Asks for the stream from its cached key frame on, into a new MediaSource.
    fn resubscribe(&mut self) {
        self.unsubscribe();
        self.hold_and_forget();
        self.subscribe();
        self.open_source();
    }

    /// The MediaSource is of no use any more.
    fn rebuild(&mut self, why: &str, random: f64) {
        self.counters.rebuilds += 1;
        why.clone_into(&mut self.last_trouble);
        if self.link != Link::Up {
            return self.hold_and_forget();
        }
        // Once is bad luck. Again without a stable picture in between, and the server deserves a pause.
        if self.back_off.attempts() > 0 {
            return self.lost(why, random);
        }
        self.back_off.next_delay_ms(random);
        self.resubscribe();
    }

    fn park(&mut self) {
        self.parked = true;
        if self.link == Link::Up {
            self.unsubscribe();
        }
    }

    fn unpark(&mut self) {
        if self.link == (Link::Down { wait_ms: f64::INFINITY }) && self.wants_play {
            self.connect();
        }
        if !std::mem::take(&mut self.parked) {
            return;
        }
        self.hold_and_forget();
        if self.link == Link::Up {
            self.subscribe();
            self.open_source();
        }
    }

    fn ping(&mut self) {
        self.pings = self.pings.saturating_add(1);
        self.ping_in_ms = if self.pings < 4 { PING_EVERY_MS.1 } else { PING_EVERY_MS.0 };
        self.send(&ClientMessage::Ping { client_time_ms: self.now_ms });
    }

    fn stop(&mut self, code: &str, message: String) {
        self.link = Link::Stopped;
        self.out.push(Command::Disconnect);
        self.trouble =
            Some(State { state: "error", code: code.into(), reason: message.clone(), since_us: None });
        self.notify(Notice::Error(Problem { code: code.into(), message, fatal: true, retryable: false }));
    }

    // ---- time

    fn on_tick(&mut self, facts: Facts, random: f64) {
        let passed_ms = within(self.now_ms - self.play.ticked_ms, 0.0, MAX_TICK_MS);
        self.play.ticked_ms = self.now_ms;
        match self.link {
            Link::Stopped => return,
            Link::Down { wait_ms } if wait_ms <= passed_ms && !self.parked => {
                self.connect();
            }
            Link::Down { wait_ms } => self.link = Link::Down { wait_ms: wait_ms - passed_ms },
            Link::Connecting { since_ms } if since_ms + passed_ms > CONNECT_TIMEOUT_MS => {
                self.lost("no answer to the connection attempt", random);
            }
            Link::Connecting { since_ms } => self.link = Link::Connecting { since_ms: since_ms + passed_ms },
            Link::Up => self.on_tick_up(passed_ms, random),
        }
        if self.hidden && (self.config.muted || !self.play.has_audio()) || !self.wants_play {
            self.idle_ms += passed_ms;
            if self.idle_ms >= PARK_AFTER_MS && !self.parked {
                self.park();
            }
        } else {
            self.idle_ms = 0.0;
        }
        if self.state() == "live" {
            self.live_ms += passed_ms;
            if self.live_ms >= STABLE_MS {
                self.back_off.reset();
            }
        } else {
            self.live_ms = 0.0;
        }
        self.watch(facts, random);
    }

    fn on_tick_up(&mut self, passed_ms: f64, random: f64) {
        let was_quiet_ms = self.quiet_ms;
        self.quiet_ms += passed_ms;
        if self.quiet_ms >= DEAD_MS {
            return self.lost("the server fell silent", random);
        }
        self.ping_in_ms -= passed_ms;
        let second = |ms: f64| (ms / QUIET_PING_MS) as u32;
        if self.ping_in_ms <= 0.0 || second(self.quiet_ms) > second(was_quiet_ms) {
            self.ping();
        }
        if let Some(wait_ms) = self.ask_again_in_ms {
            if wait_ms <= passed_ms {
                self.subscribe();
            } else {
                self.ask_again_in_ms = Some(wait_ms - passed_ms);
            }
        }
    }

    // ---- what others may know

    /// `connecting`, `live`, `offline` or `error`.
    pub fn state(&self) -> &'static str {
        match &self.trouble {
            Some(trouble) => trouble.state,
            None if self.play.is_playing() => "live",
            None => "connecting",
        }
    }

    fn tell_state(&mut self) {
        let now = self.trouble.clone().unwrap_or_else(|| State {
            state: self.state(),
            code: String::new(),
            reason: String::new(),
            since_us: None,
        });
        if self.told.as_ref() != Some(&now) {
            self.told = Some(now.clone());
            self.notify(Notice::State(now));
        }
    }

    /// The figures as they are now.
    pub fn stats(&self) -> Stats {
        let mut stats = self.play.stats(self.now_ms, &self.clock);
        stats.state = self.state();
        stats.last_trouble.clone_from(&self.last_trouble);
        stats.counters = self.counters.clone();
        stats
    }
}

#[cfg(test)]
mod tests;
