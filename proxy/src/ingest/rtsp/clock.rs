//! One track's times: from RTP's media time to the session's, which counts from PLAY.
//!
//! PURE. The media time is the truth and comes unwrapped. Where it jumps, arrival bridges the jump. Nothing else of it is
//! put right: a camera whose crystal is off by 200 ppm is 0.7 s away from this machine's clock after an hour, and nobody
//! sees it, for a player keeps its distance to what arrives. How the two tracks of a session stand to each other is
//! `alignment`'s matter.

use std::fmt;

use super::capture::CaptureClock;
use crate::media::time;

/// How far the first frame's media time and its arrival may lie apart, counted from PLAY, before the camera's
/// `RTP-Info` is taken to be wrong, in microseconds.
const RTP_INFO_SLACK_US: i64 = 300_000;

/// How far media time and arrival may part between two frames, in microseconds, before the camera's clock is taken to
/// have jumped. Less than what `mux/timeline` takes for a jump: both tracks' jumps are seen here, where they can be
/// aligned again.
const JUMP_US: i64 = 1_500_000;

/// The farthest step back that B-frames explain, in microseconds.
const REORDER_US: i64 = 500_000;

/// The most of its reordering that a camera is believed where its clock jumps, and the longest time from picture to picture
/// then, in microseconds: what is between the pictures around a jump should not be seen.
const AT_JUMP_US: (i64, i64) = (120_000, 40_000);

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Presentation time from PLAY on, in the track's timescale.
    pub(super) pts_ticks: i64,
    /// When it was captured, by this machine's clock, in microseconds since 1970.
    pub(super) capture_time_us: i64,
    /// Arrival of its end minus its presentation time, in microseconds.
    pub(super) delay_us: i64,
    /// The track's times begin here, at first or after a jump.
    pub(super) begins: Option<Begins>,
}

/// How a track's times begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// As `RTP-Info` says.
    RtpInfo,
    /// Where its first frame arrived, so many microseconds after PLAY. That frame's media time is the zero: either
    /// `RTP-Info` names that very frame, or there is none.
    AtZero(i64),
    /// Where its first frame arrived.
    Arrival,
    /// The camera's clock jumped: as long after the frame before as it arrived after it.
    Jumped,
}

/// When a frame arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// After PLAY, by a monotonic clock, in microseconds.
    pub(super) since_play_us: i64,
    /// By this machine's wall clock, in microseconds since 1970.
    pub(super) unix_us: i64,
}

/// The clock of one track.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrackClock {
    timescale: u32,
    capture: CaptureClock,
    /// Known from the first frame on.
    tie: Option<Tie>,
}

#[derive(Clone, Copy, Debug)]
struct Tie {
    /// Added to elapsed media times to get times from PLAY on.
    offset_ticks: i64,
    /// The last frame's elapsed media time and arrival.
    elapsed_ticks: i64,
    since_play_us: i64,
    /// The latest time from PLAY on so far.
    newest_ticks: i64,
    /// The farthest that a frame was to be shown before one that came earlier.
    reorder_ticks: i64,
}

impl fmt::Display for TrackClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.capture.fmt(f)
    }
}

impl Tie {
    /// Where the first frame after a jump stands, which arrived so long after the one before.
    fn after_jump(&self, waited_us: i64, timescale: u32) -> i64 {
        let ticks = |us| time::us_to_ticks(us, timescale);
        let last_ticks = self.elapsed_ticks.saturating_add(self.offset_ticks);
        let target_ticks = last_ticks.saturating_add(ticks(waited_us));
        if self.reorder_ticks == 0 {
            return target_ticks;
        }
        // B-frames that follow this one are to find their place behind all that was there before.
        let room_ticks = self.reorder_ticks.min(ticks(AT_JUMP_US.0)) + ticks(waited_us.min(AT_JUMP_US.1));
        target_ticks.max(self.newest_ticks.saturating_add(room_ticks))
    }
}

impl TrackClock {
    pub(super) fn new(timescale: u32) -> Self {
        Self { timescale, capture: CaptureClock::default(), tie: None }
    }

    /// Ticks a second.
    pub(super) fn timescale(&self) -> u32 {
        self.timescale
    }

    /// Notes a sender report: media time `timestamp` is wall-clock time `ntp` (32.32 fixed point, seconds since 1900).
    /// Gives the wall clock minus the track's own time, in microseconds, once that is known.
    pub(super) fn report(&mut self, timestamp: retina::Timestamp, ntp: u64) -> Option<i64> {
        let wall_us = self.capture.report(timestamp.timestamp(), self.timescale, ntp);
        let own_ticks = timestamp.elapsed().saturating_add(self.tie?.offset_ticks);
        Some(wall_us.saturating_sub(time::ticks_to_us(own_ticks, self.timescale)))
    }

