use sightline_wire::{ErrorCode, Header, Kind, Media, ServerMessage, Track};

use super::*;
use crate::append::Operation;
use crate::latency::SoundClock;

fn session() -> Session<u32> {
    Session::new(Config {
        stream: "gate".into(),
        muted: true,
        autoplay: true,
        target: Target::Auto,
        sound_clock: SoundClock::Samples,
        whole_groups: false,
        renderer: Renderer::Mse,
    })
}

fn said(message: ServerMessage) -> Event<u32> {
    Event::Link(News::Message(message))
}

fn down() -> Event<u32> {
    Event::Link(News::Down { why: "connection closed, 1006".into(), attempts: 1 })
}

fn tick() -> Event<u32> {
    Event::Tick { facts: Facts::default(), random: 0.5 }
}

fn track(index: u8, media: Media) -> Track {
    let codec = if matches!(media, Media::Video { .. }) { "avc1.42c01e" } else { "mp4a.40.2" };
    Track { index, codec: codec.into(), timescale: 1000, decoder_config: vec![], media }
}

const VIDEO: Media = Media::Video { width: 640, height: 360 };

fn tracks(tracks: Vec<Track>, catch_up_sequence: Option<u32>) -> ServerMessage {
    ServerMessage::Tracks { number: 3, epoch: 1, catch_up_sequence, tracks }
}

fn fragment(sequence: u32) -> Event<u32> {
    let header = Header {
        kind: Kind::Media,
        track: 0,
        key_frame: sequence == 0,
        sequence,
        decode_time_ticks: 5_000 + u64::from(sequence) * 40,
        duration_ticks: 40,
        ..Header::init(3, 1, 0)
    };
    Event::Fragment { header, payload: sequence, bytes: 100, position_s: None }
}

fn asked(commands: &[Command<u32>]) -> Vec<&Ask> {
    commands.iter().filter_map(|c| if let Command::Link(ask) = c { Some(ask) } else { None }).collect()
}

fn subscribe(audio: bool) -> Ask {
    Ask::Subscribe(Wanted { audio, max_height: None })
}

/// A session that is subscribed, with the first fragments appended.
fn playing() -> Session<u32> {
    let mut s = session();
    s.handle(Event::Started, 0.0);
    s.handle(said(ServerMessage::Subscribed { stream: "gate".into(), number: 3 }), 2.0);
    s.handle(Event::SourceOpen { generation: 1 }, 2.0);
    s.handle(said(tracks(vec![track(0, VIDEO)], Some(2))), 3.0);
    for sequence in 0..=2 {
        s.handle(fragment(sequence), 4.0);
    }
    s.handle(Event::OperationDone { generation: 1, track: 0 }, 5.0);
    s.handle(Event::OperationDone { generation: 1, track: 0 }, 6.0);
    s.handle(Event::FrameShown { media_time_s: 5.08, shown_ms: 30.0, seeking: false }, 30.0);
    assert_eq!(s.state(), "live");
    s
}

const AUDIO: Media = Media::Audio { sample_rate: 48_000, channels: 1 };

/// The same with sound, of which each packet is as long as a picture.
fn playing_with_sound() -> Session<u32> {
    let mut s = session();
    s.handle(Event::Muted(false), 0.0);
    s.handle(Event::Started, 0.0);
    s.handle(said(ServerMessage::Subscribed { stream: "gate".into(), number: 3 }), 2.0);
    s.handle(Event::SourceOpen { generation: 1 }, 2.0);
    s.handle(said(tracks(vec![track(0, VIDEO), track(1, AUDIO)], Some(0))), 3.0);
    for index in 0..2 {
        let Event::Fragment { mut header, payload, bytes, position_s } = fragment(0) else {
            unreachable!("it makes fragments")
        };
        header.track = index;
        s.handle(Event::Fragment { header, payload, bytes, position_s }, 4.0);
        s.handle(Event::OperationDone { generation: 1, track: index.into() }, 5.0);
    }
    s.handle(Event::FrameShown { media_time_s: 5.0, shown_ms: 30.0, seeking: false }, 30.0);
    assert_eq!(s.state(), "live");
    s
}

