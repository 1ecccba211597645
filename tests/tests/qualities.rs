//! One stream in two qualities, from two cameras: who gets which, what is fetched for it, and that the picture goes on.

mod common;

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use common::{LOOK, PLAYER, in_both_browsers};
use sightline_tests::browser::{Browser, Engine, Page};
use sightline_tests::camera::{Camera, Options, connections_to, free_port};
use sightline_tests::link::{self, Conditions, Link};
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::{Record, Viewer};
use sightline_tests::wait;
use sightline_wire::{ClientMessage, Kind, Media, ServerMessage, VERSIONS};

in_both_browsers![
    the_picture_goes_on_when_its_size_asks_for_another_quality,
    decoded_pictures_go_on_when_their_size_asks_for_another_quality,
    the_picture_goes_on_where_the_other_quality_is_of_another_coding,
];

/// How far two cameras' pictures may be apart on the timeline, on a busy machine.
const APART: Duration = Duration::from_millis(500);

/// A key frame each second.
fn large() -> Options {
    Options { gop: 25, ..Options::default() }
}

/// The same, of a quarter of the size.
fn small() -> Options {
    Options { size: (320, 180), kbps: 300, ..large() }
}

/// The stream `cam` in the qualities `main` and `sub`.
fn two_qualities(main: &str, sub: &str) -> String {
    let quality = |name, url| format!("[[streams.cam.quality]]\nname = '{name}'\nsource = '{url}'\n");
    quality("main", main) + &quality("sub", sub)
}

fn watch(main: &Camera, sub: &Camera) -> Result<Proxy> {
    let proxy = Proxy::configured(&two_qualities(&main.url(), &sub.url()))?;
    proxy.wait_for_state("cam", "live")?;
    Ok(proxy)
}

fn subscribe(viewer: &Viewer, max_height: Option<u32>) {
    viewer.say(&ClientMessage::Subscribe { stream: "cam".into(), audio: true, max_height });
}

/// Which qualities were announced: when, with how many binary messages before, and their names.
fn switches(record: &Record) -> Vec<(Instant, usize, String)> {
    let switched = |(at, before, message): &(Instant, usize, ServerMessage)| match message {
        ServerMessage::Switched { quality, .. } => Some((*at, *before, quality.clone())),
        _ => None,
    };
    record.texts.iter().filter_map(switched).collect()
}

/// Waits until this quality was announced last, and pictures of it have come.
fn wait_for_quality(viewer: &Viewer, quality: &str) -> Result<()> {
    viewer.wait(quality, |record| {
        let (_, before, last) = switches(record).pop()?;
        let pictures = record.binaries[before..].iter().filter(|b| b.header.kind == Kind::Media).count();
        (last == quality && pictures >= 5).then_some(())
    })
}

/// Each quality begins with its tracks and a key frame of theirs; and what came is one film, of pictures that are no farther
/// apart than this.
fn assert_continuous(record: &Record, longest: Duration) {
    for (_, before, quality) in switches(record) {
        let behind = record.binaries[before..].iter().map(|binary| &binary.header);
        let Some(first) = behind.clone().find(|header| header.kind == Kind::Media) else { continue };
        let tracks = record.texts.iter().find_map(|(_, at, message)| match message {
            ServerMessage::Tracks { epoch, tracks, .. } if *at >= before && *epoch == first.epoch => {
                Some(tracks)
            }
            _ => None,
        });
        let height = tracks.and_then(|tracks| {
            tracks.iter().find_map(|track| match track.media {
                Media::Video { height, .. } => Some(height),
                Media::Audio { .. } => None,
            })
        });
        assert_eq!(height, Some(if quality == "main" { 360 } else { 180 }), "{quality}: {first:?}");
        assert!(first.key_frame, "{quality}: {first:?}");
    }
    let times: Vec<i64> = record.fragments(0).map(|b| b.header.presentation_time_ticks()).collect();
    let ms = |ticks: i64| ticks / 90;
    for pair in times.windows(2) {
        let step_ms = ms(pair[1] - pair[0]);
        assert!(step_ms <= longest.as_millis() as i64, "nothing for {step_ms} ms");
        assert!(step_ms >= -(APART.as_millis() as i64), "{} ms back", -step_ms);
    }
}

/// One quality as the API tells it.
fn quality(proxy: &Proxy, name: &str) -> Result<serde_json::Value> {
    let stream = proxy.stream("cam")?;
    let qualities = stream["qualities"].as_array().context("qualities")?;
    qualities.iter().find(|quality| quality["name"] == name).cloned().context("such a quality")
}

