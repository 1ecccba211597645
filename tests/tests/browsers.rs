//! What people see, in Chromium and in Firefox: each claim read from the pictures on the screen.

mod common;

use std::time::Duration;

use anyhow::{Context, Result};
use common::{
    PLAYER, assert_live, in_both_browsers, in_browser, name, unmute, wait_for_element, wait_for_sound,
};
use sightline_tests::browser::{Browser, Engine};
use sightline_tests::camera::{Camera, Options, free_port};
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::Viewer;
use sightline_tests::{serve, wait};

in_both_browsers![
    the_embed_page_shows_a_live_picture_with_sound,
    far_behind_a_key_frame_that_is_seen_first_and_then_what_is_live,
    sound_takes_the_short_way_and_never_stops_the_picture,
    the_watch_page_shows_one_camera_with_its_numbers,
    the_wall_shows_every_stream_with_its_state,
    an_unknown_stream_is_said_to_be_unknown,
    a_dead_camera_is_offline_and_its_picture_returns_without_a_reload,
    a_restarted_proxy_is_found_again_without_a_reload,
    twenty_reloads_leave_nothing_behind,
    a_page_that_is_come_back_to_plays_again,
    the_embed_script_works_on_a_page_of_another_origin,
    the_demo_plays_on_the_wall,
];

// The third engine, Safari's: that it plays, in order, by either kind of MediaSource.
in_browser![
    webkit, WebKit:
    the_embed_page_shows_a_live_picture_with_sound,
    far_behind_a_key_frame_that_is_seen_first_and_then_what_is_live,
    a_dead_camera_is_offline_and_its_picture_returns_without_a_reload,
    the_wall_shows_every_stream_with_its_state,
    a_managed_media_source_plays_where_there_is_no_other,
];

fn the_embed_page_shows_a_live_picture_with_sound(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options { audio: true, ..Options::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&proxy.url("/embed/cam"))?;
    assert_live(&page)?;
    wait_for_element(&page, "live")?;
    page.screenshot(&name(browser, "embed"))?;

    let fills = format!(
        "(r => Math.abs(r.width - innerWidth) < 2 && Math.abs(r.height - innerHeight) < 2)({PLAYER}.getBoundingClientRect())"
    );
    assert_eq!(page.evaluate(&fills)?, true, "the picture does not fill the page");
    unmute(&page)?;
    assert_live(&page)?;
    let stats = page.evaluate(&format!("{PLAYER}.getStats()"))?;
    assert!(stats.is_object(), "{stats}");
    assert_eq!(page.errors()?, Vec::<String>::new());
    Ok(())
}

