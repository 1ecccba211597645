//! The server's session against an encoder made of `rml_rtmp`'s own parts: they write what we read and read what we write.

use bytes::Bytes;
use rml_rtmp::{
    chunk_io::{ChunkDeserializer, ChunkSerializer},
    handshake::{Handshake, HandshakeProcessResult, PeerType},
    messages::{MessagePayload, RtmpMessage},
    rml_amf0::Amf0Value,
    time::RtmpTimestamp,
};

use super::{
    flv,
    link::{self, object, text},
    session::{Error, Event, Phase, Session},
};

/// An encoder, and the session it talks to.
struct Encoder {
    session: Session,
    writer: ChunkSerializer,
    reader: ChunkDeserializer,
    events: Vec<Event>,
    answers: Vec<RtmpMessage>,
}

impl Encoder {
    /// One whose handshake is done.
    fn shaken() -> Self {
        let mut encoder = Self {
            session: Session::default(),
            writer: ChunkSerializer::new(),
            reader: ChunkDeserializer::new(),
            events: Vec::new(),
            answers: Vec::new(),
        };
        let mut handshake = Handshake::new(PeerType::Client);
        let mut bytes = handshake.generate_outbound_p0_and_p1().expect("C0 and C1");
        loop {
            feed(&mut encoder.session, &bytes).expect("a handshake");
            let answer = std::mem::take(encoder.session.outgoing());
            match handshake.process_bytes(&answer).expect("S0, S1 and S2") {
                HandshakeProcessResult::InProgress { response_bytes } => bytes = response_bytes,
                HandshakeProcessResult::Completed { response_bytes, .. } => {
                    feed(&mut encoder.session, &response_bytes).expect("C2");
                    assert_eq!(encoder.session.phase(), Phase::Idle);
                    return encoder;
                }
            }
        }
    }

    /// One that is connected to this application and has a message stream.
    fn connected(application: &str) -> Self {
        let mut encoder = Self::shaken();
        encoder.connect(application, []).expect("accepted");
        encoder.command(0, "createStream", 2.0, vec![]).expect("accepted");
        encoder.answers.clear();
        encoder
    }

    fn send(&mut self, stream_id: u32, message: RtmpMessage) -> Result<(), Error> {
        let payload = message.into_message_payload(RtmpTimestamp::new(0), stream_id).expect("serialises");
        self.send_payload(&payload)
    }

    fn send_payload(&mut self, payload: &MessagePayload) -> Result<(), Error> {
        let packet = self.writer.serialize(payload, false, false).expect("serialises");
        let result = feed(&mut self.session, &packet.bytes);
        let answers = std::mem::take(self.session.outgoing());
        let mut answer = self.reader.get_next_message(&answers).expect("chunks");
        while let Some(payload) = answer {
            let message = payload.to_rtmp_message().expect("a message");
            if let RtmpMessage::SetChunkSize { size } = &message {
                self.reader.set_max_chunk_size(*size as usize).expect("a size");
            }
            self.answers.push(message);
            answer = self.reader.get_next_message(&[]).expect("chunks");
        }
        self.events.extend(result?);
        Ok(())
    }

    fn command(
        &mut self,
        stream_id: u32,
        name: &str,
        transaction: f64,
        arguments: Vec<Amf0Value>,
    ) -> Result<(), Error> {
        let command = RtmpMessage::Amf0Command {
            command_name: name.into(),
            transaction_id: transaction,
            command_object: Amf0Value::Null,
            additional_arguments: arguments,
        };
        self.send(stream_id, command)
    }

    fn connect<const N: usize>(
        &mut self,
        application: &str,
        more: [(&str, Amf0Value); N],
    ) -> Result<(), Error> {
        let Amf0Value::Object(mut properties) =
            object([("app", text(application)), ("flashVer", text("FMLE/3.0"))])
        else {
            unreachable!("an object")
        };
        properties.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let command = RtmpMessage::Amf0Command {
            command_name: "connect".into(),
            transaction_id: 1.0,
            command_object: Amf0Value::Object(properties),
            additional_arguments: vec![],
        };
        self.send(0, command)
    }

