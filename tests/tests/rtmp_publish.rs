//! Encoders that push to us: real ones, as people run them.

mod common;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use common::{assert_live, assert_live_within, in_both_browsers, name, unmute, wait_for_element};
use sightline_tests::browser::Browser;
use sightline_tests::encoder::{Encoder, Options};
use sightline_tests::flv::Clip;
use sightline_tests::peer::{Peer, Replay};
use sightline_tests::proxy::Proxy;
use sightline_tests::relay::{Certificate, Nginx, Tunnel};
use sightline_tests::viewer::Viewer;
use sightline_tests::{judge, wait};
use sightline_wire::ServerMessage;

const KEY: &str = "geheim-4711";
const WITH_KEY: &str = "studio?key=geheim-4711";

/// One stream to be published, `studio`.
fn studio(second_publisher: &str) -> Result<Proxy> {
    Proxy::configured(&format!(
        "[rtmp]\nlisten = \"127.0.0.1:0\"\n\
         [streams.studio]\npublish = {{ key = \"{KEY}\", second_publisher = \"{second_publisher}\" }}\n"
    ))
}

/// What ffmpeg is asked for: B-frames, and sound.
fn full() -> Options {
    Options { b_frames: 2, audio: true, ..Options::default() }
}

in_both_browsers![
    b_frames_are_shown_in_order_with_sound,
    a_zero_latency_encoder_with_sound_is_shown,
    an_encoder_that_comes_back_is_shown_again_without_a_reload,
];

fn b_frames_are_shown_in_order_with_sound(browser: &Browser) -> Result<()> {
    let proxy = studio("takeover")?;
    let _encoder = Encoder::ffmpeg(&proxy.push_url("rtmp", WITH_KEY)?, &full(), &[])?;
    proxy.wait_for_state("studio", "live")?;
    let page = browser.open(&proxy.url("/embed/studio"))?;
    // ffmpeg looks ahead and starts slowly: what it takes for that is no matter of ours.
    assert_live_within(&page, 3_000.0)?;
    unmute(&page)?;
    assert_live_within(&page, 3_000.0)?;
    wait_for_element(&page, "live")?;
    page.screenshot(&name(browser, "rtmp-b-frames"))?;
    assert_eq!(page.errors()?, Vec::<String>::new());
    Ok(())
}

fn a_zero_latency_encoder_with_sound_is_shown(browser: &Browser) -> Result<()> {
    let proxy = studio("takeover")?;
    let options = Options { audio: true, ..Options::default() };
    let _encoder = Encoder::gstreamer(&proxy.push_url("rtmp", WITH_KEY)?, &options)?;
    proxy.wait_for_state("studio", "live")?;
    let page = browser.open(&proxy.url("/embed/studio"))?;
    assert_live(&page)?;
    unmute(&page)?;
    assert_live(&page)?;
    assert_eq!(page.errors()?, Vec::<String>::new());
    Ok(())
}

fn an_encoder_that_comes_back_is_shown_again_without_a_reload(browser: &Browser) -> Result<()> {
    let proxy = studio("takeover")?;
    let url = proxy.push_url("rtmp", WITH_KEY)?;
    let mut encoder = Encoder::gstreamer(&url, &Options::default())?;
    proxy.wait_for_state("studio", "live")?;
    let page = browser.open(&proxy.url("/embed/studio"))?;
    page.wait_for_pictures(1, 25)?;
    page.evaluate("window.sameDocument = true")?;

    encoder.kill()?;
    wait_for_element(&page, "offline")?;
    page.wait_for("words for it", "__glass.text().includes('has been offline since')")?;
    let _again = Encoder::gstreamer(&url, &Options::default())?;
    wait_for_element(&page, "live")?;
    assert_live(&page)?;
    assert_eq!(page.evaluate("window.sameDocument")?, true, "the page was loaded again");
    Ok(())
}

/// Nothing of what the viewer got is missing, out of order, or cannot be decoded.
fn assert_whole(viewer: &Viewer, video_frames: usize) -> Result<()> {
    // A relay may begin without sound, which is another epoch: only the newest counts.
    viewer.wait("frames of one epoch with sound", |record| {
        let (epoch, _, tracks) = record.tracks()?;
        let frames = record.fragments(0).filter(|f| f.header.epoch == epoch).count();
        (tracks.len() == 2 && frames >= video_frames).then_some(())
    })?;
    assert_eq!(viewer.record().nonsense, Vec::<String>::new());
    assert_eq!(viewer.missing(), 0);
    let files = viewer.files()?;
    assert_eq!(files.len(), 2, "picture and sound");
    for (track, file) in files {
        let verdict = judge::decode(&file)?;
        assert_eq!(verdict.complaints, "", "{track:?}");
        assert!(!track.is_video() || verdict.frames >= video_frames as u64, "{verdict:?}");
    }
    Ok(())
}

