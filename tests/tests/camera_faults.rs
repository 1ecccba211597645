//! Cameras that are absent, die, stall, or do not let us in: what viewers and operators are told, and how it ends.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sightline_tests::camera::{Camera, Options, connections_to, free_port};
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::Viewer;
use sightline_tests::wait;
use sightline_wire::ServerMessage;

/// The code of the newest `offline`, if nothing has come after it to say that the camera is back.
fn offline(viewer: &Viewer) -> Option<String> {
    viewer.record().texts.iter().rev().find_map(|(_, _, message)| match message {
        ServerMessage::Offline { code, .. } => Some(Some(code.clone())),
        ServerMessage::Online { .. } => Some(None),
        _ => None,
    })?
}

#[test]
fn an_absent_camera_is_told_of_disturbs_no_other_and_is_seen_as_soon_as_it_is_there() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let port = free_port()?;
    let proxy =
        Proxy::start([format!("cam={}", camera.url()), format!("ghost=rtsp://127.0.0.1:{port}/cam")])?;
    let good = Viewer::watch(&proxy, "cam")?;
    let waiting = Viewer::watch(&proxy, "ghost")?;
    good.wait_fragments(25)?;

    let code = wait::until("offline", || offline(&waiting).filter(|code| code != "connecting"))?;
    assert_eq!(code, "connect_failed");
    let told = proxy.wait_for_state("ghost", "offline")?;
    assert_eq!(told["error"]["code"], "connect_failed", "{told}");
    let reason = told["error"]["reason"].as_str().context("a reason")?;
    assert!(reason.contains(&port.to_string()), "the reason should say where: {reason}");
    assert!(told["since_time_us"].as_i64() > Some(1_600_000_000_000_000), "{told}");
    let failures = |proxy: &Proxy| proxy.metric("sightline_connect_failures_total", &[("stream", "ghost")]);
    let first = failures(&proxy)?.context("sightline_connect_failures_total{stream=\"ghost\"} is missing")?;
    assert!(first >= 1.0);
    wait::until("another attempt", || failures(&proxy).ok()?.filter(|now| *now > first))?;
    assert!(proxy.log().contains("ghost"), "the log does not mention it:\n{}", proxy.log());
    good.wait_more_fragments(25)?;

    let _late = Camera::start_on(port, Options::default())?;
    waiting.wait_fragments(25)?;
    assert_eq!(waiting.record().end, None, "the waiting viewer's socket stayed open");
    let told = proxy.wait_for_state("ghost", "live")?;
    assert!(told["error"].is_null(), "{told}");
    Ok(())
}

#[test]
fn a_killed_camera_is_told_within_6_s_and_its_picture_is_back_3_s_after_it() -> Result<()> {
    let mut camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let viewer = Viewer::watch(&proxy, "cam")?;
    viewer.wait_fragments(25)?;

    let killed = Instant::now();
    camera.kill()?;
    wait::until("offline", || offline(&viewer))?;
    assert!(killed.elapsed() <= Duration::from_secs(6), "told after {:?}", killed.elapsed());
    proxy.wait_for_state("cam", "offline")?;
    let before = viewer.record().fragments(0).last().context("fragments")?.header;
    let count = viewer.record().fragments(0).count();

    camera.restart()?;
    let back = Instant::now();
    viewer.wait_fragments(count + 1)?;
    let took = back.elapsed();
    assert!(took <= Duration::from_secs(3), "picture after {took:?}:\n{}", proxy.log());
    viewer.wait_fragments(count + 50)?;
    let record = viewer.record();
    assert_eq!(record.end, None, "the viewer's socket stayed open");
    let first = record.fragments(0).nth(count).context("a fragment")?.header;
    assert!(first.key_frame, "{first:?}");
    assert!(
        first.decode_time_ticks > before.decode_time_ticks,
        "the timeline went back: {before:?} {first:?}"
    );
    assert_eq!(offline_of(&record), None);
    Ok(())
}

