//! The picture of one session: from what retina gathers to access units for the stream.

use std::{collections::VecDeque, time::Instant};

use retina::codec::{VideoFrame, VideoParameters};

use super::{super::Event, clock::Placed, connect::Offer};
use crate::{
    hub::Fault,
    media::{
        Coding, Frame, Track,
        pictures::{Pictures, Unit},
    },
};

/// The largest picture that is put together of parts, in bytes. The stream refuses larger ones that come whole.
const MAX_PICTURE_LEN: usize = 8 << 20;

/// How the picture of this name in SDP is coded, if it is played.
pub(super) fn coding(encoding: &str) -> Option<Coding> {
    match encoding {
        "h264" => Some(Coding::H264),
        "h265" => Some(Coding::H265),
        _ => None,
    }
}

/// The video track of one session.
#[derive(Debug)]
pub(super) struct Video {
    pictures: Pictures,
    /// The camera marks parts of a picture (slices, fields) as if each were one: a picture is whole when the next one
    /// begins, and no sooner.
    in_parts: bool,
    held: Option<Held>,
    track: Option<Track>,
    told_gradual: bool,
    /// That pictures refer to what never came was told.
    told_unusable: bool,
}

/// A picture of which more may come.
#[derive(Debug)]
struct Held {
    unit: Unit,
    /// Its beginning may be missing: nothing begins here.
    damaged: bool,
    placed: Placed,
    received: Instant,
}

impl Video {
    pub(super) fn new(offer: &Offer) -> Self {
        Self {
            pictures: Pictures::new(coding(&offer.encoding).unwrap_or(Coding::H264)),
            in_parts: false,
            held: None,
            track: None,
            told_gradual: false,
            told_unusable: false,
        }
    }

    /// Describes the track by the parameter sets of the moment.
    pub(super) fn track(&mut self, parameters: Option<&VideoParameters>) -> Result<Track, Fault> {
        let unusable = |reason: String| Fault {
            code: "unsupported",
            reason: format!("the camera's picture cannot be used: {reason}"),
        };
        let parameters = parameters.ok_or_else(|| unusable("it never sent its parameter sets".into()))?;
        let track = self.pictures.configure(parameters.extra_data()).map_err(unusable)?;
        if self.track.as_ref() != Some(&track) {
            // What is held was made for other parameters.
            self.held = None;
            self.track = Some(track.clone());
        }
        Ok(track)
    }

    /// Takes what retina gathered, as track `index` of the stream, and adds to `out` what comes of it. Where it is
    /// `damaged` its beginning may be missing.
    pub(super) fn take(
        &mut self,
        index: usize,
        frame: VideoFrame,
        damaged: bool,
        placed: Placed,
        received: Instant,
        out: &mut VecDeque<Event>,
    ) {
        let lossy = frame.loss() > 0;
        if lossy {
            self.held = None; // perhaps not all of it came
        }
        let unit = match self.pictures.read(frame.into_data().into(), placed.pts_ticks) {
            Ok(Some(unit)) => unit,
            Ok(None) => return,
            Err(error) => {
                // Nothing that refers to it may be passed on.
                self.held = None;
                out.push_back(Event::Lost(0));
                if !std::mem::replace(&mut self.told_unusable, true) {
                    let message = format!("pictures are left out: the camera sent {error}");
                    out.push_back(Event::Warning("unusable_picture", message));
                }
                return;
            }
        };
        if unit.continues && lossy {
            // The rest of a picture whose beginning was lost says nothing of how the camera marks its pictures.
            out.push_back(Event::Lost(0));
            return;
        }
        if unit.continues {
            self.part(&unit, out);
            return;
        }
        let next = Held { unit, damaged, placed, received };
        let whole = if self.in_parts { self.held.replace(next) } else { Some(next) };
        if let Some(Held { unit, damaged, placed, received }) = whole {
            let picture = self.pictures.place(unit, placed.pts_ticks);
            if picture.gradual && !std::mem::replace(&mut self.told_gradual, true) {
                // It begins to decode anew whenever it has shown all there is, which is after each picture of a live
                // stream, and shows nothing until the recovery point's count is over.
                let message = "the camera sends no key frames but refreshes its pictures little by little (intra refresh): \
                               viewers wait until a picture is whole, and Firefox shows none; set its encoder to key \
                               frames";
                out.push_back(Event::Warning("intra_refresh", message.to_owned()));
            }
            let frame = Frame {
                track: index,
                pts_ticks: placed.pts_ticks,
                dts_ticks: picture.dts_ticks,
                duration_ticks: None,
                capture_time_us: placed.capture_time_us,
                key_frame: picture.key_frame && !damaged,
                data: picture.data,
            };
            out.push_back(Event::Frame(frame, received));
        }
    }

    /// Takes another part of the last picture.
    fn part(&mut self, part: &Unit, out: &mut VecDeque<Event>) {
        if let Some(held) = &mut self.held
            && held.unit.data.len() + part.data.len() <= MAX_PICTURE_LEN
        {
            held.unit.append(part);
            return;
        }
        // It was passed on before it was whole, or it is too large, or its beginning was lost.
        self.held = None;
        out.push_back(Event::Lost(0));
        if !std::mem::replace(&mut self.in_parts, true) {
            let message = "the camera sends each picture in parts and marks each as whole: its pictures come one frame \
                           later, when the next one begins; set its encoder to one slice a picture";
            out.push_back(Event::Warning("picture_in_parts", message.to_owned()));
        }
    }
}