#[test]
fn every_frame_of_ffmpeg_reaches_the_viewer_and_decodes() -> Result<()> {
    let proxy = studio("takeover")?;
    // It ends by itself after 150 frames.
    let mut encoder =
        Encoder::ffmpeg(&proxy.push_url("rtmp", WITH_KEY)?, &full(), &["-frames:v", "150", "-shortest"])?;
    proxy.wait_for_state("studio", "live")?;
    let viewer = Viewer::watch(&proxy, "studio")?;
    assert_whole(&viewer, 100)?;
    let status = encoder.process().wait(Duration::from_secs(20))?;
    assert!(status.success(), "{}", encoder.log());
    let frames = || proxy.metric("sightline_frames_total", &[("stream", "studio")]).ok().flatten();
    wait::until("all 150 frames to be counted", || frames().filter(|count| *count >= 150.0))?;
    assert_eq!(frames(), Some(150.0), "{}", encoder.log());
    Ok(())
}

#[test]
fn a_relay_that_pushes_to_us_is_an_encoder_like_any_other() -> Result<()> {
    let proxy = studio("takeover")?;
    let nginx = Nginx::pushing_to(&proxy.push_url("rtmp", WITH_KEY)?)?;
    let _encoder = Encoder::ffmpeg(&nginx.url("whatever"), &full(), &[])?;
    proxy.wait_for_state("studio", "live").with_context(|| nginx.log())?;
    assert_whole(&Viewer::watch(&proxy, "studio")?, 75)
}

#[test]
fn rtmps_takes_ffmpeg_and_what_comes_through_a_tunnel_that_checks_the_certificate() -> Result<()> {
    let certificate = Certificate::make()?;
    let proxy = Proxy::configured(&format!(
        "[rtmp]\nrtmps = {{ listen = \"127.0.0.1:0\", certificate = {:?}, key = {:?} }}\n\
         [streams.direct]\npublish = {{ key = \"{KEY}\" }}\n[streams.tunnel]\npublish = {{ key = \"{KEY}\" }}\n",
        certificate.certificate(),
        certificate.key(),
    ))?;
    let address = proxy.push_authority("rtmps")?;
    let port = address.rsplit(':').next().context("a port")?.parse()?;
    let direct = Encoder::ffmpeg(&proxy.push_url("rtmps", &format!("direct?key={KEY}"))?, &full(), &[])?;
    let tunnel = Tunnel::towards(port, &certificate)?;
    let clip = Clip::small();
    let _replay = Replay::start(&format!("127.0.0.1:{}", tunnel.port()), &format!("tunnel?key={KEY}"), clip)
        .with_context(|| tunnel.log())?;
    proxy.wait_for_state("direct", "live").with_context(|| direct.log())?;
    assert_whole(&Viewer::watch(&proxy, "direct")?, 75)?;
    assert_whole(&Viewer::watch(&proxy, "tunnel")?, 75)
}

#[test]
fn the_key_may_stand_in_either_place_that_encoders_offer() -> Result<()> {
    let proxy = studio("takeover")?;
    let address = proxy.push_authority("rtmp")?;
    // OBS's two fields: a server's address and a stream key.
    let server = format!("rtmp://{address}/live");
    for (server, stream_key) in
        [(server.clone(), WITH_KEY.to_owned()), (format!("{server}?key={KEY}"), "studio".to_owned())]
    {
        let app = server.rsplit('/').next().context("an application")?.to_owned();
        let more = ["-rtmp_app", &app, "-rtmp_playpath", &stream_key];
        let mut encoder = Encoder::ffmpeg(&server, &Options::default(), &more)?;
        proxy.wait_for_state("studio", "live").with_context(|| encoder.log())?;
        encoder.kill()?;
        proxy.wait_for_state("studio", "offline")?;
    }
    Ok(())
}

/// What a refused publisher is told, and how long that takes.
fn refusal(address: &str, name_and_key: &str) -> Result<(String, String, Duration)> {
    let mut peer = Peer::connect(address)?;
    let asked = Instant::now();
    let status = peer.publish(name_and_key)?;
    let took = asked.elapsed();
    peer.wait_for_end()?;
    Ok((status.code, status.description, took))
}

