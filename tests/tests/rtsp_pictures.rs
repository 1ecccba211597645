//! Pictures as real cameras send them by RTSP: B-frames, intra refresh, open GOPs, slices, fields, H.265.

mod common;

use anyhow::{Context, Result};
use common::{assert_live_within, in_both_browsers, name, wait_for_element};
use sightline_tests::browser::{Browser, Engine};
use sightline_tests::camera::{Camera, Options};
use sightline_tests::judge;
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::Viewer;
use sightline_tests::wait;

in_both_browsers![
    b_frames_are_shown_in_order,
    a_pyramid_of_b_frames_is_shown_in_order,
    intra_refresh_starts_for_a_late_joiner_or_is_warned_of,
    an_open_gop_starts_for_a_late_joiner,
    h265_plays_or_is_refused_by_name,
];

/// The share of pictures that must be seen. Firefox on a busy machine shows 92 % of a camera's without B-frames, too.
fn nearly_all(browser: &Browser) -> f64 {
    if browser.engine() == Engine::Firefox { 0.9 } else { 0.95 }
}

/// What of a camera's is no beginning to browsers: it sends one IDR picture, and recovery points from then on. Without a pyramid: the
/// pictures behind a recovery point would take back others that whoever begins there does not have, which Chromium does not forgive.
fn open_gop() -> Options {
    Options { b_frames: 2, encoder: "option-string=open-gop=1:b-pyramid=none", ..Options::default() }
}

/// Somebody who comes late, behind the third key frame, sees the camera's pictures in order, and soon nearly all of them.
fn assert_shown(browser: &Browser, options: Options, latency_ms: f64, shot: &str) -> Result<()> {
    let camera = Camera::start(options)?;
    let proxy = Proxy::for_camera(&camera)?;
    let frames = || proxy.metric("sightline_frames_total", &[("stream", "cam")]).ok().flatten();
    wait::until("120 pictures", || frames().filter(|count| *count >= 120.0))?;
    let page = browser.open(&proxy.url("/embed/cam"))?;
    let mut shares = vec![];
    // A busy machine decodes in fits and starts: one span of three seconds must be good.
    while shares.len() < 6 && shares.last().is_none_or(|share| *share <= nearly_all(browser)) {
        shares.push(assert_live_within(&page, latency_ms)?);
    }
    page.screenshot(&name(browser, shot))?;
    assert!(shares.last() > Some(&nearly_all(browser)), "too few of the pictures are shown: {shares:?}");
    assert_eq!(page.errors()?, Vec::<String>::new());
    Ok(())
}

fn b_frames_are_shown_in_order(browser: &Browser) -> Result<()> {
    assert_shown(browser, Options { b_frames: 2, ..Options::default() }, 900.0, "rtsp-b-frames")
}

fn a_pyramid_of_b_frames_is_shown_in_order(browser: &Browser) -> Result<()> {
    let options = Options { b_frames: 3, encoder: "b-pyramid=true", ..Options::default() };
    assert_shown(browser, options, 900.0, "rtsp-b-pyramid")
}

fn intra_refresh_starts_for_a_late_joiner_or_is_warned_of(browser: &Browser) -> Result<()> {
    let options = Options { encoder: "intra-refresh=true", ..Options::default() };
    if browser.engine() == Engine::Chromium {
        return assert_shown(browser, options, 600.0, "rtsp-intra-refresh");
    }
    // Firefox begins anew at a recovery point after each picture, and shows none before the point's count is over.
    let camera = Camera::start(options)?;
    let proxy = Proxy::for_camera(&camera)?;
    let warned = wait::until("the warning", || {
        let told = proxy.stream("cam").ok()?;
        let code = told["warnings"].as_array()?.iter().find(|warning| warning["code"] == "intra_refresh")?;
        Some(code["message"].as_str()?.to_owned())
    })?;
    assert!(warned.contains("Firefox"), "{warned}");
    Ok(())
}

fn an_open_gop_starts_for_a_late_joiner(browser: &Browser) -> Result<()> {
    assert_shown(browser, open_gop(), 900.0, "rtsp-open-gop")
}

fn h265_plays_or_is_refused_by_name(browser: &Browser) -> Result<()> {
    let options = Options { codec: "h265", ..Options::default() };
    // Debian's Firefox decodes it, and its Chromium does not.
    if browser.engine() == Engine::Firefox {
        // It decodes and x265 encodes by software: both take their time.
        return assert_shown(browser, options, 1_500.0, "rtsp-h265");
    }
    let camera = Camera::start(options)?;
    let proxy = Proxy::for_camera(&camera)?;
    let page = browser.open(&proxy.url("/watch/cam"))?;
    wait_for_element(&page, "error")?;
    page.wait_for("the codec's name", "/H\\.265|hvc1/.test(__glass.text())")?;
    page.screenshot(&name(browser, "rtsp-h265-refused")).map(drop)
}

