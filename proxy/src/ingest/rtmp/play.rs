//! PURE: the client side of an RTMP connection: connect to a server and play one of its streams.

use bytes::Bytes;
use rml_rtmp::{messages::UserControlEventType, rml_amf0::Amf0Value};

use super::{
    amf::Value,
    flv,
    link::{self, Command, Incoming, Link, object, text},
};

/// What a `NetConnection` says when the user may not: servers write the reason into the description.
const AUTH_WORDS: [&str; 4] = ["auth", "password", "token", "denied"];

/// What happens on a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The server says that it plays.
    Playing,
    /// A tag of what it plays, and its time in milliseconds modulo 2^32.
    Tag(flv::Kind, u32, Bytes),
    /// The publisher there ended the stream.
    Ended,
}

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The connection itself.
    #[error(transparent)]
    Link(#[from] link::Error),
    /// The server says no. Its words are for people.
    #[error("{0}")]
    Refused(String),
    /// It wants to know who asks.
    #[error("{0}")]
    Unauthorized(String),
    /// It has no such stream.
    #[error("{0}")]
    NotFound(String),
}

/// What to play.
#[derive(Clone)]
pub struct Target {
    /// The application.
    pub application: String,
    /// The stream's name there, with its query.
    pub name: String,
    /// The address up to the application.
    pub address: String,
}

const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 2.0;
const PLAY: f64 = 3.0;

/// A live stream, and not a recording of this name (`start` of `play`, in milliseconds).
const LIVE: f64 = -1000.0;

/// How much we say we buffer: servers send this much at once and then in time.
const BUFFER_MS: u32 = 1000;

/// A connection to a server.
pub struct Play {
    link: Link,
    target: Target,
}

impl std::fmt::Debug for Play {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Play").field("link", &self.link).finish_non_exhaustive()
    }
}

impl Play {
    /// Begins; what is to be sent is there at once.
    pub fn new(target: Target) -> Result<Self, Error> {
        Ok(Self { link: Link::client()?, target })
    }

    /// What is to be sent; the owner of the socket takes it away.
    pub fn outgoing(&mut self) -> &mut Vec<u8> {
        self.link.outgoing()
    }

    /// Reads from `input` up to the next event. Gives how many bytes were used, and the event; 0 and none when nothing
    /// more can be said.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Event>), Error> {
        link::read_event(self, input, |end| &mut end.link, Self::incoming)
    }

    fn incoming(&mut self, incoming: Incoming) -> Result<Option<Event>, Error> {
        match incoming {
            Incoming::Shaken => self.connect()?,
            Incoming::Command(command) => return self.command(&command),
            Incoming::Tag(kind, time_ms, payload) => return Ok(Some(Event::Tag(kind, time_ms, payload))),
            Incoming::StreamEof => return Ok(Some(Event::Ended)),
            Incoming::Data(_) => {}
        }
        Ok(None)
    }

    fn connect(&mut self) -> Result<(), Error> {
        let number = Amf0Value::Number;
        let codecs = ["avc1", "hvc1", "av01", "mp4a", "Opus", "fLaC"].map(text).to_vec();
        // Flags of Flash's own: which of its sound and picture codecs we know, as ffmpeg and librtmp say them.
        let properties = object([
            ("app", text(&self.target.application)),
            ("tcUrl", text(&self.target.address)),
            ("flashVer", text(concat!("Sightline/", env!("CARGO_PKG_VERSION")))),
            ("fpad", Amf0Value::Boolean(false)),
            ("capabilities", number(15.0)),
            ("audioCodecs", number(4071.0)),
            ("videoCodecs", number(252.0)),
            ("videoFunction", number(1.0)),
            ("objectEncoding", number(0.0)),
            ("fourCcList", Amf0Value::StrictArray(codecs)),
        ]);
        self.link.open()?;
        Ok(self.link.command(0, "connect", CONNECT, properties, vec![])?)
    }

    fn command(&mut self, command: &Command) -> Result<Option<Event>, Error> {
        match (command.name.as_str(), command.transaction) {
            ("_result", CONNECT) => {
                self.link.command(0, "createStream", CREATE_STREAM, Amf0Value::Null, vec![])?;
            }
            ("_result", CREATE_STREAM) => {
                let id = command.argument(1).and_then(Value::as_number).unwrap_or(1.0) as u32;
                let arguments = vec![text(&self.target.name), Amf0Value::Number(LIVE)];
                self.link.stream_event(UserControlEventType::SetBufferLength, id, Some(BUFFER_MS))?;
                self.link.command(id, "play", PLAY, Amf0Value::Null, arguments)?;
            }
            ("_error", CONNECT | CREATE_STREAM | PLAY) | ("onStatus" | "close", _) => {
                return Self::status(command);
            }
            _ => {}
        }
        Ok(None)
    }

    fn status(command: &Command) -> Result<Option<Event>, Error> {
        let property = |name| command.argument(1).and_then(|info| info.get(name)).and_then(Value::as_text);
        let (level, code) = (property("level").unwrap_or_default(), property("code").unwrap_or_default());
        match code {
            "NetStream.Play.Start" => return Ok(Some(Event::Playing)),
            "NetStream.Play.UnpublishNotify" | "NetStream.Play.Stop" | "NetStream.Play.Complete" => {
                return Ok(Some(Event::Ended));
            }
            _ => {}
        }
        if level != "error" && command.name == "onStatus" {
            return Ok(None);
        }
        let said = [code, property("description").unwrap_or_default()].join(" ");
        let said: String = said.trim().chars().filter(|c| !c.is_control()).take(200).collect();
        let lower = said.to_lowercase();
        Err(if code == "NetStream.Play.StreamNotFound" {
            Error::NotFound(said)
        } else if AUTH_WORDS.iter().any(|word| lower.contains(word)) {
            Error::Unauthorized(said)
        } else {
            Error::Refused(if said.is_empty() { "the server closed the connection".into() } else { said })
        })
    }
}
