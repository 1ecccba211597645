//! What the proxy sends is fMP4 that an independent judge (ffmpeg) decodes without a complaint, frame for frame.

use anyhow::{Context, Result};
use sightline_tests::camera::{Camera, Options};
use sightline_tests::judge;
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::Viewer;
use sightline_wire::{Kind, Media};

#[test]
fn ffmpeg_decodes_every_frame_of_picture_and_sound_without_a_complaint() -> Result<()> {
    let camera = Camera::start(Options { audio: true, ..Options::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    let viewer = Viewer::watch(&proxy, "cam")?;
    // Three GOPs, so that there are key frames inside the file.
    viewer.wait_fragments(150)?;

    let record = viewer.record();
    let (epoch, _, tracks) = record.tracks().context("no tracks")?;
    assert_eq!(tracks.len(), 2, "{tracks:?}");
    assert_eq!(tracks[0].media, Media::Video { width: 640, height: 360 });
    assert!(tracks[0].codec.starts_with("avc1.42"), "the camera sends baseline, not {}", tracks[0].codec);
    assert_eq!(tracks[1].media, Media::Audio { sample_rate: 48_000, channels: 1 });
    assert_eq!(tracks[1].codec, "mp4a.40.2");
    for (track, codec, size) in [(0, "h264", (640, 360)), (1, "aac", (0, 0))] {
        let verdict = judge::decode(&record.file(track, epoch))?;
        assert_eq!(verdict.complaints, "", "track {track}");
        assert_eq!((verdict.codec.as_str(), verdict.size), (codec, size));
        assert_eq!(verdict.frames, record.fragments(track).count() as u64, "track {track}");
    }
    assert_eq!(record.nonsense, Vec::<String>::new());
    Ok(())
}

#[test]
fn the_judge_does_complain_of_damaged_bytes() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let viewer = Viewer::watch(&proxy, "cam")?;
    viewer.wait_fragments(60)?;

    let record = viewer.record();
    let (epoch, ..) = record.tracks().context("no tracks")?;
    let mut file = record.file(0, epoch);
    let count = record.fragments(0).count() as u64;
    // The first key frame's slice data, well behind its headers.
    let init = record.binaries[0].payload.len();
    for byte in &mut file[init + 500..init + 1500] {
        *byte = 0xaa;
    }
    let damaged = judge::decode(&file)?;
    assert!(!damaged.complaints.is_empty() || damaged.frames != count, "{damaged:?}");
    Ok(())
}

#[test]
fn b_frames_keep_their_order_and_decode_times_rise() -> Result<()> {
    let camera = Camera::start(Options { b_frames: 2, ..Options::default() })?;
    let proxy = Proxy::for_camera(&camera)?;
    let viewer = Viewer::watch(&proxy, "cam")?;
    viewer.wait_fragments(150)?;

    let record = viewer.record();
    let (epoch, ..) = record.tracks().context("no tracks")?;
    let headers: Vec<_> = record.fragments(0).map(|f| f.header).collect();
    assert!(
        headers.windows(2).any(|w| w[1].presentation_time_ticks() < w[0].presentation_time_ticks()),
        "the camera sends no B-frames: this test sees nothing"
    );
    for pair in headers.windows(2) {
        assert!(pair[1].decode_time_ticks > pair[0].decode_time_ticks, "{pair:?}");
    }
    let mut shown: Vec<_> = headers.iter().map(sightline_wire::Header::presentation_time_ticks).collect();
    shown.sort_unstable();
    shown.dedup();
    assert_eq!(shown.len(), headers.len(), "two frames share a presentation time");
    let verdict = judge::decode(&record.file(0, epoch))?;
    assert_eq!((verdict.complaints.as_str(), verdict.frames), ("", headers.len() as u64));
    Ok(())
}

#[test]
fn headers_say_what_the_fragments_hold() -> Result<()> {
    let camera = Camera::start(Options::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    let viewer = Viewer::watch(&proxy, "cam")?;
    viewer.wait_fragments(60)?;

    let record = viewer.record();
    assert_eq!(record.binaries[0].header.kind, Kind::Init, "an init segment comes first");
    assert_eq!(&record.binaries[0].payload[4..8], b"ftyp");
    let fragments: Vec<_> = record.fragments(0).collect();
    for fragment in &fragments {
        assert_eq!(&fragment.payload[4..8], b"moof");
        // The frame's own bytes are NAL units, each behind its length, up to the end.
        let mut frame = &fragment.payload[fragment.header.payload_offset as usize..];
        let mut has_idr = false;
        while !frame.is_empty() {
            let (length, rest) = frame.split_first_chunk::<4>().context("a NAL unit's length is cut off")?;
            let (nal, rest) = rest
                .split_at_checked(u32::from_be_bytes(*length) as usize)
                .context("a NAL unit is cut off")?;
            has_idr |= nal.first().is_some_and(|first| first & 31 == 5);
            frame = rest;
        }
        assert_eq!(has_idr, fragment.header.key_frame);
    }
    assert!(fragments.iter().filter(|f| f.header.key_frame).count() >= 1);
    // Capture times are the wall clock: no frame from the future, none older than the ring's GOP.
    let now_us = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros() as i64;
    let age_us = now_us - fragments.last().context("no fragment")?.header.capture_time_us;
    assert!((-5_000..5_000_000).contains(&age_us), "the newest frame is {age_us} us old");
    Ok(())
}
