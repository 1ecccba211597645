//! The figures a viewer, a page or a test may ask for.
//!
//! Counters only grow; windows hold the last seconds. Where the figures come from is the session's matter.
//!
//! Invariant: every window is bounded in time and in number.

use crate::json::Object;
use crate::prelude::*;
use crate::recent::Recent;
use crate::rounded;

/// Samples in a window at most.
const MAX_SAMPLES: usize = 2_048;

/// How far back rates and percentiles look, in milliseconds.
const WINDOW_MS: f64 = 2_000.0;

/// Steps against trouble that are remembered.
const MAX_REASONS: usize = 8;

/// Values of the last two seconds.
#[derive(Debug, Default)]
pub struct Window(Recent);

impl Window {
    /// Adds a value.
    pub fn push(&mut self, value: f64, now_ms: f64) {
        self.0.push(value, now_ms, WINDOW_MS, MAX_SAMPLES);
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, now_ms: f64) {
        self.0.expire(now_ms, WINDOW_MS);
    }

    /// The value that a share `fraction` of the samples does not exceed.
    pub fn percentile(&self, fraction: f64) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        self.0.nth_smallest(rounded(last as f64 * fraction) as usize)
    }

    fn sum(&self) -> f64 {
        self.0.values().sum()
    }

    /// The values' mean.
    pub fn mean(&self) -> Option<f64> {
        (self.0.len() > 0).then(|| self.sum() / self.0.len() as f64)
    }

    /// The sum of the values a second.
    pub fn per_second(&self, now_ms: f64) -> f64 {
        let Some((first, first_ms)) = self.0.first() else { return 0.0 };
        let span_ms = now_ms - first_ms;
        // The first value belongs to the time before it.
        if span_ms < 100.0 { 0.0 } else { (self.sum() - first) * 1e3 / span_ms }
    }
}

/// How often each thing happened since the player was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Fragments received.
    pub fragments: u32,
    /// Bytes received in binary messages.
    pub bytes: f64,
    /// Appends carried out.
    pub appends: u32,
    /// Times the picture stood still for more than 250 ms, or for less because the sound ran dry.
    pub stalls: u32,
    /// Moves over a hole.
    pub nudges: u32,
    /// Jumps to the live edge.
    pub seeks: u32,
    /// `MediaSource`s built anew.
    pub rebuilds: u32,
    /// Connections lost or given up.
    pub reconnects: u32,
    /// Frames the server left out because this viewer was too slow.
    pub server_dropped_frames: u32,
    /// Times a decoder of `WebCodecs` did not keep up, and was taken on to a key frame.
    pub lags: u32,
    /// Times decoded sound ran dry.
    pub sound_gaps: u32,
    /// Times a decoder of `WebCodecs` failed.
    pub decoder_errors: u32,
    /// Messages that were not understood.
    pub bad_messages: u32,
    /// Times a SourceBuffer was full.
    pub quota_exceeded: u32,
}

/// The last few steps that were taken against trouble: `rebuild: the picture stood still`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reasons(Vec<String>);

impl Reasons {
    /// A step was taken.
    pub fn push(&mut self, step: &str, why: &str) {
        if self.0.len() == MAX_REASONS {
            self.0.remove(0);
        }
        self.0.push([step, ": ", why].concat());
    }
}

