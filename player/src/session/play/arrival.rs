//! What an arriving fragment tells of time, whichever way to the screen it takes.
//!
//! Invariant: pictures remembered are bounded, and none from before a jump of the timeline is.

use sightline_wire::Header;

use super::{GAP_S, MAX_PICTURES, Phase, Picture, Playback};
use crate::within;

impl<P: Clone> Playback<P> {
    /// How many fragments of history follow this one; none where it is none of them.
    pub(super) fn history_behind(&self, sequence: u32) -> Option<i32> {
        // Sequence numbers wrap: the difference tells which comes first.
        self.catch_up_sequence
            .map(|last| last.wrapping_sub(sequence).cast_signed())
            .filter(|behind| *behind >= 0)
    }

    /// A media segment arrived. Whether it is history.
    pub(in super::super) fn note_arrival(&mut self, header: &Header, now_ms: f64) -> bool {
        let history = self.history_behind(header.sequence).is_some();
        self.history_whole |= !history || Some(header.sequence) == self.catch_up_sequence;
        self.arrived_ms = now_ms;
        history
    }

    /// It is a picture. Whether the timeline jumped before it.
    pub(in super::super) fn note_picture(&mut self, track: usize, header: &Header, now_ms: f64) -> bool {
        let timescale = f64::from(self.tracks[track].timescale.max(1));
        let presentation_s = header.presentation_time_ticks() as f64 / timescale;
        let gap = self.newest_s.is_some_and(|newest_s| (presentation_s - newest_s).abs() > GAP_S);
        if gap {
            self.controller.on_gap();
            self.pictures.clear();
        }
        self.newest_s =
            Some(self.newest_s.filter(|_| !gap).map_or(presentation_s, |s| s.max(presentation_s)));
        self.looked.get_or_insert((now_ms, presentation_s));
        self.frame_ms = within(f64::from(header.duration_ticks) * 1e3 / timescale, 1.0, 10_000.0);
        let decode_s = header.decode_time_ticks as f64 / timescale;
        let before_s = self.decode_s.replace(decode_s).filter(|_| !gap).unwrap_or(decode_s);
        self.apart_ms = within((decode_s - before_s) * 1e3, 0.0, 10_000.0);
        if self.pictures.len() == MAX_PICTURES {
            self.pictures.remove(0);
        }
        self.pictures.push(Picture {
            presentation_s,
            capture_us: header.capture_time_us,
            arrival_ms: now_ms,
        });
        gap
    }

    /// The first picture is on its way to the screen. Whether it really is the first.
    pub(in super::super) fn begin(&mut self) -> bool {
        let first = self.phase == Phase::Filling;
        if first {
            self.phase = Phase::Placed;
        }
        first
    }
}
