//! Joining a stream: at once, from its cached GOP; and asking for what does not exist.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use sightline_tests::camera::{Camera, Options};
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::{End, Viewer};
use sightline_wire::{ClientMessage, ErrorCode, ServerMessage};

#[test]
fn a_viewer_starts_from_the_cached_gop_and_is_live_at_once() -> Result<()> {
    let camera = Camera::start(Options { gop: 250, ..Options::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    let first = Viewer::watch(&proxy, "cam")?;
    // 80 frames behind the newest key frame: 3.2 s of camera time.
    first.wait("80 frames behind a key frame", |record| {
        let frames: Vec<_> = record.fragments(0).collect();
        let key = frames.iter().rposition(|f| f.header.key_frame)?;
        (80..200).contains(&(frames.len() - key)).then_some(())
    })?;

    let late = Viewer::watch(&proxy, "cam")?;
    let (edge, frames, took) = late.wait("the history", |record| {
        let (_, edge, _) = record.tracks()?;
        let edge = edge?;
        let frames: Vec<_> = record.fragments(0).cloned().collect();
        let at = frames.iter().position(|f| f.header.sequence == edge)?;
        Some((edge, frames[..=at].to_vec(), frames[at].at - record.texts[0].0))
    })?;
    assert!(frames[0].header.key_frame, "the first frame is no key frame: {:?}", frames[0].header);
    assert!(frames.len() >= 80, "only {} frames of history up to {edge}", frames.len());
    for pair in frames.windows(2) {
        assert_eq!(pair[1].header.sequence, pair[0].header.sequence + 1);
    }
    // Live, those frames would take 3.2 s.
    assert!(took < Duration::from_secs(1), "the history took {took:?}");
    // And then it goes on without a hole.
    late.wait_more_fragments(25)?;
    let all: Vec<_> = late.record().fragments(0).map(|f| f.header.sequence).collect();
    assert!(all.windows(2).all(|w| w[1] == w[0] + 1), "{all:?}");
    Ok(())
}

#[test]
fn everybody_gets_the_same_bytes() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let (one, two) = (Viewer::watch(&proxy, "cam")?, Viewer::watch(&proxy, "cam")?);
    one.wait_fragments(60)?;
    two.wait_fragments(60)?;
    let (one, two) = (one.record(), two.record());
    let mut compared = 0;
    for a in one.fragments(0) {
        if let Some(b) = two.fragments(0).find(|b| b.header.sequence == a.header.sequence) {
            assert_eq!((a.header, &a.payload), (b.header, &b.payload));
            compared += 1;
        }
    }
    assert!(compared >= 50, "only {compared} fragments in common");
    Ok(())
}

#[test]
fn one_socket_carries_several_streams_and_a_subscription_can_end() -> Result<()> {
    let camera = Camera::start(Options { mounts: 2, ..Options::default() })?;
    let proxy = Proxy::start([format!("a={}0", camera.url()), format!("b={}1", camera.url())])?;
    proxy.wait_for_state("a", "live")?;
    proxy.wait_for_state("b", "live")?;
    let viewer = Viewer::connect(&proxy.ws_url(None))?;
    viewer.say(&ClientMessage::Hello { version: 1, codecs: vec!["avc1".into()] });
    let number = |name: &'static str| {
        viewer.say(&ClientMessage::Subscribe { stream: name.into(), audio: true, max_height: None });
        viewer.wait_text(name, move |message| match message {
            ServerMessage::Subscribed { stream, number } if stream == name => Some(*number),
            _ => None,
        })
    };
    let (a, b) = (number("a")?, number("b")?);
    assert_ne!(a, b);
    let count = |n: u32| viewer.record().binaries.iter().filter(|m| m.header.number == n).count();
    sightline_tests::wait::until("fragments of both streams", || {
        (count(a) > 25 && count(b) > 25).then_some(())
    })?;

    viewer.say(&ClientMessage::Unsubscribe { stream: "a".into() });
    viewer.wait_text("unsubscribed", |message| {
        matches!(message, ServerMessage::Unsubscribed { .. }).then_some(())
    })?;
    let before = viewer
        .record()
        .texts
        .iter()
        .find_map(|(_, before, m)| matches!(m, ServerMessage::Unsubscribed { .. }).then_some(*before))
        .context("no unsubscribed")?;
    let b_now = count(b);
    sightline_tests::wait::until("b goes on", || (count(b) > b_now + 25).then_some(()))?;
    let record = viewer.record();
    assert!(
        record.binaries[before..].iter().all(|m| m.header.number == b),
        "media of a after `unsubscribed`"
    );
    Ok(())
}

