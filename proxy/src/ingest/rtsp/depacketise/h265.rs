//! H.265 payloads (RFC 7798, 4.4): which NAL units, and which pieces of them, a packet holds.

use super::{
    Error,
    video::{Header, Kind, Piece, aggregated},
};

/// Aggregation packet (4.4.2).
const AP: u8 = 48;
/// Fragmentation unit (4.4.3).
const FU: u8 = 49;

/// Takes a payload apart. There are no decoding order numbers in it: `sprop-max-don-diff` is 0.
pub(super) fn read(
    payload: &[u8],
    take: &mut impl FnMut(Piece<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let first = *payload.first().ok_or(Error::Empty)?;
    if first & 0x80 != 0 {
        return Err(Error::Forbidden);
    }
    let (header, rest) = payload.split_first_chunk::<2>().ok_or(Error::Short(payload.len()))?;
    match first >> 1 & 63 {
        AP => aggregated(rest, 2, take),
        FU => {
            let (fu, body) = rest.split_first().ok_or(Error::Short(payload.len()))?;
            take(Piece::Fragment {
                header: Header::two([header[0] & 0x81 | (fu & 63) << 1, header[1]]),
                begins: fu & 0x80 != 0,
                ends: fu & 0x40 != 0,
                body,
            })
        }
        50 => Err(Error::Unsupported("PACI")),
        51.. => Ok(()),
        _ => take(Piece::Whole(payload)),
    }
}

/// What a NAL unit is to its picture (ITU-T H.265, table 7-1 and 7.4.2.4.4).
pub(super) fn kind(nal: &[u8]) -> Kind {
    match nal.first().map_or(63, |first| first >> 1 & 63) {
        0..32 => Kind::Slice { first: nal.get(2).is_some_and(|byte| byte & 0x80 != 0) },
        32 => Kind::Set { opens: true },
        33 | 34 => Kind::Set { opens: false },
        35 => Kind::Delimiter,
        39 | 41..=44 => Kind::Prefix,
        48.. => Kind::Ignored,
        _ => Kind::Suffix,
    }
}
