//! The bytes of one viewer's socket: what was said to it and waits to be sent, and what it says.
//!
//! Media goes from where it lies in memory straight into the socket, several parts in one call. The WebSocket library sees
//! nothing of it: it reads what viewers send, from memory, and writes texts, pings and closes, to memory, which are sent in
//! their turn. Invariants: what is sent are whole WebSocket frames in the order in which they were given; nothing here waits.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    sync::Arc,
};

use bytes::{Buf as _, Bytes};
use sightline_wire::MAX_CLIENT_MESSAGE_LEN;
use smallvec::SmallVec;
use tokio::net::TcpStream;
use tungstenite::{
    Error, Message, WebSocket,
    error::ProtocolError,
    protocol::{Role, WebSocketConfig},
};

use super::{tcp, told::Told};
use crate::hub::Fragment;

/// The most parts given to the system in one call.
const MAX_PARTS: usize = 32;
/// The most bytes of a viewer's that are taken at once.
const READ_LEN: usize = 4 * 1024;
/// What the library reads into, in bytes. It grows with a message, up to the limit of those.
const READ_BUFFER_LEN: usize = 256;

/// What is below a WebSocket. TLS will be another one of these, with a writer whose one copy is the cipher's.
#[derive(Debug)]
pub(super) enum Link {
    /// Nothing but TCP.
    Plain(TcpStream),
}

impl Link {
    /// Waits until there may be something to read.
    pub(super) async fn readable(&self) -> io::Result<()> {
        let Self::Plain(tcp) = self;
        tcp.readable().await
    }

    /// Waits until something may be written.
    pub(super) async fn writable(&self) -> io::Result<()> {
        let Self::Plain(tcp) = self;
        tcp.writable().await
    }

    /// See [`tcp::find_rate_anew`].
    pub(super) fn find_rate_anew(&self) {
        let Self::Plain(tcp) = self;
        tcp::find_rate_anew(tcp);
    }

    /// See [`tcp::told`].
    pub(super) fn told(&self) -> Option<Told> {
        let Self::Plain(tcp) = self;
        tcp::told(tcp)
    }

    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        let Self::Plain(tcp) = self;
        tcp.try_read(into)
    }

    /// Mostly the socket takes all, and the runtime need not be asked whether it thinks so: where it keeps that is one more
    /// piece of memory to wait for, for each viewer and frame. It is told when the socket takes nothing.
    fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let Self::Plain(tcp) = self;
        #[cfg(unix)]
        match rustix::io::writev(tcp, parts) {
            Err(rustix::io::Errno::AGAIN) => {}
            written => return written.map_err(io::Error::from),
        }
        tcp.try_write_vectored(parts)
    }
}

/// The library's end: bytes that came in, and bytes to go out.
#[derive(Debug, Default)]
struct Memory {
    input: Bytes,
    /// Nothing more will come in.
    ended: bool,
    output: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            self.input = Bytes::new(); // lets go of what it was a part of
            return if self.ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let len = into.len().min(self.input.len());
        self.input.copy_to_slice(&mut into[..len]);
        Ok(len)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Something to be sent: one or more whole WebSocket frames.
#[derive(Debug)]
enum Piece {
    /// For this viewer alone.
    Own(Vec<u8>),
    /// For everybody.
    Shared(Bytes),
    /// For everybody.
    Fragment(Arc<Fragment>),
}

impl Piece {
    fn parts(&self) -> [&[u8]; 2] {
        match self {
            Self::Own(bytes) => [bytes, &[]],
            Self::Shared(bytes) => [bytes, &[]],
            Self::Fragment(fragment) => fragment.parts(),
        }
    }

    fn len(&self) -> usize {
        self.parts().map(<[u8]>::len).iter().sum()
    }
}

/// Why nothing more is read from a viewer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection is gone.
    Gone,
    /// What came is no WebSocket's, or longer than allowed.
    Broken(Error),
}

/// One viewer's bytes, without the socket itself.
#[derive(Debug)]
pub(super) struct Socket {
    library: WebSocket<Memory>,
    /// Mostly one, which is kept in here: see [`Link::try_write_vectored`] of what a way to it would cost.
    waiting: SmallVec<[Piece; 1]>,
    /// Bytes of the first piece that are sent.
    sent: usize,
    /// Bytes that wait for this viewer alone.
    own_len: usize,
}

