//! A session of an RTSP camera, by way of retina: RTP over TCP interleaved, H.264 and AAC.
//!
//! retina has no time-outs of its own; the loop in `ingest` wraps every step.

use std::{collections::VecDeque, time::Instant};

use super::{Event, capture::CaptureClock, dial};
use crate::{
    config::Source,
    hub::Fault,
    media::{Frame, SampleClock, Track, aac, h264, time},
};
use futures_util::StreamExt as _;
use retina::{
    client::{
        Credentials, Demuxed, InitialTimestampPolicy, PlayOptions, SessionOptions, SetupOptions, Transport,
        UnknownRtcpSsrcPolicy,
    },
    codec::{CodecItem, FrameFormat, ParametersRef, VideoFrame},
};

/// Where RTSP listens (RFC 2326, 9.1).
const DEFAULT_PORT: u16 = 554;

/// How far the first frame's media time and its arrival may lie apart, counted from PLAY, before the camera's
/// `RTP-Info` is taken to be wrong, in microseconds.
const RTP_INFO_SLACK_US: i64 = 300_000;

/// One session, from PLAY on.
pub(super) struct Session {
    demuxed: Demuxed,
    /// For each of the camera's streams that was set up, its track.
    tracks: Vec<Option<SessionTrack>>,
    announced: bool,
    waiting: VecDeque<Event>,
    played: Instant,
    /// The camera's address as it may be shown.
    source: Source,
}

#[derive(Clone, Copy, Debug)]
struct SessionTrack {
    index: usize,
    timescale: u32,
    video: bool,
    capture: CaptureClock,
    /// Added to media times to get times from PLAY on; known from the first frame on.
    offset_ticks: Option<i64>,
    /// Cameras stamp sound with the time at which they read it: a millisecond or three off.
    sample_clock: SampleClock,
}

/// What a camera offers, from its answer to DESCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// `video`, `audio`, `application`.
    pub media: String,
    /// The codec's name in SDP, in lower case.
    pub encoding: String,
    /// Ticks a second.
    pub clock_rate_hz: u32,
    /// Whether this version plays it.
    pub played: bool,
}

/// Asks a camera what it offers and sets up the tracks this version plays.
async fn describe(
    source: &Source,
) -> Result<(retina::client::Session<retina::client::Described>, Vec<Offer>), Fault> {
    // retina looks the name up again: this is a guard against a mistake, not against whoever runs the name server.
    dial::lookup(source, DEFAULT_PORT).await?;
    let credentials = source.credentials().map(|(username, password)| Credentials { username, password });
    let options = SessionOptions::default()
        .creds(credentials)
        .user_agent(concat!("sightline/", env!("CARGO_PKG_VERSION")).into());
    let mut session = retina::client::Session::describe(source.url_without_credentials(), options)
        .await
        .map_err(|e| fault(&e, source))?;
    let (mut video, mut audio) = (false, false);
    let mut offers = Vec::new();
    for i in 0..session.streams().len() {
        let stream = &session.streams()[i];
        let seen = match (stream.media(), stream.encoding_name()) {
            ("video", "h264") => Some(&mut video),
            ("audio", "mpeg4-generic") => Some(&mut audio),
            _ => None,
        };
        // The first of each kind: a second video is the camera's other quality or its other lens.
        let played = seen.is_some_and(|seen| !std::mem::replace(seen, true));
        offers.push(Offer {
            media: stream.media().to_owned(),
            encoding: stream.encoding_name().to_owned(),
            clock_rate_hz: stream.clock_rate_hz(),
            played,
        });
        if played {
            let setup = SetupOptions::default()
                .transport(Transport::Tcp(<_>::default()))
                .frame_format(FrameFormat::MP4);
            session.setup(i, setup).await.map_err(|e| fault(&e, source))?;
        }
    }
    Ok((session, offers))
}

