//! The playhead: where it is moved to, how fast it goes, and what is seen there.
//!
//! Invariant: what was seen is not shown again, whatever a browser shows on its way to where it is sent.

use super::super::{Command, Notice, Session};
use super::Phase;
use super::first_look::FirstLook;
use crate::latency::Action;

/// How long a page and a decoder are busy with themselves after the first picture, in milliseconds.
const STARTING_MS: f64 = 500.0;

/// What was seen before a jump is held no longer than this, in milliseconds.
const MAX_JUMP_MS: f64 = 300.0;

/// A jump that is being made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jump {
    /// The picture that was seen last before it.
    seen_s: f64,
    from_ms: f64,
    /// The browser has told of a first picture after it.
    told: bool,
}

impl Jump {
    pub(super) fn from(seen_s: f64, from_ms: f64) -> Self {
        Self { seen_s, from_ms, told: false }
    }
}

impl<P: Clone> Session<P> {
    pub(in super::super) fn seek_to_live(&mut self) {
        if self.show_newest() || !self.play.is_placed() {
            return;
        }
        let Some(newest_s) = self.play.appended_s else { return };
        let landing_s = self.landing_s().unwrap_or(newest_s);
        // What was seen is not shown again. Sound begins with more than there is behind the newest picture.
        let seen_s = self.play.shown_s.filter(|_| self.play.controller.first_wait_s() == 0.0);
        self.jump(seen_s.map_or(landing_s, |seen_s| landing_s.max(seen_s)).min(newest_s));
    }

    pub(super) fn landing_s(&self) -> Option<f64> {
        self.play.controller.landing_s(self.play.facts.position_s, self.now_ms, self.clock.offset_ms())
    }

    pub(super) fn jump(&mut self, to_s: f64) {
        self.counters.seeks = self.counters.seeks.saturating_add(1);
        if let Some(shown_s) =
            self.play.shown_s.filter(|_| self.play.is_playing() && self.play.decoding.is_none())
        {
            self.play.jumping = Some(Jump::from(shown_s, self.now_ms));
            self.notify(Notice::Hold(true));
        }
        self.move_to(to_s);
    }

    pub(super) fn move_to(&mut self, to_s: f64) {
        self.play.controller.on_seek();
        self.play.moved_ms = self.now_ms;
        self.out.push(Command::Seek(to_s));
    }

    /// Goes to where play should be, if that is ahead.
    pub(super) fn catch_up(&mut self) {
        if self.landing_s().is_some_and(|landing_s| landing_s > self.play.facts.position_s) {
            self.seek_to_live();
        }
    }

    pub(super) fn steer(&mut self, position_s: Option<f64>) {
        if self.play.decoding.is_some() {
            return; // there is no playhead
        }
        let (now_ms, offset_ms) = (self.now_ms, self.clock.offset_ms());
        let controller = &mut self.play.controller;
        let action = if controller.is_sparse() {
            controller.hurry(position_s.unwrap_or(self.play.facts.position_s), now_ms, offset_ms)
        } else {
            let Some(position_s) = position_s else { return controller.on_moved() };
            controller.on_position(position_s, now_ms);
            controller.decide(now_ms, offset_ms)
        };
        match action {
            Action::Hold => {}
            Action::Rate(rate) => self.out.push(Command::Rate(rate)),
            Action::Seek(to_s) => {
                // Never beyond what is there, and never backwards.
                let to_s = self.play.appended_s.map_or(to_s, |appended_s| to_s.min(appended_s));
                if position_s.is_none_or(|position_s| to_s > position_s) {
                    self.jump(to_s);
                }
            }
        }
    }

    pub(super) fn on_frame_shown(&mut self, media_time_s: f64, shown_ms: f64, seeking: bool) {
        if self.play.phase == Phase::Filling && self.play.first_look != FirstLook::Over {
            return self.on_looked(media_time_s);
        }
        let play = &mut self.play;
        let media_time_s = match &mut play.decoding {
            Some(decoding) => decoding.shown_s(media_time_s, shown_ms),
            None => media_time_s,
        };
        if let Some(jump) = play.jumping {
            // Nobody sees it, or Firefox tells of one last picture from before the jump.
            if media_time_s <= jump.seen_s || (seeking && self.config.whole_groups) {
                return;
            }
        }
        self.on_first_picture();
        self.land(Some(media_time_s));
        if self.config.whole_groups && self.play.controller.is_sparse() {
            self.steer(Some(media_time_s)); // Firefox's next look may be too late
        }
        let play = &mut self.play;
        play.shown_s = Some(media_time_s);
        if let Some(last_ms) = play.shown_ms.replace(shown_ms) {
            play.gaps.push(shown_ms - last_ms, self.now_ms);
        }
        // Browsers give the presentation time back in microseconds, rounded their way.
        let shown = play.pictures.iter().rev().find(|p| (p.presentation_s - media_time_s).abs() < 0.002);
        if let Some(picture) = shown {
            play.wait.push(shown_ms - picture.arrival_ms, self.now_ms);
            if let Some(age_ms) = self.clock.age_ms(picture.capture_us, shown_ms) {
                play.latency.push(age_ms, self.now_ms);
            }
        }
    }

    /// What a jump brought back is over when something newer than what was seen is shown, or soon.
    pub(super) fn land(&mut self, shown_s: Option<f64>) {
        let Some(jump) = &mut self.play.jumping else { return };
        let newer = shown_s.filter(|&shown_s| shown_s > jump.seen_s);
        // What Firefox tells of first has the time that was jumped to, whichever picture it is.
        if let Some(newer_s) = newer
            && self.config.whole_groups
            && !core::mem::replace(&mut jump.told, true)
        {
            jump.seen_s = newer_s;
            return;
        }
        if newer.is_some() || self.now_ms - jump.from_ms > MAX_JUMP_MS {
            self.play.jumping = None;
            self.notify(Notice::Hold(false));
        }
    }

    pub(super) fn on_first_picture(&mut self) {
        if self.play.phase == Phase::Placed {
            self.play.phase = Phase::Playing;
            // While a page and a decoder start, messages are handled late: that says nothing about the network.
            self.play.controller.on_gap();
            self.play.measure_anew_ms = Some(self.now_ms + STARTING_MS);
            self.note_first_frame();
            self.notify(Notice::Hold(false));
        }
    }

    pub(super) fn note_first_frame(&mut self) {
        let since_start_ms = self.now_ms - self.started_ms;
        self.play.first_frame_ms.get_or_insert(since_start_ms);
    }
}
