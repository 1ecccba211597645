//! What slices and decode times need of a sequence parameter set (7.3.2.1.1), and its repair.

use super::super::bits::{BitWriter, Bits, with_emulation_prevention, without_emulation_prevention};

/// How pictures are counted in the order they are shown (8.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderCount {
    /// Each slice says it, in so many bits (type 0).
    InSlices(u32),
    /// It follows from `frame_num` and a cycle of offsets (type 1).
    ByCycle,
    /// It is the order they are decoded in (type 2).
    AsDecoded,
}

/// A sequence parameter set, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the syntax's own flags")]
pub struct Sps {
    /// Its number.
    pub id: u32,
    /// How fine colours are: 0 none, 1 half in both directions, 2 half across, 3 as brightness.
    pub chroma_format_idc: u32,
    /// How many macroblocks stand side by side.
    pub macroblock_columns: u32,
    /// Rows of macroblocks, or where there are fields, of two.
    pub map_unit_rows: u32,
    /// Macroblocks come in pairs that may be of fields each (`mb_adaptive_frame_field_flag`).
    pub macroblock_pairs: bool,
    /// Bits of `frame_num` in a slice.
    pub frame_num_bits: u32,
    /// How pictures are counted.
    pub order_count: OrderCount,
    /// Slices say which colour they hold.
    pub separate_colour_planes: bool,
    /// There are no fields.
    pub frames_only: bool,
    /// How many pictures may come before another one that is shown before them, where it says so.
    pub max_num_reorder_frames: Option<u32>,
    /// The profile has no B slices.
    b_frames_impossible: bool,
    /// How many pictures others refer to at a time.
    pub max_num_ref_frames: u32,
    places: Places,
}

impl Sps {
    /// How many pictures may come before another one that is shown before them, where that is known.
    pub fn max_reordering(&self) -> Option<u32> {
        if self.b_frames_impossible { Some(0) } else { self.max_num_reorder_frames }
    }
}

/// Where in the RBSP things stand, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Places {
    /// `vui_parameters_present_flag`.
    vui_flag: usize,
    has_vui: bool,
    /// `bitstream_restriction_flag`, where there are VUI parameters.
    restriction_flag: usize,
}

/// Reads a NAL unit that is an SPS. What is behind it is not looked at: some cameras leave rubbish there.
pub fn read(nal: &[u8]) -> Option<Sps> {
    read_rbsp(&without_emulation_prevention(nal.get(1..)?))
}