#[test]
fn a_viewer_gets_the_quality_that_fits_its_size_and_each_is_fetched_while_it_is_wanted() -> Result<()> {
    let (main, sub) = (Camera::start(large())?, Camera::start(small())?);
    let proxy = watch(&main, &sub)?;
    let full = Viewer::watch(&proxy, "cam")?;
    full.wait_fragments(10)?;
    assert_eq!(connections_to(sub.port())?, 0, "nobody wants the small one");

    let viewer = Viewer::connect(&proxy.ws_url(None))?;
    subscribe(&viewer, Some(180));
    wait_for_quality(&viewer, "sub")?;
    let shown = proxy.stream("cam")?;
    assert_eq!((&shown["viewers"], &shown["state"]), (&2.into(), &"live".into()), "{shown}");
    for (name, height) in [("main", 360), ("sub", 180)] {
        let shown = quality(&proxy, name)?;
        assert_eq!((&shown["viewers"], &shown["state"]), (&1.into(), &"live".into()), "{shown}");
        assert_eq!(shown["tracks"][0]["height"], height, "{shown}");
        assert!(
            shown["tracks"][0]["codec"].as_str().is_some_and(|codec| codec.starts_with("avc1")),
            "{shown}"
        );
        let labels = [("stream", "cam"), ("quality", name)];
        assert_eq!(proxy.metric("sightline_viewers", &labels)?, Some(1.0));
        let labels = [("quality", name), ("height", &height.to_string())];
        assert_eq!(proxy.metric("sightline_quality_info", &labels)?, Some(1.0));
    }
    assert_eq!(proxy.metric("sightline_streams", &[("state", "live")])?, Some(1.0));

    viewer.say(&ClientMessage::Quality { stream: "cam".into(), max_height: None });
    wait_for_quality(&viewer, "main")?;
    viewer.say(&ClientMessage::Quality { stream: "cam".into(), max_height: Some(90) });
    wait_for_quality(&viewer, "sub")?;
    let said: Vec<_> = switches(&viewer.record()).into_iter().map(|(_, _, quality)| quality).collect();
    // It begins with what is there.
    assert_eq!(said, ["main", "sub", "main", "sub"]);
    assert_continuous(&viewer.record(), APART);
    assert_eq!(proxy.metric("sightline_quality_switches_total", &[("quality", "sub")])?, Some(2.0));

    let said: Vec<_> = switches(&full.record()).into_iter().map(|(_, _, quality)| quality).collect();
    assert_eq!(said, ["main"], "the other one's matter is not his");
    drop(viewer);
    wait::until("the small camera to be let go", || (connections_to(sub.port()).ok()? == 0).then_some(()))
}

#[test]
fn a_small_camera_that_cannot_be_reached_or_decoded_leaves_its_viewers_what_there_is() -> Result<()> {
    let main = Camera::start(large())?;
    let dead = format!("rtsp://127.0.0.1:{}/cam", free_port()?);
    let proxy = Proxy::configured(&two_qualities(&main.url(), &dead))?;
    proxy.wait_for_state("cam", "live")?;
    let viewer = Viewer::connect(&proxy.ws_url(None))?;
    subscribe(&viewer, Some(90));
    wait::until("an attempt at the small camera", || {
        let failures = proxy.metric("sightline_connect_failures_total", &[("quality", "sub")]).ok()?;
        (failures? >= 1.0).then_some(())
    })?;
    viewer.wait_more_fragments(50)?;
    assert!(proxy.log().contains("cam@sub"), "the log names the quality:\n{}", proxy.log());

    let other = Camera::start(Options { codec: "h265", ..small() })?;
    let proxy = watch(&main, &other)?;
    let avc = Viewer::connect(&proxy.ws_url(None))?;
    avc.say(&ClientMessage::Hello { version: VERSIONS[0], codecs: vec!["avc1".into()] });
    subscribe(&avc, Some(90));
    let both = Viewer::connect(&proxy.ws_url(None))?;
    both.say(&ClientMessage::Hello { version: VERSIONS[0], codecs: vec!["avc1".into(), "hvc1".into()] });
    subscribe(&both, Some(90));
    wait_for_quality(&both, "sub")?;
    avc.wait_more_fragments(50)?;

    for viewer in [&viewer, &avc] {
        let record = viewer.record();
        let said: Vec<_> = switches(&record).into_iter().map(|(_, _, quality)| quality).collect();
        assert_eq!((said, &record.end), (vec!["main".to_owned()], &None));
        assert_continuous(&record, APART);
        let bad = |m: &ServerMessage| {
            matches!(m, ServerMessage::Offline { .. } | ServerMessage::Error { .. }).then(|| m.clone())
        };
        assert_eq!(record.text(bad), None);
    }
    Ok(())
}

