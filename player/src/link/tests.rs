use proptest::prelude::*;
use sightline_wire::Track;

use super::*;

const CAM: Wanted = Wanted { audio: false, max_height: None };

fn link() -> Link {
    Link::new(vec!["avc1".into()])
}

fn join(link: &mut Link, member: u32, stream: &str) -> Vec<Command> {
    let mut out = link.handle(Event::Joined { member, stream: stream.into() }, 0.0);
    out.extend(link.handle(Event::Ask(member, Ask::Subscribe(CAM), 0.5), 0.0));
    out
}

fn text(link: &mut Link, message: &ServerMessage, now_ms: f64) -> Vec<Command> {
    let text = serde_json::to_string(message).expect("serialises");
    link.handle(Event::Text(link.connection, text), now_ms)
}

fn subscribed(stream: &str, number: u32) -> ServerMessage {
    ServerMessage::Subscribed { stream: stream.into(), number }
}

fn tracks(number: u32) -> ServerMessage {
    ServerMessage::Tracks { number, epoch: 1, catch_up_sequence: None, tracks: Vec::<Track>::new() }
}

fn unknown(stream: &str) -> ServerMessage {
    ServerMessage::Error {
        code: ErrorCode::UnknownStream,
        message: "no".into(),
        retryable: true,
        stream: Some(stream.into()),
    }
}

fn sent(commands: &[Command]) -> Vec<&str> {
    commands
        .iter()
        .filter_map(|c| if let Command::Send(text) = c { Some(text.as_str()) } else { None })
        .collect()
}

fn told(commands: &[Command]) -> Vec<u32> {
    commands
        .iter()
        .filter_map(|c| if let Command::Tell(member, _) = c { Some(*member) } else { None })
        .collect()
}

/// A link with two sessions that get their streams.
fn two() -> Link {
    let mut l = link();
    join(&mut l, 1, "gate");
    join(&mut l, 2, "yard");
    l.handle(Event::Open(1), 1.0);
    for (stream, number) in [("gate", 3), ("yard", 4)] {
        text(&mut l, &subscribed(stream, number), 2.0);
        assert!(l.on_fragment(1, number, 3.0).is_some());
    }
    l
}

#[test]
fn one_connection_is_opened_for_all_and_everything_is_said_when_it_is_open() {
    let mut l = link();
    let commands = join(&mut l, 1, "gate");
    assert_eq!(commands, [Command::Tell(1, News::Connecting), Command::Connect(1)]);
    assert_eq!(join(&mut l, 2, "yard"), []);
    let commands = l.handle(Event::Open(1), 1.0);
    let sent = sent(&commands);
    assert!(sent[0].contains("hello") && sent[1].contains("gate") && sent[2].contains("yard"), "{sent:?}");
    assert!(sent[3].contains("ping"));
    // And whoever comes later is not kept waiting.
    let commands = join(&mut l, 3, "hall");
    assert!(matches!(&commands[..], [Command::Send(text)] if text.contains("hall")));
}

#[test]
fn messages_and_media_go_to_the_session_whose_stream_it_is() {
    let mut l = two();
    assert_eq!(told(&text(&mut l, &tracks(4), 5.0)), [2]);
    assert_eq!(told(&text(&mut l, &ServerMessage::Online { number: 3 }, 5.0)), [1]);
    assert_eq!((l.on_fragment(1, 3, 5.0), l.on_fragment(1, 4, 5.0)), (Some(1), Some(2)));
    assert_eq!((l.on_fragment(1, 5, 5.0), l.on_fragment(9, 3, 5.0)), (None, None));
    assert_eq!(told(&text(&mut l, &unknown("yard"), 6.0)), [2]);
}

#[test]
fn a_session_hears_which_quality_of_its_stream_comes() {
    let mut l = two();
    let switched = |number| ServerMessage::Switched { number, quality: "sub".into() };
    assert_eq!(told(&text(&mut l, &switched(4), 5.0)), [2]);
    assert!(told(&text(&mut l, &switched(9), 5.0)).is_empty(), "nobody's");
}