#[test]
fn an_unknown_name_and_a_wrong_key_are_refused_alike_and_the_encoder_shows_it() -> Result<()> {
    let proxy = studio("takeover")?;
    let address = proxy.push_authority("rtmp")?;
    let attempts = ["nobody", "nobody?key=geheim-4711", "studio", "studio?key=falsch", "studio?key="];
    // Each four times, all at once; the quickest counts, for a busy machine is late now and then.
    let told = std::thread::scope(|scope| {
        let ask = |attempt| {
            let address = &address;
            let four = [(); 4].map(|()| scope.spawn(move || refusal(address, attempt)));
            four.map(|asked| asked.join().expect("does not panic"))
        };
        attempts.map(ask)
    });
    let told: Vec<(String, Duration)> = told
        .into_iter()
        .map(|four| {
            let four: Vec<_> = four.into_iter().collect::<Result<_>>()?;
            assert!(four.iter().all(|(code, description, _)| code == "NetStream.Publish.BadName"
                && *description == four[0].1
                && !description.contains("studio")
                && !description.contains("nobody")));
            let quickest = four.iter().map(|(_, _, took)| *took).min().context("four")?;
            Ok((four[0].1.clone(), quickest))
        })
        .collect::<Result<_>>()?;
    assert!(told.iter().all(|(description, _)| *description == told[0].0), "{told:?}");
    let (least, most) = (told.iter().map(|t| t.1).min(), told.iter().map(|t| t.1).max());
    let (least, most) = (least.context("times")?, most.context("times")?);
    assert!(most.saturating_sub(least) < Duration::from_millis(150), "the time tells them apart: {told:?}");
    assert!(least >= Duration::from_millis(900), "keys can be tried quickly: {told:?}");

    let mut encoder =
        Encoder::ffmpeg(&proxy.push_url("rtmp", "studio?key=falsch")?, &Options::default(), &[])?;
    let status = encoder.process().wait(Duration::from_secs(20))?;
    assert!(!status.success());
    let said = encoder.process().whole_log()?;
    assert!(said.contains(&told[0].0), "ffmpeg does not show {:?}:\n{said}", told[0].0);

    let mut peer = Peer::dial(&address)?;
    peer.shake_hands()?;
    assert_eq!(peer.application("vod")?.code, "NetConnection.Connect.Rejected");
    peer.wait_for_end()?;
    assert_eq!(proxy.stream("studio")?["error"]["code"], "no_publisher");
    Ok(())
}

#[test]
fn a_second_publisher_takes_over_and_viewers_stay() -> Result<()> {
    let proxy = studio("takeover")?;
    let address = proxy.push_authority("rtmp")?;
    let first = Replay::start(&address, WITH_KEY, Clip::small())?;
    let viewer = Viewer::watch(&proxy, "studio")?;
    viewer.wait_fragments(25)?;
    let epoch = viewer.record().tracks().context("tracks")?.0;
    let second = Replay::start(&address, WITH_KEY, Clip::small())?;
    wait::until("the first publisher to be let go", || first.is_over().then_some(()))?;
    viewer.wait("another epoch", |record| (record.tracks()?.0 > epoch).then_some(()))?;
    viewer.wait_more_fragments(50)?;
    assert!(!second.is_over());
    assert_eq!(viewer.record().end, None);
    proxy.wait_for_state("studio", "live")?;
    Ok(())
}

#[test]
fn a_second_publisher_is_refused_where_that_is_wanted() -> Result<()> {
    let proxy = studio("refuse")?;
    let address = proxy.push_authority("rtmp")?;
    let first = Replay::start(&address, WITH_KEY, Clip::small())?;
    let viewer = Viewer::watch(&proxy, "studio")?;
    viewer.wait_fragments(25)?;
    let (code, description, _) = refusal(&address, WITH_KEY)?;
    assert_eq!(code, "NetStream.Publish.BadName");
    assert!(description.contains("another"), "{description}");
    viewer.wait_more_fragments(25)?;
    assert!(!first.is_over());
    let record = viewer.record();
    assert!(record.fragments(0).all(|f| f.header.epoch == record.binaries[0].header.epoch));
    drop(record);
    drop(first);
    // Once the place is free, it is anybody's who has the key.
    wait::until("the place to be free", || {
        (proxy.stream("studio").ok()?["state"] == "offline").then_some(())
    })?;
    Replay::start(&address, WITH_KEY, Clip::small())?;
    Ok(())
}

