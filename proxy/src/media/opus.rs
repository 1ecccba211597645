//! Opus (RFC 6716): from an identification header (RFC 7845, 5.1) to a [`Track`], and how long packets last.

use bytes::Bytes;

use super::{Coding, Media, Track};

/// Ticks a second, whatever rate was encoded (RFC 7845, 4).
pub const TIMESCALE: u32 = 48_000;

/// The longest a packet may last, in ticks (RFC 6716, 3.2.5: 120 ms).
const MAX_PACKET_TICKS: u32 = 5_760;

/// What stands for the header of an encoder that sends none: stereo, which decoders make of mono packets too, and
/// libopus' own delay of 312 samples.
pub const DEFAULT_HEAD: [u8; 19] = *b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";

/// Why an identification header cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ends early, or is none.
    #[error("{0} bytes are no OpusHead")]
    Head(usize),
    /// A field has a value this program or every browser refuses.
    #[error("OpusHead with unsupported {field} {value}")]
    Unsupported {
        /// The field's name in the RFC.
        field: &'static str,
        /// Its value.
        value: u8,
    },
}

/// An identification header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Output channels.
    pub channels: u8,
    /// Samples to leave out at the beginning, in ticks.
    pub pre_skip: u16,
    /// The rate of what was encoded, for information.
    pub input_sample_rate: u32,
    /// Gain to apply, in dB (Q7.8).
    pub output_gain: i16,
    /// Channel mapping family 1: streams, coupled streams, and the table. Nothing for family 0.
    pub mapping: Option<(u8, u8, &'a [u8])>,
}

/// Reads an identification header.
pub fn head(bytes: &[u8]) -> Result<Head<'_>, Error> {
    let short = || Error::Head(bytes.len());
    let fields = bytes.strip_prefix(b"OpusHead").ok_or_else(short)?;
    let (fields, rest) = fields.split_first_chunk::<11>().ok_or_else(short)?;
    let [version, channels, skip_low, skip_high, rate @ .., gain_low, gain_high, family] = fields;
    if version >> 4 != 0 {
        return Err(Error::Unsupported { field: "version", value: *version });
    }
    let mapping = match family {
        0 if (1..=2).contains(channels) => None,
        1 if (1..=8).contains(channels) => {
            let (&[streams, coupled], rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
            let table = rest.get(..usize::from(*channels)).ok_or_else(short)?;
            let decoded = u16::from(streams) + u16::from(coupled);
            let fits = |index: &u8| *index == 255 || u16::from(*index) < decoded;
            if streams == 0 || coupled > streams || decoded > 255 || !table.iter().all(fits) {
                return Err(Error::Unsupported { field: "stream count", value: streams });
            }
            Some((streams, coupled, table))
        }
        0 | 1 => return Err(Error::Unsupported { field: "channel count", value: *channels }),
        _ => return Err(Error::Unsupported { field: "channel mapping family", value: *family }),
    };
    Ok(Head {
        channels: *channels,
        pre_skip: u16::from_le_bytes([*skip_low, *skip_high]),
        input_sample_rate: u32::from_le_bytes([rate[0], rate[1], rate[2], rate[3]]),
        output_gain: i16::from_le_bytes([*gain_low, *gain_high]),
        mapping,
    })
}

/// Describes the track that an identification header begins.
pub fn track(opus_head: &[u8]) -> Result<Track, Error> {
    let head = head(opus_head)?;
    Ok(Track {
        coding: Coding::Opus,
        codec: "opus".into(),
        timescale: TIMESCALE,
        decoder_config: Bytes::copy_from_slice(opus_head),
        media: Media::Audio { sample_rate: TIMESCALE, channels: head.channels.into() },
    })
}

/// How long a packet lasts, in ticks (RFC 6716, 3.1); nothing where it cannot be one.
pub fn packet_ticks(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let config = usize::from(toc >> 3);
    let frame_ticks = match config {
        0..12 => [480, 960, 1_920, 2_880][config % 4],
        12..16 => [480, 960][config % 2],
        _ => [120, 240, 480, 960][config % 4],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 63),
    };
    Some(frame_ticks * frames).filter(|ticks| (1..=MAX_PACKET_TICKS).contains(ticks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_gives_its_channels_and_everything_a_file_wants() {
        let stereo = track(&DEFAULT_HEAD).expect("parses");
        assert_eq!((stereo.codec.as_str(), stereo.timescale), ("opus", 48_000));
        assert_eq!(stereo.media, Media::Audio { sample_rate: 48_000, channels: 2 });
        assert_eq!(stereo.decoder_config.as_ref(), DEFAULT_HEAD);
        let read = head(&DEFAULT_HEAD).expect("parses");
        assert_eq!((read.pre_skip, read.input_sample_rate, read.output_gain), (312, 48_000, 0));
        let surround = b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\0\xff\x01\x04\x02\0\x04\x01\x02\x03\x05";
        let read = head(surround).expect("parses");
        assert_eq!(read.mapping, Some((4, 2, &[0, 4, 1, 2, 3, 5][..])));
        assert_eq!((read.channels, read.output_gain), (6, -256));
    }

    #[test]
    fn bad_headers_name_the_field() {
        assert_eq!(track(b"OpusTags\x0d\0\0\0"), Err(Error::Head(12)));
        assert_eq!(track(&DEFAULT_HEAD[..18]), Err(Error::Head(18)));
        let with = |at: usize, value: u8| {
            let mut head = DEFAULT_HEAD;
            head[at] = value;
            track(&head).expect_err("bad")
        };
        assert_eq!(with(8, 16), Error::Unsupported { field: "version", value: 16 });
        assert_eq!(with(9, 3), Error::Unsupported { field: "channel count", value: 3 });
        assert_eq!(with(18, 255), Error::Unsupported { field: "channel mapping family", value: 255 });
        assert_eq!(with(18, 1), Error::Head(19));
        let beyond = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\x01\x01\x01\0\x02";
        assert_eq!(track(beyond), Err(Error::Unsupported { field: "stream count", value: 1 }));
    }

    #[test]
    fn a_packets_length_is_in_its_first_bytes() {
        let ms = |packet: &[u8]| packet_ticks(packet).map(|ticks| ticks / 48);
        assert_eq!(ms(&[0xfc]), Some(20), "CELT, full band, as libopus sends by default");
        assert_eq!(ms(&[0x48, 1]), Some(20), "SILK");
        assert_eq!(ms(&[0x50, 1]), Some(40), "SILK");
        assert_eq!(ms(&[0x58, 1]), Some(60), "SILK");
        assert_eq!(ms(&[0x68, 1]), Some(20), "hybrid");
        assert_eq!(ms(&[0xf1, 1]), Some(20), "two of 10 ms");
        assert_eq!(packet_ticks(&[0xe3, 3]), Some(360), "three of 2.5 ms");
        assert_eq!(ms(&[0xfb, 6]), Some(120));
        assert_eq!(ms(&[0xfb, 7]), None, "140 ms");
        assert_eq!(ms(&[0xfb, 0]), None);
        assert_eq!(ms(&[0xfb]), None);
        assert_eq!(ms(&[]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes: Vec<u8>, tail: Vec<u8>) {
            let _ = (track(&bytes), packet_ticks(&bytes));
            let _ = track(&[b"OpusHead", tail.as_slice()].concat());
        }
    }
}
