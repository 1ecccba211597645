//! The picture of one session: from packets to access units for the stream.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    super::Event,
    clock::Placed,
    connect::Offer,
    depacketise::{
        MAX_PICTURE_LEN, Packet,
        video::{AccessUnit, Depacketiser, Output},
    },
};
use crate::{
    hub::Fault,
    media::{
        Coding, Frame, Track,
        pictures::{Pictures, Unit},
    },
};

/// A camera whose pictures come without parameter sets is given so long to send some: where we join in the midst of a stream they
/// come with the next key frame. VLC's are 10 s apart.
const PARAMETER_SETS: Duration = Duration::from_secs(12);

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
    depacketiser: Depacketiser,
    pictures: Pictures,
    /// The camera marks parts of a picture (slices, fields) as if each were one: a picture is whole when the next one
    /// begins, and no sooner.
    in_parts: bool,
    held: Option<Held>,
    track: Option<Track>,
    /// When the first picture came for which there were no parameter sets.
    undescribed: Option<Instant>,
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
    /// Where it `begins_late`, packets that are lost in front of the first one were never on their way here.
    pub(super) fn new(offer: &Offer, begins_late: bool) -> Self {
        let coding = coding(&offer.encoding).unwrap_or(Coding::H264);
        Self {
            depacketiser: Depacketiser::new(coding, &offer.format, begins_late),
            pictures: Pictures::new(coding),
            in_parts: false,
            held: None,
            track: None,
            undescribed: None,
            told_gradual: false,
            told_unusable: false,
        }
    }

    /// Takes a packet and adds to `out` what comes of it.
    pub(super) fn packet(&mut self, packet: &Packet, out: &mut Vec<Output>) {
        self.depacketiser.push(packet, out);
    }

    /// Describes the track by the parameter sets of the moment, for a picture that came at `received`. Nothing while they are
    /// missing, or cannot be read; a fault where they are what no browser plays, or do not come at all.
    pub(super) fn describe(
        &mut self,
        received: Instant,
        out: &mut VecDeque<Event>,
    ) -> Result<Option<Track>, Fault> {
        let fault = |reason: &str| Fault {
            code: "unsupported",
            reason: format!("the camera's picture cannot be used: {reason}"),
        };
        let reason = match self.depacketiser.record().map(|record| self.pictures.configure(&record)) {
            Some(Ok(track)) => {
                if self.track.as_ref() != Some(&track) {
                    // What is held was made for other parameters.
                    self.held = None;
                    self.track = Some(track.clone());
                }
                self.undescribed = None;
                return Ok(Some(track));
            }
            Some(Err(error)) if error.is_final() => return Err(fault(&error.to_string())),
            Some(Err(error)) => {
                self.depacketiser.forget_sets();
                self.unusable(&error.to_string(), out);
                error.to_string()
            }
            None if self.track.is_some() => {
                let reason = "parameter sets that cannot be read";
                self.depacketiser.forget_sets();
                self.unusable(reason, out);
                reason.to_owned()
            }
            None => "it never sent its parameter sets".to_owned(),
        };
        if self.track.is_none() && received - *self.undescribed.get_or_insert(received) > PARAMETER_SETS {
            return Err(fault(&reason));
        }
        Ok(None)
    }

    /// Something came that is no picture: nothing that refers to it is passed on.
    pub(super) fn unusable(&mut self, why: &str, out: &mut VecDeque<Event>) {
        self.held = None;
        out.push_back(Event::Lost(0));
        if !std::mem::replace(&mut self.told_unusable, true) {
            let message = format!("pictures are left out: the camera sent {why}");
            out.push_back(Event::Warning("unusable_picture", message));
        }
    }

    /// Takes a picture that came whole, as track `index` of the stream, and adds to `out` what comes of it.
    pub(super) fn take(
        &mut self,
        index: usize,
        access_unit: AccessUnit,
        placed: Placed,
        received: Instant,
        out: &mut VecDeque<Event>,
    ) {
        let AccessUnit { data, loss, damaged, .. } = access_unit;
        if loss > 0 {
            self.held = None; // perhaps not all of it came
        }
        let unit = match self.pictures.read(data, placed.pts_ticks) {
            Ok(Some(unit)) => unit,
            Ok(None) => return,
            Err(error) => {
                self.unusable(&error.to_string(), out);
                return;
            }
        };
        if unit.continues && (loss > 0 || damaged) {
            // The rest of a picture whose beginning did not come says nothing of how the camera marks its pictures.
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
                // Firefox begins to decode anew whenever it has shown all there is, which is after each picture of a live
                // stream.
                let message = "the camera sends no key frames but refreshes its pictures little by little (intra refresh): \
                               behind a loss they stay grey for a while, and Firefox shows few or none; set its encoder \
                               to key frames";
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