/// What `getStats()` returns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// The way to the screen: `mse` or `webcodecs`.
    pub renderer: &'static str,
    /// `connecting`, `live`, `offline` or `error`.
    pub state: &'static str,
    /// Capture to screen, the last two seconds' median, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Capture to screen, the last two seconds' 95th percentile, in milliseconds.
    pub latency_p95_ms: Option<f64>,
    /// From arrival here to screen, the last two seconds' median, in milliseconds.
    pub player_latency_ms: Option<f64>,
    /// How far before their time fragments are made to arrive, in milliseconds.
    pub margin_ms: f64,
    /// How much later than wanted the picture is, in milliseconds.
    pub behind_ms: Option<f64>,
    /// `playbackRate`.
    pub rate: f64,
    /// The network's round trip, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Server time minus `performance.now()`, in milliseconds.
    pub clock_offset_ms: Option<f64>,
    /// Bits a second, over all tracks.
    pub bits_per_second: f64,
    /// Pictures shown a second.
    pub frames_per_second: f64,
    /// Pictures decoded or dropped, in this MediaSource.
    pub total_frames: u32,
    /// Pictures dropped unseen, in this MediaSource.
    pub dropped_frames: u32,
    /// The longest time between two pictures in the last two seconds, in milliseconds.
    pub longest_freeze_ms: Option<f64>,
    /// From making the player to the first picture, in milliseconds.
    pub first_frame_ms: Option<f64>,
    /// Exact codec strings, video first.
    pub codecs: Vec<String>,
    /// Width of the picture in pixels, as the stream says.
    pub width: u32,
    /// Height of the picture in pixels, as the stream says.
    pub height: u32,
    /// The name of the quality that comes; empty where there is only one.
    pub quality: String,
    /// The epoch being shown.
    pub epoch: u32,
    /// Bytes waiting for a SourceBuffer.
    pub waiting_bytes: usize,
    /// What was done against trouble lately, and why.
    pub reasons: Reasons,
    /// How often what happened.
    pub counters: Counters,
}

impl Stats {
    /// As JSON, with the names JavaScript knows.
    pub fn json(&self) -> String {
        let count = |value: u32| i64::from(value);
        let c = &self.counters;
        Object::new()
            .str("renderer", self.renderer)
            .str("state", self.state)
            .num("latencyMs", self.latency_ms)
            .num("latencyP95Ms", self.latency_p95_ms)
            .num("playerLatencyMs", self.player_latency_ms)
            .num("marginMs", self.margin_ms)
            .num("behindMs", self.behind_ms)
            .num("rate", self.rate)
            .num("roundTripMs", self.round_trip_ms)
            .num("clockOffsetMs", self.clock_offset_ms)
            .num("bitsPerSecond", self.bits_per_second)
            .num("framesPerSecond", self.frames_per_second)
            .int("totalFrames", count(self.total_frames))
            .int("droppedFrames", count(self.dropped_frames))
            .num("longestFreezeMs", self.longest_freeze_ms)
            .num("firstFrameMs", self.first_frame_ms)
            .list("codecs", &self.codecs)
            .int("width", count(self.width))
            .int("height", count(self.height))
            .str("quality", &self.quality)
            .int("epoch", count(self.epoch))
            .int("waitingBytes", self.waiting_bytes as i64)
            .str("lastTrouble", self.reasons.0.last().map_or("", String::as_str))
            .list("troubles", &self.reasons.0)
            .int("fragments", count(c.fragments))
            .num("bytes", c.bytes)
            .int("appends", count(c.appends))
            .int("stalls", count(c.stalls))
            .int("nudges", count(c.nudges))
            .int("seeks", count(c.seeks))
            .int("rebuilds", count(c.rebuilds))
            .int("reconnects", count(c.reconnects))
            .int("serverDroppedFrames", count(c.server_dropped_frames))
            .int("decoderLags", count(c.lags))
            .int("soundGaps", count(c.sound_gaps))
            .int("decoderErrors", count(c.decoder_errors))
            .int("badMessages", count(c.bad_messages))
            .int("quotaExceeded", count(c.quota_exceeded))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_the_last_two_seconds() {
        let mut window = Window::default();
        assert_eq!(window.percentile(0.5), None);
        window.push(9_999.0, 0.0);
        for i in 0..=100 {
            window.push(f64::from(i), 2_001.0 + f64::from(i));
        }
        assert_eq!(window.percentile(0.5), Some(50.0));
        assert_eq!(window.percentile(0.95), Some(95.0));
        assert_eq!(window.percentile(1.0), Some(100.0));
    }

    #[test]
    fn a_rate_counts_what_came_since_the_first_sample() {
        let mut window = Window::default();
        for i in 0..=50 {
            window.push(1.0, f64::from(i) * 40.0);
        }
        assert!((window.per_second(2_000.0) - 25.0).abs() < 1e-9);
        window.expire(9_000.0);
        assert!(window.per_second(9_000.0).abs() < 1e-9);
    }

    #[test]
    fn windows_are_bounded() {
        let mut window = Window::default();
        for _ in 0..10_000 {
            window.push(1.0, 1.0);
        }
        assert_eq!(window.0.len(), MAX_SAMPLES);
    }
}
