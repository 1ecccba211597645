//! Viewers that talk nonsense or do not read: only they suffer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sightline_tests::camera::{Camera, Options};
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::{End, Viewer};
use sightline_tests::{raw, wait};
use sightline_wire::{ErrorCode, ServerMessage};
use tokio_tungstenite::tungstenite::Message;

/// A camera whose frames are large: a kernel's buffers fill in a few seconds.
fn heavy() -> Options {
    Options { gop: 10, kbps: 16_000, noise: true, ..Options::default() }
}

/// Fails if a viewer missed a frame.
fn assert_unharmed(viewer: &Viewer) {
    let record = viewer.record();
    assert_eq!(record.end, None);
    let sequences: Vec<_> = record.fragments(0).map(|f| f.header.sequence).collect();
    assert!(sequences.len() > 25, "only {} fragments", sequences.len());
    assert!(sequences.windows(2).all(|w| w[1] == w[0] + 1), "frames are missing: {sequences:?}");
    assert_eq!(record.text(|m| matches!(m, ServerMessage::Dropped { .. }).then_some(())), None);
}

#[test]
fn malformed_messages_close_their_sender_and_nobody_else() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let healthy = Viewer::watch(&proxy, "cam")?;
    healthy.wait_fragments(25)?;

    for (what, message, codes) in [
        ("no JSON", Message::text("{"), vec![1008]),
        ("no object", Message::text("42"), vec![1008]),
        ("no type", Message::text("{}"), vec![1008]),
        ("an unknown type", Message::text(r#"{"type":"dance"}"#), vec![1008]),
        ("a field of the wrong type", Message::text(r#"{"type":"subscribe","stream":7}"#), vec![1008]),
        ("deep nesting", Message::text("[".repeat(10_000)), vec![1008]),
        ("a binary message", Message::binary(vec![1, 2, 3]), vec![1008, 1003]),
        ("a text over the limit", Message::text(long_name(17_000)), vec![1008, 1009]),
        ("a text of 4 MB", Message::text(long_name(4_000_000)), vec![1008, 1009]),
    ] {
        let bad = Viewer::watch(&proxy, "cam")?;
        bad.wait_fragments(1)?;
        bad.send(message);
        let end = bad.wait(&format!("the end after {what}"), |record| record.end.clone())?;
        match end {
            End::Closed(code, _) => assert!(codes.contains(&code), "{what}: closed with {code}"),
            // A message too large to be read at all may be answered with a reset.
            End::Broken(_) => assert!(codes.contains(&1009), "{what}: {end:?}"),
        }
        if codes == [1008] {
            let told = bad.record().text(|m| match m {
                ServerMessage::Error { code, .. } => Some(*code),
                _ => None,
            });
            assert_eq!(told, Some(ErrorCode::BadMessage), "{what}");
        }
    }
    healthy.wait_more_fragments(25)?;
    assert_unharmed(&healthy);
    wait::until("one viewer left", || {
        (proxy.metric("sightline_viewers", &[]).ok()? == Some(1.0)).then_some(())
    })
}

fn long_name(length: usize) -> String {
    format!(r#"{{"type":"subscribe","stream":"{}"}}"#, "x".repeat(length))
}

#[test]
fn frames_no_websocket_allows_close_their_sender_and_cost_no_memory() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let healthy = Viewer::watch(&proxy, "cam")?;
    healthy.wait_fragments(25)?;
    let before = proxy.resident_kib()?;

    let unmasked: &[u8] = b"\x81\x02{}";
    let reserved_opcode: &[u8] = b"\x8b\x80\0\0\0\0";
    let huge_length: &[u8] = b"\x81\xff\x00\x00\x00\x01\x00\x00\x00\x00\0\0\0\0{"; // 4 GiB to come
    let long_ping = [b"\x89\xfe\x01\x00\0\0\0\0".as_slice(), &[0; 256]].concat(); // control frames hold at most 125 bytes
    let never_ending: &[u8] = b"\x01\x81\0\0\0\0{\x00\x81\0\0\0\0{\x81\x81\0\0\0\0{"; // text inside a fragmented text
    for (what, bytes) in [
        ("an unmasked frame", unmasked),
        ("a reserved opcode", reserved_opcode),
        ("a frame of 4 GiB", huge_length),
        ("a long ping", &long_ping),
        ("a text inside a text", never_ending),
        ("noise", &[0xa5; 4096]),
    ] {
        let mut stream = raw::connect(&proxy, "cam", None)?;
        stream.write_all(bytes)?;
        // Whatever comes, an end comes soon.
        read_to_end(&mut stream).with_context(|| format!("still open after {what}"))?;
    }
    healthy.wait_more_fragments(25)?;
    assert_unharmed(&healthy);
    let grown = proxy.resident_kib()?.saturating_sub(before);
    assert!(grown < 16 * 1024, "grown by {grown} KiB");
    Ok(())
}

fn read_to_end(stream: &mut TcpStream) -> Result<()> {
    let started = std::time::Instant::now();
    let mut buffer = [0; 16_384];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => ensure!(started.elapsed() < wait::PATIENCE, "media goes on"),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

#[test]
fn a_viewer_that_never_reads_costs_no_memory_disturbs_nobody_and_is_closed() -> Result<()> {
    let camera = Camera::start(heavy())?;
    let proxy = Proxy::for_camera(&camera)?;
    let healthy = Viewer::watch(&proxy, "cam")?;
    healthy.wait_fragments(50)?;
    let before = proxy.resident_kib()?;

    let deaf: Vec<TcpStream> =
        (0..4).map(|_| raw::connect(&proxy, "cam", Some(4096))).collect::<Result<_>>()?;
    wait::until("5 viewers", || (proxy.metric("sightline_viewers", &[]).ok()? == Some(5.0)).then_some(()))?;
    wait::until_within(Duration::from_secs(40), "the deaf viewers to be closed", || {
        (proxy.metric("sightline_viewers", &[]).ok()? == Some(1.0)).then_some(())
    })?;
    let grown = proxy.resident_kib()?.saturating_sub(before);
    assert!(grown < 4 * 4 * 1024, "grown by {grown} KiB");
    healthy.wait_more_fragments(25)?;
    assert_unharmed(&healthy);
    drop(deaf);
    Ok(())
}

#[test]
fn a_viewer_that_falls_behind_is_told_what_was_left_out_and_goes_on_at_a_key_frame() -> Result<()> {
    let camera = Camera::start(heavy())?;
    let proxy = Proxy::for_camera(&camera)?;
    let healthy = Viewer::watch(&proxy, "cam")?;
    let slow = Viewer::connect_with(&proxy.ws_url(Some("cam")), Some(4096))?;
    slow.wait_fragments(5)?;

    slow.pause();
    // Ten GOPs go by, 8 MB: more than the kernel's buffers and the ring hold.
    healthy.wait_more_fragments(100)?;
    slow.resume();
    let before = slow.wait("dropped", |record| {
        let (_, before, _) =
            record.texts.iter().find(|(_, _, m)| matches!(m, ServerMessage::Dropped { .. }))?;
        (record.binaries.len() > *before).then_some(*before)
    })?;
    {
        let record = slow.record();
        let (last, next) = (&record.binaries[before - 1].header, &record.binaries[before].header);
        assert!(next.key_frame, "{next:?}");
        let told = record.text(|m| match m {
            ServerMessage::Dropped { frames, .. } => Some(*frames),
            _ => None,
        });
        assert_eq!(told, Some(next.sequence - last.sequence - 1), "{last:?} {next:?}");
    }
    let counted = proxy.metric("sightline_frames_dropped_total", &[("stream", "cam")])?;
    assert!(counted > Some(0.0), "{counted:?}");
    slow.wait_more_fragments(25)?;
    assert_eq!(slow.record().end, None);
    assert_unharmed(&healthy);
    Ok(())
}
