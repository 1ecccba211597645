//! FLAC (RFC 9639): from its `STREAMINFO` block to a [`Track`], and how long frames last.

use bytes::Bytes;

use super::{Coding, Media, Track};

/// Bytes of a `STREAMINFO` block behind its header (8.2).
const STREAMINFO_LEN: usize = 34;

/// Why a `STREAMINFO` block cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ends early, or is none.
    #[error("{0} bytes are no STREAMINFO block")]
    StreamInfo(usize),
    /// Every browser refuses this sample rate.
    #[error("STREAMINFO with unsupported sample rate {0}")]
    SampleRate(u32),
}

/// Describes the track that a `STREAMINFO` block begins. It may stand alone, behind its block header, or behind that and
/// the stream's marker `fLaC`. One tick is one sample.
pub fn track(sent: &[u8]) -> Result<Track, Error> {
    let block = sent.strip_prefix(b"fLaC").unwrap_or(sent);
    let info = match block {
        [kind, 0, 0, 34, info @ ..] if kind & 0x7f == 0 => info.get(..STREAMINFO_LEN),
        _ => Some(block).filter(|block| block.len() == STREAMINFO_LEN),
    };
    let info = info.ok_or(Error::StreamInfo(sent.len()))?;
    let sample_rate = u32::from_be_bytes([0, info[10], info[11], info[12]]) >> 4;
    if !(7_000..=192_000).contains(&sample_rate) {
        return Err(Error::SampleRate(sample_rate));
    }
    let channels = u16::from(info[12] >> 1 & 7) + 1;
    Ok(Track {
        coding: Coding::Flac,
        codec: "flac".into(),
        timescale: sample_rate,
        decoder_config: Bytes::copy_from_slice(info),
        media: Media::Audio { sample_rate, channels },
    })
}

/// Bits of a sample, of a `STREAMINFO` block that [`track`] took.
pub fn bits_per_sample(stream_info: &[u8]) -> Option<u16> {
    let [high, low] = *stream_info.get(12..14)?.first_chunk()?;
    Some((u16::from_be_bytes([high, low]) >> 4 & 31) + 1)
}

/// How many samples a frame holds (9.1); nothing where it cannot be one.
pub fn frame_ticks(frame: &[u8]) -> Option<u32> {
    let [0xff, sync, codes, _, number, ..] = frame else { return None };
    if sync & 0xfe != 0xf8 {
        return None;
    }
    // Behind the fixed part is the frame's or sample's number, coded like UTF-8: its ones say how long it is.
    let behind = match number.leading_ones() {
        0 => 5,
        ones @ 2..=7 => 4 + ones as usize,
        _ => return None,
    };
    match codes >> 4 {
        0 => None,
        1 => Some(192),
        code @ 2..=5 => Some(144 << code),
        6 => Some(u32::from(*frame.get(behind)?) + 1),
        7 => Some(u32::from(u16::from_be_bytes([*frame.get(behind)?, *frame.get(behind + 1)?])) + 1),
        code => Some(1 << code),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// ffmpeg, 44.1 kHz, mono, 16 bits.
    pub(crate) const STREAMINFO: [u8; STREAMINFO_LEN] = [
        0x12, 0x00, 0x12, 0x00, 0x00, 0x02, 0xf1, 0x00, 0x04, 0xf3, 0x0a, 0xc4, 0x40, 0xf0, 0x00, 0x00, 0xac,
        0x44, 0x9b, 0xa9, 0x5e, 0x85, 0x71, 0x24, 0x35, 0x5c, 0x11, 0x33, 0x0d, 0x32, 0x7e, 0xb6, 0x6b, 0x24,
    ];

    /// ffmpeg, 96 kHz, mono, 24 bits.
    pub(crate) const STREAMINFO_96_KHZ: [u8; STREAMINFO_LEN] = [
        0x20, 0x00, 0x20, 0x00, 0x00, 0x06, 0x50, 0x00, 0x08, 0x96, 0x17, 0x70, 0x01, 0x70, 0x00, 0x01, 0x77,
        0x00, 0xf8, 0x39, 0x18, 0xce, 0x0e, 0xbd, 0x6a, 0x14, 0x4b, 0xbc, 0xe9, 0xbb, 0xd7, 0x31, 0x3a, 0x0e,
    ];

    #[test]
    fn a_block_gives_its_rate_channels_and_depth_in_every_form_it_is_sent_in() {
        let behind_header = [&[0x80, 0, 0, 34], &STREAMINFO[..]].concat();
        let whole = [b"fLaC", &behind_header[..], &[4, 0, 0, 0]].concat();
        for sent in [&STREAMINFO[..], &behind_header, &whole] {
            let track = track(sent).expect("parses");
            assert_eq!((track.codec.as_str(), track.timescale), ("flac", 44_100));
            assert_eq!(track.media, Media::Audio { sample_rate: 44_100, channels: 1 });
            assert_eq!(track.decoder_config.as_ref(), STREAMINFO);
        }
        assert_eq!(bits_per_sample(&STREAMINFO), Some(16));
        assert_eq!(track(&STREAMINFO_96_KHZ).map(|track| track.timescale), Ok(96_000));
        assert_eq!(bits_per_sample(&STREAMINFO_96_KHZ), Some(24));
    }

    #[test]
    fn what_is_no_block_is_refused() {
        assert_eq!(track(&[]), Err(Error::StreamInfo(0)));
        assert_eq!(track(&STREAMINFO[..33]), Err(Error::StreamInfo(33)));
        assert_eq!(track(b"fLaC\x84\0\0\x22"), Err(Error::StreamInfo(8)));
        assert_eq!(track(&[0; STREAMINFO_LEN]), Err(Error::SampleRate(0)));
    }

    #[test]
    fn a_frames_length_is_in_its_header() {
        // ffmpeg: 4,608 samples by code; the last frame of a file has its length behind a number of one byte.
        assert_eq!(frame_ticks(&[0xff, 0xf8, 0x59, 0x08, 0x00, 0x47]), Some(4_608));
        assert_eq!(frame_ticks(&[0xff, 0xf8, 0x79, 0x08, 0x09, 0x0a, 0x43]), Some(2_628));
        assert_eq!(frame_ticks(&[0xff, 0xf8, 0x69, 0x08, 0xc2, 0x80, 0x9f]), Some(160));
        assert_eq!(frame_ticks(&[0xff, 0xf9, 0xc9, 0x08, 0x00, 0x47]), Some(4_096));
        assert_eq!(frame_ticks(&[0xff, 0xf8, 0x19, 0x08, 0x00]), Some(192));
    }

    #[test]
    fn what_is_no_frame_has_no_length() {
        let cut: &[&[u8]] = &[
            &[],
            &[0xff, 0xf8, 0x59, 0x08],
            &[0xff, 0xf8, 0x79, 0x08, 0x09, 0x0a],
            &[0xff, 0xf1, 0x59, 0x08, 0x00],
            &[0xff, 0xf8, 0x09, 0x08, 0x00],
            &[0xff, 0xf8, 0x59, 0x08, 0x80],
        ];
        for frame in cut {
            assert_eq!(frame_ticks(frame), None, "{frame:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes: Vec<u8>, info: [u8; 32], codes: u8) {
            let _ = (track(&bytes), frame_ticks(&bytes), bits_per_sample(&bytes));
            let _ = track(&[&info[..], &[0, 0]].concat());
            let _ = frame_ticks(&[&[0xff, 0xf8, codes, 0], bytes.as_slice()].concat());
        }
    }
}
