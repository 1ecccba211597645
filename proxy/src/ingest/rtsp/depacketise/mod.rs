//! RTP packets into access units: H.264 (RFC 6184), H.265 (RFC 7798), AAC (RFC 3640), and sound of which a packet is one
//! piece.
//!
//! PURE. Packets come in order, each with how many before it did not come; who sees to that is retina. What belongs here is
//! the payload: `h264` and `h265` take it apart, `video` puts pictures together, `sets` knows the parameter sets, `fmtp` reads
//! what SDP says of them, `aac` does all of this for sound.
//!
//! Invariants: a packet that makes no sense costs its own picture and nothing else; a picture that was begun or broken off is
//! never given as whole; what is held is less than [`MAX_PICTURE_LEN`] and some parameter sets, whatever comes.

pub mod aac;
pub mod fmtp;
mod h264;
mod h265;
mod sets;
pub mod video;

use bytes::Bytes;

/// The largest picture that is put together, in bytes. The stream refuses larger ones.
pub const MAX_PICTURE_LEN: usize = 8 << 20;

/// The most NAL units of one picture. One slice for each row of blocks of an 8K picture is 540.
pub const MAX_NALS: usize = 2_048;

/// One packet (RFC 3550, 5.1).
#[derive(Clone, Debug)]
pub struct Packet {
    /// What it carries.
    pub payload: Bytes,
    /// Its media time.
    pub timestamp: retina::Timestamp,
    /// Its marker bit: of pictures, that this is the last packet of one.
    pub marker: bool,
    /// So many in front of it did not come.
    pub loss: u16,
}

/// Why a picture, or a frame of sound, cannot be put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no payload.
    #[error("an RTP packet that is empty")]
    Empty,
    /// The payload ends before its own header does.
    #[error("an RTP packet of {0} bytes, which is cut short")]
    Short(usize),
    /// `forbidden_zero_bit` (ITU-T H.264, 7.4.1).
    #[error("a NAL unit whose forbidden bit is set")]
    Forbidden,
    /// The sizes in an aggregation packet lead past its end, or are 0.
    #[error("an aggregation packet (STAP-A, AP) whose sizes are wrong")]
    Aggregate,
    /// A fragment goes on with what never began.
    #[error("a fragment (FU) of a NAL unit whose beginning never came")]
    NoBeginning,
    /// Something else began before a fragmented NAL unit was over.
    #[error("a NAL unit in fragments (FU) without its end")]
    NoEnd,
    /// A form of payload that cameras do not use.
    #[error("RTP packets in a form that is not read: {0}")]
    Unsupported(&'static str),
    /// Beyond [`MAX_PICTURE_LEN`].
    #[error("a picture of more than {} MiB", MAX_PICTURE_LEN >> 20)]
    TooLarge,
    /// Beyond [`MAX_NALS`].
    #[error("a picture of more than {MAX_NALS} NAL units")]
    TooMany,
    /// The AU headers of RFC 3640 do not go with what follows them.
    #[error("AAC whose AU headers are wrong")]
    AuHeaders,
}