#[test]
fn a_viewer_whose_camera_dies_gets_the_other_one_and_is_told_when_none_is_left() -> Result<()> {
    let (mut main, mut sub) = (Camera::start(large())?, Camera::start(small())?);
    let proxy = watch(&main, &sub)?;
    let viewer = Viewer::watch(&proxy, "cam")?;
    viewer.wait_fragments(25)?;
    main.kill()?;
    wait_for_quality(&viewer, "sub")?;
    let offline = |record: &Record, why: &str| {
        let codes = record.texts.iter().filter_map(|(_, _, message)| match message {
            ServerMessage::Offline { code, .. } => Some(code.clone()),
            _ => None,
        });
        codes.filter(|code| (code == "connecting") == (why == "connecting")).count()
    };
    assert_eq!(offline(&viewer.record(), "connecting"), 1, "another one is tried");
    assert_eq!(offline(&viewer.record(), "for good"), 0);
    assert_eq!(proxy.stream("cam")?["state"], "live");
    assert_eq!(quality(&proxy, "main")?["state"], "offline");

    sub.kill()?;
    viewer.wait("that none is left", |record| (offline(record, "for good") > 0).then_some(()))?;
    proxy.wait_for_state("cam", "offline")?;
    let before = viewer.record().binaries.len();
    main.restart()?;
    viewer.wait("pictures of the large camera", |record| {
        let (_, at, last) = switches(record).pop()?;
        (last == "main" && at >= before && record.binaries.len() > at + 10).then_some(())
    })?;
    let online = viewer.record().texts.iter().rev().find_map(|(_, _, message)| match message {
        ServerMessage::Online { .. } => Some(true),
        ServerMessage::Offline { .. } => Some(false),
        _ => None,
    });
    assert_eq!((online, viewer.record().end.clone()), (Some(true), None));
    Ok(())
}

/// A round trip of 40 ms.
const FINE: Conditions =
    Conditions { delay: Duration::from_millis(20), loss: 0.0, bits_per_second: None, is_out: false };

#[test]
fn a_viewer_behind_a_slow_link_gets_small_pictures_without_a_gap_and_large_ones_after_ten_calm_seconds()
-> Result<()> {
    if let Some(missing) = link::missing() {
        // Not by the macros, whose output nobody sees of a test that passes.
        writeln!(std::io::stderr().lock(), "skipped: {missing}")?;
        return Ok(());
    }
    let link = Link::start(1)?;
    link.set(FINE);
    let main = Camera::start(Options { kbps: 2_000, noise: true, ..large() })?;
    let sub = Camera::start(small())?;
    let text = format!("[server]\nauth = 'off'\n{}", two_qualities(&main.url(), &sub.url()));
    let proxy = Proxy::configured_on(&format!("{}:0", link.host()), &text)?;
    proxy.wait_for_state("cam", "live")?;
    let near = Viewer::watch(&proxy, "cam")?;
    near.wait_fragments(25)?;
    let far = link.beyond(|| Viewer::watch(&proxy, "cam"))?;
    far.wait_fragments(50)?;
    let bytes: usize = far.record().fragments(0).take(50).map(|fragment| fragment.payload.len()).sum();
    // Two seconds of the large pictures: half of it fits, and the small ones twice.
    link.set(Conditions { bits_per_second: Some((bytes * 8 / 4) as u32), ..FINE });
    wait_for_quality(&far, "sub")?;
    far.wait_more_fragments(75)?;
    let record = far.record();
    let (_, from, _) = switches(&record).pop().context("a switch")?;
    let left_out = |(_, at, message): &(Instant, usize, ServerMessage)| {
        *at > from && matches!(message, ServerMessage::Dropped { .. })
    };
    ensure!(!record.texts.iter().any(left_out), "small pictures were left out");
    let came: Vec<_> = record.binaries[from..].iter().map(|binary| binary.at).collect();
    let longest = came.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    ensure!(longest < Duration::from_millis(1_500), "no small picture came for {longest:?}");
    drop(record);
    link.set(FINE);
    wait_for_quality(&far, "main")?;
    let record = far.record();
    let switched = switches(&record);
    let (down, up) = (switched[1].0, switched[2].0);
    assert_eq!(switched.len(), 3, "{switched:?}");
    // The last trouble is some time before its end is seen here.
    ensure!(up - down >= Duration::from_secs(7), "large pictures after {:?}", up - down);
    // What was left out was so before small pictures came; and behind a second of lag.
    assert_continuous(&record, Duration::from_secs(3));
    drop(record);
    let record = near.record();
    assert_eq!(switches(&record).len(), 1, "nobody else notices");
    assert_continuous(&record, APART);
    Ok(())
}

