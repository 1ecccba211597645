//! Viewers behind a link that fails or is too slow: they are live again by themselves, and nobody else notices.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use sightline_tests::camera::{Camera, Options};
use sightline_tests::link::{self, Conditions, Link};
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::{Record, Viewer};
use sightline_tests::wait;
use sightline_wire::{Kind, ServerMessage};

/// A round trip of 40 ms.
const FINE: Conditions =
    Conditions { delay: Duration::from_millis(20), loss: 0.0, bits_per_second: None, is_out: false };

/// A link, or nothing where none can be made, which is said.
fn link() -> Result<Option<Link>> {
    if let Some(missing) = link::missing() {
        // Not by the macros, whose output nobody sees of a test that passes.
        writeln!(std::io::stderr().lock(), "skipped: {missing}")?;
        return Ok(None);
    }
    let link = Link::start(1)?;
    link.set(FINE);
    Ok(Some(link))
}

/// A camera, its proxy at our end of the link, a viewer beside the proxy and one beyond.
fn watched(link: &Link, sends: Options) -> Result<(Camera, Proxy, Viewer, Viewer)> {
    let camera = Camera::start(sends)?;
    let listen = format!("{}:0", link.host());
    let proxy = Proxy::start_on(&listen, ["--auth=off".to_owned(), format!("cam={}", camera.url())])?;
    proxy.wait_for_state("cam", "live")?;
    let near = Viewer::watch(&proxy, "cam")?;
    near.wait_fragments(25)?;
    let far = link.beyond(|| Viewer::watch(&proxy, "cam"))?;
    far.wait_fragments(25)?;
    Ok((camera, proxy, near, far))
}

fn newest(record: &Record) -> Option<u32> {
    record.fragments(0).last().map(|fragment| fragment.header.sequence)
}

/// Waits until what is far is as good as live: less than half a second behind what is near.
fn wait_until_live(near: &Viewer, far: &Viewer) -> Result<()> {
    wait::until("the viewer beyond to be live", || {
        let (near, far) = (newest(&near.record())?, newest(&far.record())?);
        (near.saturating_sub(far) < 12).then_some(())
    })
}

/// Where frames were left out: each time the frames before and behind, and how many the proxy said it were.
fn left_out(record: &Record) -> Vec<(u32, u32, bool, Option<u32>)> {
    let told = |index: usize| {
        record.texts.iter().find_map(|(_, before, message)| match message {
            ServerMessage::Dropped { frames, .. } if *before == index => Some(*frames),
            _ => None,
        })
    };
    let fragments = record.binaries.iter().map(|binary| &binary.header).enumerate();
    let fragments: Vec<_> = fragments.filter(|(_, header)| header.kind == Kind::Media).collect();
    let pairs = fragments.windows(2).map(|pair| (pair[0].1.sequence, pair[1]));
    let holes = pairs.filter(|(before, (_, behind))| behind.sequence != before + 1);
    holes.map(|(before, (i, behind))| (before, behind.sequence, behind.key_frame, told(i))).collect()
}

#[test]
fn a_viewer_behind_an_outage_of_three_seconds_is_live_again() -> Result<()> {
    let Some(link) = link()? else { return Ok(()) };
    let (_camera, _proxy, near, far) = watched(&link, Options { gop: 25, ..Options::default() })?;
    link.set(Conditions { is_out: true, ..FINE });
    std::thread::sleep(Duration::from_secs(3));
    let (at_near, at_far) = (newest(&near.record()), newest(&far.record()));
    assert!(at_near.context("near")? > at_far.context("far")? + 50, "no outage: {at_near:?}, {at_far:?}");
    link.set(FINE);
    wait_until_live(&near, &far)?;
    far.wait_more_fragments(25)?;
    assert_eq!((far.record().end.clone(), near.missing()), (None, 0));
    Ok(())
}

#[test]
fn what_nobody_acknowledges_is_followed_by_no_more_pictures() -> Result<()> {
    let Some(link) = link()? else { return Ok(()) };
    // Its key frames have taught TCP that much is taken at once: it would send two seconds of this into nothing.
    let sends = Options { kbps: 2_000, noise: true, ..Options::default() };
    let (_camera, proxy, near, far) = watched(&link, sends)?;
    let sent = || proxy.metric("sightline_websocket_sent_bytes_total", &[])?.context("no such metric");
    // Beside the proxy one viewer takes what comes; as many bytes go beyond the link while there is one.
    let per_fragment = |fragments: usize| -> Result<f64> {
        let (bytes, before) = (sent()?, near.record().fragments(0).count());
        near.wait_more_fragments(fragments)?;
        let passed = near.record().fragments(0).count() - before;
        Ok((sent()? - bytes) / passed as f64)
    };
    let both = per_fragment(50)?;
    link.set(Conditions { is_out: true, ..FINE });
    // As far as anybody could know, the first of them may arrive.
    near.wait_more_fragments(20)?;
    let one = per_fragment(20)?;
    assert!(one < both * 0.75, "{one} bytes a picture are sent while one viewer is away, {both} to two");
    link.set(FINE);
    wait_until_live(&near, &far)?;
    assert_eq!((far.record().end.clone(), near.missing()), (None, 0));
    Ok(())
}

#[test]
fn a_viewer_behind_a_link_that_is_too_slow_goes_on_at_key_frames_and_nobody_else_notices() -> Result<()> {
    let Some(link) = link()? else { return Ok(()) };
    let sends = Options { gop: 25, kbps: 2_000, noise: true, ..Options::default() };
    let (_camera, proxy, near, far) = watched(&link, sends)?;
    near.wait_fragments(75)?;
    let bytes: usize =
        near.record().fragments(0).skip(25).take(50).map(|fragment| fragment.payload.len()).sum();
    // Two seconds of the stream: half of it fits.
    link.set(Conditions { bits_per_second: Some((bytes * 8 / 4) as u32), ..FINE });
    far.wait("two jumps", |record| (left_out(record).len() >= 2).then_some(()))?;
    link.set(FINE);
    wait_until_live(&near, &far)?;
    far.wait_more_fragments(25)?;

    for hole in left_out(&far.record()) {
        let (before, behind, key_frame, told) = hole;
        assert!(key_frame, "it goes on in mid-GOP: {hole:?}");
        assert_eq!(told, Some(behind - before - 1), "{hole:?}");
    }
    assert_eq!((far.record().end.clone(), near.missing()), (None, 0));
    let told = near.record().text(|message| matches!(message, ServerMessage::Dropped { .. }).then_some(()));
    assert_eq!(told, None, "the viewer beside the proxy was told of dropped frames");
    assert!(proxy.metric("sightline_frames_dropped_total", &[])? > Some(0.0));
    Ok(())
}
