//! The sound of one session: from what retina gathers to frames for the stream.

use retina::codec::{AudioFrame, AudioParameters};

use super::connect::Offer;
use crate::media::{SampleClock, Track, aac};

/// Whether sound of this name in SDP is played.
pub(super) fn is_played(encoding: &str) -> bool {
    encoding == "mpeg4-generic"
}

/// One frame of sound, fit for a decoder.
#[derive(Debug)]
pub(super) struct Sound {
    /// Presentation time in the clock of the time it was given.
    pub(super) pts_ticks: i64,
    /// How long it sounds.
    pub(super) duration_ticks: u32,
    pub(super) data: bytes::Bytes,
}

/// The audio track of one session.
#[derive(Debug)]
pub(super) struct Audio {
    clock_rate_hz: u32,
    /// Cameras stamp sound with the time at which they read it: a millisecond or three off.
    sample_clock: SampleClock,
}

impl Audio {
    pub(super) fn new(offer: &Offer) -> Self {
        Self { clock_rate_hz: offer.clock_rate_hz, sample_clock: SampleClock::new(offer.clock_rate_hz) }
    }

    /// Describes the track, or says why it cannot be played: the picture goes on without it.
    pub(super) fn track(&mut self, parameters: Option<&AudioParameters>) -> Result<Track, String> {
        let parameters = parameters.ok_or("the camera never said how it is coded")?;
        let track = aac::track(parameters.extra_data()).map_err(|e| e.to_string())?;
        Ok(Track { timescale: self.clock_rate_hz, ..track })
    }

    /// Takes what the camera sent for `sent_ticks` and gives what is whole.
    pub(super) fn sounds(
        &mut self,
        frame: &AudioFrame,
        sent_ticks: i64,
    ) -> impl Iterator<Item = Sound> + use<> {
        let duration_ticks = frame.frame_length().get();
        let sent_us = crate::media::time::ticks_to_us(sent_ticks, self.clock_rate_hz);
        let pts_ticks = self.sample_clock.place(sent_us, duration_ticks);
        let data = bytes::Bytes::copy_from_slice(frame.data());
        std::iter::once(Sound { pts_ticks, duration_ticks, data })
    }
}
