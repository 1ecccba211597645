//! PURE: pictures, from configurations and packets to tracks and access units.

use bytes::Bytes;

use super::{Chosen, in_band, tag::Packet};
use crate::media::{Coding, Track, av1, h264, h265, nal};

/// An access unit for a decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) data: Bytes,
    pub(super) key_frame: bool,
}

/// The state of a publisher's pictures.
#[derive(Debug)]
pub(super) struct Video {
    pub(super) chosen: Chosen,
    /// The configuration at hand has been announced, or there is none.
    pub(super) announced: bool,
    config: Option<Config>,
    /// An `av1C` that has no sequence header: the first key frame brings it.
    incomplete: Option<Box<[u8]>>,
    /// What comes refers to what was not passed on.
    awaiting_key_frame: bool,
}

#[derive(Debug)]
struct Config {
    /// As it was sent.
    sent: Box<[u8]>,
    /// Bytes of a NAL unit's length, as the encoder writes it.
    length_len: usize,
    track: Track,
}

impl Default for Video {
    fn default() -> Self {
        Self {
            chosen: Chosen::default(),
            announced: true,
            config: None,
            incomplete: None,
            awaiting_key_frame: true,
        }
    }
}

impl Video {
    /// Takes a sequence header. Encoders and relays repeat theirs: the same again changes nothing.
    pub(super) fn configure(&mut self, coding: Coding, sent: &[u8]) -> Result<(), String> {
        if self.config.as_ref().is_some_and(|config| config.track.coding == coding && *config.sent == *sent) {
            return Ok(());
        }
        if coding == Coding::Av1 && av1::track(sent) == Err(av1::Error::NoSequenceHeader) {
            (self.config, self.announced, self.incomplete) = (None, true, Some(sent.into()));
            return Ok(());
        }
        self.configure_with(coding, sent, sent)
    }

    /// Takes a sequence header for which `record` is to be read.
    fn configure_with(&mut self, coding: Coding, sent: &[u8], record: &[u8]) -> Result<(), String> {
        let (track, length_len) = match coding {
            Coding::H264 => described(record, 4, |avcc| h264::track(avcc).map_err(|e| e.to_string()))?,
            Coding::H265 => described(record, 21, |hvcc| h265::track(hvcc).map_err(|e| e.to_string()))?,
            Coding::Av1 => (av1::track(record).map_err(|e| e.to_string())?, 0),
            Coding::Aac | Coding::Opus | Coding::Flac => return Err(format!("{coding:?} is no picture")),
        };
        self.config = Some(Config { sent: sent.into(), length_len, track });
        self.incomplete = None;
        self.announced = false;
        self.awaiting_key_frame = true;
        Ok(())
    }

    /// Completes a configuration from a packet where that is needed. False if it still is not complete.
    pub(super) fn complete(&mut self, coding: Coding, packet: &[u8]) -> bool {
        let Some(sent) = self.incomplete.as_ref().filter(|_| coding == Coding::Av1).cloned() else {
            return true;
        };
        av1::with_sequence_header(&sent, packet)
            .is_some_and(|record| self.configure_with(coding, &sent, &record).is_ok())
    }

    pub(super) fn is_configured(&self) -> bool {
        self.config.is_some() || self.incomplete.is_some()
    }

    /// The track, whether or not it has been announced.
    pub(super) fn configured_track(&self) -> Option<&Track> {
        self.config.as_ref().map(|config| &config.track)
    }

    /// The track that packets of this coding belong to.
    pub(super) fn track(&self, coding: Coding) -> Option<&Track> {
        self.configured_track().filter(|track| track.coding == coding)
    }

    /// The access unit of a packet, if it is to be passed on.
    pub(super) fn access_unit(&mut self, packet: Packet) -> Result<Option<Picture>, String> {
        let Some(config) = &self.config else { return Ok(None) };
        let read = match config.track.coding {
            Coding::Av1 => av1::temporal_unit(packet.body)
                .map(|unit| (unit.data, unit.has_picture, false))
                .map_err(|e| e.to_string()),
            coding => nal::access_unit(packet.body, config.length_len, coding)
                .map(|unit| (unit.data, unit.has_picture, unit.is_random_access))
                .map_err(|e| e.to_string()),
        };
        self.awaiting_key_frame |= read.is_err();
        let (data, has_picture, is_random_access) = read?;
        // Some encoders leave the frame type at "inter". One that says "key" where there is no IDR picture begins at a
        // recovery point (intra refresh).
        let key_frame = packet.key_frame || is_random_access;
        if !has_picture || (self.awaiting_key_frame && !key_frame) {
            return Ok(None);
        }
        if key_frame {
            self.heed_in_band(&data)?;
        }
        self.awaiting_key_frame = false;
        Ok(Some(Picture { data, key_frame }))
    }
}

impl Video {
    /// Takes the parameter sets that come with a key frame, where they are others than those announced.
    fn heed_in_band(&mut self, unit: &[u8]) -> Result<(), String> {
        let Some(config) = self.config.as_mut().filter(|config| config.track.coding == Coding::H264) else {
            return Ok(());
        };
        let Some(record) = in_band::record(&config.track.decoder_config, unit) else { return Ok(()) };
        self.awaiting_key_frame = true; // until these are understood
        config.track = h264::track(&record).map_err(|e| e.to_string())?;
        self.announced = false;
        Ok(())
    }
}

/// Reads a record whose byte `at` ends in `lengthSizeMinusOne`: the track, as it is after lengths were brought to 4
/// bytes, and the length of those that come.
fn described(
    sent: &[u8],
    at: usize,
    track: impl FnOnce(&[u8]) -> Result<Track, String>,
) -> Result<(Track, usize), String> {
    let mut record = sent.to_vec();
    let mut length_len = 4;
    if let Some(byte) = record.get_mut(at) {
        length_len = usize::from(*byte & 3) + 1;
        *byte |= 3;
    }
    Ok((track(&record)?, length_len))
}
