//! A camera that changes its rate in mid-GOP, as cameras do at night: how long the picture then stands still.

use std::time::Duration;

use anyhow::Result;
use sightline_tests::browser::{Browser, Engine};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::proxy::Proxy;

use crate::turns::FPS;
use crate::{Options, report::Report};

const BENCH: &str = "rates";
const SLOW_FPS: u32 = 5;
/// Time at each rate.
const EACH_S: f64 = 3.0;
/// Longer than twice that: the rate changes between key frames.
const GOP: u32 = 250;
const REACH_GAP_MS: f64 = 300.0;

/// Watches some changes in each browser.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let changes = if options.quick { 4.0 } else { 20.0 };
    let sends = Sends { fps: FPS, gop: GOP, alternate: Some((SLOW_FPS, EACH_S)), ..Sends::default() };
    let camera = Camera::start(sends)?;
    let proxy = Proxy::for_camera(&camera)?;
    for engine in options.engines(&Engine::ALL) {
        let browser = Browser::launch(engine)?;
        let page = browser.open(&proxy.url("/embed/cam"))?;
        page.wait_for_pictures(1, 2)?;
        std::thread::sleep(Duration::from_secs(2));
        page.reset_glass()?;
        std::thread::sleep(Duration::from_secs_f64(EACH_S * changes));
        let seen = &page.glass()?[0];
        let what = |text: &str| format!("{}: {text}", engine.name());
        let what_gap = what(&format!("{FPS} -> {SLOW_FPS} -> {FPS} pictures a second, longest gap"));
        if engine == Engine::WebKit {
            report.figure(BENCH, what_gap, seen.longest_gap, "ms");
        } else {
            let reach = format!("<= {REACH_GAP_MS} ms");
            report.goal(BENCH, what_gap, (seen.longest_gap, "ms"), reach, seen.longest_gap <= REACH_GAP_MS);
        }
        // By its own clock, of which there is one in each picture.
        let p = seen.latency(0.0);
        report.figure(BENCH, what("capture to screen meanwhile, p50"), p.p50, "ms");
        let calm = seen.backwards == 0;
        report.goal(
            BENCH,
            what("pictures older than the one before"),
            (seen.backwards as f64, ""),
            "0",
            calm,
        );
        let stats = page.evaluate(&format!("{}.getStats()", crate::turns::PLAYER))?;
        report.detail(
            BENCH,
            serde_json::json!({ "engine": engine.name(), "latency_ms": p, "longest_gap_ms": seen.longest_gap,
                "pictures": seen.frames, "stats": stats }),
        );
    }
    Ok(())
}
