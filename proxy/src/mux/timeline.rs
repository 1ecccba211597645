//! Where each frame of a track stands on its stream's timeline.
//!
//! A stream's timeline begins at 0 and never goes backwards: not when timestamps wrap, jump or repeat, and not when the
//! camera reconnects. Decode times strictly increase; presentation times are the camera's own wherever they can be.
//!
//! PURE: the time of arrival is passed in.

use crate::media::{Frame, time::us_to_ticks};

/// A segment declares at least this duration, in microseconds, for video.
///
/// A frame's real duration is only known when the next one comes, and waiting for that would cost a frame of delay. A
/// declared duration under half the real one makes browsers drop everything up to the next key frame (Media Source
/// Extensions, coded frame processing, discontinuity step). 200 ms lets a camera fall from 25 to 5 frames a second.
const DECLARED_MIN_US: i64 = 200_000;

/// How far presentation time and arrival may part between two frames, in microseconds, before the camera's clock is
/// taken to have jumped.
const JUMP_US: i64 = 2_000_000;

/// The farthest step back in presentation time that B-frames explain, in microseconds.
const REORDER_US: i64 = 500_000;

/// The most of its reordering that a camera is believed where its clock jumps, in microseconds: what is between the
/// pictures around a jump should not be seen.
const REORDER_AT_JUMP_US: i64 = 120_000;

/// What a rate of 25 frames a second is taken for until two frames were seen.
const FIRST_INTERVAL_US: i64 = 40_000;

/// Where a frame stands. Times are in the track's timescale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Decode time; more than that of the frame before.
    pub decode_time_ticks: u64,
    /// Presentation time minus decode time.
    pub composition_offset_ticks: i32,
    /// Expected time to the next frame.
    pub duration_ticks: u32,
    /// The duration to declare.
    pub declared_duration_ticks: u32,
    /// The camera's clock jumped here and was put right.
    pub jumped: bool,
}

/// The timeline of one track over one session of its camera.
#[derive(Clone, Debug)]
pub struct Timeline {
    timescale: u32,
    /// Added to the session's times to get the stream's.
    offset_ticks: i64,
    interval_ticks: i64,
    last: Option<Last>,
    /// The farthest that a frame was presented before one that came earlier.
    reorder_ticks: i64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    /// The latest presentation time so far.
    newest_ticks: i64,
    pts_ticks: i64,
    decode_ticks: i64,
    arrived_us: i64,
    declared_ticks: i64,
}

impl Timeline {
    /// A timeline whose session's zero stands at `base_us` on the stream's.
    pub fn new(timescale: u32, base_us: i64) -> Self {
        Self {
            timescale,
            offset_ticks: us_to_ticks(base_us, timescale),
            interval_ticks: us_to_ticks(FIRST_INTERVAL_US, timescale),
            last: None,
            reorder_ticks: 0,
        }
    }

    /// Ticks a second.
    pub fn timescale(&self) -> u32 {
        self.timescale
    }

    /// Places the next frame, in decoding order, which arrived at `arrived_us` by a monotonic clock.
    pub fn place(&mut self, frame: &Frame, arrived_us: i64) -> Place {
        let mut pts = frame.pts_ticks.saturating_add(self.offset_ticks);
        let mut jumped = false;
        let decode;
        if let Some(last) = self.last {
            let waited = us_to_ticks(arrived_us.saturating_sub(last.arrived_us).max(0), self.timescale);
            let apart = pts.saturating_sub(last.pts_ticks.saturating_add(waited));
            let back = last.pts_ticks.saturating_sub(pts);
            if apart.saturating_abs() > us_to_ticks(JUMP_US, self.timescale)
                || back > us_to_ticks(REORDER_US, self.timescale)
            {
                // B-frames that follow this one are to find their place behind all that was there before.
                let room = self.reorder_ticks.min(us_to_ticks(REORDER_AT_JUMP_US, self.timescale));
                let next = last.newest_ticks.saturating_add(self.interval_ticks).saturating_add(room);
                let target = last.pts_ticks.saturating_add(waited).max(next);
                self.offset_ticks = self.offset_ticks.saturating_add(target.saturating_sub(pts));
                pts = target;
                jumped = true;
            }
            self.reorder_ticks = self.reorder_ticks.max(last.newest_ticks.saturating_sub(pts));
            let wanted = self.decode_wish(frame).unwrap_or(pts);
            // Known decode times step evenly where B-frames let presentation times go to and fro.
            let step = match frame.dts_ticks {
                Some(_) => wanted.saturating_sub(last.decode_ticks),
                None => pts - last.pts_ticks,
            };
            if step > 0 && !jumped {
                // One pause is not a new rate.
                let believed = step.min(self.interval_ticks.saturating_mul(5));
                self.interval_ticks += (believed - self.interval_ticks) / 8;
            }
            // Decode times may trail behind presentation, but a step of more than twice the duration declared last
            // would be a discontinuity for the browser: after a pause they catch up over several frames.
            let earliest = last.decode_ticks.saturating_add(1);
            let latest = last.decode_ticks.saturating_add(last.declared_ticks.saturating_mul(2));
            decode = wanted.clamp(earliest, latest.max(earliest));
        } else {
            // A camera may say that its first frame was taken before it was asked to play.
            pts = pts.max(self.offset_ticks);
            decode =
                self.decode_wish(frame).map_or(pts, |wanted| wanted.clamp(self.offset_ticks.min(pts), pts));
        }
        let interval = self.interval_ticks.max(1);
        let declared = match frame.duration_ticks {
            Some(known) => i64::from(known),
            None => us_to_ticks(DECLARED_MIN_US, self.timescale).max(interval.saturating_mul(2)),
        };
        self.last = Some(Last {
            newest_ticks: self.last.map_or(pts, |last| last.newest_ticks.max(pts)),
            pts_ticks: pts,
            decode_ticks: decode,
            arrived_us,
            declared_ticks: declared,
        });
        Place {
            decode_time_ticks: decode as u64,
            composition_offset_ticks: (pts - decode).clamp(i32::MIN.into(), i32::MAX.into()) as i32,
            duration_ticks: frame.duration_ticks.unwrap_or(u32::try_from(interval).unwrap_or(u32::MAX)),
            declared_duration_ticks: u32::try_from(declared).unwrap_or(u32::MAX),
            jumped,
        }
    }

