//! PURE: sound, from configurations and packets to tracks, durations and even times.

use bytes::Bytes;

use super::Chosen;
use crate::media::{Coding, SampleClock, Track, aac, flac, opus};

/// The state of a publisher's sound.
#[derive(Debug)]
pub(super) struct Audio {
    pub(super) chosen: Chosen,
    /// The configuration at hand has been announced, or there is none.
    pub(super) announced: bool,
    config: Option<Config>,
    /// The encoder's time of the first packet.
    first_us: Option<i64>,
}

#[derive(Debug)]
struct Config {
    /// As it was sent.
    sent: Box<[u8]>,
    track: Track,
    /// Of every frame, where the configuration says it (AAC).
    frame_ticks: Option<u32>,
    clock: SampleClock,
}

impl Default for Audio {
    fn default() -> Self {
        Self { chosen: Chosen::default(), announced: true, config: None, first_us: None }
    }
}

impl Audio {
    /// Takes a sequence header. Encoders and relays repeat theirs: the same again changes nothing. One that cannot be used
    /// leaves no sound.
    pub(super) fn configure(&mut self, coding: Coding, sent: &[u8]) -> Result<(), String> {
        if self.config.as_ref().is_some_and(|config| config.track.coding == coding && *config.sent == *sent) {
            return Ok(());
        }
        if coding == Coding::Opus && sent.starts_with(b"OpusTags") {
            return Ok(()); // the other header of an Ogg stream
        }
        (self.config, self.announced) = (None, true);
        let (track, frame_ticks) = match coding {
            Coding::Aac => {
                let track = aac::track(sent).map_err(|e| e.to_string())?;
                (track, Some(aac::samples_per_frame(sent).map_err(|e| e.to_string())?))
            }
            Coding::Opus => {
                // Enhanced RTMP v2 lets the header be empty.
                let head = if sent.is_empty() { &opus::DEFAULT_HEAD } else { sent };
                (opus::track(head).map_err(|e| e.to_string())?, None)
            }
            Coding::Flac => (flac::track(sent).map_err(|e| e.to_string())?, None),
            Coding::H264 | Coding::H265 | Coding::Av1 => return Err(format!("{coding:?} is no sound")),
        };
        let clock = SampleClock::new(track.timescale);
        self.config = Some(Config { sent: sent.into(), track, frame_ticks, clock });
        self.announced = false;
        Ok(())
    }

    /// Puts a header in the place of one that an encoder did not send, where the packets do without.
    pub(super) fn assume_config(&mut self, coding: Coding) {
        if coding == Coding::Opus && self.track(coding).is_none() {
            // The default header is a good one.
            let _ = self.configure(coding, &[]);
        }
    }

    /// The track, whether or not it has been announced.
    pub(super) fn configured_track(&self) -> Option<&Track> {
        self.config.as_ref().map(|config| &config.track)
    }

    /// The track that packets of this coding belong to.
    pub(super) fn track(&self, coding: Coding) -> Option<&Track> {
        self.configured_track().filter(|track| track.coding == coding)
    }

    /// How long sound has been coming.
    pub(super) fn waited_us(&mut self, sent_us: i64) -> i64 {
        let first_us = self.first_us.get_or_insert(sent_us);
        *first_us = sent_us.min(*first_us);
        sent_us.saturating_sub(*first_us)
    }

    /// How long a packet lasts, if it is one.
    pub(super) fn duration_ticks(&self, packet: &Bytes) -> Option<u32> {
        let config = self.config.as_ref()?;
        match config.track.coding {
            Coding::Opus => opus::packet_ticks(packet),
            Coding::Flac => flac::frame_ticks(packet),
            _ => config.frame_ticks.filter(|_| !packet.is_empty()),
        }
    }

    /// The time of a packet of that length, which the encoder sent with `sent_us`.
    pub(super) fn place(&mut self, sent_us: i64, duration_ticks: u32) -> i64 {
        self.config.as_mut().map_or(0, |config| config.clock.place(sent_us, duration_ticks))
    }
}
