//! The whole player as a state machine: events and the time go in, commands come out.
//!
//! Here: the stream as it is asked for, given back and asked for again, and which stream of bytes belongs to which
//! MediaSource. How the picture is placed and kept at the live edge is in `session/play.rs`; what the server says is read
//! in `session/server.rs`; the connection is in `link`. No clock, no timer, no random numbers, no browser.
//!
//! Invariant: every event is either of the present subscription and MediaSource or ignored, and whatever happens, a
//! later `Tick` leads back to a subscription and a picture, unless a fatal error was told.

mod decode;
mod events;
mod play;
mod server;

pub use events::{Command, Config, Event, Facts, Notice, Problem, Renderer, State};

use crate::clock::Reading;
use crate::latency::{SoundClock, Target};
use crate::link::{Ask, News, Wanted};
use crate::prelude::*;
use crate::reconnect::BackOff;
use crate::stats::{Counters, Reasons, Stats};
use crate::within;
use play::Playback;

/// After this long with a picture a failure starts the back-off from the beginning, in milliseconds.
const STABLE_MS: f64 = 5_000.0;

/// Hidden or paused for this long, the stream is given back, in milliseconds.
const PARK_AFTER_MS: f64 = 5_000.0;

/// When to ask again for a stream that the server does not know, in milliseconds.
const ASK_AGAIN_MS: f64 = 5_000.0;

/// Without a fragment for this long, or for five pictures, the stream is asked for again, in milliseconds. The server
/// says so itself when a camera falls silent: this is for one that does not.
const STARVED_MS: f64 = 10_000.0;

/// The same where fragments come that belong to nothing that was announced.
const STRANGE_MS: f64 = 2_000.0;

/// The longest step a tick counts, in milliseconds: a page that slept was not waiting.
const MAX_TICK_MS: f64 = 500.0;

