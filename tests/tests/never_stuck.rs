//! Whatever happens to a player in a real browser, it plays again by itself, and tells what it did about it and why.

mod common;

use anyhow::{Result, ensure};
use common::{PLAYER, in_both_browsers, in_browser, wait_for_element};
use sightline_tests::browser::{Browser, Page};
use sightline_tests::camera::{Camera, Options};
use sightline_tests::proxy::Proxy;
use sightline_tests::{meddler, serve, wait};

in_both_browsers![
    the_media_source_is_mended_or_built_anew,
    a_connection_that_hangs_is_made_anew,
    a_camera_that_freezes_is_told_of_and_its_picture_returns,
    a_hidden_page_gives_its_stream_back_and_is_live_soon_after_it_is_seen_again,
    a_page_has_one_connection_and_asks_for_what_is_in_view,
];

// The third engine, Safari's.
in_browser![
    webkit, WebKit:
    a_hidden_page_gives_its_stream_back_and_is_live_soon_after_it_is_seen_again,
];

/// Plays a trick on the next append, and keeps the MediaSource for tricks on it.
const TRICKS: &str = "(() => { \
    const { appendBuffer } = SourceBuffer.prototype, { addSourceBuffer } = MediaSource.prototype; \
    window.trick = ''; \
    SourceBuffer.prototype.appendBuffer = function (bytes) { \
        const now = trick; trick = ''; \
        if (now === 'quota') throw new DOMException('it is full', 'QuotaExceededError'); \
        return appendBuffer.call(this, now === 'corrupt' ? new Uint8Array(bytes.byteLength).fill(255) : bytes); \
    }; \
    MediaSource.prototype.addSourceBuffer = function (mime) { \
        window.source = this; \
        return addSourceBuffer.call(this, mime); \
    }; })()";

fn stat(page: &Page<'_>, name: &str) -> Result<u64> {
    let value = page.evaluate(&format!("{PLAYER}.getStats().{name}"))?;
    Ok(value.as_u64().unwrap_or_default())
}

fn plays_again(page: &Page<'_>) -> Result<()> {
    wait_for_element(page, "live")?;
    page.reset_glass()?;
    page.wait_for_pictures(1, 25).map(drop)
}

fn the_media_source_is_mended_or_built_anew(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options { gop: 25, ..Options::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&proxy.url("/embed/cam"))?;
    page.evaluate(TRICKS)?;
    page.wait_for_pictures(1, 50)?;

    page.evaluate("trick = 'quota'")?;
    page.wait_for("a full buffer", &format!("{PLAYER}.getStats().quotaExceeded === 1"))?;
    plays_again(&page)?;

    let tricks = [
        ("bytes that cannot be decoded", "trick = 'corrupt'"),
        ("a SourceBuffer removed", "void source.removeSourceBuffer(source.sourceBuffers[0])"),
    ];
    for (what, trick) in tricks {
        let rebuilds = stat(&page, "rebuilds")?;
        page.evaluate(trick)?;
        page.wait_for(what, &format!("{PLAYER}.getStats().rebuilds > {rebuilds}"))?;
        page.wait_for("why", &format!("/^rebuild: ./.test({PLAYER}.getStats().lastTrouble)"))?;
        plays_again(&page)?;
    }

    page.evaluate("source.sourceBuffers[0].updating || source.endOfStream()")?;
    plays_again(&page)?;
    ensure!(stat(&page, "reconnects")? == 0, "the connection was not to blame");
    Ok(())
}

fn a_connection_that_hangs_is_made_anew(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let meddler = meddler::before(proxy.authority(), |_| {})?;
    let page = browser.open(&format!("http://{}/embed/cam", meddler.authority))?;
    page.wait_for_pictures(1, 25)?;
    meddler.hang();
    page.wait_for("another connection", &format!("{PLAYER}.getStats().reconnects >= 1"))?;
    plays_again(&page)?;
    ensure!(stat(&page, "rebuilds")? <= 1, "the MediaSource was not to blame");
    Ok(())
}