    /// The names of the commands we answered with, each with the code in its last argument.
    fn answered(&self) -> Vec<(String, String)> {
        let commands = self.answers.iter().filter_map(|message| match message {
            RtmpMessage::Amf0Command { command_name, additional_arguments, .. } => {
                let code = additional_arguments.last().cloned().and_then(Amf0Value::get_object_properties);
                let code = code.and_then(|mut info| info.remove("code")?.get_string()).unwrap_or_default();
                Some((command_name.clone(), code))
            }
            _ => None,
        });
        commands.collect()
    }

    fn asked(&mut self) -> (String, Option<String>) {
        match self.events.pop() {
            Some(Event::Publish(request)) => (request.name, request.key),
            other => panic!("asked for nothing: {other:?}"),
        }
    }
}

/// Lets the session read `bytes` to their end.
fn feed(session: &mut Session, mut bytes: &[u8]) -> Result<Vec<Event>, Error> {
    let mut events = Vec::new();
    loop {
        let (used, event) = session.read(bytes)?;
        bytes = &bytes[used..];
        match event {
            Some(event) => events.push(event),
            None if used == 0 => return Ok(events),
            None => {}
        }
    }
}

fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn an_encoder_connects_publishes_and_ends() {
    let mut encoder = Encoder::shaken();
    encoder.connect("live", []).expect("accepted");
    assert_eq!(encoder.answered(), named(&[("_result", "NetConnection.Connect.Success")]));
    encoder.answers.clear();
    for (transaction, name) in [(2.0, "releaseStream"), (3.0, "FCPublish"), (4.0, "createStream")] {
        encoder.command(0, name, transaction, vec![text("gate?key=hunter2")]).expect("accepted");
    }
    assert_eq!(
        encoder.answered(),
        named(&[
            ("_result", ""),
            ("_result", ""),
            ("onFCPublish", "NetStream.Publish.Start"),
            ("_result", "")
        ])
    );
    assert!(!format!("{:?}", encoder.answers).contains("hunter2"), "the key is not said back");
    encoder.answers.clear();

    encoder.command(1, "publish", 5.0, vec![text("gate?key=hunter2"), text("live")]).expect("accepted");
    assert_eq!(encoder.asked(), ("gate".into(), Some("hunter2".into())));
    let tag = RtmpMessage::VideoData { data: Bytes::from_static(&[0x17, 0, 0, 0, 0]) };
    encoder.send(1, tag.clone()).expect("accepted");
    assert_eq!(encoder.events, [], "nothing before it may publish");

    encoder.session.accept().expect("accepted");
    encoder.send(1, tag).expect("accepted");
    assert_eq!(encoder.answered(), named(&[("onStatus", "NetStream.Publish.Start")]));
    assert_eq!(encoder.events, [Event::Tag(flv::Kind::Video, 0, Bytes::from_static(&[0x17, 0, 0, 0, 0]))]);

    encoder.events.clear();
    encoder.command(0, "FCUnpublish", 6.0, vec![text("gate")]).expect("accepted");
    encoder.command(0, "deleteStream", 7.0, vec![Amf0Value::Number(1.0)]).expect("accepted");
    assert_eq!(encoder.events, [Event::Unpublish]);
    assert_eq!(encoder.session.phase(), Phase::Idle);
}

#[test]
fn the_name_and_the_key_are_found_wherever_an_encoder_puts_them() {
    for (application, stream, name, key) in [
        ("live", "gate?key=a%20b", "gate", Some("a b")),
        ("live/", "/gate", "gate", None),
        ("live?key=k", "gate", "gate", Some("k")),
        ("live?key=k", "gate?key=nearer", "gate", Some("nearer")),
        ("live/gate?key=k", "", "gate", Some("k")),
        ("live", "gate?other=1&key=k", "gate", Some("k")),
        ("live", "a/b", "a/b", None),
        ("live", "", "", None),
    ] {
        let mut encoder = Encoder::connected(application);
        encoder.command(1, "publish", 3.0, vec![text(stream)]).expect("accepted");
        assert_eq!(encoder.asked(), (name.into(), key.map(Into::into)), "{application} {stream}");
    }
}

#[test]
fn a_refusal_is_a_bad_name() {
    let mut encoder = Encoder::connected("live");
    encoder.command(1, "publish", 3.0, vec![text("gate"), text("LIVE")]).expect("accepted");
    encoder.session.refuse("no").expect("said");
    assert_eq!(encoder.session.phase(), Phase::Idle);
    encoder.command(0, "FCUnpublish", 0.0, vec![]).expect("accepted");
    assert_eq!(
        encoder.answered(),
        named(&[("onStatus", "NetStream.Publish.BadName"), ("onFCUnpublish", "NetStream.Unpublish.Success")])
    );
}

