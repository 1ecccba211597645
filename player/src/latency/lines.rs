//! The two lines that are compared, each measured from what happened lately: the edge and the playhead.
//!
//! What to do about their distance does not belong here.
//!
//! Invariant: what is remembered is bounded in number and in age.

use alloc::collections::VecDeque;

use crate::nth_smallest;
use crate::prelude::*;

/// Fragments older than this tell nothing about the next one, in milliseconds.
const EDGE_WINDOW_MS: f64 = 3_000.0;

/// Fragments remembered at most.
const MAX_ARRIVALS: usize = 1_024;

/// The share of fragments that may come too late.
const LATE_SHARE: f64 = 0.03;

/// Jitter that is kept behind, in milliseconds. What comes later than this after a pause of the network was not jitter,
/// and staying behind for it would make every pause last twice.
const MAX_JITTER_MS: f64 = 500.0;

/// The newest fragments, whose best tells how the network is now.
const RECENT: usize = 15;

/// How long `currentTime` is watched to find where it really is, in milliseconds. Firefox moves it in steps.
const PLAYHEAD_WINDOW_MS: f64 = 400.0;

/// Where the playhead is, from readings of `currentTime` that may be up to some frames old.
#[derive(Debug, Default)]
pub(super) struct Playhead {
    /// (local time, media time - local time - what the rate has added), in milliseconds.
    readings: VecDeque<(f64, f64)>,
    rate_gain_ms: f64,
    last_ms: Option<f64>,
}

impl Playhead {
    pub(super) fn advance(&mut self, now_ms: f64, rate: f64) {
        if let Some(last_ms) = self.last_ms {
            self.rate_gain_ms += (now_ms - last_ms).max(0.0) * (rate - 1.0);
        }
        self.last_ms = Some(now_ms);
    }

    pub(super) fn read(&mut self, position_s: f64, now_ms: f64, rate: f64) {
        self.advance(now_ms, rate);
        self.readings.push_back((now_ms, position_s * 1e3 - now_ms - self.rate_gain_ms));
        while self.readings.front().is_some_and(|&(at, _)| now_ms - at > PLAYHEAD_WINDOW_MS) {
            self.readings.pop_front();
        }
        if self.readings.len() > 64 {
            self.readings.pop_front();
        }
    }

    /// Media time minus local time. A stale reading is too small, never too large: the largest is the truest.
    pub(super) fn line_ms(&self) -> Option<f64> {
        let highest = self.readings.iter().map(|&(_, line)| line).max_by(f64::total_cmp)?;
        Some(highest + self.rate_gain_ms)
    }
}

/// Arrivals of one kind of track.
#[derive(Debug, Default)]
pub(super) struct Edge {
    /// (local time, presentation time - local time), in milliseconds.
    arrivals: VecDeque<(f64, f64)>,
}

impl Edge {
    pub(super) fn push(&mut self, presentation_s: f64, now_ms: f64) {
        self.arrivals.push_back((now_ms, presentation_s * 1e3 - now_ms));
        if self.arrivals.len() > MAX_ARRIVALS {
            self.arrivals.pop_front();
        }
        // One is always kept: a camera with a frame every 5 s still has an edge.
        while self.arrivals.len() > 1
            && self.arrivals.front().is_some_and(|&(at, _)| now_ms - at > EDGE_WINDOW_MS)
        {
            self.arrivals.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.arrivals.clear();
    }

    /// The low end of the line: most fragments come above it.
    pub(super) fn low_ms(&self) -> Option<f64> {
        let mut lines: Vec<f64> = self.arrivals.iter().map(|&(_, line)| line).collect();
        let best = lines.iter().rev().take(RECENT).copied().fold(f64::MIN, f64::max);
        let late = (lines.len() as f64 * LATE_SHARE) as usize;
        nth_smallest(&mut lines, late).map(|low| low.max(best - MAX_JITTER_MS))
    }
}