/// Watches a camera as somebody who decodes H.265, too, and waits for so many pictures.
fn watched(proxy: &Proxy, frames: usize) -> Result<Viewer> {
    let viewer = Viewer::watch_decoding(proxy, "cam", &["avc1", "hvc1"])?;
    viewer.wait_fragments(frames)?;
    Ok(viewer)
}

/// ffmpeg decodes all that comes of a camera without a complaint, frame for frame, and no picture is decoded after it is
/// shown. Gives the size it found, and how far decoding is from showing at least and at most, in frames.
fn judged(options: Options) -> Result<((u64, u64), (i32, i32))> {
    let camera = Camera::start(options)?;
    let proxy = Proxy::for_camera(&camera)?;
    let viewer = watched(&proxy, 120)?;
    let record = viewer.record();
    let (epoch, ..) = record.tracks().context("no tracks")?;
    let headers: Vec<_> = record.fragments(0).map(|fragment| fragment.header).collect();
    for pair in headers.windows(2) {
        assert!(pair[1].decode_time_ticks > pair[0].decode_time_ticks, "{pair:?}");
    }
    let offsets = || headers.iter().map(|header| header.composition_offset_ticks);
    let least = offsets().min().context("no frames")?;
    assert!(least >= 0, "decoded after it is shown");
    let verdict = judge::decode(&record.file(0, epoch))?;
    assert_eq!((verdict.complaints.as_str(), verdict.frames), ("", headers.len() as u64));
    Ok((verdict.size, (least, offsets().max().unwrap_or(0))))
}

#[test]
fn b_frames_are_decoded_before_they_are_shown_and_other_pictures_when_they_are() -> Result<()> {
    let none = judged(Options::default())?;
    assert_eq!(none, ((640, 360), (0, 0)), "without B-frames nothing is changed");
    for (b_frames, encoder) in [(2, ""), (3, "b-pyramid=true")] {
        let (_, (_, most)) = judged(Options { b_frames, encoder, ..Options::default() })?;
        assert!(most > 3_600 * 2, "no B-frames: this test sees nothing");
    }
    Ok(())
}

#[test]
fn odd_sizes_fields_slices_and_intra_refresh_decode_without_a_complaint() -> Result<()> {
    for encoder in ["interlaced=true", "option-string=slices=4", "intra-refresh=true"] {
        let (size, _) = judged(Options { encoder, ..Options::default() }).context(encoder)?;
        assert_eq!(size, (640, 360), "{encoder}");
    }
    let (size, _) = judged(Options { size: (600, 338), ..Options::default() })?;
    assert_eq!(size, (600, 338), "cropped");
    Ok(())
}

#[test]
fn whoever_comes_late_to_a_camera_without_idr_pictures_is_given_one_and_ffmpeg_decodes_all_that_follows()
-> Result<()> {
    let refresh = Options { encoder: "intra-refresh=true", ..Options::default() };
    let fields = Options { encoder: "intra-refresh=true interlaced=true", ..Options::default() };
    for options in [open_gop(), refresh, fields] {
        let camera = Camera::start(options.clone())?;
        let proxy = Proxy::for_camera(&camera)?;
        watched(&proxy, 120)?;
        let viewer = watched(&proxy, 60)?;
        let record = viewer.record();
        let (epoch, ..) = record.tracks().context("no tracks")?;
        let keys: Vec<_> = record.fragments(0).map(|fragment| fragment.header.key_frame).collect();
        assert_eq!(
            (keys[0], keys[1..].contains(&true)),
            (true, false),
            "{options:?}: it began with the camera's own"
        );
        let verdict = judge::decode(&record.file(0, epoch))?;
        assert_eq!((verdict.complaints.as_str(), verdict.frames), ("", keys.len() as u64), "{options:?}");
    }
    Ok(())
}

#[test]
fn h265_decodes_without_a_complaint_with_and_without_b_frames() -> Result<()> {
    let none = judged(Options { codec: "h265", ..Options::default() })?;
    assert_eq!(none, ((640, 360), (0, 0)));
    let (size, (_, most)) = judged(Options { codec: "h265", b_frames: 2, ..Options::default() })?;
    assert_eq!(size, (640, 360));
    assert!(most > 3_600 * 2, "no B-frames: this test sees nothing");
    Ok(())
}
