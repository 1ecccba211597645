//! `<sightline-player>` in a page of somebody else: attributes that change, moves, controls, and that it leaves nothing behind.

mod common;

use anyhow::{Context, Result, ensure};
use common::{PLAYER, assert_live, in_both_browsers, in_browser, name, wait_for_element};
use serde_json::json;
use sightline_tests::browser::{Browser, Engine, Page};
use sightline_tests::camera::{Camera, Options};
use sightline_tests::proxy::Proxy;
use sightline_tests::{serve, wait};

in_both_browsers![
    attributes_change_at_any_time_and_a_move_reconnects_nothing,
    what_is_asked_before_there_is_a_player_counts,
    what_is_wrong_is_told_as_an_error_and_in_words,
    controls_do_what_they_say,
    a_page_plays_in_a_video_of_its_own,
];

in_browser![
    webkit, WebKit:
    controls_do_what_they_say,
    attributes_change_at_any_time_and_a_move_reconnects_nothing,
];

/// Counts what a page opens and holds.
const HELD: &str = include_str!("../browser/held.js");

/// A page of another origin, with the embed script and a body.
fn elsewhere(proxy: &Proxy, body: &str) -> Result<String> {
    let html = format!(
        "<!doctype html><html lang=en><link rel=icon href=\"data:,\"><title>A page of somebody else</title>\
         <style>body {{ margin: 20px; background: #20252b; font: 14px system-ui }}</style>\
         <script>{HELD}</script><script src=\"{}\"></script>{body}",
        proxy.url("/sightline-player.js")
    );
    serve::pages(move |path| (path == "/").then(|| html.clone()))
}

fn goes_on(page: &Page<'_>) -> Result<()> {
    page.reset_glass()?;
    page.wait_for_pictures(1, 15).map(drop)
}

fn attributes_change_at_any_time_and_a_move_reconnects_nothing(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options { mounts: 2, ..Options::default() })?;
    let proxy = Proxy::start([format!("gate={}0", camera.url()), format!("yard={}1", camera.url())])?;
    let page = browser.open(&elsewhere(
        &proxy,
        "<div id=here><sightline-player stream=gate muted></sightline-player></div><div id=there></div>",
    )?)?;
    assert_live(&page)?;
    // WebKit may have needed a second MediaSource for its beginning, or need one on a busy machine.
    let what = if browser.engine() == Engine::WebKit { "opened.sockets" } else { "opened" };
    let opened = page.evaluate(what)?;
    ensure!(page.evaluate("opened.sockets")? == 1, "{opened}");
    let same = |change: &str| -> Result<()> {
        goes_on(&page)?;
        let now = page.evaluate(what)?;
        ensure!(now == opened, "{change}: {now}");
        Ok(())
    };
    for change in [
        "setAttribute('target-latency', '400')",
        "targetLatency = 'auto'",
        "setAttribute('quality', 'auto')",
        "poster = 'data:image/gif;base64,R0lGODlhAQABAAAAACw='",
        "controls = true",
        "removeAttribute('controls')",
        "setAttribute('autoplay', 'off')",
        "autoplay = true",
    ] {
        page.evaluate(&format!("void ({PLAYER}.{change})"))?;
    }
    same("other attributes")?;
    page.evaluate(&format!("there.append({PLAYER})"))?;
    same("a move")?;
    let move_before = "here.moveBefore ? here.moveBefore(player, null) : here.append(player)";
    page.evaluate(&format!("void (player => {move_before})({PLAYER})"))?;
    same("a move that keeps its state")?;

    // Another stream is another one, at once; and a property is as good.
    let watched = |stream: &str| proxy.metric("sightline_viewers", &[("stream", stream)]).ok().flatten();
    for (stream, change) in [("yard", "setAttribute('stream', 'yard')"), ("gate", "stream = 'gate'")] {
        page.evaluate(&format!("void ({PLAYER}.{change})"))?;
        wait_for_element(&page, "live")?;
        goes_on(&page)?;
        wait::until("the other stream to be watched", || (watched(stream) == Some(1.0)).then_some(()))?;
    }
    ensure!(watched("yard") != Some(1.0), "the one before is still watched");
    let held = page.evaluate("held")?;
    ensure!(held["sockets"] == 1 && held["sources"] == 1, "{held}");
    ensure!(page.errors()?.is_empty(), "{:?}", page.errors()?);
    Ok(())
}

