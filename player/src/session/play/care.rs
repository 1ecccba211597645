//! Looking after the picture while it plays: what is trimmed, what a standstill leads to, and when figures are told.
//!
//! Invariant: nothing here runs but from a tick, so a page that sleeps is not looked after and not misjudged either.

use super::super::decode::Decoding;
use super::super::{Facts, Notice, Session};
use super::{HISTORY_REST_MS, Phase, STATS_EVERY_MS};
use crate::prelude::*;
use crate::watchdog::{Look, STALL_MS, Step};

/// What a dropped picture and a stall add to the margin, in milliseconds.
const TROUBLE_MS: (f64, f64) = (5.0, 30.0);

/// A standstill that is none of the machine's hiccups where sound goes by samples and enough of it is there, in
/// milliseconds: the browser ran dry and now waits for twice as much as it begins with. A seek to where it stands makes
/// it begin again, at once.
const DRY_MS: f64 = 80.0;

/// Pictures that a seek skips are counted as dropped for so long after it, in milliseconds.
const SETTLE_MS: f64 = 1_000.0;

impl<P: Clone> Session<P> {
    /// Looks after the picture, some ten times a second.
    pub(in super::super) fn watch(&mut self, facts: Facts, random: f64) {
        let now_ms = self.now_ms;
        let play = &mut self.play;
        let facts = play.decoding.as_ref().map_or(facts, Decoding::facts);
        if !play.history_whole && play.newest_s.is_some() && now_ms - play.arrived_ms > HISTORY_REST_MS {
            play.history_whole = true;
        }
        if play.is_no_history(now_ms) {
            play.catch_up_sequence = None;
            play.history_whole = true;
        }
        if play.measure_anew_ms.is_some_and(|at_ms| now_ms >= at_ms) {
            play.measure_anew_ms = None;
            play.controller.on_gap();
        }
        let dropped = facts.dropped_frames.saturating_sub(play.facts.dropped_frames);
        let seen = facts.total_frames.saturating_sub(play.facts.total_frames);
        let moved = facts.moving && facts.position_s > play.facts.position_s;
        play.facts = facts;
        let settled = now_ms - play.moved_ms > SETTLE_MS;
        // Played faster than they come, some pictures are left out, late or not.
        let hurried = play.controller.rate() > 1.0;
        if play.phase == Phase::Playing && dropped > 0 && settled && !hurried && !self.hidden {
            play.controller.on_trouble(TROUBLE_MS.0 * f64::from(dropped), now_ms);
        }
        if moved && seen > 0 {
            self.on_first_picture(); // browsers without requestVideoFrameCallback, and hidden pages
        }
        self.place();
        self.on_time();
        self.land(None);
        if self.play.is_playing() {
            let position_s = self.play.facts.moving.then_some(self.play.facts.position_s);
            self.steer(position_s);
        }
        self.trim();
        self.guard(random);
        self.play.stats_in_ms -= 100.0;
        if self.play.stats_in_ms <= 0.0 {
            self.tell_stats();
        }
    }

    fn trim(&mut self) {
        if let Some(cut_s) = self.play.history.trim(self.play.facts.position_s)
            && self.play.is_playing()
        {
            for track in 0..self.play.queues.len() {
                self.play.queues[track].remove_before(cut_s);
                self.operate(track);
            }
        }
    }

    fn guard(&mut self, random: f64) {
        let online = self.state() != "offline";
        let play = &mut self.play;
        let look = Look {
            position_s: play.facts.position_s,
            total_frames: play.facts.total_frames,
            buffered_s: play.facts.buffered_s.clone(),
            // A decoded picture that waits for its time is our own doing.
            should_move: self.subscribed
                && self.wants_play
                && !self.hidden
                && !self.parked
                && !play.decoding.as_ref().is_some_and(Decoding::waits),
            online,
            placed: play.phase != Phase::Filling,
            newest_s: play.newest_s,
            frame_ms: play.frame_ms,
            shows_untimed: self.config.sound_clock.counts_samples(),
        };
        let step = play.watchdog.look(&look, self.now_ms);
        let sound_is_counted = play.controller.sound_must_be_fetched_anew();
        let settled = self.now_ms - play.moved_ms > SETTLE_MS;
        let still_ms = if play.is_playing() { play.watchdog.still_ms() } else { 0.0 };
        let at_s = look.position_s;
        let here = look.buffered_s.iter().find(|range| range.0 <= at_s && at_s <= range.1);
        let could_begin = here.is_some_and(|range| play.controller.could_begin(range.1 - at_s));
        let dry = sound_is_counted && settled && still_ms > DRY_MS && could_begin;
        let still = dry || still_ms > STALL_MS.max(play.frame_ms * 2.0);
        if still && !core::mem::replace(&mut play.stalled, still) {
            self.counters.stalls += 1;
            play.controller.on_stall(TROUBLE_MS.1, self.now_ms);
        }
        let resumed = play.stalled && !still && play.is_playing();
        play.stalled = still;
        if dry {
            self.seek_to_live();
        } else if resumed && settled && sound_is_counted {
            self.catch_up();
        }
        match step {
            None => {}
            Some(Step::Nudge(to_s)) => {
                self.counters.nudges += 1;
                self.reasons.push("nudge", "a hole in what is buffered");
                // Firefox may have had nothing to seek in when the first place was chosen, and stands at the start.
                let first_s = self.play.first_s().filter(|_| self.play.phase == Phase::Placed);
                self.move_to(first_s.map_or(to_s, |first_s| first_s.max(to_s)));
            }
            Some(Step::SeekToLive) => {
                self.reasons.push("seek", "the picture stood still");
                self.seek_to_live();
            }
            Some(Step::Rebuild) if self.play.decoding.is_some() => {
                self.decoder_trouble("the picture stood still", self.now_ms);
            }
            Some(Step::Rebuild) => self.rebuild("the picture stood still", random),
            Some(Step::Reconnect) => self.reconnect("the picture stood still"),
        }
    }

    fn tell_stats(&mut self) {
        self.play.stats_in_ms = STATS_EVERY_MS;
        for window in [&mut self.play.latency, &mut self.play.wait, &mut self.play.gaps, &mut self.play.bits]
        {
            window.expire(self.now_ms);
        }
        let stats = self.stats();
        if let Some(ms) = stats.latency_ms {
            self.notify(Notice::Latency(ms));
        }
        self.notify(Notice::Stats(Box::new(stats)));
    }
}