    /// Places a frame of this media time, which lasts for `duration_ticks` where that is known, else 0.
    pub(super) fn place(
        &mut self,
        timestamp: retina::Timestamp,
        duration_ticks: u32,
        arrival: Arrival,
    ) -> Placed {
        let elapsed_ticks = timestamp.elapsed();
        let since_play_us = arrival.since_play_us;
        let (offset_ticks, begins) = match self.tie {
            None => start_offset(elapsed_ticks, self.timescale, since_play_us),
            Some(tie) => {
                let waited_us = since_play_us.saturating_sub(tie.since_play_us).max(0);
                let step_ticks = elapsed_ticks.saturating_sub(tie.elapsed_ticks);
                let step_us = time::ticks_to_us(step_ticks, self.timescale);
                if step_us.saturating_sub(waited_us).saturating_abs() > JUMP_US || step_us < -REORDER_US {
                    self.capture = CaptureClock::default();
                    let target_ticks = tie.after_jump(waited_us, self.timescale);
                    (target_ticks.saturating_sub(elapsed_ticks), Some(Begins::Jumped))
                } else {
                    (tie.offset_ticks, None)
                }
            }
        };
        let pts_ticks = elapsed_ticks.saturating_add(offset_ticks);
        let (newest_ticks, reorder_ticks) =
            self.tie.map_or((pts_ticks, 0), |tie| (tie.newest_ticks, tie.reorder_ticks));
        self.tie = Some(Tie {
            offset_ticks,
            elapsed_ticks,
            since_play_us,
            newest_ticks: newest_ticks.max(pts_ticks),
            reorder_ticks: reorder_ticks.max(newest_ticks.saturating_sub(pts_ticks)),
        });
        let capture_time_us =
            self.capture.capture_time_us(timestamp.timestamp(), self.timescale, arrival.unix_us);
        let end_us = time::ticks_to_us(pts_ticks.saturating_add(duration_ticks.into()), self.timescale);
        Placed { pts_ticks, capture_time_us, delay_us: since_play_us.saturating_sub(end_us), begins }
    }
}

