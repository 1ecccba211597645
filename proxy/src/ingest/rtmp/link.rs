//! PURE: what both ends of an RTMP connection have in common: handshake, chunks, acknowledgements, pings.
//!
//! Bytes from the peer go in, one [`Incoming`] at a time comes out; what is to be sent gathers in a buffer that the
//! owner of the socket takes. `rml_rtmp` makes the handshake and writes our messages; it sees nothing else of a peer's.

use bytes::{Buf as _, Bytes};
use rml_rtmp::{
    chunk_io::ChunkSerializer,
    handshake::{Handshake, HandshakeProcessResult, PeerType},
    messages::{PeerBandwidthLimitType, RtmpMessage, UserControlEventType},
    rml_amf0::Amf0Value,
    time::RtmpTimestamp,
};

use super::{
    amf::{self, Value},
    chunk::{self, ChunkReader, Message},
    flv,
};

/// C0 to C2, or S0 to S2 (specification 1.0, 5.2).
const HANDSHAKE_LEN: usize = 1 + 1536 + 1536;

/// We acknowledge at least every so many bytes, whatever the peer wants: what nginx and FMS ask for.
const WINDOW_BYTES: u32 = 2_500_000;

/// A peer that wants to be acknowledged more often than this would make us send more than it does.
const WINDOW_MIN_BYTES: u32 = 64 << 10;

/// The chunk size of what we send: every answer fits in one chunk.
const CHUNK_BYTES: u32 = 4096;

/// Length of a tag's header inside an aggregate message (Adobe's FLV specification 10.1, E.4.1).
const TAG_HEADER_LEN: usize = 11;

/// What a peer says.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The handshake is done.
    Shaken,
    /// A command.
    Command(Command),
    /// A data message's values, `onMetaData` for instance.
    Data(Vec<Value>),
    /// A tag of audio or video, and its time in milliseconds modulo 2^32.
    Tag(flv::Kind, u32, Bytes),
    /// The end of the stream that is played (user control event 1).
    StreamEof,
}

/// A command message (specification 1.0, 7.1.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The message stream it is about; 0 is the connection.
    pub stream_id: u32,
    /// Its name.
    pub name: String,
    /// What an answer repeats; 0 where none is wanted.
    pub transaction: f64,
    /// The command object and what follows it.
    pub arguments: Vec<Value>,
}

impl Command {
    /// The argument in this place, counted from the command object.
    pub fn argument(&self, place: usize) -> Option<&Value> {
        self.arguments.get(place)
    }

    /// The text in this place.
    pub fn text(&self, place: usize) -> Option<&str> {
        self.argument(place).and_then(Value::as_text)
    }
}

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The handshake.
    #[error("the RTMP handshake failed: {0}")]
    Handshake(String),
    /// Chunks that cannot be read.
    #[error(transparent)]
    Chunk(#[from] chunk::Error),
    /// A command that cannot be read.
    #[error("a command: {0}")]
    Command(amf::Error),
    /// A command without name or transaction.
    #[error("a command of {0} bytes without a name and a transaction number")]
    Nameless(usize),
    /// A tag in an aggregate message that reaches beyond its end.
    #[error("an aggregate message whose tag of {tag} bytes reaches beyond the {left} that are left")]
    Aggregate {
        /// The tag's length.
        tag: usize,
        /// What is left.
        left: usize,
    },
    /// What we want to send cannot be written.
    #[error("cannot write a message: {0}")]
    Write(String),
}

/// One end of a connection.
pub struct Link {
    /// Until it is done: the handshake and how many of the peer's bytes belong to it still.
    handshake: Option<(Handshake, usize)>,
    chunks: ChunkReader,
    writer: ChunkSerializer,
    out: Vec<u8>,
    received: u64,
    acknowledged: u64,
    window_bytes: u32,
    /// The rest of an aggregate message, its time, and how far its tags' own times lie from that.
    aggregate: Option<(Bytes, u32, Option<u32>)>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("received", &self.received).finish_non_exhaustive()
    }
}

impl Link {
    /// The end that was called.
    pub fn server() -> Self {
        Self::new(PeerType::Server)
    }

    /// The end that calls.
    pub fn client() -> Result<Self, Error> {
        let mut link = Self::new(PeerType::Client);
        if let Some((handshake, _)) = &mut link.handshake {
            link.out =
                handshake.generate_outbound_p0_and_p1().map_err(|e| Error::Handshake(e.to_string()))?;
        }
        Ok(link)
    }