#[test]
fn sound_that_ran_dry_begins_again_at_once_where_it_stands() {
    let mut s = playing_with_sound();
    let mut seeks = Vec::new();
    for tick in 0..30 {
        let now_ms = 1_500.0 + f64::from(tick) * 100.0;
        let position_s = 5.0 + f64::from(tick.min(10)) * 0.1;
        // It stands with 50 ms of sound, and more comes.
        let ahead_s = if tick > 10 { 0.05 + f64::from(tick - 10) * 0.1 } else { 0.05 };
        let facts = Facts {
            position_s,
            moving: tick <= 10,
            buffered_s: vec![(4.0, position_s + ahead_s)],
            ..Facts::default()
        };
        let Event::Fragment { header, payload, bytes, .. } = fragment(tick as u32) else {
            unreachable!("it makes fragments")
        };
        s.handle(Event::Fragment { header, payload, bytes, position_s: None }, now_ms);
        s.handle(Event::OperationDone { generation: 1, track: 0 }, now_ms);
        let commands = s.handle(Event::Tick { facts, random: 0.5 }, now_ms);
        seeks.extend(commands.iter().filter(|c| matches!(c, Command::Seek(_))).map(|_| tick));
    }
    assert_eq!(seeks.first(), Some(&12), "the first look at which there is what it begins with: {seeks:?}");
    assert_eq!(s.stats().counters.stalls, 1);
}

#[test]
fn a_jump_in_firefox_is_over_at_the_second_picture_that_is_told_of_behind_it() {
    let mut s = playing();
    s.config.whole_groups = true;
    for sequence in 3..=12 {
        s.handle(fragment(sequence), 400.0);
        s.handle(Event::OperationDone { generation: 1, track: 0 }, 400.0);
    }
    s.handle(Event::FrameShown { media_time_s: 5.12, shown_ms: 410.0, seeking: false }, 410.0);
    let commands = s.handle(Event::SeekToLive, 410.0);
    assert!(commands.contains(&Command::Notify(Notice::Hold(true))), "{commands:?}");
    let to_s = commands.iter().find_map(|c| if let Command::Seek(to_s) = c { Some(*to_s) } else { None });
    let to_s = to_s.expect("it jumps");
    // What was under way already, and then whichever picture with the time that was jumped to.
    for (media_time_s, seeking) in [(to_s - 0.001, true), (to_s, false)] {
        let commands = s.handle(Event::FrameShown { media_time_s, shown_ms: 430.0, seeking }, 430.0);
        assert!(!commands.contains(&Command::Notify(Notice::Hold(false))), "{media_time_s}: {commands:?}");
    }
    let commands =
        s.handle(Event::FrameShown { media_time_s: to_s + 0.04, shown_ms: 470.0, seeking: false }, 470.0);
    assert!(commands.contains(&Command::Notify(Notice::Hold(false))), "{commands:?}");
}

#[test]
fn the_media_source_opens_while_the_connection_does_and_nothing_is_waited_for() {
    let mut s = session();
    let commands = s.handle(Event::Started, 0.0);
    assert!(commands.contains(&Command::OpenSource { generation: 1 }));
    assert_eq!(asked(&commands), [&subscribe(false)]);
    let commands = s.handle(Event::Link(News::Connecting), 1.0);
    assert_eq!(commands, [], "it is open already");
}

/// A session to which ten seconds of history came at once, and what it wants done.
fn with_long_history() -> (Session<u32>, Vec<Command<u32>>) {
    let mut s = session();
    s.handle(Event::Started, 0.0);
    s.handle(said(ServerMessage::Subscribed { stream: "gate".into(), number: 3 }), 2.0);
    s.handle(said(tracks(vec![track(0, VIDEO)], Some(249))), 3.0);
    let commands = s.handle(Event::SourceOpen { generation: 1 }, 3.0);
    assert!(matches!(&commands[..], [Command::AddBuffers(mimes)] if mimes.len() == 1));
    let mut commands: Vec<_> = (0..250).flat_map(|sequence| s.handle(fragment(sequence), 4.0)).collect();
    for _ in 0..2 {
        commands.extend(s.handle(Event::OperationDone { generation: 1, track: 0 }, 5.0));
    }
    (s, commands)
}

