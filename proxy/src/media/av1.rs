//! AV1: from an `AV1CodecConfigurationRecord` to a [`Track`], and temporal units as ISO files hold them.
//!
//! Clauses are those of the AV1 Bitstream & Decoding Process Specification; "ISOBMFF" is AV1 Codec ISO Media File Format
//! Binding 1.2.

use bytes::{Buf as _, Bytes};

use super::{Coding, MAX_SIDE, Media, Track, bits::Bits};

/// Bytes of the record in front of its OBUs.
const HEAD_LEN: usize = 4;

/// `obu_type`s (6.2.2).
const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

/// Why a record cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The record ends early or is of another version.
    #[error("av1C of {len} bytes is cut short or of an unknown version")]
    Record {
        /// Its length.
        len: usize,
    },
    /// It holds no sequence header: [`with_sequence_header`] takes one from a key frame.
    #[error("av1C without a sequence header")]
    NoSequenceHeader,
    /// The sequence header ends early.
    #[error("sequence header of {len} bytes is cut short")]
    SequenceHeader {
        /// Its length.
        len: usize,
    },
    /// The picture is larger than any camera's.
    #[error("picture of {width}x{height}; at most {MAX_SIDE}x{MAX_SIDE} is accepted")]
    Size {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
}

/// Describes the track that `av1c` configures. Times are in 90 kHz, the clock of AV1 over RTP.
pub fn track(av1c: &[u8]) -> Result<Track, Error> {
    let record = || Error::Record { len: av1c.len() };
    // marker and version; the reserved bits of the last byte
    if av1c.len() < HEAD_LEN || av1c[0] != 0x81 || av1c[3] >> 5 != 0 {
        return Err(record());
    }
    let sequence_header = first_sequence_header(&av1c[HEAD_LEN..])
        .map_err(|Broken| record())?
        .ok_or(Error::NoSequenceHeader)?
        .payload;
    let (width, height) =
        max_frame_size(sequence_header).ok_or(Error::SequenceHeader { len: sequence_header.len() })?;
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(Error::Size { width, height });
    }
    // ISOBMFF, 5: profile, level and tier, bit depth.
    let (profile, level, flags) = (av1c[1] >> 5, av1c[1] & 31, av1c[2]);
    let tier = if flags & 0x80 == 0 { 'M' } else { 'H' };
    let bit_depth = match (flags & 0x40 != 0, flags & 0x20 != 0) {
        (true, true) if profile == 2 => 12,
        (true, _) => 10,
        (false, _) => 8,
    };
    Ok(Track {
        coding: Coding::Av1,
        codec: format!("av01.{profile}.{level:02}{tier}.{bit_depth:02}"),
        timescale: 90_000,
        decoder_config: Bytes::copy_from_slice(av1c),
        media: Media::Video { width, height, sample_aspect: (1, 1) },
    })
}

/// `av1c` with the sequence header that is in a temporal unit, if there is one.
pub fn with_sequence_header(av1c: &[u8], temporal_unit: &[u8]) -> Option<Vec<u8>> {
    let sequence_header = first_sequence_header(temporal_unit).ok()??;
    // The OBU as it stands may go without its size, which one in a record must have.
    let mut whole = av1c.to_vec();
    whole.push(SEQUENCE_HEADER << 3 | 2);
    let mut len = sequence_header.payload.len();
    while len >= 0x80 {
        whole.push(len as u8 | 0x80);
        len >>= 7;
    }
    whole.push(len as u8);
    whole.extend_from_slice(sequence_header.payload);
    Some(whole)
}

/// A temporal unit as a file's sample holds it (ISOBMFF, 2.4): without the delimiter in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemporalUnit {
    /// Its OBUs.
    pub data: Bytes,
    /// It holds a frame, not only what goes with one.
    pub has_picture: bool,
}

/// Bytes that are no OBUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("AV1 OBU that is longer than what holds it")]
pub struct Broken;

/// Reads a temporal unit of low-overhead OBUs. Its bytes are not copied.
pub fn temporal_unit(mut data: Bytes) -> Result<TemporalUnit, Broken> {
    let (mut delimiters, mut has_picture) = (0, false);
    let mut rest = data.as_ref();
    while let Some((obu, behind)) = split(rest)? {
        if obu.obu_type == TEMPORAL_DELIMITER && !has_picture && delimiters == data.len() - rest.len() {
            delimiters = data.len() - behind.len();
        }
        has_picture |= matches!(obu.obu_type, FRAME_HEADER | FRAME);
        rest = behind;
    }
    data.advance(delimiters);
    Ok(TemporalUnit { data, has_picture })
}

struct Obu<'a> {
    obu_type: u8,
    payload: &'a [u8],
}

/// The first OBU of `rest` (5.3) and what is behind it.
fn split(rest: &[u8]) -> Result<Option<(Obu<'_>, &[u8])>, Broken> {
    let Some((&head, mut rest)) = rest.split_first() else { return Ok(None) };
    if head & 4 != 0 {
        rest = rest.split_first().ok_or(Broken)?.1; // obu_extension_header
    }
    let mut size = rest.len();
    if head & 2 != 0 {
        // leb128() (4.10.5)
        let mut value = 0u64;
        for i in 0.. {
            let (&byte, behind) = rest.split_first().ok_or(Broken)?;
            rest = behind;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                break;
            }
            if i == 7 {
                return Err(Broken);
            }
        }
        size = usize::try_from(value).map_err(|_| Broken)?;
    }
    let (payload, behind) = rest.split_at_checked(size).ok_or(Broken)?;
    Ok(Some((Obu { obu_type: head >> 3 & 15, payload }, behind)))
}

