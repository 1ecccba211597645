use proptest::prelude::*;

use super::*;
use crate::media::{av1, flac, h264, h265, opus};

mod in_band;

/// AAC-LC, 48 kHz, mono.
const ASC: [u8; 2] = [0x11, 0x88];
/// AAC-LC, 44.1 kHz, stereo.
const OTHER_ASC: [u8; 2] = [0x12, 0x10];
const RECEIVED_US: i64 = 1_700_000_000_000_000;

/// A demuxer and what it gave.
struct Session {
    demuxer: Demuxer,
    out: Vec<Output>,
}

impl Default for Session {
    /// One that does not wait for sound.
    fn default() -> Self {
        Self { demuxer: Demuxer { patience_us: 0, ..Demuxer::default() }, out: Vec::new() }
    }
}

impl Session {
    fn send(&mut self, kind: Kind, timestamp_ms: u32, payload: &[u8]) {
        let payload = Bytes::copy_from_slice(payload);
        self.demuxer.tag(kind, timestamp_ms, RECEIVED_US, payload, &mut self.out).expect("a good tag");
    }

    fn avc_header(&mut self, avcc: &[u8]) {
        self.send(Kind::Video, 0, &[&[0x17, 0, 0, 0, 0], avcc].concat());
    }

    fn aac_header(&mut self, config: &[u8]) {
        self.send(Kind::Audio, 0, &[&[0xaf, 0], config].concat());
    }

    fn key(&mut self, timestamp_ms: u32) {
        self.send(Kind::Video, timestamp_ms, &avc_frame(true, 0));
    }

    fn inter(&mut self, timestamp_ms: u32) {
        self.send(Kind::Video, timestamp_ms, &avc_frame(false, 0));
    }

    fn aac(&mut self, timestamp_ms: u32) {
        self.send(Kind::Audio, timestamp_ms, &[0xaf, 1, 0x21, 0x10]);
    }

    /// With both headers and a first key frame at 0.
    fn begun() -> Self {
        let mut session = Self::default();
        session.avc_header(h264::tests::AVCC);
        session.aac_header(&ASC);
        session.key(0);
        session
    }

    /// The codecs of each announcement.
    fn announced(&self) -> Vec<Vec<&str>> {
        let tracks = self.out.iter().filter_map(|output| match output {
            Output::Tracks(tracks) => Some(tracks.iter().map(|track| track.codec.as_str()).collect()),
            _ => None,
        });
        tracks.collect()
    }

    fn frames(&self) -> Vec<&Frame> {
        let frames = self.out.iter().filter_map(|output| match output {
            Output::Frame(frame) => Some(frame),
            _ => None,
        });
        frames.collect()
    }

    fn video_times_ms(&self) -> Vec<i64> {
        let frames = self.frames();
        let video = frames.iter().filter(|frame| frame.duration_ticks.is_none());
        video.map(|frame| frame.dts_ticks.expect("video says it") / 90).collect()
    }

    fn warnings(&self) -> Vec<&str> {
        let warnings = self.out.iter().filter_map(|output| match output {
            Output::Warning(code, _) => Some(*code),
            _ => None,
        });
        warnings.collect()
    }
}

fn avc_frame(key: bool, composition_offset_ms: i32) -> Vec<u8> {
    let [_, high, middle, low] = composition_offset_ms.to_be_bytes();
    let (frame_type, nal) = if key { (0x17, 0x65) } else { (0x27, 0x41) };
    vec![frame_type, 1, high, middle, low, 0, 0, 0, 2, nal, 0x88]
}

