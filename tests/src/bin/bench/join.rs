//! From the start of the page's load to its first picture, 1280x720, with a key frame only every 10 s; and to the first that is
//! live, since what is seen first may be the key frame.

use std::time::Duration;

use anyhow::Result;
use sightline_tests::browser::{Browser, Engine};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::proxy::Proxy;
use sightline_tests::stats::Percentiles;
use sightline_tests::viewer::Viewer;
use sightline_tests::wait;

use crate::{Options, report::Report};

const BENCH: &str = "join";
const GOP_SECONDS: f64 = 10.0;
const REACH_MS: f64 = 400.0;
/// A picture that is no older than this is live.
const LIVE_MS: u32 = 500;

/// Joins at phases spread over the GOP, each time in a fresh tab.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let joins = if options.quick { 2 } else { 20 };
    let camera = Camera::start(Sends { gop: 250, size: (1280, 720), ..Sends::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    // Tells when the last key frame was.
    let witness = Viewer::watch(&proxy, "cam")?;
    witness.wait_fragments(1)?;
    for engine in options.engines(&Engine::THREE) {
        let browser = Browser::launch(engine)?;
        let (mut times, mut live_times) = (vec![], vec![]);
        for join in 0..joins {
            let phase_s = (f64::from(join) + 0.5) * GOP_SECONDS / f64::from(joins);
            wait::until(&format!("{phase_s} s behind a key frame"), || {
                let record = witness.record();
                let key = record.fragments(0).filter(|f| f.header.key_frame).last()?;
                let behind_s = key.at.elapsed().as_secs_f64();
                (behind_s >= phase_s && behind_s < phase_s + 0.5).then_some(())
            })?;
            let page = browser.open(&proxy.url("/embed/cam"))?;
            let first = page.first_picture_ms()?;
            let live = page.live_picture_ms(LIVE_MS)?;
            eprintln!(
                "{}: join {} of {joins}, {phase_s} s behind the key frame: {first:.0} ms, live after {live:.0} ms",
                engine.name(),
                join + 1
            );
            times.push(first);
            live_times.push(live);
        }
        let times_ms = Percentiles::of(times.iter().copied());
        let live_ms = Percentiles::of(live_times.iter().copied());
        report.detail(
            BENCH,
            serde_json::json!({ "engine": engine.name(), "first_picture_ms": times, "live_picture_ms": live_times }),
        );
        let what = |which: &str| format!("{}: page load to first picture, {which}", engine.name());
        report.figure(BENCH, what("p50"), times_ms.p50, "ms");
        let reach = format!("<= {REACH_MS} ms");
        report.goal(
            BENCH,
            what(&format!("p95 of {joins}")),
            (times_ms.p95, "ms"),
            reach,
            times_ms.p95 <= REACH_MS,
        );
        for (which, ms) in [("p50", live_ms.p50), ("p95", live_ms.p95)] {
            let what = format!("{}: page load to a live picture, {which}", engine.name());
            report.figure(BENCH, what, ms, "ms");
        }
        // Let the browser end before the next one starts.
        drop(browser);
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}
