//! PURE: pictures that are shown later than others still to come, kept back until those are there.
//!
//! Firefox drains its decoder whenever it has read all there is. A picture that was waiting for B-frames then comes out
//! before them, and they are thrown away as too old: of a stream with two B-frames a third is seen. So a group of
//! B-frames goes in whole, with the picture behind it that it needs.
//!
//! After each drain it decodes on from the last picture that went in, a B-frame, and gives out the one behind it once
//! more. That one must be over by then: with a fragment's generous duration an old picture flashes up. And pictures that
//! overlap in time push each other out of its buffer.

use sightline_wire::{Header, Kind};

use crate::prelude::*;

/// More than this many pictures are never waited for: H.264 and H.265 decoders hold back 16 at most.
const MAX_MISSING: u64 = 16;

/// How far before the frame's own bytes its declared duration stands: `trun` ends the `moof`, with one sample's duration,
/// size, flags and composition offset, and then comes the head of `mdat`.
const DURATION_BEFORE_FRAME: u32 = 24;

/// Whether others come after this picture that are shown before it. Without reordering a step in time is only a pause.
fn waits_for_others(header: &Header) -> bool {
    header.kind == Kind::Media
        && i64::from(header.composition_offset_ticks) > i64::from(header.duration_ticks)
}

/// Pictures that are farther apart than the one and no farther than the other are taken to stay so, in ticks of pictures
/// (90 kHz: 0.1 and 1 s).
const SPARSE_TICKS: (u64, u64) = (9_000, 90_000);

/// The least that is declared for one of them, in the same ticks (160 ms). One that comes after more than twice of that is
/// not taken (Media Source Extensions, coded frame processing, discontinuity step).
const SPARSE_MIN_TICKS: u64 = 14_400;

/// Puts declared durations right for Firefox, which goes by them: each picture should be over when the next one begins. One
/// that is over only later is what is seen while Firefox waits for data, although the next one was to be seen already; and
/// in a stream with B-frames it is given out twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Durations {
    /// The epoch in which pictures were seen that wait for others.
    reordered: Option<u32>,
    /// Of each track: its epoch, the newest decode time in it, and how far that is from the one before.
    newest: [(u32, u64, u64); 2],
}

impl Durations {
    /// Where in a fragment's payload to write what, if anything.
    pub fn correction(&mut self, header: &Header) -> Option<(u32, [u8; 4])> {
        if header.kind != Kind::Media {
            return None;
        }
        if waits_for_others(header) {
            self.reordered = Some(header.epoch);
        }
        let at = header.payload_offset.checked_sub(DURATION_BEFORE_FRAME)?;
        let newest = self.newest.get_mut(usize::from(header.track))?;
        let (epoch, before_ticks, before_apart_ticks) = *newest;
        let before_ticks = if header.epoch == epoch { before_ticks } else { header.decode_time_ticks };
        let apart_ticks = header.decode_time_ticks.saturating_sub(before_ticks);
        *newest = (header.epoch, header.decode_time_ticks, apart_ticks);
        // One pause is no rate. Firefox drops a picture that reaches far over the next ones, and decodes those without it.
        let apart_ticks = apart_ticks.min(before_apart_ticks);
        let ticks = if self.reordered == Some(header.epoch) {
            header.duration_ticks
        } else if (SPARSE_TICKS.0..=SPARSE_TICKS.1).contains(&apart_ticks) {
            (apart_ticks * 19 / 20).max(SPARSE_MIN_TICKS) as u32
        } else {
            return None;
        };
        Some((at, ticks.to_be_bytes()))
    }
}

/// A fragment of video, on its way to its queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment<P> {
    /// Its header.
    pub header: Header,
    /// What follows the header.
    pub payload: P,
    /// How long that is.
    pub bytes: usize,
}

/// What is kept back. `P` is a payload: opaque here.
#[derive(Clone, Debug)]
pub struct Reorder<P> {
    held: Vec<Fragment<P>>,
    /// Pictures that are to be shown before the one that is held, and have not come.
    missing: u64,
    newest_ticks: Option<i64>,
}

impl<P> Default for Reorder<P> {
    fn default() -> Self {
        Self { held: Vec::new(), missing: 0, newest_ticks: None }
    }
}

impl<P> Reorder<P> {
    /// Takes the next fragment in decoding order. Returns what may go on, in decoding order too.
    pub fn push(&mut self, fragment: Fragment<P>) -> Vec<Fragment<P>> {
        let header = &fragment.header;
        let shown_ticks = header.presentation_time_ticks();
        let duration_ticks = u64::from(header.duration_ticks.max(1));
        let newest_ticks = self.newest_ticks.unwrap_or(shown_ticks);
        let mut out = Vec::new();
        if shown_ticks >= newest_ticks {
            // Whoever was waited for does not come any more.
            out.append(&mut self.held);
            self.newest_ticks = Some(shown_ticks);
            let step_ticks = newest_ticks.abs_diff(shown_ticks);
            let missing = (step_ticks + duration_ticks / 2) / duration_ticks;
            self.missing = missing.saturating_sub(1);
            if !waits_for_others(header) || self.missing > MAX_MISSING {
                self.missing = 0;
            }
        } else {
            self.missing = self.missing.saturating_sub(1);
        }
        self.held.push(fragment);
        if self.missing == 0 {
            out.append(&mut self.held);
        }
        out
    }

