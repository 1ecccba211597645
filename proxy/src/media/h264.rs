//! H.264 (ITU-T H.264 | ISO/IEC 14496-10): from an `AVCDecoderConfigurationRecord` to a [`Track`], and what is read of
//! slices ([`mod@slice`]) and parameter sets ([`sps`]).

pub mod lead_in;
pub mod slice;
pub mod sps;

use bytes::Bytes;
use h264_reader::{
    nal::{Nal as _, RefNal, sps::SeqParameterSet},
    rbsp::BitReader,
};

use super::{Coding, MAX_SIDE, Media, Track};

/// The longest sequence parameter set that is read, in bytes. Real ones are under 100.
pub(super) const MAX_SPS_LEN: usize = 4096;

/// Why parameter sets cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The record ends early or is of another version.
    #[error("avcC of {len} bytes is cut short or of an unknown version")]
    Record {
        /// Its length.
        len: usize,
    },
    /// The SPS is too long to be one.
    #[error("SPS of {len} bytes; at most {MAX_SPS_LEN} are read")]
    SpsLength {
        /// Its length.
        len: usize,
    },
    /// The SPS does not parse.
    #[error("SPS does not parse: {0}")]
    Sps(String),
    /// The picture is larger than any camera's.
    #[error("picture of {width}x{height}; at most {MAX_SIDE}x{MAX_SIDE} is accepted")]
    Size {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
}

/// Describes the track that `avcc` configures. Times are in 90 kHz, the clock of H.264 over RTP (RFC 6184, 5.1). The
/// decoder's configuration is `avcc` itself, but with [`sps::repaired`] parameter sets.
pub fn track(avcc: &[u8]) -> Result<Track, Error> {
    let sps = first_sps(avcc).ok_or(Error::Record { len: avcc.len() })?;
    if sps.len() > MAX_SPS_LEN {
        return Err(Error::SpsLength { len: sps.len() });
    }
    let parsed = parse_sps(sps)?;
    let (width, height) = parsed.pixel_dimensions().map_err(|e| Error::Sps(format!("{e:?}")))?;
    if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
        return Err(Error::Size { width, height });
    }
    let sample_aspect = parsed
        .vui_parameters
        .as_ref()
        .and_then(|vui| vui.aspect_ratio_info.as_ref())
        .and_then(h264_reader::nal::sps::AspectRatioInfo::get)
        .filter(|(horizontal, vertical)| *horizontal > 0 && *vertical > 0)
        .unwrap_or((1, 1));
    Ok(Track {
        coding: Coding::H264,
        // RFC 6381, 3.3: profile_idc, the constraint flags' byte and level_idc, in hexadecimal.
        codec: format!("avc1.{:02x}{:02x}{:02x}", sps[1], sps[2], sps[3]),
        timescale: 90_000,
        decoder_config: repaired(avcc).map_or_else(|| Bytes::copy_from_slice(avcc), Bytes::from),
        media: Media::Video { width, height, sample_aspect },
    })
}

/// The first SPS of an `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 5.3.3.1); at least 4 bytes long.
fn first_sps(avcc: &[u8]) -> Option<&[u8]> {
    if *avcc.first()? != 1 || avcc.get(5)? & 31 == 0 {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([*avcc.get(6)?, *avcc.get(7)?]));
    avcc.get(8..8 + len).filter(|sps| sps.len() >= 4)
}

/// The `AVCDecoderConfigurationRecord` of one SPS and its picture parameter sets, with 4 bytes of length in front of NAL units.
/// Nothing where one of them is none. What some profiles add at the end is left out, as most writers do.
pub(crate) fn record(sps: &[u8], pps: &[&[u8]]) -> Option<Vec<u8>> {
    let fits = |nal: &&[u8]| u16::try_from(nal.len()).is_ok();
    let [_, profile, constraints, level, ..] = *sps else { return None };
    if !fits(&sps) || !pps.iter().all(fits) || pps.len() > usize::from(u8::MAX) {
        return None;
    }
    let head = &[1, profile, constraints, level, 0xff];
    Some(Record { head, sps: vec![sps], pps: pps.to_vec(), tail: &[] }.write())
}

/// An `AVCDecoderConfigurationRecord` taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    head: &'a [u8; 5],
    pub(crate) sps: Vec<&'a [u8]>,
    pub(crate) pps: Vec<&'a [u8]>,
    /// What some profiles add.
    tail: &'a [u8],
}