impl Socket {
    /// A socket behind a handshake; `early` came together with that.
    pub(super) fn new(early: &[u8]) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_CLIENT_MESSAGE_LEN))
            .max_frame_size(Some(MAX_CLIENT_MESSAGE_LEN))
            .read_buffer_size(READ_BUFFER_LEN)
            .write_buffer_size(0);
        let memory = Memory { input: Bytes::copy_from_slice(early), ..Memory::default() };
        Self {
            library: WebSocket::from_raw_socket(memory, Role::Server, Some(config)),
            waiting: SmallVec::new(),
            sent: 0,
            own_len: 0,
        }
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_clear(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Pieces that wait to be sent.
    pub(super) fn pieces(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes that wait for this viewer alone: answers to what it said, mostly.
    pub(super) fn own_len(&self) -> usize {
        self.own_len
    }

    /// Takes what the viewer sent, at most [`READ_LEN`] bytes of it.
    pub(super) fn take(&mut self, link: &Link) -> Result<(), Fault> {
        let mut bytes = [0; READ_LEN];
        match link.try_read(&mut bytes) {
            Ok(0) => self.library.get_mut().ended = true,
            Ok(len) => self.library.get_mut().input = Bytes::copy_from_slice(&bytes[..len]),
            Err(e) if is_temporary(&e) => {}
            Err(_) => return Err(Fault::Gone),
        }
        Ok(())
    }

    /// The next message in what was taken, if it is whole. Until there is none, nothing more may be taken.
    pub(super) fn hear(&mut self) -> Option<Result<Message, Fault>> {
        let heard = self.library.read();
        self.collect();
        match heard {
            Ok(message) => Some(Ok(message)),
            Err(Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => None,
            Err(
                Error::Io(_)
                | Error::ConnectionClosed
                | Error::AlreadyClosed
                | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
            ) => Some(Err(Fault::Gone)),
            Err(error) => Some(Err(Fault::Broken(error))),
        }
    }

    /// Says something to this viewer alone. After a close nothing is said.
    pub(super) fn say(&mut self, message: Message) {
        // It writes to memory, which never fails: what fails is to say something after a close.
        let _ = self.library.send(message);
        self.collect();
    }

    /// Answers the close that was heard.
    pub(super) fn answer_close(&mut self) {
        // It writes to memory; and tells that the connection is closed, which is what was wanted.
        let _ = self.library.flush();
        self.collect();
    }

    /// Sends a fragment, in its turn.
    pub(super) fn pass(&mut self, fragment: Arc<Fragment>) {
        self.waiting.push(Piece::Fragment(fragment));
    }

    /// Sends whole WebSocket frames, in their turn.
    pub(super) fn pass_frames(&mut self, frames: Bytes) {
        self.waiting.push(Piece::Shared(frames));
    }

    /// Forgets what waits, but for the rest of what was begun.
    pub(super) fn forget(&mut self) {
        self.waiting.truncate(usize::from(self.sent > 0));
        self.own_len =
            self.waiting.iter().map(|piece| if let Piece::Own(own) = piece { own.len() } else { 0 }).sum();
    }

    fn collect(&mut self) {
        let output = &mut self.library.get_mut().output;
        if !output.is_empty() {
            self.own_len += output.len();
            self.waiting.push(Piece::Own(std::mem::take(output)));
        }
    }

    /// Gives the system what waits, as far as it takes it. Returns how many bytes it took.
    pub(super) fn send(&mut self, link: &Link) -> io::Result<usize> {
        let mut taken = 0;
        while !self.waiting.is_empty() {
            let mut parts = [IoSlice::new(&[]); MAX_PARTS];
            let count = fill(&mut parts, &self.waiting, self.sent);
            match link.try_write_vectored(&parts[..count]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => {
                    taken += len;
                    self.advance(len);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        if self.waiting.is_empty() && self.waiting.spilled() {
            self.waiting = SmallVec::new();
        }
        Ok(taken)
    }

    fn advance(&mut self, len: usize) {
        self.sent += len;
        let mut gone = 0;
        for piece in &self.waiting {
            let piece_len = piece.len();
            if self.sent < piece_len {
                break;
            }
            if let Piece::Own(own) = piece {
                self.own_len -= own.len();
            }
            self.sent -= piece_len;
            gone += 1;
        }
        self.waiting.drain(..gone);
    }
}

/// Whether it may be tried again.
fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Puts the first parts that are not empty into `parts`, but for the first `sent` bytes. Returns how many.
fn fill<'a>(parts: &mut [IoSlice<'a>; MAX_PARTS], pieces: &'a [Piece], sent: usize) -> usize {
    let (mut count, mut skip) = (0, sent);
    for part in pieces.iter().flat_map(Piece::parts) {
        if part.len() <= skip {
            skip -= part.len();
            continue;
        }
        if count == MAX_PARTS {
            break;
        }
        parts[count] = IoSlice::new(&part[skip..]);
        skip = 0;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use sightline_wire::{Header, Kind};
    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    use super::*;
    use crate::{
        hub::{Cursor, Hub, Item},
        media::{Frame, h264},
    };

    async fn pair() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let far = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
        let (near, _) = listener.accept().await.expect("connects");
        (Link::Plain(near), far)
    }

    /// Fragments of frames of these sizes.
    fn fragments(sizes: &[usize]) -> Vec<Arc<Fragment>> {
        let hub = Hub::new([("cam".parse().expect("a name"), false)]);
        let stream = hub.get("cam").expect("the stream");
        let publisher = stream.publish();
        let track = h264::track(h264::tests::AVCC).expect("a track");
        publisher.tracks(vec![track], Instant::now()).expect("muxes");
        let mut cursor = Cursor::new(stream.clone());
        let fragment = |item| if let Item::Fragment(fragment) = item { Some(fragment) } else { None };
        let passed = (0..).step_by(3_600).zip(sizes).map(|(pts_ticks, size)| {
            let frame = Frame {
                track: 0,
                pts_ticks,
                dts_ticks: None,
                duration_ticks: None,
                capture_time_us: 0,
                key_frame: true,
                data: vec![*size as u8; *size].into(),
            };
            assert!(publisher.frame(frame, Instant::now()));
            cursor.find_map(fragment).expect("there it is")
        });
        passed.collect()
    }

    #[tokio::test]
    async fn what_a_slow_socket_takes_in_bits_arrives_whole_and_in_order() {
        let (link, mut far) = pair().await;
        let mut socket = Socket::new(&[]);
        let mut expected = Vec::new();
        let sizes: Vec<usize> = (0..200).map(|i| [1, 65, 300_000, 70_000][i % 4]).collect();
        for (i, fragment) in fragments(&sizes).into_iter().enumerate() {
            expected.extend(fragment.parts().concat());
            socket.pass(fragment);
            if i % 3 == 0 {
                expected.extend([&[0x81, 5][..], b"hello"].concat());
                socket.say(Message::text("hello"));
            }
            if i % 5 == 0 {
                expected.extend([0x82, 0]);
                socket.pass_frames(Bytes::from_static(&[0x82, 0]));
            }
        }
        let all = expected.len();
        let reading = tokio::spawn(async move {
            let mut got = vec![0; all];
            far.read_exact(&mut got).await.expect("comes");
            got
        });
        let mut sent = 0;
        while !socket.is_clear() {
            link.writable().await.expect("open");
            sent += socket.send(&link).expect("open");
        }
        assert_eq!((sent, socket.own_len()), (all, 0));
        assert!(reading.await.expect("ends") == expected);
    }

    #[tokio::test]
    async fn what_was_begun_is_finished_and_the_rest_forgotten() {
        let (link, mut far) = pair().await;
        let mut socket = Socket::new(&[]);
        let fragments = fragments(&[8_000_000, 5]);
        let expected = [&fragments[0].parts().concat()[..], &[0x81, 3], b"bye"].concat();
        for fragment in fragments {
            socket.pass(fragment);
        }
        assert!(socket.send(&link).expect("open") > 0);
        assert!(!socket.is_clear(), "no kernel takes 8 MB");
        socket.forget();
        socket.say(Message::text("bye"));
        let reading = tokio::spawn(async move {
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.expect("comes");
            got
        });
        while !socket.is_clear() {
            link.writable().await.expect("open");
            socket.send(&link).expect("open");
        }
        drop(link);
        assert!(reading.await.expect("ends") == expected);
    }

    #[test]
    fn a_ping_is_answered_and_messages_in_bits_are_put_together() {
        let masked =
            |first: u8, payload: &[u8]| [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat();
        let bytes =
            [masked(0x89, b"hm"), masked(0x01, b"one "), masked(0x80, b"two"), masked(0x81, b"3")].concat();
        let mut socket = Socket::new(&[]);
        let mut heard = Vec::new();
        for byte in bytes {
            socket.library.get_mut().input = Bytes::copy_from_slice(&[byte]);
            while let Some(message) = socket.hear() {
                heard.push(message.expect("is well-formed").to_string());
            }
        }
        assert_eq!(heard, ["hm", "one two", "3"]);
        assert_eq!(socket.waiting.len(), 1);
        assert_eq!(socket.waiting[0].parts()[0], [0x8a, 2, b'h', b'm']);
    }

    #[test]
    fn fragments_are_whole_frames_of_the_wires_layout() {
        for fragment in fragments(&[1, 70_000]) {
            let whole = fragment.parts().concat();
            let head_len = if fragment.payload().len() > 60_000 { 10 } else { 4 };
            let (header, at) = Header::decode(&whole[head_len..]).expect("a header");
            assert_eq!((header, header.kind), (fragment.header, Kind::Media));
            assert_eq!(whole[head_len + at + header.payload_offset as usize..], fragment.payload()[..]);
        }
    }
}