fn offline_of(record: &sightline_tests::viewer::Record) -> Option<String> {
    record.texts.iter().rev().find_map(|(_, _, message)| match message {
        ServerMessage::Offline { code, .. } => Some(Some(code.clone())),
        ServerMessage::Online { .. } => Some(None),
        _ => None,
    })?
}

#[test]
fn a_camera_that_stalls_with_its_socket_open_is_noticed_and_resumes() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let viewer = Viewer::watch(&proxy, "cam")?;
    viewer.wait_fragments(25)?;

    let frozen = Instant::now();
    camera.process().freeze()?;
    let code = wait::until("offline", || offline(&viewer))?;
    assert!(frozen.elapsed() <= Duration::from_secs(6), "told after {:?}", frozen.elapsed());
    assert_eq!(code, "stalled");
    let count = viewer.record().fragments(0).count();

    camera.process().thaw()?;
    viewer.wait_fragments(count + 50)?;
    assert_eq!(viewer.record().end, None);
    proxy.wait_for_state("cam", "live")?;
    Ok(())
}

#[test]
fn a_wrong_password_is_unauthorized_and_no_password_is_ever_shown() -> Result<()> {
    let user = Some(("keeper".to_owned(), "right-4f2a".to_owned()));
    let camera = Camera::start(Options { user, ..Options::default() })?;
    let proxy = Proxy::start([
        format!("wrong={}", camera.url_for("keeper", "wrong-9c1e")),
        format!("right={}", camera.url_for("keeper", "right-4f2a")),
        "--log".into(),
        "trace".into(),
    ])?;
    proxy.wait_for_state("right", "live")?;
    let told = proxy.wait_for_state("wrong", "offline")?;
    assert_eq!(told["error"]["code"], "unauthorized", "{told}");
    let (wrong, right) = (Viewer::watch(&proxy, "wrong")?, Viewer::watch(&proxy, "right")?);
    right.wait_fragments(25)?;
    wait::until("offline", || offline(&wrong))?;

    let texts = format!("{:?}{:?}", wrong.record().texts, right.record().texts);
    for (place, text) in [
        ("log", proxy.log()),
        ("API", proxy.get("/api/v1/streams")?.body),
        ("metrics", proxy.get("/metrics")?.body),
        ("messages", texts),
    ] {
        for secret in ["wrong-9c1e", "right-4f2a"] {
            assert!(!text.contains(secret), "the {place} shows a password:\n{text}");
        }
    }
    assert!(proxy.log().contains("wrong"), "the log is empty: this test sees nothing");
    Ok(())
}

#[test]
fn a_typo_in_the_address_is_not_found() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::start([format!("cam={}x", camera.url())])?;
    let told = proxy.wait_for_state("cam", "offline")?;
    assert_eq!(told["error"]["code"], "not_found", "{told}");
    let viewer = Viewer::watch(&proxy, "cam")?;
    assert_eq!(wait::until("offline", || offline(&viewer))?, "not_found");
    Ok(())
}

#[test]
fn an_on_demand_camera_is_connected_only_while_somebody_watches() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::configured(&format!(
        "[streams.cam]\nsource = \"{0}\"\non_demand = true\n\n[streams.always]\nsource = \"{0}\"\n",
        camera.url()
    ))?;
    // The other stream shows that the proxy has had its time to connect.
    proxy.wait_for_state("always", "live")?;
    assert_eq!(proxy.stream("cam")?["state"], "idle");
    assert_eq!(connections_to(camera.port())?, 1);

    let viewer = Viewer::watch(&proxy, "cam")?;
    viewer.wait_fragments(25)?;
    assert_eq!(connections_to(camera.port())?, 2);
    let told = proxy.stream("cam")?;
    assert_eq!((&told["state"], &told["viewers"]), (&"live".into(), &1.into()), "{told}");

    drop(viewer);
    proxy.wait_for_state("cam", "idle")?;
    wait::until("the connection's end", || (connections_to(camera.port()).ok()? == 1).then_some(()))?;
    // And a second time.
    Viewer::watch(&proxy, "cam")?.wait_fragments(25)
}
