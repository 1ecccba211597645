//! What a camera's media is: times, frames, tracks, and the bitstreams' own descriptions of themselves.
//!
//! PURE: no I/O and no clock. Nothing here knows a transport or a container. Bytes given to this module come from
//! peers: every parser is bounded and answers bad input with an error that says what is wrong.

pub mod aac;
mod bits;
pub mod frame;
pub mod h264;
pub mod nal;
pub mod sample_clock;
pub mod time;
pub mod track;

pub use frame::Frame;
pub use sample_clock::SampleClock;
pub use track::{Coding, Media, Track};
