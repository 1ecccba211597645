//! What encoders publish comes out as fMP4 that ffmpeg decodes to the very pictures it encoded, and that browsers play or
//! refuse by name: FLV's own tags and Enhanced RTMP's, of every codec that is passed on.

mod common;

use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use common::{PLAYER, in_both_browsers, name, unmute, wait_for_element};
use sightline::ingest::rtmp::flv::{Demuxer, Kind, Output};
use sightline::media::{Frame, Track};
use sightline::mux::fragment::{self, Sample};
use sightline::mux::init;
use sightline_tests::browser::{Browser, Engine};
use sightline_tests::flv::{self, Clip, SCRIPT, Tag};
use sightline_tests::peer::Replay;
use sightline_tests::proxy::Proxy;
use sightline_tests::{judge, tags};

const PICTURES: &str = "testsrc2=size=636x358:rate=25:duration=3";
const SOUND: &str = "sine=frequency=440:sample_rate=48000:duration=3";
const FRAGMENTED: [&str; 4] = ["-movflags", "frag_keyframe+delay_moov+default_base_moof", "-f", "mp4"];

/// Has ffmpeg encode pictures, sound or both.
fn encoded(inputs: &[&str], arguments: &[&str]) -> Result<Vec<u8>> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error"]);
    for input in inputs {
        ffmpeg.args(["-f", "lavfi", "-i", input]);
    }
    let out = ffmpeg.args(arguments).arg("pipe:1").output().context("cannot run ffmpeg")?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(out.stdout)
}

fn mp4(inputs: &[&str], arguments: &[&str]) -> Result<Vec<u8>> {
    encoded(inputs, &[arguments, &FRAGMENTED].concat())
}

/// What the tags give: the tracks, announced once and without a warning, and the frames.
fn demuxed(tags: &[Tag]) -> Result<(Vec<Track>, Vec<Frame>)> {
    let (mut demuxer, mut out) = (Demuxer::default(), vec![]);
    for tag in tags {
        let kind = match tag.kind {
            SCRIPT => continue,
            flv::AUDIO => Kind::Audio,
            _ => Kind::Video,
        };
        demuxer.tag(kind, tag.time_ms, 0, tag.payload.clone(), &mut out)?;
    }
    let (mut tracks, mut frames) = (vec![], vec![]);
    for output in out {
        match output {
            Output::Tracks(announced) => {
                ensure!(tracks.is_empty(), "announced twice");
                tracks = announced;
            }
            Output::Frame(frame) => frames.push(frame),
            Output::Warning(code, text) => anyhow::bail!("{code}: {text}"),
        }
    }
    Ok((tracks, frames))
}

/// One track as a file. Times begin an hour in, so that nothing is below zero.
fn file(tracks: &[Track], frames: &[Frame], track: usize) -> Result<Vec<u8>> {
    let mut file = init::segment(&tracks[track])?;
    let hour = i64::from(tracks[track].timescale) * 3_600;
    for (sequence, frame) in frames.iter().filter(|frame| frame.track == track).enumerate() {
        let dts = frame.dts_ticks.unwrap_or(frame.pts_ticks);
        let sample = Sample {
            sequence: sequence as u32,
            decode_time_ticks: (hour + dts) as u64,
            composition_offset_ticks: (frame.pts_ticks - dts) as i32,
            declared_duration_ticks: frame.duration_ticks.unwrap_or(3_600),
            key_frame: frame.key_frame,
        };
        fragment::write_head(&mut file, &sample, frame.data.len() as u32);
        file.extend_from_slice(&frame.data);
    }
    Ok(file)
}

/// A digest of each decoded picture, in the order they are shown.
fn pictures(file: &[u8]) -> Result<Vec<String>> {
    let mut kept = tempfile::Builder::new().suffix(".bin").tempfile()?;
    std::io::Write::write_all(&mut kept, file)?;
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(kept.path())
        .args(["-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-"])
        .output()?;
    ensure!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout)?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines.filter_map(|line| line.rsplit(',').next()).map(|digest| digest.trim().to_owned()).collect())
}

