//! PURE: the clip inside the program, cut into access units, and where its playing stands.
//!
//! Not here: sockets and clocks. `clip/make.sh` says how the clip is made and what stands in its pictures.
//! Invariant: both tracks last exactly [`LENGTH_US`], so one round of the clip follows the last without a seam: media time
//! counts on for ever while the clip's index starts again.

use std::sync::Arc;

use bytes::Bytes;

use crate::rtsp::{AccessUnit, Codec, Track};

static H264: &[u8] = include_bytes!("clip/clip.h264");
static AAC: &[u8] = include_bytes!("clip/clip.aac");

/// One round of the clip.
pub const LENGTH_US: i64 = 60_000_000;
/// Time between pictures.
pub const PICTURE_US: i64 = 40_000;
/// Samples in a frame of sound.
pub const SAMPLES: i64 = 1024;
/// Samples a second: 60 s of them are a whole number of frames.
pub const SAMPLE_RATE_HZ: i64 = 32_000;
const FRAME_US: i64 = SAMPLES * 1_000_000 / SAMPLE_RATE_HZ;
/// Every how many pictures a key frame stands, from the first on.
pub const GOP: i64 = 50;
/// Later or earlier than this the wall clock was set or the machine slept.
const STEP_US: i64 = 1_000_000;

/// Index of the video track.
pub const VIDEO: usize = 0;
/// Index of the audio track.
pub const AUDIO: usize = 1;

/// What is wrong with the clip's files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A file does not have the form or length that the loop needs.
    #[error("{0}")]
    Damaged(&'static str),
}

/// The clip in memory; access units are slices of the program itself.
#[derive(Debug, Clone)]
pub struct Clip {
    tracks: Arc<[Track]>,
    pictures: Vec<(Bytes, bool)>,
    sound: Vec<Bytes>,
}

impl Clip {
    /// The clip this program carries.
    ///
    /// # Errors
    /// Where its files were replaced by ones that do not loop.
    pub fn embedded() -> Result<Self, Error> {
        Self::parse(H264, AAC)
    }

    fn parse(h264: &'static [u8], aac: &'static [u8]) -> Result<Self, Error> {
        let nals = nals(h264);
        let parameter = |kind: u8| {
            let found = nals.iter().find(|n| n.kind == kind).map(|n| Bytes::from_static(n.bytes));
            found.ok_or(Error::Damaged("no parameter sets"))
        };
        let h264_codec = Codec::H264 { sps: parameter(7)?, pps: parameter(8)? };
        // Each access unit begins with its delimiter.
        let starts: Vec<_> = nals.iter().filter(|n| n.kind == 9).map(|n| n.start).collect();
        let pictures: Vec<_> = starts
            .iter()
            .zip(starts.iter().skip(1).chain([&h264.len()]))
            .map(|(&from, &to)| {
                let key_frame = nals.iter().any(|n| n.kind == 5 && (from..to).contains(&n.start));
                (Bytes::from_static(&h264[from..to]), key_frame)
            })
            .collect();
        if pictures.len() as i64 * PICTURE_US != LENGTH_US {
            return Err(Error::Damaged("pictures do not fill a minute"));
        }
        if pictures.iter().enumerate().any(|(n, (_, key))| *key != (n as i64 % GOP == 0)) {
            return Err(Error::Damaged("key frames do not stand where they must"));
        }
        let (config, sound) = adts(aac)?;
        if sound.len() as i64 * FRAME_US != LENGTH_US {
            return Err(Error::Damaged("sound does not fill a minute"));
        }
        let aac_codec = Codec::Aac { config, sample_rate_hz: SAMPLE_RATE_HZ as u32, channels: 1 };
        Ok(Self { tracks: [Track { codec: h264_codec }, Track { codec: aac_codec }].into(), pictures, sound })
    }

    /// Its two tracks: [`VIDEO`] and [`AUDIO`].
    pub fn tracks(&self) -> Arc<[Track]> {
        Arc::clone(&self.tracks)
    }
}

struct Nal {
    start: usize,
    kind: u8,
    bytes: &'static [u8],
}

