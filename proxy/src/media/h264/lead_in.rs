//! What browsers are given in front of a picture with which decoding can begin although it is no IDR picture: a recovery point of
//! an open GOP or of an intra refresh (annex D.2.8).
//!
//! Chromium begins with IDR pictures only, whatever the container says, and so do its `WebCodecs`. Such a camera sends one when it is
//! connected to and never again. So whoever begins later is given a grey IDR picture of ours, which takes one byte a macroblock, and
//! then the camera's. PURE.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    super::{
        bits::{BitWriter, with_emulation_prevention},
        nal,
    },
    Record,
    slice::{self, Slice},
    sps::{self, OrderCount, Sps},
};

/// The most macroblocks that a picture has: `MaxFS` of level 6.2 (annex A.3.1).
const MAX_MACROBLOCKS: u32 = 139_264;

/// `mb_type` of one that is predicted as a whole from the mean of its neighbours, without anything added (table 7-11,
/// `I_16x16_2_0_0`). Without neighbours that is grey.
const MEAN_OF_NEIGHBOURS: u32 = 3;

/// What stands in front of a picture with which decoding begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadIn {
    /// An IDR picture, and as many repetitions of it as there may be reference pictures: those the camera has, and takes back behind
    /// its recovery point. An access unit each: NAL units, each behind 4 bytes of length.
    pub pictures: Vec<Bytes>,
    /// So many pictures after the camera's one is whole (`recovery_frame_cnt`).
    pub whole_after: u32,
}

/// What goes in front of this access unit, with which decoding is to begin. Nothing where it is an IDR picture, and for the rare
/// pictures that are counted by a cycle or have colours as fine as their brightness.
pub fn before(record: &[u8], access_unit: &[u8]) -> Option<LeadIn> {
    let mut whole_after = None;
    let first = nal::units(access_unit).find(|nal| {
        let kind = nal.first().map_or(0, |header| header & 31);
        if kind == 6 {
            whole_after = whole_after.or_else(|| slice::recovery_frame_cnt(nal));
        }
        matches!(kind, 1 | 2 | 5)
    })?;
    if first[0] & 31 == 5 {
        return None; // as most cameras' key frames: nothing is allocated for them
    }
    let record = Record::read(record)?;
    let sps = sps::read(record.sps.first()?)?;
    let picture = slice::read(first, &sps)?;
    let taken: Vec<_> = record.pps.iter().filter_map(|nal| slice::pps_id(nal)).collect();
    let pps_id = (0..256).find(|id| !taken.contains(id))?;
    let rows = sps.map_unit_rows.checked_mul(if sps.frames_only { 1 } else { 2 })?;
    let macroblocks = sps.macroblock_columns.checked_mul(rows).filter(|count| *count <= MAX_MACROBLOCKS)?;
    let lead_in = Writer { sps: &sps, pps_id, picture: &picture, macroblocks };
    let mut pictures = vec![access_unit_of(&[lead_in.pps(), lead_in.grey()?])];
    let most = sps.max_num_ref_frames.min(1 << (sps.frame_num_bits - 1));
    for earlier in (1..=most).rev() {
        // Right behind the IDR picture, it has the place of one that would have its number.
        if pictures.len() > 1 || lead_in.frame_num(earlier) != 0 {
            pictures.push(access_unit_of(&[lead_in.repeated(earlier)]));
        }
    }
    Some(LeadIn { pictures, whole_after: whole_after.unwrap_or(0) })
}

fn access_unit_of(units: &[Vec<u8>]) -> Bytes {
    let mut data = BytesMut::with_capacity(units.iter().map(|unit| 4 + unit.len()).sum());
    for unit in units {
        data.put_u32(unit.len() as u32);
        data.put_slice(unit);
    }
    data.freeze()
}

/// Writes what goes in front of `picture`.
struct Writer<'a> {
    sps: &'a Sps,
    /// None of the camera's.
    pps_id: u32,
    picture: &'a Slice,
    /// How many a picture has.
    macroblocks: u32,
}

