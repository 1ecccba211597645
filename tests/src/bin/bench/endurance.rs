//! Ten minutes or an hour of play: what drifts, what grows, and how long the picture ever stood still.

use std::time::{Duration, Instant};

use anyhow::Result;
use sightline_tests::browser::{Browser, Engine, Page};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::proxy::Proxy;
use sightline_tests::stats::Percentiles;

use crate::turns::{FPS, PLAYER, WARM_UP};
use crate::{Options, report::Report};

const BENCH: &str = "endurance";
const REACH_DRIFT_MS: f64 = 10.0;
const REACH_GROWTH_PERCENT: f64 = 5.0;
const REACH_FREEZE_MS: f64 = 250.0;
/// The time is looked at in so many parts; memory from the end of the second part on, when buffers are full.
const PARTS: u32 = 10;

struct Part {
    latency_ms: Percentiles,
    freeze_ms: f64,
    /// Heap and buffers, in bytes, where they are known.
    page: Option<(f64, f64)>,
    renderer_kib: u64,
}

/// Watches one page in each browser.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let minutes = if options.hour { 60 } else { 10 };
    let time = if options.quick { Duration::from_secs(30) } else { Duration::from_secs(minutes * 60) };
    let camera = Camera::start(Sends { fps: FPS, ..Sends::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    for engine in options.engines(&Engine::THREE) {
        let browser = Browser::launch(engine)?;
        let page = browser.open(&proxy.url("/embed/cam"))?;
        page.wait_for_pictures(1, 2)?;
        std::thread::sleep(WARM_UP);
        page.reset_glass()?;
        let parts = (1..=PARTS)
            .map(|part| {
                let seen = watch(&browser, &page, time / PARTS)?;
                eprintln!(
                    "{}: part {part} of {PARTS}: p50 {:.0} ms, longest freeze {:.0} ms, page {:?} bytes, renderer {} KiB",
                    engine.name(),
                    seen.latency_ms.p50,
                    seen.freeze_ms,
                    seen.page,
                    seen.renderer_kib
                );
                Ok(seen)
            })
            .collect::<Result<Vec<_>>>()?;
        tell(engine, time, &parts, report);
        let stats = page.evaluate(&format!("{PLAYER}.getStats()"))?;
        report.detail(BENCH, serde_json::json!({ "engine": engine.name(), "stats": stats }));
    }
    Ok(())
}

fn watch(browser: &Browser, page: &Page<'_>, time: Duration) -> Result<Part> {
    // The page keeps only so many samples: they are fetched before it is full.
    const FETCH_EVERY: Duration = Duration::from_mins(1);
    let end = Instant::now() + time;
    let (mut latencies_ms, mut freeze_ms) = (vec![], 0.0_f64);
    while Instant::now() < end {
        std::thread::sleep(FETCH_EVERY.min(end.saturating_duration_since(Instant::now())));
        for seen in page.drain_glass()? {
            latencies_ms.extend(seen.samples.iter().map(|sample| sample.1));
            // A picture that has not come yet counts too.
            freeze_ms = freeze_ms.max(seen.longest_gap).max(seen.since_last.unwrap_or(0.0));
        }
    }
    Ok(Part {
        latency_ms: Percentiles::of(latencies_ms),
        freeze_ms,
        page: page.memory()?.map(|memory| (memory.heap, memory.buffers)),
        renderer_kib: browser.renderer_kib()?,
    })
}

fn tell(engine: Engine, time: Duration, parts: &[Part], report: &mut Report) {
    let what = |text: &str| format!("{}, {} s: {text}", engine.name(), time.as_secs());
    let (Some(first), Some(full), Some(last)) = (parts.first(), parts.get(1), parts.last()) else { return };
    let p50s = || parts.iter().map(|part| part.latency_ms.p50);
    let spread_ms = p50s().fold(0.0, f64::max) - p50s().fold(f64::MAX, f64::min);
    let drift_ms = last.latency_ms.p50 - first.latency_ms.p50;
    let reach = format!("<= {REACH_DRIFT_MS} ms");
    let steady = drift_ms.abs() <= REACH_DRIFT_MS;
    report.goal(BENCH, what("latency's drift, first to last tenth"), (drift_ms, "ms"), reach, steady);
    report.figure(BENCH, what("between its tenths at most"), spread_ms, "ms");
    report.figure(BENCH, what("capture to screen, p50 of the last tenth"), last.latency_ms.p50, "ms");
    let freeze_ms = parts.iter().map(|part| part.freeze_ms).fold(0.0, f64::max);
    let reach = format!("<= {REACH_FREEZE_MS} ms");
    report.goal(BENCH, what("longest freeze"), (freeze_ms, "ms"), reach, freeze_ms <= REACH_FREEZE_MS);
    let growth = |before: f64, after: f64| (after / before.max(1.0) - 1.0) * 100.0;
    if let (Some(before), Some(after)) = (full.page, last.page) {
        let grown = growth(before.0 + before.1, after.0 + after.1);
        let reach = format!("<= {REACH_GROWTH_PERCENT} %");
        let bounded = grown <= REACH_GROWTH_PERCENT;
        report.goal(BENCH, what("page's heap and buffers grown"), (grown, "%"), reach, bounded);
        report.figure(BENCH, what("page's heap and buffers"), (after.0 + after.1) / 1024.0, "KiB");
    }
    let grown = growth(full.renderer_kib as f64, last.renderer_kib as f64);
    report.figure(BENCH, what("renderer's resident memory grown"), grown, "%");
    report.figure(BENCH, what("renderer's resident memory"), last.renderer_kib as f64 / 1024.0, "MiB");
    for part in parts {
        report.detail(
            BENCH,
            serde_json::json!({ "engine": engine.name(), "latency_ms": part.latency_ms, "longest_freeze_ms": part.freeze_ms,
                "heap_and_buffers_bytes": part.page, "renderer_kib": part.renderer_kib }),
        );
    }
}
