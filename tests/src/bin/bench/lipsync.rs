//! How far what is heard and what is seen lie apart: a camera flashes and beeps at one instant, once a second. The page tells
//! when the flash is to be seen, by the browser's own word; the beep is heard on the sound card.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sightline_tests::browser::{Browser, Engine, Page};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::proxy::Proxy;
use sightline_tests::serve;
use sightline_tests::speaker::{self, Speaker};
use sightline_tests::stats::Percentiles;

use crate::{Options, report::Report};

const BENCH: &str = "lipsync";
const REACH_MS: f64 = 40.0;
const PLAYER: &str = "document.querySelector('sightline-player')";
/// After sound was switched on.
const WARM_UP: Duration = Duration::from_secs(4);

/// Measures 60 s of each codec in each browser.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let (rounds, pairs) = if options.quick { (1, 8) } else { (3, 20) };
    for engine in options.engines(&Engine::ALL) {
        let speaker = Speaker::start()?;
        let browser = Browser::launch_heard(engine, &speaker)?;
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
                let found = apart_ms(&page, &speaker, pairs)?;
                let p = Percentiles::of(found.iter().copied());
                eprintln!(
                    "{}, {audio_codec}, round {round} of {rounds}: sound behind picture p50 {:.0}, p95 {:.0} ms of {}",
                    engine.name(),
                    p.p50,
                    p.p95,
                    p.count
                );
                all.extend(found);
            }
            let size = Percentiles::of(all.iter().map(|apart: &f64| apart.abs()));
            let signed = Percentiles::of(all.iter().copied());
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
                serde_json::json!({ "engine": engine.name(), "codec": audio_codec, "apart_ms": size, "sound_behind_picture_ms": all }),
            );
        }
    }
    Ok(())
}

/// Heard minus seen of each pair, in ms.
fn apart_ms(page: &Page<'_>, speaker: &Speaker, pairs: usize) -> Result<Vec<f64>> {
    page.wait_for_pictures(1, 1)?;
    page.click(600, 300)?;
    page.evaluate(&format!("{PLAYER}.muted = false"))?;
    std::thread::sleep(WARM_UP);
    page.evaluate(&format!("__lips.start({PLAYER}.shadowRoot.querySelector('video'))"))?;
    std::thread::sleep(Duration::from_secs(pairs as u64 + 1));
    let seen: Vec<f64> = serde_json::from_value(page.evaluate("__lips.seen")?).context("flashes")?;
    let heard = speaker.beeps_ms();
    let apart = speaker::apart_ms(&seen, &heard);
    ensure!(apart.len() * 2 > pairs, "{} flashes, {} beeps", seen.len(), heard.len());
    Ok(apart)
}
