//! The picture of one session: from what retina gathers to access units for the stream.

use retina::codec::{VideoFrame, VideoParameters};

use super::connect::Offer;
use crate::{
    hub::Fault,
    media::{Coding, Track, h264, h265, nal},
};

/// How the picture of this name in SDP is coded, if it is played.
pub(super) fn coding(encoding: &str) -> Option<Coding> {
    match encoding {
        "h264" => Some(Coding::H264),
        "h265" => Some(Coding::H265),
        _ => None,
    }
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
pub(super) struct Video {
    coding: Coding,
}

impl Video {
    pub(super) fn new(offer: &Offer) -> Self {
        Self { coding: coding(&offer.encoding).unwrap_or(Coding::H264) }
    }

    /// Describes the track by the parameter sets of the moment.
    pub(super) fn track(&mut self, parameters: Option<&VideoParameters>) -> Result<Track, Fault> {
        let unusable = |reason: String| Fault {
            code: "unsupported",
            reason: format!("the camera's picture cannot be used: {reason}"),
        };
        let parameters = parameters.ok_or_else(|| unusable("it never sent its parameter sets".into()))?;
        match self.coding {
            Coding::H265 => h265::track(parameters.extra_data()).map_err(|e| unusable(e.to_string())),
            _ => h264::track(parameters.extra_data()).map_err(|e| unusable(e.to_string())),
        }
    }

    /// Takes an access unit that is to be shown at `pts_ticks`; nothing where it holds no picture.
    pub(super) fn picture(&mut self, frame: VideoFrame, _pts_ticks: i64) -> Option<Picture> {
        let unit = nal::access_unit(frame.into_data().into(), 4, self.coding).ok()?;
        unit.has_picture.then_some(Picture {
            dts_ticks: None,
            key_frame: unit.is_random_access,
            data: unit.data,
        })
    }
}