fn first_sequence_header(mut obus: &[u8]) -> Result<Option<Obu<'_>>, Broken> {
    while let Some((obu, behind)) = split(obus)? {
        if obu.obu_type == SEQUENCE_HEADER {
            return Ok(Some(obu));
        }
        obus = behind;
    }
    Ok(None)
}

/// The largest width and height of a sequence's frames (5.5.1).
fn max_frame_size(sequence_header: &[u8]) -> Option<(u32, u32)> {
    let bits = &mut Bits::new(sequence_header);
    bits.skip(4)?; // seq_profile, still_picture
    if bits.flag()? {
        bits.skip(5)?; // reduced_still_picture_header: only seq_level_idx[0]
    } else {
        let mut buffer_delay_len = None;
        if bits.flag()? {
            bits.skip(64)?; // num_units_in_display_tick, time_scale
            if bits.flag()? {
                bits.exp_golomb()?; // num_ticks_per_picture_minus_1
            }
            if bits.flag()? {
                buffer_delay_len = Some(bits.read(5)? + 1);
                bits.skip(32 + 5 + 5)?;
            }
        }
        let initial_display_delay_present = bits.flag()?;
        for _ in 0..=bits.read(5)? {
            bits.skip(12)?; // operating_point_idc
            if bits.read(5)? > 7 {
                bits.skip(1)?; // seq_tier
            }
            if let Some(len) = buffer_delay_len
                && bits.flag()?
            {
                bits.skip(2 * len + 1)?;
            }
            if initial_display_delay_present && bits.flag()? {
                bits.skip(4)?;
            }
        }
    }
    let (width_bits, height_bits) = (bits.read(4)? + 1, bits.read(4)? + 1);
    Some((bits.read(width_bits)? + 1, bits.read(height_bits)? + 1))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// SVT-AV1, Main, 640x360.
    pub(crate) const AV1C: &[u8] = &[
        0x81, 0x01, 0x0c, 0x00, 0x0a, 0x0b, 0x00, 0x00, 0x00, 0x0c, 0xc4, 0xff, 0x67, 0x00, 0xbe, 0x00, 0x10,
    ];

    #[test]
    fn a_record_gives_its_codec_string_and_size() {
        let main = track(AV1C).expect("parses");
        assert_eq!(main.codec, "av01.0.01M.08");
        assert_eq!(main.media, Media::Video { width: 640, height: 360, sample_aspect: (1, 1) });
        let mut high = AV1C.to_vec();
        (high[1], high[2]) = (0x4d, 0xec); // profile 2, level 13; tier, high_bitdepth, twelve_bit
        assert_eq!(track(&high).map(|track| track.codec), Ok("av01.2.13H.12".into()));
    }

    #[test]
    fn a_cut_record_is_refused() {
        for len in 0..AV1C.len() {
            let expected = if len == HEAD_LEN { Error::NoSequenceHeader } else { Error::Record { len } };
            assert_eq!(track(&AV1C[..len]), Err(expected), "{len}");
        }
        let mut long = AV1C.to_vec();
        long[5] = 3;
        assert_eq!(track(&long[..9]), Err(Error::SequenceHeader { len: 3 }));
    }

    #[test]
    fn a_sequence_header_is_taken_from_a_key_frame() {
        let unit = [&[0x12, 0x00], &AV1C[4..], &[0x32, 0x01, 0x10]].concat();
        assert_eq!(with_sequence_header(&AV1C[..4], &unit).as_deref(), Some(AV1C));
        let unsized_header = [&[0x08], &AV1C[6..]].concat();
        assert_eq!(with_sequence_header(&AV1C[..4], &unsized_header).as_deref(), Some(AV1C));
        assert_eq!(with_sequence_header(&AV1C[..4], &[0x32, 0x01, 0x10]), None);
    }

    #[test]
    fn a_temporal_unit_loses_the_delimiter_in_front_and_nothing_else() {
        let payload = Bytes::from_static(&[0x12, 0x00, 0x32, 0x02, 0x10, 0x20, 0x30, 0x44]);
        let unit = temporal_unit(payload.clone()).expect("OBUs");
        assert_eq!(unit, TemporalUnit { data: payload.slice(2..), has_picture: true });
        assert_eq!(temporal_unit(payload.slice(2..)), Ok(unit));
        let alone = temporal_unit(payload.slice(..2)).expect("OBUs");
        assert_eq!((alone.data.len(), alone.has_picture), (0, false));
    }

    #[test]
    fn an_obu_that_is_cut_short_is_broken() {
        for payload in [&[0x32, 0x05, 0x10][..], &[0x32], &[0x36], &[0x32, 0xff], &[0x32; 3]] {
            assert_eq!(temporal_unit(Bytes::copy_from_slice(payload)), Err(Broken), "{payload:?}");
        }
        let endless = [&[0x32][..], &[0x80; 9], &[0]].concat();
        assert_eq!(temporal_unit(endless.into()), Err(Broken));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes: Vec<u8>, header: Vec<u8>) {
            let _ = track(&bytes);
            let _ = with_sequence_header(&bytes, &header);
            if let Some(whole) = with_sequence_header(&AV1C[..4], &[&[0x08], header.as_slice()].concat()) {
                let _ = track(&whole);
            }
            let _ = temporal_unit(bytes.into());
        }
    }
}
