use sightline_wire::{ErrorCode, Header, Kind, Media, ServerMessage, Track};

use super::*;
use crate::append::Operation;
use crate::latency::SoundClock;

fn session() -> Session<u32> {
    Session::new(Config {
        stream: "gate".into(),
        codecs: vec!["avc1".into()],
        muted: true,
        autoplay: true,
        target: Target::Auto,
        sound_clock: SoundClock::Samples,
        whole_groups: false,
        renderer: Renderer::Mse,
    })
}

fn text(connection: u32, message: &ServerMessage) -> Event<u32> {
    Event::Text { connection, text: serde_json::to_string(message).expect("serialises") }
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

fn fragment(connection: u32, sequence: u32) -> Event<u32> {
    let header = Header {
        kind: Kind::Media,
        track: 0,
        key_frame: sequence == 0,
        sequence,
        decode_time_ticks: 5_000 + u64::from(sequence) * 40,
        duration_ticks: 40,
        ..Header::init(3, 1, 0)
    };
    Event::Fragment { connection, header, payload: sequence, bytes: 100, position_s: None }
}

fn sent(commands: &[Command<u32>]) -> Vec<&str> {
    commands
        .iter()
        .filter_map(|c| if let Command::Send(text) = c { Some(text.as_str()) } else { None })
        .collect()
}

/// A session that is subscribed, with the first fragments appended.
fn playing() -> Session<u32> {
    let mut s = session();
    s.handle(Event::Started, 0.0);
    s.handle(Event::SocketOpen { connection: 1 }, 1.0);
    s.handle(text(1, &ServerMessage::Subscribed { stream: "gate".into(), number: 3 }), 2.0);
    s.handle(Event::SourceOpen { generation: 1 }, 2.0);
    s.handle(text(1, &tracks(vec![track(0, VIDEO)], Some(2))), 3.0);
    for sequence in 0..=2 {
        s.handle(fragment(1, sequence), 4.0);
    }
    s.handle(Event::OperationDone { generation: 1, track: 0 }, 5.0);
    s.handle(Event::OperationDone { generation: 1, track: 0 }, 6.0);
    s.handle(Event::FrameShown { media_time_s: 5.08, shown_ms: 30.0 }, 30.0);
    assert_eq!(s.state(), "live");
    s
}

const AUDIO: Media = Media::Audio { sample_rate: 48_000, channels: 1 };

/// The same with sound, of which each packet is as long as a picture.
fn playing_with_sound() -> Session<u32> {
    let mut s = session();
    s.handle(Event::Muted(false), 0.0);
    s.handle(Event::Started, 0.0);
    s.handle(Event::SocketOpen { connection: 1 }, 1.0);
    s.handle(text(1, &ServerMessage::Subscribed { stream: "gate".into(), number: 3 }), 2.0);
    s.handle(Event::SourceOpen { generation: 1 }, 2.0);
    s.handle(text(1, &tracks(vec![track(0, VIDEO), track(1, AUDIO)], Some(0))), 3.0);
    for index in 0..2 {
        let Event::Fragment { connection, mut header, payload, bytes, position_s } = fragment(1, 0) else {
            unreachable!("it makes fragments")
        };
        header.track = index;
        s.handle(Event::Fragment { connection, header, payload, bytes, position_s }, 4.0);
        s.handle(Event::OperationDone { generation: 1, track: index.into() }, 5.0);
    }
    s.handle(Event::FrameShown { media_time_s: 5.0, shown_ms: 30.0 }, 30.0);
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
        let Event::Fragment { connection, header, payload, bytes, .. } = fragment(1, tick as u32) else {
            unreachable!("it makes fragments")
        };
        s.handle(Event::Fragment { connection, header, payload, bytes, position_s: None }, now_ms);
        s.handle(Event::OperationDone { generation: 1, track: 0 }, now_ms);
        let commands = s.handle(Event::Tick { facts, random: 0.5 }, now_ms);
        seeks.extend(commands.iter().filter(|c| matches!(c, Command::Seek(_))).map(|_| tick));
    }
    assert_eq!(seeks.first(), Some(&12), "the first look at which there is what it begins with: {seeks:?}");
    assert_eq!(s.stats().counters.stalls, 1);
}

