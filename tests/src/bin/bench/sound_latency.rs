//! Capture to screen while sound is heard: our page, and by turns a bare page with sound.

use anyhow::Result;
use sightline_tests::browser::{Browser, Engine, Page};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::proxy::Proxy;

use crate::latency::against_bare;
use crate::turns::{Case, FPS, PLAYER, Witness, bare_pages, by_turns};
use crate::{Options, report::Report};

const BENCH: &str = "sound-latency";
const REACH_RATIO: f64 = 1.15;

/// The least that a bare page with sound must keep behind the newest frame so that 99 % of the pictures are seen, in
/// milliseconds. Firefox's was found by trying; the others are first guesses.
fn target_ms(engine: Engine) -> u32 {
    match engine {
        Engine::Chromium => 200,
        Engine::Firefox => 60,
        Engine::WebKit => 100,
    }
}

/// Measures 60 s of each page in each browser.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let camera = Camera::start(Sends { fps: FPS, audio: true, ..Sends::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    let (server, socket) = (bare_pages()?, proxy.ws_url(Some("cam")));
    for engine in options.engines(&Engine::THREE) {
        let browser = Browser::launch(engine)?;
        let witness = Witness::of(&proxy, "cam")?;
        let bare = format!("{server}/bare-sound.html?target={}#{socket}", target_ms(engine));
        let cases = [
            Case { prepare: unmute, ..Case::new("ours", proxy.url("/embed/cam")) },
            Case { prepare: |page| page.click(600, 300), ..Case::new("bare", bare) },
        ];
        let mut seen = by_turns(&browser, &witness, &cases, 1, options.turns())?.into_iter().flatten();
        if let (Some(ours), Some(bare)) = (seen.next(), seen.next()) {
            against_bare(BENCH, engine, ", with sound", (&ours, &bare), REACH_RATIO, report);
            let what = format!("{}, with sound: longest freeze, ours", engine.name());
            report.figure(BENCH, what, ours.freeze_ms, "ms");
        }
    }
    Ok(())
}

/// As a user would: browsers play sound only after a gesture.
fn unmute(page: &Page<'_>) -> Result<()> {
    page.click(600, 300)?;
    page.evaluate(&format!("{PLAYER}.muted = false"))?;
    page.wait_for("its pictures with sound", &format!("{PLAYER}.getStats()?.codecs.length === 2"))?;
    page.reset_glass()?;
    page.wait_for_pictures(1, 2).map(drop)
}