/// The NAL units of an Annex B file with where their start codes begin.
fn nals(file: &'static [u8]) -> Vec<Nal> {
    let codes: Vec<usize> =
        file.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(at, _)| at).collect();
    let ends = codes.iter().skip(1).copied().chain([file.len()]);
    codes
        .iter()
        .zip(ends)
        .filter_map(|(&at, end)| {
            let mut bytes = &file[at + 3..end];
            // A NAL unit never ends in a zero (its last bit is a stop bit): those belong to the next start code.
            while let [rest @ .., 0] = bytes {
                bytes = rest;
            }
            let start = if at > 0 && file[at - 1] == 0 { at - 1 } else { at };
            Some(Nal { start, kind: bytes.first()? & 0x1f, bytes })
        })
        .collect()
}

/// The `AudioSpecificConfig` and the raw frames of an ADTS file (ISO 13818-7, 6.2).
fn adts(mut file: &'static [u8]) -> Result<(Bytes, Vec<Bytes>), Error> {
    const DAMAGED: Error = Error::Damaged("sound is not ADTS");
    let mut frames = Vec::new();
    let mut config = Bytes::new();
    while !file.is_empty() {
        let head: &[u8; 7] = file.first_chunk().ok_or(DAMAGED)?;
        // Sync word, layer 0 and, in its last bit, no checksum.
        if head[0] != 0xff || head[1] & 0xf7 != 0xf1 {
            return Err(DAMAGED);
        }
        let size = usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5]) >> 5;
        frames.push(Bytes::from_static(file.get(7..size).ok_or(DAMAGED)?));
        file = &file[size..];
        let object_type = (head[2] >> 6) + 1;
        let rate_index = (head[2] >> 2) & 15;
        let channels = (head[2] & 1) << 2 | head[3] >> 6;
        if rate_index != 5 || channels != 1 {
            return Err(Error::Damaged("sound is not 32 kHz mono"));
        }
        config = Bytes::from(vec![object_type << 3 | rate_index >> 1, rate_index << 7 | channels << 3]);
    }
    Ok((config, frames))
}

/// Where playing stands. Media time 0 is a full minute of the wall clock.
#[derive(Debug, Clone)]
pub struct Playhead {
    epoch_us: i64,
    picture: i64,
    frame: i64,
}

impl Playhead {
    /// Begins with what is due at this wall clock (microseconds since 1970).
    pub fn new(now_us: i64) -> Self {
        let epoch_us = now_us - now_us.rem_euclid(LENGTH_US);
        let mut playhead = Self { epoch_us, picture: 0, frame: 0 };
        playhead.seek(now_us);
        playhead
    }

    fn seek(&mut self, now_us: i64) {
        let media_us = now_us - self.epoch_us;
        self.picture = (media_us + PICTURE_US - 1).div_euclid(PICTURE_US);
        self.frame = media_us.div_euclid(FRAME_US);
    }

    /// The wall clock at media time 0.
    pub fn epoch_us(&self) -> i64 {
        self.epoch_us
    }

    fn picture_due_us(&self) -> i64 {
        self.epoch_us + self.picture * PICTURE_US
    }

    /// Sound is due at its last sample, as no microphone gives it earlier.
    fn frame_due_us(&self) -> i64 {
        self.epoch_us + (self.frame + 1) * FRAME_US
    }

    /// When the next unit is due, by the wall clock.
    pub fn due_us(&self) -> i64 {
        self.picture_due_us().min(self.frame_due_us())
    }

    /// Finds its place again when the wall clock jumped or the machine slept, and says whether it did. Media time only ever
    /// goes on: the epoch moves by whole minutes, so that the picture shows the new time of day at once.
    pub fn resync(&mut self, now_us: i64) -> bool {
        if (now_us - self.due_us()).abs() <= STEP_US {
            return false;
        }
        let reached_us = (self.picture * PICTURE_US).max((self.frame + 1) * FRAME_US);
        let minute_us = now_us.rem_euclid(LENGTH_US);
        let rounds = (reached_us - minute_us + LENGTH_US - 1).div_euclid(LENGTH_US);
        self.epoch_us = now_us - minute_us - rounds * LENGTH_US;
        self.seek(now_us);
        true
    }