fn what_is_asked_before_there_is_a_player_counts(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&elsewhere(&proxy, "<div id=here></div>")?)?;
    page.wait_for("the element to be known", "!!customElements.get('sightline-player')")?;
    let put = |attributes: &str, call: &str| {
        page.evaluate(&format!(
            "void (here.innerHTML = '<sightline-player stream=cam muted {attributes}></sightline-player>', {PLAYER}.{call}())"
        ))
    };
    put("", "pause")?;
    page.wait_for("it to be ready", &format!("!!{PLAYER}.getStats()"))?;
    ensure!(page.evaluate(&format!("{PLAYER}.paused"))? == true, "it forgot that it shall not play");
    // The control: it would have been there by now.
    put("", "play")?;
    assert_live(&page)?;
    put("", "pause")?;
    page.wait_for("it to be ready", &format!("!!{PLAYER}.getStats()"))?;
    ensure!(
        page.evaluate(&format!("{PLAYER}.getStats().fragments"))? == 0,
        "it fetches what it does not show"
    );
    put("autoplay=off", "play")?;
    assert_live(&page)?;
    ensure!(!page.text()?.contains("Play"), "it asks for a click: {}", page.text()?);
    put("autoplay=off", "getStats")?;
    page.wait_for("a button", "__glass.text().includes('Play')")?;
    page.wait_for("it to be ready", &format!("!!{PLAYER}.getStats()"))?;
    // One that was made before it was in a page, as frameworks do.
    page.evaluate(
        "void (player => { Object.assign(player, { stream: 'cam', muted: true }); player.pause(); player.play(); \
         here.replaceChildren(player); })(document.createElement('sightline-player'))",
    )?;
    assert_live(&page)
}

fn what_is_wrong_is_told_as_an_error_and_in_words(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&elsewhere(
        &proxy,
        "<div id=here></div><script>window.told = []; \
         document.addEventListener('error', event => event.detail && told.push(event.detail), true)</script>",
    )?)?;
    let put = |attributes: &str| {
        let html = format!("<sightline-player muted {attributes}></sightline-player>");
        page.evaluate(&format!("void (told.length = 0, here.innerHTML = '{html}')"))
    };
    let told = |code: &str, fatal: bool, retryable: bool, words: &str| -> Result<()> {
        let look = format!(
            "told.some(e => e.code === '{code}' && e.fatal === {fatal} && e.retryable === {retryable})"
        );
        page.wait_for(code, &look)?;
        page.wait_for("words for it", &format!("/{words}/.test(__glass.text())"))
    };
    // The first player of the page, whose file is missing. Another one is not the worse for it.
    put("stream=cam wasm-url=\"/nothing.wasm\"")?;
    told("wasm_failed", true, true, "could not be loaded")?;
    put("stream=cam")?;
    assert_live(&page)?;
    put("stream=nobody")?;
    told("unknown_stream", false, false, "nobody")?;
    put("stream=cam src=\"http://:0/\"")?;
    told("bad_src", true, false, "no address of a server")?;
    put("")?;
    page.wait_for("words for it", "/No stream is named/.test(__glass.text())")?;
    put("stream=cam renderer=crayons")?;
    page.wait_for("the renderer", "told.some(e => e.code === 'unknown_renderer' && !e.fatal)")?;
    assert_live(&page)?;
    // A codec that the browser does not have, as the player has it told by the browser.
    page.evaluate(
        "void (MediaSource.prototype.addSourceBuffer = () => { throw new DOMException('no', 'NotSupportedError'); })",
    )?;
    put("stream=cam")?;
    told("unsupported_codec", true, false, "This browser cannot decode H.264")
}

