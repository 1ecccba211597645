//! The fixed header in front of every binary message. Layout: see the crate's page.

use core::fmt;

/// Length of the header this version writes, in bytes.
pub const HEADER_LEN: usize = 44;

const KEY_FRAME: u8 = 1;

/// What follows a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ftyp` and `moov` of one track.
    Init,
    /// `moof` and `mdat` with one frame of one track.
    Media,
}

/// The header of one binary message. It holds nothing that differs between viewers, so that its bytes are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub kind: Kind,
    /// Index into the epoch's tracks.
    pub track: u8,
    /// Decoding can begin here.
    pub key_frame: bool,
    /// The stream, as in `subscribed`.
    pub number: u32,
    /// The epoch, as in `tracks`.
    pub epoch: u32,
    /// Counts a stream's fragments over all tracks and epochs; wraps.
    pub sequence: u32,
    /// Decode time in the track's timescale.
    pub decode_time_ticks: u64,
    /// Presentation time minus decode time.
    pub composition_offset_ticks: i32,
    /// Expected time to the next frame of this track.
    pub duration_ticks: u32,
    /// When the picture was taken, in microseconds since 1970 by the server's clock.
    pub capture_time_us: i64,
    /// Where in the payload the frame's own bytes begin.
    pub payload_offset: u32,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// The message ends before its header does.
    Short {
        /// Bytes there are.
        len: usize,
        /// Bytes the header needs.
        need: usize,
    },
    /// Byte 0 names no kind of this version. A client should skip the message.
    UnknownKind(u8),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { len, need } => write!(f, "binary message of {len} bytes; its header needs {need}"),
            Self::UnknownKind(kind) => write!(f, "binary message of unknown kind {kind} (byte 0)"),
        }
    }
}

impl core::error::Error for HeaderError {}

impl Header {
    /// The header of the init segment of one track.
    pub fn init(number: u32, epoch: u32, track: u8) -> Self {
        Self {
            kind: Kind::Init,
            track,
            key_frame: false,
            number,
            epoch,
            sequence: 0,
            decode_time_ticks: 0,
            composition_offset_ticks: 0,
            duration_ticks: 0,
            capture_time_us: 0,
            payload_offset: 0,
        }
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[0] = match self.kind {
            Kind::Init => 1,
            Kind::Media => 2,
        };
        out[1] = HEADER_LEN as u8;
        out[2] = self.track;
        out[3] = if self.key_frame { KEY_FRAME } else { 0 };
        out[4..8].copy_from_slice(&self.number.to_be_bytes());
        out[8..12].copy_from_slice(&self.epoch.to_be_bytes());
        out[12..16].copy_from_slice(&self.sequence.to_be_bytes());
        out[16..24].copy_from_slice(&self.decode_time_ticks.to_be_bytes());
        out[24..28].copy_from_slice(&self.composition_offset_ticks.to_be_bytes());
        out[28..32].copy_from_slice(&self.duration_ticks.to_be_bytes());
        out[32..40].copy_from_slice(&self.capture_time_us.to_be_bytes());
        out[40..44].copy_from_slice(&self.payload_offset.to_be_bytes());
        out
    }

    /// Reads a header from the first bytes of a binary message; also returns where the payload begins.
    ///
    /// Only the first [`HEADER_LEN`] bytes are looked at, so that a caller may pass just those.
    pub fn decode(message: &[u8]) -> Result<(Self, usize), HeaderError> {
        let Some(bytes) = message.first_chunk::<HEADER_LEN>() else {
            return Err(HeaderError::Short { len: message.len(), need: HEADER_LEN });
        };
        let kind = match bytes[0] {
            1 => Kind::Init,
            2 => Kind::Media,
            other => return Err(HeaderError::UnknownKind(other)),
        };
        let header_len = usize::from(bytes[1]);
        if header_len < HEADER_LEN {
            return Err(HeaderError::Short { len: header_len, need: HEADER_LEN });
        }
        Ok((
            Self {
                kind,
                track: bytes[2],
                key_frame: bytes[3] & KEY_FRAME != 0,
                number: u32::from_be_bytes(array(bytes, 4)),
                epoch: u32::from_be_bytes(array(bytes, 8)),
                sequence: u32::from_be_bytes(array(bytes, 12)),
                decode_time_ticks: u64::from_be_bytes(array(bytes, 16)),
                composition_offset_ticks: i32::from_be_bytes(array(bytes, 24)),
                duration_ticks: u32::from_be_bytes(array(bytes, 28)),
                capture_time_us: i64::from_be_bytes(array(bytes, 32)),
                payload_offset: u32::from_be_bytes(array(bytes, 40)),
            },
            header_len,
        ))
    }

    /// Presentation time in the track's timescale.
    pub fn presentation_time_ticks(&self) -> i64 {
        (self.decode_time_ticks as i64).saturating_add(i64::from(self.composition_offset_ticks))
    }
}

/// `N` bytes from `at` of a header; every call's range lies inside by the layout above.
fn array<const N: usize>(bytes: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    core::array::from_fn(|i| bytes[at + i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INIT: &[u8] = include_bytes!("../vectors/init-header.bin");
    const MEDIA: &[u8] = include_bytes!("../vectors/media-header.bin");

    fn media() -> Header {
        Header {
            kind: Kind::Media,
            track: 1,
            key_frame: true,
            number: 3,
            epoch: 2,
            sequence: 0xfedc_ba98,
            decode_time_ticks: 0x0001_0203_0405_0607,
            composition_offset_ticks: -3600,
            duration_ticks: 3600,
            capture_time_us: 1_790_000_000_123_456,
            payload_offset: 108,
        }
    }

    #[test]
    fn headers_match_their_golden_vectors() {
        assert_eq!(Header::init(3, 2, 1).encode(), INIT);
        assert_eq!(media().encode(), MEDIA);
        assert_eq!(Header::decode(MEDIA), Ok((media(), HEADER_LEN)));
        assert_eq!(Header::decode(INIT), Ok((Header::init(3, 2, 1), HEADER_LEN)));
    }

    #[test]
    fn a_longer_header_of_a_later_version_is_skipped_by_its_length() {
        let mut bytes = MEDIA.to_vec();
        bytes[1] = 60;
        bytes.extend([9; 16]);
        assert_eq!(Header::decode(&bytes), Ok((media(), 60)));
    }

    #[test]
    fn short_and_unknown_messages_say_what_is_wrong() {
        assert_eq!(Header::decode(&MEDIA[..43]), Err(HeaderError::Short { len: 43, need: 44 }));
        let mut bytes = MEDIA.to_vec();
        bytes[1] = 12;
        assert_eq!(Header::decode(&bytes), Err(HeaderError::Short { len: 12, need: 44 }));
        bytes[0] = 7;
        assert_eq!(Header::decode(&bytes), Err(HeaderError::UnknownKind(7)));
    }

    proptest! {
        #[test]
        fn every_header_survives_a_round_trip(
            track: u8, key_frame: bool, number: u32, epoch: u32, sequence: u32, decode_time_ticks: u64,
            composition_offset_ticks: i32, duration_ticks: u32, capture_time_us: i64, payload_offset: u32,
        ) {
            let header = Header {
                kind: Kind::Media, track, key_frame, number, epoch, sequence, decode_time_ticks,
                composition_offset_ticks, duration_ticks, capture_time_us, payload_offset,
            };
            prop_assert_eq!(Header::decode(&header.encode()), Ok((header, HEADER_LEN)));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Header::decode(&bytes);
        }
    }
}