impl Session {
    /// Connects and asks the camera to play. Tells what it offers, too.
    pub(super) async fn connect(source: &Source) -> Result<(Self, Vec<Offer>), Fault> {
        let (session, offers) = describe(source).await?;
        if !offers.iter().any(|offer| offer.played && offer.media == "video") {
            let names: Vec<_> = offers.iter().map(|offer| offer.encoding.as_str()).collect();
            let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            let reason =
                format!("the camera offers {names}; this version plays H.264: set the camera to H.264");
            return Err(Fault { code: "unsupported", reason });
        }
        let options = PlayOptions::default()
            .initial_timestamp(InitialTimestampPolicy::Permissive)
            .unknown_rtcp_ssrc(UnknownRtcpSsrcPolicy::ProcessPackets);
        let demuxed = session
            .play(options)
            .await
            .and_then(retina::client::Session::demuxed)
            .map_err(|e| fault(&e, source))?;
        let mut index = 0;
        let tracks = offers
            .iter()
            .map(|offer| {
                offer.played.then(|| {
                    let track = SessionTrack {
                        index,
                        timescale: offer.clock_rate_hz,
                        video: offer.media == "video",
                        capture: CaptureClock::default(),
                        offset_ticks: None,
                        sample_clock: SampleClock::new(offer.clock_rate_hz),
                    };
                    index += 1;
                    track
                })
            })
            .collect();
        let session = Self {
            demuxed,
            tracks,
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
            let item = match self.demuxed.next().await {
                Some(Ok(item)) => item,
                Some(Err(error)) => return Err(ended(&error, &self.source)),
                None => return Err(Fault { code: "closed", reason: "the camera ended the session".into() }),
            };
            match item {
                CodecItem::VideoFrame(frame) => self.video(frame)?,
                CodecItem::AudioFrame(frame) => self.audio(&frame),
                CodecItem::Rtcp(compound) => self.report(&compound),
                _ => {}
            }
        }
    }

    /// What the sender reports of the video say of the camera's clock, for people.
    pub(super) fn clock_report(&self) -> String {
        let video = self.tracks.iter().flatten().find(|track| track.video);
        video.map_or_else(|| "none".to_owned(), |track| track.capture.to_string())
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
        let received = frame.end_ctx().received();
        let (key_frame, timestamp, stream) =
            (frame.is_random_access_point(), frame.timestamp(), frame.stream_id());
        let data = frame.into_data().into();
        self.push(stream, timestamp, received, key_frame, None, data);
        Ok(())
    }

    fn audio(&mut self, frame: &retina::codec::AudioFrame) {
        // Sound waits for the picture: its track is announced together with that of the video.
        if self.announced {
            let (received, duration) = (frame.ctx().received(), frame.frame_length().get());
            let data = bytes::Bytes::copy_from_slice(frame.data());
            self.push(frame.stream_id(), frame.timestamp(), received, true, Some(duration), data);
        }
    }

    fn push(
        &mut self,
        stream: usize,
        timestamp: retina::Timestamp,
        received: Instant,
        key_frame: bool,
        duration_ticks: Option<u32>,
        data: bytes::Bytes,
    ) {
        let since_play = received.saturating_duration_since(self.played);
        let since_play_us = i64::try_from(since_play.as_micros()).unwrap_or(i64::MAX);
        let Some(track) = self.tracks.get_mut(stream).and_then(Option::as_mut) else { return };
        let elapsed = timestamp.elapsed();
        let offset = *track
            .offset_ticks
            .get_or_insert_with(|| start_offset_ticks(elapsed, track.timescale, since_play_us));
        let sent_ticks = elapsed.saturating_add(offset);
        let pts_ticks = match duration_ticks {
            Some(samples) => {
                track.sample_clock.place(time::ticks_to_us(sent_ticks, track.timescale), samples)
            }
            None => sent_ticks,
        };
        // This machine's clock as it is now: it may have been set since PLAY.
        let age_us = i64::try_from(received.elapsed().as_micros()).unwrap_or(0);
        let received_unix_us = crate::hub::unix_time_us() - age_us;
        let frame = Frame {
            track: track.index,
            pts_ticks,
            dts_ticks: None,
            duration_ticks,
            capture_time_us: track.capture.capture_time_us(
                timestamp.timestamp(),
                track.timescale,
                received_unix_us,
            ),
            key_frame,
            data,
        };
        self.waiting.push_back(Event::Frame(frame, received));
    }

    fn report(&mut self, compound: &retina::rtcp::ReceivedCompoundPacket) {
        let Some(timestamp) = compound.rtp_timestamp() else { return };
        let report = compound.pkts().next().and_then(|packet| packet.as_sender_report().ok().flatten());
        let track = self.tracks.get_mut(compound.stream_id()).and_then(Option::as_mut);
        if let (Some(report), Some(track)) = (report, track) {
            track.capture.report(timestamp.timestamp(), report.ntp_timestamp().0);
        }
    }