#[test]
fn the_media_source_opens_while_the_connection_does_and_nothing_is_waited_for() {
    let mut s = session();
    let commands = s.handle(Event::Started, 0.0);
    assert!(commands.contains(&Command::OpenSource { generation: 1 }));
    assert!(commands.contains(&Command::Connect { connection: 1 }));
    let commands = s.handle(Event::SocketOpen { connection: 1 }, 1.0);
    let sent = sent(&commands);
    assert!(
        sent[0].contains("hello") && sent[1].contains("subscribe") && sent[1].contains("\"audio\":false")
    );
}

#[test]
fn play_begins_once_at_the_newest_picture_when_all_history_is_appended() {
    let mut s = session();
    s.handle(Event::Started, 0.0);
    s.handle(Event::SocketOpen { connection: 1 }, 1.0);
    s.handle(text(1, &ServerMessage::Subscribed { stream: "gate".into(), number: 3 }), 2.0);
    s.handle(text(1, &tracks(vec![track(0, VIDEO)], Some(249))), 3.0);
    let commands = s.handle(Event::SourceOpen { generation: 1 }, 3.0);
    assert!(matches!(&commands[..], [Command::AddBuffers(mimes)] if mimes.len() == 1));
    let mut seeks = Vec::new();
    let mut appends = Vec::new();
    for sequence in 0..250 {
        let commands = s.handle(fragment(1, sequence), 4.0);
        appends.extend(commands.into_iter().filter(|c| matches!(c, Command::Operate { .. })));
    }
    for _ in 0..2 {
        for command in s.handle(Event::OperationDone { generation: 1, track: 0 }, 5.0) {
            match command {
                Command::Seek(to_s) => seeks.push(to_s),
                Command::Operate { .. } => appends.push(command),
                _ => {}
            }
        }
    }
    assert_eq!(seeks, [5.0 + 249.0 * 0.04]);
    let sizes: Vec<usize> = appends
        .iter()
        .filter_map(|c| match c {
            Command::Operate { operation: Operation::Append(payloads), .. } => Some(payloads.len()),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [1, 249], "a burst is two appends");
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
    let commands = s.handle(text(1, &offline), 40.0);
    assert!(!commands.contains(&Command::Disconnect));
    assert!(matches!(&commands[..], [Command::Notify(Notice::State(state))]
        if state.state == "offline" && state.since_us == Some(7) && state.reason.contains("password")));
    s.handle(text(1, &ServerMessage::Online { number: 3 }), 50.0);
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
    s.handle(text(1, &connecting), 40.0);
    assert_eq!(s.state(), "connecting");
    s.handle(text(1, &ServerMessage::Online { number: 3 }), 50.0);
    assert_eq!(s.state(), "live");
}

#[test]
fn a_lost_connection_holds_the_picture_and_is_tried_again_for_ever() {
    let mut s = playing();
    let commands = s.handle(Event::SocketClosed { connection: 1, code: 1006, random: 1.0 }, 100.0);
    assert!(commands.contains(&Command::Notify(Notice::Hold(true))));
    let (mut connection, mut now_ms) = (1, 100.0);
    for _ in 0..50 {
        let connected = (0..100).any(|_| {
            now_ms += 100.0;
            s.handle(tick(), now_ms).iter().any(|c| matches!(c, Command::Connect { .. }))
        });
        assert!(connected, "within 10 s");
        connection += 1;
        s.handle(Event::SocketClosed { connection, code: 1006, random: 1.0 }, now_ms);
    }
}

#[test]
fn a_silent_connection_is_asked_and_then_given_up() {
    let mut s = playing();
    let (mut pings, mut given_up) = (0, None);
    for i in 1..60 {
        let now_ms = 100.0 + f64::from(i) * 100.0;
        let commands = s.handle(tick(), now_ms);
        pings += sent(&commands).iter().filter(|text| text.contains("ping")).count();
        if commands.contains(&Command::Disconnect) {
            given_up.get_or_insert(i);
        }
    }
    assert!(pings >= 3);
    assert!(given_up.is_some_and(|i| (35..=45).contains(&i)), "{given_up:?}");
}

#[test]
fn an_unknown_stream_is_told_once_and_asked_for_again() {
    let mut s = session();
    s.handle(Event::Started, 0.0);
    s.handle(Event::SocketOpen { connection: 1 }, 1.0);
    let error = ServerMessage::Error {
        code: ErrorCode::UnknownStream,
        message: "no stream is named gate".into(),
        retryable: true,
        stream: Some("gate".into()),
    };
    let told = |commands: &[Command<u32>]| {
        commands.iter().filter(|c| matches!(c, Command::Notify(Notice::Error(_)))).count()
    };
    assert_eq!(told(&s.handle(text(1, &error), 2.0)), 1);
    assert_eq!(s.state(), "error");
    let mut asked = 0;
    for i in 1..=60 {
        let now_ms = f64::from(i) * 100.0;
        s.handle(text(1, &ServerMessage::Pong { client_time_ms: 0.0, time_us: 0 }), now_ms);
        asked += sent(&s.handle(tick(), now_ms)).iter().filter(|text| text.contains("subscribe")).count();
    }
    assert_eq!(asked, 1);
    assert_eq!(told(&s.handle(text(1, &error), 6_000.0)), 0, "the same news is no news");
}

#[test]
fn switching_the_sound_on_subscribes_again_into_a_new_media_source() {
    let mut s = playing();
    let commands = s.handle(Event::Muted(false), 100.0);
    let sent = sent(&commands);
    assert!(sent[0].contains("unsubscribe") && sent[1].contains("\"audio\":true"));
    assert!(commands.contains(&Command::Notify(Notice::Hold(true))));
    // What is still on its way belongs to the old subscription.
    assert!(s.handle(fragment(1, 3), 101.0).iter().all(|c| !matches!(c, Command::Operate { .. })));
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
        let now_ms = 100.0 + f64::from(i) * 100.0;
        s.handle(text(1, &ServerMessage::Pong { client_time_ms: 0.0, time_us: 0 }), now_ms);
        all.extend(s.handle(tick(), now_ms));
    }
    assert_eq!(sent(&all).iter().filter(|text| text.contains("unsubscribe")).count(), 1);
    let commands = s.handle(Event::Hidden(false), 9_000.0);
    assert!(sent(&commands)[0].contains("\"subscribe\""));
    assert!(commands.iter().any(|c| matches!(c, Command::OpenSource { .. })));
}

