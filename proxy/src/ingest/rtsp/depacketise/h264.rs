//! H.264 payloads (RFC 6184, 5): which NAL units, and which pieces of them, a packet holds.

use super::{
    Error,
    video::{Header, Kind, Piece, aggregated},
};

/// Single-time aggregation packet (5.7.1).
const STAP_A: u8 = 24;
/// Fragmentation unit (5.8).
const FU_A: u8 = 28;

/// Takes a payload apart.
pub(super) fn read(
    payload: &[u8],
    take: &mut impl FnMut(Piece<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let first = *payload.first().ok_or(Error::Empty)?;
    if first & 0x80 != 0 {
        return Err(Error::Forbidden);
    }
    match first & 31 {
        1..=23 => take(Piece::Whole(payload)),
        STAP_A => aggregated(&payload[1..], 1, take),
        FU_A => {
            let (head, body) = payload.split_first_chunk::<2>().ok_or(Error::Short(payload.len()))?;
            take(Piece::Fragment {
                header: Header::one(head[0] & 0xe0 | head[1] & 31),
                begins: head[1] & 0x80 != 0,
                ends: head[1] & 0x40 != 0,
                body,
            })
        }
        25 => Err(Error::Unsupported("STAP-B, of the interleaved mode")),
        26 | 27 => Err(Error::Unsupported("MTAP, of the interleaved mode")),
        29 => Err(Error::Unsupported("FU-B, of the interleaved mode")),
        // A start code, which has no place here.
        0 if payload.starts_with(&[0, 0, 1]) || payload.starts_with(&[0, 0, 0, 1]) => {
            take(Piece::Whole(payload))
        }
        // 0, 30 and 31 are reserved, and a receiver leaves them out (5.2).
        _ => Ok(()),
    }
}

/// What a NAL unit is to its picture (ITU-T H.264, table 7-1 and 7.4.1.2.3).
pub(super) fn kind(nal: &[u8]) -> Kind {
    match nal.first().map_or(0, |first| first & 31) {
        // Partitions B and C of a slice follow their A.
        1 | 2 | 5 => Kind::Slice { first: nal.get(1).is_some_and(|byte| byte & 0x80 != 0) },
        3 | 4 => Kind::Slice { first: false },
        7 => Kind::Set { opens: true },
        8 => Kind::Set { opens: false },
        9 => Kind::Delimiter,
        6 | 13..=18 => Kind::Prefix,
        0 | 24.. => Kind::Ignored,
        _ => Kind::Suffix,
    }
}