#[test]
fn another_application_is_rejected_with_a_sentence() {
    let mut encoder = Encoder::shaken();
    assert_eq!(encoder.connect("vod", []), Err(Error::Application("vod".into())));
    assert_eq!(encoder.answered(), named(&[("_error", "NetConnection.Connect.Rejected")]));
}

#[test]
fn enhanced_capabilities_are_answered_to_those_who_ask() {
    let properties =
        |encoder: &Encoder| match encoder.answers.iter().rev().find(|m| m.get_message_type_id() == 20) {
            Some(RtmpMessage::Amf0Command { additional_arguments, .. }) => {
                additional_arguments[0].clone().get_object_properties().expect("an object")
            }
            other => panic!("{other:?}"),
        };
    let mut encoder = Encoder::shaken();
    encoder.connect("live", []).expect("accepted");
    assert!(!properties(&encoder).contains_key("fourCcList"));

    let mut encoder = Encoder::shaken();
    let list = Amf0Value::StrictArray(vec![text("av01"), text("hvc1")]);
    encoder.connect("live", [("fourCcList", list), ("capsEx", Amf0Value::Number(15.0))]).expect("accepted");
    let answered = properties(&encoder);
    assert_eq!(answered["capsEx"], Amf0Value::Number(12.0));
    let video = answered["videoFourCcInfoMap"].clone().get_object_properties().expect("an object");
    assert_eq!(video["hvc1"], Amf0Value::Number(4.0));
}

#[test]
fn metadata_comes_with_and_without_set_data_frame() {
    for values in [vec![text("@setDataFrame"), text("onMetaData")], vec![text("onMetaData")]] {
        let mut encoder = Encoder::connected("live");
        let values = [values, vec![object([("encoder", text("obs"))])]].concat();
        encoder.send(1, RtmpMessage::Amf0Data { values }).expect("accepted");
        let Some(Event::Metadata(metadata)) = encoder.events.pop() else { panic!("no metadata") };
        assert_eq!(metadata.get("encoder").and_then(|value| value.as_text()), Some("obs"));
    }
}

#[test]
fn broken_and_strange_data_is_passed_over() {
    let mut encoder = Encoder::connected("live");
    for (type_id, data) in [
        (18, &b"\x02\x00\x0d@setDataFrame"[..]),
        (18, b"\x02\xff\xff"),
        (15, b"\x00\x02\x00\x01a"),
        (15, b"\x11\x0a\x0b\x01"),
        (16, b"\x00"),
        (19, b""),
        (99, b"what is this"),
    ] {
        let data = Bytes::from_static(data);
        let payload =
            MessagePayload { timestamp: RtmpTimestamp::new(0), type_id, message_stream_id: 1, data };
        encoder.send_payload(&payload).unwrap_or_else(|error| panic!("{type_id}: {error}"));
    }
    assert_eq!(encoder.events, []);
    encoder.command(1, "publish", 3.0, vec![text("gate")]).expect("still alive");
    assert_eq!(encoder.asked().0, "gate");
}

#[test]
fn commands_of_amf3_are_read_behind_their_first_byte() {
    let mut encoder = Encoder::connected("live");
    let publish = RtmpMessage::Amf0Command {
        command_name: "publish".into(),
        transaction_id: 3.0,
        command_object: Amf0Value::Null,
        additional_arguments: vec![text("gate")],
    };
    let payload = publish.into_message_payload(RtmpTimestamp::new(0), 1).expect("serialises");
    let data = [&[0], &payload.data[..]].concat().into();
    encoder.send_payload(&MessagePayload { type_id: 17, data, ..payload }).expect("accepted");
    assert_eq!(encoder.asked().0, "gate");
}

