//! What the qualities of one stream share, so that a viewer can go from one to another: numbers that do not come twice, and
//! one timeline.

use std::{
    sync::atomic::{AtomicI64, AtomicU32, Ordering},
    time::Instant,
};

/// It.
#[derive(Debug)]
pub(super) struct Group {
    origin: Instant,
    epochs: AtomicU32,
    fragments: AtomicU32,
    /// How far the newest fragment stands from when it was received, on the timeline, in microseconds. A camera's clock
    /// drifts from ours by seconds in a day, and a quality that is connected to later has to stand beside the others.
    drift_us: Option<AtomicI64>,
}

impl Group {
    /// For so many qualities.
    pub(super) fn new(qualities: usize) -> Self {
        Self {
            origin: Instant::now(),
            epochs: AtomicU32::new(0),
            fragments: AtomicU32::new(0),
            drift_us: (qualities > 1).then(AtomicI64::default),
        }
    }

    /// When this was, in microseconds since there are streams.
    pub(super) fn elapsed_us(&self, at: Instant) -> i64 {
        i64::try_from(at.saturating_duration_since(self.origin).as_micros()).unwrap_or(i64::MAX)
    }

    /// The number of the next epoch, from 1 on.
    pub(super) fn next_epoch(&self) -> u32 {
        self.epochs.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// The number of the next fragment.
    pub(super) fn next_sequence(&self) -> u32 {
        self.fragments.fetch_add(1, Ordering::Relaxed)
    }

    /// A fragment of this presentation time was received at `received_us`.
    pub(super) fn passed(&self, pts_us: i64, received_us: i64) {
        if let Some(drift_us) = &self.drift_us {
            drift_us.store(pts_us.saturating_sub(received_us), Ordering::Relaxed);
        }
    }

    /// Where on the timeline a session that begins at `now_us` stands.
    pub(super) fn stands_at_us(&self, now_us: i64) -> i64 {
        let drift_us = self.drift_us.as_ref().map_or(0, |drift_us| drift_us.load(Ordering::Relaxed));
        now_us.saturating_add(drift_us).max(0)
    }
}
