//! The client's side against `rml_rtmp`'s server.

use bytes::Bytes;
use rml_rtmp::{
    handshake::{Handshake, HandshakeProcessResult, PeerType},
    sessions::{ServerSession, ServerSessionConfig, ServerSessionEvent, ServerSessionResult},
    time::RtmpTimestamp,
};

use super::{
    flv,
    play::{Error, Event, Play, Target},
};

/// A server, and the client that talks to it.
struct Server {
    play: Play,
    session: ServerSession,
    to_play: Vec<u8>,
    requests: Vec<ServerSessionEvent>,
}

impl Server {
    fn shaken() -> Self {
        let target = Target {
            application: "live".into(),
            name: "gate?token=t".into(),
            address: "rtmp://h/live".into(),
        };
        let mut play = Play::new(target).expect("begins");
        let mut handshake = Handshake::new(PeerType::Server);
        let mut left_over = Vec::new();
        loop {
            let from_play = std::mem::take(play.outgoing());
            match handshake.process_bytes(&from_play).expect("a handshake") {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    assert_eq!(feed(&mut play, &response_bytes), Ok(vec![]));
                }
                HandshakeProcessResult::Completed { remaining_bytes, .. } => {
                    left_over.extend(remaining_bytes);
                    break;
                }
            }
        }
        let (session, results) = ServerSession::new(ServerSessionConfig::new()).expect("a server");
        let mut server = Self { play, session, to_play: Vec::new(), requests: Vec::new() };
        server.take(results);
        let results = server.session.handle_input(&left_over).expect("reads");
        server.take(results);
        server
    }

    fn take(&mut self, results: Vec<ServerSessionResult>) {
        for result in results {
            match result {
                ServerSessionResult::OutboundResponse(packet) => self.to_play.extend(packet.bytes),
                ServerSessionResult::RaisedEvent(event) => self.requests.push(event),
                ServerSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
    }

    /// Lets both talk until neither has anything to say.
    fn talk(&mut self) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        loop {
            let bytes = std::mem::take(&mut self.to_play);
            events.extend(feed(&mut self.play, &bytes)?);
            let answer = std::mem::take(self.play.outgoing());
            if answer.is_empty() && self.to_play.is_empty() {
                return Ok(events);
            }
            let results = self.session.handle_input(&answer).expect("reads");
            self.take(results);
        }
    }

    fn accept_next(&mut self) {
        let id = self.requests.iter().rev().find_map(|event| match event {
            ServerSessionEvent::ConnectionRequested { request_id, .. }
            | ServerSessionEvent::PlayStreamRequested { request_id, .. } => Some(*request_id),
            _ => None,
        });
        let results = self.session.accept_request(id.expect("a request")).expect("accepts");
        self.take(results);
    }
}

fn feed(play: &mut Play, mut bytes: &[u8]) -> Result<Vec<Event>, Error> {
    let mut events = Vec::new();
    loop {
        let (used, event) = play.read(bytes)?;
        bytes = &bytes[used..];
        match event {
            Some(event) => events.push(event),
            None if used == 0 => return Ok(events),
            None => {}
        }
    }
}

#[test]
fn a_stream_is_asked_for_and_played() {
    let mut server = Server::shaken();
    assert_eq!(server.talk(), Ok(vec![]));
    server.accept_next();
    assert_eq!(server.talk(), Ok(vec![]));
    let Some(ServerSessionEvent::PlayStreamRequested { app_name, stream_key, stream_id, .. }) =
        server.requests.last().cloned()
    else {
        panic!("{:?}", server.requests)
    };
    assert_eq!((app_name.as_str(), stream_key.as_str()), ("live", "gate?token=t"));
    server.accept_next();
    assert_eq!(server.talk(), Ok(vec![Event::Playing]));

    let data = Bytes::from(vec![7; 10_000]);
    let packet = server.session.send_video_data(stream_id, data.clone(), RtmpTimestamp::new(90_000), false);
    server.to_play.extend(packet.expect("serialises").bytes);
    assert_eq!(server.talk(), Ok(vec![Event::Tag(flv::Kind::Video, 90_000, data)]));
    let packet = server.session.finish_playing(stream_id).expect("serialises");
    server.to_play.extend(packet.bytes);
    assert_eq!(server.talk(), Ok(vec![Event::Ended]));
}

#[test]
fn a_server_that_says_no_is_quoted() {
    for (code, description, expected) in [
        ("NetStream.Play.StreamNotFound", "no such stream", "NotFound"),
        (
            "NetConnection.Connect.Rejected",
            "[ AccessManager.Reject ] : authorization required",
            "Unauthorized",
        ),
        ("NetConnection.Connect.InvalidApp", "no\nsuch application", "Refused"),
    ] {
        let mut server = Server::shaken();
        assert_eq!(server.talk(), Ok(vec![]));
        let id = match server.requests.last() {
            Some(ServerSessionEvent::ConnectionRequested { request_id, .. }) => *request_id,
            other => panic!("{other:?}"),
        };
        let results = server.session.reject_request(id, code, description).expect("rejects");
        server.take(results);
        let error = server.talk().expect_err("refused");
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
        assert!(!error.to_string().contains('\n') && error.to_string().starts_with(code), "{error}");
    }
}
