//! AAC (ISO/IEC 14496-3): from an `AudioSpecificConfig` to a [`Track`].

use bytes::Bytes;

use super::{Coding, Media, Track, bits::Bits};

/// Samples a second by `samplingFrequencyIndex` (ISO/IEC 14496-3, table 1.18).
const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// The object type whose frames are half as long.
const ER_AAC_LD: u32 = 23;

/// The object type of nearly all AAC.
const AAC_LC: u32 = 2;

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

/// What is read of an `AudioSpecificConfig`.
struct Config {
    object_type: u32,
    /// The object type of the core coder; that and `object_type` differ with SBR.
    core: u32,
    sample_rate: u32,
    channels: u16,
    samples_per_frame: u32,
}

/// Describes the track that `config` configures. One tick is one sample of the core coder: with explicitly signalled SBR
/// (object types 5 and 29) that is half of what is heard.
pub fn track(config: &[u8]) -> Result<Track, Error> {
    let Config { object_type, sample_rate, channels, .. } = read(config)?;
    Ok(Track {
        coding: Coding::Aac,
        codec: format!("mp4a.40.{object_type}"),
        timescale: sample_rate,
        decoder_config: Bytes::copy_from_slice(config),
        media: Media::Audio { sample_rate, channels },
    })
}

/// How many ticks each frame lasts.
pub fn samples_per_frame(config: &[u8]) -> Result<u32, Error> {
    read(config).map(|config| config.samples_per_frame)
}

/// A frame of silence: no spectrum at all (ISO/IEC 14496-3, tables 4.3 to 4.50). Nothing for codings other than AAC-LC and
/// those on top of it.
pub fn silence(config: &[u8]) -> Option<Bytes> {
    /// Syntactic elements: a channel alone, two channels, one for low frequencies only, and the end.
    const SINGLE: u64 = 0;
    const PAIR: u64 = 1;
    const LOW: u64 = 3;
    const END: u64 = 7;
    let Config { core: AAC_LC, channels, .. } = read(config).ok()? else { return None };
    let elements: &[u64] = match channels {
        1 => &[SINGLE],
        2 => &[PAIR],
        3 => &[SINGLE, PAIR],
        4 => &[SINGLE, PAIR, SINGLE],
        5 => &[SINGLE, PAIR, PAIR],
        6 => &[SINGLE, PAIR, PAIR, LOW],
        _ => &[SINGLE, PAIR, PAIR, PAIR, LOW],
    };
    let mut bits = Vec::new();
    let mut write = |count: u32, value: u64| bits.extend((0..count).rev().map(|i| value >> i & 1 == 1));
    let mut tags = [0; 4];
    for &element in elements {
        write(3, element);
        let tag = &mut tags[element as usize];
        write(4, *tag); // element_instance_tag
        *tag += 1;
        if element == PAIR {
            write(1, 1); // common_window
            write(11, 0); // ics_info: a long window with no scale factor bands
            write(2, 0); // ms_mask_present
            write(2 * (8 + 3), 0); // for each: global_gain; no pulses, no noise shaping, no gain control
        } else {
            write(8 + 11 + 3, 0);
        }
    }
    write(3, END);
    let octet =
        |bits: &[bool]| bits.iter().zip((0..8).rev()).fold(0, |octet, (bit, i)| octet | u8::from(*bit) << i);
    Some(bits.chunks(8).map(octet).collect::<Vec<u8>>().into())
}

fn read(config: &[u8]) -> Result<Config, Error> {
    let short = || Error::Short(config.len());
    let mut bits = Bits::new(config);
    let object_type = bits.read(5).ok_or_else(short)?;
    if object_type == 0 || object_type == 31 {
        return Err(Error::Unsupported { field: "audioObjectType", value: object_type });
    }
    let index = bits.read(4).ok_or_else(short)?;
    let sample_rate = match SAMPLE_RATES.get(index as usize) {
        Some(rate) => *rate,
        None if index == 15 => bits.read(24).ok_or_else(short)?,
        None => return Err(Error::Unsupported { field: "samplingFrequencyIndex", value: index }),
    };
    if !(7_000..=192_000).contains(&sample_rate) {
        return Err(Error::Unsupported { field: "samplingFrequency", value: sample_rate });
    }
    let channels = match bits.read(4).ok_or_else(short)? {
        configuration @ 1..=6 => configuration as u16,
        7 => 8,
        value => return Err(Error::Unsupported { field: "channelConfiguration", value }),
    };
    let core = if matches!(object_type, 5 | 29) {
        let extension_index = bits.read(4).ok_or_else(short)?;
        if extension_index == 15 {
            bits.skip(24).ok_or_else(short)?;
        }
        bits.read(5).ok_or_else(short)?
    } else {
        object_type
    };
    // frameLengthFlag of GASpecificConfig (ISO/IEC 14496-3, table 4.1). Configs that end before it are passed on by
    // some encoders and played by all browsers.
    let samples_per_frame = match (core, bits.flag().unwrap_or(false)) {
        (ER_AAC_LD, false) => 512,
        (ER_AAC_LD, true) => 480,
        (_, false) => 1024,
        (_, true) => 960,
    };
    Ok(Config { object_type, core, sample_rate, channels, samples_per_frame })
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
    fn a_frame_lasts_as_long_as_the_config_says() {
        assert_eq!(samples_per_frame(&[0x11, 0x88]), Ok(1024));
        assert_eq!(samples_per_frame(&[0x11, 0x8c]), Ok(960));
        assert_eq!(samples_per_frame(&[0x11, 0x88, 0x56, 0xe5, 0x00]), Ok(1024), "as ffmpeg writes it");
        assert_eq!(samples_per_frame(&[0xb9, 0x88]), Ok(512), "ER AAC LD");
        let he = [0x2b, 0x11, 0x88, 0x00]; // SBR: 24 kHz in the core, 48 kHz heard, AAC-LC
        assert_eq!(samples_per_frame(&he), Ok(1024));
        assert_eq!(track(&he).map(|track| (track.codec, track.timescale)), Ok(("mp4a.40.5".into(), 24_000)));
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
            let _ = (track(&config), samples_per_frame(&config), silence(&config));
        }
    }
}