    /// Another epoch begins.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes pictures shown at these frame numbers, decoded one after the other; gives them back as they come out.
    fn through(shown: &[i64]) -> Vec<Vec<i64>> {
        let mut reorder = Reorder::default();
        let push = |(decoded, shown): (usize, &i64)| {
            let decode_time_ticks = decoded as u64 * 3600;
            let header = Header {
                decode_time_ticks,
                // Two frames of delay, as an encoder with two B-frames has.
                composition_offset_ticks: ((shown + 2) * 3600 - decode_time_ticks as i64) as i32,
                duration_ticks: 3601,
                kind: Kind::Media,
                ..Header::init(1, 1, 0)
            };
            let out = reorder.push(Fragment { header, payload: *shown, bytes: 1 });
            out.into_iter().map(|fragment| fragment.payload).collect()
        };
        shown.iter().enumerate().map(push).collect()
    }

    #[test]
    fn a_group_goes_on_with_its_last_b_frame() {
        assert_eq!(
            through(&[0, 3, 1, 2, 6, 4, 5]),
            [vec![0], vec![], vec![], vec![3, 1, 2], vec![], vec![], vec![6, 4, 5]]
        );
        // A pyramid, and two pictures without B-frames between them.
        assert_eq!(
            through(&[0, 4, 2, 1, 3, 5, 6]),
            [vec![0], vec![], vec![], vec![], vec![4, 2, 1, 3], vec![5], vec![6]]
        );
    }

    #[test]
    fn what_does_not_come_is_not_waited_for_beyond_the_next_group() {
        assert_eq!(
            through(&[0, 3, 1, 6, 4, 5]),
            [vec![0], vec![], vec![], vec![3, 1], vec![], vec![6, 4, 5]]
        );
        assert_eq!(through(&[0, 100, 101]), [vec![0], vec![100], vec![101]]);
    }

    #[test]
    fn a_pause_of_a_camera_without_b_frames_is_none() {
        let mut reorder = Reorder::default();
        for frame in [0, 1, 4, 5] {
            let header = Header {
                kind: Kind::Media,
                decode_time_ticks: frame * 3600,
                duration_ticks: 3600,
                payload_offset: 108,
                ..Header::init(1, 1, 0)
            };
            assert_eq!(reorder.push(Fragment { header, payload: frame, bytes: 1 }).len(), 1);
        }
    }

    #[test]
    fn pictures_that_are_far_apart_are_over_just_before_the_next_one() {
        let mut durations = Durations::default();
        let mut declared_ms = |decode_ms: u64, track: u8| {
            let header = Header {
                kind: Kind::Media,
                track,
                decode_time_ticks: decode_ms * 90,
                duration_ticks: 3600,
                payload_offset: 108,
                ..Header::init(1, 1, 0)
            };
            durations.correction(&header).map(|(_, ticks)| u32::from_be_bytes(ticks) / 90)
        };
        let times = [
            (500, None),
            (540, None),
            (740, None), // a pause
            (780, None),
            (1_000, None),
            (1_200, Some(190)),
            (1_325, Some(160)),
            (2_325, Some(160)),
            (3_325, Some(950)),
        ];
        for (decode_ms, expected_ms) in times {
            assert_eq!(declared_ms(decode_ms, 0), expected_ms, "{decode_ms}");
            assert_eq!(declared_ms(decode_ms / 100, 1), None, "of another track");
        }
        assert_eq!((declared_ms(8_000, 0), declared_ms(8_040, 0)), (Some(950), None));
    }

    #[test]
    fn pictures_of_an_epoch_with_b_frames_are_over_when_the_next_one_begins() {
        let mut durations = Durations::default();
        let b_frame =
            Header { kind: Kind::Media, duration_ticks: 3600, payload_offset: 108, ..Header::init(1, 1, 0) };
        let reference = Header { composition_offset_ticks: 7200, ..b_frame };
        let right = Some((84, [0, 0, 14, 16]));
        assert_eq!(durations.correction(&reference), right);
        assert_eq!(durations.correction(&b_frame), right);
        assert_eq!(durations.correction(&Header { kind: Kind::Init, ..b_frame }), None);
        assert_eq!(durations.correction(&Header { payload_offset: 23, ..b_frame }), None);
        assert_eq!(durations.correction(&Header { epoch: 2, ..b_frame }), None);
    }
}
