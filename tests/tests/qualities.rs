//! One stream in two qualities, from two cameras: who gets which, and what is fetched for it.

use anyhow::Result;
use sightline_tests::camera::{Camera, Options, connections_to};
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::{Record, Viewer};
use sightline_tests::wait;
use sightline_wire::{ClientMessage, Media, ServerMessage};

/// Height and epoch of the newest tracks, once a fragment of theirs has come, which is a key frame if it is the first.
fn height(record: &Record) -> Option<u32> {
    let (epoch, _, tracks) = record.tracks()?;
    let (_, before, _) =
        record.texts.iter().rev().find(|(_, _, m)| matches!(m, ServerMessage::Tracks { .. }))?;
    let mut media =
        record.binaries[*before..].iter().filter(|b| b.header.kind == sightline_wire::Kind::Media);
    let first = media.next()?;
    assert!(first.header.key_frame && first.header.epoch == epoch, "{:?}", first.header);
    tracks.iter().find_map(|track| match track.media {
        Media::Video { height, .. } => Some(height),
        Media::Audio { .. } => None,
    })
}

#[test]
fn a_viewer_gets_the_quality_that_fits_its_size_and_another_when_that_changes() -> Result<()> {
    let main = Camera::start(Options { gop: 25, ..Options::default() })?;
    let sub = Camera::start(Options { gop: 25, size: (320, 180), kbps: 300, ..Options::default() })?;
    let proxy = Proxy::configured(&format!(
        "[[streams.cam.quality]]\nname = 'main'\nsource = '{}'\n[[streams.cam.quality]]\nname = 'sub'\nsource = '{}'\n",
        main.url(),
        sub.url()
    ))?;
    proxy.wait_for_state("cam", "live")?;
    let viewer = Viewer::connect(&proxy.ws_url(None))?;
    let full = Viewer::watch(&proxy, "cam")?;
    full.wait_fragments(10)?;
    assert_eq!(connections_to(sub.port())?, 0, "nobody wants the small one");

    viewer.say(&ClientMessage::Subscribe { stream: "cam".into(), audio: true, max_height: Some(180) });
    viewer.wait("the small one", |record| (height(record) == Some(180)).then_some(()))?;
    viewer.say(&ClientMessage::Quality { stream: "cam".into(), max_height: None });
    viewer.wait("the large one", |record| (height(record) == Some(360)).then_some(()))?;
    viewer.say(&ClientMessage::Quality { stream: "cam".into(), max_height: Some(90) });
    viewer.wait("the small one again", |record| (height(record) == Some(180)).then_some(()))?;
    let said: Vec<_> = (viewer.record().texts.iter())
        .filter_map(|(_, _, message)| match message {
            ServerMessage::Switched { quality, .. } => Some(quality.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(said, ["sub", "main", "sub"]);
    // One timeline, on which nothing goes back by more than cameras part.
    let record = viewer.record();
    let times: Vec<_> = record.fragments(0).map(|b| b.header.presentation_time_ticks()).collect();
    let back = times.windows(2).map(|w| w[0] - w[1]).max().unwrap_or_default();
    assert!(back < 90_000, "{back} ticks of 1/90000 s back");
    drop(record);
    assert_eq!(height(&full.record()), Some(360));
    drop(viewer);
    wait::until("the small camera to be let go", || (connections_to(sub.port()).ok()? == 0).then_some(()))
}
