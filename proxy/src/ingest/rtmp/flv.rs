//! PURE: FLV's audio and video tags, as RTMP's messages 8 and 9 carry them (Adobe's FLV specification 10.1 E.4; Enhanced
//! RTMP v2), into tracks and frames.

use bytes::Bytes;

use crate::media::{Frame, Track};

/// What a tag gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The tracks, before their first frame and whenever they change.
    Tracks(Vec<Track>),
    /// The next frame in decoding order.
    Frame(Frame),
    /// Something of the encoder's that is not played, in a sentence for its operator: said once for each.
    Warning(&'static str, String),
}

/// Why a tag cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {}

/// Which message a tag came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Message type 8.
    Audio,
    /// Message type 9.
    Video,
}

/// One publisher's tags.
#[derive(Debug, Default)]
pub struct Demuxer {}

impl Demuxer {
    /// Takes the next tag: sent with RTMP's time `timestamp_ms`, arrived at `received_unix_us` (microseconds since 1970).
    pub fn tag(
        &mut self,
        _kind: Kind,
        _timestamp_ms: u32,
        _received_unix_us: i64,
        _payload: Bytes,
        _out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        Ok(())
    }
}