impl<'a> Record<'a> {
    /// Nothing where it is cut short.
    pub(crate) fn read(avcc: &'a [u8]) -> Option<Self> {
        let (head, rest) = avcc.split_first_chunk::<5>()?;
        let (count, rest) = rest.split_first()?;
        let (sps, rest) = nals(rest, count & 31)?;
        let (count, rest) = rest.split_first()?;
        let (pps, tail) = nals(rest, *count)?;
        Some(Self { head, sps, pps, tail })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = self.head.to_vec();
        for (count, nals) in [(0xe0 | self.sps.len() as u8, &self.sps), (self.pps.len() as u8, &self.pps)] {
            out.push(count);
            for nal in nals {
                out.extend_from_slice(&(nal.len() as u16).to_be_bytes());
                out.extend_from_slice(nal);
            }
        }
        out.extend_from_slice(self.tail);
        out
    }
}

/// NAL units, and what is behind them.
type Nals<'a> = (Vec<&'a [u8]>, &'a [u8]);

/// The first `count` NAL units, each behind 2 bytes of length.
fn nals(mut rest: &[u8], count: u8) -> Option<Nals<'_>> {
    let mut nals = Vec::with_capacity(count.into());
    for _ in 0..count {
        let (len, behind) = rest.split_first_chunk::<2>()?;
        let (nal, behind) = behind.split_at_checked(u16::from_be_bytes(*len).into())?;
        nals.push(nal);
        rest = behind;
    }
    Some((nals, rest))
}

/// The record with repaired parameter sets, where there is something to repair.
fn repaired(avcc: &[u8]) -> Option<Vec<u8>> {
    let record = Record::read(avcc)?;
    let repaired: Vec<_> = record.sps.iter().map(|nal| sps::repaired(nal)).collect();
    repaired.iter().any(Option::is_some).then(|| {
        let both = repaired.iter().zip(&record.sps);
        let sps = both.map(|(repaired, sps)| repaired.as_deref().unwrap_or(sps)).collect();
        Record { sps, ..record }.write()
    })
}

fn parse_sps(sps: &[u8]) -> Result<SeqParameterSet, Error> {
    let nal = RefNal::new(sps, &[], true);
    let bits: BitReader<_> = nal.rbsp_bits();
    SeqParameterSet::from_bits(bits).map_err(|e| Error::Sps(format!("{e:?}")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// x264, constrained baseline, level 3.0, 640x360.
    pub(crate) const AVCC: &[u8] = &[
        0x01, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0x00, 0x19, 0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f, 0xf9,
        0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x8f, 0x16, 0x2e, 0x48, 0x01,
        0x00, 0x05, 0x68, 0xcb, 0x83, 0xcb, 0x20,
    ];

    #[test]
    fn an_x264_record_gives_its_codec_string_and_size() {
        let track = track(AVCC).expect("parses");
        assert_eq!(track.codec, "avc1.42c01e");
        assert_eq!(track.media, Media::Video { width: 640, height: 360, sample_aspect: (1, 1) });
    }

    #[test]
    fn a_cut_record_is_refused_at_every_length() {
        for len in 0..8 {
            assert_eq!(track(&AVCC[..len]), Err(Error::Record { len }), "{len}");
        }
    }

    #[test]
    fn an_endless_sps_is_refused() {
        let mut avcc = vec![1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0x20, 0x00];
        avcc.extend(vec![0x67; 0x2000]);
        assert_eq!(track(&avcc), Err(Error::SpsLength { len: 0x2000 }));
    }

    proptest! {
        #[test]
        fn no_record_makes_the_parser_panic(mut avcc in proptest::collection::vec(any::<u8>(), 8..200)) {
            let _ = track(&avcc);
            let len = avcc.len() - 8;
            avcc[0] = 1;
            avcc[5] = 0xe1;
            avcc[6] = 0;
            avcc[7] = len as u8;
            let _ = track(&avcc);
        }

        #[test]
        fn no_flipped_bit_makes_the_parser_panic(byte in 8usize..33, bit in 0u8..8) {
            let mut avcc = AVCC.to_vec();
            avcc[byte] ^= 1 << bit;
            let _ = track(&avcc);
        }
    }
}
