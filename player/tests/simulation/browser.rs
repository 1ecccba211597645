//! A browser's media element and MediaSource, as far as a session can tell.

use std::collections::VecDeque;

use sightline_player::append::{Failure, Operation};
use sightline_player::session::Facts;

/// What a fragment is here: its presentation time in seconds, and its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Payload {
    pub(crate) at_s: f64,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Init,
    Key,
    Frame,
    Corrupt,
}

/// A segment declares more than its frame's time, so the playhead may run past the newest frame.
const DECLARED_S: f64 = 0.2;

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states of one thing")]
pub(crate) struct Browser {
    pub(crate) generation: u32,
    pub(crate) open_at: f64,
    pub(crate) has_source: bool,
    has_init: bool,
    pub(crate) buffers: bool,
    /// When the operation in flight ends, and how.
    pub(crate) busy_until: f64,
    pub(crate) failure: Option<Failure>,
    pub(crate) in_flight: Vec<Payload>,
    /// Frames that were not shown yet, in order.
    coming: VecDeque<f64>,
    ranges: Vec<(f64, f64)>,
    pub(crate) position_s: f64,
    at_ms: f64,
    pub(crate) playing: bool,
    /// Nothing is decoded until a seek; or until there is another MediaSource.
    pub(crate) hung: bool,
    pub(crate) hung_for_good: bool,
    /// The page cannot be seen: silent pictures are paused.
    pub(crate) hidden: bool,
    pub(crate) rate: f64,
    total_frames: u32,
    dropped_frames: u32,
    pub(crate) shown_s: Option<f64>,
    /// It was sent to where nothing was, and shows what comes there although it does not play.
    looks: bool,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let never = f64::INFINITY;
        Self { open_at: never, busy_until: never, rate: 1.0, ..Self::default() }
    }

    pub(crate) fn open(&mut self, generation: u32, now_ms: f64) {
        let hidden = self.hidden;
        *self = Self {
            generation,
            open_at: now_ms + 3.0,
            at_ms: now_ms,
            hidden,
            has_source: true,
            ..Self::new()
        };
    }

    pub(crate) fn close(&mut self, now_ms: f64) {
        let hidden = self.hidden;
        *self = Self { generation: self.generation, at_ms: now_ms, hidden, ..Self::new() };
    }

    pub(crate) fn moving(&self) -> bool {
        self.playing && !self.hidden && !self.hung && !self.hung_for_good && self.range_end_s().is_some()
    }

    fn range_end_s(&self) -> Option<f64> {
        let at = self.position_s;
        self.ranges.iter().rev().find(|range| range.0 <= at + 1e-6 && at < range.1).map(|range| range.1)
    }

    /// Time goes on to here.
    pub(crate) fn advance(&mut self, now_ms: f64) {
        let passed_s = (now_ms - self.at_ms) / 1e3;
        self.at_ms = now_ms;
        if self.moving()
            && let Some(end_s) = self.range_end_s()
        {
            self.position_s = (self.position_s + passed_s * self.rate).min(end_s);
        }
    }

    /// When the next picture is to be shown.
    pub(crate) fn next_shown_ms(&self) -> f64 {
        match self.coming.front() {
            Some(&next_s) if self.moving() => {
                let wait_ms = (next_s - self.position_s) / self.rate * 1e3;
                // Not for ever: where the range ends in between, there is none.
                if self.range_end_s().is_some_and(|end_s| next_s < end_s) {
                    self.at_ms + wait_ms.max(0.0)
                } else {
                    f64::INFINITY
                }
            }
            Some(&next_s) if self.looks() && next_s <= self.position_s => self.at_ms,
            _ => f64::INFINITY,
        }
    }

    /// The newest picture that is due, if it was not shown yet.
    pub(crate) fn show(&mut self) -> Option<f64> {
        let mut shown = None;
        while self.coming.front().is_some_and(|&next_s| next_s <= self.position_s + 1e-6) {
            if shown.is_some() {
                self.dropped_frames += 1;
            }
            shown = self.coming.pop_front();
            self.total_frames += 1;
        }
        if shown.is_some() {
            self.shown_s = shown;
            self.looks = false;
        }
        shown
    }

    pub(crate) fn buffered_span_s(&self) -> f64 {
        self.ranges.iter().map(|range| range.1 - range.0).sum()
    }

    /// Begins an operation. Whether its bytes cannot be decoded.
    pub(crate) fn begin(&mut self, operation: Operation<Payload>, done_ms: f64) -> bool {
        assert!(self.buffers && self.busy_until.is_infinite(), "one operation at a time");
        self.busy_until = done_ms;
        self.failure = None;
        match operation {
            Operation::Append(payloads) => {
                self.in_flight = payloads;
                let mut has_init = self.has_init;
                for payload in &self.in_flight {
                    has_init |= payload.kind == Kind::Init;
                    if !has_init || payload.kind == Kind::Corrupt {
                        return true;
                    }
                }
            }
            Operation::RemoveBefore { end_s } => {
                self.ranges.retain(|range| range.1 > end_s);
                if let Some(first) = self.ranges.first_mut() {
                    first.0 = first.0.max(end_s);
                }
                self.coming.retain(|&frame_s| frame_s >= end_s);
            }
            Operation::ChangeType(_) => {}
        }
        false
    }

    pub(crate) fn done(&mut self) {
        self.busy_until = f64::INFINITY;
        for payload in std::mem::take(&mut self.in_flight) {
            if payload.kind == Kind::Init {
                self.has_init = true;
                continue;
            }
            let at_s = payload.at_s;
            let touches = |range: &&mut (f64, f64)| range.0 - DECLARED_S <= at_s && at_s <= range.1 + 1e-6;
            if let Some(range) = self.ranges.iter_mut().find(touches) {
                range.0 = range.0.min(at_s);
                range.1 = range.1.max(at_s + DECLARED_S);
            } else {
                self.ranges.push((at_s, at_s + DECLARED_S));
                self.ranges.sort_by(|a, b| a.0.total_cmp(&b.0));
            }
            if self.coming.back().is_none_or(|&last_s| last_s < at_s) {
                if self.shown_s.is_none_or(|shown_s| shown_s < at_s) {
                    self.coming.push_back(at_s);
                }
            } else if let Err(index) = self.coming.binary_search_by(|frame_s| frame_s.total_cmp(&at_s)) {
                self.coming.insert(index, at_s);
            }
        }
    }

    /// Whether it shows what comes although it does not play.
    pub(crate) fn looks(&self) -> bool {
        self.looks && !self.hung && !self.hung_for_good
    }

    pub(crate) fn look(&mut self, at_s: f64) {
        self.seek(at_s);
        self.looks = true;
    }

    pub(crate) fn seek(&mut self, to_s: f64) {
        self.position_s = to_s;
        self.looks = false;
        self.hung = false;
        // Only the picture at the new place is shown, not those in between.
        while self.coming.get(1).is_some_and(|&next_s| next_s <= to_s + 1e-6) {
            self.coming.pop_front();
            self.total_frames += 1;
            self.dropped_frames += 1;
        }
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts {
            position_s: self.position_s,
            moving: self.moving(),
            total_frames: self.total_frames,
            dropped_frames: self.dropped_frames,
            buffered_s: self.ranges.clone(),
        }
    }
}
