use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::rtsp::Codec;

struct Demo;

impl Directory for Demo {
    fn offer(&self, path: &str) -> Option<Offer> {
        let h264 =
            Codec::H264 { sps: Bytes::from_static(&[0x67, 1, 2, 3]), pps: Bytes::from_static(&[0x68, 1]) };
        let aac =
            Codec::Aac { config: Bytes::from_static(&[0x12, 0x88]), sample_rate_hz: 32_000, channels: 1 };
        (path == "demo").then(|| Offer {
            tracks: [Track { codec: h264 }, Track { codec: aac }].into(),
            epoch_unix_us: 1_000_000_000,
        })
    }
}

const START: Now = Now { mono_ms: 0, unix_us: 1_010_000_000 };
const SESSION: &str = "Session: 000000000000002a\r\n";

fn session() -> Session {
    let origin = Origin { ssrc: 7, sequence: 100, timestamp: 0 };
    Session::new(Identity { session: 42, origin }, START)
}

/// Sends one request; returns the answer's text and the commands.
fn ask(session: &mut Session, method: &str, url: &str, headers: &str) -> (String, Vec<Command>) {
    let text = format!("{method} {url} RTSP/1.0\r\nCSeq: 5\r\n{headers}\r\n");
    let commands = session.receive(text.as_bytes(), START, &Demo);
    (String::from_utf8_lossy(&session.take_output()).into_owned(), commands)
}

fn status(session: &mut Session, method: &str, url: &str, headers: &str) -> u16 {
    let (answer, _) = ask(session, method, url, headers);
    answer["RTSP/1.0 ".len()..][..3].parse().unwrap()
}

fn playing() -> Session {
    let mut s = session();
    for (track, channels) in [("track0", "0-1"), ("track1", "2-3")] {
        let transport = format!("Transport: RTP/AVP/TCP;unicast;interleaved={channels}\r\n");
        assert_eq!(status(&mut s, "SETUP", &format!("rtsp://h/demo/{track}"), &transport), 200);
    }
    let (answer, commands) = ask(&mut s, "PLAY", "rtsp://h/demo/", SESSION);
    assert!(answer.starts_with("RTSP/1.0 200"), "{answer}");
    assert!(
        answer.contains("url=track0;seq=100;rtptime=900000,url=track1;seq=100;rtptime=320000"),
        "{answer}"
    );
    assert_eq!(commands, [Command::Subscribe("demo".into())]);
    assert_eq!(answer.matches("sightline").count(), 2, "both tracks' reports follow the answer at once");
    s
}

fn picture(key_frame: bool) -> AccessUnit {
    let nal = if key_frame { 0x65 } else { 0x41 };
    AccessUnit { track: 0, pts_ticks: 0, key_frame, data: Bytes::from(vec![0, 0, 0, 1, nal, 1, 2, 3]) }
}

#[test]
fn a_client_walks_from_options_to_teardown() {
    let mut s = session();
    let (answer, _) = ask(&mut s, "OPTIONS", "*", "");
    assert!(
        answer.contains("Public: OPTIONS, DESCRIBE, SETUP, PLAY") && answer.contains("CSeq: 5\r\n"),
        "{answer}"
    );
    let (answer, _) = ask(&mut s, "DESCRIBE", "rtsp://u:secret@h:99/demo", "Accept: application/sdp\r\n");
    assert!(answer.contains("Content-Base: rtsp://h:99/demo/\r\n"), "{answer}");
    assert!(answer.contains("a=control:track1") && !answer.contains("secret"), "{answer}");

    let mut s = playing();
    assert!(s.unit(&picture(true)));
    assert_eq!(&s.take_output()[..2], b"$\0");
    assert_eq!(status(&mut s, "GET_PARAMETER", "rtsp://h/demo/", SESSION), 200);
    let (answer, commands) = ask(&mut s, "TEARDOWN", "rtsp://h/demo/", SESSION);
    assert!(answer.starts_with("RTSP/1.0 200"), "{answer}");
    assert_eq!(commands, [Command::Close(CloseReason::Teardown)]);
    assert!(!s.unit(&picture(true)), "nothing is sent after a teardown");
}

#[test]
fn what_cannot_be_done_is_answered_with_its_own_status() {
    let tcp = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
    for (method, url, headers, expected) in [
        ("DESCRIBE", "rtsp://h/other", "", 404),
        ("DESCRIBE", "rtsp://h/demo/../etc/passwd", "", 404),
        ("DESCRIBE", "*", "", 404),
        ("DESCRIBE", "rtsp://h/demo", "Accept: text/html\r\n", 406),
        ("SETUP", "rtsp://h/demo/track2", tcp, 404),
        ("SETUP", "rtsp://h/demo/track99999999999999999999", tcp, 404),
        ("SETUP", "rtsp://h/demo", tcp, 404),
        ("SETUP", "rtsp://h/demo/track0", "", 461),
        ("SETUP", "rtsp://h/demo/track0", "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n", 461),
        ("SETUP", "rtsp://h/demo/track0", "Transport: RTP/AVP/UDP;multicast\r\n", 461),
        ("SETUP", "rtsp://h/demo/track0", "Transport: rubbish\r\n", 461),
        ("PLAY", "rtsp://h/demo", "", 455),
        ("PAUSE", "rtsp://h/demo", "", 455),
        ("PLAY", "rtsp://h/demo", "Session: 1\r\n", 454),
        ("OPTIONS", "*", "Require: play.basic\r\n", 551),
        ("SET_PARAMETER", "rtsp://h/demo", "Content-Length: 0\r\n", 200),
        ("ANNOUNCE", "rtsp://h/demo", "", 405),
        ("RECORD", "rtsp://h/demo", "", 405),
        ("REDIRECT", "rtsp://h/demo", "", 501),
        ("BREW", "rtsp://h/demo", "", 501),
    ] {
        assert_eq!(status(&mut session(), method, url, headers), expected, "{method} {url} {headers}");
    }
}