/// The middle of a control.
fn press(page: &Page<'_>, control: &str) -> Result<()> {
    let middle =
        format!("(r => [r.x + r.width / 2, r.y + r.height / 2])({}.getBoundingClientRect())", part(control));
    let at: (f64, f64) = serde_json::from_value(page.evaluate(&middle)?)?;
    page.click(at.0 as u32, at.1 as u32)
}

fn part(control: &str) -> String {
    format!("document.querySelector('#normal').shadowRoot.querySelector('.{control}')")
}

fn controls_do_what_they_say(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&elsewhere(
        &proxy,
        "<style>sightline-player { float: left; margin: 0 16px 16px 0 } #tile { width: 160px } #small { width: 320px }</style>\
         <sightline-player id=normal stream=cam muted controls style=\"width: 720px\"></sightline-player>\
         <sightline-player id=small stream=cam muted controls></sightline-player>\
         <sightline-player id=tile stream=cam muted controls></sightline-player>",
    )?)?;
    page.wait_for_pictures(3, 10)?;
    let is = |what: &str, js: &str| page.wait_for(what, js);
    let latency = format!("/^LIVE\\s*\\d+ ms$/.test({}.textContent)", part("live"));
    is("the latency", &latency)?;
    page.screenshot(&name(browser, "controls"))?;

    // They go when nothing is done, and come back with the mouse.
    let shown = format!("getComputedStyle({}).opacity", part("bar"));
    is("nothing over the picture", &format!("{shown} === '0'"))?;
    page.click(300, 200)?;
    is("controls", &format!("{shown} === '1'"))?;

    press(&page, "play")?;
    is("a pause", &format!("{PLAYER}.paused && {}.ariaLabel === 'Play'", part("play")))?;
    is("a way back", &format!("{}.textContent === 'GO LIVE'", part("live")))?;
    press(&page, "live")?;
    is("the picture", &format!("!{PLAYER}.paused && !{PLAYER}.video.paused"))?;
    page.press("k")?;
    is("a pause by a key", &format!("{PLAYER}.paused"))?;
    page.press("k")?;
    is("the picture by a key", &format!("!{PLAYER}.paused && {PLAYER}.state === 'live'"))?;

    press(&page, "mute")?;
    is("sound", &format!("!{PLAYER}.muted && {}.ariaLabel === 'Mute'", part("mute")))?;
    page.press("ArrowDown")?;
    is("less of it", &format!("{PLAYER}.volume < 0.95 && {PLAYER}.volume > 0.85"))?;
    page.screenshot(&name(browser, "controls-sound"))?;
    page.press("m")?;
    is("silence", &format!("{PLAYER}.muted"))?;

    page.evaluate(&format!(
        "void {PLAYER}.addEventListener('snapshot', event => {{ event.preventDefault(); window.shot = event.detail.size; }})"
    ))?;
    press(&page, "snapshot")?;
    is("a file", "window.shot > 1000")?;

    if browser.engine() != Engine::WebKit {
        press(&page, "fullscreen")?;
        is("the whole screen", &format!("{PLAYER}.matches(':fullscreen')"))?;
        page.wait_for(
            "the picture on it",
            &format!(
                "{PLAYER}.clientWidth >= innerWidth && {}.ariaLabel === 'Leave full screen'",
                part("fullscreen")
            ),
        )?;
        page.screenshot(&name(browser, "controls-full"))?;
        page.press("f")?;
        is("the page again", &format!("!{PLAYER}.matches(':fullscreen')"))?;
    }
    // Each has a name, and is reached by keyboard.
    let named = "[...document.querySelector('#normal').shadowRoot.querySelectorAll('button,input')].filter(c => !c.hidden) \
        .every(c => (c.ariaLabel || c.textContent).trim() && c.tabIndex === 0)";
    ensure!(page.evaluate(named)? == true, "a control without a name");
    page.evaluate(&format!("void ({PLAYER}.controls = false)"))?;
    is("none any more", &format!("!{PLAYER}.shadowRoot.querySelector('.bar')"))?;
    ensure!(page.errors()?.is_empty(), "{:?}", page.errors()?);
    Ok(())
}

