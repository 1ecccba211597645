//! Access units of H.264 and H.265 as length-prefixed NAL units (ISO/IEC 14496-15, 4.3.3): brought to 4-byte lengths,
//! the only ones this program passes on, and looked through for what they hold. Parameter sets among them are repaired as
//! those in the decoder's configuration are.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{Coding, h264};

/// How many bytes are in front of each NAL unit that is passed on.
const LENGTH_LEN: usize = 4;

/// One access unit, fit for a decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// Its NAL units, each behind 4 bytes of length. None is empty.
    pub data: Bytes,
    /// It holds coded slices, not only what goes with them.
    pub has_picture: bool,
    /// It holds an IDR picture (H.264) or one of the IRAP pictures (H.265).
    pub is_random_access: bool,
}

/// Why bytes are not NAL units.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A length leads past the end.
    #[error("NAL unit of {length} bytes at byte {at} of {len}")]
    Length {
        /// Where the NAL unit begins.
        at: usize,
        /// Its length, as said.
        length: usize,
        /// The length of the whole.
        len: usize,
    },
    /// The NAL units are parted by start codes.
    #[error("NAL units with start codes (Annex B) in place of lengths")]
    AnnexB,
}

/// Reads an access unit whose NAL units' lengths take `length_len` bytes. Its bytes are only copied where they cannot stay
/// as they are.
pub fn access_unit(payload: Bytes, length_len: usize, coding: Coding) -> Result<AccessUnit, Error> {
    let (mut has_picture, mut is_random_access) = (false, false);
    // Browsers give up on a frame with an empty NAL unit or with bytes left over; some encoders pad with zeros.
    let mut clean = length_len == LENGTH_LEN;
    let mut rest = payload.as_ref();
    while let Some((nal, behind)) = split(rest, length_len, &payload)? {
        clean &= !nal.is_empty() && repaired(nal, coding).is_none();
        let (picture, random_access) = kind(nal, coding);
        has_picture |= picture;
        is_random_access |= random_access;
        rest = behind;
    }
    clean &= rest.is_empty();
    let data = if clean { payload } else { rewritten(&payload, length_len, coding)? };
    Ok(AccessUnit { data, has_picture, is_random_access })
}

/// The NAL units of an access unit that [`access_unit`] gave.
pub(crate) fn units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (nal, behind) = split(rest, LENGTH_LEN, data).ok()??;
        rest = behind;
        Some(nal)
    })
}

/// A NAL unit and what is behind it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// Takes the first NAL unit off `rest`; nothing where no length fits any more.
fn split<'a>(rest: &'a [u8], length_len: usize, whole: &[u8]) -> Result<Option<Split<'a>>, Error> {
    let Some((length, behind)) = rest.split_at_checked(length_len) else { return Ok(None) };
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    match behind.split_at_checked(length) {
        Some(split) => Ok(Some(split)),
        None if whole.starts_with(&[0, 0, 1]) || whole.starts_with(&[0, 0, 0, 1]) => Err(Error::AnnexB),
        None => Err(Error::Length { at: whole.len() - behind.len(), length, len: whole.len() }),
    }
}

/// A parameter set as it is passed on, where that is not as it came: [`h264::sps::repaired`].
fn repaired(nal: &[u8], coding: Coding) -> Option<Vec<u8>> {
    let is_sps = coding == Coding::H264 && nal.first()? & 31 == 7 && nal.len() <= h264::MAX_SPS_LEN;
    if is_sps { h264::sps::repaired(nal) } else { None }
}

fn rewritten(payload: &[u8], length_len: usize, coding: Coding) -> Result<Bytes, Error> {
    let mut out = BytesMut::with_capacity(payload.len() + payload.len() / 8);
    let mut rest = payload;
    while let Some((nal, behind)) = split(rest, length_len, payload)? {
        let repaired = repaired(nal, coding);
        let nal = repaired.as_deref().unwrap_or(nal);
        if !nal.is_empty() {
            out.put_u32(nal.len() as u32);
            out.put_slice(nal);
        }
        rest = behind;
    }
    Ok(out.freeze())
}

