//! There is room for so many and no more: whoever comes too much is told so, and nobody else notices.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use sightline_tests::camera::{Camera, Options};
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::Viewer;
use sightline_tests::wait;
use sightline_wire::{ClientMessage, ErrorCode, ServerMessage};

/// Asks for a WebSocket and gives the whole answer's head, in small letters.
fn ask(proxy: &Proxy) -> Result<String> {
    let mut connection = TcpStream::connect(proxy.authority())?;
    connection.set_read_timeout(Some(wait::PATIENCE))?;
    write!(
        connection,
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        proxy.authority()
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        ensure!(connection.read(&mut byte)? == 1, "ended: {}", String::from_utf8_lossy(&head));
        head.extend(byte);
    }
    Ok(String::from_utf8(head)?.to_lowercase())
}

#[test]
fn a_viewer_too_many_is_told_when_to_come_again_and_gets_in_when_another_left() -> Result<()> {
    let proxy = Proxy::start(["cam=rtsp://127.0.0.1:9/x", "--max-viewers", "2"])?;
    let first = Viewer::watch(&proxy, "cam")?;
    let second = Viewer::watch(&proxy, "cam")?;
    let head = ask(&proxy)?;
    assert!(head.starts_with("http/1.1 503") && head.contains("\r\nretry-after: 5\r\n"), "{head}");
    let refused = proxy.metric("sightline_refused_total", &[("limit", "max_viewers")])?;
    assert_eq!(refused, Some(1.0));
    assert_eq!(proxy.get("/healthz")?.status, 200, "pages and figures are for everybody");
    drop(first);
    wait::until("room", || ask(&proxy).is_ok_and(|head| head.starts_with("http/1.1 101")).then_some(()))?;
    assert_eq!(second.record().end, None);
    Ok(())
}

#[test]
fn a_stream_that_is_watched_by_as_many_as_may_says_so_and_that_it_may_be_tried_again() -> Result<()> {
    let proxy = Proxy::configured("[streams.cam]\nsource = 'rtsp://127.0.0.1:9/x'\nmax_viewers = 1\n")?;
    let first = Viewer::watch(&proxy, "cam")?;
    let subscribed =
        |message: &ServerMessage| matches!(message, ServerMessage::Subscribed { .. }).then_some(());
    first.wait_text("the answer", subscribed)?;
    let second = Viewer::watch(&proxy, "cam")?;
    let refusal = second.wait_text("the refusal", |message| match message {
        ServerMessage::Error { code, retryable, stream, .. } => Some((*code, *retryable, stream.clone())),
        _ => None,
    })?;
    assert_eq!(refusal, (ErrorCode::TooMany, true, Some("cam".into())));
    assert_eq!(proxy.metric("sightline_refused_total", &[("limit", "stream_max_viewers")])?, Some(1.0));
    // Who asks again on his own connection takes nobody's room but his own.
    first.say(&ClientMessage::Subscribe { stream: "cam".into(), audio: true, max_height: None });
    first.wait("the second answer", |record| {
        (record.texts.iter().filter(|(_, _, m)| subscribed(m).is_some()).count() == 2).then_some(())
    })?;
    first.say(&ClientMessage::Unsubscribe { stream: "cam".into() });
    wait::until("room", || {
        second.say(&ClientMessage::Subscribe { stream: "cam".into(), audio: true, max_height: None });
        second.record().text(subscribed)
    })
}

#[test]
fn without_files_to_open_those_who_watch_go_on_watching_and_nothing_spins() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::start_with_files(64, [format!("cam={}", camera.url())])?;
    let viewer = Viewer::watch(&proxy, "cam")?;
    viewer.wait_fragments(10)?;
    ensure!(proxy.log().contains("viewers get in at a time, not 2000"), "{}", proxy.log());

    // Connections that say nothing: more than there are files.
    let idle: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(proxy.authority())).collect::<Result<_, _>>()?;
    wait::until("the last file to be used", || (proxy.holdings().ok()?.fds >= 64).then_some(()))
        .with_context(|| format!("{:?} {}", proxy.holdings(), proxy.log()))?;
    let (ticks, since) = (proxy.cpu_ticks()?, Instant::now());
    viewer.wait_more_fragments(50)?;
    let (ticks, ms) = (proxy.cpu_ticks()? - ticks, since.elapsed().as_millis());
    ensure!(u128::from(ticks) * 10 < ms / 2, "busy: {} ms of {ms}", ticks * 10);
    assert_eq!(viewer.record().end, None);

    drop(idle);
    wait::until("an answer", || (proxy.get("/healthz").ok()?.status == 200).then_some(()))
        .with_context(|| proxy.log())
}