#[test]
fn requests_without_number_or_of_another_version_are_refused_and_the_session_goes_on() {
    let mut s = session();
    s.receive(b"OPTIONS * RTSP/1.0\r\n\r\n", START, &Demo);
    assert!(s.take_output().starts_with(b"RTSP/1.0 400"));
    s.receive(b"OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\n", START, &Demo);
    assert!(s.take_output().starts_with(b"RTSP/1.0 505"));
    assert_eq!(status(&mut s, "OPTIONS", "*", ""), 200);
}

#[test]
fn what_is_not_rtsp_is_answered_once_and_closed() {
    for (bytes, code) in [
        (b"\x16\x03\x01 hello".to_vec(), "400"),
        (format!("OPTIONS {}", "a".repeat(20_000)).into_bytes(), "413"),
    ] {
        let mut s = session();
        let commands = s.receive(&bytes, START, &Demo);
        assert_eq!(commands, [Command::Close(CloseReason::Malformed)]);
        assert!(String::from_utf8_lossy(&s.take_output()).starts_with(&format!("RTSP/1.0 {code}")));
        assert!(s.receive(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", START, &Demo).is_empty());
        assert!(s.take_output().is_empty());
    }
}

#[test]
fn channels_a_client_gives_twice_are_replaced_by_free_ones() {
    let mut s = session();
    let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
    ask(&mut s, "SETUP", "rtsp://h/demo/track0", transport);
    let (answer, _) = ask(&mut s, "SETUP", "rtsp://h/demo/track1", transport);
    assert!(answer.contains("interleaved=2-3"), "{answer}");
    let (answer, _) =
        ask(&mut s, "SETUP", "rtsp://h/demo/track1", "Transport: RTP/AVP/TCP;unicast;interleaved=255\r\n");
    assert!(answer.contains("interleaved=2-3"), "{answer}");
}

#[test]
fn video_begins_at_a_key_frame_and_resumes_at_one_after_a_gap_or_a_pause() {
    let mut s = playing();
    assert!(!s.unit(&picture(false)));
    assert!(s.unit(&picture(true)));
    assert!(s.unit(&picture(false)));
    s.gap();
    assert!(!s.unit(&picture(false)));
    assert!(s.unit(&picture(true)));
    let (_, commands) = ask(&mut s, "PAUSE", "rtsp://h/demo", SESSION);
    assert_eq!(commands, [Command::Unsubscribe]);
    assert!(!s.unit(&picture(true)));
    ask(&mut s, "PLAY", "rtsp://h/demo", SESSION);
    assert!(!s.unit(&picture(false)));
    assert!(s.unit(&picture(true)));
}

#[test]
fn both_tracks_are_reported_again_every_five_seconds() {
    let mut s = playing();
    let reports = |s: &mut Session, mono_ms| {
        assert!(s.tick(Now { mono_ms, ..START }, &Demo).is_empty());
        let out = s.take_output();
        (String::from_utf8_lossy(&out).matches("sightline").count(), out.get(1).copied())
    };
    assert_eq!(reports(&mut s, 0), (0, None));
    assert_eq!(reports(&mut s, 4999), (0, None));
    assert_eq!(reports(&mut s, 5000), (2, Some(1)));
}

#[test]
fn a_session_lives_by_requests_and_receiver_reports_and_ends_without() {
    let mut s = playing();
    let at = |mono_ms| Now { mono_ms, ..START };
    s.receive(b"$\x01\x00\x04abcd", at(50_000), &Demo);
    assert!(s.tick(at(120_000), &Demo).is_empty());
    assert_eq!(s.tick(at(120_001), &Demo), [Command::Close(CloseReason::TimedOut)]);
    assert!(s.tick(at(300_000), &Demo).is_empty(), "it is told once");
}

proptest! {
    #[test]
    fn no_conversation_panics(requests in prop::collection::vec(
        ("(OPTIONS|DESCRIBE|SETUP|PLAY|PAUSE|TEARDOWN|GET_PARAMETER|X)", "(\\*|rtsp://h/demo|rtsp://h/demo/track[0-9]|rtsp://h/\\PC{0,9})",
         "(Transport: [ -~]{0,60}\r\n|Transport: RTP/AVP/TCP;unicast;interleaved=[0-9]{1,3}-[0-9]{1,3}\r\n|Session: 000000000000002a\r\n|[A-Z]{1,5}: [ -~]{0,9}\r\n){0,2}"),
        0..12)) {
        let mut s = session();
        for (method, url, headers) in requests {
            let text = format!("{method} {url} RTSP/1.0\r\nCSeq: 1\r\n{headers}\r\n");
            s.receive(text.as_bytes(), START, &Demo);
            s.unit(&picture(true));
            s.tick(START, &Demo);
        }
    }
}
