//! PURE: the server side of an RTMP connection: an encoder connects, says what it wants to publish, and publishes.
//!
//! Whether it may is not decided here: [`Event::Publish`] asks, and the owner answers with [`Session::accept`] or
//! [`Session::refuse`].

use bytes::Bytes;
use rml_rtmp::{messages::UserControlEventType, rml_amf0::Amf0Value};

use super::{
    amf::Value,
    flv,
    link::{self, Command, Incoming, Link, object, text},
};

/// The application encoders connect to: `rtmp://host/live/NAME`.
pub const APPLICATION: &str = "live";

/// Message streams of one connection.
const MAX_STREAMS: u32 = 16;

/// The longest name or key that is looked at, in bytes.
const MAX_NAME_LEN: usize = 1024;

/// What we pass on, as Enhanced RTMP's capability flags spell it: a server forwards (bit 2).
const CAN_FORWARD: f64 = 4.0;

/// Capabilities (Enhanced RTMP v2, "capsEx"): modifiers and nanosecond offsets are understood.
const CAPS_EX: f64 = (4 | 8) as f64;

/// Enhanced RTMP's names of the pictures that are passed on.
const VIDEO_FOURCC: [&str; 3] = ["avc1", "hvc1", "av01"];

/// Enhanced RTMP's names of the sound that is passed on.
const AUDIO_FOURCC: [&str; 3] = ["mp4a", "Opus", "fLaC"];

/// What happens on a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The encoder asks to publish, and waits for an answer.
    Publish(Request),
    /// A tag of what it publishes, and its time in milliseconds modulo 2^32.
    Tag(flv::Kind, u32, Bytes),
    /// `onMetaData`.
    Metadata(Value),
    /// It ends what it published.
    Unpublish,
}

/// What an encoder asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The name of the stream.
    pub name: String,
    /// The key, where one is given.
    pub key: Option<String>,
    /// What it says it is: `flashVer`.
    pub agent: Option<String>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The connection itself.
    #[error(transparent)]
    Link(#[from] link::Error),
    /// Another application.
    #[error("it connected to the application {0:?}; the address is rtmp://HOST/{APPLICATION}/NAME")]
    Application(String),
    /// It wants to play.
    #[error("it asked to play; RTMP only takes streams in here")]
    Play,
    /// Something before its time, or twice.
    #[error("{command} {when}")]
    Order {
        /// The command.
        command: &'static str,
        /// Why it does not fit.
        when: &'static str,
    },
    /// A name without end.
    #[error("a name of {0} bytes; at most {MAX_NAME_LEN} are looked at")]
    NameLength(usize),
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Bytes that belong to the handshake.
    Handshake,
    /// The handshake is done; nothing is published.
    Idle,
    /// It waits to hear whether it may publish on this message stream.
    Asking(u32),
    /// It publishes on this message stream.
    Publishing(u32),
}

/// An encoder's connection.
#[derive(Debug)]
pub struct Session {
    link: Link,
    phase: Phase,
    connected: Option<Connected>,
    streams: u32,
}

#[derive(Clone, Debug, Default)]
struct Connected {
    application: String,
    key: Option<String>,
    agent: Option<String>,
}

impl Default for Session {
    fn default() -> Self {
        Self { link: Link::server(), phase: Phase::Handshake, connected: None, streams: 0 }
    }
}

impl Session {
    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What is to be sent; the owner of the socket takes it away.
    pub fn outgoing(&mut self) -> &mut Vec<u8> {
        self.link.outgoing()
    }

