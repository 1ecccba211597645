//! PURE: FLV's audio and video tags, as RTMP's messages 8 and 9 carry them (Adobe's FLV specification 10.1 E.4; Enhanced
//! RTMP v2), into tracks and frames.
//!
//! Here: which packets are taken, when tracks are announced, and what time it is. `tag` reads what stands in front of
//! the media, `video` and `audio` make frames of it. Nothing is held but each track's configuration.

mod audio;
mod in_band;
mod tag;
mod video;

use bytes::Bytes;

use self::{
    audio::Audio,
    tag::{Codec, Content, Packet, Packets},
    video::Video,
};
use crate::media::{Frame, Track, time::us_to_ticks};

/// Sound alone is announced when this much of it came without a picture's configuration, in microseconds.
const AUDIO_ONLY_AFTER_US: i64 = 1_000_000;

/// Pictures wait for so long for the sound's configuration before they are announced alone, in microseconds of the
/// encoder's time. nginx relays send the first key frame ahead of it; without the wait a second epoch would follow at once.
const SOUND_MAY_FOLLOW_US: i64 = 250_000;

/// The most that is held for it, in bytes.
const MAX_HELD_LEN: usize = 4 << 20;

/// The longest configuration of a decoder, in bytes. Real ones are under 1,000.
const MAX_CONFIG_LEN: usize = 64 << 10;

/// What a tag gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The tracks, before their first frame and whenever they change.
    Tracks(Vec<Track>),
    /// The next frame in decoding order.
    Frame(Frame),
    /// Something of the encoder's that is not played, in a sentence for its operator: said once for each.
    Warning(&'static str, String),
}

/// Why a tag cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ends inside its header.
    #[error("{kind} tag of {len} bytes is cut short")]
    Short {
        /// What it is.
        kind: Kind,
        /// Its length.
        len: usize,
    },
    /// The decoder's configuration is too long to be one.
    #[error("{kind} sequence header of {len} bytes; at most {MAX_CONFIG_LEN} are read")]
    ConfigLength {
        /// What it is.
        kind: Kind,
        /// Its length.
        len: usize,
    },
    /// The picture's configuration cannot be used.
    #[error("the encoder's picture cannot be used: {0}")]
    Picture(String),
}

/// Which message a tag came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Message type 8.
    Audio,
    /// Message type 9.
    Video,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Audio => "audio",
            Self::Video => "video",
        })
    }
}

/// One publisher's tags.
///
/// Tracks are announced right before the first frame that needs them: in front of a key frame of video, with whatever
/// configurations came before it. One that comes later, or another one of the sound in mid-stream, waits for the next key
/// frame: the picture would stand still until then otherwise.
#[derive(Debug)]
pub struct Demuxer {
    clock: Clock,
    video: Video,
    audio: Audio,
    announced: Vec<Track>,
    /// The encoder's time of the first frame that was passed on: the session's zero.
    origin_us: Option<i64>,
    /// The first pictures, while the sound's configuration may follow.
    held: Vec<Frame>,
    /// For how long it may: [`SOUND_MAY_FOLLOW_US`].
    patience_us: i64,
    said: Vec<&'static str>,
}

impl Default for Demuxer {
    fn default() -> Self {
        Self {
            clock: Clock::default(),
            video: Video::default(),
            audio: Audio::default(),
            announced: Vec::new(),
            origin_us: None,
            held: Vec::new(),
            patience_us: SOUND_MAY_FOLLOW_US,
            said: Vec::new(),
        }
    }
}

/// When a tag was sent and when it came.
#[derive(Clone, Copy, Debug)]
struct Times {
    sent_us: i64,
    received_unix_us: i64,
}