fn read_rbsp(rbsp: &[u8]) -> Option<Sps> {
    let mut bits = Bits::new(rbsp);
    let profile_idc = bits.read(8)?;
    bits.skip(16)?; // constraint flags, level_idc
    let id = bits.exp_golomb().filter(|id| *id < 32)?;
    let (mut separate_colour_planes, mut chroma_format_idc) = (false, 1);
    if matches!(profile_idc, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        chroma_format_idc = bits.exp_golomb()?;
        if chroma_format_idc == 3 {
            separate_colour_planes = bits.flag()?;
        }
        bits.exp_golomb()?; // bit_depth_luma_minus8
        bits.exp_golomb()?; // bit_depth_chroma_minus8
        bits.skip(1)?; // qpprime_y_zero_transform_bypass_flag
        if bits.flag()? {
            for list in 0..if chroma_format_idc == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    let frame_num_bits = bits.exp_golomb().filter(|bits| *bits <= 12)? + 4;
    let order_count = match bits.exp_golomb()? {
        0 => OrderCount::InSlices(bits.exp_golomb().filter(|bits| *bits <= 12)? + 4),
        1 => {
            bits.skip(1)?; // delta_pic_order_always_zero_flag
            bits.exp_golomb()?; // offset_for_non_ref_pic
            bits.exp_golomb()?; // offset_for_top_to_bottom_field
            for _ in 0..bits.exp_golomb().filter(|count| *count <= 255)? {
                bits.exp_golomb()?;
            }
            OrderCount::ByCycle
        }
        2 => OrderCount::AsDecoded,
        _ => return None,
    };
    let max_num_ref_frames = bits.exp_golomb().filter(|count| *count <= 16)?;
    bits.skip(1)?; // gaps_in_frame_num_value_allowed_flag
    let macroblock_columns = bits.exp_golomb()?.checked_add(1)?;
    let map_unit_rows = bits.exp_golomb()?.checked_add(1)?;
    let frames_only = bits.flag()?;
    let macroblock_pairs = !frames_only && bits.flag()?;
    bits.skip(1)?; // direct_8x8_inference_flag
    if bits.flag()? {
        for _ in 0..4 {
            bits.exp_golomb()?; // the cropping rectangle
        }
    }
    let vui_flag = bits.position();
    let has_vui = bits.flag()?;
    let mut restriction_flag = vui_flag;
    let mut max_num_reorder_frames = None;
    if has_vui {
        skip_vui_to_restriction(&mut bits)?;
        restriction_flag = bits.position();
        if bits.flag()? {
            bits.skip(1)?; // motion_vectors_over_pic_boundaries_flag
            for _ in 0..4 {
                bits.exp_golomb()?; // sizes and vectors
            }
            max_num_reorder_frames = Some(bits.exp_golomb()?);
        }
    }
    Some(Sps {
        id,
        chroma_format_idc,
        macroblock_columns,
        map_unit_rows,
        macroblock_pairs,
        frame_num_bits,
        order_count,
        separate_colour_planes,
        frames_only,
        max_num_reorder_frames,
        // Annex A.2.1: Baseline has no B slices. In the other profiles only the order of counting rules them out.
        b_frames_impossible: profile_idc == 66 || order_count == OrderCount::AsDecoded,
        max_num_ref_frames,
        places: Places { vui_flag, has_vui, restriction_flag },
    })
}

/// `scaling_list()` (7.3.2.1.1.1).
fn skip_scaling_list(bits: &mut Bits<'_>, size: u32) -> Option<()> {
    let (mut last, mut next) = (8i32, 8i32);
    for _ in 0..size {
        if next != 0 {
            next = last.wrapping_add(bits.signed_exp_golomb()?) & 255;
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

/// `vui_parameters()` (annex E.1.1) up to `bitstream_restriction_flag`.
fn skip_vui_to_restriction(bits: &mut Bits<'_>) -> Option<()> {
    if bits.flag()? && bits.read(8)? == 255 {
        bits.skip(32)?; // the sample aspect ratio itself
    }
    if bits.flag()? {
        bits.skip(1)?; // overscan_appropriate_flag
    }
    if bits.flag()? {
        bits.skip(4)?; // video_format, video_full_range_flag
        if bits.flag()? {
            bits.skip(24)?; // the colours
        }
    }
    if bits.flag()? {
        bits.exp_golomb()?;
        bits.exp_golomb()?; // where chroma samples lie
    }
    if bits.flag()? {
        bits.skip(65)?; // num_units_in_tick, time_scale, fixed_frame_rate_flag
    }
    let nal = bits.flag()?;
    if nal {
        skip_hrd(bits)?;
    }
    let vcl = bits.flag()?;
    if vcl {
        skip_hrd(bits)?;
    }
    if nal || vcl {
        bits.skip(1)?; // low_delay_hrd_flag
    }
    bits.skip(1) // pic_struct_present_flag
}

/// `hrd_parameters()` (annex E.1.2).
fn skip_hrd(bits: &mut Bits<'_>) -> Option<()> {
    let count = bits.exp_golomb().filter(|count| *count < 32)? + 1;
    bits.skip(8)?;
    for _ in 0..count {
        bits.exp_golomb()?;
        bits.exp_golomb()?;
        bits.skip(1)?;
    }
    bits.skip(20)
}

/// The same SPS with the word that no picture waits for another, where that is certain and it does not say so itself.
///
/// Without it a decoder has to expect reordering up to the size of its buffer (annex E.2.1): Chromium's hardware decoders
/// hold back up to 16 pictures. Everything else stays as it is; limits that were left to their defaults are written out.
pub fn repaired(nal: &[u8]) -> Option<Vec<u8>> {
    let rbsp = without_emulation_prevention(nal.get(1..)?);
    let sps = read_rbsp(&rbsp)?;
    if !sps.b_frames_impossible || sps.max_num_reorder_frames.is_some() {
        return None;
    }
    let Places { vui_flag, has_vui, restriction_flag } = sps.places;
    let mut kept = Bits::new(&rbsp);
    let mut out = BitWriter::default();
    for _ in 0..if has_vui { restriction_flag } else { vui_flag } {
        out.flag(kept.flag()?);
    }
    if !has_vui {
        out.flag(true);
        // Aspect ratio, overscan, signal type, chroma location, timing, both kinds of HRD, pic_struct: none.
        (0..8).for_each(|_| out.flag(false));
    }
    out.flag(true); // bitstream_restriction_flag
    out.flag(true); // motion_vectors_over_pic_boundaries_flag
    out.exp_golomb(2); // max_bytes_per_pic_denom
    out.exp_golomb(1); // max_bits_per_mb_denom
    out.exp_golomb(15); // log2_max_mv_length_horizontal
    out.exp_golomb(15); // log2_max_mv_length_vertical
    out.exp_golomb(0); // max_num_reorder_frames
    out.exp_golomb(sps.max_num_ref_frames); // max_dec_frame_buffering
    let mut repaired = vec![nal[0]];
    repaired.extend(with_emulation_prevention(&out.finish()));
    Some(repaired)
}

#[cfg(test)]
mod tests {
    use h264_reader::{
        nal::{Nal as _, RefNal, sps::SeqParameterSet},
        rbsp::BitReader,
    };
    use proptest::prelude::*;

    use super::*;

    /// An SPS of 640x360, written from the standard's syntax. `vui`: its parameters in front of the restrictions.
    fn written(
        profile_idc: u8,
        order_count_type: u32,
        vui: Option<[bool; 6]>,
        restriction: Option<u32>,
    ) -> Vec<u8> {
        let mut out = BitWriter::default();
        let fixed = |out: &mut BitWriter, value: u64, bits: u32| {
            (0..bits).rev().for_each(|bit| out.flag(value >> bit & 1 == 1));
        };
        fixed(&mut out, profile_idc.into(), 8);
        fixed(&mut out, 0x00_1e, 16);
        out.exp_golomb(0);
        if profile_idc == 100 {
            out.exp_golombs(&[1, 0, 0]);
            out.flag(false);
            out.flag(true); // a scaling matrix: a list that says so itself, and seven that do not
            out.flag(true);
            out.exp_golombs(&[5, 6, 7]);
            // -12 brings it from 8 + 3 - 3 + 4 to 0: the rest is as it was.
            out.exp_golomb(24);
            (0..7).for_each(|_| out.flag(false));
        }
        out.exp_golomb(4); // log2_max_frame_num_minus4
        out.exp_golomb(order_count_type);
        match order_count_type {
            0 => out.exp_golomb(2),
            1 => {
                out.flag(false);
                out.exp_golombs(&[3, 4, 2, 5, 6]);
            }
            _ => {}
        }
        out.exp_golomb(3); // max_num_ref_frames
        out.flag(false);
        out.exp_golombs(&[39, 22]);
        out.flag(true);
        out.flag(true);
        out.flag(true);
        out.exp_golombs(&[0, 0, 0, 4]);
        out.flag(vui.is_some());
        if let Some([aspect, overscan, signal, chroma, timing, hrd]) = vui {
            let mut part = |present: bool, value: u64, bits: u32| {
                out.flag(present);
                if present {
                    fixed(&mut out, value, bits);
                }
            };
            part(aspect, 255 << 32 | 4 << 16 | 3, 40);
            part(overscan, 1, 1);
            part(signal, 0b0101 << 25 | 1 << 24 | 0x01_0101, 29);
            out.flag(chroma);
            if chroma {
                out.exp_golombs(&[1, 2]);
            }
            out.flag(timing);
            if timing {
                fixed(&mut out, 1, 32);
                fixed(&mut out, 50, 32);
                out.flag(true);
            }
            out.flag(hrd);
            if hrd {
                out.exp_golomb(0);
                fixed(&mut out, 0x12, 8);
                out.exp_golombs(&[1000, 2000]);
                out.flag(true);
                fixed(&mut out, 0xa_bcde, 20);
            }
            out.flag(false);
            if hrd {
                out.flag(false);
            }
            out.flag(true); // pic_struct_present_flag
            out.flag(restriction.is_some());
            if let Some(reordered) = restriction {
                out.flag(true);
                out.exp_golombs(&[0, 0, 10, 10, reordered, 4]);
            }
        }
        [&[0x67][..], &with_emulation_prevention(&out.finish())].concat()
    }

    fn by_another_reader(nal: &[u8]) -> SeqParameterSet {
        let nal = RefNal::new(nal, &[], true);
        let bits: BitReader<_> = nal.rbsp_bits();
        SeqParameterSet::from_bits(bits).expect("parses")
    }

    #[test]
    fn what_real_encoders_say_of_their_reordering_is_read() {
        let of =
            |hex: &str| read(&crate::media::h265::tests::bytes(hex)).expect("an SPS").max_num_reorder_frames;
        assert_eq!(of("6764000aacd9447b011000000300100000030320f1225960"), Some(2), "x264 with a pyramid");
        assert_eq!(of("6742c00ada11ec0440000003004000000ca3c489a8"), Some(0), "x264, baseline");
    }

    proptest! {
        #[test]
        fn a_repair_adds_its_word_and_changes_nothing_else(
            profile_idc in prop_oneof![Just(66u8), Just(77), Just(100)], order_count_type in 0u32..3,
            vui: Option<[bool; 6]>, restriction: Option<bool>, reordered in 0u32..3,
        ) {
            let restriction = restriction.map(|_| reordered).filter(|_| vui.is_some());
            let nal = written(profile_idc, order_count_type, vui, restriction);
            let before = by_another_reader(&nal);
            let own = read(&nal).expect("an SPS");
            prop_assert_eq!(own.max_num_reorder_frames, restriction);
            prop_assert_eq!(own.frame_num_bits, u32::from(before.log2_max_frame_num()));
            let certain = profile_idc == 66 || order_count_type == 2;
            let Some(repaired) = repaired(&nal) else {
                prop_assert!(!certain || restriction.is_some());
                return Ok(());
            };
            prop_assert!(certain && restriction.is_none());
            let mut after = by_another_reader(&repaired);
            let vui = after.vui_parameters.as_mut().expect("has them now");
            let word = vui.bitstream_restrictions.take().expect("was added");
            prop_assert_eq!(word.max_num_reorder_frames, 0);
            prop_assert_eq!(word.max_dec_frame_buffering, 3);
            if before.vui_parameters.is_none() {
                let nothing = format!("{:?}", after.vui_parameters.take());
                prop_assert!(!nothing.contains("true"), "{}", nothing);
            }
            prop_assert_eq!(format!("{before:?}"), format!("{after:?}"));
            prop_assert_eq!(super::repaired(&repaired), None, "once is enough");
        }

        #[test]
        fn no_bytes_make_it_panic(nal: Vec<u8>) {
            let _ = (read(&nal), repaired(&nal));
        }
    }
}