#[test]
fn a_stream_that_is_there_already_needs_another_link() {
    let mut l = two();
    let codecs = ["avc1".to_owned()];
    assert!(!l.takes(&codecs, "gate") && l.takes(&codecs, "hall"));
    assert!(!l.takes(&["hvc1".into()], "hall"), "the greeting holds for all of a connection");
    l.handle(Event::Left(1), 5.0);
    assert!(l.takes(&codecs, "gate"));
}

#[test]
fn what_is_on_its_way_when_a_session_begins_anew_is_nobodys() {
    let mut l = two();
    l.handle(Event::Ask(1, Ask::Subscribe(CAM), 0.5), 5.0);
    assert_eq!(l.on_fragment(1, 3, 6.0), None);
    assert_eq!(told(&text(&mut l, &tracks(3), 6.0)), [] as [u32; 0]);
    assert_eq!(l.on_fragment(1, 4, 6.0), Some(2), "the other one is not touched");
    assert_eq!(told(&text(&mut l, &subscribed("gate", 3), 7.0)), [1]);
    assert_eq!(l.on_fragment(1, 3, 8.0), Some(1));
}

#[test]
fn a_session_that_takes_up_a_stream_another_one_has_left_waits_for_its_own_answer() {
    let mut l = two();
    l.handle(Event::Ask(1, Ask::Subscribe(CAM), 0.5), 5.0);
    l.handle(Event::Left(1), 5.0);
    join(&mut l, 7, "gate");
    // Two answers are for the one that went.
    assert_eq!(told(&text(&mut l, &subscribed("gate", 3), 6.0)), [] as [u32; 0]);
    let gone = ServerMessage::Unsubscribed { stream: "gate".into(), number: 3 };
    assert_eq!(told(&text(&mut l, &gone, 6.0)), [] as [u32; 0]);
    assert_eq!(l.on_fragment(1, 3, 6.0), None);
    assert_eq!(told(&text(&mut l, &subscribed("gate", 3), 6.0)), [7]);
    assert_eq!(l.on_fragment(1, 3, 7.0), Some(7));
}

#[test]
fn one_stream_that_is_of_no_use_gets_a_connection_of_its_own_and_the_others_keep_theirs() {
    let mut l = two();
    let commands = l.handle(Event::Ask(1, Ask::Reconnect("it stood still".into()), 0.5), 10.0);
    assert!(!commands.contains(&Command::Disconnect));
    assert!(commands.contains(&Command::Move(1, "gate".into(), CAM)), "{commands:?}");
    assert_eq!(told(&commands), [1]);
    assert_eq!(l.on_fragment(1, 4, 11.0), Some(2));
    assert_eq!(l.on_fragment(1, 3, 11.0), None);
}

#[test]
fn a_connection_on_which_nobody_gets_anything_is_given_up_for_all() {
    let mut l = two();
    let commands = l.handle(Event::Ask(1, Ask::Reconnect("it stood still".into()), 0.5), 60_000.0);
    assert_eq!(commands[0], Command::Disconnect);
    assert_eq!(told(&commands), [1, 2]);
}

#[test]
fn a_lost_connection_is_tried_for_again_for_ever_and_all_streams_with_it() {
    let mut l = two();
    let mut now_ms = 100.0;
    l.handle(Event::Tick(1.0), now_ms);
    for connection in 1..50 {
        let commands = l.handle(Event::Closed(connection, 1006, 1.0), now_ms);
        assert_eq!(told(&commands), [1, 2]);
        let again = (0..100).find(|_| {
            now_ms += 100.0;
            l.handle(Event::Tick(1.0), now_ms).contains(&Command::Connect(connection + 1))
        });
        assert!(again.is_some(), "within 10 s");
    }
    let commands = l.handle(Event::Open(50), now_ms);
    assert_eq!(sent(&commands).iter().filter(|text| text.contains("\"subscribe\"")).count(), 2);
}

#[test]
fn a_silent_connection_is_asked_and_then_given_up() {
    let mut l = two();
    l.handle(Event::Tick(0.5), 100.0);
    let (mut pings, mut given_up) = (0, None);
    for i in 1..60 {
        let commands = l.handle(Event::Tick(0.5), 100.0 + f64::from(i) * 100.0);
        pings += sent(&commands).iter().filter(|text| text.contains("ping")).count();
        if commands.contains(&Command::Disconnect) {
            given_up.get_or_insert(i);
        }
    }
    assert!(pings >= 3);
    assert!(given_up.is_some_and(|i| (37..=47).contains(&i)), "{given_up:?}");
}

