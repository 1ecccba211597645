//! `sightline probe`: what a camera offers, for people and support tickets. No password is ever printed.

use std::{io::Write as _, time::Duration};

use anyhow::{Context as _, bail};
use sightline::{
    config::{Input, Stream},
    ingest::{Camera, Event},
    media::{Media, Track},
};
use tokio::time::{Instant, timeout, timeout_at};

/// What was seen while looking.
#[derive(Debug, Default)]
struct Seen {
    tracks: Vec<Track>,
    frames: u32,
    bytes: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    keys: Vec<Instant>,
    lost: u32,
    warnings: Vec<String>,
    pts_backwards: u32,
    last_pts: Option<i64>,
}

/// Asks the camera, looks for `seconds`, and prints a table.
pub(crate) async fn run(stream: &Stream, seconds: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    let Input::Source { source, trust } = &stream.input else {
        bail!("an encoder pushes to it: there is nothing to ask")
    };
    let connecting = Camera::connect(source, trust.as_deref());
    let mut session = match timeout(Duration::from_millis(stream.connect_timeout_ms), connecting).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(fault)) => bail!("{} ({})", fault.reason, fault.code),
        Err(_) => bail!("the camera did not answer within {} ms", stream.connect_timeout_ms),
    };
    let connected = began.elapsed();
    let mut seen = Seen::default();
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut ended = None;
    loop {
        match timeout_at(until, session.next()).await {
            Err(_) => break,
            Ok(Err(fault)) => {
                ended = Some(fault.reason);
                break;
            }
            Ok(Ok(event)) => seen.event(event),
        }
    }
    let mut out = std::io::stdout().lock();
    let mut row = |name: &str, value: String| writeln!(out, "{name:<20} {value}").context("cannot print");
    row("camera", source.to_string())?;
    row("answered in", format!("{} ms", connected.as_millis()))?;
    for offer in session.offers() {
        let note = if offer.played { "" } else { "  (not played by this version)" };
        row(
            &format!("offers {}", offer.media),
            format!("{}, {} Hz{note}", offer.encoding, offer.clock_rate_hz),
        )?;
    }
    for track in &seen.tracks {
        match track.media {
            Media::Video { width, height, sample_aspect: (h, v) } => {
                row("video", format!("{}, {width}x{height}, sample aspect {h}:{v}", track.codec))?;
            }
            Media::Audio { sample_rate, channels } => {
                row("audio", format!("{}, {sample_rate} Hz, {channels} channels", track.codec))?;
            }
        }
    }
    row("frame rate", seen.frame_rate())?;
    row("bit rate", seen.bit_rate())?;
    row("key-frame interval", seen.key_frame_interval())?;
    row("packets lost", seen.lost.to_string())?;
    row("B-frames", if seen.pts_backwards > 0 { "yes" } else { "none seen" }.into())?;
    row("sender reports", session.clock_report())?;
    for warning in seen.warnings {
        row("warning", warning)?;
    }
    if let Some(reason) = ended {
        bail!("{reason}");
    }
    Ok(())
}

impl Seen {
    fn event(&mut self, event: Event) {
        match event {
            Event::Tracks(tracks) => self.tracks = tracks,
            Event::Encoder(_) | Event::Jumped => {}
            Event::Warning(_, message) => self.warnings.push(message),
            Event::Lost(packets) => self.lost += u32::from(packets),
            Event::Frame(frame, received) => {
                if !self.tracks.get(frame.track).is_some_and(Track::is_video) {
                    return;
                }
                let received = Instant::from_std(received);
                self.frames += 1;
                self.bytes += frame.data.len() as u64;
                self.first.get_or_insert(received);
                self.last = Some(received);
                if frame.key_frame {
                    self.keys.push(received);
                }
                if self.last_pts.is_some_and(|last| frame.pts_ticks < last) {
                    self.pts_backwards += 1;
                }
                self.last_pts = Some(frame.pts_ticks);
            }
        }
    }

    fn seconds(&self) -> Option<f64> {
        let span = self.last?.duration_since(self.first?).as_secs_f64();
        (span > 0.0).then_some(span)
    }

    fn frame_rate(&self) -> String {
        self.seconds()
            .map_or("no frames".into(), |s| format!("{:.1} frames/s", f64::from(self.frames - 1) / s))
    }

    fn bit_rate(&self) -> String {
        self.seconds().map_or("-".into(), |s| format!("{:.0} kb/s", self.bytes as f64 * 8.0 / s / 1000.0))
    }

    fn key_frame_interval(&self) -> String {
        match self.keys.as_slice() {
            [] => "no key frame seen".into(),
            [_] => "longer than the time looked at".into(),
            [first, .., last] => {
                let mean = last.duration_since(*first).as_secs_f64() / (self.keys.len() - 1) as f64;
                format!("{mean:.2} s")
            }
        }
    }
}