fn a_page_plays_in_a_video_of_its_own(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options { mounts: 2, ..Options::default() })?;
    let proxy = Proxy::start([format!("gate={}0", camera.url()), format!("yard={}1", camera.url())])?;
    let module = proxy.url("/sightline-player/index.js");
    let html = format!(
        "<!doctype html><link rel=icon href=\"data:,\"><title>A page of somebody else</title><script>{HELD}</script>\
         <div style=\"position: relative; padding: 30px\"><video muted playsinline style=\"width: 600px; object-fit: fill\"></video></div>\
         <script type=module>import {{ createPlayer }} from '{module}'; window.states = []; \
           window.player = createPlayer(document.querySelector('video'), {{ stream: 'gate', renderer: 'webcodecs' }}); \
           player.addEventListener('statechange', event => states.push(event.detail.state));</script>"
    );
    let page = browser.open(&serve::pages(move |path| (path == "/").then(|| html.clone()))?)?;
    page.wait_for_pictures(1, 25)?;
    ensure!(
        page.evaluate("player.state")? == "live" && page.evaluate("player.reason")? == "",
        "it does not say so"
    );
    ensure!(
        page.evaluate("player.getStats().renderer")? == "webcodecs",
        "{}",
        page.evaluate("player.getStats()")?
    );
    if browser.engine() == Engine::Firefox {
        let covers = "(([a, b]) => ['x', 'y', 'width', 'height'].every(side => Math.abs(a[side] - b[side]) < 1))\
            ([player.canvas, player.video].map(screen => screen.getBoundingClientRect()))";
        ensure!(page.evaluate(covers)? == true, "the canvas lies elsewhere than the <video>");
    }
    page.evaluate("player.set({ stream: 'yard', renderer: 'mse' })")?;
    page.wait_for("the other way", "player.getStats()?.renderer === 'mse' && player.state === 'live'")?;
    goes_on(&page)?;
    ensure!(page.evaluate("player.snapshot().then(blob => blob.size > 1000)")? == true, "no snapshot");
    page.evaluate("player.destroy()")?;
    let nothing = "held.sockets + held.sources + held.timers === 0 && !document.querySelector('canvas') && !player.video.src";
    page.wait_for("nothing left", nothing)?;
    ensure!(page.errors()?.is_empty(), "{:?}", page.errors()?);
    Ok(())
}

/// In Chromium, where a page's memory can be asked for.
#[test]
fn two_hundred_mounts_leave_nothing_behind() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let browser = Browser::launch(Engine::Chromium)?;
    let page = browser.open(&elsewhere(&proxy, "<main></main>")?)?;
    page.wait_for("the element to be known", "!!customElements.get('sightline-player')")?;
    // Some go before they are anything, some while they connect, some while they play; by turns of all that an element can have.
    page.evaluate(
        "window.mount = async times => { const main = document.querySelector('main'); \
           for (let i = 0; i < times; i++) { \
             const player = document.createElement('sightline-player'); \
             Object.assign(player, { stream: 'cam', muted: true, controls: i % 3 === 0, renderer: i % 4 === 1 ? 'webcodecs' : 'mse' }); \
             const playing = new Promise(done => player.addEventListener('playing', done)); \
             main.append(player); \
             if (i % 5 === 0) await playing; \
             else if (i % 5 > 1) await new Promise(done => setTimeout(done, i % 5 * 10)); \
             if (i % 7 === 0) main.prepend(player); \
             player.remove(); \
           } \
           main.replaceChildren(); \
           await new Promise(done => setTimeout(done, 500)); \
           return { ...held }; }",
    )?;
    let nothing = json!({ "sockets": 0, "sources": 0, "timers": 0, "listeners": 0, "contexts": 0 });
    // What there is once for a page, and the browser's own buffers, are there after a few.
    let first = page.evaluate("mount(30)")?;
    ensure!(first["sockets"] == 0 && first["sources"] == 0 && first["timers"] == 0, "{first}");
    let before = page.memory()?.context("Chromium tells")?;
    let after_all = page.evaluate("mount(200)")?;
    ensure!(after_all == first && after_all == nothing, "first {first}, then {after_all}");
    let after = page.memory()?.context("Chromium tells")?;
    let grown = after.heap + after.buffers - before.heap - before.buffers;
    ensure!(grown < 1e6, "grown by {:.0} KB: {before:?}, {after:?}", grown / 1e3);
    wait::until("no viewer", || {
        (proxy.metric("sightline_viewers", &[]).ok().flatten() == Some(0.0)).then_some(())
    })?;
    ensure!(page.errors()?.is_empty(), "{:?}", page.errors()?);
    Ok(sightline_tests::seen::note(Engine::Chromium)?)
}

