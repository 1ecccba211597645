//! PURE: RTMP's chunk stream (specification 1.0, 5.3): bytes from a peer into whole messages, bounded.
//!
//! A payload is copied once, from the input into its message. Memory is taken as bytes come, never because a header
//! says that they will.

use bytes::Bytes;

/// The longest message that is taken: several times the largest key frame of any encoder we know.
pub const MAX_MESSAGE_LEN: usize = 8 << 20;

/// The longest chunk a peer may announce.
pub const MAX_CHUNK_LEN: u32 = 1 << 20;

/// Chunk streams of one connection. Encoders use about five.
pub const MAX_CHUNK_STREAMS: usize = 64;

/// Memory for all messages of a connection that are not whole yet.
pub const MAX_UNFINISHED_LEN: usize = 16 << 20;

/// The longest message of a peer that has not shown yet that it may send pictures.
pub const MAX_COMMAND_LEN: usize = 64 << 10;

/// Memory for all unfinished messages of such a peer.
pub const MAX_UNFINISHED_COMMANDS_LEN: usize = 256 << 10;

/// The chunk length that holds until the peer sets another (5.4.1).
const DEFAULT_CHUNK_LEN: u32 = 128;

/// Room taken at a message's first byte. Longer messages double theirs as they come.
const FIRST_ROOM_LEN: usize = 64 << 10;

/// A time field of this value says that the time is in four bytes of its own behind the header (5.3.1.3).
const EXTENDED: u32 = 0x00ff_ffff;

/// Lengths of the message header of type 0 to 3 (5.3.1.2).
const HEADER_LEN: [usize; 4] = [11, 7, 3, 0];

const SET_CHUNK_SIZE: u8 = 1;
const ABORT: u8 = 2;

/// A whole RTMP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Message type id (7.1): 8 audio, 9 video, 18 data, 20 command …
    pub type_id: u8,
    /// Message stream id.
    pub stream_id: u32,
    /// Time in milliseconds, modulo 2^32.
    pub timestamp_ms: u32,
    /// Its bytes.
    pub payload: Bytes,
}

/// Why a peer's chunks cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chunk stream {chunk_stream} at byte {position}: {fault}")]
pub struct Error {
    /// The chunk stream.
    pub chunk_stream: u32,
    /// Where its chunk begins, counted from the first chunk's first byte.
    pub position: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a chunk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A message beyond [`MAX_MESSAGE_LEN`] or [`MAX_COMMAND_LEN`].
    #[error("a message of {len} bytes; at most {limit} are taken here")]
    MessageLength {
        /// Its length, as its header says.
        len: usize,
        /// The limit at that time.
        limit: usize,
    },
    /// A chunk size that is not to be had.
    #[error("it sets chunks of {0} bytes; 1 to {MAX_CHUNK_LEN} are taken")]
    ChunkLength(u32),
    /// A Set Chunk Size or Abort without its number.
    #[error("a control message of type {type_id} with {len} bytes; it has 4")]
    Control {
        /// Its type.
        type_id: u8,
        /// Its length.
        len: usize,
    },
    /// A header that leaves out what no header before it has said.
    #[error("it begins with a header of type {0}, which leaves out what was never said")]
    NoHeaderBefore(u8),
    /// More than [`MAX_CHUNK_STREAMS`].
    #[error("it would be one more than the {MAX_CHUNK_STREAMS} that are taken")]
    ChunkStreams,
    /// More than [`MAX_UNFINISHED_LEN`] or [`MAX_UNFINISHED_COMMANDS_LEN`].
    #[error("unfinished messages take more than {0} bytes")]
    Unfinished(usize),
}

/// Puts chunks together. Set Chunk Size and Abort (5.4.1, 5.4.2) are heeded here and not handed on.
#[derive(Debug)]
pub struct ChunkReader {
    chunk_len: u32,
    message_limit: usize,
    unfinished_limit: usize,
    streams: Vec<ChunkStream>,
    /// For ids below 64, which are all that encoders use: their place in `streams` plus 1, or 0.
    places: [u8; 64],
    /// The chunk whose payload comes next: its stream's place, and how many bytes are missing.
    chunk: Option<(usize, usize)>,
    /// Capacity of all unfinished messages.
    unfinished_len: usize,
    /// Bytes read by all calls before this one.
    position: u64,
    /// Where the current chunk begins, and whose it is.
    began: (u64, u32),
    failed: Option<Error>,
}

/// What later headers of a chunk stream leave out, and its unfinished message.
#[derive(Debug, Default)]
struct ChunkStream {
    id: u32,
    type_id: u8,
    stream_id: u32,
    len: usize,
    /// The last header's time as it was sent: a time in type 0, a difference in 1 and 2.
    time_field: u32,
    /// Whether that was in the four extra bytes.
    extended: bool,
    timestamp_ms: u32,
    unfinished: bool,
    payload: Vec<u8>,
}

