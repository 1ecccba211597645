//! Pictures as real cameras send them by RTSP: B-frames, intra refresh, open GOPs, slices, fields, H.265.

mod common;

use anyhow::{Context, Result};
use common::{PLAYER, assert_live_within, in_both_browsers, name, wait_for_element};
use sightline_tests::browser::{Browser, Engine};
use sightline_tests::camera::{Camera, Options};
use sightline_tests::judge;
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::Viewer;

in_both_browsers![
    b_frames_are_shown_in_order,
    a_pyramid_of_b_frames_is_shown_in_order,
    intra_refresh_starts_for_a_late_joiner,
    h265_plays_or_is_refused_by_name,
];

/// The share of pictures that must be seen.
const NEARLY_ALL: f64 = 0.95;

/// A camera's pictures are shown, in order and nearly all, to somebody who comes late.
fn assert_shown(browser: &Browser, options: Options, latency_ms: f64, shot: &str) -> Result<()> {
    let camera = Camera::start(options)?;
    let proxy = Proxy::for_camera(&camera)?;
    let first = Viewer::watch(&proxy, "cam")?;
    first.wait_fragments(90)?;
    let page = browser.open(&proxy.url("/embed/cam"))?;
    let share = assert_live_within(&page, latency_ms)?;
    page.screenshot(&name(browser, shot))?;
    assert!(share > NEARLY_ALL, "only {:.0} % of the pictures are shown", share * 100.0);
    assert_eq!(page.errors()?, Vec::<String>::new());
    Ok(())
}

fn b_frames_are_shown_in_order(browser: &Browser) -> Result<()> {
    assert_shown(browser, Options { b_frames: 2, ..Options::default() }, 900.0, "rtsp-b-frames")
}

fn a_pyramid_of_b_frames_is_shown_in_order(browser: &Browser) -> Result<()> {
    let options = Options { b_frames: 3, encoder: "b-pyramid=true", ..Options::default() };
    assert_shown(browser, options, 900.0, "rtsp-b-pyramid")
}

fn intra_refresh_starts_for_a_late_joiner(browser: &Browser) -> Result<()> {
    let options = Options { encoder: "intra-refresh=true", ..Options::default() };
    assert_shown(browser, options, 600.0, "rtsp-intra-refresh")
}

fn h265_plays_or_is_refused_by_name(browser: &Browser) -> Result<()> {
    let options = Options { codec: "h265", ..Options::default() };
    // Debian's Firefox decodes it, and its Chromium does not.
    if browser.engine() == Engine::Firefox {
        return assert_shown(browser, options, 600.0, "rtsp-h265");
    }
    let camera = Camera::start(options)?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&proxy.url("/watch/cam"))?;
    wait_for_element(&page, "error")?;
    page.wait_for("the codec's name", "/H\\.265|hvc1/.test(__glass.text())")?;
    page.screenshot(&name(browser, "rtsp-h265-refused")).map(drop)
}
