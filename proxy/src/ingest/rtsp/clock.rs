//! One track's times: from RTP's media time to the session's, which counts from PLAY.
//!
//! PURE.

use std::fmt;

use super::capture::CaptureClock;
use crate::media::time;

/// How far the first frame's media time and its arrival may lie apart, counted from PLAY, before the camera's
/// `RTP-Info` is taken to be wrong, in microseconds.
const RTP_INFO_SLACK_US: i64 = 300_000;

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Presentation time from PLAY on, in the track's timescale.
    pub(super) pts_ticks: i64,
    /// When it was captured, by this machine's clock, in microseconds since 1970.
    pub(super) capture_time_us: i64,
}

/// The clock of one track.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrackClock {
    timescale: u32,
    capture: CaptureClock,
    /// Added to media times to get times from PLAY on; known from the first frame on.
    offset_ticks: Option<i64>,
}

impl fmt::Display for TrackClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.capture.fmt(f)
    }
}

impl TrackClock {
    pub(super) fn new(timescale: u32) -> Self {
        Self { timescale, capture: CaptureClock::default(), offset_ticks: None }
    }

    /// Notes a sender report: media time `ticks` is wall-clock time `ntp` (32.32 fixed point, seconds since 1900).
    pub(super) fn report(&mut self, ticks: i64, ntp: u64) {
        self.capture.report(ticks, ntp);
    }

    /// Places a frame of this media time, which arrived so long after PLAY and at `received_unix_us`.
    pub(super) fn place(
        &mut self,
        timestamp: retina::Timestamp,
        since_play_us: i64,
        received_unix_us: i64,
    ) -> Placed {
        let elapsed = timestamp.elapsed();
        let offset = *self
            .offset_ticks
            .get_or_insert_with(|| start_offset_ticks(elapsed, self.timescale, since_play_us));
        let capture_time_us =
            self.capture.capture_time_us(timestamp.timestamp(), self.timescale, received_unix_us);
        Placed { pts_ticks: elapsed.saturating_add(offset), capture_time_us }
    }
}

/// What to add to a track's media times, given those of its first frame.
///
/// `RTP-Info` (RFC 2326, 12.33) ties every track's media time to the moment of PLAY, and so the tracks to each other.
/// Where it plainly does not, the first frame stands where it arrived.
fn start_offset_ticks(elapsed_ticks: i64, timescale: u32, since_play_us: i64) -> i64 {
    let elapsed_us = time::ticks_to_us(elapsed_ticks, timescale);
    // Without `RTP-Info` retina takes each track's first packet for its zero.
    if elapsed_ticks != 0 && elapsed_us.saturating_sub(since_play_us).saturating_abs() <= RTP_INFO_SLACK_US {
        0
    } else {
        time::us_to_ticks(since_play_us, timescale).saturating_sub(elapsed_ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plausible_rtp_info_aligns_the_tracks() {
        assert_eq!(start_offset_ticks(9_000, 90_000, 120_000), 0);
        assert_eq!(start_offset_ticks(-9_000, 90_000, 120_000), 0);
    }

    #[test]
    fn tracks_without_rtp_info_stand_where_they_arrived() {
        assert_eq!(start_offset_ticks(0, 90_000, 900_000), 81_000);
        assert_eq!(start_offset_ticks(0, 48_000, 100_000), 4_800);
    }

    #[test]
    fn a_first_frame_far_from_its_arrival_stands_where_it_arrived() {
        assert_eq!(start_offset_ticks(90_000 * 3_600, 90_000, 100_000), 9_000 - 90_000 * 3_600);
        assert_eq!(start_offset_ticks(0, 48_000, 3_000_000), 144_000);
    }
}
