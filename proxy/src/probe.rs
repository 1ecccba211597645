//! `sightline probe`: what a camera offers and sends, for people and support tickets. No password is ever printed.
//!
//! With `--json` it is one object, whose keys are the fields of [`Report`]; they stay. What was not seen is null or empty,
//! `error` is null where all went well.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use serde::Serialize;
use sightline::{
    hub::Fault,
    ingest::{Camera, Event, Target},
    media::{Frame, Media, Track},
};
use tokio::time::{Duration, Instant, timeout_at};

/// What is told of a camera.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Its address, as it may be shown.
    camera: String,
    /// How its packets come: `tcp`, `tls` or `udp`.
    transport: Option<&'static str>,
    /// What its server calls itself.
    server: Option<String>,
    /// From the first packet to it to its answer to PLAY; with UDP to its first word.
    connected_ms: Option<u64>,
    /// From the first packet to it to its first frame, of picture or sound.
    first_frame_ms: Option<u64>,
    /// From the first packet to it to the first picture that decoding can begin with.
    first_key_frame_ms: Option<u64>,
    offers: Vec<Offer>,
    tracks: Vec<TrackReport>,
    frames_per_second: Option<f64>,
    bits_per_second: Option<u64>,
    key_frame_interval_ms: Option<u64>,
    /// `idr`, `cra`, `bla`, `recovery_point` or `key`, where it is another codec's.
    key_frame_kind: Option<&'static str>,
    /// Whether pictures are shown in another order than they are sent in.
    b_frames: Option<bool>,
    packets_lost: u64,
    /// What its sender reports say of its clock, in words.
    sender_reports: Option<String>,
    /// What is not as it should be.
    warnings: Vec<String>,
    error: Option<Error>,
}

/// One of the things a camera offers.
#[derive(Debug, Serialize)]
struct Offer {
    media: String,
    encoding: String,
    clock_rate_hz: u32,
    channels: Option<u16>,
    played: bool,
    not_played_because: Option<&'static str>,
}

/// What is played of it.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum TrackReport {
    Video { codec: String, width: u32, height: u32, sample_aspect: (u32, u32) },
    Audio { codec: String, sample_rate: u32, channels: u16 },
}

/// What went wrong, as the API tells it.
#[derive(Debug, Serialize)]
struct Error {
    code: &'static str,
    reason: String,
}

/// What was seen while looking.
#[derive(Debug, Default)]
struct Seen {
    tracks: Vec<Track>,
    frames: u32,
    bytes: u64,
    first_frame: Option<Instant>,
    first: Option<Instant>,
    last: Option<Instant>,
    keys: Vec<Instant>,
    key_frame_kind: Option<&'static str>,
    lost: u64,
    warnings: Vec<String>,
    pts_backwards: bool,
    last_pts: Option<i64>,
}

/// Asks the camera, looks for `seconds`, and prints what was seen.
pub(crate) async fn run(mut target: Target, seconds: u64, json: bool) -> anyhow::Result<()> {
    let report = look(&mut target, seconds).await;
    let mut out = std::io::stdout().lock();
    if json {
        let text = serde_json::to_string_pretty(&report).context("cannot print")?;
        writeln!(out, "{text}").context("cannot print")?;
    } else if report.connected_ms.is_some() {
        report.table(&mut out).context("cannot print")?;
    }
    match report.error {
        Some(error) => bail!("{} ({})", error.reason, error.code),
        None => Ok(()),
    }
}

