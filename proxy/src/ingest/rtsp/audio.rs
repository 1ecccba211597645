//! The sound of one session: from packets to frames for the stream.

use bytes::Bytes;

use super::{
    connect::Offer,
    depacketise::{Error, Packet, aac},
};
use crate::media::{
    self, Track, opus,
    pcm::Coding,
    sound::{Sound, Unit},
    time::ticks_to_us,
};

/// AAC's name in SDP (RFC 3640), in lower case.
const AAC: &str = "mpeg4-generic";

/// Opus' name in SDP (RFC 7587), in lower case.
const OPUS: &str = "opus";

/// Whether sound of this name in SDP is played.
pub(super) fn is_played(encoding: &str) -> bool {
    encoding == AAC || encoding == OPUS || Coding::of(encoding).is_some()
}

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
    offer: Offer,
    /// Known once the tracks are described.
    playing: Option<Playing>,
    told_unusable: bool,
}

#[derive(Debug)]
struct Playing {
    sound: Sound,
    form: Form,
}

/// What a packet holds.
#[derive(Debug)]
enum Form {
    /// Samples, as many as there is room for; and how many bits there are for each tick of the clock.
    Samples {
        bits_per_tick: u32,
    },
    /// One packet of Opus.
    Opus,
    Aac {
        depacketiser: aac::Depacketiser,
        unit_ticks: u32,
    },
}

/// What came of sound at once: an access unit, or some samples.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) data: Bytes,
    pub(super) timestamp: retina::Timestamp,
    /// By RTP's clock.
    pub(super) length_ticks: u32,
    loss: u16,
}

impl Audio {
    pub(super) fn new(offer: &Offer) -> Self {
        Self { offer: offer.clone(), playing: None, told_unusable: false }
    }

    /// Describes the track, or says why it cannot be played: the picture goes on without it.
    pub(super) fn track(&mut self) -> Result<Track, String> {
        let playing = match self.playing.take() {
            Some(playing) => playing, // SDP said it, once
            None => Playing::new(&self.offer)?,
        };
        let playing = self.playing.insert(playing);
        Ok(playing.sound.track().clone())
    }

    /// What a packet holds; and in words, the first time, that it cannot be read.
    pub(super) fn read(&mut self, packet: &Packet) -> (Vec<Piece>, Option<String>) {
        let Some(playing) = &mut self.playing else { return (vec![], None) };
        match playing.form.read(packet) {
            Ok(pieces) => (pieces, None),
            Err((pieces, error)) => {
                let news = !std::mem::replace(&mut self.told_unusable, true);
                (pieces, news.then(|| format!("some of the sound is left out: the camera sent {error}")))
            }
        }
    }

    /// The clock was put right: what comes next stands where it says.
    pub(super) fn resync(&mut self) {
        if let Some(playing) = &mut self.playing {
            playing.sound.resync();
        }
    }

    /// Takes what the camera sent for `sent_ticks` of RTP's clock and gives what is whole.
    pub(super) fn piece(&mut self, piece: &Piece, sent_ticks: i64) -> Vec<Unit> {
        let mut units = Vec::new();
        if let Some(Playing { sound, .. }) = &mut self.playing {
            if piece.loss > 0 {
                sound.resync();
            }
            let sent_us = ticks_to_us(sent_ticks, self.offer.clock_rate_hz);
            sound.packet(sent_us, &piece.data, piece.length_ticks, &mut units);
        }
        units
    }

    /// The silence that a picture at `pts_us` needs, where sound is missing.
    pub(super) fn picture(&mut self, pts_us: i64) -> Vec<Unit> {
        let mut units = Vec::new();
        if let Some(playing) = &mut self.playing {
            playing.sound.picture(pts_us, &mut units);
        }
        units
    }
}

impl Playing {
    fn new(offer: &Offer) -> Result<Self, String> {
        let clock_rate_hz = offer.clock_rate_hz;
        if let Some(coding) = Coding::of(&offer.encoding) {
            let channels = offer.channels.unwrap_or(1);
            let sound = Sound::pcm(coding, clock_rate_hz, channels).map_err(|e| e.to_string())?;
            let bits_per_tick = coding.bits_per_tick().saturating_mul(channels.into()).max(1);
            return Ok(Self { sound, form: Form::Samples { bits_per_tick } });
        }
        if offer.encoding == OPUS {
            if clock_rate_hz != opus::TIMESCALE {
                // RFC 7587, 4.1.
                return Err(format!("Opus with a clock of {clock_rate_hz} Hz; it has 48000"));
            }
            // What says nothing may be either: decoders make stereo of mono, and not the other way round.
            let is_mono = offer.format.get("sprop-stereo") == Some("0");
            let sound = Sound::opus(if is_mono { 1 } else { 2 }).map_err(|e| e.to_string())?;
            return Ok(Self { sound, form: Form::Opus });
        }
        let config = offer.format.hex("config").ok_or("the camera does not say how it is coded (config)")?;
        let unit_ticks = media::aac::samples_per_frame(&config).map_err(|e| e.to_string())?;
        let sound = Sound::aac(&config, clock_rate_hz).map_err(|e| e.to_string())?;
        let depacketiser = aac::Depacketiser::new(&offer.format, unit_ticks);
        Ok(Self { sound, form: Form::Aac { depacketiser, unit_ticks } })
    }
}

impl Form {
    /// What a packet holds; where it is not all of use, what is, and why the rest is not.
    fn read(&mut self, packet: &Packet) -> Result<Vec<Piece>, (Vec<Piece>, Error)> {
        let whole = |length_ticks| {
            let &Packet { ref payload, timestamp, loss, .. } = packet;
            vec![Piece { data: payload.clone(), timestamp, length_ticks, loss }]
        };
        let len = packet.payload.len();
        match self {
            _ if len == 0 => Err((vec![], Error::Empty)),
            Self::Samples { bits_per_tick } => Ok(whole(len as u32 * 8 / *bits_per_tick)),
            Self::Opus => match opus::packet_ticks(&packet.payload) {
                Some(ticks) => Ok(whole(ticks)),
                None => Err((vec![], Error::Short(len))),
            },
            Self::Aac { depacketiser, unit_ticks } => {
                let mut units = vec![];
                let read = depacketiser.push(packet, &mut units);
                let piece = |aac::AccessUnit { data, timestamp, loss }| Piece {
                    data,
                    timestamp,
                    length_ticks: *unit_ticks,
                    loss,
                };
                let pieces = units.into_iter().map(piece).collect();
                match read {
                    Ok(()) => Ok(pieces),
                    Err(error) => Err((pieces, error)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::depacketise::fmtp::Format, *};

    fn offer(media: &str, encoding: &str) -> Offer {
        Offer {
            media: media.into(),
            encoding: encoding.into(),
            clock_rate_hz: 8_000,
            channels: None,
            played: is_played(encoding),
            not_played_because: None,
            format: Format::default(),
        }
    }

    #[test]
    fn sound_that_is_not_played_is_named_with_what_to_set() {
        let text = unplayed(&[offer("video", "h264"), offer("audio", "mp4a-latm")]).expect("not played");
        assert!(text.contains("MP4A-LATM") && text.contains("G.711"), "{text}");
        assert_eq!(unplayed(&[offer("video", "h264")]), None);
        assert_eq!(unplayed(&[offer("audio", "mp4a-latm"), offer("audio", "pcmu")]), None);
    }
}