#[test]
fn an_unknown_stream_is_a_404_that_names_the_list_and_an_error_over_the_socket() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;

    let answer = proxy.get("/api/v1/streams/nobody")?;
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("/api/v1/streams"), "{}", answer.body);
    // The list it names has what exists.
    let list: Value = serde_json::from_str(&proxy.get("/api/v1/streams")?.body)?;
    assert_eq!(list["streams"][0]["name"], "cam");

    // Pages too; people see the player's own words there.
    for page in ["/watch", "/embed"] {
        assert_eq!(proxy.get(&format!("{page}/nobody"))?.status, 404);
        assert_eq!(proxy.get(&format!("{page}/cam"))?.status, 200);
    }

    let viewer = Viewer::connect(&proxy.ws_url(None))?;
    viewer.say(&ClientMessage::Subscribe { stream: "nobody".into(), audio: true, max_height: None });
    let (code, stream) = viewer.wait_text("an error", |message| match message {
        ServerMessage::Error { code, stream, .. } => Some((*code, stream.clone())),
        _ => None,
    })?;
    assert_eq!((code, stream.as_deref()), (ErrorCode::UnknownStream, Some("nobody")));
    // The socket is still good for a stream that exists.
    viewer.say(&ClientMessage::Subscribe { stream: "cam".into(), audio: true, max_height: None });
    viewer.wait_fragments(25)?;

    // With the name in the address there is an answer too, whichever way: a refused upgrade or an error message.
    match Viewer::watch(&proxy, "nobody") {
        Err(refused) => assert!(format!("{refused:#}").contains("404"), "{refused:#}"),
        Ok(viewer) => {
            viewer.wait_text("an error", |m| {
                matches!(m, ServerMessage::Error { code: ErrorCode::UnknownStream, .. }).then_some(())
            })?;
        }
    }
    Ok(())
}

#[test]
fn names_that_are_no_names_do_no_harm() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    for name in ["..", "%2e%2e%2fetc%2fpasswd", "%00", "rtsp:%2f%2f127.0.0.1%2fcam", "%F0%9F%93%B7", "%ff"] {
        let answer = proxy.get(&format!("/api/v1/streams/{name}"))?;
        assert!(matches!(answer.status, 400 | 404), "{name}: {} {}", answer.status, answer.body);
    }
    assert_eq!(proxy.get("/api/v1/streams/cam")?.status, 200);
    Ok(())
}

#[test]
fn a_client_that_decodes_no_h264_is_told_so() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let viewer = Viewer::connect(&proxy.ws_url(None))?;
    viewer.say(&ClientMessage::Hello { version: 1, codecs: vec!["vp9".into()] });
    viewer.say(&ClientMessage::Subscribe { stream: "cam".into(), audio: true, max_height: None });
    viewer.wait_text("unsupported_codec", |m| {
        matches!(m, ServerMessage::Error { code: ErrorCode::UnsupportedCodec, .. }).then_some(())
    })?;
    assert_eq!(viewer.record().fragments(0).count(), 0);
    Ok(())
}

#[test]
fn a_version_the_proxy_does_not_speak_ends_with_1002() -> Result<()> {
    let proxy = Proxy::start(["cam=rtsp://127.0.0.1:1/cam"])?;
    let viewer = Viewer::connect(&proxy.ws_url(None))?;
    viewer.say(&ClientMessage::Hello { version: 99, codecs: vec!["avc1".into()] });
    let end = viewer.wait("the end", |record| record.end.clone())?;
    assert!(matches!(end, End::Closed(1002, _)), "{end:?}");
    viewer.wait_text("unsupported_version", |m| {
        matches!(m, ServerMessage::Error { code: ErrorCode::UnsupportedVersion, .. }).then_some(())
    })
}
