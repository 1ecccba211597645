//! The beginning of a slice (7.3.6.1), of a picture parameter set (7.3.2.3) and of supplemental information.

use super::{
    super::{
        bits::{Bits, Rbsp},
        h264::slice::sei_payload,
    },
    Sps,
};

/// More bytes than what is read of a slice's header can take.
const HEAD_LEN: usize = 32;

/// How far into supplemental information a recovery point is looked for, in bytes.
const SEI_LEN: usize = 128;

/// `payloadType` of a recovery point (annex D.2.1).
const RECOVERY_POINT: u32 = 6;

/// A picture parameter set, as far as slices need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pps {
    /// What slices call it by.
    pub id: u32,
    output_flag_present: bool,
    extra_slice_header_bits: u32,
}

/// What the first slice of a picture says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// It is the first of its picture. Nothing more is read of one that is not.
    pub is_first: bool,
    /// `nal_unit_type` (table 7-1).
    pub nal_unit_type: u8,
    /// Its picture parameter set.
    pub pps_id: u32,
    /// `slice_pic_order_cnt_lsb`; 0 in IDR pictures.
    pub order_count_lsb: u32,
    /// Later pictures count from it (`prevTid0Pic`, 8.3.1).
    pub is_anchor: bool,
}

impl Slice {
    /// Counting begins anew with an IDR or BLA picture, and decoding can begin there.
    pub fn restarts(&self) -> bool {
        (16..=20).contains(&self.nal_unit_type)
    }

    /// Decoding can begin with this picture: IDR, BLA or CRA.
    pub fn is_random_access(&self) -> bool {
        (16..24).contains(&self.nal_unit_type)
    }
}

/// Reads a picture parameter set.
pub fn pps(nal: &[u8]) -> Option<Pps> {
    let rbsp = Rbsp::<24>::of(nal.get(2..)?);
    let mut bits = rbsp.bits();
    let id = bits.exp_golomb().filter(|id| *id < 64)?;
    bits.exp_golomb()?; // pps_seq_parameter_set_id
    bits.skip(1)?; // dependent_slice_segments_enabled_flag
    Some(Pps { id, output_flag_present: bits.flag()?, extra_slice_header_bits: bits.read(3)? })
}

/// The id of a slice's picture parameter set: it has to be known before the rest can be read.
pub fn pps_id_of_slice(nal: &[u8]) -> Option<u32> {
    let rbsp = Rbsp::<16>::of(nal.get(2..)?);
    let mut bits = rbsp.bits();
    bits.skip(1)?; // first_slice_segment_in_pic_flag
    if (16..24).contains(&(nal[0] >> 1 & 63)) {
        bits.skip(1)?; // no_output_of_prior_pics_flag
    }
    bits.exp_golomb()
}

/// Reads a slice; nothing where its parameter set is not among `pps`.
pub fn read(nal: &[u8], sps: &Sps, pps: impl IntoIterator<Item = Pps>) -> Option<Slice> {
    let (header, payload) = nal.split_first_chunk::<2>()?;
    let nal_unit_type = header[0] >> 1 & 63;
    let temporal_id = (header[1] & 7).checked_sub(1)?;
    let rbsp = Rbsp::<HEAD_LEN>::of(payload);
    let mut bits = rbsp.bits();
    let is_first = bits.flag()?;
    if (16..24).contains(&nal_unit_type) {
        bits.skip(1)?; // no_output_of_prior_pics_flag
    }
    let pps_id = bits.exp_golomb()?;
    let pps = pps.into_iter().find(|pps| pps.id == pps_id)?;
    // Leading pictures, and those of a sub-layer that nothing refers to, are no anchors.
    let is_anchor = temporal_id == 0
        && !(6..=9).contains(&nal_unit_type)
        && !(nal_unit_type < 16 && nal_unit_type.is_multiple_of(2));
    let mut order_count_lsb = 0;
    if is_first && !matches!(nal_unit_type, 19 | 20) {
        bits.skip(pps.extra_slice_header_bits)?;
        bits.exp_golomb().filter(|slice_type| *slice_type < 3)?;
        if pps.output_flag_present {
            bits.skip(1)?;
        }
        if sps.separate_colour_planes {
            bits.skip(2)?;
        }
        order_count_lsb = bits.read(sps.order_count_bits)?;
    }
    Some(Slice { is_first, nal_unit_type, pps_id, order_count_lsb, is_anchor })
}

/// Whether this NAL unit of supplemental information says that decoding may begin here, and how far off the first whole
/// picture then is (`recovery_poc_cnt`).
pub fn recovery_poc_cnt(nal: &[u8]) -> Option<i32> {
    let rbsp = Rbsp::<SEI_LEN>::of(nal.get(2..)?);
    Bits::new(sei_payload(rbsp.bytes(), RECOVERY_POINT)?).signed_exp_golomb()
}
