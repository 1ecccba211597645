//! How far what is heard and what is seen lie apart: a camera flashes and beeps at one instant, once a second, and the page
//! tells when the flash is to be seen and when the beep leaves for the loudspeaker, both by the browser's own word.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use sightline_tests::browser::{Browser, Engine, Page};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::proxy::Proxy;
use sightline_tests::serve;
use sightline_tests::stats::Percentiles;

use crate::{Options, report::Report};

const BENCH: &str = "lipsync";
const REACH_MS: f64 = 40.0;
const PLAYER: &str = "document.querySelector('sightline-player')";
/// After sound was switched on.
const WARM_UP: Duration = Duration::from_secs(4);

/// A flash with its beep. Times in ms.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Pair {
    /// Heard minus seen.
    apart: f64,
    /// From the context's graph to the loudspeaker.
    output_latency: f64,
    base_latency: f64,
    behind_graph: f64,
}

/// Measures 60 s of each codec in each browser.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let (rounds, pairs) = if options.quick { (1, 8) } else { (3, 20) };
    for engine in options.engines(&Engine::ALL) {
        let browser = Browser::launch(engine)?;
        for audio_codec in ["pcma", "l16", "aac"] {
            let mut all = vec![];
            for round in 1..=rounds {
                let camera = Camera::start(Sends { audio: true, audio_codec, ..Sends::default() })?;
                let proxy = Proxy::for_camera(&camera)?;
                // Our own pages let no script in, not even one that listens.
                let html = format!(
                    "<!doctype html><title>Lip-sync</title><script src=\"{}\"></script>\
                     <sightline-player stream=\"cam\" muted></sightline-player>",
                    proxy.url("/sightline-player.js")
                );
                let address = serve::pages(move |path| (path == "/").then(|| html.clone()))?;
                let page = browser.open(&address)?;
                let Some(found) = pairs_of(&page, pairs)? else {
                    eprintln!("{}: without a sound card it lets nobody listen: not measured", engine.name());
                    continue;
                };
                let p = Percentiles::of(found.iter().map(|pair| pair.apart));
                eprintln!(
                    "{}, {audio_codec}, round {round} of {rounds}: sound behind picture p50 {:.0}, p95 {:.0} ms; {:?}",
                    engine.name(),
                    p.p50,
                    p.p95,
                    found.last()
                );
                all.extend(found);
            }
            if all.is_empty() {
                continue;
            }
            let size = Percentiles::of(all.iter().map(|pair| pair.apart.abs()));
            let signed = Percentiles::of(all.iter().map(|pair| pair.apart));
            let what = |text: &str| format!("{}, {audio_codec}: {text}", engine.name());
            let reach = format!("< {REACH_MS} ms");
            report.goal(
                BENCH,
                what("sound and picture apart, p95"),
                (size.p95, "ms"),
                reach,
                size.p95 < REACH_MS,
            );
            report.figure(BENCH, what("sound behind picture, p50"), signed.p50, "ms");
            report.detail(
                BENCH,
                serde_json::json!({ "engine": engine.name(), "codec": audio_codec, "apart_ms": size, "pairs": all }),
            );
        }
    }
    Ok(())
}

fn pairs_of(page: &Page<'_>, pairs: usize) -> Result<Option<Vec<Pair>>> {
    page.wait_for_pictures(1, 1)?;
    page.click(600, 300)?;
    page.evaluate(&format!("{PLAYER}.muted = false"))?;
    std::thread::sleep(WARM_UP);
    if page.evaluate(&format!("__lips.start({PLAYER}.shadowRoot.querySelector('video'))"))? != true {
        return Ok(None);
    }
    std::thread::sleep(Duration::from_secs(pairs as u64 + 1));
    let found = page.evaluate("__lips.pairs")?;
    serde_json::from_value(found).map(Some).context("pairs of flash and beep")
}
