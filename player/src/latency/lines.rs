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

/// Where a few pictures are far later than the others, as behind a link that loses packets, staying behind those few makes all the
/// others old. This much is stayed behind in any case, in milliseconds; beyond it no more than twice what half of the pictures
/// are late, or what all but this share of them are.
const ALWAYS_KEPT_MS: f64 = 34.0;
const FAR_LATE_SHARE: f64 = 0.25;

/// Jitter that is kept behind, in milliseconds. What comes later than this after a pause of the network was not jitter,
/// and staying behind for it would make every pause last twice.
const MAX_JITTER_MS: f64 = 500.0;

/// The newest fragments, whose best tells how the network is now.
const RECENT: usize = 15;

/// When the newest ones all came within this much of each other, what came later than the other by more was trouble that is over, in
/// milliseconds.
const CALM_MS: f64 = 100.0;
const OVER_MS: f64 = 200.0;

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

    /// Forgets trouble that is over.
    pub(super) fn forget_trouble(&mut self) {
        let best = self.newest_best_ms();
        let is_near = |line_ms| line_ms > best - CALM_MS;
        if self.arrivals.len() >= RECENT && self.arrivals.values().rev().take(RECENT).all(is_near) {
            self.arrivals.retain(|line_ms| line_ms > best - OVER_MS);
        }
    }

    pub(super) fn clear(&mut self) {
        self.arrivals.clear();
    }

    /// The low end of the line: most fragments come above it.
    pub(super) fn low_ms(&self) -> Option<f64> {
        self.below(LATE_SHARE).map(|low| low.max(self.newest_best_ms() - MAX_JITTER_MS))
    }

    /// The same where it does no harm if some fragments come late: those that are far later than the others are not waited for,
    /// nor is there any waiting after a pause.
    pub(super) fn usual_low_ms(&self) -> Option<f64> {
        let best = self.arrivals.values().fold(f64::MIN, f64::max);
        let late_ms = (best - self.below(FAR_LATE_SHARE)?).max(2.0 * (best - self.below(0.5)?));
        let usual = if late_ms > MAX_JITTER_MS {
            self.newest_best_ms() - ALWAYS_KEPT_MS
        } else {
            best - late_ms.max(ALWAYS_KEPT_MS)
        };
        Some(self.low_ms()?.max(usual))
    }

    fn newest_best_ms(&self) -> f64 {
        self.arrivals.values().rev().take(RECENT).fold(f64::MIN, f64::max)
    }

    /// What this share of the fragments come below.
    fn below(&self, share: f64) -> Option<f64> {
        self.arrivals.nth_smallest((self.arrivals.len() as f64 * share) as usize)
    }
}