    fn new(side: PeerType) -> Self {
        let chunks = match side {
            PeerType::Server => ChunkReader::of_stranger(),
            PeerType::Client => ChunkReader::default(),
        };
        Self {
            handshake: Some((Handshake::new(side), HANDSHAKE_LEN)),
            chunks,
            writer: ChunkSerializer::new(),
            out: Vec::new(),
            received: 0,
            acknowledged: 0,
            window_bytes: WINDOW_BYTES,
            aggregate: None,
        }
    }

    /// The peer has shown that it may send pictures.
    pub fn expect_media(&mut self) {
        self.chunks.expect_media();
    }

    /// What is to be sent; the owner of the socket takes it away.
    pub fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Reads from `input` up to the end of one message. Gives how many bytes were used, and what they say. An input may
    /// have to be given again, empty, until nothing more is said.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Incoming>), Error> {
        if let Some(tag) = self.next_of_aggregate()? {
            return Ok((0, Some(tag)));
        }
        if let Some((handshake, left)) = &mut self.handshake {
            if input.is_empty() {
                // A server waits for C0 before it sends S0 (5.2.1). nginx pushing to us never notices what comes sooner.
                return Ok((0, None));
            }
            let used = input.len().min(*left);
            *left -= used;
            let result =
                handshake.process_bytes(&input[..used]).map_err(|e| Error::Handshake(e.to_string()))?;
            let (HandshakeProcessResult::InProgress { response_bytes }
            | HandshakeProcessResult::Completed { response_bytes, .. }) = &result;
            self.out.extend_from_slice(response_bytes);
            self.received += used as u64;
            let done = matches!(result, HandshakeProcessResult::Completed { .. });
            if done {
                self.handshake = None;
            }
            return Ok((used, done.then_some(Incoming::Shaken)));
        }
        let (used, message) = self.chunks.read(input)?;
        self.received += used as u64;
        self.acknowledge()?;
        match message {
            Some(message) => Ok((used, self.message(message)?)),
            None => Ok((used, None)),
        }
    }

    fn acknowledge(&mut self) -> Result<(), Error> {
        if self.received - self.acknowledged < u64::from(self.window_bytes) {
            return Ok(());
        }
        self.acknowledged = self.received;
        // The total, modulo 2^32 (5.4.3).
        self.send(0, RtmpMessage::Acknowledgement { sequence_number: self.received as u32 })
    }

    fn message(&mut self, message: Message) -> Result<Option<Incoming>, Error> {
        let Message { type_id, stream_id, timestamp_ms, payload } = message;
        Ok(match type_id {
            8 => Some(Incoming::Tag(flv::Kind::Audio, timestamp_ms, payload)),
            9 => Some(Incoming::Tag(flv::Kind::Video, timestamp_ms, payload)),
            // AMF3's commands and data begin with a byte that says in which form the rest is: all send AMF0.
            20 => Some(command(stream_id, &payload)?),
            17 => Some(command(stream_id, payload.strip_prefix(&[0]).unwrap_or(&payload))?),
            // Data that cannot be read is none of our business: what is not understood is passed over.
            18 => amf::read(&payload).ok().map(Incoming::Data),
            15 => amf::read(payload.strip_prefix(&[0]).unwrap_or(&payload)).ok().map(Incoming::Data),
            22 => {
                self.aggregate = Some((payload, timestamp_ms, None));
                self.next_of_aggregate()?
            }
            4 => self.user_control(&payload)?,
            5 => {
                if let Some(size) = payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) {
                    self.window_bytes = size.clamp(WINDOW_MIN_BYTES, WINDOW_BYTES);
                }
                None
            }
            _ => None,
        })
    }

    /// User control messages (7.1.7).
    fn user_control(&mut self, payload: &[u8]) -> Result<Option<Incoming>, Error> {
        const STREAM_EOF: u16 = 1;
        const PING_REQUEST: u16 = 6;
        let Some((event, rest)) = payload.split_first_chunk() else { return Ok(None) };
        match (u16::from_be_bytes(*event), rest.first_chunk()) {
            (STREAM_EOF, _) => return Ok(Some(Incoming::StreamEof)),
            (PING_REQUEST, Some(time)) => {
                let timestamp = Some(RtmpTimestamp::new(u32::from_be_bytes(*time)));
                let event_type = UserControlEventType::PingResponse;
                let pong =
                    RtmpMessage::UserControl { event_type, stream_id: None, buffer_length: None, timestamp };
                self.send(0, pong)?;
            }
            _ => {}
        }
        Ok(None)
    }

    /// The next tag of an aggregate message (7.1.6), which some servers put together for relays.
    fn next_of_aggregate(&mut self) -> Result<Option<Incoming>, Error> {
        while let Some((mut rest, time_ms, offset)) = self.aggregate.take() {
            if rest.len() < TAG_HEADER_LEN {
                return Ok(None); // what is left is the length of the tag before
            }
            let kind = rest[0] & 31;
            let tag = usize::from(rest[1]) << 16 | usize::from(rest[2]) << 8 | usize::from(rest[3]);
            let tag_ms = u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]);
            // The first tag stands where the message does.
            let offset = offset.unwrap_or(time_ms.wrapping_sub(tag_ms));
            rest.advance(TAG_HEADER_LEN);
            if tag > rest.len() {
                return Err(Error::Aggregate { tag, left: rest.len() });
            }
            let payload = rest.split_to(tag);
            rest.advance(rest.len().min(4)); // the tag's length once more
            self.aggregate = Some((rest, time_ms, Some(offset)));
            let kind = match kind {
                8 => flv::Kind::Audio,
                9 => flv::Kind::Video,
                _ => continue,
            };
            return Ok(Some(Incoming::Tag(kind, tag_ms.wrapping_add(offset), payload)));
        }
        Ok(None)
    }

    /// Sends what a connection begins with: our windows and our chunk size.
    pub fn open(&mut self) -> Result<(), Error> {
        self.send(0, RtmpMessage::WindowAcknowledgement { size: WINDOW_BYTES })?;
        let limit_type = PeerBandwidthLimitType::Dynamic;
        self.send(0, RtmpMessage::SetPeerBandwidth { size: WINDOW_BYTES, limit_type })?;
        let packet = self.writer.set_max_chunk_size(CHUNK_BYTES, RtmpTimestamp::new(0));
        self.out.extend_from_slice(&packet.map_err(|e| Error::Write(e.to_string()))?.bytes);
        Ok(())
    }

    /// Sends a command.
    pub fn command(
        &mut self,
        stream_id: u32,
        name: &str,
        transaction: f64,
        object: Amf0Value,
        arguments: Vec<Amf0Value>,
    ) -> Result<(), Error> {
        let command = RtmpMessage::Amf0Command {
            command_name: name.to_owned(),
            transaction_id: transaction,
            command_object: object,
            additional_arguments: arguments,
        };
        self.send(stream_id, command)
    }

    /// Sends a user control message about a stream.
    pub fn stream_event(
        &mut self,
        event_type: UserControlEventType,
        stream_id: u32,
        buffer_ms: Option<u32>,
    ) -> Result<(), Error> {
        let stream_id = Some(stream_id);
        self.send(
            0,
            RtmpMessage::UserControl { event_type, stream_id, buffer_length: buffer_ms, timestamp: None },
        )
    }

    fn send(&mut self, stream_id: u32, message: RtmpMessage) -> Result<(), Error> {
        let payload = message
            .into_message_payload(RtmpTimestamp::new(0), stream_id)
            .map_err(|e| Error::Write(e.to_string()))?;
        let packet =
            self.writer.serialize(&payload, false, false).map_err(|e| Error::Write(e.to_string()))?;
        self.out.extend_from_slice(&packet.bytes);
        Ok(())
    }
}