/// What axe-core finds wrong for people who do not see, hear or click as others do.
fn audit(page: &Page<'_>, what: &str) -> Result<()> {
    let axe = std::fs::read_to_string(sightline_tests::file("browser/node_modules/axe-core/axe.min.js"))?;
    page.evaluate(&format!("void {}", format_args!("(() => {{ {axe} }}).call(window)")))?;
    let found = page.evaluate(
        "axe.run().then(({ violations, passes }) => [passes.length, violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' '))])",
    )?;
    ensure!(found[0].as_u64() > Some(5) && found[1] == json!([]), "{what}: {found}");
    Ok(())
}

/// In Chromium: what is audited is the same in all of them.
#[test]
fn the_pages_pass_an_audit_of_accessibility() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let browser = Browser::launch(Engine::Chromium)?;
    for path in [
        "/",
        "/watch/cam",
        "/watch/cam?controls",
        "/embed/cam",
        "/embed/cam?controls",
        "/embed",
        "/watch/nobody",
    ] {
        let page = browser.open(&proxy.url(path))?;
        if !path.ends_with("nobody") {
            page.wait_for_pictures(1, 3)?;
        }
        audit(&page, path)?;
        // The control: it does find what is wrong.
        if path == "/" {
            page.evaluate(
                "document.body.append(document.createElement('img'), document.createElement('button'))",
            )?;
            ensure!(audit(&page, path).is_err(), "the audit finds nothing");
        }
    }
    Ok(())
}

/// What is shown for copying plays on a page of somebody else.
#[test]
fn the_helper_page_shows_what_to_write() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let browser = Browser::launch(Engine::Chromium)?;
    let page = browser.open(&proxy.url("/embed"))?;
    page.wait_for_pictures(1, 10)?;
    page.screenshot("chromium-embedding")?;
    for (kind, part) in
        [("react", "sightline-player/react"), ("iframe", "<iframe"), ("html", "<sightline-player")]
    {
        let choose = format!(
            "(select => {{ select.value = '{kind}'; select.dispatchEvent(new Event('change')); \
             return document.querySelector('code').textContent; }})(document.querySelectorAll('select')[1])"
        );
        let snippet = page.evaluate(&choose)?.as_str().unwrap_or_default().to_owned();
        ensure!(snippet.contains(part) && snippet.contains("cam"), "{snippet}");
        if kind != "react" {
            let html = format!("<!doctype html><title>Somebody else's</title>{snippet}");
            let other = browser.open(&serve::pages(move |path| (path == "/").then(|| html.clone()))?)?;
            if kind == "html" {
                other.wait_for_pictures(1, 10)?;
            } else {
                other.wait_for("the frame", "document.querySelector('iframe')")?;
            }
            drop(other);
            page.front()?;
        }
    }
    Ok(())
}
