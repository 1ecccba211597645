//! The two lines that are compared, each measured from what happened lately: the edge and the playhead.
//!
//! What to do about their distance does not belong here.
//!
//! Invariant: what is remembered is bounded in number and in age.

use crate::recent::Recent;

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

/// How long `currentTime` is watched to find where it really is, in milliseconds, and readings at most. Firefox moves it in
/// steps.
const PLAYHEAD_WINDOW_MS: f64 = 400.0;
const MAX_READINGS: usize = 64;

/// Where the playhead is, from readings of `currentTime` that may be up to some frames old.
#[derive(Debug, Default)]
pub(super) struct Playhead {
    /// Media time - local time - what the rate has added, in milliseconds.
    readings: Recent,
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
        let line_ms = position_s * 1e3 - now_ms - self.rate_gain_ms;
        self.readings.push(line_ms, now_ms, PLAYHEAD_WINDOW_MS, MAX_READINGS);
    }

    /// Media time minus local time. A stale reading is too small, never too large: the largest is the truest.
    pub(super) fn line_ms(&self) -> Option<f64> {
        let highest = self.readings.values().max_by(f64::total_cmp)?;
        Some(highest + self.rate_gain_ms)
    }
}

/// Arrivals of one kind of track.
#[derive(Debug, Default)]
pub(super) struct Edge {
    /// Presentation time - local time, in milliseconds. One is always kept: a camera with a frame every 5 s still has an edge.
    arrivals: Recent,
}

impl Edge {
    pub(super) fn push(&mut self, presentation_s: f64, now_ms: f64) {
        self.arrivals.push(presentation_s * 1e3 - now_ms, now_ms, EDGE_WINDOW_MS, MAX_ARRIVALS);
    }

    pub(super) fn clear(&mut self) {
        self.arrivals.clear();
    }

    /// The low end of the line: most fragments come above it.
    pub(super) fn low_ms(&self) -> Option<f64> {
        let best = self.arrivals.values().rev().take(RECENT).fold(f64::MIN, f64::max);
        let late = (self.arrivals.len() as f64 * LATE_SHARE) as usize;
        self.arrivals.nth_smallest(late).map(|low| low.max(best - MAX_JITTER_MS))
    }
}
