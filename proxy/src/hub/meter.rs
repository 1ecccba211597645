//! What a stream's video amounts to: bit rate, frame rate, key-frame interval, over the last seconds.
//!
//! PURE: the time of arrival is passed in.

use std::collections::VecDeque;

/// How far back the rates look, in microseconds.
const WINDOW_US: i64 = 5_000_000;

/// The most frames remembered, whatever their rate.
const MAX_FRAMES: usize = 1_024;

/// A stream's meter.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    frames: VecDeque<(i64, u32)>,
    bytes: u64,
    last_key_us: Option<i64>,
    key_frame_interval_ms: Option<u32>,
}

impl Meter {
    /// Counts a frame of `len` bytes that arrived at `now_us`.
    pub(super) fn frame(&mut self, now_us: i64, len: u32, key_frame: bool) {
        self.frames.push_back((now_us, len));
        self.bytes += u64::from(len);
        if key_frame && let Some(last) = self.last_key_us.replace(now_us) {
            self.key_frame_interval_ms = u32::try_from((now_us - last) / 1_000).ok();
        }
        self.forget(now_us);
    }

    fn forget(&mut self, now_us: i64) {
        while let Some((at_us, len)) = self.frames.front() {
            if now_us - at_us <= WINDOW_US && self.frames.len() <= MAX_FRAMES {
                break;
            }
            self.bytes -= u64::from(*len);
            self.frames.pop_front();
        }
    }

    /// Bits a second at `now_us`.
    pub(super) fn bits_per_second(&mut self, now_us: i64) -> u64 {
        self.forget(now_us);
        (self.bytes * 8 * 1_000_000).checked_div(self.span_us()).unwrap_or(0)
    }

    /// Frames a second at `now_us`, to a tenth.
    pub(super) fn frames_per_second(&mut self, now_us: i64) -> f64 {
        self.forget(now_us);
        let span_us = self.span_us();
        if span_us == 0 { 0.0 } else { (self.frames.len() as f64 * 1e7 / span_us as f64).round() / 10.0 }
    }

    /// Time between the last two key frames.
    pub(super) fn key_frame_interval_ms(&self) -> Option<u32> {
        self.key_frame_interval_ms
    }

    /// The time the held frames stand for: each one for the interval that follows it.
    fn span_us(&self) -> u64 {
        let (Some(first), Some(last)) = (self.frames.front(), self.frames.back()) else { return 0 };
        let intervals = self.frames.len() as u64 - 1;
        let span_us = (last.0 - first.0).max(0) as u64;
        (span_us * (intervals + 1)).checked_div(intervals).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let mut meter = Meter::default();
        for i in 0..500 {
            meter.frame(i * 40_000, 5_000, i % 50 == 0);
        }
        assert_eq!(meter.bits_per_second(500 * 40_000), 1_000_000);
        assert!((meter.frames_per_second(500 * 40_000) - 25.0).abs() < 0.11);
        assert_eq!(meter.key_frame_interval_ms(), Some(2_000));
        assert_eq!(meter.bits_per_second(600 * 40_000 + WINDOW_US), 0, "a stream that stopped has no rate");
    }

    #[test]
    fn a_flood_of_frames_does_not_grow_it() {
        let mut meter = Meter::default();
        for i in 0..10_000 {
            meter.frame(i, 1, false);
        }
        assert_eq!(meter.frames.len(), MAX_FRAMES);
    }
}
