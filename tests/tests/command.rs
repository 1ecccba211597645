//! The command: what it says, and how it ends.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sightline_tests::camera::{Camera, Options, free_port};
use sightline_tests::judge;
use sightline_tests::proxy::{self, Proxy};
use sightline_tests::viewer::{End, Viewer};
use sightline_tests::wait;
use sightline_wire::ServerMessage;

const MISTAKES: &str = r#"
[server]
lisen = "127.0.0.1:8080"

[streams.".hidden"]
source = "rtsp://127.0.0.1/a"

[streams.gate]
source = "ftp://127.0.0.1/b"
on_demand = "yes"

[streams.empty]
"#;

/// The line, counted from 1, on which a text first stands in [`MISTAKES`].
fn line(text: &str) -> usize {
    MISTAKES.lines().position(|line| line.contains(text)).expect("stands there") + 1
}

#[test]
fn every_mistake_of_a_configuration_is_named_with_its_line() -> Result<()> {
    let file = proxy::config(MISTAKES)?;
    let path = file.path().as_os_str();
    for arguments in [vec!["check".as_ref(), "--config".as_ref(), path], vec!["--config".as_ref(), path]] {
        let finished = proxy::run(arguments)?;
        assert_eq!(finished.code, Some(2), "{}", finished.output);
        for mistake in ["lisen", ".hidden", "ftp", "on_demand", "[streams.empty]"] {
            let at = line(mistake);
            let named = finished.output.lines().any(|said| {
                said.contains(&format!(":{at}:"))
                    || said.contains(&format!("line {at}:"))
                    || said.contains(&format!("line {at} "))
            });
            assert!(named, "line {at} ({mistake}) is not named:\n{}", finished.output);
        }
    }
    Ok(())
}

#[test]
fn text_that_is_no_toml_is_named_with_its_line() -> Result<()> {
    let file = proxy::config("[server]\nlisten = \"127.0.0.1:0\"\n[streams.cam\n")?;
    let finished = proxy::run(["check".as_ref(), "--config".as_ref(), file.path().as_os_str()])?;
    assert_eq!(finished.code, Some(2), "{}", finished.output);
    assert!(finished.output.contains('3'), "{}", finished.output);
    Ok(())
}

#[test]
fn a_good_configuration_passes_the_check() -> Result<()> {
    let file = proxy::config("[streams.gate]\nsource = \"rtsp://u:geheim@127.0.0.1/b\"\non_demand = true\n")?;
    let finished = proxy::run(["check".as_ref(), "--config".as_ref(), file.path().as_os_str()])?;
    assert_eq!(finished.code, Some(0), "{}", finished.output);
    assert!(!finished.output.contains("geheim"), "{}", finished.output);
    Ok(())
}

#[test]
fn a_configuration_that_is_not_there_is_named() -> Result<()> {
    let finished = proxy::run(["--config", "/nowhere/sightline.toml"])?;
    assert_eq!(finished.code, Some(2), "{}", finished.output);
    assert!(finished.output.contains("/nowhere/sightline.toml"), "{}", finished.output);
    Ok(())
}

#[test]
fn a_taken_port_ends_with_1_and_a_sentence_that_helps() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let finished = proxy::run(["cam=rtsp://127.0.0.1:1/cam", "--listen", &address])?;
    assert_eq!(finished.code, Some(1), "{}", finished.output);
    assert!(finished.output.contains(&address), "{}", finished.output);
    assert!(finished.output.contains("--listen"), "what to do is not said: {}", finished.output);
    assert!(!finished.output.contains("Watch at"), "{}", finished.output);
    Ok(())
}

#[test]
fn listening_beyond_loopback_needs_auth_off_by_name() -> Result<()> {
    let file = proxy::config(
        "[server]\nlisten = \"0.0.0.0:0\"\n[streams.cam]\nsource = \"rtsp://127.0.0.1:1/cam\"\n",
    )?;
    let path = file.path().to_string_lossy().into_owned();
    for arguments in [
        vec!["cam=rtsp://127.0.0.1:1/cam", "--listen", "0.0.0.0:0"],
        vec!["cam=rtsp://127.0.0.1:1/cam", "--listen", "[::]:0"],
        vec!["--config", &path],
    ] {
        let finished = proxy::run(&arguments)?;
        assert_eq!(finished.code, Some(2), "{arguments:?}: {}", finished.output);
        assert!(finished.output.contains("auth"), "{arguments:?}: {}", finished.output);
    }
    // The control: with it, the same address is served.
    let proxy = Proxy::start_on("0.0.0.0:0", ["cam=rtsp://127.0.0.1:1/cam", "--auth", "off"])?;
    assert!(!proxy.log().is_empty());
    Ok(())
}

#[test]
fn a_wrong_argument_ends_with_2() -> Result<()> {
    for arguments in [["--lisen", "127.0.0.1:0"], ["cam=gopher://x", "--log=info"], ["--listen", "nowhere"]] {
        let finished = proxy::run(arguments)?;
        assert_eq!(finished.code, Some(2), "{arguments:?}: {}", finished.output);
    }
    assert_eq!(proxy::run(["--version"])?.code, Some(0));
    let help = proxy::run(["--help"])?;
    assert_eq!(help.code, Some(0));
    for option in ["--listen", "--auth", "--transport", "--config", "--log", "demo", "check", "probe"] {
        assert!(help.output.contains(option), "--help does not mention {option}:\n{}", help.output);
    }
    Ok(())
}

