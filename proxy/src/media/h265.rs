//! H.265 (ITU-T H.265 | ISO/IEC 23008-2): from an `HEVCDecoderConfigurationRecord` to a [`Track`], and what is read of
//! slices ([`mod@slice`]).

pub mod slice;

use std::fmt::Write as _;

use bytes::Bytes;

use super::{
    Coding, MAX_SIDE, Media, Track,
    bits::{Bits, without_emulation_prevention},
};

/// The longest sequence parameter set that is read, in bytes. Real ones are under 200.
const MAX_SPS_LEN: usize = 4096;

/// `nal_unit_type` of a sequence parameter set (table 7-1).
pub(crate) const SPS: u8 = 33;

/// `nal_unit_type` of a video parameter set.
pub(crate) const VPS: u8 = 32;

/// `nal_unit_type` of a picture parameter set.
pub(crate) const PPS: u8 = 34;

/// Bytes of the record in front of its arrays.
const HEAD_LEN: usize = 23;

/// Why parameter sets cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The record ends early or is of another version.
    #[error("hvcC of {len} bytes is cut short or of an unknown version")]
    Record {
        /// Its length.
        len: usize,
    },
    /// It holds no SPS: they would come in band, which browsers do not play as `hvc1`.
    #[error("hvcC without an SPS")]
    NoSps,
    /// The SPS is too long to be one.
    #[error("SPS of {len} bytes; at most {MAX_SPS_LEN} are read")]
    SpsLength {
        /// Its length.
        len: usize,
    },
    /// The SPS does not parse.
    #[error("SPS of {len} bytes does not parse")]
    Sps {
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

/// Describes the track that `hvcc` configures. Times are in 90 kHz, the clock of H.265 over RTP (RFC 7798, 4.1).
pub fn track(hvcc: &[u8]) -> Result<Track, Error> {
    // Version 0 is what writers from before the standard's last draft say; the layout is the same.
    if hvcc.len() < HEAD_LEN || hvcc[0] > 1 {
        return Err(Error::Record { len: hvcc.len() });
    }
    let arrays = arrays(hvcc).ok_or(Error::Record { len: hvcc.len() })?;
    let sps = arrays.into_iter().find(|(nal_unit_type, _)| *nal_unit_type == SPS).ok_or(Error::NoSps)?.1;
    if sps.len() > MAX_SPS_LEN {
        return Err(Error::SpsLength { len: sps.len() });
    }
    let Sps { width, height, sample_aspect, .. } = parse_sps(sps).ok_or(Error::Sps { len: sps.len() })?;
    if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
        return Err(Error::Size { width, height });
    }
    let mut decoder_config = hvcc.to_vec();
    decoder_config[0] = 1;
    Ok(Track {
        coding: Coding::H265,
        codec: codec_string(hvcc),
        timescale: 90_000,
        decoder_config: Bytes::from(decoder_config),
        media: Media::Video { width, height, sample_aspect },
    })
}

/// ISO/IEC 14496-15, annex E.3, of a record that is at least [`HEAD_LEN`] bytes long.
fn codec_string(hvcc: &[u8]) -> String {
    let profile_space = ["", "A", "B", "C"][usize::from(hvcc[1] >> 6)];
    let profile_idc = hvcc[1] & 31;
    let compatibility = u32::from_be_bytes([hvcc[2], hvcc[3], hvcc[4], hvcc[5]]).reverse_bits();
    let tier = if hvcc[1] & 32 == 0 { 'L' } else { 'H' };
    let level_idc = hvcc[12];
    let mut codec = format!("hvc1.{profile_space}{profile_idc}.{compatibility:X}.{tier}{level_idc}");
    let constraints = &hvcc[6..12];
    let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        let _ = write!(codec, ".{byte:X}"); // into a String: cannot fail
    }
    codec
}