    /// The decode time the frame's own protocol gave it.
    fn decode_wish(&self, frame: &Frame) -> Option<i64> {
        Some(frame.dts_ticks?.saturating_add(self.offset_ticks))
    }

    /// The end of what was placed so far, in microseconds of the stream's timeline.
    pub fn end_us(&self) -> i64 {
        self.last.map_or(0, |last| {
            let end = last.pts_ticks.max(last.decode_ticks).saturating_add(self.interval_ticks);
            crate::media::time::ticks_to_us(end, self.timescale)
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const FRAME_US: i64 = 40_000;
    const FRAME: i64 = 3_600;

    fn frame(pts_ticks: i64, dts_ticks: Option<i64>, duration_ticks: Option<u32>) -> Frame {
        Frame {
            track: 0,
            pts_ticks,
            dts_ticks,
            duration_ticks,
            capture_time_us: 0,
            key_frame: true,
            data: Bytes::new(),
        }
    }

    /// A camera's frame, as RTP gives it.
    fn shown(pts_ticks: i64) -> Frame {
        frame(pts_ticks, None, None)
    }

    fn presented(place: Place) -> i64 {
        place.decode_time_ticks as i64 + i64::from(place.composition_offset_ticks)
    }

    #[test]
    fn an_even_camera_keeps_its_own_times() {
        let mut timeline = Timeline::new(90_000, 1_000_000);
        for i in 0..100 {
            let place = timeline.place(&shown(i * FRAME), i * FRAME_US);
            assert_eq!(place.decode_time_ticks as i64, 90_000 + i * FRAME);
            assert_eq!((place.composition_offset_ticks, place.jumped), (0, false));
            assert_eq!((place.duration_ticks, place.declared_duration_ticks), (3_600, 18_000));
        }
        assert_eq!(timeline.end_us(), 1_000_000 + 100 * FRAME_US);
    }

    #[test]
    fn b_frames_keep_their_presentation_times_while_decode_times_increase() {
        let mut timeline = Timeline::new(90_000, 0);
        let mut last = -1;
        for (arrival, pts) in [0, 3, 1, 2, 6, 4, 5, 9, 7, 8].into_iter().enumerate() {
            let place = timeline.place(&shown(pts * FRAME), arrival as i64 * FRAME_US);
            assert_eq!(presented(place), pts * FRAME);
            assert!(place.decode_time_ticks as i64 > last);
            last = place.decode_time_ticks as i64;
        }
    }

    #[test]
    fn known_decode_times_are_kept_and_so_is_the_rate() {
        let mut timeline = Timeline::new(90_000, 1_000_000);
        // I P B B P B B, presented two frames after they are decoded at the soonest.
        for (dts, pts) in (0i64..).zip([2, 5, 3, 4, 8, 6, 7, 11, 9, 10]) {
            let place = timeline.place(&frame(pts * FRAME, Some(dts * FRAME), None), dts * FRAME_US);
            assert_eq!(place.decode_time_ticks as i64, 90_000 + dts * FRAME);
            assert_eq!(presented(place), 90_000 + pts * FRAME);
            assert_eq!((place.duration_ticks, place.jumped), (FRAME as u32, false));
        }
    }

    #[test]
    fn decode_times_that_repeat_or_go_back_still_increase() {
        let mut timeline = Timeline::new(90_000, 0);
        let mut last = None;
        for dts in [0, 1, 1, 0, -5, 2, 2] {
            let place = timeline.place(&frame(3 * FRAME, Some(dts * FRAME), None), 0);
            assert!(last.is_none_or(|last| place.decode_time_ticks > last));
            assert_eq!(presented(place), 3 * FRAME);
            last = Some(place.decode_time_ticks);
        }
    }

    #[test]
    fn a_jump_of_the_cameras_clock_does_not_move_the_picture() {
        for jump in [30 * 90_000, -30 * 90_000, -60_000, i64::MAX / 4, i64::MIN / 4] {
            let mut timeline = Timeline::new(90_000, 0);
            for i in 0..50 {
                timeline.place(&shown(i * FRAME), i * FRAME_US);
            }
            let jumped_to = jump.saturating_add(50 * FRAME);
            let place = timeline.place(&shown(jumped_to), 50 * FRAME_US);
            assert!(place.jumped, "{jump}");
            assert_eq!(presented(place), 50 * FRAME);
            assert!(!timeline.place(&shown(jumped_to + FRAME), 51 * FRAME_US).jumped);
        }
    }

    #[test]
    fn a_jump_among_b_frames_keeps_their_order() {
        for jump in [30 * 90_000, -30 * 90_000] {
            for jump_at in 10..16 {
                let mut timeline = Timeline::new(90_000, 0);
                let mut shown_at = Vec::new();
                for i in 0..30i64 {
                    // P B B, in groups of three.
                    let pts = i / 3 * 3 + [3, 1, 2][i as usize % 3];
                    let sent = pts * FRAME + if i >= jump_at { jump } else { 0 };
                    shown_at.push((pts, presented(timeline.place(&shown(sent), i * FRAME_US))));
                }
                if jump_at % 3 == 0 {
                    shown_at.sort_unstable();
                }
                let mut times: Vec<_> = shown_at.iter().map(|(_, at)| *at).collect();
                let in_order = times.clone();
                times.sort_unstable();
                assert!(jump_at % 3 != 0 || times == in_order, "{jump_at}: {shown_at:?}");
                times.dedup();
                assert_eq!(times.len(), 30, "no two pictures share a time: {jump_at}");
                assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 18_000), "{jump_at}: {times:?}");
            }
        }
    }

    #[test]
    fn a_pause_is_kept_in_presentation_and_bridged_in_decode_time() {
        let mut timeline = Timeline::new(90_000, 0);
        timeline.place(&shown(0), 0);
        let mut last = timeline.place(&shown(FRAME), FRAME_US);
        for i in 0..20 {
            let (pts, arrived) = (450_000 + i * FRAME, 5_000_000 + i * FRAME_US);
            let place = timeline.place(&shown(pts), arrived);
            assert_eq!((presented(place), place.jumped), (pts, false));
            let step = place.decode_time_ticks - last.decode_time_ticks;
            assert!(step <= 2 * u64::from(last.declared_duration_ticks), "{step}");
            last = place;
        }
        assert_eq!(last.composition_offset_ticks, 0, "decode times have caught up");
        assert!(last.duration_ticks < 2 * FRAME as u32, "one pause is not a new rate");
    }

    #[test]
    fn a_slow_camera_declares_longer_frames() {
        let mut timeline = Timeline::new(90_000, 0);
        let declared =
            (0..60).map(|i| timeline.place(&shown(i * 90_000), i * 1_000_000).declared_duration_ticks).last();
        assert!(declared > Some(170_000), "{declared:?}");
    }

    #[test]
    fn a_known_duration_is_declared_as_it_is() {
        let mut timeline = Timeline::new(48_000, 0);
        let place = timeline.place(&frame(0, None, Some(1024)), 0);
        assert_eq!((place.duration_ticks, place.declared_duration_ticks), (1024, 1024));
    }

    proptest! {
        #[test]
        fn decode_times_increase_whatever_the_camera_says(
            frames in proptest::collection::vec((any::<i64>(), any::<Option<i64>>(), 0i64..10_000_000), 1..200)
        ) {
            let (mut timeline, mut now, mut last) = (Timeline::new(90_000, 0), 0, None);
            for (pts, dts, waited) in frames {
                now += waited;
                let place = timeline.place(&frame(pts, dts, None), now);
                prop_assert!(last.is_none_or(|last| place.decode_time_ticks > last));
                last = Some(place.decode_time_ticks);
            }
        }
    }
}