    fn describe_tracks(&mut self) -> Result<Vec<Track>, Fault> {
        let unusable = |what: &str, reason: String| Fault {
            code: "unsupported",
            reason: format!("the camera's {what} cannot be used: {reason}"),
        };
        let mut described = Vec::new();
        for (i, slot) in self.tracks.iter_mut().enumerate() {
            let Some(session_track) = slot else { continue };
            let track = match self.demuxed.streams()[i].parameters() {
                Some(ParametersRef::Video(video)) => h264::track(video.extra_data())
                    .map_err(|e| unusable("picture", e.to_string()))
                    .map(Some)?,
                Some(ParametersRef::Audio(audio)) => match aac::track(audio.extra_data()) {
                    Ok(track) => Some(Track { timescale: session_track.timescale, ..track }),
                    Err(error) => {
                        tracing::warn!(%error, "the camera's sound cannot be used; the picture goes on without it");
                        None
                    }
                },
                _ if session_track.video => {
                    return Err(unusable("picture", "it never sent its parameter sets".into()));
                }
                _ => None,
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

/// What to add to a track's media times, given those of its first frame.
///
/// `RTP-Info` (RFC 2326, 12.33) ties every track's media time to the moment of PLAY, and so the tracks to each other.
/// Where it plainly does not, the first frame stands where it arrived.
fn start_offset_ticks(elapsed_ticks: i64, timescale: u32, since_play_us: i64) -> i64 {
    let elapsed_us = time::ticks_to_us(elapsed_ticks, timescale);
    // Without `RTP-Info` retina takes each track's first packet for its zero.
    if elapsed_ticks != 0 && elapsed_us.saturating_sub(since_play_us).saturating_abs() <= RTP_INFO_SLACK_US {
        0
    } else {
        time::us_to_ticks(since_play_us, timescale).saturating_sub(elapsed_ticks)
    }
}

/// Why a camera cannot be reached, from what retina says before PLAY is answered.
fn fault(error: &retina::Error, source: &Source) -> Fault {
    let first_line = first_line(error, source);
    let url = source.url_without_credentials();
    let (code, reason) = match error.status_code() {
        Some(401 | 403) if source.credentials().is_some() => {
            ("unauthorized", "the camera refused the user name or password".to_owned())
        }
        Some(401 | 403) => (
            "unauthorized",
            "the camera asks for a user name and password: write them into its address, rtsp://USER:PASSWORD@…"
                .to_owned(),
        ),
        Some(404) => {
            ("not_found", format!("the camera has nothing at {source}: check the path of its address"))
        }
        Some(status) => ("connect_failed", format!("the camera answered with status {status}: {first_line}")),
        None => {
            let (host, port) = (url.host_str().unwrap_or_default(), url.port().unwrap_or(DEFAULT_PORT));
            let why = first_line.strip_prefix("Unable to connect to RTSP server: ").unwrap_or(&first_line);
            ("connect_failed", format!("cannot connect to {host}:{port}: {why}"))
        }
    };
    Fault { code, reason }
}

/// Why a session ended, from what retina says after PLAY.
fn ended(error: &retina::Error, source: &Source) -> Fault {
    Fault { code: "closed", reason: format!("the session ended: {}", first_line(error, source)) }
}

/// retina's errors carry addresses and positions for a packet capture below their first line.
fn first_line(error: &retina::Error, source: &Source) -> String {
    let text = without_urls(&error.to_string(), source);
    tracing::debug!(camera = %source, error = text, "camera");
    text.lines().next().unwrap_or_default().to_owned()
}

/// `text` with every RTSP address in it replaced by the camera's as it may be shown: a query or a path may hold a
/// password.
fn without_urls(text: &str, source: &Source) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(at) = rest.find("rtsp://") {
        out.push_str(&rest[..at]);
        out.push_str(&source.to_string());
        let url = &rest[at..];
        rest = &url[url.find(|c: char| c.is_whitespace() || "\"'<>".contains(c)).unwrap_or(url.len())..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plausible_rtp_info_aligns_the_tracks() {
        assert_eq!(start_offset_ticks(9_000, 90_000, 120_000), 0);
        assert_eq!(start_offset_ticks(-9_000, 90_000, 120_000), 0);
    }

    #[test]
    fn tracks_without_rtp_info_stand_where_they_arrived() {
        assert_eq!(start_offset_ticks(0, 90_000, 900_000), 81_000);
        assert_eq!(start_offset_ticks(0, 48_000, 100_000), 4_800);
    }

    #[test]
    fn an_address_in_an_error_is_shown_without_its_secrets() {
        let source: Source = "rtsp://admin:hunter2@cam/l?token=hunter3".parse().expect("a source");
        let text = "DESCRIBE response at rtsp://cam/l?token=hunter3 has \"rtsp://cam/l?token=hunter3\"\n";
        let shown = without_urls(text, &source);
        assert!(!shown.contains("hunter"), "{shown}");
        assert!(
            shown.starts_with("DESCRIBE response at rtsp://***@cam") && shown.ends_with("\"\n"),
            "{shown}"
        );
    }

    #[test]
    fn a_first_frame_far_from_its_arrival_stands_where_it_arrived() {
        assert_eq!(start_offset_ticks(90_000 * 3_600, 90_000, 100_000), 9_000 - 90_000 * 3_600);
        assert_eq!(start_offset_ticks(0, 48_000, 3_000_000), 144_000);
    }
}
