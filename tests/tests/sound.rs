//! The sound of real RTSP cameras: every codec plays or is named, and whatever it does the picture goes on.

mod common;

use anyhow::{Context, Result, ensure};
use common::{PLAYER, assert_live, in_both_browsers, unmute, wait_for_element};
use sightline_tests::browser::{Browser, Page};
use sightline_tests::camera::{Camera, Options};
use sightline_tests::judge;
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::Viewer;
use sightline_wire::Media;

fn sounding(audio_codec: &'static str) -> Options {
    Options { audio: true, audio_codec, ..Options::default() }
}

/// ffmpeg decodes the sound of a camera that codes it so, frame for frame, and finds no hole in it.
#[track_caller]
fn assert_sound(audio_codec: &'static str, codec: &str, name: &str, sample_rate: u32) -> Result<()> {
    let camera = Camera::start(sounding(audio_codec))?;
    let proxy = Proxy::for_camera(&camera)?;
    let viewer = Viewer::watch_decoding(&proxy, "cam", &["avc1", "mp4a.40.2", "flac", "opus"])?;
    viewer.wait_fragments(75)?;
    let record = viewer.record();
    let (epoch, _, tracks) = record.tracks().context("no tracks")?;
    let track = tracks.get(1).with_context(|| format!("{audio_codec}: no sound in {tracks:?}"))?;
    assert_eq!((track.codec.as_str(), &track.media), (codec, &Media::Audio { sample_rate, channels: 1 }));
    let verdict = judge::decode(&record.file(1, epoch))?;
    assert_eq!((verdict.complaints.as_str(), verdict.codec.as_str()), ("", name), "{audio_codec}");
    assert_eq!(verdict.frames, record.fragments(1).count() as u64, "{audio_codec}");
    let mut end = None;
    for header in record.fragments(1).map(|fragment| fragment.header) {
        let at = header.presentation_time_ticks();
        // Samples are laid end to end. Access units of AAC and Opus cannot be cut: where sound begins behind silence they may overlap.
        let apart = match audio_codec {
            "aac" => 512,
            "opus" => 480,
            _ => 1,
        };
        ensure!(end.is_none_or(|end: i64| (at - end).abs() <= apart), "{audio_codec}: {at} behind {end:?}");
        end = Some(at + i64::from(header.duration_ticks));
    }
    Ok(())
}

#[test]
fn aac_is_passed_on() -> Result<()> {
    assert_sound("aac", "mp4a.40.2", "aac", 48_000)
}

#[test]
fn opus_is_passed_on() -> Result<()> {
    assert_sound("opus", "opus", "opus", 48_000)
}

#[test]
fn g711_becomes_flac() -> Result<()> {
    assert_sound("pcma", "flac", "flac", 8_000)?;
    assert_sound("pcmu", "flac", "flac", 8_000)
}

#[test]
fn g722_and_l16_become_flac() -> Result<()> {
    assert_sound("g722", "flac", "flac", 16_000)?;
    assert_sound("l16", "flac", "flac", 48_000)
}

#[test]
fn g726_becomes_flac_at_each_of_its_rates() -> Result<()> {
    for audio_codec in ["g726-16", "g726-24", "g726-32", "g726-40"] {
        assert_sound(audio_codec, "flac", "flac", 8_000)?;
    }
    Ok(())
}

#[test]
fn sound_that_is_not_played_is_named_and_the_picture_goes_on() -> Result<()> {
    let camera = Camera::start(sounding("l24"))?;
    let proxy = Proxy::for_camera(&camera)?;
    let viewer = Viewer::watch(&proxy, "cam")?;
    viewer.wait_fragments(50)?;
    let stream = proxy.stream("cam")?;
    let warning = stream["warnings"].as_array().and_then(|all| all.first()).context("no warning")?.clone();
    assert_eq!(warning["code"], "unsupported_audio", "{warning}");
    let message = warning["message"].as_str().unwrap_or_default();
    assert!(message.contains("L24") && message.contains("AAC or G.711"), "{message}");
    Ok(())
}

in_both_browsers![
    g711_is_heard,
    l16_is_heard,
    sound_that_pauses_does_not_stop_the_picture,
    sound_that_was_only_announced_does_not_keep_the_picture_waiting,
];

fn heard(browser: &Browser, audio_codec: &'static str) -> Result<()> {
    let camera = Camera::start(sounding(audio_codec))?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&proxy.url("/embed/cam"))?;
    assert_live(&page)?;
    unmute(&page)?;
    assert_live(&page)?;
    wait_for_element(&page, "live")?;
    assert_eq!(page.errors()?, Vec::<String>::new());
    Ok(())
}

fn g711_is_heard(browser: &Browser) -> Result<()> {
    heard(browser, "pcma")?;
    heard(browser, "pcmu")
}

fn l16_is_heard(browser: &Browser) -> Result<()> {
    heard(browser, "l16")
}

/// The longest time without a new picture over the next so many, in ms.
fn longest_gap_ms(page: &Page<'_>, pictures: u64) -> Result<f64> {
    page.reset_glass()?;
    let glass = page.wait_for_pictures(1, pictures)?;
    Ok(glass[0].samples.iter().map(|sample| sample.2).fold(0.0, f64::max))
}

fn sound_that_pauses_does_not_stop_the_picture(browser: &Browser) -> Result<()> {
    for audio_codec in ["aac", "pcma"] {
        let camera = Camera::start(Options { audio_pause_s: (6.0, 11.0), ..sounding(audio_codec) })?;
        let proxy = Proxy::for_camera(&camera)?;
        let page = browser.open(&proxy.url("/embed/cam"))?;
        page.wait_for_pictures(1, 1)?;
        unmute(&page)?;
        page.wait_for_pictures(1, 25)?;
        // Over the pause, its end and some more.
        let gap_ms = longest_gap_ms(&page, 250)?;
        assert!(gap_ms < 700.0, "{audio_codec}: no new picture for {gap_ms} ms");
        let stats = page.evaluate(&format!("{PLAYER}.getStats()"))?;
        assert_eq!(stats["rebuilds"], 0, "{audio_codec}: {stats}");
    }
    Ok(())
}

fn sound_that_was_only_announced_does_not_keep_the_picture_waiting(browser: &Browser) -> Result<()> {
    // Long enough for the camera to know what it offers, and over before anybody watches.
    let camera = Camera::start(Options { audio_pause_s: (0.2, 1e6), ..sounding("pcma") })?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&proxy.url("/embed/cam"))?;
    page.wait_for_pictures(1, 1)?;
    unmute(&page)?;
    assert_live(&page)?;
    let own_audio = page.evaluate(&format!("{PLAYER}.getStats().codecs.length"))?;
    assert_eq!(own_audio, 2, "the track that was announced is there");
    Ok(())
}