impl Writer<'_> {
    /// A picture parameter set (7.3.2.2) for the simplest of slices: the camera's own may ask for an arithmetic coder.
    fn pps(&self) -> Vec<u8> {
        let mut out = BitWriter::default();
        out.exp_golombs(&[self.pps_id, self.sps.id]);
        out.flag(false); // entropy_coding_mode_flag
        out.flag(false); // bottom_field_pic_order_in_frame_present_flag
        out.exp_golombs(&[0, 0, 0]); // one slice group; one reference picture in either list
        out.write(0, 3); // no weighted prediction
        out.exp_golombs(&[0, 0, 0]); // quantisers, and how those of colours differ, as signed codes
        out.write(0, 3); // no deblocking control, no constrained prediction, no redundant pictures
        nal(0x68, out)
    }

    /// Of the reference picture that the camera had so much `earlier`.
    fn frame_num(&self, earlier: u32) -> u32 {
        self.picture.frame_num.wrapping_sub(earlier) & ((1 << self.sps.frame_num_bits) - 1)
    }

    /// The beginning of the one slice (7.3.3) of the picture that is `earlier` before the camera's, up to its order count.
    fn begin(&self, slice_type: u32, frame_num: u32, is_idr: bool, earlier: u32) -> BitWriter {
        let mut out = BitWriter::default();
        out.exp_golombs(&[0, slice_type, self.pps_id]); // first_mb_in_slice in front
        out.write(frame_num, self.sps.frame_num_bits);
        if !self.sps.frames_only {
            out.flag(false); // field_pic_flag
        }
        if is_idr {
            out.exp_golomb(0); // idr_pic_id
        }
        if let (OrderCount::InSlices(bits), Some(lsb)) = (self.sps.order_count, self.picture.order_count_lsb)
        {
            // Not 0 in an IDR picture, as it should be (8.2.1): what follows would be shown before it, or not at all.
            out.write(lsb.wrapping_sub(2 * earlier), bits);
        }
        out
    }

    /// An IDR picture that is grey all over (7.3.4).
    fn grey(&self) -> Option<Vec<u8>> {
        let has_colours = match (self.sps.order_count, self.sps.chroma_format_idc) {
            (OrderCount::ByCycle, _) | (_, 3..) => return None,
            (_, chroma_format_idc) => chroma_format_idc != 0,
        };
        let mut out = self.begin(7, 0, true, self.sps.max_num_ref_frames + 1);
        out.write(0, 2); // dec_ref_pic_marking(): nothing special
        out.exp_golomb(0); // slice_qp_delta
        for macroblock in 0..self.macroblocks {
            if self.sps.macroblock_pairs && macroblock % 2 == 0 {
                out.flag(false); // mb_field_decoding_flag
            }
            out.exp_golomb(MEAN_OF_NEIGHBOURS);
            if has_colours {
                out.exp_golomb(0); // intra_chroma_pred_mode: the mean, too
            }
            out.exp_golomb(0); // mb_qp_delta
            out.flag(true); // coeff_token: no coefficients
        }
        Some(nal(0x65, out))
    }

    /// The same picture once more, in the place of the reference picture that the camera had `earlier` before its own. Behind the
    /// first of them there is a gap in `frame_num`, as behind a loss.
    fn repeated(&self, earlier: u32) -> Vec<u8> {
        let mut out = self.begin(5, self.frame_num(earlier), false, earlier);
        out.write(0, 3); // as many reference pictures and in the order as usual, and so marked
        out.exp_golomb(0); // slice_qp_delta
        out.exp_golomb(self.macroblocks); // mb_skip_run
        nal(0x61, out)
    }
}

fn nal(header: u8, rbsp: BitWriter) -> Vec<u8> {
    let mut nal = vec![header];
    nal.extend(with_emulation_prevention(&rbsp.finish()));
    nal
}

#[cfg(test)]
mod tests {
    use h264_reader::{
        Context,
        nal::{Nal as _, RefNal, pps::PicParameterSet, slice::SliceHeader, sps::SeqParameterSet},
    };
    use proptest::prelude::*;

    use super::{super::tests::AVCC, *};

    /// A recovery point after which it takes 38 pictures, and the beginning of a slice of its picture.
    const REFRESH: &[u8] = &[
        0, 0, 0, 5, 0x06, 0x06, 0x02, 0x04, 0xe1, 0, 0, 0, 8, 0x41, 0x9a, 0x20, 0x41, 0x3f, 0xb1, 0x22, 0x7a,
    ];