/// What to add to a track's media times, given those of its first frame.
///
/// `RTP-Info` (RFC 2326, 12.33) ties every track's media time to the moment of PLAY, and so the tracks to each other.
/// Where it plainly does not, the first frame stands where it arrived.
fn start_offset(elapsed_ticks: i64, timescale: u32, since_play_us: i64) -> (i64, Option<Begins>) {
    let elapsed_us = time::ticks_to_us(elapsed_ticks, timescale);
    // Without `RTP-Info` retina takes each track's first packet for its zero.
    if elapsed_ticks != 0 && elapsed_us.saturating_sub(since_play_us).saturating_abs() <= RTP_INFO_SLACK_US {
        (0, Some(Begins::RtpInfo))
    } else {
        let offset_ticks = time::us_to_ticks(since_play_us, timescale).saturating_sub(elapsed_ticks);
        let at_zero = elapsed_ticks == 0 && since_play_us <= RTP_INFO_SLACK_US;
        let begins = if at_zero { Begins::AtZero(since_play_us) } else { Begins::Arrival };
        (offset_ticks, Some(begins))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{media::Frame, mux::timeline::Timeline};
    use proptest::prelude::*;

    const NOW_US: i64 = 1_790_000_000_000_000;

    fn media(ticks: i64) -> retina::Timestamp {
        retina::Timestamp::new(ticks, NonZeroU32::new(90_000).expect("not 0"), 0).expect("fits")
    }

    fn at(since_play_us: i64) -> Arrival {
        Arrival { since_play_us, unix_us: NOW_US + since_play_us }
    }

    #[test]
    fn a_plausible_rtp_info_aligns_the_tracks() {
        assert_eq!(start_offset(9_000, 90_000, 120_000), (0, Some(Begins::RtpInfo)));
        assert_eq!(start_offset(-9_000, 90_000, 120_000), (0, Some(Begins::RtpInfo)));
    }

    #[test]
    fn tracks_without_rtp_info_stand_where_they_arrived() {
        assert_eq!(start_offset(0, 90_000, 900_000), (81_000, Some(Begins::Arrival)));
        assert_eq!(start_offset(0, 48_000, 100_000), (4_800, Some(Begins::AtZero(100_000))));
    }

    #[test]
    fn a_first_frame_far_from_its_arrival_stands_where_it_arrived() {
        assert_eq!(start_offset(90_000 * 3_600, 90_000, 100_000).0, 9_000 - 90_000 * 3_600);
        assert_eq!(start_offset(0, 48_000, 3_000_000).0, 144_000);
    }

    #[test]
    fn a_jump_among_b_frames_keeps_their_order() {
        for jump_ticks in [30 * 90_000, -30 * 90_000] {
            let mut clock = TrackClock::new(90_000);
            // P B B, in groups of three; the clock jumps at a P.
            let place = |i: i64| {
                let shown = i / 3 * 3 + [3, 1, 2][i as usize % 3];
                let sent = 1_000_000 + shown * 3_600 + if i >= 12 { jump_ticks } else { 0 };
                (shown, clock.place(media(sent), 0, at(i * 40_000)).pts_ticks)
            };
            let mut placed: Vec<_> = (0..30).map(place).collect();
            placed.sort_unstable();
            assert!(placed.windows(2).all(|pair| pair[0].1 < pair[1].1), "{placed:?}");
            assert!(placed.windows(2).all(|pair| pair[1].1 - pair[0].1 <= 18_000), "{placed:?}");
        }
    }

    #[test]
    fn a_jump_of_the_media_clock_is_bridged_by_arrival() {
        for jump_ticks in [30 * 90_000, -30 * 90_000, -60_000] {
            let mut clock = TrackClock::new(90_000);
            let first = clock.place(media(1_000_000), 0, at(500_000));
            assert_eq!((first.pts_ticks, first.begins), (45_000, Some(Begins::Arrival)));
            let second = clock.place(media(1_003_600), 0, at(540_000));
            assert_eq!((second.pts_ticks, second.begins), (48_600, None));
            let jumped = clock.place(media(1_007_200 + jump_ticks), 0, at(580_000));
            assert_eq!((jumped.pts_ticks, jumped.begins), (52_200, Some(Begins::Jumped)), "{jump_ticks}");
            let next = clock.place(media(1_010_800 + jump_ticks), 0, at(620_000));
            assert_eq!((next.pts_ticks, next.begins), (55_800, None));
        }
    }

    #[test]
    fn b_frames_and_a_late_burst_are_no_jumps() {
        let mut clock = TrackClock::new(90_000);
        for (i, frame) in [1, 4, 2, 3, 7, 5, 6, 10, 8, 9].into_iter().enumerate() {
            let since_play_us = if i < 5 { i as i64 * 40_000 } else { 1_400_000 };
            let placed = clock.place(media(1_000_000 + frame * 3_600), 0, at(since_play_us));
            assert_eq!(placed.begins.is_some(), i == 0);
            assert_eq!(placed.pts_ticks, (frame - 1) * 3_600);
        }
    }

    #[test]
    fn a_report_gives_the_wall_clock_of_the_tracks_zero() {
        let mut clock = TrackClock::new(90_000);
        let ntp = |seconds: u64| seconds << 32;
        assert_eq!(clock.report(media(0), ntp(2_208_988_800)), None, "no frame stands anywhere yet");
        clock.place(media(90_000), 0, at(250_000));
        // The second after 1970 is media time 135,000: half a second behind the frame, at 0.75 s from PLAY.
        assert_eq!(clock.report(media(135_000), ntp(2_208_988_801)), Some(250_000));
    }

    #[test]
    fn a_crystal_that_is_off_by_200_ppm_never_makes_a_step() {
        for ppm in [-200, 200] {
            let (mut clock, mut timeline) = (TrackClock::new(90_000), Timeline::new(90_000, 0));
            let mut last: Option<i64> = None;
            for i in 0..25 * 3_600 {
                let since_play_us = i * 40_000 + i * 40_000 * ppm / 1_000_000;
                let placed = clock.place(media(1_000_000 + i * 3_600), 0, at(since_play_us));
                let frame = Frame {
                    track: 0,
                    pts_ticks: placed.pts_ticks,
                    dts_ticks: None,
                    duration_ticks: None,
                    capture_time_us: placed.capture_time_us,
                    key_frame: true,
                    data: bytes::Bytes::new(),
                };
                let place = timeline.place(&frame, since_play_us);
                let shown = place.decode_time_ticks as i64 + i64::from(place.composition_offset_ticks);
                assert!(!place.jumped && last.is_none_or(|last| shown - last == 3_600), "{ppm}: frame {i}");
                last = Some(shown);
            }
        }
    }

    proptest! {
        #[test]
        fn no_camera_makes_it_overflow(
            timescale in 1u32..,
            frames in proptest::collection::vec((0i64..i64::MAX, any::<u32>(), any::<i64>(), any::<u64>()), 0..50),
        ) {
            let mut clock = TrackClock::new(timescale);
            for (ticks, duration, us, ntp) in frames {
                clock.place(media(ticks), duration, Arrival { since_play_us: us, unix_us: us });
                clock.report(media(ticks), ntp);
            }
        }
    }
}