fn far_behind_a_key_frame_that_is_seen_first_and_then_what_is_live(browser: &Browser) -> Result<()> {
    const OLD_MS: f64 = 2_000.0;
    let camera = Camera::start(Options { gop: 250, ..Options::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    let witness = Viewer::watch(&proxy, "cam")?;
    witness.wait("100 pictures behind a key frame", |record| {
        let frames: Vec<_> = record.fragments(0).collect();
        let key = frames.iter().rposition(|frame| frame.header.key_frame)?;
        (100..200).contains(&(frames.len() - key)).then_some(())
    })?;
    let page = browser.open(&proxy.url("/embed/cam"))?;
    let seen = page.wait_for_pictures(1, 40)?.swap_remove(0);
    let ages_ms: Vec<_> = seen.samples.iter().map(|(_, age_ms, _)| *age_ms).collect();
    assert!(ages_ms[0] > OLD_MS, "the key frame was not seen: {ages_ms:?}");
    // Nothing of what is decoded in between flashes up.
    let old = ages_ms.iter().filter(|age_ms| **age_ms > OLD_MS).count();
    assert!(old == 1 && seen.backwards == 0, "{} backwards, {ages_ms:?}", seen.backwards);
    assert_live(&page)
}

fn sound_takes_the_short_way_and_never_stops_the_picture(browser: &Browser) -> Result<()> {
    // How often a sound was let out by an AudioContext. Only Chromium needs that.
    const COUNT: &str = "(audio => { window.routes = 0; const route = audio.createMediaElementSource; \
        audio.createMediaElementSource = function (video) { routes++; return route.call(this, video); }; })\
        (AudioContext.prototype)";
    let camera = Camera::start(Options { audio: true, ..Options::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&proxy.url("/embed/cam"))?;
    page.evaluate(COUNT)?;
    assert_live(&page)?;
    assert_eq!(page.evaluate("routes")?, 0, "nobody asked for sound");

    let routes = u32::from(browser.engine() == Engine::Chromium);
    // That it goes on, and no more: each change of the sound may show a picture again that was seen before.
    let moves = || -> Result<()> {
        page.reset_glass()?;
        page.wait_for_pictures(1, 50).map(drop)
    };
    let heard = || -> Result<()> {
        wait_for_sound(&page)?;
        page.wait_for("the sound's way", &format!("!{PLAYER}.muted && routes === {routes}"))?;
        moves()
    };
    unmute(&page)?;
    heard()?;
    page.evaluate(&format!("{PLAYER}.muted = true"))?;
    moves()?;
    page.evaluate(&format!("{PLAYER}.muted = false"))?;
    heard()?;
    // The way belongs to the <video>, and outlives the players behind it.
    page.evaluate("new Promise(done => { const player = document.querySelector('sightline-player'); \
        const { parentNode } = player; player.remove(); setTimeout(() => { parentNode.append(player); done(); }, 100); })")?;
    heard()?;
    assert_eq!(page.errors()?, Vec::<String>::new());
    Ok(())
}

fn the_watch_page_shows_one_camera_with_its_numbers(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&proxy.url("/watch/cam"))?;
    assert_live(&page)?;
    wait_for_element(&page, "live")?;
    page.wait_for("its numbers", "/\\d+\\s*ms/.test(__glass.text())")?;
    page.screenshot(&name(browser, "watch"))?;
    let text = page.text()?;
    for part in ["cam", "ms", "640", "360"] {
        assert!(text.contains(part), "{part:?} is not on the page:\n{text}");
    }
    assert!(text.contains("bit/s") || text.contains("bps"), "no bit rate:\n{text}");
    assert!(text.to_lowercase().contains("h.264") || text.contains("avc1"), "no codec:\n{text}");
    assert!(text.to_lowercase().contains("dropped"), "no dropped frames:\n{text}");
    assert_eq!(page.errors()?, Vec::<String>::new());
    Ok(())
}

fn the_wall_shows_every_stream_with_its_state(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options { mounts: 3, ..Options::default() })?;
    let proxy = Proxy::start([
        format!("gate={}0", camera.url()),
        format!("yard={}1", camera.url()),
        format!("hall={}2", camera.url()),
        format!("ghost=rtsp://127.0.0.1:{}/cam", free_port()?),
    ])?;
    let page = browser.open(&proxy.url("/"))?;
    let glass = page.wait_for_pictures(3, 50)?;
    assert!(glass.iter().all(|seen| seen.backwards == 0));
    let state = |stream: &str, state: &str| {
        page.wait_for(
            &format!("{stream} {state}"),
            &format!("document.querySelector('sightline-player[stream=\"{stream}\"]')?.state === '{state}'"),
        )
    };
    for stream in ["gate", "yard", "hall"] {
        state(stream, "live")?;
        page.wait_for("a link", &format!("!!document.querySelector('a[href$=\"/watch/{stream}\"]')"))?;
    }
    state("ghost", "offline")?;
    page.screenshot(&name(browser, "wall"))?;
    let text = page.text()?;
    for part in ["gate", "yard", "hall", "ghost"] {
        assert!(text.contains(part), "{part:?} is not on the wall:\n{text}");
    }
    assert!(text.to_lowercase().contains("offline since"), "{text}");
    assert_eq!(page.evaluate("document.documentElement.lang")?, "en");
    assert_eq!(page.errors()?, Vec::<String>::new());
    Ok(())
}

fn an_unknown_stream_is_said_to_be_unknown(browser: &Browser) -> Result<()> {
    let proxy = Proxy::start([format!("cam=rtsp://127.0.0.1:{}/cam", free_port()?)])?;
    for path in ["/embed/nobody", "/watch/nobody"] {
        let page = browser.open(&proxy.url(path))?;
        page.wait_for("the name in an error", "/nobody/.test(__glass.text())")?;
        page.screenshot(&name(browser, &format!("unknown{}", path.replace('/', "-"))))?;
    }
    Ok(())
}

fn a_dead_camera_is_offline_and_its_picture_returns_without_a_reload(browser: &Browser) -> Result<()> {
    let mut camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&proxy.url("/embed/cam"))?;
    page.wait_for_pictures(1, 25)?;
    page.evaluate("window.sameDocument = true")?;

    camera.kill()?;
    wait_for_element(&page, "offline")?;
    page.wait_for("words for it", "__glass.text().includes('has been offline since')")?;
    // The control: what reads the pictures notices that there are none.
    page.wait_for("no picture for a second", "__glass.summary()[0].since_last > 1000")?;
    page.screenshot(&name(browser, "offline"))?;

    camera.restart()?;
    wait_for_element(&page, "live")?;
    assert_live(&page)?;
    assert_eq!(page.evaluate("window.sameDocument")?, true, "the page was loaded again");
    page.wait_for("no word of it any more", "!__glass.text().includes('has been offline since')")
}