/// The NAL units in a record's arrays, each with the type its array says; nothing where they are cut.
pub(crate) fn arrays(hvcc: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let (head, mut rest) = hvcc.split_at_checked(HEAD_LEN)?;
    let mut nals = Vec::new();
    for _ in 0..head[HEAD_LEN - 1] {
        let (head, behind) = rest.split_first_chunk::<3>()?;
        rest = behind;
        for _ in 0..u16::from_be_bytes([head[1], head[2]]) {
            let (len, behind) = rest.split_first_chunk::<2>()?;
            let (nal, behind) = behind.split_at_checked(u16::from_be_bytes(*len).into())?;
            rest = behind;
            nals.push((head[0] & 63, nal));
        }
    }
    Some(nals)
}

/// The `HEVCDecoderConfigurationRecord` of one VPS, one SPS and its picture parameter sets, with 4 bytes of length in front of
/// NAL units. Nothing where the SPS does not parse, or there is no VPS.
pub(crate) fn record(vps: &[u8], sps: &[u8], pps: &[&[u8]]) -> Option<Vec<u8>> {
    let fits = |nal: &[u8]| u16::try_from(nal.len()).is_ok();
    if vps.is_empty() || !fits(vps) || !fits(sps) || !pps.iter().all(|nal| fits(nal)) {
        return None;
    }
    let Sps { chroma_format_idc, bit_depths, .. } = parse_sps(sps)?;
    let rbsp = without_emulation_prevention(sps.get(2..)?);
    // 7.3.2.2: sps_max_sub_layers_minus1 and sps_temporal_id_nesting_flag; 7.3.3: profile, tier and level in 12 bytes.
    let (first, rest) = rbsp.split_first()?;
    let mut record = vec![1];
    record.extend_from_slice(rest.get(..12)?);
    let sub_layers = (first >> 1 & 7) + 1;
    record.extend_from_slice(&[
        0xf0, // min_spatial_segmentation_idc: not said
        0,
        0xfc, // parallelismType: not said
        0xfc | chroma_format_idc,
        0xf8 | (bit_depths[0] - 8),
        0xf8 | (bit_depths[1] - 8),
        0, // avgFrameRate: not said
        0,
        sub_layers << 3 | (first & 1) << 2 | 3,
        3,
    ]);
    for (nal_unit_type, nals) in [(VPS, &[vps][..]), (SPS, &[sps]), (PPS, pps)] {
        append_array(&mut record, nal_unit_type, nals);
    }
    Some(record)
}

/// An array of NAL units that are all there are of their type.
fn append_array(record: &mut Vec<u8>, nal_unit_type: u8, nals: &[&[u8]]) {
    record.push(0x80 | nal_unit_type); // array_completeness
    record.extend_from_slice(&(nals.len() as u16).to_be_bytes());
    for nal in nals {
        record.extend_from_slice(&(nal.len() as u16).to_be_bytes());
        record.extend_from_slice(nal);
    }
}

/// The record with these picture parameter sets in place of its own.
pub(crate) fn with_pps(hvcc: &[u8], pps: &[&[u8]]) -> Option<Vec<u8>> {
    let nals = arrays(hvcc)?;
    let mut types: Vec<u8> = nals.iter().map(|(nal_unit_type, _)| *nal_unit_type).collect();
    types.dedup();
    let mut out = hvcc[..HEAD_LEN - 1].to_vec();
    out.push(types.len() as u8);
    for nal_unit_type in types {
        let own = nals.iter().filter(|(own, _)| *own == nal_unit_type).map(|(_, nal)| *nal);
        let nals: Vec<_> = if nal_unit_type == PPS { pps.to_vec() } else { own.collect() };
        append_array(&mut out, nal_unit_type, &nals);
    }
    Some(out)
}

/// A sequence parameter set, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// Cropped, in pixels.
    pub width: u32,
    /// Cropped, in pixels.
    pub height: u32,
    /// Sample aspect ratio, width to height; 1:1 when the SPS does not say.
    pub sample_aspect: (u16, u16),
    /// How colour is sampled (table 6-1), at most 3.
    pub chroma_format_idc: u8,
    /// Bits of a sample of brightness and of colour, 8 to 15.
    pub bit_depths: [u8; 2],
    /// Slices say which colour they hold.
    pub separate_colour_planes: bool,
    /// Bits of `slice_pic_order_cnt_lsb`.
    pub order_count_bits: u32,
    /// How many pictures may come before another one that is shown before them.
    pub max_num_reorder_pics: u32,
}