#[test]
fn sigterm_says_goodbye_to_viewers_and_ends_within_5_s() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let mut proxy = Proxy::for_camera(&camera)?;
    let viewers = [Viewer::watch(&proxy, "cam")?, Viewer::connect(&proxy.ws_url(None))?];
    viewers[0].wait_fragments(25)?;

    let asked = Instant::now();
    proxy.process().terminate()?;
    for viewer in &viewers {
        let end = viewer.wait("the end", |record| record.end.clone())?;
        assert!(matches!(end, End::Closed(1001 | 1012, _)), "{end:?}");
    }
    let status = proxy.process().wait(Duration::from_secs(10))?;
    assert!(asked.elapsed() <= Duration::from_secs(5), "after {:?}", asked.elapsed());
    assert_eq!(status.code(), Some(0), "{}", proxy.log());
    Ok(())
}

#[test]
fn a_stop_does_not_wait_for_a_viewer_that_never_reads() -> Result<()> {
    let camera = Camera::start(Options { gop: 10, kbps: 16_000, noise: true, ..Options::default() })?;
    let mut proxy = Proxy::for_camera(&camera)?;
    let deaf = Viewer::connect_with(&proxy.ws_url(Some("cam")), Some(4096))?;
    deaf.wait_fragments(1)?;
    deaf.pause();
    let healthy = Viewer::watch(&proxy, "cam")?;
    healthy.wait_fragments(100)?;
    let asked = Instant::now();
    proxy.process().terminate()?;
    let status = proxy.process().wait(Duration::from_secs(10))?;
    assert!(asked.elapsed() <= Duration::from_secs(5), "after {:?}", asked.elapsed());
    assert_eq!(status.code(), Some(0), "{}", proxy.log());
    Ok(())
}

#[test]
fn the_demo_is_a_camera_with_picture_and_sound() -> Result<()> {
    let proxy = Proxy::start(["demo"])?;
    let list: serde_json::Value = serde_json::from_str(&proxy.get("/api/v1/streams")?.body)?;
    let name = list["streams"][0]["name"].as_str().context("the demo has a stream")?.to_owned();
    let told = proxy.wait_for_state(&name, "live")?;
    let viewer = Viewer::watch(&proxy, &name)?;
    viewer.wait_fragments(100)?;
    let record = viewer.record();
    let (epoch, _, tracks) = record.tracks().context("no tracks")?;
    assert_eq!(tracks.iter().filter(|t| t.is_video()).count(), 1, "{told}");
    assert_eq!(tracks.iter().filter(|t| !t.is_video()).count(), 1, "{told}");
    for track in tracks {
        let verdict = judge::decode(&record.file(track.index, epoch))?;
        assert_eq!(verdict.complaints, "", "{track:?}");
        assert_eq!(verdict.frames, record.fragments(track.index).count() as u64);
    }
    Ok(())
}

#[test]
fn probe_tells_what_a_camera_offers() -> Result<()> {
    let user = Some(("keeper".to_owned(), "geheim-77".to_owned()));
    let camera = Camera::start(Options { audio: true, user, ..Options::default() })?;
    let finished = proxy::run(["probe", &camera.url_for("keeper", "geheim-77")])?;
    assert_eq!(finished.code, Some(0), "{}", finished.output);
    for fact in ["avc1.42", "640", "360", "25", "mp4a.40.2", "48000"] {
        assert!(finished.output.contains(fact), "{fact} is missing:\n{}", finished.output);
    }
    assert!(!finished.output.contains("geheim-77"), "{}", finished.output);

    let wrong = proxy::run(["probe", &camera.url_for("keeper", "falsch-88")])?;
    assert_eq!(wrong.code, Some(1), "{}", wrong.output);
    assert!(!wrong.output.contains("falsch-88"), "{}", wrong.output);
    let absent = proxy::run(["probe", &format!("rtsp://127.0.0.1:{}/cam", free_port()?)])?;
    assert_eq!(absent.code, Some(1), "{}", absent.output);
    Ok(())
}

#[test]
fn health_and_readiness_and_metrics_answer() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    assert_eq!(proxy.get("/healthz")?.status, 200);
    assert_eq!(proxy.get("/readyz")?.status, 200);
    assert!(
        proxy.get("/metrics")?.content_type.starts_with("text/plain")
            || proxy.get("/metrics")?.content_type.contains("openmetrics")
    );
    assert_eq!(proxy.metric("sightline_streams", &[("state", "live")])?, Some(1.0));
    let frames = || proxy.metric("sightline_frames_total", &[("stream", "cam")]).ok().flatten();
    let before = frames().context("sightline_frames_total is missing")?;
    wait::until("frames to be counted", || frames().filter(|now| *now > before))?;
    let viewer = Viewer::watch(&proxy, "cam")?;
    viewer.wait_text("welcome", |m| matches!(m, ServerMessage::Welcome { .. }).then_some(()))?;
    wait::until("the viewer to be counted", || {
        (proxy.metric("sightline_viewers", &[]).ok()? == Some(1.0)).then_some(())
    })?;
    drop(viewer);
    wait::until("the viewer to be gone", || {
        (proxy.metric("sightline_viewers", &[]).ok()? == Some(0.0)).then_some(())
    })
}