fn a_restarted_proxy_is_found_again_without_a_reload(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let arguments = [format!("cam={}", camera.url())];
    let mut proxy = Proxy::start(&arguments)?;
    let address = proxy.authority().to_owned();
    let page = browser.open(&proxy.url("/embed/cam"))?;
    page.wait_for_pictures(1, 25)?;
    page.evaluate("window.sameDocument = true")?;

    proxy.process().kill()?;
    page.wait_for("another state than live", &format!("{PLAYER}.state !== 'live'"))?;
    let _again = Proxy::start_on(&address, &arguments)?;
    wait_for_element(&page, "live")?;
    assert_live(&page)?;
    assert_eq!(page.evaluate("window.sameDocument")?, true, "the page was loaded again");
    Ok(())
}

fn twenty_reloads_leave_nothing_behind(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let viewers = || proxy.metric("sightline_viewers", &[]).ok().flatten();
    let settled = |what: &str| {
        wait::until(what, || {
            // A kept-alive connection of a closed tab is ended after a while; the metrics' own is gone by then.
            (viewers()? == 0.0).then_some(())
        })
        .with_context(|| format!("{:?} viewers; {:?}", viewers(), proxy.holdings()))
    };
    {
        let page = browser.open(&proxy.url("/embed/cam"))?;
        page.wait_for_pictures(1, 1)?;
        page.go("about:blank")?;
    }
    settled("the first viewer to be gone")?;
    let before = proxy.holdings()?;
    let resident_kib = proxy.resident_kib()?;

    let page = browser.open(&proxy.url("/embed/cam"))?;
    for _ in 0..20 {
        page.wait_for_pictures(1, 1)?;
        assert_eq!(viewers(), Some(1.0), "the viewer before is still there");
        page.reload()?;
    }
    page.wait_for_pictures(1, 1)?;
    page.go("about:blank")?;
    settled("all viewers to be gone")?;
    // A browser keeps up to six idle connections to a host for its next page, sometimes more of them than before.
    let spare = 6;
    let after = wait::until_within(Duration::from_secs(40), "everything to be let go", || {
        proxy.holdings().ok().filter(|now| now.fds <= before.fds + spare && now.threads <= before.threads)
    });
    let after = after.with_context(|| format!("before {before:?}, after {:?}", proxy.holdings()))?;
    assert!(after.sockets <= before.sockets + spare, "{before:?} {after:?}");
    let grown = proxy.resident_kib()?.saturating_sub(resident_kib);
    assert!(grown < 8 * 1024, "grown by {grown} KiB");
    Ok(())
}

fn a_page_that_is_come_back_to_plays_again(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&proxy.url("/embed/cam"))?;
    page.wait_for_pictures(1, 1)?;
    page.go("about:blank")?;
    wait::until("the viewer to be gone", || {
        (proxy.metric("sightline_viewers", &[]).ok().flatten()? == 0.0).then_some(())
    })?;
    page.evaluate("void setTimeout(() => history.back())")?;
    page.wait_for("the page to be back", &format!("location.pathname === '/embed/cam' && !!{PLAYER}"))?;
    assert_live(&page)?;
    wait_for_element(&page, "live")
}

fn the_embed_script_works_on_a_page_of_another_origin(browser: &Browser) -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let html = format!(
        "<!doctype html><title>A page of somebody else</title><script src=\"{}\"></script>\
         <sightline-player stream=\"cam\" muted></sightline-player>",
        proxy.url("/sightline-player.js")
    );
    let address = serve::pages(move |path| (path == "/").then(|| html.clone()))?;
    let page = browser.open(&address)?;
    assert_live(&page)?;
    wait_for_element(&page, "live")
}

fn a_managed_media_source_plays_where_there_is_no_other(browser: &Browser) -> Result<()> {
    // As on an iPhone. What is made of it is counted, since the page would play as well by the other one.
    const TAKE_AWAY: &str = "delete window.MediaSource; window.made = 0; \
        window.ManagedMediaSource = class extends ManagedMediaSource { constructor() { super(); made++; } };";
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let html = format!(
        "<!doctype html><title>As on an iPhone</title><script>{TAKE_AWAY}</script><script src=\"{}\"></script>\
         <sightline-player stream=\"cam\" muted></sightline-player>",
        proxy.url("/sightline-player.js")
    );
    let address = serve::pages(move |path| (path == "/").then(|| html.clone()))?;
    let page = browser.open(&address)?;
    assert_live(&page)?;
    assert_eq!(page.evaluate("[typeof MediaSource, made > 0]")?, serde_json::json!(["undefined", true]));
    wait_for_element(&page, "live")
}

fn the_demo_plays_on_the_wall(browser: &Browser) -> Result<()> {
    let proxy = Proxy::start(["demo"])?;
    let page = browser.open(&proxy.url("/"))?;
    // Its clip carries no clock that the tests could read: its pictures are counted as unreadable ones.
    page.wait_for("100 pictures", "__glass.summary().some(g => g.unreadable + g.frames >= 100)")?;
    page.screenshot(&name(browser, "demo"))?;
    assert_eq!(page.errors()?, Vec::<String>::new());
    Ok(())
}
