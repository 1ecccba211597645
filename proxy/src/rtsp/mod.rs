//! An RTSP 1.0 server (RFC 2326): offers live presentations over RTP interleaved in TCP.
//!
//! Here: the protocol core ([`session`], PURE), RTP and RTCP packing ([`packetise`], PURE), the description
//! ([`sdp`], PURE), the mouth of a byte stream ([`inbox`], PURE) and the socket shell ([`server`]).
//! Not here: where the access units come from. Whoever offers them implements [`Source`].
//!
//! Invariant: whatever a client sends or fails to read costs that client its own connection and nothing else;
//! memory per connection is bounded by [`inbox::MAX_MESSAGE_BYTES`] and [`server::Limits`].

pub mod inbox;
pub mod packetise;
pub mod sdp;
pub mod server;
pub mod session;

pub use server::{Limits, Server, Source};

use std::sync::Arc;

use bytes::Bytes;

/// What a track carries, with all that SDP must say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Codec {
    /// H.264 by RFC 6184, packetisation mode 1. Times are in 90 kHz ticks; access units are Annex B.
    H264 {
        /// Sequence parameter set, without start code.
        sps: Bytes,
        /// Picture parameter set, without start code.
        pps: Bytes,
    },
    /// AAC by RFC 3640 (`mpeg4-generic`, mode AAC-hbr). Access units are raw frames, without ADTS header.
    Aac {
        /// `AudioSpecificConfig` (ISO 14496-3, 1.6.2.1).
        config: Bytes,
        /// Samples a second; also the tick rate of the track's times.
        sample_rate_hz: u32,
        /// Number of channels.
        channels: u8,
    },
}

/// One track of a presentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// What it carries.
    pub codec: Codec,
}

impl Track {
    /// Ticks a second of this track's times and of its RTP timestamps.
    pub fn clock_rate_hz(&self) -> u32 {
        match self.codec {
            Codec::H264 { .. } => 90_000,
            Codec::Aac { sample_rate_hz, .. } => sample_rate_hz,
        }
    }
}

/// One access unit on its way to the clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// Index into the presentation's tracks.
    pub track: usize,
    /// Presentation time in ticks of [`Track::clock_rate_hz`], never wrapping. Units are sent in the order they come.
    pub pts_ticks: i64,
    /// Whether decoding can begin here. True for every unit of sound.
    pub key_frame: bool,
    /// The unit's bytes in the form [`Codec`] names.
    pub data: Bytes,
}

/// What a path offers at this moment.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The presentation's tracks; a track's index is its control URL: `track0`, `track1`…
    pub tracks: Arc<[Track]>,
    /// The wall clock, in microseconds since 1970, at which each track's time was 0 ticks.
    pub epoch_unix_us: i64,
}

/// Microseconds expressed in ticks of a clock, rounded down.
pub(crate) fn us_to_ticks(us: i64, clock_rate_hz: u32) -> i64 {
    (i128::from(us) * i128::from(clock_rate_hz)).div_euclid(1_000_000) as i64
}
