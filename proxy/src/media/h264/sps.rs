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
pub struct Sps {
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
    max_num_ref_frames: u32,
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
    bits.exp_golomb()?; // seq_parameter_set_id
    let mut separate_colour_planes = false;
    if matches!(profile_idc, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        let chroma_format_idc = bits.exp_golomb()?;
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
    bits.exp_golomb()?; // pic_width_in_mbs_minus1
    bits.exp_golomb()?; // pic_height_in_map_units_minus1
    let frames_only = bits.flag()?;
    if !frames_only {
        bits.skip(1)?; // mb_adaptive_frame_field_flag
    }
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
