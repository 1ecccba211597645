//! Capture to screen of a zero-latency encoder that pushes by RTMP, in Chromium: silent, with sound, with B-frames.

use std::time::Duration;

use anyhow::Result;
use sightline_tests::browser::{Browser, Engine, Page};
use sightline_tests::encoder::{Encoder, Options as Sends};
use sightline_tests::proxy::Proxy;
use sightline_tests::stats::Percentiles;

use crate::{Options, report::Report};

const BENCH: &str = "rtmp-latency";
const REACH_SILENT_MS: f64 = 90.0;
const REACH_SOUND_MS: f64 = 160.0;
const B_FRAMES: u32 = 2;
const FPS: u32 = 25;
/// Behind the first picture: a start may be rough.
const WARM_UP: Duration = Duration::from_secs(5);
const PLAYER: &str = "document.querySelector('sightline-player')";

#[derive(Default)]
struct Seen {
    latencies_ms: Vec<f64>,
    backwards: u64,
    dropped: u64,
    freeze_ms: f64,
    span_ms: f64,
}

struct Case {
    name: &'static str,
    sends: Sends,
    seen: Seen,
}

/// Measures 60 s of each, by turns.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let (rounds, span) = if options.quick { (1, 5) } else { (3, 20) };
    let base = Sends { fps: FPS, ..Sends::default() };
    let mut cases = [
        Case { name: "silent", sends: base.clone(), seen: Seen::default() },
        Case { name: "with sound", sends: Sends { audio: true, ..base.clone() }, seen: Seen::default() },
        Case { name: "2 B-frames", sends: Sends { b_frames: B_FRAMES, ..base }, seen: Seen::default() },
    ];
    let browser = Browser::launch(Engine::Chromium)?;
    for round in 1..=rounds {
        for case in &mut cases {
            let proxy = Proxy::configured(
                "[rtmp]\nlisten = \"127.0.0.1:0\"\n[streams.studio]\npublish = { key = \"k\" }\n",
            )?;
            let url = proxy.push_url("rtmp", "studio?key=k")?;
            let _encoder = Encoder::gstreamer(&url, &case.sends)?;
            proxy.wait_for_state("studio", "live")?;
            let page = browser.open(&proxy.url("/embed/studio"))?;
            page.wait_for_pictures(1, 1)?;
            if case.sends.audio {
                unmute(&page)?;
            }
            std::thread::sleep(WARM_UP);
            page.reset_glass()?;
            std::thread::sleep(Duration::from_secs(span));
            let glass = &page.glass()?[0];
            let now = glass.latency(0.0);
            eprintln!("{}, round {round} of {rounds}: p50 {:.0}, p95 {:.0} ms", case.name, now.p50, now.p95);
            let seen = &mut case.seen;
            if let (Some(first), Some(last)) = (glass.samples.first(), glass.samples.last()) {
                seen.span_ms += last.0 - first.0;
            }
            seen.latencies_ms.extend(glass.samples.iter().map(|sample| sample.1));
            seen.backwards += glass.backwards;
            seen.dropped += glass.dropped;
            seen.freeze_ms = seen.freeze_ms.max(glass.longest_gap);
        }
    }
    let [silent, sound, b_frames] = cases.map(|case| tell(&case, report));
    for (name, p50, limit) in [("silent", silent, REACH_SILENT_MS), ("with sound", sound, REACH_SOUND_MS)] {
        let what = format!("chromium: capture to screen, {name}, p50");
        report.goal(BENCH, what, (p50, "ms"), format!("<= {limit} ms"), p50 <= limit);
    }
    report.figure(BENCH, "chromium: capture to screen, 2 B-frames, p50", b_frames, "ms");
    let added = (b_frames - silent) * f64::from(FPS) / 1000.0;
    // An encoder with B-frames holds back as many pictures as there are; one more is the order's own.
    let reach = B_FRAMES + 1;
    let what = "2 B-frames: added to silent without them";
    report.goal(BENCH, what, (added, "frames"), format!("<= {reach} frames"), added <= f64::from(reach));
    Ok(())
}

/// What is not about p50; returns that.
fn tell(Case { name, sends, seen }: &Case, report: &mut Report) -> f64 {
    let latency = Percentiles::of(seen.latencies_ms.iter().copied());
    let what = |text: &str| format!("{name}: {text}");
    let calm = seen.backwards == 0;
    report.goal(BENCH, what("pictures older than the one before"), (seen.backwards as f64, ""), "0", calm);
    let shown = latency.count as f64 / (seen.span_ms * f64::from(FPS) / 1000.0).max(1.0) * 100.0;
    report.figure(BENCH, what("pictures shown"), shown, "%");
    report.figure(BENCH, what("capture to screen, p95"), latency.p95, "ms");
    report.figure(BENCH, what("longest freeze"), seen.freeze_ms, "ms");
    report.detail(
        BENCH,
        serde_json::json!({
            "case": name, "encoder": format!("{sends:?}"), "latency_ms": latency, "backwards": seen.backwards,
            "longest_freeze_ms": seen.freeze_ms, "dropped_by_browser": seen.dropped, "span_ms": seen.span_ms,
        }),
    );
    latency.p50
}

/// As a user would: browsers play sound only after a gesture.
fn unmute(page: &Page<'_>) -> Result<()> {
    page.click(600, 300)?;
    page.evaluate(&format!("{PLAYER}.muted = false"))?;
    page.wait_for(
        "sound",
        &format!("{PLAYER}.shadowRoot.querySelector('video').webkitAudioDecodedByteCount > 0"),
    )
}
