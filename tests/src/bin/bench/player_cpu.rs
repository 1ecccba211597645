//! What the player's own code costs: Chromium's profiler looks where the page's main thread is.

use std::time::Duration;

use anyhow::Result;
use sightline_tests::browser::{Browser, Engine, Function};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::proxy::Proxy;

use crate::turns::{FPS, WARM_UP};
use crate::{Options, report::Report};

const BENCH: &str = "player-cpu";
const REACH_PERCENT: f64 = 1.0;
/// Functions that are named.
const TOP: usize = 12;

/// Profiles one page with one camera.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let time = Duration::from_secs(if options.quick { 10 } else { 60 });
    let camera = Camera::start(Sends { fps: FPS, ..Sends::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    let browser = Browser::launch(Engine::Chromium)?;
    let page = browser.open(&proxy.url("/embed/cam"))?;
    page.wait_for_pictures(1, 2)?;
    std::thread::sleep(WARM_UP);
    let profile = page.profile(time)?;
    // What reads the pictures is ours too, but none of the player: it has another address, or none.
    let origin = proxy.url("/");
    let ours = |url: &str| url.starts_with(&origin) || url.starts_with("wasm://");
    let share = |of: &dyn Fn(&Function) -> bool| {
        profile.functions.iter().filter(|function| of(function)).map(|function| function.ms).sum::<f64>()
            / profile.ms
            * 100.0
    };
    let own = share(&|function| ours(&function.url));
    let called = share(&|function| function.url.is_empty() && ours(&function.caller));
    let collected = share(&|function| function.name == "(garbage collector)");
    let idle = share(&|function| function.name == "(idle)");
    let what = "chromium: own code, of one core, one camera at 25 pictures a second";
    report.goal(BENCH, what, (own, "%"), format!("<= {REACH_PERCENT} %"), own <= REACH_PERCENT);
    report.figure(BENCH, "chromium: the browser's functions that it calls", called, "%");
    report.figure(BENCH, "chromium: collection of garbage, also the measuring's", collected, "%");
    report.figure(BENCH, "chromium: the page's main thread idle", idle, "%");
    let mut top: Vec<&Function> =
        profile.functions.iter().filter(|f| ours(&f.url) || f.url.is_empty() && ours(&f.caller)).collect();
    top.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    for function in top.iter().take(TOP) {
        let from = if function.url.is_empty() { "the browser's" } else { function.url.as_str() };
        eprintln!("{:8.3} %  {} ({from})", function.ms / profile.ms * 100.0, function.name);
    }
    report.detail(BENCH, serde_json::json!({ "profiled_ms": profile.ms, "functions": profile.functions }));
    Ok(())
}