fn a_camera_that_freezes_is_told_of_and_its_picture_returns(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&proxy.url("/embed/cam"))?;
    page.wait_for_pictures(1, 25)?;
    camera.process().freeze()?;
    wait_for_element(&page, "offline")?;
    ensure!(stat(&page, "reconnects")? == 0, "the proxy was not to blame");
    camera.process().thaw()?;
    plays_again(&page)?;
    ensure!(stat(&page, "reconnects")? == 0, "the proxy was not to blame");
    Ok(())
}

/// Says that the page is hidden, or that it is not, as a browser does.
fn hide(hidden: bool) -> String {
    format!(
        "(Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }}), \
         document.dispatchEvent(new Event('visibilitychange')))"
    )
}

fn wait_for_viewers(proxy: &Proxy, viewers: f64) -> Result<()> {
    wait::until(&format!("{viewers} viewers"), || {
        ((proxy.metric("sightline_viewers", &[]).ok().flatten()? - viewers).abs() < 0.5).then_some(())
    })
}

fn a_hidden_page_gives_its_stream_back_and_is_live_soon_after_it_is_seen_again(
    browser: &Browser,
) -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&proxy.url("/embed/cam"))?;
    page.wait_for_pictures(1, 25)?;
    page.evaluate(&hide(true))?;
    wait_for_viewers(&proxy, 0.0)?;
    page.reset_glass()?;
    let back = format!(
        "new Promise(done => {{ const at = performance.now(); {}; \
         const timer = setInterval(() => {{ if (__glass.summary()[0]?.frames) {{ \
         clearInterval(timer); done(performance.now() - at); }} }}, 20); }})",
        hide(false)
    );
    let back_ms = page.evaluate(&back)?.as_f64().unwrap_or(f64::INFINITY);
    ensure!(back_ms < 2_000.0, "a picture after {back_ms} ms");
    plays_again(&page)?;
    ensure!(stat(&page, "reconnects")? == 0, "the connection was kept");
    Ok(())
}

fn a_page_has_one_connection_and_asks_for_what_is_in_view(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options { mounts: 3, ..Options::default() })?;
    let proxy = Proxy::start((0..3).map(|i| format!("s{i}={}{i}", camera.url())))?;
    let player = |i: u32| format!("<sightline-player id=\"p{i}\" stream=\"s{i}\" muted></sightline-player>");
    let html = format!(
        "<!doctype html><title>Three</title><script src=\"{}\"></script><script>window.sockets = 0; \
         window.WebSocket = class extends WebSocket {{ constructor(url) {{ super(url); sockets++; }} }}</script>\
         <div style=\"width:300px\">{}{}<div style=\"height:6000px\"></div>{}</div>",
        proxy.url("/sightline-player.js"),
        player(0),
        player(1),
        player(2)
    );
    let page = browser.open(&serve::pages(move |path| (path == "/").then(|| html.clone()))?)?;
    page.wait_for_pictures(2, 25)?;
    ensure!(page.evaluate("sockets")? == 1, "{} sockets", page.evaluate("sockets")?);
    wait_for_viewers(&proxy, 2.0)?;

    page.evaluate("void p2.scrollIntoView()")?;
    page.wait_for("the third one", "p2.state === 'live'")?;
    // The others are far now.
    wait_for_viewers(&proxy, 1.0)?;
    page.evaluate("void p0.scrollIntoView()")?;
    page.reset_glass()?;
    page.wait_for_pictures(2, 25)?;
    ensure!(page.evaluate("sockets")? == 1, "{} sockets", page.evaluate("sockets")?);

    // One of them leaves: the others do not notice.
    page.evaluate("void p1.remove()")?;
    page.reset_glass()?;
    page.wait_for_pictures(1, 25)?;
    ensure!(page.evaluate("p0.getStats().rebuilds + p0.getStats().reconnects")? == 0);
    ensure!(page.evaluate("sockets")? == 1);
    Ok(())
}
