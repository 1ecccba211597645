//! AAC (ISO/IEC 14496-3): from an `AudioSpecificConfig` to a [`Track`].

use bytes::Bytes;

use super::{Coding, Media, Track};

/// Samples a second by `samplingFrequencyIndex` (ISO/IEC 14496-3, table 1.18).
const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// Why an `AudioSpecificConfig` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ends early.
    #[error("AudioSpecificConfig of {0} bytes is cut short")]
    Short(usize),
    /// A field has a value this program or every browser refuses.
    #[error("AudioSpecificConfig with unsupported {field} {value}")]
    Unsupported {
        /// The field's name in the standard.
        field: &'static str,
        /// Its value.
        value: u32,
    },
}

/// Describes the track that `config` configures. One tick is one sample.
pub fn track(config: &[u8]) -> Result<Track, Error> {
    let bits = Bits(config);
    let object_type = bits.read(0, 5)?;
    if object_type == 0 || object_type == 31 {
        return Err(Error::Unsupported { field: "audioObjectType", value: object_type });
    }
    let index = bits.read(5, 4)?;
    let (sample_rate, at) = match SAMPLE_RATES.get(index as usize) {
        Some(rate) => (*rate, 9),
        None if index == 15 => (bits.read(9, 24)?, 33),
        None => return Err(Error::Unsupported { field: "samplingFrequencyIndex", value: index }),
    };
    if !(7_000..=192_000).contains(&sample_rate) {
        return Err(Error::Unsupported { field: "samplingFrequency", value: sample_rate });
    }
    let channels = match bits.read(at, 4)? {
        configuration @ 1..=6 => configuration as u16,
        7 => 8,
        value => return Err(Error::Unsupported { field: "channelConfiguration", value }),
    };
    Ok(Track {
        coding: Coding::Aac,
        codec: format!("mp4a.40.{object_type}"),
        timescale: sample_rate,
        decoder_config: Bytes::copy_from_slice(config),
        media: Media::Audio { sample_rate, channels },
    })
}

struct Bits<'a>(&'a [u8]);

impl Bits<'_> {
    /// `count` bits (at most 24) from bit `at`, most significant first.
    fn read(&self, at: usize, count: usize) -> Result<u32, Error> {
        (at..at + count).try_fold(0, |value, bit| {
            let byte = self.0.get(bit / 8).ok_or(Error::Short(self.0.len()))?;
            Ok(value << 1 | u32::from(byte >> (7 - bit % 8) & 1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_config_gives_its_codec_string_rate_and_channels() {
        let lc = track(&[0x11, 0x88]).expect("AAC-LC, 48 kHz, mono");
        assert_eq!((lc.codec.as_str(), lc.timescale), ("mp4a.40.2", 48_000));
        assert_eq!(lc.media, Media::Audio { sample_rate: 48_000, channels: 1 });
        let low = track(&[0x14, 0x10]).expect("AAC-LC, 16 kHz, stereo");
        assert_eq!(low.media, Media::Audio { sample_rate: 16_000, channels: 2 });
    }

    #[test]
    fn bad_configs_name_the_field() {
        assert_eq!(track(&[]), Err(Error::Short(0)));
        assert_eq!(track(&[0x11]), Err(Error::Short(1)));
        assert_eq!(
            track(&[0x16, 0x88]),
            Err(Error::Unsupported { field: "samplingFrequencyIndex", value: 13 })
        );
        assert_eq!(track(&[0x11, 0x80]), Err(Error::Unsupported { field: "channelConfiguration", value: 0 }));
    }

    proptest! {
        #[test]
        fn no_config_makes_the_parser_panic(config: Vec<u8>) {
            let _ = track(&config);
        }
    }
}