/// A player's session with one stream of one server.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states of one thing")]
pub struct Session<P> {
    config: Config,
    out: Vec<Command<P>>,
    now_ms: f64,
    started_ms: f64,
    back_off: BackOff,
    clock: Reading,
    /// The server gives us the stream.
    subscribed: bool,
    /// A MediaSource is there for it, or being opened.
    has_source: bool,
    /// A fatal error was told; nothing is tried.
    stopped: bool,
    /// Sound was asked for in the last subscription.
    with_audio: bool,
    max_height: Option<u32>,
    /// The quality that comes, where there are several.
    quality: String,
    /// Time since the last fragment, while some should come.
    starved_ms: f64,
    /// Fragments came that belong to nothing that was announced.
    strange: bool,
    ask_again_in_ms: Option<f64>,
    /// The stream is not asked for, or was given back, because nobody looks.
    parked: bool,
    idle_ms: f64,
    hidden: bool,
    wants_play: bool,
    live_ms: f64,
    trouble: Option<State>,
    told: Option<State>,
    counters: Counters,
    reasons: Reasons,
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
            back_off: BackOff::default(),
            clock: Reading::default(),
            subscribed: false,
            has_source: false,
            stopped: false,
            with_audio: false,
            max_height: None,
            quality: String::new(),
            starved_ms: 0.0,
            strange: false,
            ask_again_in_ms: None,
            parked: true,
            idle_ms: 0.0,
            hidden: false,
            live_ms: 0.0,
            trouble: None,
            told: None,
            counters: Counters::default(),
            reasons: Reasons::default(),
        }
    }

    /// Takes an event at `now_ms`, the page's monotonic clock, and returns what to do, in order.
    pub fn handle(&mut self, event: Event<P>, now_ms: f64) -> Vec<Command<P>> {
        self.now_ms = now_ms;
        self.take(event);
        self.tell_state();
        core::mem::take(&mut self.out)
    }

    fn take(&mut self, event: Event<P>) {
        match event {
            Event::Started => {
                self.started_ms = self.now_ms;
                if self.wants_play {
                    self.parked = false;
                    self.subscribe();
                }
            }
            Event::Link(news) => self.on_news(news),
            Event::Fragment { header, payload, bytes, position_s } => {
                self.on_fragment(&header, payload, bytes, position_s);
            }
            Event::Tick { facts, random } => self.on_tick(facts, random),
            Event::Hidden(hidden) => {
                self.hidden = hidden;
                self.idle_ms = 0.0;
                if !hidden {
                    self.ask(Ask::Hurry);
                    self.unpark();
                }
            }
            Event::Far => {
                self.hidden = true;
                if !self.is_heard() {
                    self.park();
                }
            }
            Event::Height(max_height) => {
                self.max_height = max_height;
                if self.subscribed {
                    self.ask(Ask::MaxHeight(max_height));
                }
            }
            Event::Play => {
                let again = !core::mem::replace(&mut self.wants_play, true);
                self.idle_ms = 0.0;
                if !self.hidden || self.is_heard() {
                    self.unpark();
                }
                // The element's own `play` event comes here too: it changes nothing.
                if again && self.play.is_placed() {
                    self.out.push(Command::Play);
                    self.seek_to_live();
                }
            }
            Event::Pause => {
                if core::mem::take(&mut self.wants_play) {
                    self.idle_ms = 0.0;
                    self.out.push(Command::Pause);
                }
            }
            Event::Muted(muted) => {
                self.config.muted = muted;
                if !muted && !self.with_audio && self.is_asked() {
                    self.begin_anew();
                }
            }
            Event::SoundRouted(routed, lead_s) => {
                let sound_clock = if routed { SoundClock::Routed } else { self.config.sound_clock };
                self.play.controller.set_sound_clock(sound_clock, lead_s);
            }
            Event::Target(target) => self.set_target(target),
            Event::SoundRefused => {
                if !core::mem::replace(&mut self.config.muted, true) {
                    self.out.push(Command::Mute);
                    self.notify(Notice::Muted);
                }
            }
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

    fn ask(&mut self, ask: Ask) {
        self.out.push(Command::Link(ask));
    }

    // ---- the stream

    /// Whether the stream is asked for, not given back and not waited with.
    fn is_asked(&self) -> bool {
        !self.parked && !self.stopped && self.ask_again_in_ms.is_none()
    }

    /// Whether somebody hears it even where nobody sees it.
    fn is_heard(&self) -> bool {
        !self.config.muted && self.play.has_audio()
    }

    /// Asks for the stream from its cached key frame on. The link does so again on each later connection.
    fn subscribe(&mut self) {
        self.subscribed = false;
        self.starved_ms = 0.0;
        self.strange = false;
        self.ask_again_in_ms = None;
        self.with_audio = !self.config.muted;
        let (audio, max_height) = (self.with_audio, self.max_height);
        self.ask(Ask::Subscribe(Wanted { audio, max_height }));
        if !self.has_source {
            self.open_source(); // it opens while the connection does
        }
    }

    fn unsubscribe(&mut self) {
        self.subscribed = false;
        self.ask_again_in_ms = None;
        self.ask(Ask::Unsubscribe);
    }

    /// The same into a new MediaSource, behind the last picture.
    fn begin_anew(&mut self) {
        self.hold_and_forget();
        self.subscribe();
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::Connecting => {
                if !self.has_source && self.is_asked() {
                    self.open_source();
                }
            }
            News::Down { why, attempts } => self.on_down(&why, attempts),
            News::Message(message) => self.on_message(message),
            News::BadMessage => self.counters.bad_messages += 1,
            News::Clock(clock) => self.clock = clock,
        }
    }

    /// The connection is gone or of no use. The picture stays; the link tries for another one.
    fn on_down(&mut self, why: &str, attempts: u32) {
        if !self.is_asked() {
            return;
        }
        self.counters.reconnects += 1;
        self.reasons.push("reconnect", why);
        self.subscribed = false;
        self.trouble = Some(State {
            state: "connecting",
            code: "disconnected".into(),
            reason: if attempts > 1 {
                "the server does not answer; trying again".into()
            } else {
                "the connection was lost; connecting again".into()
            },
            since_us: None,
        });
        self.hold_and_forget();
    }

    /// The MediaSource is of no use any more.
    fn rebuild(&mut self, why: &str, random: f64) {
        self.counters.rebuilds += 1;
        self.reasons.push("rebuild", why);
        self.hold_and_forget();
        if !self.is_asked() {
            return;
        }
        // Once is bad luck. Again without a stable picture in between, and the server deserves a pause.
        let again = self.back_off.attempts() > 0;
        let wait_ms = self.back_off.next_delay_ms(random);
        if again {
            self.unsubscribe();
            self.ask_again_in_ms = Some(wait_ms);
        } else {
            self.subscribe();
        }
    }

    /// Nothing else helped: this stream needs another connection.
    fn reconnect(&mut self, why: &str) {
        if self.is_asked() {
            self.ask(Ask::Reconnect(why.into()));
        }
    }

    fn park(&mut self) {
        if !core::mem::replace(&mut self.parked, true) {
            self.unsubscribe();
        }
    }

    fn unpark(&mut self) {
        if self.wants_play && !self.stopped && core::mem::take(&mut self.parked) {
            self.begin_anew();
        }
    }

    fn stop(&mut self, code: &str, message: String) {
        self.stopped = true;
        self.unsubscribe();
        self.trouble =
            Some(State { state: "error", code: code.into(), reason: message.clone(), since_us: None });
        self.notify(Notice::Error(Problem { code: code.into(), message, fatal: true, retryable: false }));
    }

    // ---- time

    fn on_tick(&mut self, facts: Facts, random: f64) {
        let passed_ms = within(self.now_ms - self.play.ticked_ms, 0.0, MAX_TICK_MS);
        self.play.ticked_ms = self.now_ms;
        if self.stopped {
            return;
        }
        match self.ask_again_in_ms {
            Some(wait_ms) if wait_ms <= passed_ms => self.subscribe(),
            Some(wait_ms) => self.ask_again_in_ms = Some(wait_ms - passed_ms),
            None => {}
        }
        if self.hidden && !self.is_heard() || !self.wants_play {
            self.idle_ms += passed_ms;
            if self.idle_ms >= PARK_AFTER_MS {
                self.park();
            }
        } else {
            self.idle_ms = 0.0;
        }
        self.look_for_media(passed_ms, random);
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

    /// Fragments come, or somebody says why not.
    fn look_for_media(&mut self, passed_ms: f64, random: f64) {
        let should_come = self.subscribed && (self.trouble.is_none() || self.strange);
        self.starved_ms = if should_come { self.starved_ms + passed_ms } else { 0.0 };
        let patience_ms = if self.strange { STRANGE_MS } else { STARVED_MS.max(self.play.frame_ms() * 5.0) };
        if self.starved_ms > patience_ms {
            self.starved_ms = 0.0;
            if self.back_off.attempts() < 2 {
                self.rebuild("no picture came", random);
            } else {
                self.reconnect("no picture came");
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
        let mut stats = self.play.stats(self.now_ms, self.clock);
        stats.state = self.state();
        stats.quality.clone_from(&self.quality);
        stats.reasons = self.reasons.clone();
        stats.counters = self.counters.clone();
        stats
    }
}

#[cfg(test)]
mod tests;