/// Reads a NAL unit that is an SPS (7.3.2.2).
pub fn parse_sps(nal: &[u8]) -> Option<Sps> {
    let rbsp = without_emulation_prevention(nal.get(2..)?);
    let mut bits = Bits::new(&rbsp);
    bits.skip(4)?; // sps_video_parameter_set_id
    let max_sub_layers_minus1 = bits.read(3)?;
    bits.skip(1)?; // sps_temporal_id_nesting_flag
    skip_profile_tier_level(&mut bits, max_sub_layers_minus1)?;
    bits.exp_golomb()?; // sps_seq_parameter_set_id
    let chroma_format_idc = bits.exp_golomb().filter(|idc| *idc <= 3)?;
    let separate_colour_planes = chroma_format_idc == 3 && bits.flag()?;
    let (mut width, mut height) = (bits.exp_golomb()?, bits.exp_golomb()?);
    if bits.flag()? {
        // Conformance window, in units of chroma samples (table 6-1).
        let (unit_width, unit_height) = match chroma_format_idc {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let [left, right, top, bottom] =
            [bits.exp_golomb()?, bits.exp_golomb()?, bits.exp_golomb()?, bits.exp_golomb()?];
        width = width.checked_sub(left.checked_add(right)?.checked_mul(unit_width)?)?;
        height = height.checked_sub(top.checked_add(bottom)?.checked_mul(unit_height)?)?;
    }
    let mut bit_depth = || bits.exp_golomb().filter(|above_8| *above_8 <= 7).map(|above_8| above_8 as u8 + 8);
    let bit_depths = [bit_depth()?, bit_depth()?];
    let order_count_bits = bits.exp_golomb()?.checked_add(4).filter(|len| *len <= 16)?;
    let mut max_num_reorder_pics = 0;
    for _ in 0..if bits.flag()? { max_sub_layers_minus1 + 1 } else { 1 } {
        bits.exp_golomb()?; // sps_max_dec_pic_buffering_minus1
        max_num_reorder_pics = bits.exp_golomb()?; // that of all sub-layers comes last
        bits.exp_golomb()?; // sps_max_latency_increase_plus1
    }
    // What is behind this is long, and all that is wanted of it is mostly 1:1.
    let sample_aspect = sample_aspect(bits, order_count_bits);
    let sample_aspect = sample_aspect.filter(|(horizontal, vertical)| *horizontal > 0 && *vertical > 0);
    Some(Sps {
        width,
        height,
        sample_aspect: sample_aspect.unwrap_or((1, 1)),
        chroma_format_idc: chroma_format_idc as u8,
        bit_depths,
        separate_colour_planes,
        order_count_bits,
        max_num_reorder_pics,
    })
}

/// `profile_tier_level()` (7.3.3).
fn skip_profile_tier_level(bits: &mut Bits<'_>, max_sub_layers_minus1: u32) -> Option<()> {
    bits.skip(96)?;
    let mut sub_layer_bits = 0;
    for _ in 0..max_sub_layers_minus1 {
        sub_layer_bits += if bits.flag()? { 88 } else { 0 };
        sub_layer_bits += if bits.flag()? { 8 } else { 0 };
    }
    if max_sub_layers_minus1 > 0 {
        bits.skip(2 * (8 - max_sub_layers_minus1))?;
    }
    bits.skip(sub_layer_bits)
}

/// The sample aspect ratio in the VUI, from `log2_min_luma_coding_block_size_minus3` of an SPS on.
fn sample_aspect(mut bits: Bits<'_>, order_count_bits: u32) -> Option<(u16, u16)> {
    let bits = &mut bits;
    for _ in 0..6 {
        bits.exp_golomb()?; // the sizes of blocks
    }
    if bits.flag()? && bits.flag()? {
        skip_scaling_list_data(bits)?;
    }
    bits.skip(2)?; // amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if bits.flag()? {
        bits.skip(8)?; // pcm_sample_bit_depth_{luma,chroma}_minus1
        bits.exp_golomb()?;
        bits.exp_golomb()?;
        bits.skip(1)?;
    }
    skip_short_term_ref_pic_sets(bits)?;
    if bits.flag()? {
        let long_term = bits.exp_golomb().filter(|count| *count <= 32)?;
        bits.skip(long_term * (order_count_bits + 1))?;
    }
    bits.skip(2)?; // sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
    if !bits.flag()? || !bits.flag()? {
        return None; // no VUI, or no aspect ratio in it
    }
    match bits.read(8)? {
        255 => Some((bits.read(16)? as u16, bits.read(16)? as u16)),
        // Table E-1.
        idc => [
            (1, 1),
            (12, 11),
            (10, 11),
            (16, 11),
            (40, 33),
            (24, 11),
            (20, 11),
            (32, 11),
            (80, 33),
            (18, 11),
            (15, 11),
            (64, 33),
            (160, 99),
            (4, 3),
            (3, 2),
            (2, 1),
        ]
        .get((idc as usize).checked_sub(1)?)
        .copied(),
    }
}

