//! One coded frame on its way from a camera.

use bytes::Bytes;

/// An access unit of video or audio, ready for a decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Index into the session's tracks.
    pub track: usize,
    /// Presentation time in the track's timescale, from a zero that all tracks of the session share.
    pub pts_ticks: i64,
    /// Decode time on the same scale, where the protocol says it (RTMP does, RTP does not).
    pub dts_ticks: Option<i64>,
    /// How long it lasts in the track's timescale, where the bitstream says so (AAC does, video does not).
    pub duration_ticks: Option<u32>,
    /// When the frame was captured, in microseconds since 1970 by this machine's clock.
    pub capture_time_us: i64,
    /// Decoding can begin here. Always true for audio.
    pub key_frame: bool,
    /// Decoder-ready bytes: length-prefixed NAL units (4 bytes each) for H.264 and H.265, a temporal unit of low-overhead
    /// OBUs for AV1, one raw access unit or packet for sound.
    pub data: Bytes,
}