#[test]
fn headers_and_a_key_frame_give_tracks_and_then_frames() {
    let mut session = Session::begun();
    session.aac(10);
    session.inter(40);
    assert_eq!(session.announced(), [["avc1.42c01e", "mp4a.40.2"]]);
    assert!(matches!(session.out[0], Output::Tracks(_)));
    let frames = session.frames();
    assert_eq!(frames.iter().map(|frame| frame.track).collect::<Vec<_>>(), [0, 1, 0]);
    assert_eq!(frames.iter().map(|frame| frame.key_frame).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(frames[0].data.as_ref(), [0, 0, 0, 2, 0x65, 0x88]);
    assert_eq!((frames[1].data.as_ref(), frames[1].duration_ticks), (&[0x21, 0x10][..], Some(1024)));
    assert_eq!((frames[1].pts_ticks, frames[1].dts_ticks), (480, None));
    assert_eq!((frames[2].pts_ticks, frames[2].dts_ticks), (3_600, Some(3_600)));
    assert!(frames.iter().all(|frame| frame.capture_time_us == RECEIVED_US));
}

#[test]
fn a_frame_is_a_part_of_its_message_and_no_copy() {
    let mut session = Session::begun();
    let payload = Bytes::from(avc_frame(false, 0));
    let at = payload.as_ptr().wrapping_add(5);
    session.demuxer.tag(Kind::Video, 40, 0, payload, &mut session.out).expect("a good tag");
    assert_eq!(session.frames()[1].data.as_ptr(), at);
}

#[test]
fn b_frames_are_presented_at_decode_time_plus_their_signed_offset() {
    let mut session = Session::begun();
    for (dts, offset) in [(40, 80), (80, 0), (120, -40)] {
        session.send(Kind::Video, dts, &avc_frame(false, offset));
    }
    let times: Vec<_> = session.frames().iter().map(|f| (f.pts_ticks / 90, f.dts_ticks)).collect();
    assert_eq!(times[1..], [(120, Some(3_600)), (80, Some(7_200)), (80, Some(10_800))]);
}

#[test]
fn the_first_frame_is_the_sessions_zero() {
    let mut session = Session::default();
    session.avc_header(h264::tests::AVCC);
    session.key(3_600_000_000);
    session.inter(3_600_000_040);
    assert_eq!(session.video_times_ms(), [0, 40]);
}

#[test]
fn a_repeated_header_changes_nothing_not_even_the_time() {
    let mut session = Session::default();
    session.avc_header(h264::tests::AVCC);
    session.key(3_600_000_000);
    session.avc_header(h264::tests::AVCC);
    session.inter(3_600_000_040);
    assert_eq!(session.announced().len(), 1);
    assert_eq!(session.video_times_ms(), [0, 40]);
}

#[test]
fn another_configuration_opens_new_tracks_at_its_key_frame() {
    let mut session = Session::begun();
    let mut avcc = h264::tests::AVCC.to_vec();
    avcc[11] = 0x1f; // level 3.1, in the SPS
    session.avc_header(&avcc);
    session.inter(40);
    session.key(80);
    assert_eq!(session.announced(), [["avc1.42c01e", "mp4a.40.2"], ["avc1.42c01f", "mp4a.40.2"]]);
    assert_eq!(session.video_times_ms(), [0, 80], "what refers to another picture is not passed on");
}

#[test]
fn the_first_pictures_wait_a_little_for_the_sounds_configuration() {
    let patient = || Session { demuxer: Demuxer::default(), out: Vec::new() };
    let mut session = patient();
    session.avc_header(h264::tests::AVCC);
    session.key(0);
    session.inter(40);
    assert_eq!(session.out, []);
    session.aac_header(&ASC);
    session.aac(50);
    session.inter(80);
    assert_eq!(session.announced(), [["avc1.42c01e", "mp4a.40.2"]]);
    assert_eq!(session.video_times_ms(), [0, 40, 80], "nothing is lost");

    let mut session = patient();
    session.avc_header(h264::tests::AVCC);
    session.key(0);
    (1..=7).for_each(|n| session.inter(n * 40));
    assert_eq!(session.announced(), [["avc1.42c01e"]], "not for ever");
    assert_eq!(session.video_times_ms(), [0, 40, 80, 120, 160, 200, 240, 280]);

    let mut session = patient();
    session.avc_header(h264::tests::AVCC);
    session.key(0);
    let mut avcc = h264::tests::AVCC.to_vec();
    avcc[11] = 0x1f;
    session.avc_header(&avcc);
    session.key(40);
    (2..=10).for_each(|n| session.inter(n * 40));
    assert_eq!(session.announced(), [["avc1.42c01f"]]);
    assert_eq!(
        session.video_times_ms().first(),
        Some(&40),
        "what is held is of the configuration it came with"
    );
}

#[test]
fn a_late_or_changed_sound_waits_for_the_next_key_frame() {
    let mut session = Session::default();
    session.avc_header(h264::tests::AVCC);
    session.key(0);
    session.aac_header(&ASC);
    session.aac(20);
    session.inter(40);
    session.key(80);
    session.aac(90);
    session.aac_header(&OTHER_ASC);
    session.aac(110);
    session.key(160);
    session.aac(170);
    assert_eq!(session.announced().len(), 3);
    let tracks: Vec<_> = session.frames().iter().map(|frame| frame.track).collect();
    assert_eq!(tracks, [0, 0, 0, 1, 0, 1], "no sound is passed on that the tracks do not describe");
    assert_eq!(session.frames()[5].pts_ticks, 44_100 * 170 / 1_000);
}

#[test]
fn a_configuration_that_comes_back_before_it_was_missed_opens_nothing() {
    let mut session = Session::begun();
    session.aac_header(&OTHER_ASC);
    session.aac_header(&ASC);
    session.key(40);
    session.aac(50);
    assert_eq!((session.announced().len(), session.frames().len()), (1, 3));
}

#[test]
fn sound_alone_is_announced_after_a_second_and_joined_by_a_picture_later() {
    let mut session = Session::default();
    session.aac_header(&ASC);
    for i in 0..60 {
        session.aac(i * 64 / 3);
    }
    assert_eq!(session.announced(), [["mp4a.40.2"]]);
    assert_eq!((session.frames()[0].pts_ticks, session.frames()[0].track), (0, 0));
    let before = session.frames().len();
    session.avc_header(h264::tests::AVCC);
    session.aac(1_280);
    session.key(1_290);
    session.aac(1_301);
    assert_eq!(session.announced()[1], ["avc1.42c01e", "mp4a.40.2"]);
    let tracks: Vec<_> = session.frames()[before..].iter().map(|frame| frame.track).collect();
    assert_eq!(tracks, [0, 0, 1]);
}

#[test]
fn sound_in_rounded_milliseconds_becomes_even() {
    let mut session = Session::begun();
    for i in 0..100 {
        session.aac(i * 64 / 3);
    }
    for (i, frame) in session.frames()[1..].iter().enumerate() {
        assert_eq!(frame.pts_ticks, i as i64 * 1_024);
    }
}

#[test]
fn sound_that_is_not_played_is_said_once_and_the_picture_goes_on() {
    let mut session = Session::default();
    session.avc_header(h264::tests::AVCC);
    session.key(0);
    session.send(Kind::Audio, 0, &[0x2f, 0xff, 0xfb]);
    session.send(Kind::Audio, 26, &[0x2f, 0xff, 0xfb]);
    session.inter(40);
    let text = "the encoder's sound is MP3, which is not played: set it to AAC".to_owned();
    assert!(session.out.contains(&Output::Warning("unsupported_audio", text)));
    assert_eq!((session.warnings().len(), session.frames().len()), (1, 2));
}

#[test]
fn a_picture_that_is_not_played_is_named() {
    let mut session = Session::default();
    session.send(Kind::Video, 0, &[0x14, 1, 2, 3]);
    session.send(Kind::Video, 0, b"\x90vp09\x01");
    let text = "the encoder's picture is VP6, which is not played: set it to H.264".to_owned();
    assert_eq!(session.out, [Output::Warning("unsupported_video", text)]);
}

#[test]
fn frames_before_their_sequence_header_are_left_out() {
    let mut session = Session::default();
    session.key(0);
    session.inter(40);
    session.aac(40);
    assert_eq!(session.warnings(), ["no_video_config", "no_audio_config"]);
    assert!(session.frames().is_empty());
}

#[test]
fn after_a_broken_picture_nothing_is_passed_on_until_a_key_frame() {
    let mut session = Session::begun();
    session.send(Kind::Video, 40, &[0x27, 1, 0, 0, 0, 0, 0, 1, 0, 0x41]);
    session.inter(80);
    session.key(120);
    assert_eq!(session.video_times_ms(), [0, 120]);
    assert_eq!(session.warnings(), ["bad_video_frame"]);
}

#[test]
fn tags_without_a_picture_are_left_out() {
    let mut session = Session::begun();
    session.send(Kind::Video, 40, &[0x17, 1, 0, 0, 0, 0, 0, 0, 2, 0x06, 5]);
    session.send(Kind::Video, 40, &[0x17, 2, 0, 0, 0]);
    session.send(Kind::Video, 40, &[]);
    assert_eq!(session.video_times_ms(), [0]);
}

#[test]
fn an_idr_picture_is_a_key_frame_whatever_the_tag_says() {
    let mut session = Session::default();
    session.avc_header(h264::tests::AVCC);
    session.send(Kind::Video, 0, &[0x27, 1, 0, 0, 0, 0, 0, 0, 2, 0x65, 5]);
    assert!(session.frames()[0].key_frame);
}

#[test]
fn two_byte_lengths_are_brought_to_four_and_the_record_says_so() {
    let mut session = Session::default();
    let mut avcc = h264::tests::AVCC.to_vec();
    avcc[4] = 0xfd;
    session.avc_header(&avcc);
    session.send(Kind::Video, 0, &[0x17, 1, 0, 0, 0, 0, 2, 0x65, 5]);
    let Output::Tracks(tracks) = &session.out[0] else { panic!("no tracks") };
    assert_eq!(tracks[0].decoder_config.as_ref(), h264::tests::AVCC);
    assert_eq!(session.frames()[0].data.as_ref(), [0, 0, 0, 2, 0x65, 5]);
}

#[test]
fn time_goes_on_over_the_wrap_and_takes_small_steps_back() {
    let mut session = Session::default();
    session.avc_header(h264::tests::AVCC);
    session.key(u32::MAX - 39);
    for at in [0, 40, 20, 60] {
        session.inter(at);
    }
    assert_eq!(session.video_times_ms(), [0, 40, 80, 60, 100]);
}

#[test]
fn of_several_tracks_the_first_is_played_and_the_rest_is_said_once() {
    let mut session = Session::default();
    let avcc = h264::tests::AVCC;
    let sized = |id: u8, body: &[u8]| [&[id, 0, 0, body.len() as u8], body].concat();
    session.send(Kind::Video, 0, &[&b"\x96\x10avc1"[..], &sized(0, avcc), &sized(1, avcc)].concat());
    let (main, other) = ([0, 0, 0, 0, 0, 0, 2, 0x65, 1], [0, 0, 0, 0, 0, 0, 2, 0x65, 2]);
    for at in [0, 40] {
        session.send(Kind::Video, at, &[&b"\x96\x11avc1"[..], &sized(1, &other), &sized(0, &main)].concat());
    }
    assert_eq!(session.warnings(), ["extra_video_tracks"]);
    assert!(session.frames().iter().all(|frame| frame.data.ends_with(&[0x65, 1])));
    assert_eq!(session.video_times_ms(), [0, 40]);
}

#[test]
fn a_nanosecond_offset_moves_the_frame() {
    let mut session = Session::begun();
    session.send(Kind::Video, 33, b"\xa7\x02\x05\x16\x15\x03avc1\0\0\0\x02\x41\x05");
    assert_eq!(session.frames()[1].pts_ticks, 3_000, "33.333 ms");
}

#[test]
fn h265_comes_by_its_four_cc_and_by_the_number_that_cameras_use() {
    let hvcc = h265::tests::bytes(h265::tests::HVCC);
    let nal = [0, 0, 0, 3, 0x26, 1, 0xaf]; // IDR_W_RADL
    for (header, frame) in [
        (&b"\x90hvc1"[..], &b"\x91hvc1\0\0\x28"[..]),
        (b"\x90hvc1", b"\x93hvc1"),
        (b"\x1c\0\0\0\0", b"\x1c\x01\0\0\x28"),
    ] {
        let mut session = Session::default();
        session.send(Kind::Video, 0, &[header, &hvcc].concat());
        session.send(Kind::Video, 0, &[frame, &nal].concat());
        assert_eq!(session.announced(), [["hvc1.1.6.L63.90"]]);
        let frames = session.frames();
        assert_eq!((frames[0].data.as_ref(), frames[0].key_frame), (&nal[..], true));
        assert_eq!(frames[0].pts_ticks, if frame[0] == 0x93 { 0 } else { 3_600 });
    }
}

#[test]
fn av1_loses_its_temporal_delimiters() {
    let mut session = Session::default();
    session.send(Kind::Video, 0, &[b"\x90av01", av1::tests::AV1C].concat());
    session.send(Kind::Video, 0, b"\x91av01\x12\x00\x32\x01\x10");
    session.send(Kind::Video, 40, b"\xa1av01\x32\x01\x20");
    session.send(Kind::Video, 80, b"\xa1av01\x32\x09\x20");
    assert_eq!(session.announced(), [["av01.0.01M.08"]]);
    let frames = session.frames();
    assert_eq!(frames.iter().map(|frame| frame.key_frame).collect::<Vec<_>>(), [true, false]);
    assert_eq!(
        (frames[0].data.as_ref(), frames[1].data.as_ref()),
        (&[0x32, 1, 0x10][..], &[0x32, 1, 0x20][..])
    );
    assert_eq!(session.warnings(), ["bad_video_frame"]);
}

#[test]
fn av1_without_a_sequence_header_in_its_record_takes_that_of_the_first_key_frame() {
    let mut session = Session::default();
    let (head, sequence_header) = av1::tests::AV1C.split_at(4);
    for at in [0, 1_000] {
        session.send(Kind::Video, at, &[b"\x90av01", head].concat());
        session.send(Kind::Video, at, b"\xa1av01\x32\x01\x20");
        session.send(
            Kind::Video,
            at + 40,
            &[b"\x91av01\x12\x00", sequence_header, &[0x32, 1, 0x10]].concat(),
        );
    }
    let Output::Tracks(tracks) = &session.out[0] else { panic!("no tracks") };
    assert_eq!(tracks[0].decoder_config.as_ref(), av1::tests::AV1C);
    assert_eq!((session.announced().len(), session.video_times_ms()), (1, vec![0, 960, 1_000]));
}

#[test]
fn opus_lasts_as_long_as_its_packets_say_and_does_without_a_header() {
    let mut session = Session::default();
    session.avc_header(h264::tests::AVCC);
    session.send(Kind::Audio, 0, &[b"\x90Opus", &opus::DEFAULT_HEAD[..]].concat());
    session.send(Kind::Audio, 0, b"\x90OpusOpusTags\x03\0\0\0");
    session.key(0);
    session.send(Kind::Audio, 0, b"\x91Opus\xfc\x01");
    session.send(Kind::Audio, 20, b"\x91Opus\xf4\x01");
    session.send(Kind::Audio, 30, b"\x91Opus\xff");
    assert_eq!(session.announced(), [["avc1.42c01e", "opus"]]);
    let sound: Vec<_> = session.frames()[1..].iter().map(|f| (f.pts_ticks, f.duration_ticks)).collect();
    assert_eq!(sound, [(0, Some(960)), (960, Some(480))], "what is no packet is left out");

    let mut bare = Session::default();
    bare.avc_header(h264::tests::AVCC);
    bare.send(Kind::Audio, 0, b"\x91Opus\xfc\x01");
    bare.key(0);
    let Output::Tracks(tracks) = &bare.out[0] else { panic!("no tracks") };
    assert_eq!(tracks[1].decoder_config.as_ref(), opus::DEFAULT_HEAD);
}

#[test]
fn flac_lasts_as_long_as_its_frames_say() {
    let mut session = Session::default();
    session.avc_header(h264::tests::AVCC);
    session.send(Kind::Audio, 0, &[&b"\x90fLaCfLaC\x80\0\0\x22"[..], &flac::tests::STREAMINFO].concat());
    session.key(0);
    session.send(Kind::Audio, 0, b"\x91fLaC\xff\xf8\x59\x08\x00\x47");
    session.send(Kind::Audio, 104, b"\x91fLaC\xff\xf8\x59\x08\x01\x47");
    assert_eq!(session.announced(), [["avc1.42c01e", "flac"]]);
    let sound: Vec<_> = session.frames()[1..].iter().map(|f| (f.pts_ticks, f.duration_ticks)).collect();
    assert_eq!(sound, [(0, Some(4_608)), (4_608, Some(4_608))]);
}

#[test]
fn a_picture_configuration_that_cannot_be_used_ends_the_session() {
    let mut demuxer = Demuxer::default();
    let cut = Bytes::from_static(&[0x17, 0, 0, 0, 0, 1, 0x42]);
    let error = demuxer.tag(Kind::Video, 0, 0, cut, &mut Vec::new()).expect_err("cut");
    assert!(error.to_string().contains("avcC of 2 bytes"), "{error}");
    let mut long = vec![0; MAX_CONFIG_LEN + 6];
    long[0] = 0x17;
    let error = demuxer.tag(Kind::Video, 0, 0, long.into(), &mut Vec::new()).expect_err("long");
    assert_eq!(error, Error::ConfigLength { kind: Kind::Video, len: MAX_CONFIG_LEN + 1 });
}

#[test]
fn a_sound_configuration_that_cannot_be_used_leaves_the_picture() {
    let mut session = Session::begun();
    session.aac_header(&[0x11]);
    session.aac(20);
    session.key(40);
    assert_eq!(session.warnings(), ["bad_audio_config", "no_audio_config"]);
    assert_eq!(session.video_times_ms(), [0, 40]);
    assert_eq!(session.announced().len(), 1);
}

proptest! {
    #[test]
    fn no_tags_make_the_demuxer_panic_and_frames_keep_to_their_tracks(
        tags in proptest::collection::vec((any::<bool>(), any::<u32>(), any_payload()), 0..60)
    ) {
        let mut demuxer = Demuxer::default();
        let (mut out, mut tracks) = (Vec::new(), 0);
        for (audio, timestamp_ms, payload) in tags {
            let kind = if audio { Kind::Audio } else { Kind::Video };
            if demuxer.tag(kind, timestamp_ms, 0, payload.into(), &mut out).is_err() {
                break;
            }
            for output in out.drain(..) {
                match output {
                    Output::Tracks(announced) => tracks = announced.len(),
                    Output::Frame(frame) => prop_assert!(frame.track < tracks && !frame.data.is_empty()),
                    Output::Warning(..) => {}
                }
            }
        }
    }
}

/// Good headers and frames, damaged ones, and noise.
fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    let good = prop::sample::select(vec![
        [&[0x17, 0, 0, 0, 0], h264::tests::AVCC].concat(),
        vec![0xaf, 0, 0x11, 0x88],
        vec![0xaf, 1, 0x21],
        avc_frame(true, 0),
        avc_frame(false, -40),
        b"\x91avc1\0\0\0\0\0\0\x02\x65\x88".to_vec(),
        [&b"\x90hvc1"[..], &h265::tests::bytes(h265::tests::HVCC)].concat(),
        b"\x93hvc1\0\0\0\x03\x26\x01\xaf".to_vec(),
        [b"\x90av01", av1::tests::AV1C].concat(),
        [b"\x90av01", &av1::tests::AV1C[..4]].concat(),
        [b"\x91av01\x12\0", &av1::tests::AV1C[4..], &[0x32, 1, 0x10]].concat(),
        [b"\x90Opus", &opus::DEFAULT_HEAD[..]].concat(),
        b"\x91Opus\xfc\x01".to_vec(),
        [b"\x90fLaC", &flac::tests::STREAMINFO[..]].concat(),
        b"\x91fLaC\xff\xf8\x59\x08\x00\x47".to_vec(),
        b"\x96\x11avc1\0\0\0\x09\0\0\0\0\0\0\x02\x65\x88".to_vec(),
    ]);
    let damaged =
        (good.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut payload, at, byte)| {
            let at = at.index(payload.len());
            payload[at] = byte;
            payload
        });
    prop_oneof![4 => good, 2 => damaged, 1 => any::<Vec<u8>>()]
}
