//! Parameter sets that come with the pictures.

use super::*;

/// A key frame with an SPS of this level in front; the PPS is that of the header.
fn key_frame_with_sps(level: u8) -> Vec<u8> {
    let mut sps = h264::tests::AVCC[8..33].to_vec();
    sps[3] = level;
    [&[0x17, 1, 0, 0, 0, 0, 0, 0, sps.len() as u8], &sps[..], &[0, 0, 0, 2, 0x65, 0x88]].concat()
}

#[test]
fn parameter_sets_that_come_with_a_key_frame_only_open_new_tracks_at_it() {
    let mut session = Session::begun();
    session.send(Kind::Video, 40, &key_frame_with_sps(0x1e));
    assert_eq!(session.announced().len(), 1, "said again");
    session.send(Kind::Video, 80, &key_frame_with_sps(0x1f));
    session.inter(120);
    session.avc_header(h264::tests::AVCC);
    session.key(160);
    assert_eq!(session.announced(), [["avc1.42c01e", "mp4a.40.2"], ["avc1.42c01f", "mp4a.40.2"]]);
    assert_eq!(session.video_times_ms(), [0, 40, 80, 120, 160]);
    let news = session.out.iter().rposition(|output| matches!(output, Output::Tracks(_)));
    assert!(matches!(&session.out[news.expect("tracks") + 1], Output::Frame(frame) if frame.key_frame));
}

#[test]
fn pictures_of_parameter_sets_that_do_not_parse_are_left_out_until_there_are_others() {
    let mut session = Session::begun();
    session.send(Kind::Video, 40, &[0x17, 1, 0, 0, 0, 0, 0, 0, 4, 0x67, 0x42, 0, 0, 0, 0, 0, 2, 0x65, 0x88]);
    session.inter(80);
    assert_eq!(session.warnings(), ["bad_video_frame"]);
    session.send(Kind::Video, 120, &key_frame_with_sps(0x1e));
    assert_eq!(session.video_times_ms(), [0, 120]);
    assert_eq!(session.announced().len(), 1);
}

#[test]
fn pictures_that_were_held_of_other_parameter_sets_are_left_out() {
    let mut session = Session { demuxer: Demuxer::default(), ..Session::default() };
    session.avc_header(h264::tests::AVCC);
    session.key(0);
    session.send(Kind::Video, 40, &key_frame_with_sps(0x1f));
    session.inter(300);
    assert_eq!(session.announced(), [["avc1.42c01f"]]);
    assert_eq!(session.frames().len(), 2);
}