    /// Reads from `input` up to the next event. Gives how many bytes were used, and the event; 0 and none when nothing
    /// more can be said. After [`Event::Publish`] answer before reading on.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Event>), Error> {
        link::read_event(self, input, |end| &mut end.link, Self::incoming)
    }

    /// Lets it publish.
    pub fn accept(&mut self) -> Result<(), Error> {
        if let Phase::Asking(stream_id) = self.phase {
            self.phase = Phase::Publishing(stream_id);
            self.link.expect_media();
            self.link.stream_event(UserControlEventType::StreamBegin, stream_id, None)?;
            self.status(stream_id, "status", "NetStream.Publish.Start", "published")?;
        }
        Ok(())
    }

    /// Does not let it publish. Encoders show `description` to their users.
    pub fn refuse(&mut self, description: &str) -> Result<(), Error> {
        if let Phase::Asking(stream_id) = self.phase {
            self.phase = Phase::Idle;
            self.status(stream_id, "error", "NetStream.Publish.BadName", description)?;
        }
        Ok(())
    }

    /// Says why what it publishes is not taken any more.
    pub fn dismiss(&mut self, description: &str) -> Result<(), Error> {
        if let Phase::Publishing(stream_id) = self.phase {
            self.phase = Phase::Idle;
            self.status(stream_id, "error", "NetStream.Publish.Rejected", description)?;
        }
        Ok(())
    }

    fn status(&mut self, stream_id: u32, level: &str, code: &str, description: &str) -> Result<(), Error> {
        let info = object([("level", text(level)), ("code", text(code)), ("description", text(description))]);
        Ok(self.link.command(stream_id, "onStatus", 0.0, Amf0Value::Null, vec![info])?)
    }

    fn incoming(&mut self, incoming: Incoming) -> Result<Option<Event>, Error> {
        match incoming {
            Incoming::Shaken => self.phase = Phase::Idle,
            Incoming::Command(command) => return self.command(&command),
            Incoming::Tag(kind, time_ms, payload) => {
                if matches!(self.phase, Phase::Publishing(_)) {
                    return Ok(Some(Event::Tag(kind, time_ms, payload)));
                }
            }
            Incoming::Data(values) => return Ok(metadata(values).map(Event::Metadata)),
            Incoming::StreamEof => {}
        }
        Ok(None)
    }

    fn command(&mut self, command: &Command) -> Result<Option<Event>, Error> {
        if command.name == "connect" {
            return self.connect(command).map(|()| None);
        }
        if self.connected.is_none() {
            return Err(Error::Order { command: "a command", when: "before connect" });
        }
        match command.name.as_str() {
            "createStream" => {
                if self.streams >= MAX_STREAMS {
                    return Err(Error::Order {
                        command: "createStream",
                        when: "more often than any encoder does",
                    });
                }
                self.streams += 1;
                let id = Amf0Value::Number(f64::from(self.streams));
                self.link.command(0, "_result", command.transaction, Amf0Value::Null, vec![id])?;
            }
            // What Adobe's own encoders do around publish; some wait for the answer.
            "releaseStream" | "_checkbw" => self.answer(command)?,
            "FCPublish" => {
                self.answer(command)?;
                self.fc_status("onFCPublish", "NetStream.Publish.Start", command)?;
            }
            "FCUnpublish" => {
                self.answer(command)?;
                self.fc_status("onFCUnpublish", "NetStream.Unpublish.Success", command)?;
            }
            "publish" => return self.publish(command).map(Some),
            "closeStream" => return self.unpublish(command, Some(command.stream_id)),
            "deleteStream" => {
                let id = command.argument(1).and_then(Value::as_number).map(|id| id as u32);
                return self.unpublish(command, id);
            }
            "play" | "play2" => {
                self.status(
                    command.stream_id,
                    "error",
                    "NetStream.Play.Failed",
                    "RTMP only takes streams in here",
                )?;
                return Err(Error::Play);
            }
            _ if command.transaction > 0.0 && !command.name.starts_with('_') => {
                let info = object([("level", text("error")), ("code", text("NetConnection.Call.Failed"))]);
                self.link.command(
                    command.stream_id,
                    "_error",
                    command.transaction,
                    Amf0Value::Null,
                    vec![info],
                )?;
            }
            _ => {}
        }
        Ok(None)
    }

    /// An empty answer, where one is wanted.
    fn answer(&mut self, command: &Command) -> Result<(), Error> {
        if command.transaction > 0.0 {
            let nothing = vec![Amf0Value::Undefined];
            self.link.command(command.stream_id, "_result", command.transaction, Amf0Value::Null, nothing)?;
        }
        Ok(())
    }

    fn fc_status(&mut self, name: &str, code: &str, command: &Command) -> Result<(), Error> {
        // The name comes back without the key behind it.
        let stream = command.text(1).unwrap_or_default().split('?').next().unwrap_or_default();
        let stream: String = stream.chars().take(64).collect();
        let info = object([("code", text(code)), ("description", text(&stream))]);
        Ok(self.link.command(command.stream_id, name, 0.0, Amf0Value::Null, vec![info])?)
    }

    fn connect(&mut self, command: &Command) -> Result<(), Error> {
        if self.connected.is_some() {
            return Err(Error::Order { command: "connect", when: "twice" });
        }
        let properties = command.argument(0);
        let property = |name| properties.and_then(|object| object.get(name));
        let app = property("app").and_then(Value::as_text).unwrap_or_default();
        if app.len() > MAX_NAME_LEN {
            return Err(Error::NameLength(app.len()));
        }
        let (path, query) = split_query(app);
        let path = path.trim_matches('/');
        let mut info = vec![
            ("level", text("status")),
            ("code", text("NetConnection.Connect.Success")),
            ("description", text("connected")),
            ("objectEncoding", Amf0Value::Number(0.0)),
        ];
        if path != APPLICATION && !path.starts_with(&format!("{APPLICATION}/")) {
            let shown: String = path.chars().take(64).collect();
            let error = Error::Application(shown);
            let rejected = object([
                ("level", text("error")),
                ("code", text("NetConnection.Connect.Rejected")),
                ("description", text(&error.to_string())),
            ]);
            self.link.open()?;
            self.link.command(0, "_error", command.transaction, Amf0Value::Null, vec![rejected])?;
            return Err(error);
        }
        let agent = property("flashVer").and_then(Value::as_text).map(ToOwned::to_owned);
        self.connected = Some(Connected { application: path.to_owned(), key: key_of(query), agent });
        // Only who asks in Enhanced RTMP's terms is answered in them.
        if ["fourCcList", "capsEx", "videoFourCcInfoMap", "audioFourCcInfoMap"]
            .iter()
            .any(|name| property(name).is_some())
        {
            let list = VIDEO_FOURCC.iter().chain(&AUDIO_FOURCC).map(|name| text(name)).collect();
            let map =
                |names: [&'static str; 3]| object(names.map(|name| (name, Amf0Value::Number(CAN_FORWARD))));
            info.push(("fourCcList", Amf0Value::StrictArray(list)));
            info.push(("videoFourCcInfoMap", map(VIDEO_FOURCC)));
            info.push(("audioFourCcInfoMap", map(AUDIO_FOURCC)));
            info.push(("capsEx", Amf0Value::Number(CAPS_EX)));
        }
        let info =
            Amf0Value::Object(info.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        // Encoders look for a version they know; nginx says the same.
        let server = object([("fmsVer", text("FMS/3,0,1,123")), ("capabilities", Amf0Value::Number(31.0))]);
        self.link.open()?;
        self.link.stream_event(UserControlEventType::StreamBegin, 0, None)?;
        Ok(self.link.command(0, "_result", command.transaction, server, vec![info])?)
    }

    fn publish(&mut self, command: &Command) -> Result<Event, Error> {
        if self.phase != Phase::Idle {
            return Err(Error::Order { command: "publish", when: "while publishing" });
        }
        let given = command.text(1).unwrap_or_default();
        if given.len() > MAX_NAME_LEN {
            return Err(Error::NameLength(given.len()));
        }
        let connected = self.connected.clone().unwrap_or_default();
        let (path, query) = split_query(given);
        // Encoders cut the address in different places: live + NAME, live/NAME + nothing, or nothing + live/NAME.
        let inside = connected.application.strip_prefix(APPLICATION).unwrap_or_default();
        let path = [inside, path].join("/");
        let name = path.trim_matches('/').to_owned();
        self.phase = Phase::Asking(command.stream_id);
        Ok(Event::Publish(Request { name, key: key_of(query).or(connected.key), agent: connected.agent }))
    }

    fn unpublish(&mut self, command: &Command, stream_id: Option<u32>) -> Result<Option<Event>, Error> {
        let Phase::Publishing(published) = self.phase else { return Ok(None) };
        // Some encoders close a stream without saying which.
        if stream_id.is_some_and(|id| id != published && id != 0) {
            return Ok(None);
        }
        self.phase = Phase::Idle;
        self.answer(command)?;
        self.status(published, "status", "NetStream.Unpublish.Success", "ended")?;
        Ok(Some(Event::Unpublish))
    }
}

/// The values of `onMetaData`, which encoders send with and without `@setDataFrame` before it.
fn metadata(values: Vec<Value>) -> Option<Value> {
    let mut values = values.into_iter().skip_while(|value| value.as_text() == Some("@setDataFrame"));
    values.next().filter(|name| name.as_text() == Some("onMetaData"))?;
    values.next()
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

/// `key=…` of a query.
fn key_of(query: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "key")
        .map(|(_, key)| key.into_owned())
}
