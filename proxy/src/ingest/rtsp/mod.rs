//! A session of an RTSP camera, by way of retina.
//!
//! `connect` makes it, `bounded` waits for its packets, `depacketise` puts together what is in them, `video` and `audio` make
//! frames of that, `clock` says when they are to be shown.
//! retina asks, and sees to the order of packets and to reports. It has no time-outs of its own; the loop in `ingest` wraps every step.

mod alignment;
mod audio;
mod bounded;
mod bridge;
mod capture;
mod clock;
mod connect;
pub mod depacketise;
mod describe;
mod error;
pub mod exchange;
mod video;

use std::{collections::VecDeque, time::Instant};

use retina::{
    client::{PacketItem, Playing},
    rtp::ReceivedPacket,
};

pub(in crate::ingest) use self::connect::Known;
pub use self::connect::Offer;
use self::{
    alignment::{Alignment, Side},
    audio::Audio,
    bounded::Wait,
    clock::{Arrival, Begins, TrackClock},
    connect::{Carriage, Played},
    depacketise::{
        Packet,
        video::{AccessUnit, Output},
    },
    video::Video,
};
use super::{Event, camera::Target};
use crate::{
    config::Source,
    hub::Fault,
    media::{Frame, Track, sound::Unit, time},
};

/// One session, from PLAY on.
pub(super) struct Session {
    playing: retina::client::Session<Playing>,
    wait: Wait,
    /// For each of the camera's streams that was set up, its track.
    tracks: Vec<Option<SessionTrack>>,
    alignment: Alignment,
    announced: bool,
    waiting: VecDeque<Event>,
    /// What came of a packet; empty in between.
    outputs: Vec<Output>,
    played: Instant,
    /// What came while it was being connected.
    first: Option<PacketItem>,
    carriage: Carriage,
    server: Option<String>,
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
    Video(Box<Video>),
    Audio(Box<Audio>),
}

impl Session {
    /// Connects and asks the camera to play. Tells what it offers, too.
    pub(super) async fn connect(target: &mut Target) -> Result<(Self, Vec<Offer>), Fault> {
        let Played { session, offers, carriage, at, first, server } =
            bounded::connecting(connect::play(target)).await?;
        let track = |offer: &Offer| SessionTrack {
            index: 0,
            clock: TrackClock::new(offer.clock_rate_hz),
            kind: match offer.media.as_str() {
                // In a connection nothing is lost but what the camera sent while it answered PLAY.
                "video" => Kind::Video(Box::new(Video::new(offer, carriage == Carriage::Tcp))),
                _ => Kind::Audio(Box::new(Audio::new(offer))),
            },
        };
        let unplayed = audio::unplayed(&offers).map(|text| Event::Warning("unsupported_audio", text));
        let session = Self {
            playing: session,
            wait: Wait::new("closed"),
            tracks: offers.iter().map(|offer| offer.played.then(|| track(offer))).collect(),
            alignment: Alignment::default(),
            announced: false,
            waiting: unplayed.into_iter().collect(),
            outputs: Vec::new(),
            played: at,
            first,
            carriage,
            server,
            source: target.source.clone(),
        };
        Ok((session, offers))
    }