#[test]
fn an_encoder_that_is_killed_is_told_of_at_once_and_keeps_its_viewers() -> Result<()> {
    let proxy = studio("takeover")?;
    let url = proxy.push_url("rtmp", WITH_KEY)?;
    let mut encoder = Encoder::gstreamer(&url, &Options::default())?;
    proxy.wait_for_state("studio", "live")?;
    let viewer = Viewer::watch(&proxy, "studio")?;
    viewer.wait_fragments(25)?;
    let epoch = viewer.record().tracks().context("tracks")?.0;

    let killed = Instant::now();
    encoder.kill()?;
    viewer.wait_text("offline", |m| matches!(m, ServerMessage::Offline { .. }).then_some(()))?;
    assert!(killed.elapsed() < Duration::from_secs(2), "told after {:?}", killed.elapsed());
    let told = proxy.wait_for_state("studio", "offline")?;
    assert!(told["publisher"].is_null(), "{told}");
    let before = viewer.record().fragments(0).last().context("fragments")?.header;
    let count = viewer.record().fragments(0).count();

    let _again = Encoder::gstreamer(&url, &Options::default())?;
    viewer.wait_fragments(count + 50)?;
    let record = viewer.record();
    assert_eq!(record.end, None, "the viewer's socket stayed open");
    assert!(record.tracks().context("tracks")?.0 > epoch, "another session is another epoch");
    let first = record.fragments(0).nth(count).context("a fragment")?.header;
    assert!(first.key_frame, "{first:?}");
    assert!(first.decode_time_ticks > before.decode_time_ticks, "the timeline went back");
    Ok(())
}

#[test]
fn operators_are_told_who_publishes_and_how_and_nobody_is_told_the_key() -> Result<()> {
    let proxy = Proxy::configured(&format!(
        "[rtmp]\nlisten = \"127.0.0.1:0\"\n[streams.studio]\npublish = {{ key = \"{KEY}\" }}\n\
         [streams.other]\npublish = {{ key = \"{KEY}\" }}\n"
    ))?;
    let told = proxy.wait_for_state("studio", "offline")?;
    assert_eq!(told["error"]["code"], "no_publisher", "{told}");
    assert!(told["publisher"].is_null(), "{told}");

    let encoder = Encoder::ffmpeg(&proxy.push_url("rtmp", WITH_KEY)?, &full(), &[])?;
    let rare = Options { gop: 150, ..Options::default() };
    let rarely = Encoder::gstreamer(&proxy.push_url("rtmp", &format!("other?key={KEY}"))?, &rare)?;
    proxy.wait_for_state("studio", "live")?;
    let told = wait::until("all of it", || {
        let told = proxy.stream("studio").ok()?;
        // What ffmpeg had waiting when it began comes at once: even from the second key frame on.
        let even = (1_900.0..2_100.0).contains(&told["key_frame_interval_ms"].as_f64()?);
        let known = told["bits_per_second"].as_f64()? > 0.0 && even;
        (known && told["publisher"]["encoder"].as_str()?.contains("Lavf")).then_some(told)
    })
    .with_context(|| format!("{:?}\n{}", proxy.stream("studio"), encoder.log()))?;
    let publisher = &told["publisher"];
    assert!(publisher["address"].as_str().context("an address")?.starts_with("127.0.0.1"), "{told}");
    assert!(publisher["since_time_us"].as_i64() > Some(1_600_000_000_000_000), "{told}");
    assert_eq!(told["warnings"], serde_json::json!([]), "{told}");

    let warned = wait::until("the warning", || {
        let told = proxy.stream("other").ok()?;
        let code = told["warnings"].as_array()?.iter().find(|w| w["code"] == "key_frame_interval")?;
        Some(code["message"].as_str()?.to_owned())
    })
    .with_context(|| format!("{:?}\n{}", proxy.stream("other"), rarely.log()))?;
    assert!(warned.contains('6'), "how long it is should be said: {warned}");
    let gstreamer = proxy.stream("other")?["publisher"]["encoder"].as_str().map(str::to_owned);
    assert!(gstreamer.as_ref().is_some_and(|name| name.contains("GStreamer")), "{gstreamer:?}");

    // Somebody with the wrong key, too.
    refusal(&proxy.push_authority("rtmp")?, "studio?key=falsch-4712")?;
    for (place, text) in [
        ("log", proxy.log()),
        ("API", proxy.get("/api/v1/streams")?.body),
        ("metrics", proxy.get("/metrics")?.body),
    ] {
        assert!(!text.contains(KEY) && !text.contains("falsch-4712"), "the {place} shows a key:\n{text}");
    }
    assert!(proxy.log().contains("studio"), "the log is empty: this test sees nothing");
    Ok(())
}

#[test]
fn the_command_line_names_the_listener_too() -> Result<()> {
    let file =
        sightline_tests::proxy::config(&format!("[streams.studio]\npublish = {{ key = \"{KEY}\" }}\n"))?;
    let path = file.path().to_string_lossy().into_owned();
    let proxy = Proxy::start(["--config", &path, "--rtmp", "127.0.0.1:0"])?;
    let _replay = Replay::start(&proxy.push_authority("rtmp")?, WITH_KEY, Clip::small())?;
    Viewer::watch(&proxy, "studio")?.wait_fragments(25)
}
