//! The latency that the player tells, against what is read from its pictures.

use std::time::Duration;

use anyhow::Result;
use sightline_tests::browser::{Browser, Engine};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::proxy::Proxy;
use sightline_tests::stats::Percentiles;

use crate::turns::{FPS, PLAYER, WARM_UP};
use crate::{Options, report::Report};

const BENCH: &str = "truth";
const REACH_MS: f64 = 15.0;
/// What the player tells is the median of so long.
const WINDOW_MS: f64 = 2_000.0;

/// Compares both, once a second, in each browser.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let seconds = if options.quick { 6 } else { 30 };
    let camera = Camera::start(Sends { fps: FPS, ..Sends::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    for engine in options.engines(&Engine::THREE) {
        let browser = Browser::launch(engine)?;
        let page = browser.open(&proxy.url("/embed/cam"))?;
        page.wait_for_pictures(1, 2)?;
        std::thread::sleep(WARM_UP);
        page.evaluate(&format!(
            "void (window.told = [], {PLAYER}.addEventListener('latency', ({{ detail }}) => told.push([Date.now(), detail])))"
        ))?;
        std::thread::sleep(Duration::from_secs(seconds));
        let told: Vec<(f64, f64)> = serde_json::from_value(page.evaluate("told")?)?;
        let glass = &page.glass()?[0];
        let apart: Vec<f64> = told
            .iter()
            .map(|(at, told_ms)| {
                let then =
                    glass.samples.iter().filter(|sample| sample.0 <= *at && at - sample.0 <= WINDOW_MS);
                told_ms - Percentiles::of(then.map(|sample| sample.1)).p50
            })
            .collect();
        let size = Percentiles::of(apart.iter().map(|ms| ms.abs()));
        let what = |text: &str| format!("{}: {text}", engine.name());
        let reach = format!("<= {REACH_MS} ms");
        let true_enough = size.count > 0 && size.max <= REACH_MS;
        report.goal(
            BENCH,
            what("latency told and painted apart, most"),
            (size.max, "ms"),
            reach,
            true_enough,
        );
        let signed = Percentiles::of(apart.iter().copied());
        report.figure(BENCH, what("told - painted, p50"), signed.p50, "ms");
        report.detail(BENCH, serde_json::json!({ "engine": engine.name(), "told": told, "apart_ms": apart }));
    }
    Ok(())
}