fn seeks(commands: &[Command<u32>]) -> Vec<f64> {
    commands.iter().filter_map(|c| if let Command::Seek(to_s) = c { Some(*to_s) } else { None }).collect()
}

/// The newest picture of that history, in seconds.
const NEWEST_S: f64 = 5.0 + 249.0 * 0.04;

#[test]
fn a_long_history_is_two_appends_and_its_first_picture_is_seen_while_it_is_decoded() {
    let (mut s, commands) = with_long_history();
    let sizes: Vec<usize> = commands
        .iter()
        .filter_map(|c| match c {
            Command::Operate { operation: Operation::Append(payloads), .. } => Some(payloads.len()),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [1, 249], "a burst is two appends");
    assert!(commands.contains(&Command::Look(5.001)), "{commands:?}");
    assert!(seeks(&commands).is_empty(), "play waits for the look");
    let commands = s.handle(Event::FrameShown { media_time_s: 5.0, shown_ms: 60.0, seeking: false }, 60.0);
    assert_eq!(s.stats().first_frame_ms, Some(60.0));
    assert_eq!(
        (s.state(), seeks(&commands)),
        ("connecting", vec![NEWEST_S]),
        "play begins at the newest one"
    );
    // The same once more is nothing new.
    s.handle(Event::FrameShown { media_time_s: 5.0, shown_ms: 70.0, seeking: true }, 70.0);
    assert_eq!(s.state(), "connecting");
    s.handle(Event::FrameShown { media_time_s: NEWEST_S, shown_ms: 300.0, seeking: false }, 300.0);
    assert_eq!(s.state(), "live");
    assert_eq!(s.stats().first_frame_ms, Some(60.0));
}

#[test]
fn a_first_look_that_nobody_gets_is_not_waited_for() {
    let (mut s, _) = with_long_history();
    assert!(seeks(&s.handle(tick(), 300.0)).is_empty());
    assert_eq!(seeks(&s.handle(tick(), 410.0)), [NEWEST_S]);
    assert!(seeks(&s.handle(tick(), 510.0)).is_empty(), "play begins once");
}

#[test]
fn sound_or_a_picture_that_stands_already_take_no_first_look() {
    let mut s = playing();
    s.handle(down(), 40.0);
    s.handle(said(ServerMessage::Subscribed { stream: "gate".into(), number: 3 }), 50.0);
    let commands = s.handle(Event::Link(News::Connecting), 50.0);
    let [Command::OpenSource { generation }] = commands[..] else { panic!("{commands:?}") };
    s.handle(Event::SourceOpen { generation }, 50.0);
    s.handle(said(tracks(vec![track(0, VIDEO)], Some(249))), 50.0);
    let commands = s.handle(fragment(0), 50.0);
    assert!(!commands.iter().any(|c| matches!(c, Command::Look(_))), "{commands:?}");

    let mut s = session();
    s.handle(Event::Muted(false), 0.0);
    s.handle(Event::Started, 0.0);
    s.handle(said(ServerMessage::Subscribed { stream: "gate".into(), number: 3 }), 2.0);
    s.handle(Event::SourceOpen { generation: 1 }, 2.0);
    s.handle(said(tracks(vec![track(0, VIDEO), track(1, AUDIO)], Some(249))), 3.0);
    let commands = s.handle(fragment(0), 4.0);
    assert!(!commands.iter().any(|c| matches!(c, Command::Look(_))), "{commands:?}");
}

#[test]
fn offline_keeps_the_connection_and_says_why_and_online_ends_it() {
    let mut s = playing();
    let offline = ServerMessage::Offline {
        number: 3,
        since_time_us: 7,
        code: "unauthorized".into(),
        reason: "the camera refused the user name or password".into(),
    };
    let commands = s.handle(said(offline.clone()), 40.0);
    assert_eq!(asked(&commands), [] as [&Ask; 0]);
    assert!(matches!(&commands[..], [Command::Notify(Notice::State(state))]
        if state.state == "offline" && state.since_us == Some(7) && state.reason.contains("password")));
    s.handle(said(ServerMessage::Online { number: 3 }), 50.0);
    assert_eq!(s.state(), "live");
}

#[test]
fn a_camera_that_is_being_connected_to_is_not_offline_and_does_not_stay_connecting() {
    let mut s = playing();
    let connecting = ServerMessage::Offline {
        number: 3,
        since_time_us: 7,
        code: "connecting".into(),
        reason: "connecting".into(),
    };
    s.handle(said(connecting.clone()), 40.0);
    assert_eq!(s.state(), "connecting");
    s.handle(said(ServerMessage::Online { number: 3 }), 50.0);
    assert_eq!(s.state(), "live");
}

#[test]
fn a_lost_connection_holds_the_picture_and_the_next_one_gets_a_new_media_source() {
    let mut s = playing();
    let commands = s.handle(down(), 100.0);
    assert!(commands.contains(&Command::Notify(Notice::Hold(true))));
    assert!(commands.contains(&Command::CloseSource));
    assert_eq!(s.state(), "connecting");
    for generation in 0..50 {
        let commands = s.handle(Event::Link(News::Connecting), 200.0);
        assert!(matches!(&commands[..], [Command::OpenSource { .. }]), "{generation}: {commands:?}");
        s.handle(down(), 300.0);
    }
    assert_eq!(s.stats().counters.reconnects, 51);
}

#[test]
fn an_unknown_stream_is_told_once_and_asked_for_again() {
    let mut s = session();
    s.handle(Event::Started, 0.0);
    let error = ServerMessage::Error {
        code: ErrorCode::UnknownStream,
        message: "no stream is named gate".into(),
        retryable: true,
        stream: Some("gate".into()),
    };
    let told = |commands: &[Command<u32>]| {
        commands.iter().filter(|c| matches!(c, Command::Notify(Notice::Error(_)))).count()
    };
    assert_eq!(told(&s.handle(said(error.clone()), 2.0)), 1);
    assert_eq!(s.state(), "error");
    let mut times = 0;
    for i in 1..=60 {
        times += asked(&s.handle(tick(), f64::from(i) * 100.0)).len();
    }
    assert_eq!(times, 1);
    assert_eq!(told(&s.handle(said(error), 6_000.0)), 0, "the same news is no news");
}

#[test]
fn switching_the_sound_on_subscribes_again_into_a_new_media_source() {
    let mut s = playing();
    let commands = s.handle(Event::Muted(false), 100.0);
    assert_eq!(asked(&commands), [&subscribe(true)]);
    assert!(commands.contains(&Command::Notify(Notice::Hold(true))));
    assert!(s.handle(fragment(3), 101.0).iter().all(|c| !matches!(c, Command::Operate { .. })));
}

#[test]
fn a_rejected_play_is_tried_without_sound_and_then_asks_for_a_click() {
    let mut s = playing();
    s.config.muted = false;
    let commands = s.handle(Event::PlayRejected, 100.0);
    assert!(commands.contains(&Command::Mute) && commands.contains(&Command::Play));
    let commands = s.handle(Event::PlayRejected, 110.0);
    assert_eq!(commands, [Command::Notify(Notice::GestureNeeded)]);
}

#[test]
fn hidden_for_long_gives_the_stream_back_and_shown_again_takes_it_up() {
    let mut s = playing();
    s.handle(Event::Hidden(true), 100.0);
    let mut all = Vec::new();
    for i in 1..=70 {
        all.extend(s.handle(tick(), 100.0 + f64::from(i) * 100.0));
    }
    assert_eq!(asked(&all), [&Ask::Unsubscribe]);
    assert!(s.handle(down(), 8_000.0).is_empty(), "nobody looks: it is of no interest");
    let commands = s.handle(Event::Hidden(false), 9_000.0);
    assert_eq!(asked(&commands), [&Ask::Hurry, &subscribe(false)]);
    assert!(commands.iter().any(|c| matches!(c, Command::OpenSource { .. })));
}

#[test]
fn far_from_where_anybody_looks_it_is_given_back_at_once_unless_it_is_heard() {
    let mut s = playing();
    assert_eq!(asked(&s.handle(Event::Far, 100.0)), [&Ask::Unsubscribe]);
    assert!(s.handle(Event::Far, 110.0).is_empty(), "once");
    assert_eq!(asked(&s.handle(Event::Hidden(false), 200.0)), [&Ask::Hurry, &subscribe(false)]);
    let mut s = playing_with_sound();
    assert!(s.handle(Event::Far, 100.0).is_empty());
}

#[test]
fn the_height_on_the_screen_is_told_with_the_subscription_and_when_it_changes() {
    let mut s = session();
    s.handle(Event::Height(Some(180)), 0.0);
    let wanted = Wanted { audio: false, max_height: Some(180) };
    assert_eq!(asked(&s.handle(Event::Started, 0.0)), [&Ask::Subscribe(wanted)]);
    let mut s = playing();
    assert_eq!(asked(&s.handle(Event::Height(Some(720)), 100.0)), [&Ask::MaxHeight(Some(720))]);
}

#[test]
fn a_stream_that_brings_nothing_is_asked_for_again_then_later_then_elsewhere() {
    let mut s = playing();
    let mut all = Vec::new();
    for i in 1..=600 {
        let commands = s.handle(tick(), 100.0 + f64::from(i) * 100.0);
        all.extend(asked(&commands).into_iter().map(|ask| (i, ask.clone())));
        if matches!(all.last(), Some((at, Ask::Subscribe(_))) if *at == i) {
            s.handle(said(ServerMessage::Subscribed { stream: "gate".into(), number: 3 }), 100.0);
        }
    }
    let asks: Vec<&Ask> = all.iter().map(|(_, ask)| ask).collect();
    assert!(
        matches!(&asks[..], [Ask::Subscribe(_), Ask::Unsubscribe, Ask::Subscribe(_), Ask::Reconnect(_), ..]),
        "{all:?}"
    );
    assert!(s.stats().json().contains("rebuild: no picture came"));
}

#[test]
fn a_media_source_that_fails_again_and_again_is_no_burden_to_the_server() {
    let mut s = playing();
    let mut asks = 0;
    for i in 1..=600 {
        let now_ms = 100.0 + f64::from(i) * 100.0;
        let mut commands = s.handle(tick(), now_ms);
        let opened = |c: &Command<u32>| {
            if let Command::OpenSource { generation } = c { Some(*generation) } else { None }
        };
        if let Some(generation) = commands.iter().find_map(opened) {
            commands.extend(s.handle(Event::SourceFailed { generation, reason: "no".into() }, now_ms));
        }
        asks += asked(&commands).iter().filter(|ask| matches!(ask, Ask::Subscribe(_))).count();
        assert!(
            !asked(&commands).iter().any(|ask| matches!(ask, Ask::Reconnect(_))),
            "it is not the connection"
        );
    }
    assert!(asks <= 40, "{asks} in a minute");
}

#[test]
fn a_new_epoch_of_another_codec_changes_the_type_before_its_bytes() {
    let mut s = playing();
    let mut next = track(0, VIDEO);
    next.codec = "avc1.640028".into();
    s.handle(
        said(ServerMessage::Tracks { number: 3, epoch: 2, catch_up_sequence: None, tracks: vec![next] }),
        50.0,
    );
    let header = Header::init(3, 2, 0);
    let commands = s.handle(Event::Fragment { header, payload: 99, bytes: 700, position_s: None }, 51.0);
    assert!(matches!(&commands[..], [Command::Operate { operation: Operation::ChangeType(mime), .. }]
        if mime.contains("avc1.640028")));
    let commands = s.handle(Event::OperationDone { generation: 1, track: 0 }, 52.0);
    assert!(commands.contains(&Command::Operate { track: 0, operation: Operation::Append(vec![99]) }));
}

#[test]
fn a_new_epoch_of_another_coding_goes_into_a_new_media_source_behind_the_picture() {
    let mut s = playing();
    let mut next = track(0, VIDEO);
    next.codec = "hvc1.1.6.L93.B0".into();
    let commands = s.handle(
        said(ServerMessage::Tracks { number: 3, epoch: 2, catch_up_sequence: None, tracks: vec![next] }),
        50.0,
    );
    assert!(matches!(
        &commands[..],
        [Command::Notify(Notice::Hold(true)), Command::CloseSource, Command::OpenSource { .. }, ..]
    ));
}

/// What the server says when it goes on with another quality, as on the wire: the stream is the one of number 3.
fn switched(quality: &str) -> Event<u32> {
    let vectors = include_str!("../../../proxy/wire/vectors/server.jsonl");
    let mut all = vectors.lines().filter_map(crate::message::read);
    let golden = all.find(|message| matches!(message, ServerMessage::Switched { .. }));
    let Some(ServerMessage::Switched { number: 3, quality: of }) = golden else { panic!("no such vector") };
    assert_eq!(of, "sub");
    said(ServerMessage::Switched { number: 3, quality: quality.into() })
}

/// The tracks of a quality so high, in an epoch of its own.
fn quality_tracks(epoch: u32, height: u32, codec: &str) -> Event<u32> {
    let video = Track { codec: codec.into(), ..track(0, Media::Video { width: height * 16 / 9, height }) };
    said(ServerMessage::Tracks { number: 3, epoch, catch_up_sequence: None, tracks: vec![video] })
}

#[test]
fn another_quality_of_the_same_codec_goes_into_the_same_buffer_with_its_own_init_segment() {
    let mut s = playing();
    assert_eq!(s.stats().quality, "");
    assert_eq!(s.handle(switched("sub"), 50.0), []);
    assert_eq!(s.handle(quality_tracks(2, 180, "avc1.42c01e"), 50.0), [], "what is there stays");
    let header = Header::init(3, 2, 0);
    let commands = s.handle(Event::Fragment { header, payload: 99, bytes: 700, position_s: None }, 51.0);
    assert_eq!(commands, [Command::Operate { track: 0, operation: Operation::Append(vec![99]) }]);
    let stats = s.stats();
    assert_eq!((stats.quality.as_str(), stats.height), ("sub", 180));
    assert!(stats.json().contains(r#""quality":"sub""#));
    // And back, by another profile.
    s.handle(Event::OperationDone { generation: 1, track: 0 }, 52.0);
    assert_eq!(s.handle(switched("main"), 60.0), []);
    assert_eq!(s.handle(quality_tracks(1, 360, "avc1.640028"), 60.0), []);
    let header = Header::init(3, 1, 0);
    let commands = s.handle(Event::Fragment { header, payload: 100, bytes: 700, position_s: None }, 61.0);
    assert!(matches!(&commands[..], [Command::Operate { operation: Operation::ChangeType(mime), .. }]
        if mime.contains("avc1.640028")));
    assert_eq!((s.state(), s.stats().quality.as_str()), ("live", "main"));
}

#[test]
fn another_quality_of_another_coding_is_built_up_behind_the_picture() {
    let mut s = playing();
    s.handle(switched("sub"), 50.0);
    let commands = s.handle(quality_tracks(2, 180, "hvc1.1.6.L93.B0"), 50.0);
    assert!(matches!(
        &commands[..],
        [Command::Notify(Notice::Hold(true)), Command::CloseSource, Command::OpenSource { .. }, ..]
    ));
    // A server that begins anew says which quality it is then.
    s.handle(said(ServerMessage::Subscribed { stream: "gate".into(), number: 3 }), 60.0);
    assert_eq!(s.stats().quality, "");
}

#[test]
fn events_of_another_media_source_are_ignored() {
    let mut s = playing();
    assert_eq!(s.handle(Event::SourceFailed { generation: 9, reason: "old".into() }, 60.0), []);
    assert_eq!(s.handle(Event::OperationDone { generation: 9, track: 0 }, 60.0), []);
}
