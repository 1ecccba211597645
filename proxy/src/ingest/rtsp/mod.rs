//! A session of an RTSP camera, by way of retina.
//!
//! [`connect`] makes it, [`bounded`] waits for it, [`video`] and [`audio`] make frames of what comes, [`clock`] says when they are to be shown.
//! retina has no time-outs of its own; the loop in `ingest` wraps every step.

mod audio;
mod bounded;
mod capture;
mod clock;
mod connect;
mod error;
mod video;

use std::{collections::VecDeque, time::Instant};

use retina::{
    client::Demuxed,
    codec::{AudioFrame, CodecItem, ParametersRef, VideoFrame},
};

pub use self::connect::Offer;
use self::{
    audio::Audio,
    bounded::Wait,
    clock::{Placed, TrackClock},
    video::Video,
};
use super::Event;
use crate::{
    config::Source,
    hub::Fault,
    media::{Frame, Track},
};

/// One session, from PLAY on.
pub(super) struct Session {
    demuxed: Demuxed,
    wait: Wait,
    /// For each of the camera's streams that was set up, its track.
    tracks: Vec<Option<SessionTrack>>,
    announced: bool,
    waiting: VecDeque<Event>,
    played: Instant,
    /// The camera's address as it may be shown.
    source: Source,
}

#[derive(Debug)]
struct SessionTrack {
    /// Its number among the stream's tracks.
    index: usize,
    clock: TrackClock,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Video(Video),
    Audio(Audio),
}

impl Session {
    /// Connects and asks the camera to play. Tells what it offers, too.
    pub(super) async fn connect(source: &Source) -> Result<(Self, Vec<Offer>), Fault> {
        let (demuxed, offers) = bounded::connecting(connect::play(source)).await?;
        let track = |offer: &Offer| SessionTrack {
            index: 0,
            clock: TrackClock::new(offer.clock_rate_hz),
            kind: match offer.media.as_str() {
                "video" => Kind::Video(Video::new(offer)),
                _ => Kind::Audio(Audio::new(offer)),
            },
        };
        let session = Self {
            demuxed,
            wait: Wait::new("closed"),
            tracks: offers.iter().map(|offer| offer.played.then(|| track(offer))).collect(),
            announced: false,
            waiting: VecDeque::new(),
            played: Instant::now(),
            source: source.clone(),
        };
        Ok((session, offers))
    }

    /// What comes next. Waits for as long as the camera is silent.
    pub(super) async fn next(&mut self) -> Result<Event, Fault> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            let item = match self.wait.next(&mut self.demuxed).await? {
                Some(Ok(item)) => item,
                Some(Err(error)) => return Err(error::ended(&error, &self.source)),
                None => return Err(Fault { code: "closed", reason: "the camera ended the session".into() }),
            };
            match item {
                CodecItem::VideoFrame(frame) => {
                    self.wait.over();
                    self.video(frame)?;
                }
                CodecItem::AudioFrame(frame) => self.audio(&frame),
                CodecItem::Rtcp(compound) => self.report(&compound),
                _ => {}
            }
        }
    }

    /// What the sender reports of the video say of the camera's clock, for people.
    pub(super) fn clock_report(&self) -> String {
        let video = self.tracks.iter().flatten().find(|track| matches!(track.kind, Kind::Video(_)));
        video.map_or_else(|| "none".to_owned(), |track| track.clock.to_string())
    }

    fn video(&mut self, frame: VideoFrame) -> Result<(), Fault> {
        if frame.loss() > 0 {
            self.waiting.push_back(Event::Lost(frame.loss()));
        }
        if !self.announced || frame.has_new_parameters() {
            let tracks = self.describe_tracks()?;
            self.waiting.push_back(Event::Tracks(tracks));
            self.announced = true;
        }
        let played = self.played;
        let Some(track) = self.tracks.get_mut(frame.stream_id()).and_then(Option::as_mut) else {
            return Ok(());
        };
        let Kind::Video(video) = &mut track.kind else { return Ok(()) };
        let received = frame.end_ctx().received();
        let placed = place(&mut track.clock, frame.timestamp(), received, played);
        let Some(picture) = video.picture(frame, placed.pts_ticks) else { return Ok(()) };
        let frame = Frame {
            track: track.index,
            pts_ticks: placed.pts_ticks,
            dts_ticks: picture.dts_ticks,
            duration_ticks: None,
            capture_time_us: placed.capture_time_us,
            key_frame: picture.key_frame,
            data: picture.data,
        };
        self.waiting.push_back(Event::Frame(frame, received));
        Ok(())
    }

    fn audio(&mut self, frame: &AudioFrame) {
        // Sound waits for the picture: its track is announced together with that of the video.
        if !self.announced {
            return;
        }
        let Some(track) = self.tracks.get_mut(frame.stream_id()).and_then(Option::as_mut) else { return };
        let Kind::Audio(audio) = &mut track.kind else { return };
        let received = frame.ctx().received();
        let placed = place(&mut track.clock, frame.timestamp(), received, self.played);
        for sound in audio.sounds(frame, placed.pts_ticks) {
            let frame = Frame {
                track: track.index,
                pts_ticks: sound.pts_ticks,
                dts_ticks: None,
                duration_ticks: Some(sound.duration_ticks),
                capture_time_us: placed.capture_time_us,
                key_frame: true,
                data: sound.data,
            };
            self.waiting.push_back(Event::Frame(frame, received));
        }
    }

    fn report(&mut self, compound: &retina::rtcp::ReceivedCompoundPacket) {
        let Some(timestamp) = compound.rtp_timestamp() else { return };
        let report = compound.pkts().next().and_then(|packet| packet.as_sender_report().ok().flatten());
        let track = self.tracks.get_mut(compound.stream_id()).and_then(Option::as_mut);
        if let (Some(report), Some(track)) = (report, track) {
            track.clock.report(timestamp.timestamp(), report.ntp_timestamp().0);
        }
    }

    fn describe_tracks(&mut self) -> Result<Vec<Track>, Fault> {
        let mut described = Vec::new();
        for (slot, stream) in self.tracks.iter_mut().zip(self.demuxed.streams()) {
            let Some(session_track) = slot else { continue };
            let parameters = stream.parameters();
            let track = match &mut session_track.kind {
                Kind::Video(video) => {
                    let parameters = match parameters {
                        Some(ParametersRef::Video(parameters)) => Some(parameters),
                        _ => None,
                    };
                    Some(video.track(parameters)?)
                }
                Kind::Audio(audio) => {
                    let parameters = match parameters {
                        Some(ParametersRef::Audio(parameters)) => Some(parameters),
                        _ => None,
                    };
                    audio.track(parameters).map_err(|error| {
                        tracing::warn!(%error, "the camera's sound cannot be used; the picture goes on without it");
                    }).ok()
                }
            };
            match track {
                Some(track) => {
                    session_track.index = described.len();
                    described.push(track);
                }
                None => *slot = None,
            }
        }
        Ok(described)
    }
}

/// Places a frame of this media time, which arrived when `received` says.
fn place(clock: &mut TrackClock, timestamp: retina::Timestamp, received: Instant, played: Instant) -> Placed {
    let since_play = received.saturating_duration_since(played);
    let since_play_us = i64::try_from(since_play.as_micros()).unwrap_or(i64::MAX);
    // This machine's clock as it is now: it may have been set since PLAY.
    let age_us = i64::try_from(received.elapsed().as_micros()).unwrap_or(0);
    let received_unix_us = crate::hub::unix_time_us() - age_us;
    clock.place(timestamp, since_play_us, received_unix_us)
}
