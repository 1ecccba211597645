//! What a camera's media is: times, frames, tracks, and the bitstreams' own descriptions of themselves.
//!
//! PURE: no I/O and no clock. Nothing here knows a transport or a container. Bytes given to this module come from
//! peers: every parser is bounded and answers bad input with an error that says what is wrong.

pub mod aac;
pub mod av1;
pub(crate) mod bits;
pub mod decode_order;
pub mod flac;
pub mod flac_encoder;
pub mod frame;
mod g711;
mod g722;
mod g726;
pub mod h264;
pub mod h265;
pub mod nal;
pub mod opus;
pub mod pcm;
pub mod pictures;
pub mod sample_clock;
pub mod sound;
pub mod time;
pub mod track;

/// The largest picture that is accepted, in pixels a side.
pub(crate) const MAX_SIDE: u32 = 8192;

pub use frame::Frame;
pub use sample_clock::SampleClock;
pub use track::{Coding, Media, Track};
