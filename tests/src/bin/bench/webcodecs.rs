//! Capture to screen by `WebCodecs`: our page, and by turns bare pages that decode the same bytes and show each picture at once.

use anyhow::Result;
use sightline_tests::browser::{Browser, Engine};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::proxy::Proxy;

use crate::latency::REACH_DROPPED_PERCENT;
use crate::turns::{Case, FPS, Seen, Witness, bare_pages, by_turns};
use crate::{Options, report::Report};

const BENCH: &str = "webcodecs";
const REACH_MORE_MS: f64 = 4.0;

/// Measures 60 s of each page in each browser.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let camera = Camera::start(Sends { fps: FPS, ..Sends::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    let (server, socket) = (bare_pages()?, proxy.ws_url(Some("cam")));
    for engine in options.engines(&Engine::THREE) {
        let browser = Browser::launch(engine)?;
        let witness = Witness::of(&proxy, "cam")?;
        let mut cases = vec![
            Case::new("ours", proxy.url("/embed/cam?renderer=webcodecs")),
            Case::new("canvas", format!("{server}/bare-webcodecs.html#{socket}")),
        ];
        if engine == Engine::Chromium {
            cases.push(Case::new("generator", format!("{server}/bare-webcodecs.html?to=generator#{socket}")));
        }
        let seen = by_turns(&browser, &witness, &cases, 1, options.turns())?;
        tell(engine, &cases, &seen, report);
    }
    Ok(())
}

fn tell(engine: Engine, cases: &[Case], seen: &[Vec<Seen>], report: &mut Report) {
    let what = |text: &str| format!("{}: {text}", engine.name());
    for (case, seen) in cases.iter().zip(seen) {
        report.detail(BENCH, seen[0].json(engine.name(), case.name));
    }
    for (case, bare) in cases.iter().zip(seen).skip(1) {
        report.figure(BENCH, what(&format!("bare, {}, p50", case.name)), bare[0].latency().p50, "ms");
        report.figure(
            BENCH,
            what(&format!("pictures seen, bare, {}", case.name)),
            bare[0].shown_percent(),
            "%",
        );
    }
    // The way that ours takes too comes last.
    let (Some(ours), Some(bare)) = (seen.first(), seen.last()) else { return };
    let (ours, bare_ms) = (&ours[0], bare[0].latency().p50);
    if ours.stats["renderer"] != "webcodecs" {
        eprintln!("{}: our page did not take WebCodecs: {}", engine.name(), ours.stats["renderer"]);
        report.goal(BENCH, what("our page takes WebCodecs"), (0.0, ""), "1", false);
        return;
    }
    let p = ours.latency();
    let reach = format!("<= bare + {REACH_MORE_MS} ms");
    report.goal(BENCH, what("ours, p50"), (p.p50, "ms"), reach, p.p50 <= bare_ms + REACH_MORE_MS);
    report.figure(BENCH, what("ours, p95"), p.p95, "ms");
    let dropped = 100.0 - ours.shown_percent();
    let reach = format!("<= {REACH_DROPPED_PERCENT} %");
    report.goal(
        BENCH,
        what("pictures not seen, ours"),
        (dropped, "%"),
        reach,
        dropped <= REACH_DROPPED_PERCENT,
    );
    report.figure(BENCH, what("longest freeze, ours"), ours.freeze_ms, "ms");
}