    /// The unit that is due next; the playhead moves behind it.
    pub fn take(&mut self, clip: &Clip) -> AccessUnit {
        if self.frame_due_us() < self.picture_due_us() {
            let data = clip.sound[self.frame.rem_euclid(clip.sound.len() as i64) as usize].clone();
            let pts_ticks = self.frame * SAMPLES;
            self.frame += 1;
            AccessUnit { track: AUDIO, pts_ticks, key_frame: true, data }
        } else {
            let (data, key_frame) =
                clip.pictures[self.picture.rem_euclid(clip.pictures.len() as i64) as usize].clone();
            let pts_ticks = self.picture * PICTURE_US * 9 / 100;
            self.picture += 1;
            AccessUnit { track: VIDEO, pts_ticks, key_frame, data }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_clip_fills_its_minute_and_fits_a_megabyte() {
        let clip = Clip::embedded().unwrap();
        assert_eq!(clip.pictures.len(), 1500);
        assert_eq!(clip.sound.len(), 1875);
        assert!(H264.len() + AAC.len() < 1_000_000);
        assert_eq!(clip.pictures.iter().map(|p| p.0.len()).sum::<usize>(), H264.len(), "no byte is left out");
        let Codec::Aac { config, .. } = &clip.tracks()[AUDIO].codec else { panic!() };
        assert_eq!(config[..], [0x12, 0x88], "AAC-LC, 32 kHz, mono");
    }

    #[test]
    fn files_that_do_not_loop_are_refused() {
        assert!(Clip::parse(&H264[..H264.len() / 2], AAC).is_err());
        assert!(Clip::parse(H264, &AAC[..AAC.len() / 2]).is_err());
        assert!(Clip::parse(b"", AAC).is_err());
    }

    /// The wall clock of a full minute, and so of media time 0.
    const MINUTE: i64 = 28_000_000 * LENGTH_US;

    #[test]
    fn the_seam_is_crossed_in_even_steps_with_a_key_frame_on_it() {
        let clip = Clip::embedded().unwrap();
        let mut playhead = Playhead::new(MINUTE + 59_500_001);
        let units: Vec<_> = (0..60).map(|_| playhead.take(&clip)).collect();
        for (track, step) in [(VIDEO, 3600), (AUDIO, 1024)] {
            let times: Vec<_> = units.iter().filter(|u| u.track == track).map(|u| u.pts_ticks).collect();
            assert!(times.windows(2).all(|w| w[1] - w[0] == step), "{times:?}");
        }
        let seam = units.iter().find(|u| u.track == VIDEO && u.pts_ticks == 60 * 90_000).unwrap();
        assert!(seam.key_frame);
        assert_eq!(seam.data, clip.pictures[0].0);
        let seam = units.iter().find(|u| u.track == AUDIO && u.pts_ticks == 60 * 32_000).unwrap();
        assert_eq!(seam.data, clip.sound[0]);
    }

    #[test]
    fn a_picture_is_due_at_the_time_painted_in_it() {
        let clip = Clip::embedded().unwrap();
        let mut playhead = Playhead::new(MINUTE + 12_345_678);
        for _ in 0..10 {
            let due_us = playhead.due_us();
            let unit = playhead.take(&clip);
            if unit.track == VIDEO {
                let index = due_us.rem_euclid(LENGTH_US) / PICTURE_US;
                assert_eq!(unit.data, clip.pictures[index as usize].0);
                assert!(due_us >= MINUTE + 12_345_678);
            }
        }
    }

    #[test]
    fn after_a_clock_step_either_way_media_time_goes_on_and_the_picture_is_right() {
        let clip = Clip::embedded().unwrap();
        for step_us in [3 * 3600 * 1_000_000, -3_600_123_456, 2_500_000, -2_500_000] {
            let mut playhead = Playhead::new(MINUTE + 30_000_000);
            let last = playhead.take(&clip);
            assert!(!playhead.resync(MINUTE + 30_100_000), "being late a little is no step");
            let now_us = MINUTE + 30_040_000 + step_us;
            assert!(playhead.resync(now_us));
            assert!(!playhead.resync(now_us));
            let wait_us = playhead.due_us() - now_us;
            assert!((0..=PICTURE_US).contains(&wait_us), "{wait_us} after {step_us}");
            let unit =
                std::iter::repeat_with(|| playhead.take(&clip)).find(|u| u.track == last.track).unwrap();
            assert!(unit.pts_ticks > last.pts_ticks, "{step_us}");
        }
    }
}