#[test]
fn after_a_sleep_the_connection_has_two_seconds_to_prove_itself() {
    let mut l = two();
    l.handle(Event::Tick(0.5), 100.0);
    let commands = l.handle(Event::Tick(0.5), 3_600_000.0);
    assert!(sent(&commands)[0].contains("ping") && !commands.contains(&Command::Disconnect));
    let mut given_up = None;
    for i in 1..60 {
        let commands = l.handle(Event::Tick(0.5), 3_600_000.0 + f64::from(i) * 100.0);
        if commands.contains(&Command::Disconnect) {
            given_up.get_or_insert(i);
        }
    }
    assert!(given_up.is_some_and(|i| (10..=20).contains(&i)), "{given_up:?}");
}

#[test]
fn when_nobody_wants_anything_nothing_is_connected_and_the_first_who_does_need_not_wait() {
    let mut l = two();
    l.handle(Event::Ask(1, Ask::Unsubscribe, 0.5), 10.0);
    l.handle(Event::Ask(2, Ask::Unsubscribe, 0.5), 10.0);
    l.handle(Event::Closed(1, 1006, 0.5), 20.0);
    for i in 0..300 {
        let commands = l.handle(Event::Tick(0.5), 20.0 + f64::from(i) * 100.0);
        assert_eq!(commands, [], "{i}");
    }
    let commands = l.handle(Event::Ask(2, Ask::Subscribe(CAM), 0.5), 60_000.0);
    assert!(commands.contains(&Command::Connect(2)));
}

#[test]
fn a_network_that_is_back_is_used_at_once() {
    let mut l = two();
    l.handle(Event::Closed(1, 1006, 1.0), 20.0);
    assert!(l.handle(Event::NetworkBack, 21.0).contains(&Command::Connect(2)));
}

#[test]
fn a_request_without_an_answer_is_made_again_and_the_third_time_the_connection_is_to_blame() {
    let mut l = link();
    join(&mut l, 1, "gate");
    l.handle(Event::Open(1), 1.0);
    let (mut asked, mut given_up) = (0, None);
    for i in 0..200 {
        let now_ms = f64::from(i) * 100.0;
        // The server is there, but for the answer.
        text(&mut l, &ServerMessage::Pong { client_time_ms: now_ms, time_us: 0 }, now_ms);
        let commands = l.handle(Event::Tick(0.5), now_ms);
        asked += sent(&commands).iter().filter(|text| text.contains("subscribe")).count();
        if commands.contains(&Command::Disconnect) {
            given_up.get_or_insert(now_ms);
        }
    }
    assert_eq!(asked, 2);
    assert!(given_up.is_some_and(|ms| (3_000.0..6_000.0).contains(&ms)), "{given_up:?}");
}

#[test]
fn a_server_of_another_version_is_not_asked_again() {
    let mut l = two();
    let error = ServerMessage::Error {
        code: ErrorCode::UnsupportedVersion,
        message: "no".into(),
        retryable: false,
        stream: None,
    };
    let commands = text(&mut l, &error, 5.0);
    assert_eq!((commands[0].clone(), told(&commands)), (Command::Disconnect, vec![1, 2]));
    for i in 0..300 {
        assert_eq!(l.handle(Event::Tick(0.5), f64::from(i) * 100.0), []);
    }
    assert!(!l.takes(&["avc1".into()], "hall"));
}