/// Waits for the quality and 10 pictures of it.
fn wait_for_shown(page: &Page<'_>, quality: &str) -> Result<()> {
    page.wait_for(quality, &format!("{PLAYER}.getStats().quality === '{quality}'"))?;
    let height = if quality == "main" { 360 } else { 180 };
    page.wait_for("its pictures", &format!("{PLAYER}.videoHeight === {height}"))?;
    let seen = page.glass()?.first().map_or(0, |glass| glass.frames);
    page.wait_for("10 of them", &format!("__glass.summary()[0].frames >= {}", seen + 10))
}

/// Shows the element in such a height.
fn show(page: &Page<'_>, height: u32) -> Result<()> {
    let width = height * 16 / 9;
    let style = format!("position:fixed;inset:auto;width:{width}px;height:{height}px");
    page.evaluate(&format!("void ({PLAYER}.style.cssText = '{style}')")).map(drop)
}

/// A page that shows the stream as large as it is, and is looked at.
fn open<'b>(browser: &'b Browser, proxy: &Proxy, renderer: &str) -> Result<Page<'b>> {
    let page = browser.open(&proxy.url(&format!("/embed/cam?quality=auto&renderer={renderer}")))?;
    page.wait_for_pictures(1, 10)?;
    page.evaluate(LOOK)?;
    page.reset_glass()?;
    Ok(page)
}

/// There was always a picture on the screen, and so many times one of another quality behind it.
fn assert_goes_on(page: &Page<'_>, renderer: &str, switches: usize) -> Result<()> {
    // A screen of a busy machine is drawn some 20 times a second.
    page.wait_for("200 looks at it", "looks > 200")?;
    let glass = page.glass()?;
    let seen = &glass[0];
    let stats = page.evaluate(&format!("{PLAYER}.getStats()"))?;
    ensure!(stats["renderer"] == renderer, "{stats}");
    ensure!(seen.longest_gap <= 1_000.0, "no new picture for {} ms; {stats}", seen.longest_gap);
    ensure!(seen.unreadable == 0, "{seen:?}; {stats}");
    // A camera that was just connected to needs longer for its first pictures: they may show what was seen already.
    let clocks: Vec<_> = seen.samples.iter().map(|(at, late, _)| at - late).collect();
    let back: Vec<_> = clocks.windows(2).map(|pair| pair[0] - pair[1]).filter(|ms| *ms > 0.0).collect();
    let is_little = back.len() <= switches && back.iter().all(|ms| *ms <= 200.0);
    ensure!(is_little, "{back:?} ms back: {clocks:?}; {stats}");
    ensure!(stats["rebuilds"] == 0 && stats["reconnects"] == 0, "{stats}");
    let dark = page.evaluate("dark")?;
    ensure!(dark.as_array().is_some_and(Vec::is_empty), "dark: {dark}");
    let errors = page.errors()?;
    ensure!(errors.is_empty(), "{errors:?}");
    Ok(())
}

fn goes_on(browser: &Browser, renderer: &str) -> Result<()> {
    let (main, sub) = (Camera::start(large())?, Camera::start(small())?);
    let proxy = watch(&main, &sub)?;
    let page = open(browser, &proxy, renderer)?;
    for (height, quality) in [(180, "sub"), (600, "main"), (120, "sub")] {
        show(&page, height)?;
        wait_for_shown(&page, quality)?;
    }
    page.evaluate(&format!("void ({PLAYER}.quality = 'main')"))?;
    wait_for_shown(&page, "main")?;
    assert_goes_on(&page, renderer, 4)
}

fn the_picture_goes_on_when_its_size_asks_for_another_quality(browser: &Browser) -> Result<()> {
    goes_on(browser, "mse")
}

fn decoded_pictures_go_on_when_their_size_asks_for_another_quality(browser: &Browser) -> Result<()> {
    goes_on(browser, "webcodecs")
}

fn the_picture_goes_on_where_the_other_quality_is_of_another_coding(browser: &Browser) -> Result<()> {
    let (main, sub) = (Camera::start(large())?, Camera::start(Options { codec: "h265", ..small() })?);
    let proxy = watch(&main, &sub)?;
    let page = open(browser, &proxy, "mse")?;
    show(&page, 180)?;
    if browser.engine() == Engine::Chromium {
        // Debian's has no decoder for it, and the viewer keeps what it has.
        wait::until("the small camera to be connected to", || {
            (proxy.metric("sightline_frames_total", &[("quality", "sub")]).ok()?? > 0.0).then_some(())
        })?;
        wait::until("the small camera to be let go", || {
            (quality(&proxy, "sub").ok()?["state"] == "idle").then_some(())
        })?;
        wait_for_shown(&page, "main")?;
        return assert_goes_on(&page, "mse", 0);
    }
    wait_for_shown(&page, "sub")?;
    show(&page, 600)?;
    wait_for_shown(&page, "main")?;
    assert_goes_on(&page, "mse", 2)
}
