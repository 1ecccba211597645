//! One track's sound on its way from packets to access units: decoded where browsers do not play it, laid end to end,
//! and silence in the place of what does not come.
//!
//! A browser shows no picture for which its sound is missing. A microphone that is switched off, or one that a camera
//! announces and does not have, must not stop the picture: so a track of sound never ends while there are pictures.
//!
//! Invariants: access units come in order and do not overlap by more than half of one, and what is held is less than a
//! block.

use bytes::Bytes;

use super::{
    SampleClock, Track, aac, flac,
    flac_encoder::{self, Encoder},
    opus,
    pcm::{Coding, Decoder},
    time::{ticks_to_us, us_to_ticks},
};

/// How much longer than usual sound may keep its pictures waiting before it is taken to be missing, in microseconds.
/// Encoders that are held up are late by up to 100 ms, and sound that came then would find its place taken.
const PATIENCE_US: i64 = 150_000;

/// The longest hole that is filled, in microseconds. Farther on the timeline jumped.
const LONGEST_FILL_US: i64 = 2_000_000;

/// What is usual is forgotten by so much with each packet, in microseconds.
const FORGET_US: i64 = 200;

/// Why sound cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// By its AAC configuration.
    #[error(transparent)]
    Aac(#[from] aac::Error),
    /// By its Opus header.
    #[error(transparent)]
    Opus(#[from] opus::Error),
    /// FLAC cannot carry it.
    #[error(transparent)]
    Encoder(#[from] flac_encoder::Error),
    /// FLAC's description of it is refused.
    #[error(transparent)]
    Flac(#[from] flac::Error),
}

/// One access unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Presentation time in the track's timescale.
    pub pts_ticks: i64,
    /// How long it sounds, in the same.
    pub duration_ticks: u32,
    /// For the decoder.
    pub data: Bytes,
}

/// What one track's packets go through.
#[derive(Debug)]
pub struct Sound {
    track: Track,
    form: Form,
    sample_clock: SampleClock,
    /// Where what came so far ends.
    end_ticks: Option<i64>,
    presence: Presence,
}

#[derive(Debug)]
enum Form {
    /// Access units as they come, and one of silence.
    Passed { silence: Option<Bytes>, unit_ticks: u32 },
    /// Samples, packed in blocks.
    Packed(Box<Packer>),
}

#[derive(Debug)]
struct Packer {
    decoder: Decoder,
    encoder: Encoder,
    /// Samples of less than a block, channels by turns.
    held: Vec<i16>,
    decoded: Vec<i16>,
    channels: usize,
}

impl Sound {
    /// AAC by its `AudioSpecificConfig`; `clock_rate_hz` is what RTP counts in.
    pub fn aac(config: &[u8], clock_rate_hz: u32) -> Result<Self, Error> {
        // Silence is made by the clock: one of gigahertz would have no end of it.
        if !(7_000..=192_000).contains(&clock_rate_hz) {
            return Err(aac::Error::Unsupported { field: "RTP clock rate", value: clock_rate_hz }.into());
        }
        let track = Track { timescale: clock_rate_hz, ..aac::track(config)? };
        let form =
            Form::Passed { silence: aac::silence(config), unit_ticks: aac::samples_per_frame(config)? };
        Ok(Self::new(track, form))
    }

    /// Opus of so many channels, each packet an access unit.
    pub fn opus(channels: u8) -> Result<Self, Error> {
        /// 20 ms in which nothing is coded (RFC 6716, 3.1: CELT, full band, one frame).
        const SILENCE: &[u8] = &[0xf8, 0xff, 0xfe];
        let mut head = opus::DEFAULT_HEAD;
        head[9] = channels;
        let silence = Some(Bytes::from_static(SILENCE));
        Ok(Self::new(opus::track(&head)?, Form::Passed { silence, unit_ticks: 960 }))
    }

    /// What is decoded here, by RTP's clock and channels.
    pub fn pcm(coding: Coding, clock_rate_hz: u32, channels: u16) -> Result<Self, Error> {
        let sample_rate = clock_rate_hz.saturating_mul(coding.samples_per_tick());
        let encoder = Encoder::new(sample_rate, channels)?;
        let shape = flac_encoder::Error::Shape { sample_rate, channels };
        // Only L16 has channels by turns.
        if channels != 1 && coding != Coding::L16 {
            return Err(shape.into());
        }
        let decoder = Decoder::new(coding).ok_or(shape)?;
        let track = encoder.track()?;
        let (held, decoded) = (vec![], vec![]);
        let packer = Packer { decoder, encoder, held, decoded, channels: channels.into() };
        Ok(Self::new(track, Form::Packed(Box::new(packer))))
    }

    fn new(track: Track, form: Form) -> Self {
        let sample_clock = SampleClock::new(track.timescale);
        Self { track, form, sample_clock, end_ticks: None, presence: Presence::default() }
    }

    /// The track as it is announced.
    pub fn track(&self) -> &Track {
        &self.track
    }

    /// The next packet stands where its sender says: the sender's clock was put right, or packets were lost.
    pub fn resync(&mut self) {
        self.sample_clock.resync();
    }

    /// Takes a packet that was sent for `sent_us`. Where `access_unit_ticks` says so it is one access unit of this length.
    pub fn packet(&mut self, sent_us: i64, data: &[u8], access_unit_ticks: u32, out: &mut Vec<Unit>) {
        let mut duration_ticks = access_unit_ticks;
        if let Form::Packed(packer) = &mut self.form {
            let Packer { decoder, decoded, channels, .. } = &mut **packer;
            decoded.clear();
            decoder.decode(data, decoded);
            let samples = decoded.len() / *channels;
            decoded.truncate(samples * *channels);
            duration_ticks = u32::try_from(samples).unwrap_or(u32::MAX);
        }
        if duration_ticks == 0 {
            return;
        }
        let at = self.sample_clock.place(sent_us, duration_ticks);
        let end = *self.end_ticks.get_or_insert(at);
        // Sound that has always been late, and finds its place taken at first, is late by its own time.
        self.presence.heard(ticks_to_us(end.min(at), self.track.timescale));
        let gap = at.saturating_sub(end);
        match &mut self.form {
            Form::Passed { unit_ticks, .. } => {
                // As many units as leave the least hole or overlap: half of one at most.
                let half = i64::from(*unit_ticks / 2);
                if gap > half {
                    self.fill(at.saturating_add(half), out);
                }
                // What came too late has had its place taken by silence.
                if gap.saturating_mul(-2) <= i64::from(duration_ticks) {
                    let data = Bytes::copy_from_slice(data);
                    out.push(Unit { pts_ticks: at, duration_ticks, data });
                    self.end_ticks = Some(at.saturating_add(duration_ticks.into()));
                }
            }
            Form::Packed(_) => {
                if gap > 0 {
                    self.fill(at, out);
                }
                let Form::Packed(packer) = &mut self.form else { return };
                let late = usize::try_from(gap.saturating_neg()).unwrap_or(0).saturating_mul(packer.channels);
                if late < packer.decoded.len() {
                    packer.held.extend_from_slice(&packer.decoded[late..]);
                    let added = (packer.decoded.len() - late) / packer.channels;
                    let end = self.end_ticks.unwrap_or(at);
                    self.end_ticks = Some(end.saturating_add(added as i64));
                }
                self.pack(out);
            }
        }
    }

    /// Takes note of a picture to be shown at `pts_us`, and gives the silence that it needs.
    pub fn picture(&mut self, pts_us: i64, out: &mut Vec<Unit>) {
        let timescale = self.track.timescale;
        let end = *self.end_ticks.get_or_insert_with(|| us_to_ticks(pts_us, timescale));
        let Some(until_us) = self.presence.picture(pts_us, ticks_to_us(end, timescale)) else { return };
        if self.unit_ticks().is_some() {
            self.resync();
            // At least a whole unit, so that there is something to begin with.
            let until = us_to_ticks(until_us, timescale).max(end.saturating_add(1));
            self.fill(until.saturating_add(self.unit_ticks().unwrap_or(1) - 1), out);
        }
    }

    /// How long a unit of silence is, where there can be one.
    fn unit_ticks(&self) -> Option<i64> {
        match &self.form {
            Form::Passed { silence: None, .. } => None,
            Form::Passed { unit_ticks, .. } => Some((*unit_ticks).into()),
            Form::Packed(packer) => Some(packer.encoder.block_samples().into()),
        }
    }

    /// Silence up to `until`: for samples to the tick, else as many whole units as there is room for.
    fn fill(&mut self, until: i64, out: &mut Vec<Unit>) {
        let end = self.end_ticks.unwrap_or(until);
        let missing = until.saturating_sub(end);
        let too_long = missing > us_to_ticks(LONGEST_FILL_US, self.track.timescale);
        match &mut self.form {
            _ if missing <= 0 => {}
            Form::Passed { silence, unit_ticks } => {
                let mut end = end;
                if let Some(silence) = silence.as_ref().filter(|_| !too_long) {
                    while end.saturating_add((*unit_ticks).into()) <= until {
                        out.push(Unit { pts_ticks: end, duration_ticks: *unit_ticks, data: silence.clone() });
                        end += i64::from(*unit_ticks);
                    }
                }
                self.end_ticks = Some(if too_long { until } else { end });
            }
            Form::Packed(packer) => {
                if too_long {
                    // What is held gets the rest of its block.
                    let block = packer.encoder.block_samples() as usize * packer.channels;
                    let whole = packer.held.len().next_multiple_of(block);
                    let added = (whole - packer.held.len()) / packer.channels;
                    packer.held.resize(whole, 0);
                    self.end_ticks = Some(end + added as i64);
                    self.pack(out);
                    self.end_ticks = Some(until);
                } else {
                    let len = packer.held.len() + missing as usize * packer.channels;
                    packer.held.resize(len, 0);
                    self.end_ticks = Some(until);
                    self.pack(out);
                }
            }
        }
    }

    /// Packs the whole blocks of what is held, which ends at `end_ticks`.
    fn pack(&mut self, out: &mut Vec<Unit>) {
        let (Form::Packed(packer), Some(end)) = (&mut self.form, self.end_ticks) else { return };
        let Packer { encoder, held, channels, .. } = &mut **packer;
        let duration_ticks = encoder.block_samples();
        let mut pts_ticks = end.saturating_sub((held.len() / *channels) as i64);
        let block = duration_ticks as usize * *channels;
        let mut used = 0;
        for samples in held.chunks_exact(block) {
            used += block;
            // Cannot fail: the block has the length the encoder asked for.
            if let Ok(data) = encoder.frame(samples) {
                out.push(Unit { pts_ticks, duration_ticks, data });
            }
            pts_ticks = pts_ticks.saturating_add(duration_ticks.into());
        }
        held.drain(..used);
    }
}

/// Whether sound comes, judged by the pictures that come with it: a link that holds everything back says nothing.
#[derive(Debug, Default)]
struct Presence {
    newest_us: Option<i64>,
    /// How far it was behind the newest picture at most, when more of it came.
    usual_lag_us: Option<i64>,
    /// It comes.
    present: bool,
}

impl Presence {
    /// More sound came, to be heard from `pts_us` on.
    fn heard(&mut self, pts_us: i64) {
        self.present = true;
        let Some(newest_us) = self.newest_us else { return };
        let lag_us = newest_us.saturating_sub(pts_us).min(LONGEST_FILL_US);
        let usual_us = self.usual_lag_us.map_or(lag_us, |usual_us| lag_us.max(usual_us - FORGET_US));
        self.usual_lag_us = Some(usual_us);
    }

    /// A picture came. Up to where the sound must be filled, if it is missing.
    fn picture(&mut self, pts_us: i64, end_us: i64) -> Option<i64> {
        let newest_us = self.newest_us.map_or(pts_us, |newest_us| newest_us.max(pts_us));
        self.newest_us = Some(newest_us);
        let usual_us = self.usual_lag_us.unwrap_or(0);
        let lag_us = newest_us.saturating_sub(end_us);
        self.present &= lag_us <= usual_us.saturating_add(PATIENCE_US);
        let until_us = newest_us.saturating_sub(usual_us);
        (!self.present && until_us >= end_us).then_some(until_us)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AAC_CONFIG: [u8; 2] = [0x11, 0x88];
    const FRAME_US: i64 = 40_000;

    fn aac() -> Sound {
        Sound::aac(&AAC_CONFIG, 48_000).expect("AAC-LC, 48 kHz, mono")
    }

    fn telephone() -> Sound {
        Sound::pcm(Coding::ALaw, 8_000, 1).expect("G.711")
    }

    /// The units are laid end to end; where they end, in microseconds.
    #[track_caller]
    fn assert_whole(units: &[Unit], timescale: u32) -> i64 {
        for pair in units.windows(2) {
            assert_eq!(pair[0].pts_ticks + i64::from(pair[0].duration_ticks), pair[1].pts_ticks);
        }
        let last = units.last().expect("some sound");
        ticks_to_us(last.pts_ticks + i64::from(last.duration_ticks), timescale)
    }

    #[test]
    fn packets_of_any_length_become_blocks_of_one() {
        for samples in [1, 40, 160, 240, 1024] {
            let (mut sound, mut out) = (telephone(), vec![]);
            let packets = 4_000 / samples as i64;
            for i in 0..packets {
                sound.packet(i * samples as i64 * 125, &vec![0xd5; samples], 0, &mut out);
            }
            assert!(out.iter().all(|unit| unit.duration_ticks == 160));
            let held_us = packets * samples as i64 * 125 - assert_whole(&out, 8_000);
            assert!((0..20_000).contains(&held_us), "{samples}: {held_us}");
        }
    }

    #[test]
    fn a_lost_packet_is_silence_of_its_length() {
        let (mut sound, mut out) = (telephone(), vec![]);
        for i in (0..50).filter(|i| *i != 20) {
            if i == 21 {
                sound.resync();
            }
            sound.packet(i * 20_000, &[0xd5; 160], 0, &mut out);
        }
        assert_eq!((out.len(), assert_whole(&out, 8_000)), (50, 1_000_000));
    }

    #[test]
    fn what_is_missing_is_made_up_for_to_half_a_unit() {
        for missing_ticks in [0, 400, 600, 886, 1_024, 1_400, 1_600] {
            let (mut sound, mut units) = (aac(), vec![]);
            sound.packet(0, b"aac", 1024, &mut units);
            sound.resync();
            sound.packet(ticks_to_us(1_024 + missing_ticks, 48_000), b"aac", 1024, &mut units);
            let ends = units.windows(2).map(|pair| pair[1].pts_ticks - pair[0].pts_ticks - 1_024);
            assert!(
                ends.clone().all(|apart| apart.abs() <= 513),
                "{missing_ticks}: {:?}",
                ends.collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn sound_that_never_comes_is_silence_from_the_first_picture_on() {
        for mut sound in [aac(), telephone()] {
            let (mut out, timescale) = (vec![], sound.track().timescale);
            sound.picture(1_000_000, &mut out);
            assert!(!out.is_empty(), "a player can begin");
            for i in 1..250 {
                sound.picture(1_000_000 + i * FRAME_US, &mut out);
                let behind_us = 1_000_000 + i * FRAME_US - assert_whole(&out, timescale);
                assert!((-25_000..=0).contains(&behind_us), "{behind_us}");
            }
        }
    }

    #[test]
    fn sound_that_stops_for_five_seconds_leaves_no_hole_and_comes_back() {
        for mut sound in [aac(), telephone()] {
            let timescale = sound.track().timescale;
            let packet = if timescale == 8_000 { vec![0x2a; 320] } else { vec![1, 2, 3] };
            let (mut out, mut sounding) = (vec![], 0);
            for i in 0..500 {
                let now_us = i * FRAME_US;
                sound.picture(now_us, &mut out);
                let before = out.len();
                if !(200..325).contains(&i) {
                    // Two frames of AAC are 42.7 ms: sent when they are whole, so sometimes one.
                    let unit_us = if timescale == 8_000 { 40_000 } else { 21_333 };
                    let from = (now_us + unit_us - 1) / unit_us;
                    for n in from..(now_us + FRAME_US + unit_us - 1) / unit_us {
                        sound.packet(n * unit_us, &packet, 1024, &mut out);
                    }
                    sounding += out.len() - before;
                }
                let behind_us = now_us - assert_whole_within(&out, timescale);
                let patience = if (200..206).contains(&i) { PATIENCE_US } else { 0 };
                assert!(behind_us <= 25_000 + FRAME_US + patience, "picture {i}: {behind_us}");
            }
            assert!(sounding > 700, "{sounding}");
        }
    }

    /// As [`assert_whole`], but for the piece of a unit at which AAC comes back.
    #[track_caller]
    fn assert_whole_within(units: &[Unit], timescale: u32) -> i64 {
        let mut apart = 0;
        for pair in units.windows(2) {
            apart += (pair[1].pts_ticks - pair[0].pts_ticks - i64::from(pair[0].duration_ticks)).abs();
        }
        assert!(apart < 1_100, "{apart} ticks missing or twice");
        let last = units.last().expect("some sound");
        ticks_to_us(last.pts_ticks + i64::from(last.duration_ticks), timescale)
    }

    #[test]
    fn sound_that_is_always_late_is_not_taken_to_be_missing() {
        let (mut sound, mut out) = (telephone(), vec![]);
        let late_us = 600_000;
        let mut heard = 0;
        for i in 0..250 {
            sound.picture(i * FRAME_US, &mut out);
            if i * FRAME_US >= late_us {
                let before = out.len();
                sound.packet(i * FRAME_US - late_us, &[0x2a; 320], 0, &mut out);
                heard += out.len() - before;
            }
        }
        assert!(heard > 2 * 200, "{heard} blocks of sound were let through");
        assert_whole(&out, 8_000);
    }

    #[test]
    fn a_link_that_holds_everything_back_makes_no_silence() {
        let (mut sound, mut out) = (telephone(), vec![]);
        // Nothing here knows when things arrive, only in which order: two seconds at once are as good as one by one.
        sound.packet(0, &[0x2a; 320], 0, &mut out);
        for i in 0..100 {
            sound.picture(i * FRAME_US, &mut out);
            sound.packet((i + 1) * FRAME_US, &[0x2a; 320], 0, &mut out);
        }
        assert_eq!((out.len(), assert_whole(&out, 8_000)), (202, 101 * FRAME_US));
    }

    #[test]
    fn a_sender_that_drifts_is_followed_without_a_hole() {
        for ppm in [-200, 200] {
            let (mut sound, mut out) = (telephone(), vec![]);
            for i in 0..5_000 {
                let us = i * 20_000;
                sound.packet(us + us * ppm / 1_000_000, &[0x2a; 160], 0, &mut out);
            }
            let end_us = assert_whole(&out, 8_000);
            assert!((end_us - 100_000_000 - 100 * ppm).abs() < 40_000, "{ppm}: {end_us}");
        }
    }

    #[test]
    fn shapes_that_cannot_be_packed_are_refused() {
        assert!(Sound::pcm(Coding::ALaw, 8_000, 2).is_err());
        assert!(Sound::pcm(Coding::L16, 44_100, 2).is_ok());
        assert!(Sound::pcm(Coding::G726(6), 8_000, 1).is_err());
        assert!(Sound::aac(&[], 48_000).is_err());
        assert!(Sound::aac(&AAC_CONFIG, u32::MAX).is_err());
    }

    proptest! {
        #[test]
        fn units_never_go_back_and_little_is_held(
            coded in any::<bool>(),
            steps in proptest::collection::vec((any::<bool>(), -5_000_000i64..5_000_000, 0usize..700), 1..120),
        ) {
            let (mut sound, mut out, mut now_us) = (if coded { aac() } else { telephone() }, vec![], 0);
            for (picture, step_us, len) in steps {
                now_us += step_us;
                if picture {
                    sound.picture(now_us, &mut out);
                } else {
                    sound.packet(now_us, &vec![7; len], 1024, &mut out);
                }
                if let Form::Packed(packer) = &sound.form {
                    prop_assert!(packer.held.len() < 160);
                }
            }
            for pair in out.windows(2) {
                let end = pair[0].pts_ticks + i64::from(pair[0].duration_ticks);
                prop_assert!(pair[1].pts_ticks >= end - i64::from(pair[1].duration_ticks) / 2, "{:?}", pair);
            }
        }
    }
}
