//! The picture of one session: from what retina gathers to access units for the stream.

use retina::codec::{VideoFrame, VideoParameters};

use super::connect::Offer;
use crate::{
    hub::Fault,
    media::{Track, h264},
};

/// Whether the picture of this name in SDP is played.
pub(super) fn is_played(encoding: &str) -> bool {
    encoding == "h264"
}

/// One access unit, fit for a decoder.
#[derive(Debug)]
pub(super) struct Picture {
    /// Decode time in the clock of the presentation time it was given, where it is known.
    pub(super) dts_ticks: Option<i64>,
    /// Decoding can begin here.
    pub(super) key_frame: bool,
    pub(super) data: bytes::Bytes,
}

/// The video track of one session.
#[derive(Debug)]
pub(super) struct Video;

impl Video {
    pub(super) fn new(_offer: &Offer) -> Self {
        Self
    }

    /// Describes the track by the parameter sets of the moment.
    pub(super) fn track(&mut self, parameters: Option<&VideoParameters>) -> Result<Track, Fault> {
        let unusable = |reason: String| Fault {
            code: "unsupported",
            reason: format!("the camera's picture cannot be used: {reason}"),
        };
        let parameters = parameters.ok_or_else(|| unusable("it never sent its parameter sets".into()))?;
        h264::track(parameters.extra_data()).map_err(|e| unusable(e.to_string()))
    }

    /// Takes an access unit that is to be shown at `pts_ticks`.
    pub(super) fn picture(&mut self, frame: VideoFrame, _pts_ticks: i64) -> Picture {
        let key_frame = frame.is_random_access_point();
        Picture { dts_ticks: None, key_frame, data: frame.into_data().into() }
    }
}