/// The picture of `published`, recorded from `tags`, is what was encoded, each frame once and in order.
#[track_caller]
fn assert_same_pictures(published: &[u8], tags: &[Tag], codec: &str, name: &str) -> Result<Vec<Frame>> {
    let (tracks, frames) = demuxed(tags)?;
    assert_eq!(tracks[0].codec, codec);
    let recorded = file(&tracks, &frames, 0)?;
    let verdict = judge::decode(&recorded)?;
    assert_eq!((verdict.complaints.as_str(), verdict.codec.as_str()), ("", name));
    assert_eq!((verdict.frames, verdict.size), (75, (636, 358)));
    assert_eq!(pictures(&recorded)?, pictures(published)?);
    let mut dts: Vec<_> = frames.iter().filter(|frame| frame.track == 0).map(|f| f.dts_ticks).collect();
    dts.dedup();
    assert!(dts.is_sorted() && dts.len() == 75, "decode times rise");
    Ok(frames)
}

/// The sound is decoded without a complaint and without a hole.
#[track_caller]
fn assert_sound(tags: &[Tag], track: usize, codec: &str, name: &str) -> Result<()> {
    let (tracks, frames) = demuxed(tags)?;
    assert_eq!(tracks[track].codec, codec);
    let verdict = judge::decode(&file(&tracks, &frames, track)?)?;
    assert_eq!((verdict.complaints.as_str(), verdict.codec.as_str()), ("", name));
    let sound: Vec<_> = frames.iter().filter(|frame| frame.track == track).collect();
    assert!(verdict.frames.abs_diff(sound.len() as u64) <= 1, "{} of {}", verdict.frames, sound.len());
    for pair in sound.windows(2) {
        let end = pair[0].pts_ticks + i64::from(pair[0].duration_ticks.context("sound has a duration")?);
        assert!((pair[1].pts_ticks - end).abs() <= 1, "{} after {end}", pair[1].pts_ticks);
    }
    let ticks: u64 = sound.iter().filter_map(|frame| frame.duration_ticks).map(u64::from).sum();
    let seconds = ticks as f64 / f64::from(tracks[track].timescale);
    assert!((2.8..3.3).contains(&seconds), "{seconds} s of sound");
    Ok(())
}

const X264: [&str; 12] =
    ["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-refs", "3", "-g", "25", "-pix_fmt", "yuv420p"];

#[test]
fn h264_with_b_frames_and_aac_as_ffmpeg_publishes_them() -> Result<()> {
    let flv = encoded(&[PICTURES, SOUND], &[&X264, &["-c:a", "aac", "-f", "flv"][..]].concat())?;
    let tags = flv::read(&flv.clone().into())?;
    let frames = assert_same_pictures(&flv, &tags, "avc1.64001e", "h264")?;
    assert!(frames.iter().any(|f| f.dts_ticks.is_some_and(|dts| dts != f.pts_ticks)), "no B-frames");
    assert_sound(&tags, 1, "mp4a.40.2", "aac")
}

#[test]
fn h264_by_its_four_cc() -> Result<()> {
    let mp4 = mp4(&[PICTURES], &X264)?;
    assert_same_pictures(&mp4, &tags::from_mp4(&mp4)?, "avc1.64001e", "h264").map(drop)
}

#[test]
fn h265_with_b_frames_by_its_four_cc_and_by_the_number_that_cameras_use() -> Result<()> {
    let x265 =
        ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "bframes=2:keyint=25:log-level=none"];
    let mp4 = mp4(&[PICTURES], &[&x265, &["-tag:v", "hvc1"][..]].concat())?;
    let tags = tags::from_mp4(&mp4)?;
    assert_same_pictures(&mp4, &tags, "hvc1.1.6.L63.90", "hevc")?;
    let legacy: Vec<_> = tags.iter().map(tags::as_legacy_h265).collect();
    assert_same_pictures(&mp4, &legacy, "hvc1.1.6.L63.90", "hevc").map(drop)
}

#[test]
fn av1_by_its_four_cc_and_without_a_sequence_header_in_its_record() -> Result<()> {
    let aom = ["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-g", "25"];
    let mp4 = mp4(&[PICTURES], &aom)?;
    let mut tags = tags::from_mp4(&mp4)?;
    assert_same_pictures(&mp4, &tags, "av01.0.01M.08", "av1")?;
    tags[0].payload.truncate(5 + 4);
    assert_same_pictures(&mp4, &tags, "av01.0.01M.08", "av1").map(drop)
}

