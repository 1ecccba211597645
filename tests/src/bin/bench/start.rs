//! How long a page's own thread has to do with the player before it can play: its scripts, and the start of its wasm.

use anyhow::Result;
use sightline_tests::browser::{Browser, Engine};
use sightline_tests::camera::free_port;
use sightline_tests::proxy::Proxy;
use sightline_tests::serve;
use sightline_tests::stats::Percentiles;

use crate::{Options, report::Report};

const BENCH: &str = "start";
const REACH_MS: f64 = 50.0;

/// Loads it in fresh tabs: the element's script and all it imports, and the wasm until it is ready. What a few files take from
/// loopback is in it.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let loads = if options.quick { 3 } else { 20 };
    let proxy = Proxy::start([format!("cam=rtsp://127.0.0.1:{}/cam", free_port()?)])?;
    let page = serve::pages(|_| Some("<!doctype html><title>empty</title>".to_owned()))?;
    for engine in options.engines(&Engine::THREE) {
        let browser = Browser::launch(engine)?;
        let (element, session) =
            (proxy.url("/sightline-player/element.js"), proxy.url("/sightline-player/index.js"));
        let mut times_ms = vec![];
        for _ in 0..loads {
            let page = browser.open(&page)?;
            let took = page.evaluate(&format!(
                "(async () => {{ const began = performance.now(); await import('{element}'); \
                 await (await import('{session}')).load(); return performance.now() - began; }})()"
            ))?;
            times_ms.push(serde_json::from_value(took)?);
        }
        report.detail(BENCH, serde_json::json!({ "engine": engine.name(), "start_ms": times_ms }));
        let times_ms = Percentiles::of(times_ms.iter().copied());
        let what = |which: &str| format!("{}: scripts and wasm, {which}", engine.name());
        report.figure(BENCH, what("p50"), times_ms.p50, "ms");
        let p95 = what(&format!("p95 of {loads}"));
        if engine == Engine::Chromium {
            let reach = format!("<= {REACH_MS} ms");
            report.goal(BENCH, p95, (times_ms.p95, "ms"), reach, times_ms.p95 <= REACH_MS);
        } else {
            report.figure(BENCH, p95, times_ms.p95, "ms");
        }
    }
    Ok(())
}