async fn look(target: &mut Target, seconds: u64) -> Report {
    let began = Instant::now();
    let mut report = Report { camera: target.source.to_string(), ..Report::default() };
    let error = |fault: Fault| Some(Error { code: fault.code, reason: fault.reason });
    let mut session = match Camera::connect(target).await {
        Ok(session) => session,
        Err(fault) => {
            report.error = error(fault);
            return report;
        }
    };
    report.connected_ms = Some(ms(began.elapsed()));
    report.transport = Some(session.transport());
    report.server = session.server().map(str::to_owned);
    let mut seen = Seen::default();
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        match timeout_at(until, session.next()).await {
            Err(_) => break,
            Ok(Err(fault)) => {
                report.error = error(fault);
                break;
            }
            Ok(Ok(event)) => seen.event(event),
        }
    }
    let offers = session.offers().iter();
    report.offers = offers
        .map(|offer| Offer {
            media: offer.media.clone(),
            encoding: offer.encoding.clone(),
            clock_rate_hz: offer.clock_rate_hz,
            channels: offer.channels,
            played: offer.played,
            not_played_because: offer.not_played_because,
        })
        .collect();
    report.sender_reports = Some(session.clock_report());
    report.take(seen, began);
    report
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Report {
    fn take(&mut self, seen: Seen, began: Instant) {
        let since = |at: Instant| ms(at.saturating_duration_since(began));
        self.first_frame_ms = seen.first_frame.map(since);
        self.first_key_frame_ms = seen.keys.first().copied().map(since);
        let seconds = seen.seconds();
        self.frames_per_second =
            seconds.map(|seconds| (f64::from(seen.frames - 1) / seconds * 100.0).round() / 100.0);
        self.bits_per_second = seconds.map(|seconds| (seen.bytes as f64 * 8.0 / seconds) as u64);
        if let [first, .., last] = seen.keys.as_slice() {
            let count = u32::try_from(seen.keys.len() - 1).unwrap_or(u32::MAX);
            self.key_frame_interval_ms = Some(ms((*last - *first) / count));
        }
        self.key_frame_kind = seen.key_frame_kind;
        self.b_frames = (seen.frames > 1).then_some(seen.pts_backwards);
        self.packets_lost = seen.lost;
        self.warnings = seen.warnings;
        self.tracks = seen.tracks.into_iter().map(TrackReport::from).collect();
    }

    fn table(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        let mut row = |name: &str, value: String| writeln!(out, "{name:<20} {value}");
        let or = |text: Option<String>, none: &str| text.unwrap_or_else(|| none.to_owned());
        let after = |ms: Option<u64>, none: &str| or(ms.map(|ms| format!("after {ms} ms")), none);
        row("camera", self.camera.clone())?;
        row("server", or(self.server.clone(), "does not say"))?;
        row("transport", or(self.transport.map(str::to_owned), "-"))?;
        row("answered", after(self.connected_ms, "never"))?;
        row("first frame", after(self.first_frame_ms, "none seen"))?;
        row("first key frame", after(self.first_key_frame_ms, "none seen"))?;
        for offer in &self.offers {
            let channels = offer.channels.map(|n| format!(", {n} channel(s)")).unwrap_or_default();
            let note =
                offer.not_played_because.map(|why| format!("  (not played: {why})")).unwrap_or_default();
            row(
                &format!("offers {}", offer.media),
                format!("{}, {} Hz{channels}{note}", offer.encoding, offer.clock_rate_hz),
            )?;
        }
        for track in &self.tracks {
            match track {
                TrackReport::Video { codec, width, height, sample_aspect: (h, v) } => {
                    row("video", format!("{codec}, {width}x{height}, sample aspect {h}:{v}"))?;
                }
                TrackReport::Audio { codec, sample_rate, channels } => {
                    row("audio", format!("{codec}, {sample_rate} Hz, {channels} channel(s)"))?;
                }
            }
        }
        row("frame rate", or(self.frames_per_second.map(|n| format!("{n:.1} frames/s")), "no frames"))?;
        row("bit rate", or(self.bits_per_second.map(|n| format!("{} kb/s", n / 1000)), "-"))?;
        let interval = match (self.key_frame_interval_ms, self.key_frame_kind) {
            (Some(ms), _) => format!("{:.2} s", ms as f64 / 1000.0),
            (None, Some(_)) => "longer than the time looked at".to_owned(),
            (None, None) => "no key frame seen".to_owned(),
        };
        row("key-frame interval", interval)?;
        row("key-frame kind", self.key_frame_kind.unwrap_or("-").to_owned())?;
        let b_frames = self.b_frames.map(|seen| if seen { "yes" } else { "none seen" });
        row("B-frames", b_frames.unwrap_or("-").to_owned())?;
        row("packets lost", self.packets_lost.to_string())?;
        row("sender reports", or(self.sender_reports.clone(), "-"))?;
        for warning in &self.warnings {
            row("warning", warning.clone())?;
        }
        Ok(())
    }
}

impl From<Track> for TrackReport {
    fn from(track: Track) -> Self {
        let codec = track.codec;
        match track.media {
            Media::Video { width, height, sample_aspect } => Self::Video {
                codec,
                width,
                height,
                sample_aspect: (sample_aspect.0.into(), sample_aspect.1.into()),
            },
            Media::Audio { sample_rate, channels } => Self::Audio { codec, sample_rate, channels },
        }
    }
}

impl Seen {
    fn event(&mut self, event: Event) {
        match event {
            Event::Tracks(tracks) => self.tracks = tracks,
            Event::Encoder(_) | Event::Jumped | Event::Undescribed => {}
            Event::Warning(_, message) => self.warnings.push(message),
            Event::Lost(packets) => self.lost += u64::from(packets),
            Event::Frame(frame, received) => {
                let received = Instant::from_std(received);
                self.first_frame.get_or_insert(received);
                let Some(track) = self.tracks.get(frame.track).filter(|track| track.is_video()) else {
                    return;
                };
                self.frames += 1;
                self.bytes += frame.data.len() as u64;
                self.first.get_or_insert(received);
                self.last = Some(received);
                if frame.key_frame {
                    self.keys.push(received);
                    self.key_frame_kind = Some(kind(&track.codec, &frame));
                }
                self.pts_backwards |= self.last_pts.is_some_and(|last| frame.pts_ticks < last);
                self.last_pts = Some(frame.pts_ticks);
            }
        }
    }

    fn seconds(&self) -> Option<f64> {
        let span = self.last?.duration_since(self.first?).as_secs_f64();
        (span > 0.0).then_some(span)
    }
}

/// What decoding begins with, by the types of its NAL units (ISO/IEC 14496-10, table 7-1, and 23008-2, table 7-1).
fn kind(codec: &str, frame: &Frame) -> &'static str {
    let mut rest = &frame.data[..];
    let mut types: Vec<u8> = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX).min(after.len());
        types.extend(after.first().filter(|_| length > 0));
        rest = &after[length..];
    }
    if codec.starts_with("avc") {
        return if types.iter().any(|header| header & 31 == 5) { "idr" } else { "recovery_point" };
    }
    if codec.starts_with("hvc") || codec.starts_with("hev") {
        return match types.iter().map(|header| header >> 1 & 63).find(|kind| (16..=21).contains(kind)) {
            Some(16..=18) => "bla",
            Some(21) => "cra",
            _ => "idr",
        };
    }
    "key"
}
