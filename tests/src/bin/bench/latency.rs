//! Capture to screen, read from the pictures: our page, and by turns in the same browser a bare page with the same bytes.

use std::time::Duration;

use anyhow::Result;
use sightline_tests::browser::{Browser, Engine};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::proxy::Proxy;
use sightline_tests::stats::Percentiles;

use crate::turns::{Case, FPS, Seen, Witness, bare_pages, by_turns};
use crate::{Options, report::Report};

const BENCH: &str = "latency";
const REACH_MS: f64 = 60.0;
const REACH_RATIO: f64 = 1.15;
const REACH_SPREAD_MS: f64 = 30.0;
const REACH_FREEZE_MS: f64 = 200.0;
pub(crate) const REACH_DROPPED_PERCENT: f64 = 1.0;
/// A bare page that drops more is nearer to the newest frame than a picture can be had.
const REACH_BARE_SHOWN_PERCENT: f64 = 99.0;

/// Measures 60 s of each page in each browser.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let camera = Camera::start(Sends { fps: FPS, ..Sends::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    let bare = format!("{}/bare.html#{}", bare_pages()?, proxy.ws_url(Some("cam")));
    let cases = [Case::new("ours", proxy.url("/embed/cam")), Case::new("bare", bare)];
    for engine in options.engines(&Engine::THREE) {
        let browser = Browser::launch(engine)?;
        let witness = Witness::of(&proxy, "cam")?;
        let mut seen = by_turns(&browser, &witness, &cases, 1, options.turns())?.into_iter().flatten();
        if let (Some(ours), Some(bare)) = (seen.next(), seen.next()) {
            tell(engine, &ours, &bare, report);
        }
    }
    Ok(())
}

fn tell(engine: Engine, ours: &Seen, bare: &Seen, report: &mut Report) {
    let (p, q) = (ours.latency(), bare.latency());
    let what = |text: &str| format!("{}: {text}", engine.name());
    against_bare(BENCH, engine, "", (ours, bare), REACH_RATIO, report);
    if engine != Engine::WebKit {
        let reach = format!("<= {REACH_MS} ms");
        report.goal(BENCH, what("capture to screen, p50"), (p.p50, "ms"), reach, p.p50 <= REACH_MS);
    }
    let spread = p.p95 - p.p50;
    let reach = format!("<= p50 + {REACH_SPREAD_MS} ms");
    report.goal(BENCH, what("capture to screen, p95"), (p.p95, "ms"), reach, spread <= REACH_SPREAD_MS);
    report.figure(BENCH, what("the same on a bare page, p95"), q.p95, "ms");
    report.figure(BENCH, what("capture to screen, p99"), p.p99, "ms");
    let reach = format!("<= {REACH_FREEZE_MS} ms");
    let calm = ours.freeze_ms <= REACH_FREEZE_MS;
    report.goal(BENCH, what("longest freeze"), (ours.freeze_ms, "ms"), reach, calm);
    report.figure(BENCH, what("longest freeze on a bare page"), bare.freeze_ms, "ms");
}

/// What ours and a bare page compare to: p50, pictures dropped, and whether the bare page is a fair one.
pub(crate) fn against_bare(
    bench: &'static str,
    engine: Engine,
    kind: &str,
    (ours, bare): (&Seen, &Seen),
    reach_ratio: f64,
    report: &mut Report,
) {
    let what = |text: &str| format!("{}{kind}: {text}", engine.name());
    let (p, q) = (ours.latency(), bare.latency());
    let ratio = p.p50 / q.p50;
    report.goal(
        bench,
        what("ours : bare, p50"),
        (ratio, "x"),
        format!("<= {reach_ratio}x"),
        ratio <= reach_ratio,
    );
    report.figure(bench, what("ours, p50"), p.p50, "ms");
    report.figure(bench, what("bare, p50"), q.p50, "ms");
    let dropped = 100.0 - ours.shown_percent();
    let reach = format!("<= {REACH_DROPPED_PERCENT} %");
    report.goal(
        bench,
        what("pictures not seen, ours"),
        (dropped, "%"),
        reach,
        dropped <= REACH_DROPPED_PERCENT,
    );
    let shown = bare.shown_percent();
    let reach = format!(">= {REACH_BARE_SHOWN_PERCENT} %, or it is too near");
    report.goal(bench, what("pictures seen, bare"), (shown, "%"), reach, shown >= REACH_BARE_SHOWN_PERCENT);
    let behind_ms = Percentiles::of(bare.behind_ms.iter().copied());
    if behind_ms.count > 0 {
        report.figure(bench, what("bare, behind the newest frame, p50"), behind_ms.p50, "ms");
    }
    for (page, seen) in [("ours", ours), ("bare", bare)] {
        report.detail(bench, seen.json(engine.name(), &format!("{page}{kind}")));
    }
}

impl Options {
    /// How often and how long each page is looked at.
    pub(crate) fn turns(self) -> (u32, Duration) {
        if self.quick { (1, Duration::from_secs(5)) } else { (3, Duration::from_secs(20)) }
    }
}