    /// What comes next. Waits for as long as the camera is silent.
    pub(super) async fn next(&mut self) -> Result<Event, Fault> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            let next = match self.first.take() {
                Some(item) => Some(Ok(item)),
                None => self.wait.next(&mut self.playing).await?,
            };
            let item = match next {
                Some(Ok(item)) => item,
                Some(Err(error)) => return Err(error::ended(&error, &self.source)),
                None => return Err(error::closed()),
            };
            match item {
                PacketItem::Rtp(packet) => self.packet(packet)?,
                PacketItem::Rtcp(compound) => self.report(&compound),
                _ => {}
            }
        }
    }

    /// How its packets come: `tcp`, `tls` or `udp`.
    pub(super) fn transport(&self) -> &'static str {
        match self.carriage {
            Carriage::Udp => "udp",
            Carriage::Tcp if self.source.uses_tls() => "tls",
            Carriage::Tcp => "tcp",
        }
    }

    /// What the camera's server calls itself, where it says.
    pub(super) fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// What the sender reports of the video say of the camera's clock, for people.
    pub(super) fn clock_report(&self) -> String {
        let video = self.tracks.iter().flatten().find(|track| matches!(track.kind, Kind::Video(_)));
        video.map_or_else(|| "none".to_owned(), |track| track.clock.to_string())
    }

    fn packet(&mut self, received: ReceivedPacket) -> Result<(), Fault> {
        let (stream, arrived) = (received.stream_id(), received.ctx().received());
        let Some(track) = self.tracks.get_mut(stream).and_then(Option::as_mut) else { return Ok(()) };
        let packet = Packet {
            timestamp: received.timestamp(),
            marker: received.mark(),
            loss: received.loss(),
            payload: received.into_payload_bytes(),
        };
        match &mut track.kind {
            Kind::Audio(_) => self.audio(stream, &packet, arrived),
            Kind::Video(video) => {
                let mut outputs = std::mem::take(&mut self.outputs);
                video.packet(&packet, &mut outputs);
                for output in outputs.drain(..) {
                    self.picture(stream, output, arrived)?;
                }
                self.outputs = outputs;
            }
        }
        Ok(())
    }

    /// What became of a picture, the last packet of which arrived at `received`.
    fn picture(&mut self, stream: usize, output: Output, received: Instant) -> Result<(), Fault> {
        let access_unit = match output {
            Output::Unit(access_unit) => access_unit,
            Output::Broken(error) => {
                if let Some(video) = video_of(&mut self.tracks) {
                    video.unusable(&error.to_string(), &mut self.waiting);
                }
                return Ok(());
            }
        };
        if access_unit.loss > 0 {
            self.waiting.push_back(Event::Lost(access_unit.loss));
        }
        if !self.announced || access_unit.new_sets {
            let Some(tracks) = self.describe_tracks(received)? else {
                self.waiting.push_back(Event::Undescribed);
                return Ok(());
            };
            self.waiting.push_back(Event::Tracks(tracks));
            self.announced = true;
        }
        self.place(stream, access_unit, received);
        Ok(())
    }

    fn place(&mut self, stream: usize, access_unit: AccessUnit, received: Instant) {
        let played = self.played;
        let Some(track) = self.tracks.get_mut(stream).and_then(Option::as_mut) else { return };
        let Kind::Video(video) = &mut track.kind else { return };
        let placed = track.clock.place(access_unit.timestamp, 0, arrival(received, played));
        let capture_time_us = placed.capture_time_us;
        let pts_us = time::ticks_to_us(placed.pts_ticks, track.clock.timescale());
        if let Some(begins) = placed.begins {
            tracing::debug!(camera = %self.source, stream, ?begins, delay_us = placed.delay_us, "a track's times begin");
            self.alignment.begin(Side::Video, begins);
            self.waiting.extend((begins == Begins::Jumped).then_some(Event::Jumped));
        }
        let moved = self.alignment.arrived(Side::Video, placed.delay_us, since(received, played));
        video.take(track.index, access_unit, placed, received, &mut self.waiting);
        self.sound_for(pts_us, capture_time_us, received, moved);
    }

    /// Lets the sound know of a picture, so that it never keeps that waiting.
    fn sound_for(&mut self, pts_us: i64, capture_time_us: i64, received: Instant, moved: bool) {
        for track in self.tracks.iter_mut().flatten() {
            let Kind::Audio(audio) = &mut track.kind else { continue };
            if moved {
                audio.resync();
            }
            let units = audio.picture(pts_us);
            self.waiting.extend(
                units.into_iter().map(|unit| unit_event(unit, track.index, capture_time_us, received)),
            );
        }
    }

    fn audio(&mut self, stream: usize, packet: &Packet, received: Instant) {
        // Sound waits for the picture: its track is announced together with that of the video.
        if !self.announced {
            return;
        }
        let played = self.played;
        let Some(track) = self.tracks.get_mut(stream).and_then(Option::as_mut) else { return };
        let Kind::Audio(audio) = &mut track.kind else { return };
        let (pieces, unusable) = audio.read(packet);
        self.waiting.extend(unusable.map(|text| Event::Warning("unusable_sound", text)));
        for piece in pieces {
            let placed = track.clock.place(piece.timestamp, piece.length_ticks, arrival(received, played));
            if let Some(begins) = placed.begins {
                tracing::debug!(camera = %self.source, stream, ?begins, delay_us = placed.delay_us, "a track's times begin");
                self.alignment.begin(Side::Audio, begins);
            }
            let moved = self.alignment.arrived(Side::Audio, placed.delay_us, since(received, played));
            if moved || placed.begins.is_some() {
                audio.resync();
            }
            let shift_ticks = time::us_to_ticks(self.alignment.shift_us(), track.clock.timescale());
            let units = audio.piece(&piece, placed.pts_ticks.saturating_add(shift_ticks));
            let (index, capture_time_us) = (track.index, placed.capture_time_us);
            self.waiting
                .extend(units.into_iter().map(|unit| unit_event(unit, index, capture_time_us, received)));
        }
    }

    fn report(&mut self, compound: &retina::rtcp::ReceivedCompoundPacket) {
        let Some(timestamp) = compound.rtp_timestamp() else { return };
        let report = compound.pkts().next().and_then(|packet| packet.as_sender_report().ok().flatten());
        let track = self.tracks.get_mut(compound.stream_id()).and_then(Option::as_mut);
        let (Some(report), Some(track)) = (report, track) else { return };
        // RFC 3550, 6.4.1: a sender that has no wall clock says 0. It ties nothing to anything.
        if report.ntp_timestamp().0 == 0 {
            return;
        }
        let Some(zero_us) = track.clock.report(timestamp, report.ntp_timestamp().0) else { return };
        let side = match track.kind {
            Kind::Video(_) => Side::Video,
            Kind::Audio(_) => Side::Audio,
        };
        if self.alignment.report(side, zero_us) {
            tracing::debug!(camera = %self.source, shift_us = self.alignment.shift_us(), "sound aligned by sender reports");
            for track in self.tracks.iter_mut().flatten() {
                if let Kind::Audio(audio) = &mut track.kind {
                    audio.resync();
                }
            }
        }
    }

    /// The tracks by the parameter sets of the moment, for a picture that came at `received`; nothing while those of the
    /// picture are missing.
    fn describe_tracks(&mut self, received: Instant) -> Result<Option<Vec<Track>>, Fault> {
        let Some(video) = video_of(&mut self.tracks) else { return Ok(None) };
        let Some(picture) = video.describe(received, &mut self.waiting)? else { return Ok(None) };
        let mut tracks = Vec::new();
        for slot in &mut self.tracks {
            let Some(session_track) = slot else { continue };
            let track = match &mut session_track.kind {
                Kind::Video(_) => Ok(picture.clone()),
                Kind::Audio(audio) => audio.track(),
            };
            match track {
                Ok(track) => {
                    session_track.index = tracks.len();
                    tracks.push(track);
                }
                Err(error) => {
                    let text = format!(
                        "the camera's sound cannot be used, and the picture goes on without it: {error}"
                    );
                    self.waiting.push_back(Event::Warning("bad_audio_config", text));
                    *slot = None;
                }
            }
        }
        Ok(Some(tracks))
    }
}

fn video_of(tracks: &mut [Option<SessionTrack>]) -> Option<&mut Video> {
    tracks.iter_mut().flatten().find_map(|track| match &mut track.kind {
        Kind::Video(video) => Some(&mut **video),
        Kind::Audio(_) => None,
    })
}

/// When a frame arrived that was received at `received`.
fn arrival(received: Instant, played: Instant) -> Arrival {
    // This machine's clock as it is now: it may have been set since PLAY.
    let age_us = i64::try_from(received.elapsed().as_micros()).unwrap_or(0);
    Arrival { since_play_us: since(received, played), unix_us: crate::hub::unix_time_us() - age_us }
}

fn since(received: Instant, played: Instant) -> i64 {
    i64::try_from(received.saturating_duration_since(played).as_micros()).unwrap_or(i64::MAX)
}

fn unit_event(unit: Unit, track: usize, capture_time_us: i64, received: Instant) -> Event {
    let frame = Frame {
        track,
        pts_ticks: unit.pts_ticks,
        dts_ticks: None,
        duration_ticks: Some(unit.duration_ticks),
        capture_time_us,
        key_frame: true,
        data: unit.data,
    };
    Event::Frame(frame, received)
}