/// Reads from `input` up to the next event of the end that `link` belongs to; `incoming` is what it makes of what the peer
/// says. Gives how many bytes were used, and the event; 0 and none when nothing more can be said.
pub(super) fn read_event<End, Event, E: From<Error>>(
    end: &mut End,
    input: &[u8],
    link: impl Fn(&mut End) -> &mut Link,
    incoming: impl Fn(&mut End, Incoming) -> Result<Option<Event>, E>,
) -> Result<(usize, Option<Event>), E> {
    let mut used = 0;
    loop {
        let (more, said) = link(end).read(&input[used..])?;
        used += more;
        match said {
            None if more == 0 || used == input.len() => return Ok((used, None)),
            None => {}
            Some(said) => {
                if let Some(event) = incoming(end, said)? {
                    return Ok((used, Some(event)));
                }
            }
        }
    }
}

fn command(stream_id: u32, payload: &[u8]) -> Result<Incoming, Error> {
    let mut values = amf::read(payload).map_err(Error::Command)?.into_iter();
    match (values.next(), values.next()) {
        (Some(Value::Text(name)), Some(Value::Number(transaction))) => {
            Ok(Incoming::Command(Command { stream_id, name, transaction, arguments: values.collect() }))
        }
        _ => Err(Error::Nameless(payload.len())),
    }
}

/// A text, for sending.
pub fn text(value: &str) -> Amf0Value {
    Amf0Value::Utf8String(value.to_owned())
}

/// An object, for sending.
pub fn object<const N: usize>(properties: [(&str, Amf0Value); N]) -> Amf0Value {
    Amf0Value::Object(properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
