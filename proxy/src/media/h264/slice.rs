//! The beginning of a slice (7.3.3), of a picture parameter set (7.3.2.2) and of supplemental information (7.3.2.3).

use super::{
    super::bits::Rbsp,
    sps::{OrderCount, Sps},
};

/// More bytes than what is read of a slice's header can take: 5 Exp-Golomb codes of at most 63 bits, and some flags.
const HEAD_LEN: usize = 56;

/// How far into supplemental information a recovery point is looked for, in bytes.
const SEI_LEN: usize = 128;

/// `payloadType` of a recovery point (annex D.1.1).
const RECOVERY_POINT: u32 = 6;

/// What the first slice of a picture says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// It is the first of its picture, by where it begins.
    pub is_first: bool,
    /// It belongs to an IDR picture.
    pub is_idr: bool,
    /// Others may refer to its picture.
    pub is_reference: bool,
    /// Its picture parameter set.
    pub pps_id: u32,
    /// Counts reference pictures.
    pub frame_num: u32,
    /// Of a field, whether it is the bottom one.
    pub bottom_field: Option<bool>,
    /// `pic_order_cnt_lsb`, where slices say it.
    pub order_count_lsb: Option<u32>,
}

/// Reads a slice whose SPS is known.
pub fn read(nal: &[u8], sps: &Sps) -> Option<Slice> {
    let header = *nal.first()?;
    let is_idr = header & 31 == 5;
    let rbsp = Rbsp::<HEAD_LEN>::of(&nal[1..]);
    let mut bits = rbsp.bits();
    let is_first = bits.exp_golomb()? == 0;
    bits.exp_golomb().filter(|slice_type| *slice_type < 10)?;
    let pps_id = bits.exp_golomb().filter(|id| *id < 256)?;
    if sps.separate_colour_planes {
        bits.skip(2)?;
    }
    let frame_num = bits.read(sps.frame_num_bits)?;
    let mut bottom_field = None;
    if !sps.frames_only && bits.flag()? {
        bottom_field = Some(bits.flag()?);
    }
    if is_idr {
        bits.exp_golomb()?; // idr_pic_id
    }
    let order_count_lsb = match sps.order_count {
        OrderCount::InSlices(len) => Some(bits.read(len)?),
        _ => None,
    };
    Some(Slice {
        is_first,
        is_idr,
        is_reference: header & 0x60 != 0,
        pps_id,
        frame_num,
        bottom_field,
        order_count_lsb,
    })
}

/// The id of a picture parameter set.
pub fn pps_id(nal: &[u8]) -> Option<u32> {
    Rbsp::<8>::of(nal.get(1..)?).bits().exp_golomb().filter(|id| *id < 256)
}

/// The `recovery_frame_cnt` of a recovery point in this NAL unit of supplemental information.
pub fn recovery_frame_cnt(nal: &[u8]) -> Option<u32> {
    let rbsp = Rbsp::<SEI_LEN>::of(nal.get(1..)?);
    let payload = sei_payload(rbsp.bytes(), RECOVERY_POINT)?;
    super::super::bits::Bits::new(payload).exp_golomb()
}

/// The first payload of this type among those of an SEI's RBSP, as far as it is there.
pub(in crate::media) fn sei_payload(mut rest: &[u8], wanted: u32) -> Option<&[u8]> {
    let number = |rest: &mut &[u8]| {
        let mut value = 0u32;
        loop {
            let (byte, behind) = rest.split_first()?;
            *rest = behind;
            value += u32::from(*byte);
            if *byte != 255 {
                return Some(value);
            }
        }
    };
    loop {
        let payload_type = number(&mut rest)?;
        let size = number(&mut rest)? as usize;
        if payload_type == wanted {
            return Some(&rest[..size.min(rest.len())]);
        }
        rest = rest.get(size..)?;
    }
}