impl Demuxer {
    /// Takes the next tag: sent with RTMP's time `timestamp_ms`, arrived at `received_unix_us` (microseconds since 1970).
    ///
    /// An error ends the session: what follows cannot be trusted or not be shown.
    pub fn tag(
        &mut self,
        kind: Kind,
        timestamp_ms: u32,
        received_unix_us: i64,
        payload: Bytes,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        for packet in Packets::read(kind, payload)? {
            let packet = packet?;
            let chosen = match kind {
                Kind::Audio => &mut self.audio.chosen,
                Kind::Video => &mut self.video.chosen,
            };
            if !chosen.takes(packet.track_id) {
                let text = format!(
                    "the encoder sends several {kind} tracks; the first of them is played: send only one"
                );
                self.warn(code(kind, "extra_audio_tracks", "extra_video_tracks"), text, out);
                continue;
            }
            match packet.content {
                Content::Config => self.config(kind, &packet, out)?,
                Content::Coded { composition_offset_ms } => {
                    let sent_us = self
                        .clock
                        .unwrap_ms(timestamp_ms)
                        .saturating_mul(1_000)
                        .saturating_add(i64::from(packet.offset_ns / 1_000));
                    let times = Times { sent_us, received_unix_us };
                    match kind {
                        Kind::Audio => self.sound(packet, times, out),
                        Kind::Video => self.picture(packet, composition_offset_ms, times, out),
                    }
                }
                Content::Other => {}
            }
        }
        Ok(())
    }

    fn config(&mut self, kind: Kind, packet: &Packet, out: &mut Vec<Output>) -> Result<(), Error> {
        let Codec::Played(coding) = packet.codec else {
            self.refuse(kind, packet.codec, out);
            return Ok(());
        };
        if packet.body.len() > MAX_CONFIG_LEN {
            return Err(Error::ConfigLength { kind, len: packet.body.len() });
        }
        match kind {
            Kind::Video => {
                let before = self.video.configured_track().filter(|_| !self.held.is_empty()).cloned();
                self.video.configure(coding, &packet.body).map_err(Error::Picture)?;
                if before.as_ref() != self.video.configured_track() {
                    self.held.clear(); // what is held was of the one before
                }
                Ok(())
            }
            Kind::Audio => {
                if let Err(error) = self.audio.configure(coding, &packet.body) {
                    let text = format!(
                        "the encoder's sound cannot be used, and the picture goes on without it: {error}"
                    );
                    self.warn("bad_audio_config", text, out);
                }
                Ok(())
            }
        }
    }

    fn picture(&mut self, packet: Packet, composition_offset_ms: i32, times: Times, out: &mut Vec<Output>) {
        let Codec::Played(coding) = packet.codec else { return self.refuse(Kind::Video, packet.codec, out) };
        if !self.video.complete(coding, &packet.body) {
            return;
        }
        let Some(track) = self.video.track(coding) else {
            let text =
                "the encoder sends pictures without a sequence header, which nothing can decode".into();
            return self.warn("no_video_config", text, out);
        };
        let timescale = track.timescale;
        let before = self.video.configured_track().filter(|_| !self.held.is_empty()).cloned();
        let picture = match self.video.access_unit(packet) {
            Ok(Some(picture)) => picture,
            Ok(None) => return,
            Err(reason) => {
                let text = format!("the encoder sends broken pictures, which are left out: {reason}");
                return self.warn("bad_video_frame", text, out);
            }
        };
        if before.is_some() && before.as_ref() != self.video.configured_track() {
            self.held.clear(); // what is held was of other parameter sets
        }
        let waits = self.announced.is_empty()
            && self.audio.configured_track().is_none()
            && (picture.key_frame || !self.held.is_empty());
        if waits {
            self.origin_us.get_or_insert(times.sent_us);
        } else {
            self.release(times, out);
            if picture.key_frame && !(self.video.announced && self.audio.announced) {
                self.announce(times, out);
            }
        }
        let dts_us = self.since_origin_us(times);
        let pts_us = dts_us.saturating_add(i64::from(composition_offset_ms) * 1_000);
        let frame = Frame {
            track: 0,
            pts_ticks: us_to_ticks(pts_us, timescale),
            dts_ticks: Some(us_to_ticks(dts_us, timescale)),
            duration_ticks: None,
            capture_time_us: times.received_unix_us,
            key_frame: picture.key_frame,
            data: picture.data,
        };
        if !waits {
            out.push(Output::Frame(frame));
            return;
        }
        self.held.push(frame);
        let held_len: usize = self.held.iter().map(|frame| frame.data.len()).sum();
        if dts_us >= self.patience_us || dts_us < 0 || held_len > MAX_HELD_LEN {
            self.release(times, out);
        }
    }

