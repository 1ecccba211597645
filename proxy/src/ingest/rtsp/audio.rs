//! The sound of one session: from what retina gathers to frames for the stream.

use retina::codec::{AudioFrame, AudioParameters};

use super::connect::Offer;
use crate::media::{
    Track,
    pcm::Coding,
    sound::{Sound, Unit},
    time::ticks_to_us,
};

/// Whether sound of this name in SDP is played.
pub(super) fn is_played(encoding: &str) -> bool {
    encoding == AAC || Coding::of(encoding).is_some()
}

/// AAC's name in SDP (RFC 3640), in lower case.
const AAC: &str = "mpeg4-generic";

/// Why the sound of these offers is not played, for the camera's owner. Nothing where it is, or where there is none.
pub(super) fn unplayed(offers: &[Offer]) -> Option<String> {
    let mut sounds = offers.iter().filter(|offer| offer.media == "audio").peekable();
    let first = sounds.peek()?.encoding.to_uppercase();
    if sounds.any(|offer| offer.played) {
        return None;
    }
    Some(format!(
        "the camera's sound is {first}, which is not played; the picture goes on without it: set the camera's sound to \
         AAC or G.711"
    ))
}

/// The audio track of one session.
#[derive(Debug)]
pub(super) struct Audio {
    encoding: String,
    channels: u16,
    clock_rate_hz: u32,
    /// Known once the tracks are described.
    sound: Option<Sound>,
}

impl Audio {
    pub(super) fn new(offer: &Offer) -> Self {
        Self {
            encoding: offer.encoding.clone(),
            channels: offer.channels.unwrap_or(1),
            clock_rate_hz: offer.clock_rate_hz,
            sound: None,
        }
    }

    /// Describes the track, or says why it cannot be played: the picture goes on without it.
    pub(super) fn track(&mut self, parameters: Option<&AudioParameters>) -> Result<Track, String> {
        if let Some(sound) = &self.sound {
            return Ok(sound.track().clone()); // SDP said it, once
        }
        let sound = if let Some(coding) = Coding::of(&self.encoding) {
            Sound::pcm(coding, self.clock_rate_hz, self.channels)
        } else {
            let parameters = parameters.ok_or("the camera never said how it is coded")?;
            Sound::aac(parameters.extra_data(), self.clock_rate_hz)
        };
        let sound = self.sound.insert(sound.map_err(|e| e.to_string())?);
        Ok(sound.track().clone())
    }

    /// How long what the camera sent lasts, by its clock. retina counts the samples of all channels.
    pub(super) fn length_ticks(&self, frame: &AudioFrame) -> u32 {
        let channels = Coding::of(&self.encoding).map_or(1, |_| u32::from(self.channels.max(1)));
        frame.frame_length().get() / channels
    }

    /// The clock was put right: what comes next stands where it says.
    pub(super) fn resync(&mut self) {
        if let Some(sound) = &mut self.sound {
            sound.resync();
        }
    }

    /// Takes what the camera sent for `sent_ticks` of RTP's clock and gives what is whole.
    pub(super) fn packet(&mut self, frame: &AudioFrame, sent_ticks: i64) -> Vec<Unit> {
        let mut units = Vec::new();
        if let Some(sound) = &mut self.sound {
            if frame.loss() > 0 {
                sound.resync();
            }
            let sent_us = ticks_to_us(sent_ticks, self.clock_rate_hz);
            sound.packet(sent_us, frame.data(), frame.frame_length().get(), &mut units);
        }
        units
    }

    /// The silence that a picture at `pts_us` needs, where sound is missing.
    pub(super) fn picture(&mut self, pts_us: i64) -> Vec<Unit> {
        let mut units = Vec::new();
        if let Some(sound) = &mut self.sound {
            sound.picture(pts_us, &mut units);
        }
        units
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(media: &str, encoding: &str) -> Offer {
        Offer {
            media: media.into(),
            encoding: encoding.into(),
            clock_rate_hz: 8_000,
            channels: None,
            played: is_played(encoding),
            not_played_because: None,
        }
    }

    #[test]
    fn sound_that_is_not_played_is_named_with_what_to_set() {
        let text = unplayed(&[offer("video", "h264"), offer("audio", "opus")]).expect("not played");
        assert!(text.contains("OPUS") && text.contains("G.711"), "{text}");
        assert_eq!(unplayed(&[offer("video", "h264")]), None);
        assert_eq!(unplayed(&[offer("audio", "opus"), offer("audio", "pcmu")]), None);
    }
}
