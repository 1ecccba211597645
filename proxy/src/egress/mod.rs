//! Ways out: what viewers and other machines get from the hub.
//!
//! What belongs here: one module a protocol. Nothing here knows where a stream comes from.

mod climb;
pub mod crowd;
mod ladder;
mod rate;
mod session;
mod silence;
mod socket;
pub mod tcp;
mod told;
pub mod ws;