#[test]
fn another_height_is_told_only_to_a_server_that_knows_the_word() {
    let mut l = two();
    let ask = || Event::Ask(1, Ask::MaxHeight(Some(180)), 0.5);
    assert_eq!(l.handle(ask(), 5.0), []);
    let welcome = |features: &[&str]| ServerMessage::Welcome {
        versions: vec![1],
        server: "sightline".into(),
        time_us: 0,
        features: features.iter().map(|&feature| feature.into()).collect(),
    };
    text(&mut l, &welcome(&["later"]), 6.0);
    assert_eq!(l.handle(ask(), 6.0), []);
    text(&mut l, &welcome(&["quality"]), 7.0);
    let commands = l.handle(ask(), 8.0);
    assert_eq!(sent(&commands), [r#"{"type":"quality","stream":"gate","max_height":180}"#]);
    // On the next connection the subscription says it.
    l.handle(Event::Closed(1, 1006, 0.5), 9.0);
    l.handle(Event::NetworkBack, 9.0);
    let commands = l.handle(Event::Open(2), 10.0);
    assert!(sent(&commands)[1].ends_with(r#""audio":false,"max_height":180}"#), "{commands:?}");
}

proptest! {
    /// Whatever sessions do and servers say, media goes to a session that wants it, and a server that then behaves is
    /// subscribed at.
    #[test]
    fn whoever_wants_a_stream_gets_it_from_a_server_that_behaves_at_last(
        steps in proptest::collection::vec((0u8..12, 0u32..4, 0u32..4), 1..120)
    ) {
        let mut l = link();
        let mut here = [false; 4];
        let mut wants = [false; 4];
        let name = |i: u32| format!("s{i}");
        let mut now_ms = 0.0;
        for (step, i, number) in steps {
            now_ms += 70.0;
            let connection = l.connection;
            let at = i as usize;
            let commands = match step {
                0 if !here[at] => { here[at] = true; l.handle(Event::Joined { member: i, stream: name(i) }, now_ms) }
                1 => { here[at] = false; wants[at] = false; l.handle(Event::Left(i), now_ms) }
                2 | 3 if here[at] => { wants[at] = true; l.handle(Event::Ask(i, Ask::Subscribe(CAM), 0.5), now_ms) }
                4 => { wants[at] = false; l.handle(Event::Ask(i, Ask::Unsubscribe, 0.5), now_ms) }
                5 => l.handle(Event::Ask(i, Ask::Reconnect("why".into()), 0.5), now_ms),
                6 => l.handle(Event::Open(connection), now_ms),
                7 => l.handle(Event::Closed(connection, 1006, 0.5), now_ms),
                8 => text(&mut l, &subscribed(&name(i), number), now_ms),
                9 => text(&mut l, &ServerMessage::Unsubscribed { stream: name(i), number }, now_ms),
                10 => text(&mut l, &unknown(&name(i)), now_ms),
                _ => l.handle(Event::Tick(0.5), now_ms),
            };
            for command in commands {
                if let Command::Tell(member, News::Message(ServerMessage::Error { .. })) = command {
                    wants[member as usize] = false;
                }
                if let Command::Move(member, stream, _) = command {
                    prop_assert_eq!(stream, name(member));
                    here[member as usize] = false;
                    wants[member as usize] = false;
                }
            }
            if let Some(member) = l.on_fragment(l.connection, number, now_ms) {
                prop_assert!(wants[member as usize], "{} has media and does not want it", member);
            }
        }
        // From here on the server answers everything, once and in order, on whatever connection there is.
        for _ in 0..600 {
            now_ms += 100.0;
            let mut queue = std::collections::VecDeque::from(l.handle(Event::Tick(0.5), now_ms));
            while let Some(command) = queue.pop_front() {
                let more = match command {
                    Command::Connect(number) => l.handle(Event::Open(number), now_ms),
                    Command::Send(text_sent) => match serde_json::from_str(&text_sent).expect("a message") {
                        ClientMessage::Subscribe { stream, .. } => {
                            let i: u32 = stream[1..].parse().expect("s0");
                            text(&mut l, &subscribed(&stream, i), now_ms)
                        }
                        ClientMessage::Ping { client_time_ms } =>
                            text(&mut l, &ServerMessage::Pong { client_time_ms, time_us: 0 }, now_ms),
                        _ => vec![],
                    },
                    _ => vec![],
                };
                queue.extend(more);
            }
        }
        for i in 0..4u32 {
            let media = l.on_fragment(l.connection, i, now_ms);
            if wants[i as usize] {
                // Without a fragment the link cannot know that its number is still right: a liar's may stand.
                prop_assert!(l.is_up() && l.members.iter().any(|m| m.id == Some(i) && m.number.is_some() && m.owed == 0), "{i}: {:?}", l);
            } else {
                prop_assert!(media != Some(i));
            }
        }
    }
}
