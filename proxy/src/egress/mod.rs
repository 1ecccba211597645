//! Ways out: what viewers and other machines get from the hub.
//!
//! What belongs here: one module a protocol. Nothing here knows where a stream comes from.

pub mod crowd;
mod session;
mod socket;
pub mod ws;
