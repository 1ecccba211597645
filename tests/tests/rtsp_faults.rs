//! Cameras that speak RTSP, SDP, RTP or RTCP badly, and clocks that lie: each costs its own stream what it must and nothing
//! else.
//!
//! Each table is one proxy with all its cameras at once and a good one beside them, whose viewer sees no gap. What a
//! viewer was given is judged by ffmpeg, epoch by epoch.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sightline_tests::proxy::Proxy;
use sightline_tests::rtsp_camera::clip::Options;
use sightline_tests::rtsp_camera::{Clip, Coding, RtspCamera, Script, Sound};
use sightline_tests::viewer::{Record, Viewer};
use sightline_tests::{judge, wait};
use sightline_wire::{ClientMessage, ServerMessage};

/// The longest time without a picture that the good stream's viewer may see.
const FREEZE: Duration = Duration::from_millis(250);

/// What a step of a camera's clock may add to what is shown, in ticks of 90 kHz: 200 ms.
const STEP: i64 = 18_000;

/// Resident memory that a table of bad cameras may cost, in KiB.
const MEMORY_KIB: u64 = 64 * 1024;

/// What must come of it.
enum Then {
    /// The viewer goes on in the same session, and the step in its times is at most [`STEP`].
    GoesOn,
    /// It goes on in the same session at a key frame, and so many packets at least are counted as lost.
    GoesOnAfterLoss(f64),
    /// It goes on in the same session at a key frame, and these words are among the stream's warnings.
    LeavesOut(&'static str),
    /// The viewer is told `offline` with this code and these words, and gets pictures again.
    Offline(&'static str, &'static [&'static str]),
    /// As [`Then::Offline`]; it never gets pictures.
    StaysOffline(&'static str, &'static [&'static str]),
}

use Then::{GoesOn, GoesOnAfterLoss, LeavesOut, Offline, StaysOffline};

/// A scenario: its name says what the camera does.
type Row = (&'static str, Script, Then);

fn clip() -> Arc<Clip> {
    static CLIP: OnceLock<Arc<Clip>> = OnceLock::new();
    let options = Options { size: (320, 184), pictures: 50, gop: 25, ..Options::default() };
    Arc::clone(CLIP.get_or_init(|| Arc::new(Clip::encode(&options).expect("ffmpeg encodes"))))
}

fn camera() -> Script {
    Script::new(&clip())
}

/// A NAL unit that is not zero and no start code.
fn filler(bytes: usize) -> Vec<u8> {
    vec![0x55; bytes]
}

#[test]
#[rustfmt::skip] // a line a scenario
fn packets_that_are_lost_late_doubled_or_broken() -> Result<()> {
    // A picture of this clip is one packet, and a key frame one more for each of its parameter sets.
    let h265 = Options { coding: Coding::H265, size: (320, 184), pictures: 50, gop: 25, ..Options::default() };
    let h265 = Arc::new(Clip::encode(&h265)?);
    run(MEMORY_KIB, &[
        ("a good camera plays", camera(), GoesOn),
        ("a packet is lost", camera().drop_packet(60), GoesOnAfterLoss(1.0)),
        ("every 40th packet is lost", camera().drop_every(40), GoesOnAfterLoss(2.0)),
        ("the parameter sets of a key frame are lost", camera().drop_of_picture(50, 0).drop_of_picture(50, 1), GoesOnAfterLoss(2.0)),
        ("the picture of a key frame is lost", camera().drop_of_picture(50, 2), GoesOnAfterLoss(1.0)),
        ("a packet of H.265 is lost", Script::new(&h265).drop_packet(60), GoesOnAfterLoss(1.0)),
        ("the picture of a key frame of H.265 is lost", Script::new(&h265).drop_of_picture(50, 3), GoesOnAfterLoss(1.0)),
        ("a fragment of H.265 has no beginning", Script::new(&h265).send_rtp(50, &[0x62, 1, 0x13, 2], false), LeavesOut("whose beginning never came")),
        ("sequence numbers wrap", camera().first_sequence(65_500), GoesOn),
        ("sequence numbers wrap at a loss", camera().first_sequence(65_535 - 60).drop_packet(60), GoesOnAfterLoss(1.0)),
        ("two packets change places", camera().swap_packet(60), Offline("closed", &["Out-of-order"])),
        ("a packet comes twice", camera().duplicate_packet(60), Offline("closed", &["Out-of-order"])),
        ("another source speaks", camera().change_ssrc(50), Offline("closed", &["wrong ssrc"])),
        ("RTP of version 1", camera().change_packet(60, |p| p[0] = 0x40), Offline("closed", &["RTP header"])),
        ("RTP of another payload type", camera().change_packet(60, |p| p[1] = 33), GoesOn),
        ("an RTP header is cut", camera().change_packet(60, |p| p.truncate(7)), Offline("closed", &["RTP header"])),
        ("an RTP packet is empty", camera().change_packet(60, |p| p.truncate(12)), LeavesOut("empty")),
        ("a NAL unit has its forbidden bit set", camera().change_packet(60, |p| p[12] |= 0x80), LeavesOut("forbidden bit")),
        ("an aggregation packet's lengths lie", camera().send_rtp(50, &[24, 0xff, 0xff, 0x41], false), LeavesOut("aggregation packet")),
        ("an aggregation packet holds nothing", camera().send_rtp(50, &[24, 0, 0], false), LeavesOut("aggregation packet")),
        ("a fragment has no beginning", camera().send_rtp(50, &[0x7c, 0x05, 1, 2], false), LeavesOut("whose beginning never came")),
        ("a NAL unit is of an unknown type", camera().send_rtp(50, &[30, 1, 2], false), GoesOn),
        ("reports are garbage", camera().send_rtcp(50, &filler(40)), Offline("closed", &["RTCP", "127.0.0.1:", "at byte"])),
        ("a packet is of the interleaved mode", camera().send_rtp(50, &[25, 0, 0, 0, 2, 0x41, 1], false), LeavesOut("STAP-B")),
        ("a fragment has no end", camera().send_rtp(50, &[0x7c, 0x85, 1, 2], false), LeavesOut("without its end")),
        ("its first packet is in the midst of a picture", camera().send_rtp(0, &[0x7c, 0x05, 1, 2], false).send_rtp(0, &[0x7c, 0x45, 1], true), GoesOn),
        ("its first picture is one whose beginning did not come", camera().send_rtp(0, &[0x41, 0x1a, 1, 2], true), GoesOn),
        ("no packet has a marker", camera().no_markers(), GoesOn),
        ("no packet of H.265 has a marker", Script::new(&h265).no_markers(), GoesOn),
        ("each third picture is broken", (1..30).fold(camera(), |camera, n| camera.send_rtp(n * 3 + 1, &[0x7c, 0x05, 1], false)), LeavesOut("whose beginning never came")),
        ("an access unit is beyond 8 MiB", camera().grow_picture(50, 9 << 20), LeavesOut("8 MiB")),
    ])
}

#[test]
#[rustfmt::skip] // a line a scenario
fn clocks_that_lie() -> Result<()> {
    let b_frames = Options { size: (320, 184), pictures: 50, gop: 25, b_frames: 2, ..Options::default() };
    let b_frames = Arc::new(Clip::encode(&b_frames)?);
    run(MEMORY_KIB, &[
        ("timestamps wrap", camera().first_timestamp(u32::MAX - 180_000), GoesOn),
        ("timestamps jump 30 s forward", camera().jump(60, 30), GoesOn),
        ("timestamps jump 30 s backward", camera().jump(60, -30), GoesOn),
        ("timestamps jump to and fro", camera().jump(40, 30).jump(60, -60).jump(80, 30), GoesOn),
        ("timestamps jump half their range", camera().jump(60, 20_000), GoesOn),
        ("timestamps step 1 s backward", camera().jump(60, -1), GoesOn),
        ("timestamps jump with B-frames", Script::new(&b_frames).jump(60, 30), GoesOn),
        ("there are no reports", camera().no_reports(), GoesOn),
        ("reports say 1970", camera().reports_of_1970(), GoesOn),
        ("the clock is 200 ppm fast", camera().drift(200), GoesOn),
        ("the clock is 200 ppm slow", camera().drift(-200), GoesOn),
        ("the camera pauses for 2 s", camera().pause(60, Duration::from_secs(2)), GoesOn),
    ])
}

#[test]
#[rustfmt::skip] // a line a scenario
fn cameras_that_break_off_or_are_slow() -> Result<()> {
    let challenge = b"RTSP/1.0 401 Unauthorized\r\nCSeq: CSEQ\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n\r\n";
    run(MEMORY_KIB, &[
        ("closes at DESCRIBE", camera().close_at("DESCRIBE"), Offline("connect_failed", &["127.0.0.1:", "DESCRIBE"])),
        ("closes at SETUP", camera().close_at("SETUP"), Offline("connect_failed", &["127.0.0.1:", "SETUP"])),
        ("closes at PLAY", camera().close_at("PLAY"), Offline("connect_failed", &["127.0.0.1:", "PLAY"])),
        ("closes before the first picture", camera().close(0), Offline("closed", &[])),
        ("closes in mid-stream", camera().close(50), Offline("closed", &[])),
        ("falls silent", camera().fall_silent(50), Offline("stalled", &["4000 ms"])),
        ("answers after 2 s", camera().answer_late("DESCRIBE", Duration::from_secs(2)), GoesOn),
        ("answers one byte a second", camera().trickle("DESCRIBE"), Offline("connect_failed", &["did not answer"])),
        ("answers 503", camera().answer_with("SETUP", b"RTSP/1.0 503 Busy\r\nCSeq: CSEQ\r\n\r\n"), Offline("connect_failed", &["503"])),
        ("answers 401 to a password", camera().answer_with("DESCRIBE", challenge).always(), StaysOffline("unauthorized", &["password"])),
        ("answers with another number", camera().answer_with("PLAY", b"RTSP/1.0 200 OK\r\nCSeq: 999\r\n\r\n"), Offline("connect_failed", &["CSeq"])),
        ("answers with garbage", camera().answer_with("DESCRIBE", &filler(4000)), Offline("connect_failed", &["127.0.0.1:"])),
        ("answers with a length of 2^31", camera().answer_with("DESCRIBE", b"RTSP/1.0 200 OK\r\nCSeq: CSEQ\r\nContent-Length: 2147483648\r\n\r\nx"), Offline("connect_failed", &["did not answer"])),
        ("puts garbage between packets", camera().send_raw(50, &filler(100)), Offline("closed", &["RTSP"])),
        ("asks for something in mid-stream", camera().send_raw(50, b"OPTIONS rtsp://x/ RTSP/1.0\r\nCSeq: 7\r\n\r\n"), GoesOn),
        ("sends on a channel nobody set up", camera().send_raw(50, &[b'$', 77, 0, 2, 1, 2]), GoesOn),
    ])
}

#[test]
#[rustfmt::skip] // a line a scenario
fn descriptions_and_parameter_sets_that_are_wrong() -> Result<()> {
    let no_sdp = |text: &'static str| camera().sdp(move |_| text.into());
    let swap = |from: &'static str, to: &'static str| camera().sdp(move |sdp| sdp.replace(from, to));
    run(MEMORY_KIB, &[
        ("the description is empty", no_sdp(""), Offline("connect_failed", &["127.0.0.1:"])),
        ("the description is garbage", no_sdp("\u{0}\u{1}garbage"), Offline("connect_failed", &["127.0.0.1:"])),
        ("there is no media", no_sdp("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n"), Offline("connect_failed", &["No parseable streams"])),
        ("the clock rate is 0", swap("H264/90000", "H264/0"), Offline("unsupported", &["90 kHz"])),
        ("the clock rate is no number", swap("H264/90000", "H264/x"), Offline("connect_failed", &[])),
        ("the clock rate is not H.264's", swap("H264/90000", "H264/48000"), Offline("unsupported", &["90 kHz"])),
        ("the coding is unknown", swap("H264/90000", "H999/90000"), Offline("unsupported", &["H999"])),
        ("the parameter sets are no base64", swap("sprop-parameter-sets=", "sprop-parameter-sets=%%%,"), GoesOn),
        ("a parameter has nothing behind it", swap("sprop-parameter-sets=", "x=;;sprop-parameter-sets="), GoesOn),
        ("the description's parameters end in a semicolon", camera().parameter_sets_in_sdp_only().sdp(|sdp| sdp.lines().map(|line| if line.starts_with("a=fmtp:96") { format!("{line};\r\n") } else { format!("{line}\r\n") }).collect()), GoesOn),
        ("the first key frame has no parameter sets", camera().parameter_sets_in_band_only().drop_packet(0).drop_packet(1), GoesOnAfterLoss(0.0)),
        ("the parameter sets come in band only", camera().parameter_sets_in_band_only(), GoesOn),
        ("the parameter sets come in the description only", camera().parameter_sets_in_sdp_only(), GoesOn),
        ("the parameter sets never come", camera().no_parameter_sets(), Offline("unsupported", &["never sent its parameter sets"])),
        ("an SPS is of 5 KiB", camera().change_parameter_sets(50, |set| { if set[0] & 31 == 7 { set.extend(filler(5_000)); } }), LeavesOut("SPS")),
        ("an SPS is cut", camera().change_parameter_sets(50, |set| set.truncate(5)), LeavesOut("SPS")),
        ("an SPS says 16384x64", camera().change_parameter_sets(50, |set| { if set[0] & 31 == 7 { *set = sps(16_384, 64); } }), Offline("unsupported", &["16384x64"])),
        ("a control address leads elsewhere", swap("a=control:track0", "a=control:http://169.254.169.254/"), GoesOn),
        ("there are a hundred media", camera().sdp(|sdp| sdp + &"m=application 0 RTP/AVP 107\r\na=rtpmap:107 x/90000\r\n".repeat(100)), GoesOn),
    ])
}

#[test]
#[rustfmt::skip] // a line a scenario
fn cameras_that_send_without_end() -> Result<()> {
    let body = [b"Content-Length: 4000000000\r\n\r\n", &filler(60_000)[..]].concat();
    // What the proxy bears of one of them is 96 MiB, and what it holds of that once more while it grows.
    run(4 * 128 * 1024, &[
        ("header lines without end", camera().answer_endlessly("DESCRIBE", &b"X-Line: 0123456789\r\n".repeat(1_000)), Offline("connect_failed", &[])),
        ("a header line without end", camera().answer_endlessly("DESCRIBE", &filler(20_000)), Offline("connect_failed", &[])),
        ("a body without end", camera().answer_endlessly("DESCRIBE", &body), Offline("connect_failed", &[])),
        ("a fragmented NAL unit without end", camera().endless_fragment(50, 125_000_000), Offline("", &[])),
    ])
}

#[test]
fn ffmpeg_has_nothing_to_complain_of_in_a_good_camera_by_tcp_and_by_udp() -> Result<()> {
    let sound = Sound::encode()?;
    let camera = RtspCamera::start(camera().close(0).then_has(&sound))?;
    // The first session is the bad one.
    drop(std::net::TcpStream::connect(camera.authority())?);
    for transport in ["tcp", "udp"] {
        let out = Command::new("timeout")
            .args([
                "15",
                "ffmpeg",
                "-v",
                "error",
                "-xerror",
                "-rtsp_transport",
                transport,
                "-i",
                &camera.url(),
            ])
            .args(["-t", "2", "-f", "null", "-"])
            .output()
            .context("cannot run ffmpeg")?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success() && said.is_empty(), "by {transport}: {said}");
    }
    ensure!(camera.sessions() == 3, "{} sessions", camera.sessions());
    Ok(())
}

/// A baseline SPS of this size (ITU-T H.264, 7.3.2.1).
fn sps(width: u32, height: u32) -> Vec<u8> {
    // An unsigned Exp-Golomb code (9.1).
    let ue = |value: u32| {
        let code = format!("{:b}", value + 1);
        "0".repeat(code.len() - 1) + &code
    };
    // Number, frame numbers, order of pictures, reference frames; no gaps; width and height in macroblocks.
    let fields = [ue(0), ue(0), ue(2), ue(1), "0".into(), ue(width / 16 - 1), ue(height / 16 - 1)];
    // Frames only, direct 8x8, no cropping, no VUI; the stop bit.
    let bits = fields.concat() + "11001";
    let bytes = bits.as_bytes().chunks(8).map(|eight| {
        eight.iter().zip(0..).fold(0, |byte, (bit, at)| byte | u8::from(*bit == b'1') << (7 - at))
    });
    [0x67, 0x42, 0xc0, 0x3c].into_iter().chain(bytes).collect()
}

/// Runs all at once, and tells of each that does not hold.
fn run(memory_kib: u64, rows: &[Row]) -> Result<()> {
    let names: BTreeSet<_> = rows.iter().map(|(name, ..)| name).collect();
    ensure!(names.len() == rows.len(), "two scenarios of one name");
    let good = RtspCamera::start(camera())?;
    let cameras =
        rows.iter().map(|(_, script, _)| RtspCamera::start(script.clone())).collect::<Result<Vec<_>>>()?;
    let mut arguments = vec![format!("good={}", good.url())];
    arguments.extend(cameras.iter().enumerate().map(|(i, camera)| {
        format!("s{i}={}", camera.url().replacen("rtsp://", "rtsp://keeper:right-4f2a@", 1))
    }));
    let proxy = Proxy::start(&arguments)?;
    let healthy = Viewer::watch(&proxy, "good")?;
    let viewers = (0..rows.len()).map(|i| {
        let viewer = Viewer::connect(&proxy.ws_url(None))?;
        viewer.say(&ClientMessage::Hello { version: 1, codecs: vec!["avc1".into(), "hvc1".into()] });
        viewer.say(&ClientMessage::Subscribe { stream: format!("s{i}"), audio: false, max_height: None });
        Ok(viewer)
    });
    let viewers = viewers.collect::<Result<Vec<_>>>()?;
    healthy.wait_fragments(25)?;
    let since = Instant::now();
    let resident_kib = proxy.resident_kib()?;

    let mut most_kib = 0;
    let mut failures = String::new();
    let mut epochs = vec![];
    std::thread::scope(|scope| {
        let checks: Vec<_> = rows
            .iter()
            .enumerate()
            .map(|(i, (_, _, then))| {
                let (proxy, viewer, camera) = (&proxy, &viewers[i], &cameras[i]);
                scope.spawn(move || check(proxy, &format!("s{i}"), viewer, camera, then))
            })
            .collect();
        while !checks.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            most_kib = most_kib.max(proxy.resident_kib().unwrap_or(0));
            std::thread::sleep(Duration::from_millis(20));
        }
        for (check, (name, ..)) in checks.into_iter().zip(rows) {
            match check.join().expect("a check does not panic") {
                Ok(files) => epochs.extend(files.into_iter().map(|epoch| (*name, epoch))),
                Err(error) => writeln!(failures, "{name}: {error:#}").expect("a String takes all"),
            }
        }
    });

    let grown = most_kib.saturating_sub(resident_kib);
    let record = healthy.record();
    let longest = gap(&record, since).context("fragments")?;
    ensure!(longest <= FREEZE, "the good stream froze for {longest:?}");
    ensure!(record.end.is_none() && good.sessions() == 1, "the good stream was disturbed");
    drop(record);
    ensure!(healthy.missing() == 0, "the good stream lost frames");
    ensure!(grown < memory_kib, "grown by {grown} KiB from {resident_kib}");
    // Not before: ffmpeg takes the time that the good stream's viewer needs.
    for (name, (file, frames)) in epochs {
        let verdict = judge::decode(&file)?;
        if !verdict.complaints.is_empty() || verdict.frames != frames as u64 {
            let _ = writeln!(failures, "{name}: the judge: {verdict:?}, and {frames} were sent");
        }
    }
    ensure!(failures.is_empty(), "\n{failures}");
    let log = proxy.log();
    ensure!(!log.contains("please report") && !log.contains("panicked"), "{log}");
    ensure!(!log.contains("right-4f2a"), "the log shows a password:\n{log}");
    Ok(())
}

/// An epoch's file, and how many pictures are in it.
type Epoch = (Vec<u8>, usize);

/// The longest time between two pictures.
fn gap(record: &Record, since: Instant) -> Option<Duration> {
    let seen: Vec<_> = record.fragments(0).filter(|f| f.at >= since).collect();
    seen.windows(2).map(|w| w[1].at - w[0].at).max()
}

/// How many pictures of these scenarios are behind all that goes wrong: 100 is behind picture 80.
const ENOUGH: usize = 110;

fn check(
    proxy: &Proxy,
    stream: &str,
    viewer: &Viewer,
    camera: &RtspCamera,
    then: &Then,
) -> Result<Vec<Epoch>> {
    let labels = [("stream", stream)];
    match then {
        GoesOn | GoesOnAfterLoss(_) | LeavesOut(_) => {
            viewer.wait_fragments(ENOUGH)?;
            ensure!(camera.sessions() == 1, "{} sessions: {:?}", camera.sessions(), told(viewer));
            ensure!(told(viewer).is_none(), "{:?}", told(viewer));
        }
        Offline(code, words) | StaysOffline(code, words) => {
            let (found, reason) = wait::until("offline", || told(viewer))?;
            ensure!(code.is_empty() || found == *code, "{found}: {reason}");
            for word in *words {
                ensure!(reason.contains(word), "{word:?} is not in {found}: {reason}");
            }
            if matches!(then, StaysOffline(..)) {
                return Ok(vec![]);
            }
            let before = viewer.record().fragments(0).count();
            viewer.wait_fragments(before + 30)?;
        }
    }
    let record = viewer.record();
    ensure!(record.end.is_none(), "the viewer's socket was closed: {:?}", record.end);
    ensure!(record.nonsense.is_empty(), "{:?}", record.nonsense);
    let headers: Vec<_> = record.fragments(0).map(|f| f.header).collect();
    for pair in headers.windows(2) {
        ensure!(pair[1].decode_time_ticks > pair[0].decode_time_ticks, "decode times: {pair:?}");
        if pair[1].epoch != pair[0].epoch || pair[1].sequence != pair[0].sequence.wrapping_add(1) {
            ensure!(pair[1].key_frame, "it goes on without a key frame: {pair:?}");
        }
    }
    if let LeavesOut(words) = then {
        let told = proxy.stream(stream)?["warnings"].to_string();
        ensure!(told.contains(words), "{words:?} is not in {told}");
    }
    if let GoesOnAfterLoss(packets) = then {
        let lost = proxy.metric("sightline_packets_lost_total", &labels)?.unwrap_or(0.0);
        ensure!(lost >= *packets, "{lost} packets are counted as lost");
    }
    let epochs: BTreeSet<_> = headers.iter().map(|header| header.epoch).collect();
    if matches!(then, GoesOn | GoesOnAfterLoss(_) | LeavesOut(_)) {
        ensure!(epochs.len() == 1, "epochs {epochs:?}");
    }
    let files: Vec<_> = epochs
        .iter()
        .map(|epoch| (record.file(0, *epoch), headers.iter().filter(|h| h.epoch == *epoch).count()))
        .collect();
    let received: Vec<_> = record.fragments(0).map(|f| (f.at, f.header.presentation_time_ticks())).collect();
    drop(record);
    if matches!(then, GoesOn) {
        // What is shown keeps to the time at which it came; with B-frames nearly.
        let mut shown: Vec<_> = received.clone();
        shown.sort_by_key(|(_, pts)| *pts);
        for pair in shown.windows(2) {
            let waited = pair[1].0.saturating_duration_since(pair[0].0).as_millis() as i64 * 90;
            let step = pair[1].1 - pair[0].1;
            ensure!(
                (step - waited).abs() <= STEP || (step <= STEP && waited <= 2 * STEP),
                "shown {} ms after the picture before, which came {} ms before",
                step / 90,
                waited / 90
            );
        }
    }
    Ok(files)
}

/// The newest `offline`, if one has come that is no mere "connecting".
fn told(viewer: &Viewer) -> Option<(String, String)> {
    let record = viewer.record();
    let of = |message: &ServerMessage| match message {
        ServerMessage::Offline { code, reason, .. } if code != "connecting" => {
            Some((code.clone(), reason.clone()))
        }
        _ => None,
    };
    record.texts.iter().rev().find_map(|(_, _, message)| of(message))
}