#[test]
fn a_new_epoch_of_another_codec_changes_the_type_before_its_bytes() {
    let mut s = playing();
    let mut next = track(0, VIDEO);
    next.codec = "avc1.640028".into();
    s.handle(
        text(1, &ServerMessage::Tracks { number: 3, epoch: 2, catch_up_sequence: None, tracks: vec![next] }),
        50.0,
    );
    let header = Header::init(3, 2, 0);
    let commands =
        s.handle(Event::Fragment { connection: 1, header, payload: 99, bytes: 700, position_s: None }, 51.0);
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
        text(1, &ServerMessage::Tracks { number: 3, epoch: 2, catch_up_sequence: None, tracks: vec![next] }),
        50.0,
    );
    assert!(matches!(
        &commands[..],
        [Command::Notify(Notice::Hold(true)), Command::CloseSource, Command::OpenSource { .. }, ..]
    ));
}

#[test]
fn events_of_another_connection_or_media_source_are_ignored() {
    let mut s = playing();
    assert_eq!(s.handle(Event::SocketClosed { connection: 9, code: 1006, random: 0.5 }, 60.0), []);
    assert_eq!(s.handle(Event::SourceFailed { generation: 9, reason: "old".into() }, 60.0), []);
    assert_eq!(s.handle(fragment(9, 3), 60.0), []);
}
