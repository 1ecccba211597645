//! RTMP (Adobe's specification 1.0, and Enhanced RTMP v2): encoders that push to us, and servers we pull from.
//!
//! `chunk`, `amf`, `session`, `play` and `flv` are PURE: bytes in, messages and frames out. `server` and `client` own the
//! sockets. `rml_rtmp` makes the handshake and what we send; it never reads what a peer sends after that, for its reader
//! panics on legal RTMP (interleaved chunk streams) and its AMF0 reader recurses without bound.

pub mod amf;
pub mod chunk;
pub(crate) mod client;
pub mod flv;
pub mod link;
pub mod play;
#[cfg(test)]
mod play_tests;
pub mod server;
pub mod session;
#[cfg(test)]
mod session_tests;
mod socket;
mod tags;