    /// Announces the pictures that were held, and passes them on.
    fn release(&mut self, times: Times, out: &mut Vec<Output>) {
        if !self.held.is_empty() {
            self.announce(times, out);
            out.extend(self.held.drain(..).map(Output::Frame));
        }
    }

    fn sound(&mut self, packet: Packet, times: Times, out: &mut Vec<Output>) {
        let Codec::Played(coding) = packet.codec else { return self.refuse(Kind::Audio, packet.codec, out) };
        self.audio.assume_config(coding);
        if self.audio.track(coding).is_none() {
            let text = "the encoder sends sound without a sequence header, which nothing can decode".into();
            return self.warn("no_audio_config", text, out);
        }
        self.release(times, out);
        let alone = !self.video.is_configured();
        if alone && !self.audio.announced && self.audio.waited_us(times.sent_us) >= AUDIO_ONLY_AFTER_US {
            self.announce(times, out);
        }
        if !self.audio.announced {
            return;
        }
        let Some(duration_ticks) = self.audio.duration_ticks(&packet.body) else { return };
        let pts_ticks = self.audio.place(self.since_origin_us(times), duration_ticks);
        out.push(Output::Frame(Frame {
            track: usize::from(self.announced.first().is_some_and(Track::is_video)),
            pts_ticks,
            dts_ticks: None,
            duration_ticks: Some(duration_ticks),
            capture_time_us: times.received_unix_us,
            key_frame: true,
            data: packet.body,
        }));
    }

    fn announce(&mut self, times: Times, out: &mut Vec<Output>) {
        let tracks: Vec<_> = [self.video.configured_track(), self.audio.configured_track()]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        (self.video.announced, self.audio.announced) = (true, true);
        self.origin_us.get_or_insert(times.sent_us);
        if tracks != self.announced {
            self.announced.clone_from(&tracks);
            out.push(Output::Tracks(tracks));
        }
    }

    fn since_origin_us(&self, times: Times) -> i64 {
        times.sent_us.saturating_sub(self.origin_us.unwrap_or(times.sent_us))
    }

    fn refuse(&mut self, kind: Kind, codec: Codec, out: &mut Vec<Output>) {
        let text = match kind {
            Kind::Audio => format!("the encoder's sound is {codec}, which is not played: set it to AAC"),
            Kind::Video => format!("the encoder's picture is {codec}, which is not played: set it to H.264"),
        };
        self.warn(code(kind, "unsupported_audio", "unsupported_video"), text, out);
    }

    fn warn(&mut self, code: &'static str, text: String, out: &mut Vec<Output>) {
        if !self.said.contains(&code) {
            self.said.push(code);
            out.push(Output::Warning(code, text));
        }
    }
}

fn code(kind: Kind, audio: &'static str, video: &'static str) -> &'static str {
    if kind == Kind::Audio { audio } else { video }
}

/// RTMP's 32-bit milliseconds, which wrap after 49 days, as 64 bits. All tracks of a session share one.
#[derive(Debug, Default)]
struct Clock {
    last: Option<(u32, i64)>,
}

impl Clock {
    fn unwrap_ms(&mut self, timestamp_ms: u32) -> i64 {
        // The shorter way round (RTMP 1.0, 5.3.1.1): tracks interleave out of order, so a small step back is one.
        let unwrapped = match self.last {
            Some((last, unwrapped)) => {
                unwrapped.saturating_add(i64::from(timestamp_ms.wrapping_sub(last) as i32))
            }
            None => timestamp_ms.into(),
        };
        self.last = Some((timestamp_ms, unwrapped));
        unwrapped
    }
}

/// Which of an encoder's tracks of one kind is taken: track 0, or the first one seen until that comes.
#[derive(Debug, Default)]
struct Chosen(Option<u8>);

impl Chosen {
    fn takes(&mut self, track_id: u8) -> bool {
        if track_id == 0 {
            self.0 = Some(0);
        }
        *self.0.get_or_insert(track_id) == track_id
    }
}

#[cfg(test)]
mod tests;