    /// What another reader makes of a lead-in's slices.
    fn by_another_reader(record: &[u8], pictures: &[Bytes]) -> Vec<SliceHeader> {
        let record = Record::read(record).expect("a record");
        let mut context = Context::default();
        let whole = |nal| RefNal::new(nal, &[], true);
        let sps = SeqParameterSet::from_bits(whole(record.sps[0]).rbsp_bits()).expect("an SPS");
        context.put_seq_param_set(sps);
        let mut units: Vec<_> = pictures.iter().flat_map(|picture| nal::units(picture)).collect();
        let pps = whole(units.remove(0));
        let pps =
            PicParameterSet::from_bits(&context, pps.rbsp_bits()).expect("a PPS with nothing behind it");
        let id = pps.pic_parameter_set_id.id();
        assert!(
            !record.pps.iter().any(|own| slice::pps_id(own) == Some(id.into())),
            "it replaces the camera's"
        );
        context.put_pic_param_set(pps);
        let header = |nal: RefNal<'_>| {
            let nal_header = nal.header().expect("a header");
            SliceHeader::from_bits(&context, &mut nal.rbsp_bits(), nal_header, None).expect("a slice").0
        };
        units.into_iter().map(|nal| header(whole(nal))).collect()
    }

    #[test]
    fn in_front_of_a_recovery_point_stand_an_idr_picture_and_the_reference_pictures_there_may_be() {
        let lead_in = before(AVCC, REFRESH).expect("one is needed");
        assert_eq!(lead_in.whole_after, 38);
        let slices = by_another_reader(AVCC, &lead_in.pictures);
        let numbers: Vec<_> = slices.iter().map(|slice| slice.frame_num).collect();
        let sps = sps::read(Record::read(AVCC).expect("a record").sps[0]).expect("an SPS");
        let own = slice::read(&REFRESH[13..], &sps).expect("a slice").frame_num;
        let earlier =
            (1..=sps.max_num_ref_frames).rev().map(|n| own.wrapping_sub(n) & ((1 << sps.frame_num_bits) - 1));
        assert_eq!(
            numbers,
            std::iter::once(0).chain(earlier.map(|number| number as u16)).collect::<Vec<_>>()
        );
        assert!(numbers.len() > 1, "this test sees nothing");
        let len = lead_in.pictures[0].len();
        assert!((40 * 23..40 * 23 + 32).contains(&len), "{len}: a byte a macroblock");
    }

    #[test]
    fn no_reference_picture_has_the_number_of_the_one_before() {
        let sps = sps::read(Record::read(AVCC).expect("a record").sps[0]).expect("an SPS");
        for frame_num in 0..1 << sps.frame_num_bits {
            let mut slice = BitWriter::default();
            slice.exp_golombs(&[0, 5, 0]);
            slice.write(frame_num, sps.frame_num_bits);
            slice.write(0, 32);
            let lead_in = before(AVCC, &access_unit_of(&[nal(0x41, slice)])).expect("one is needed");
            let mut numbers: Vec<_> = by_another_reader(AVCC, &lead_in.pictures)
                .iter()
                .map(|slice| u32::from(slice.frame_num))
                .collect();
            numbers.push(frame_num);
            assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "{numbers:?}");
        }
    }

    #[test]
    fn an_idr_picture_needs_none() {
        let idr: Vec<u8> = [&[0, 0, 0, 8, 0x65][..], &REFRESH[14..]].concat();
        assert_eq!(before(AVCC, &idr), None);
        assert_eq!(before(AVCC, &REFRESH[..9]), None, "nor does what is no picture");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(record: Vec<u8>, picture: Vec<u8>, at in 0usize..48, bit in 0u8..8) {
            let _ = (before(&record, &picture), before(AVCC, &picture), before(&record, REFRESH));
            let mut bent = AVCC.to_vec();
            if let Some(byte) = bent.get_mut(at) {
                *byte ^= 1 << bit;
            }
            if let Some(lead_in) = before(&bent, REFRESH) {
                let len: usize = lead_in.pictures.iter().map(Bytes::len).sum();
                prop_assert!(lead_in.pictures.len() <= 17 && len <= 2 * MAX_MACROBLOCKS as usize);
            }
        }
    }
}
