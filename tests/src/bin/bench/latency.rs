//! Capture to screen, read from the pictures: our page, and by turns in the same browser a bare page with the same bytes.

use std::time::Duration;

use anyhow::Result;
use sightline_tests::browser::{Browser, Engine, Glass};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::proxy::Proxy;
use sightline_tests::serve;
use sightline_tests::stats::Percentiles;

use crate::{Options, report::Report};

const BENCH: &str = "latency";
const REACH_MS: f64 = 60.0;
const REACH_RATIO: f64 = 1.25;
const REACH_SPREAD_MS: f64 = 30.0;
const REACH_FREEZE_MS: f64 = 200.0;
/// Behind the first picture: a start may be rough.
const WARM_UP_MS: f64 = 3_000.0;

#[derive(Default)]
struct Seen {
    latencies_ms: Vec<f64>,
    freeze_ms: f64,
    frames: u64,
    dropped: u64,
    backwards: u64,
    span_ms: f64,
    rounds: u32,
}

impl Seen {
    fn add(&mut self, glass: &Glass) {
        let Some(start) = glass.samples.first().map(|sample| sample.0 + WARM_UP_MS) else { return };
        let warm: Vec<_> = glass.samples.iter().filter(|sample| sample.0 >= start).collect();
        if let (Some(first), Some(last)) = (warm.first(), warm.last()) {
            self.span_ms += last.0 - first.0;
        }
        self.rounds += 1;
        self.frames += warm.len() as u64;
        self.latencies_ms.extend(warm.iter().map(|sample| sample.1));
        self.freeze_ms = warm.iter().map(|sample| sample.2).fold(self.freeze_ms, f64::max);
        self.dropped += glass.dropped;
        self.backwards += glass.backwards;
    }
}

/// Measures 60 s of each page in each browser.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let (rounds, seconds) = if options.quick { (1, 5) } else { (3, 20) };
    let fps = 25;
    let camera = Camera::start(Sends { fps, ..Sends::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    let html = std::fs::read_to_string(sightline_tests::file("bench/bare.html"))?;
    let server = serve::pages(move |path| (path == "/").then(|| html.clone()))?;
    let pages =
        [("ours", proxy.url("/embed/cam")), ("bare", format!("{server}/#{}", proxy.ws_url(Some("cam"))))];
    for engine in Engine::ALL {
        let browser = Browser::launch(engine)?;
        let mut seen = [Seen::default(), Seen::default()];
        for round in 1..=rounds {
            for ((name, url), seen) in pages.iter().zip(&mut seen) {
                let page = browser.open(url)?;
                page.wait_for_pictures(1, 1)?;
                std::thread::sleep(Duration::from_millis(seconds * 1000 + WARM_UP_MS as u64));
                let glass = page.glass()?;
                seen.add(&glass[0]);
                let now = glass[0].latency(WARM_UP_MS);
                eprintln!(
                    "{}, {name}, round {round} of {rounds}: p50 {:.0}, p95 {:.0} ms, {} pictures",
                    engine.name(),
                    now.p50,
                    now.p95,
                    now.count
                );
            }
        }
        tell(engine, &seen, fps, report);
    }
    Ok(())
}

fn tell(engine: Engine, [ours, bare]: &[Seen; 2], fps: u32, report: &mut Report) {
    let of = |seen: &Seen| Percentiles::of(seen.latencies_ms.iter().copied());
    let (p, q) = (of(ours), of(bare));
    let ratio = p.p50 / q.p50;
    let what = |text: &str| format!("{}: {text}", engine.name());
    let reach = format!("<= {REACH_MS} ms or {REACH_RATIO}x bare");
    let reached = p.p50 <= REACH_MS || ratio <= REACH_RATIO;
    report.goal(BENCH, what("capture to screen, p50"), (p.p50, "ms"), reach, reached);
    report.figure(BENCH, what("the same on a bare page, p50"), q.p50, "ms");
    report.figure(BENCH, what("ours : bare"), ratio, "x");
    let spread = p.p95 - p.p50;
    let reach = format!("<= p50 + {REACH_SPREAD_MS} ms");
    report.goal(BENCH, what("capture to screen, p95"), (p.p95, "ms"), reach, spread <= REACH_SPREAD_MS);
    report.figure(BENCH, what("the same on a bare page, p95"), q.p95, "ms");
    report.figure(BENCH, what("capture to screen, p99"), p.p99, "ms");
    let reach = format!("<= {REACH_FREEZE_MS} ms");
    let calm = ours.freeze_ms <= REACH_FREEZE_MS;
    report.goal(BENCH, what("longest freeze"), (ours.freeze_ms, "ms"), reach, calm);
    report.figure(BENCH, what("longest freeze on a bare page"), bare.freeze_ms, "ms");
    for (name, seen, percentiles) in [("ours", ours, p), ("bare", bare, q)] {
        // Between so many pictures lies one gap less, in each round.
        let sent = seen.span_ms * f64::from(fps) / 1000.0 + f64::from(seen.rounds);
        let shown = seen.frames as f64 / sent.max(1.0) * 100.0;
        report.figure(BENCH, what(&format!("pictures shown, {name}")), shown, "%");
        report.detail(
            BENCH,
            serde_json::json!({
                "engine": engine.name(), "page": name, "latency_ms": percentiles, "longest_freeze_ms": seen.freeze_ms,
                "pictures": seen.frames, "span_ms": seen.span_ms, "dropped_by_browser": seen.dropped, "backwards": seen.backwards,
            }),
        );
    }
}