#[test]
fn opus_with_its_header_and_with_an_empty_one() -> Result<()> {
    let mp4 = mp4(&[PICTURES, SOUND], &[&X264, &["-c:a", "libopus"][..]].concat())?;
    let mut tags = tags::from_mp4(&mp4)?;
    assert_sound(&tags, 1, "opus", "opus")?;
    assert!(tags[1].payload.starts_with(b"\x90OpusOpusHead"));
    tags[1].payload.truncate(5);
    assert_sound(&tags, 1, "opus", "opus")
}

#[test]
fn flac_and_aac_by_their_four_ccs() -> Result<()> {
    let flac = mp4(&[PICTURES, SOUND], &[&X264, &["-c:a", "flac", "-strict", "-2"][..]].concat())?;
    assert_sound(&tags::from_mp4(&flac)?, 1, "flac", "flac")?;
    let aac = mp4(&[PICTURES, SOUND], &[&X264, &["-c:a", "aac"][..]].concat())?;
    assert_sound(&tags::from_mp4(&aac)?, 1, "mp4a.40.2", "aac")
}

in_both_browsers![h265_with_opus_plays_or_is_refused_by_name, av1_with_flac_plays];

/// Publishes a clip of ffmpeg's by Enhanced RTMP, again and again.
fn publish(arguments: &[&str]) -> Result<(Proxy, Replay)> {
    let config = "[rtmp]\nlisten = \"127.0.0.1:0\"\n[streams.studio]\npublish = { key = \"k\" }\n";
    let proxy = Proxy::configured(config)?;
    let clip = Clip { tags: tags::from_mp4(&mp4(&[PICTURES, SOUND], arguments)?)?, duration_ms: 3_000 };
    let replay = Replay::start(&proxy.push_authority("rtmp")?, "studio?key=k", Arc::new(clip))?;
    proxy.wait_for_state("studio", "live")?;
    Ok((proxy, replay))
}

/// Waits until pictures of the right size and sound have been decoded for a while.
fn assert_plays(browser: &Browser, proxy: &Proxy, shot: &str) -> Result<()> {
    let page = browser.open(&proxy.url("/watch/studio"))?;
    wait_for_element(&page, "live")?;
    unmute(&page)?;
    let plays = format!(
        "(v => v.videoWidth === 636 && v.videoHeight === 358 && v.getVideoPlaybackQuality().totalVideoFrames > 60 && \
          !v.paused && v.currentTime > 0)({PLAYER}.shadowRoot.querySelector('video'))"
    );
    page.wait_for("60 pictures", &plays)?;
    page.screenshot(&name(browser, shot))?;
    assert_eq!(page.errors()?, Vec::<String>::new());
    Ok(())
}

fn h265_with_opus_plays_or_is_refused_by_name(browser: &Browser) -> Result<()> {
    let (proxy, _replay) = publish(&[
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-x265-params",
        "bframes=0:keyint=25:log-level=none",
        "-tag:v",
        "hvc1",
        "-c:a",
        "libopus",
    ])?;
    // Debian's Firefox decodes it, and its Chromium does not.
    if browser.engine() == Engine::Firefox {
        return assert_plays(browser, &proxy, "rtmp-h265");
    }
    let page = browser.open(&proxy.url("/watch/studio"))?;
    wait_for_element(&page, "error")?;
    page.wait_for("the codec's name", "/H\\.265|hvc1/.test(__glass.text())")?;
    page.screenshot(&name(browser, "rtmp-h265-refused")).map(drop)
}

fn av1_with_flac_plays(browser: &Browser) -> Result<()> {
    let (proxy, _replay) = publish(&[
        "-c:v",
        "libaom-av1",
        "-usage",
        "realtime",
        "-cpu-used",
        "8",
        "-g",
        "25",
        "-c:a",
        "flac",
        "-strict",
        "-2",
    ])?;
    assert_plays(browser, &proxy, "rtmp-av1")
}
