//! Samples into FLAC (RFC 9639): frames of one length, each of them one access unit, without loss.

use bytes::Bytes;
use flacenc::{
    bitsink::ByteSink,
    component::{BitRepr as _, StreamInfo},
    config,
    error::{Verified, Verify as _},
    source::{Fill as _, FrameBuf},
};

use super::{Track, flac};

/// Blocks in a second: 20 ms, the length of most cameras' packets, so that none waits for the next one.
const BLOCKS_PER_S: u32 = 50;

const BITS_PER_SAMPLE: u8 = 16;

/// Frame numbers have 31 bits (9.1.5); a browser does not mind when they begin anew after a year.
const FRAME_NUMBERS: usize = 1 << 31;

/// Why sound cannot be packed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Browsers refuse it, or the format does.
    #[error("{sample_rate} samples a second in {channels} channels cannot be packed")]
    Shape {
        /// Samples a second.
        sample_rate: u32,
        /// Channels.
        channels: u16,
    },
    /// The encoder failed.
    #[error("FLAC encoder: {0}")]
    Encoder(String),
}

/// One track's encoder.
#[derive(Debug)]
pub struct Encoder {
    config: Verified<config::Encoder>,
    info: StreamInfo,
    buffer: FrameBuf,
    widened: Vec<i32>,
    block_samples: u32,
    sample_rate: u32,
    channels: u16,
    number: usize,
}

impl Encoder {
    /// An encoder of one or two channels of 16 bits.
    pub fn new(sample_rate: u32, channels: u16) -> Result<Self, Error> {
        let shape = Error::Shape { sample_rate, channels };
        if !(7_000..=96_000).contains(&sample_rate) || !(1..=2).contains(&channels) {
            return Err(shape);
        }
        let block_samples = sample_rate / BLOCKS_PER_S;
        let mut config = config::Encoder::default();
        config.block_size = block_samples as usize;
        config.multithread = false;
        let config = config.into_verified().map_err(|(_, error)| Error::Encoder(error.to_string()))?;
        let info = StreamInfo::new(sample_rate as usize, channels.into(), BITS_PER_SAMPLE.into())
            .map_err(|_| shape.clone())?;
        let buffer = FrameBuf::with_size(channels.into(), block_samples as usize).map_err(|_| shape)?;
        Ok(Self { config, info, buffer, widened: vec![], block_samples, sample_rate, channels, number: 0 })
    }

    /// Samples of each channel in a block.
    pub fn block_samples(&self) -> u32 {
        self.block_samples
    }

    /// Describes the track; one tick is one sample.
    pub fn track(&self) -> Result<Track, flac::Error> {
        flac::track(&self.stream_info())
    }

    /// The `STREAMINFO` block (8.2): what is known of a stream that has no end.
    fn stream_info(&self) -> [u8; 34] {
        let mut block = [0; 34];
        let [high, low] = (self.block_samples as u16).to_be_bytes();
        block[..4].copy_from_slice(&[high, low, high, low]);
        let shape =
            self.sample_rate << 12 | u32::from(self.channels - 1) << 9 | u32::from(BITS_PER_SAMPLE - 1) << 4;
        block[10..14].copy_from_slice(&shape.to_be_bytes());
        block
    }

    /// Packs one block: [`Self::block_samples`] of each channel, channels by turns.
    pub fn frame(&mut self, block: &[i16]) -> Result<Bytes, Error> {
        debug_assert_eq!(block.len(), self.block_samples as usize * usize::from(self.channels));
        let failed = |error: &dyn std::fmt::Display| Error::Encoder(error.to_string());
        self.widened.clear();
        self.widened.extend(block.iter().copied().map(i32::from));
        self.buffer.fill_interleaved(&self.widened).map_err(|e| failed(&e))?;
        let frame = flacenc::encode_fixed_size_frame(&self.config, &self.buffer, self.number, &self.info)
            .map_err(|e| failed(&e))?;
        self.number = (self.number + 1) % FRAME_NUMBERS;
        let mut sink = ByteSink::with_capacity(frame.count_bits());
        frame.write(&mut sink).map_err(|e| failed(&e))?;
        Ok(sink.into_inner().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Media;

    #[test]
    fn the_track_says_what_the_frames_hold() {
        let mut encoder = Encoder::new(8_000, 1).expect("telephony");
        let track = encoder.track().expect("its own block");
        assert_eq!((track.codec.as_str(), track.timescale), ("flac", 8_000));
        assert_eq!(track.media, Media::Audio { sample_rate: 8_000, channels: 1 });
        assert_eq!(flac::bits_per_sample(&track.decoder_config), Some(16));
        for number in 0..200u8 {
            let block: Vec<_> = (0..160).map(|i: i16| i * i16::from(number)).collect();
            let frame = encoder.frame(&block).expect("a block");
            assert_eq!(flac::frame_ticks(&frame), Some(160), "{number}");
            assert_eq!(frame[1], 0xf8, "blocks of one length");
            if number < 128 {
                assert_eq!(frame[4], number, "frames are counted");
            }
        }
    }

    #[test]
    fn every_rate_that_cameras_have_is_packed_in_blocks_of_20_ms() {
        for sample_rate in [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000] {
            for channels in [1, 2] {
                let mut encoder = Encoder::new(sample_rate, channels).expect("usual");
                let samples = encoder.block_samples() as usize * usize::from(channels);
                assert_eq!(encoder.block_samples(), sample_rate / 50);
                let frame = encoder.frame(&vec![-1; samples]).expect("a block");
                assert_eq!(flac::frame_ticks(&frame), Some(sample_rate / 50), "{sample_rate}");
            }
        }
    }

    #[test]
    fn what_no_browser_plays_is_refused() {
        for (sample_rate, channels) in
            [(0, 1), (4_000, 1), (8_000, 0), (8_000, 3), (192_000, 1), (u32::MAX, 1)]
        {
            assert!(Encoder::new(sample_rate, channels).is_err(), "{sample_rate} {channels}");
        }
    }
}
