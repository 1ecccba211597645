//! What each codec's way through the proxy adds: from capture, by the camera's own reports, to a viewer's socket.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::proxy::Proxy;
use sightline_tests::stats::Percentiles;
use sightline_tests::viewer::Viewer;

use crate::{Options, report::Report};

const BENCH: &str = "codecs";
const FRAME_MS: f64 = 40.0;
const BLOCK_MS: f64 = 20.0;
/// Of x264 without a pyramid: as many pictures as stand between two others come behind a later one.
const B_FRAMES: u32 = 2;
/// Until the first sender report has come: before it a capture time is that of arrival.
const WARM_UP: Duration = Duration::from_secs(8);

/// Measures each codec by itself.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let span = Duration::from_secs(if options.quick { 4 } else { 15 });
    let silent = measure(Sends::default(), span)?.0;
    let plain = silent.p50;
    report.figure(BENCH, "H.264 alone: picture, capture to socket, p50", plain, "ms");
    report.figure(BENCH, "H.264 alone: picture, capture to socket, p95", silent.p95, "ms");
    let (h265, _) = measure(Sends { codec: "h265", ..Sends::default() }, span)?;
    let added = |report: &mut Report, what: &str, ms: f64| {
        let frames = (ms - plain) / FRAME_MS;
        let what = format!("{what}: picture, added to H.264 alone, p50");
        report.goal(BENCH, what, (frames, "frames"), "<= 1 frame", frames <= 1.0);
    };
    added(report, "H.265 (with its encoder)", h265.p50);
    // The encoder has the first of the B-frames for as long as it waits for what follows the last. All are shown as late
    // as the latest of them: what counts is the end of the distribution and not its middle.
    let (b_frames, _) = measure(Sends { b_frames: B_FRAMES, ..Sends::default() }, span)?;
    let what = format!("H.264 with {B_FRAMES} B-frames: picture, capture to socket, p95");
    report.figure(BENCH, what, b_frames.p95, "ms");
    let frames = (b_frames.p95 - silent.p95) / FRAME_MS;
    let what = format!("H.264 with {B_FRAMES} B-frames: picture, added to H.264 without, p95");
    // A picture's coding takes a fraction of a frame more.
    let reach = f64::from(B_FRAMES) + 0.5;
    report.goal(BENCH, what, (frames, "frames"), format!("<= {B_FRAMES} frames (+ 0.5)"), frames <= reach);
    let mut coded_ms = None;
    for audio_codec in ["aac", "pcma", "pcmu", "l16", "g722", "g726-32"] {
        let (picture, sound) = measure(Sends { audio: true, audio_codec, ..Sends::default() }, span)?;
        added(report, &format!("H.264 and {audio_codec}"), picture.p50);
        let sound = sound.context("there was no sound")?;
        let what = format!("{audio_codec}: sound, its end to socket, p50");
        match coded_ms {
            // As the camera sends it.
            None => {
                coded_ms = Some(sound);
                report.figure(BENCH, what, sound, "ms");
            }
            // Packed as FLAC.
            Some(coded) => {
                report.goal(BENCH, what, (sound, "ms"), "<= aac + 20 ms", sound <= coded + BLOCK_MS);
            }
        }
    }
    Ok(())
}

/// Capture to socket of the picture, and of the end of each piece of sound its p50, in ms.
fn measure(sends: Sends, span: Duration) -> Result<(Percentiles, Option<f64>)> {
    let camera = Camera::start(sends)?;
    let proxy = Proxy::for_camera(&camera)?;
    let viewer = Viewer::watch_decoding(&proxy, "cam", &["avc1", "hvc1", "mp4a.40.2", "flac"])?;
    viewer.wait_fragments(1)?;
    let begin = Instant::now() + WARM_UP;
    std::thread::sleep(WARM_UP + span);
    // Instants and the capture clock are of one machine.
    let now = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as f64);
    let record = viewer.record();
    let latency = |track: u8| {
        let (_, _, tracks) = record.tracks()?;
        let timescale = f64::from(tracks.get(usize::from(track))?.timescale);
        let ages = record.fragments(track).filter(|fragment| fragment.at >= begin).map(|fragment| {
            let header = &fragment.header;
            let at_us = now.1 - now.0.duration_since(fragment.at).as_micros() as f64;
            let lasts_ms = if track == 0 { 0.0 } else { f64::from(header.duration_ticks) * 1e3 / timescale };
            (at_us - header.capture_time_us as f64) / 1e3 - lasts_ms
        });
        let ages: Vec<f64> = ages.collect();
        (!ages.is_empty()).then(|| Percentiles::of(ages))
    };
    Ok((latency(0).context("there were no pictures")?, latency(1).map(|sound| sound.p50)))
}