/// Whether a NAL unit is a slice, and of a picture where decoding can begin.
fn kind(nal: &[u8], coding: Coding) -> (bool, bool) {
    let Some(first) = nal.first() else { return (false, false) };
    if coding == Coding::H265 {
        // ITU-T H.265, table 7-1: 0 to 31 are slices, 16 to 23 those of IRAP pictures.
        let nal_unit_type = first >> 1 & 63;
        (nal_unit_type < 32, (16..24).contains(&nal_unit_type))
    } else {
        // ITU-T H.264, table 7-1: 1 to 5 are slices, 5 those of IDR pictures.
        let nal_unit_type = first & 31;
        ((1..=5).contains(&nal_unit_type), nal_unit_type == 5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(payload: &[u8], length_len: usize) -> Result<AccessUnit, Error> {
        access_unit(Bytes::copy_from_slice(payload), length_len, Coding::H264)
    }

    #[test]
    fn four_byte_lengths_pass_without_a_copy() {
        let payload = Bytes::from_static(&[0, 0, 0, 2, 0x06, 9, 0, 0, 0, 3, 0x65, 1, 2]);
        let unit = access_unit(payload.clone(), 4, Coding::H264).expect("well-formed");
        assert_eq!(unit.data.as_ptr(), payload.as_ptr());
        assert_eq!((unit.data, unit.has_picture, unit.is_random_access), (payload, true, true));
    }

    #[test]
    fn shorter_lengths_become_four_bytes() {
        let expected: &[u8] = &[0, 0, 0, 1, 0x41, 0, 0, 0, 2, 0x41, 7];
        for (payload, length_len) in [
            (&[1, 0x41, 2, 0x41, 7][..], 1),
            (&[0, 1, 0x41, 0, 2, 0x41, 7], 2),
            (&[0, 0, 1, 0x41, 0, 0, 2, 0x41, 7], 3),
        ] {
            let unit = read(payload, length_len).expect("well-formed");
            assert_eq!(
                (unit.data.as_ref(), unit.has_picture, unit.is_random_access),
                (expected, true, false)
            );
        }
    }

    #[test]
    fn empty_nal_units_and_padding_are_taken_out() {
        let payloads: [&[u8]; 3] = [
            &[0, 0, 0, 0, 0, 0, 0, 2, 0x41, 7],
            &[0, 0, 0, 2, 0x41, 7, 0, 0, 0, 0],
            &[0, 0, 0, 2, 0x41, 7, 0, 0, 0],
        ];
        for payload in payloads {
            let unit = read(payload, 4).expect("well-formed");
            assert_eq!(unit.data.as_ref(), [0, 0, 0, 2, 0x41, 7], "{payload:?}");
        }
    }

    #[test]
    fn an_access_unit_without_a_slice_holds_no_picture() {
        assert_eq!(read(&[0, 0, 0, 2, 0x06, 5], 4).map(|unit| unit.has_picture), Ok(false));
        assert_eq!(read(&[], 4).map(|unit| unit.has_picture), Ok(false));
    }

    #[test]
    fn h265_knows_its_own_types() {
        let of = |nal_unit_type: u8| {
            let payload = Bytes::copy_from_slice(&[0, 0, 0, 3, nal_unit_type << 1, 1, 0]);
            let unit = access_unit(payload, 4, Coding::H265).expect("well-formed");
            (unit.has_picture, unit.is_random_access)
        };
        assert_eq!(of(1), (true, false));
        assert_eq!(of(19), (true, true), "IDR_W_RADL");
        assert_eq!(of(21), (true, true), "CRA_NUT");
        assert_eq!(of(33), (false, false), "SPS");
        assert_eq!(of(39), (false, false), "SEI");
    }

    #[test]
    fn lengths_past_the_end_and_start_codes_are_told_apart() {
        let past = read(&[0, 0, 0, 2, 0x41, 7, 0, 0, 1, 0, 0x41], 4);
        assert_eq!(past, Err(Error::Length { at: 10, length: 256, len: 11 }));
        assert_eq!(read(&[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0xd9], 4), Err(Error::AnnexB));
        assert_eq!(read(&[0, 0, 1, 0x67, 0x42, 0xc0], 4), Err(Error::AnnexB));
    }

    proptest! {
        #[test]
        fn whatever_is_passed_on_is_whole(payload: Vec<u8>, length_len in 1usize..5, h265: bool) {
            let coding = if h265 { Coding::H265 } else { Coding::H264 };
            // A repaired SPS has some bytes more.
            let limit = payload.len() * 12;
            if let Ok(unit) = access_unit(payload.into(), length_len, coding) {
                prop_assert!(unit.data.len() <= limit);
                let again = access_unit(unit.data.clone(), 4, coding).expect("was just written");
                prop_assert_eq!(again.data.as_ptr(), unit.data.as_ptr(), "nothing was left to put right");
                prop_assert_eq!(again, unit);
            }
        }
    }
}