impl Default for ChunkReader {
    fn default() -> Self {
        Self {
            chunk_len: DEFAULT_CHUNK_LEN,
            message_limit: MAX_MESSAGE_LEN,
            unfinished_limit: MAX_UNFINISHED_LEN,
            streams: Vec::new(),
            places: [0; 64],
            chunk: None,
            unfinished_len: 0,
            position: 0,
            began: (0, 0),
            failed: None,
        }
    }
}

impl ChunkReader {
    /// A reader of a stranger's chunks: none but short messages until [`ChunkReader::expect_media`].
    pub fn of_stranger() -> Self {
        Self {
            message_limit: MAX_COMMAND_LEN,
            unfinished_limit: MAX_UNFINISHED_COMMANDS_LEN,
            ..Self::default()
        }
    }

    /// From now on messages may be as long as pictures are.
    pub fn expect_media(&mut self) {
        (self.message_limit, self.unfinished_limit) = (MAX_MESSAGE_LEN, MAX_UNFINISHED_LEN);
    }

    /// Reads from `input` up to the end of one message. Gives how many bytes were used, and the message if it is whole.
    ///
    /// A header that is not whole is left unused: give it again with what follows it. After an error every call
    /// gives that error.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Message>), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut used = 0;
        let result = self.read_on(input, &mut used);
        self.position += used as u64;
        result.map(|message| (used, message)).map_err(|fault| {
            let (position, chunk_stream) = self.began;
            self.failed.insert(Error { chunk_stream, position, fault }).clone()
        })
    }

    /// The memory that unfinished messages take; at most [`MAX_UNFINISHED_LEN`].
    pub fn unfinished_len(&self) -> usize {
        self.unfinished_len
    }

    fn read_on(&mut self, input: &[u8], used: &mut usize) -> Result<Option<Message>, Fault> {
        loop {
            let rest = &input[*used..];
            let Some((place, missing)) = self.chunk else {
                match self.begin_chunk(rest, self.position + *used as u64)? {
                    Some(header_len) => *used += header_len,
                    None => return Ok(None),
                }
                continue;
            };
            let part = &rest[..missing.min(rest.len())];
            self.make_room(place, part.len())?;
            let stream = &mut self.streams[place];
            stream.payload.extend_from_slice(part);
            *used += part.len();
            if part.len() < missing {
                self.chunk = Some((place, missing - part.len()));
                return Ok(None);
            }
            self.chunk = None;
            if stream.payload.len() == stream.len
                && let Some(message) = self.finish(place)?
            {
                return Ok(Some(message));
            }
        }
    }

    /// Reads a chunk's header. Gives its length, or none where it is not whole yet.
    fn begin_chunk(&mut self, input: &[u8], position: u64) -> Result<Option<usize>, Fault> {
        let Some((id, basic_len)) = basic_header(input) else { return Ok(None) };
        self.began = (position, id);
        let format = input[0] >> 6;
        let header_len = HEADER_LEN[usize::from(format)];
        let rest = &input[basic_len..];
        let Some((header, rest)) = rest.split_at_checked(header_len) else { return Ok(None) };
        let known = self.place(id);
        let (place, extra_len) = match (format, known) {
            (3, Some(place)) => match self.continue_stream(place, rest) {
                Some(extra_len) => (place, extra_len),
                None => return Ok(None),
            },
            (2.., None) => return Err(Fault::NoHeaderBefore(format)),
            _ => {
                let mut time_field = u24(header);
                let extended = time_field == EXTENDED;
                if extended {
                    let Some(time) = rest.first_chunk() else { return Ok(None) };
                    time_field = u32::from_be_bytes(*time);
                }
                let place = self.take_header(id, known, header, time_field, extended)?;
                (place, if extended { 4 } else { 0 })
            }
        };
        let stream = &mut self.streams[place];
        stream.unfinished = true;
        let missing = stream.len - stream.payload.len();
        self.chunk = Some((place, missing.min(self.chunk_len as usize)));
        Ok(Some(basic_len + header_len + extra_len))
    }

    /// A header of type 3: the next part of a message, or another like the one before. Gives how many bytes of extended
    /// timestamp there are, or none while that cannot be told.
    fn continue_stream(&mut self, place: usize, rest: &[u8]) -> Option<usize> {
        let stream = &mut self.streams[place];
        let mut extra_len = 0;
        if stream.extended {
            // 5.3.1.3 repeats the extended timestamp; old librtmp and ffmpeg, nginx-rtmp and cameras built on them do
            // not. GStreamer and SRS tell the two apart in the same way: it is there if it is what was said before.
            let seen = &rest[..rest.len().min(4)];
            let repeated = stream.time_field.to_be_bytes().starts_with(seen)
                || stream.timestamp_ms.to_be_bytes().starts_with(seen);
            if repeated && seen.len() < 4 {
                return None;
            }
            extra_len = if repeated { 4 } else { 0 };
        }
        if !stream.unfinished {
            // After type 0 the difference is that header's time (5.3.1.2.4): Flash Media Live Encoder, ffmpeg and
            // GStreamer rely on it. nginx-rtmp alone takes 0.
            stream.timestamp_ms = stream.timestamp_ms.wrapping_add(stream.time_field);
        }
        Some(extra_len)
    }

    /// A header of type 0 to 2; librtmp begins its first message on a chunk stream with type 1. Gives the stream's place.
    fn take_header(
        &mut self,
        id: u32,
        known: Option<usize>,
        header: &[u8],
        time_field: u32,
        extended: bool,
    ) -> Result<usize, Fault> {
        let len = header.get(3..6).map(|bytes| u24(bytes) as usize);
        let type_id = header.get(6).copied();
        let stream_id =
            header.get(7..).and_then(|bytes| bytes.first_chunk()).map(|id| u32::from_le_bytes(*id));
        let limit = self.message_limit;
        if let Some(len) = len.filter(|len| *len > limit) {
            return Err(Fault::MessageLength { len, limit });
        }
        let place = match known {
            Some(place) => place,
            None => self.add_stream(id)?,
        };
        let stream = &mut self.streams[place];
        if stream.unfinished {
            // In the middle of a message nothing but type 3 is legal. A header that says nothing new is read as one, as
            // ffmpeg, nginx-rtmp and SRS do (rml_rtmp sends such). One that says something else begins another message,
            // as in librtmp: the encoder has given up the one before.
            let same = len.is_none_or(|len| len == stream.len)
                && type_id.is_none_or(|id| id == stream.type_id)
                && stream_id.is_none_or(|id| id == stream.stream_id && time_field == stream.timestamp_ms);
            if same {
                return Ok(place);
            }
            self.drop_unfinished(place);
        }
        let stream = &mut self.streams[place];
        stream.len = len.unwrap_or(stream.len);
        stream.type_id = type_id.unwrap_or(stream.type_id);
        stream.time_field = time_field;
        stream.extended = extended;
        if let Some(stream_id) = stream_id {
            stream.stream_id = stream_id;
            stream.timestamp_ms = time_field;
        } else {
            stream.timestamp_ms = stream.timestamp_ms.wrapping_add(time_field);
        }
        Ok(place)
    }

    fn place(&self, id: u32) -> Option<usize> {
        match self.places.get(id as usize) {
            Some(place) => usize::from(*place).checked_sub(1),
            None => self.streams.iter().position(|stream| stream.id == id),
        }
    }

    fn add_stream(&mut self, id: u32) -> Result<usize, Fault> {
        if self.streams.len() == MAX_CHUNK_STREAMS {
            return Err(Fault::ChunkStreams);
        }
        self.streams.push(ChunkStream { id, ..ChunkStream::default() });
        if let Some(place) = self.places.get_mut(id as usize) {
            *place = self.streams.len() as u8;
        }
        Ok(self.streams.len() - 1)
    }

    /// Makes room for `more` bytes of a message, and for no more than twice what has come.
    fn make_room(&mut self, place: usize, more: usize) -> Result<(), Fault> {
        let ChunkStream { payload, len, .. } = &mut self.streams[place];
        let (needed, capacity) = (payload.len() + more, payload.capacity());
        if needed <= capacity {
            return Ok(());
        }
        let room = needed.max(FIRST_ROOM_LEN.max(2 * capacity).min(*len));
        if self.unfinished_len - capacity + room > self.unfinished_limit {
            return Err(Fault::Unfinished(self.unfinished_limit));
        }
        payload.reserve_exact(room - payload.len());
        self.unfinished_len = self.unfinished_len - capacity + payload.capacity();
        Ok(())
    }

    fn drop_unfinished(&mut self, place: usize) -> Vec<u8> {
        let stream = &mut self.streams[place];
        stream.unfinished = false;
        self.unfinished_len -= stream.payload.capacity();
        std::mem::take(&mut stream.payload)
    }

    /// Takes out a whole message, and heeds it where it is meant for us.
    fn finish(&mut self, place: usize) -> Result<Option<Message>, Fault> {
        // The last room was the rest exactly: no byte is moved.
        let payload = Bytes::from(self.drop_unfinished(place));
        let ChunkStream { type_id, stream_id, timestamp_ms, .. } = self.streams[place];
        if !matches!(type_id, SET_CHUNK_SIZE | ABORT) {
            return Ok(Some(Message { type_id, stream_id, timestamp_ms, payload }));
        }
        let Some(number) = payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else {
            return Err(Fault::Control { type_id, len: payload.len() });
        };
        if type_id == SET_CHUNK_SIZE {
            if !(1..=MAX_CHUNK_LEN).contains(&number) {
                return Err(Fault::ChunkLength(number));
            }
            self.chunk_len = number;
        } else if let Some(place) = self.place(number) {
            self.drop_unfinished(place);
        }
        Ok(None)
    }
}

/// The chunk stream's id and the length of the header that says it (5.3.1.1), if it is whole.
fn basic_header(input: &[u8]) -> Option<(u32, usize)> {
    Some(match input.first()? & 63 {
        0 => (64 + u32::from(*input.get(1)?), 2),
        1 => (64 + u32::from(*input.get(1)?) + 256 * u32::from(*input.get(2)?), 3),
        id => (id.into(), 1),
    })
}

/// The number in the first three of `bytes`, which there are.
fn u24(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])
}

#[cfg(test)]
#[path = "chunk_tests.rs"]
mod tests;