/// `scaling_list_data()` (7.3.4).
fn skip_scaling_list_data(bits: &mut Bits<'_>) -> Option<()> {
    for size_id in 0..4u32 {
        let step = if size_id == 3 { 3 } else { 1 };
        for _ in (0..6).step_by(step) {
            if !bits.flag()? {
                bits.exp_golomb()?; // scaling_list_pred_matrix_id_delta
                continue;
            }
            let coefficients = 64.min(1 << (4 + (size_id << 1)));
            let with_dc = u32::from(size_id > 1);
            for _ in 0..coefficients + with_dc {
                bits.exp_golomb()?;
            }
        }
    }
    Some(())
}

/// The `st_ref_pic_set()`s of an SPS (7.3.7).
fn skip_short_term_ref_pic_sets(bits: &mut Bits<'_>) -> Option<()> {
    let sets = bits.exp_golomb().filter(|count| *count <= 64)?;
    let mut pictures = 0; // NumDeltaPocs of the set before
    for index in 0..sets {
        if index > 0 && bits.flag()? {
            bits.skip(1)?; // delta_rps_sign
            bits.exp_golomb()?;
            let mut kept = 0;
            for _ in 0..=pictures {
                // used_by_curr_pic_flag; where it is not set, use_delta_flag
                let (used, delta) = if bits.flag()? { (true, true) } else { (false, bits.flag()?) };
                kept += u32::from(used || delta);
            }
            pictures = kept;
        } else {
            let (negative, positive) = (bits.exp_golomb()?, bits.exp_golomb()?);
            pictures = negative.checked_add(positive)?;
            if pictures > 32 {
                return None;
            }
            for _ in 0..pictures {
                bits.exp_golomb()?;
                bits.skip(1)?;
            }
        }
    }
    Some(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// x265, Main, 636x358 out of 640x360 with samples of 4:3. Its SEI is left out.
    pub(crate) const HVCC: &str = "0101600000009000000000003ff000fcfdf8f800000f03\
        a00001001840010c01ffff01600000030090000003000003003f959409\
        a10001002c42010101600000030090000003000003003fa005020171dcd965654a4c2f0e6808000003000800000300c840\
        a2000100064401c073c189";

    /// x265, Main 10, 640x360, the default scaling lists, 3 B-frames.
    const TEN_BITS: &str = "0102200000009000000000003ff000fcfdfafa00000f03\
        a00001001840010c01ffff02200000030090000003000003003f959409\
        a10001002b42010102200000030090000003000003003fa005020169365959649395e02d010000030001000003001908\
        a2000100074401c172b46240";

    /// x265, Main, 636x358 with samples of 16:11, scaling lists of its own, 4 reference frames.
    const SCALING_LISTS: &str = "0101600000009000000000003ff000fcfdf8f800000f03a00001001840010c01ffff0160000003009000000300000300\
        3f959009a1000100a542010101600000030090000003000003003fa005020171dcd965644a4f8434eaead6a22c20991b\
        336c436d8a6db631b6db1cdb6db1cdb6d8c6db629b6c436ccd91a843fffffffffffffff908650c094c8d99b621b6c536\
        db18db6d8e6db6d8e6db6c636db14db621b666c8d43027fffffffffffffff908650c094c8d99b621b6c536db18db6d8e\
        6db6d8e6db6c636db14db621b666c8d082f0468080000003008000000c84a2000100064401c073c189";

    pub(crate) fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn a_record_gives_its_codec_string_cropped_size_and_sample_aspect() {
        let main = track(&bytes(HVCC)).expect("parses");
        assert_eq!(main.codec, "hvc1.1.6.L63.90");
        assert_eq!(main.media, Media::Video { width: 636, height: 358, sample_aspect: (4, 3) });
        assert_eq!(main.decoder_config, bytes(HVCC));
        let main10 = track(&bytes(TEN_BITS)).expect("parses");
        assert_eq!(main10.codec, "hvc1.2.4.L63.90");
        assert_eq!(main10.media, Media::Video { width: 640, height: 360, sample_aspect: (1, 1) });
        let lists = track(&bytes(SCALING_LISTS)).expect("parses");
        assert_eq!(lists.media, Media::Video { width: 636, height: 358, sample_aspect: (16, 11) });
    }

    #[test]
    fn the_codec_string_is_that_of_the_standard() {
        let mut head = [0; HEAD_LEN];
        head[1..13].copy_from_slice(&[0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93]);
        assert_eq!(codec_string(&head), "hvc1.1.6.L93.B0");
        head[1..13].copy_from_slice(&[0xa4, 0x08, 0, 0, 0, 0xb9, 0, 0x10, 0, 0, 0, 120]);
        assert_eq!(codec_string(&head), "hvc1.B4.10.H120.B9.0.10");
        head[1..13].copy_from_slice(&[0x01, 0x60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 30]);
        assert_eq!(codec_string(&head), "hvc1.1.6.L30");
    }

    #[test]
    fn a_record_of_the_draft_is_written_as_version_1() {
        let mut draft = bytes(HVCC);
        draft[0] = 0;
        assert_eq!(track(&draft).expect("parses").decoder_config, bytes(HVCC));
    }

    #[test]
    fn a_cut_record_is_refused_at_every_length() {
        let whole = bytes(HVCC);
        for len in 0..whole.len() {
            assert_eq!(track(&whole[..len]), Err(Error::Record { len }), "{len}");
        }
    }

    #[test]
    fn a_record_without_an_sps_or_with_an_endless_one_is_refused() {
        let mut none = bytes(HVCC)[..HEAD_LEN].to_vec();
        none[22] = 0;
        assert_eq!(track(&none), Err(Error::NoSps));
        none[22] = 1;
        none.extend([0xa1, 0, 1, 0x20, 0x00]);
        none.extend(vec![0x42; 0x2000]);
        assert_eq!(track(&none), Err(Error::SpsLength { len: 0x2000 }));
    }

    proptest! {
        #[test]
        fn no_record_makes_the_parser_panic(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = track(&[&bytes(HVCC)[..HEAD_LEN], &tail].concat());
            let mut sps = bytes(HVCC)[..HEAD_LEN - 1].to_vec();
            sps.extend([1, 0xa1, 0, 1, 0, tail.len() as u8]);
            sps.extend(tail);
            let _ = track(&sps);
        }

        #[test]
        fn no_flipped_bits_make_the_parser_panic(
            which in 0..3usize, flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4)
        ) {
            let mut record = bytes([HVCC, TEN_BITS, SCALING_LISTS][which]);
            for (at, bit) in flips {
                let at = at.index(record.len());
                record[at] ^= 1 << bit;
            }
            let _ = track(&record);
        }
    }
}
