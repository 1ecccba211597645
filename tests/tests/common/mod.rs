//! What tests with browsers share: one browser of each kind serves all tests of a file, one test at a time, since a tab in
//! the background is hidden.

// Each file of tests uses its part.
#![allow(dead_code)]

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use sightline_tests::browser::{Browser, Engine, Glass, Page};
use sightline_tests::seen;

/// Capture to screen, in ms, that would mean something is wrong, even on a busy machine. The benchmark is stricter.
const SANE_LATENCY_MS: f64 = 600.0;

/// Pictures that cameras and encoders send in a second.
const FPS: f64 = 25.0;

/// The page's player.
pub(crate) const PLAYER: &str = "document.querySelector('sightline-player')";

/// Looks every 5 ms at what is on the screen: the picture that is kept, where there is one, else the video.
pub(crate) const LOOK: &str = "(() => { \
    const { shadowRoot } = document.querySelector('sightline-player'); \
    const context = new OffscreenCanvas(8, 8).getContext('2d', { willReadFrequently: true }); \
    const seen = e => e?.checkVisibility({ opacityProperty: true, visibilityProperty: true }); \
    window.sameDocument = true; window.looks = 0; window.dark = []; \
    setInterval(() => { \
        const kept = shadowRoot.querySelector('canvas'), video = shadowRoot.querySelector('video'); \
        const top = seen(kept) ? kept : seen(video) ? video : null; \
        context.clearRect(0, 0, 8, 8); \
        if (top) context.drawImage(top, 0, 0, 8, 8); \
        const { data } = context.getImageData(0, 0, 8, 8); \
        const light = data.reduce((sum, byte, i) => i % 4 < 3 ? sum + byte : sum, 0) / 192; \
        looks++; \
        if (light < 60) dark.push([Math.round(performance.now()), top?.tagName ?? 'nothing', light]); \
    }, 5); })()";

pub(crate) fn with(
    browser: &Mutex<Option<Browser>>,
    engine: Engine,
    test: fn(&Browser) -> Result<()>,
) -> Result<()> {
    // A failed test leaves a browser that is as good as before.
    let mut browser = browser.lock().unwrap_or_else(PoisonError::into_inner);
    if browser.is_none() {
        *browser = Some(Browser::launch(engine)?);
    }
    test(browser.as_ref().context("was just launched")?)?;
    Ok(seen::note(engine)?)
}

/// These tests in one browser: a module of this name, with one browser for all of them.
#[allow(unused_macros)]
macro_rules! in_browser {
    ($module:ident, $engine:ident: $($test:ident),* $(,)?) => {
        mod $module {
            use std::sync::Mutex;

            use anyhow::Result;
            use sightline_tests::browser::{Browser, Engine};

            use super::common::with;

            static BROWSER: Mutex<Option<Browser>> = Mutex::new(None);
            $(#[test] fn $test() -> Result<()> { with(&BROWSER, Engine::$engine, super::$test) })*
        }
    };
}

#[allow(unused_macros)]
macro_rules! in_both_browsers {
    ($($test:ident),* $(,)?) => {
        $crate::common::in_browser!(chromium, Chromium: $($test),*);
        $crate::common::in_browser!(firefox, Firefox: $($test),*);
    };
}
#[allow(unused_imports)]
pub(crate) use {in_both_browsers, in_browser};

/// A name for a screenshot.
pub(crate) fn name(browser: &Browser, page: &str) -> String {
    format!("{}-{page}", browser.engine().name())
}

/// Waits until the element tells this state.
pub(crate) fn wait_for_element(page: &Page<'_>, state: &str) -> Result<()> {
    page.wait_for(
        state,
        &format!("{PLAYER}?.state === '{state}' && {PLAYER}.getAttribute('state') === '{state}'"),
    )
}

/// The one video's pictures keep coming, in order, and soon after they were taken.
pub(crate) fn assert_live(page: &Page<'_>) -> Result<()> {
    assert_live_within(page, SANE_LATENCY_MS).map(drop)
}

/// As [`assert_live`], of an encoder that takes its time. Tells what share of the pictures is shown.
pub(crate) fn assert_live_within(page: &Page<'_>, latency_ms: f64) -> Result<f64> {
    page.wait_for_pictures(1, 10)?;
    // Measured from here on: a start is allowed to be rough.
    page.reset_glass()?;
    let glass = page.wait_for_pictures(1, 75)?;
    let seen = &glass[0];
    let latency = seen.latency(0.0);
    assert!((0.0..latency_ms).contains(&latency.p50), "{latency:?}");
    if seen.backwards > 0 {
        let stats = page.evaluate(&format!("JSON.stringify({PLAYER}.getStats())"))?;
        panic!("pictures out of order: {:?}\n{stats}\n{seen:?}", steps_back(seen));
    }
    // By their own clocks. Firefox once showed every third picture, those that are no B-frames.
    let clock = |sample: Option<&(f64, f64, f64)>| sample.map_or(0.0, |(shown, latency, _)| shown - latency);
    let sent = (clock(seen.samples.last()) - clock(seen.samples.first())) * FPS / 1000.0;
    let share = seen.samples.len() as f64 / sent.max(1.0);
    assert!(share > 0.5, "only {:.0} % of the pictures are shown", share * 100.0);
    assert_eq!((seen.width, seen.height), (640, 360));
    Ok(share)
}

/// Around each picture that was older than the one before: when they were shown, and their clocks, in ms.
fn steps_back(seen: &Glass) -> Vec<Vec<(f64, f64)>> {
    let shown: Vec<_> = seen.samples.iter().map(|(shown, latency, _)| (*shown, shown - latency)).collect();
    let back = (1..shown.len()).filter(|&i| shown[i].1 < shown[i - 1].1);
    back.map(|i| shown[i.saturating_sub(3)..shown.len().min(i + 3)].to_vec()).collect()
}

/// Lets the player be heard, as a user would, and waits until the browser decodes sound.
pub(crate) fn unmute(page: &Page<'_>) -> Result<()> {
    // Muted, sound is not even asked for. A gesture is what browsers want before they play it.
    page.click(600, 300)?;
    page.evaluate(&format!("{PLAYER}.muted = false"))?;
    wait_for_sound(page)
}

/// Sound is fetched with pictures anew, and they begin with a few that were shown before: until they do no more.
pub(crate) fn wait_for_sound(page: &Page<'_>) -> Result<()> {
    let sound = format!(
        "(v => (v.mozHasAudio ?? (v.webkitAudioDecodedByteCount > 0 || v.audioTracks?.length > 0)) && \
          v.getVideoPlaybackQuality().totalVideoFrames > 10)({PLAYER}.shadowRoot.querySelector('video'))"
    );
    page.wait_for("decoded sound", &sound)?;
    page.reset_glass()
}