#[test]
fn short_and_untimely_commands_end_the_session_with_a_reason() {
    let command = |payload: &'static [u8]| MessagePayload {
        timestamp: RtmpTimestamp::new(0),
        type_id: 20,
        message_stream_id: 0,
        data: Bytes::from_static(payload),
    };
    let mut encoder = Encoder::shaken();
    assert_eq!(encoder.send_payload(&command(b"\x02\x00\x01a")), Err(Error::Link(link::Error::Nameless(4))));
    let mut encoder = Encoder::shaken();
    let early = encoder.command(0, "createStream", 1.0, vec![]);
    assert_eq!(early, Err(Error::Order { command: "a command", when: "before connect" }));
    let mut encoder = Encoder::connected("live");
    assert!(encoder.connect("live", []).is_err(), "twice");
    let mut encoder = Encoder::connected("live");
    assert_eq!(encoder.command(1, "play", 3.0, vec![text("gate")]), Err(Error::Play));
    assert_eq!(encoder.answered(), named(&[("onStatus", "NetStream.Play.Failed")]));
    let mut encoder = Encoder::connected("live");
    let long = text(&"x".repeat(2000));
    assert_eq!(encoder.command(1, "publish", 3.0, vec![long]), Err(Error::NameLength(2000)));
}

#[test]
fn what_was_received_is_acknowledged_in_total() {
    let mut encoder = Encoder::connected("live");
    encoder.send(0, RtmpMessage::WindowAcknowledgement { size: 1 }).expect("accepted");
    encoder.answers.clear();
    for _ in 0..4 {
        encoder.send(1, RtmpMessage::AudioData { data: vec![0; 40_000].into() }).expect("accepted");
    }
    let totals = encoder.answers.iter().filter_map(|message| match message {
        RtmpMessage::Acknowledgement { sequence_number } => Some(*sequence_number),
        _ => None,
    });
    let totals: Vec<_> = totals.collect();
    assert_eq!(totals.len(), 2, "each 64 KiB at the most, whatever the peer asks");
    assert!(totals[0] > 65_536 && totals[1] > 2 * 65_536, "{totals:?}");
}

#[test]
fn a_ping_is_answered_with_its_own_time() {
    let mut encoder = Encoder::connected("live");
    let data = Bytes::from_static(&[0, 6, 0, 0, 1, 2]);
    let ping = MessagePayload { timestamp: RtmpTimestamp::new(0), type_id: 4, message_stream_id: 0, data };
    encoder.send_payload(&ping).expect("accepted");
    let Some(RtmpMessage::UserControl { timestamp, .. }) = encoder.answers.pop() else { panic!("no answer") };
    assert_eq!(timestamp, Some(RtmpTimestamp::new(0x102)));
}

#[test]
fn an_aggregate_message_gives_its_tags_one_by_one() {
    let mut encoder = Encoder::connected("live");
    encoder.command(1, "publish", 3.0, vec![text("gate")]).expect("accepted");
    encoder.events.clear();
    encoder.session.accept().expect("accepted");
    let tag = |kind: u8, time: u8, payload: &[u8]| {
        let mut tag = vec![kind, 0, 0, payload.len() as u8, 0, 0, time, 0, 0, 0, 0];
        tag.extend_from_slice(payload);
        tag.extend_from_slice(&[0, 0, 0, payload.len() as u8 + 11]);
        tag
    };
    let whole = [tag(9, 100, b"aa"), tag(18, 110, b"skipped"), tag(8, 120, b"b")].concat();
    let timestamp = RtmpTimestamp::new(5000);
    let payload = |data: &[u8]| MessagePayload {
        timestamp,
        type_id: 22,
        message_stream_id: 1,
        data: data.to_vec().into(),
    };
    encoder.send_payload(&payload(&whole)).expect("accepted");
    let expected = [
        Event::Tag(flv::Kind::Video, 5000, Bytes::from_static(b"aa")),
        Event::Tag(flv::Kind::Audio, 5020, Bytes::from_static(b"b")),
    ];
    assert_eq!(encoder.events, expected);
    let cut = encoder.send_payload(&payload(&whole[..12]));
    assert_eq!(cut, Err(Error::Link(link::Error::Aggregate { tag: 2, left: 1 })));
}

#[test]
fn nothing_is_said_before_the_encoder_has_begun() {
    let mut session = Session::default();
    assert_eq!(feed(&mut session, &[]), Ok(vec![]));
    assert!(session.outgoing().is_empty());
    assert_eq!(feed(&mut session, &[3]), Ok(vec![]));
    assert_eq!(session.outgoing().len(), 1 + 1536, "S0 and S1");
}

#[test]
fn a_handshake_of_another_version_is_refused() {
    let mut session = Session::default();
    assert!(matches!(feed(&mut session, &[6; 100]), Err(Error::Link(link::Error::Handshake(_)))));
}
