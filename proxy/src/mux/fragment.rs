//! The media segment of one frame: `moof` and `mdat`.
//!
//! The boxes are written by hand, for this is the hot path and their layout never changes; tests read them back with
//! an independent parser.

use bytes::BufMut;

use super::TRACK_ID;

/// Bytes in front of the frame's own: `moof` and the header of `mdat`.
pub const OVERHEAD: usize = MOOF + 8;

const MOOF: usize = 8 + MFHD + TRAF;
const MFHD: usize = 16;
const TRAF: usize = 8 + TFHD + TFDT + TRUN;
const TFHD: usize = 16;
const TFDT: usize = 20;
const TRUN: usize = 36;

/// Sample flags of a frame that depends on no other (ISO/IEC 14496-12, 8.8.3.1).
const SYNC: u32 = 0x0200_0000;
/// Sample flags of a frame that depends on others.
const NON_SYNC: u32 = 0x0101_0000;

/// What a segment's boxes say of its frame. Times are in the track's timescale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Counts the fragments.
    pub sequence: u32,
    /// Decode time.
    pub decode_time_ticks: u64,
    /// Presentation time minus decode time.
    pub composition_offset_ticks: i32,
    /// How long the frame is declared to last.
    pub declared_duration_ticks: u32,
    /// Whether decoding can begin here.
    pub key_frame: bool,
}

/// Appends `moof` and the header of `mdat` for a frame of `len` bytes, which must follow. Writes [`OVERHEAD`] bytes.
pub fn write_head(out: &mut impl BufMut, sample: &Sample, len: u32) {
    let mut u32 = |value: u32| out.put_u32(value);
    let tag = |name: &[u8; 4]| u32::from_be_bytes(*name);
    u32(MOOF as u32);
    u32(tag(b"moof"));

    u32(MFHD as u32);
    u32(tag(b"mfhd"));
    u32(0);
    u32(sample.sequence);

    u32(TRAF as u32);
    u32(tag(b"traf"));

    u32(TFHD as u32);
    u32(tag(b"tfhd"));
    u32(0x02_0000); // default-base-is-moof
    u32(TRACK_ID);

    u32(TFDT as u32);
    u32(tag(b"tfdt"));
    u32(0x0100_0000); // version 1: 64-bit decode time
    u32((sample.decode_time_ticks >> 32) as u32);
    u32(sample.decode_time_ticks as u32);

    u32(TRUN as u32);
    u32(tag(b"trun"));
    u32(0x0100_0f01); // version 1: signed offsets; data offset, and a sample's duration, size, flags and offset
    u32(1);
    u32(OVERHEAD as u32);
    u32(sample.declared_duration_ticks);
    u32(len);
    u32(if sample.key_frame { SYNC } else { NON_SYNC });
    u32(sample.composition_offset_ticks as u32);

    u32(len.saturating_add(8));
    u32(tag(b"mdat"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use mp4_atom::{Atom as _, Decode as _, Header, Moof};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_independent_parser_reads_back_every_field(
            sequence: u32, decode_time_ticks: u64, composition_offset_ticks: i32, declared_duration_ticks: u32,
            key_frame: bool, len in 0u32..9_000_000,
        ) {
            let sample =
                Sample { sequence, decode_time_ticks, composition_offset_ticks, declared_duration_ticks, key_frame };
            let mut bytes = Vec::new();
            write_head(&mut bytes, &sample, len);
            prop_assert_eq!(bytes.len(), OVERHEAD);

            let mut rest = bytes.as_slice();
            let moof = Moof::decode(&mut rest).expect("a moof");
            let mdat = Header::decode(&mut rest).expect("a box header");
            prop_assert_eq!(mdat.kind, mp4_atom::Mdat::KIND);
            prop_assert_eq!(mdat.size, Some(len as usize));
            prop_assert!(rest.is_empty());
            prop_assert_eq!(moof.mfhd.sequence_number, sequence);
            let traf = &moof.traf[0];
            prop_assert_eq!(traf.tfhd.track_id, TRACK_ID);
            prop_assert_eq!(traf.tfdt.as_ref().map(|t| t.base_media_decode_time), Some(decode_time_ticks));
            let trun = &traf.trun[0];
            prop_assert_eq!(trun.data_offset, Some(OVERHEAD as i32));
            let entry = trun.samples.get(0).expect("one sample");
            prop_assert_eq!(entry.duration, Some(declared_duration_ticks));
            prop_assert_eq!(entry.size, Some(len));
            prop_assert_eq!(entry.cts, Some(composition_offset_ticks.into()));
            prop_assert_eq!(entry.flags, Some(if key_frame { SYNC } else { NON_SYNC }));
        }
    }
}
