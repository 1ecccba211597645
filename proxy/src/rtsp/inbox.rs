//! PURE: cuts what a client sends into RTSP messages and interleaved packets (RFC 2326, 10.12).
//!
//! Not here: what a message means. Invariant: never holds more than [`MAX_MESSAGE_BYTES`] and one read; every call of
//! [`Inbox::take`] that yields something consumes at least one byte.

use bytes::{Buf, BytesMut};
use rtsp_types::{Message, ParseError};

/// The longest message taken, header and body together. Real requests have a few hundred bytes.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// One thing a client said.
#[derive(Debug)]
pub enum Item {
    /// A request.
    Request(rtsp_types::Request<Vec<u8>>),
    /// An interleaved packet on this channel: from a player it can only be RTCP, whose arrival is a sign of life.
    Packet {
        /// The interleaved channel.
        channel: u8,
    },
    /// A response: we never ask, so it has no meaning.
    Response,
}

/// Why a byte stream cannot be followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither a message nor an interleaved packet.
    #[error("not RTSP")]
    Malformed,
    /// A message longer than [`MAX_MESSAGE_BYTES`].
    #[error("message longer than {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
}

/// Bytes received and not yet understood.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: BytesMut,
}

impl Inbox {
    /// Adds what was read. Drain [`Inbox::take`] before the next call.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole item; `None` until more is pushed.
    ///
    /// # Errors
    /// After an error the stream has lost its place: answer 400 and close.
    pub fn take(&mut self) -> Result<Option<Item>, Error> {
        // Some cameras' and clients' libraries send an empty line after a body; it carries nothing.
        while matches!(self.bytes.first(), Some(b'\r' | b'\n')) {
            self.bytes.advance(1);
        }
        if self.bytes.first() == Some(&b'$') {
            return Ok(self.interleaved());
        }
        let Some(head) = find(&self.bytes, b"\r\n\r\n") else {
            // Looked at before parsing, so that a client sending byte by byte costs a scan, not a parse, each time.
            return match (self.bytes.len() > MAX_MESSAGE_BYTES, plausible(&self.bytes)) {
                (true, _) => Err(Error::TooLong),
                (_, false) => Err(Error::Malformed),
                _ => Ok(None),
            };
        };
        if head > MAX_MESSAGE_BYTES {
            return Err(Error::TooLong);
        }
        match Message::<Vec<u8>>::parse(&self.bytes[..]) {
            Ok((message, used)) => {
                if used == 0 || used > MAX_MESSAGE_BYTES {
                    return Err(Error::TooLong);
                }
                self.bytes.advance(used.min(self.bytes.len()));
                Ok(Some(match message {
                    Message::Request(request) => Item::Request(request),
                    Message::Response(_) => Item::Response,
                    Message::Data(data) => Item::Packet { channel: data.channel_id() },
                }))
            }
            Err(ParseError::Error) => Err(Error::Malformed),
            Err(ParseError::Incomplete(missing)) => {
                let wanted = self.bytes.len() + missing.map_or(1, std::num::NonZeroUsize::get);
                if wanted > MAX_MESSAGE_BYTES { Err(Error::TooLong) } else { Ok(None) }
            }
        }
    }

    /// `$`, channel, 16-bit length, packet. Sizes stop at 64 KiB by the format itself.
    fn interleaved(&mut self) -> Option<Item> {
        let header: [u8; 4] = self.bytes.get(..4)?.try_into().ok()?;
        let whole = 4 + usize::from(u16::from_be_bytes([header[2], header[3]]));
        if self.bytes.len() < whole {
            return None;
        }
        self.bytes.advance(whole);
        Some(Item::Packet { channel: header[1] })
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Whether this could still become a message: a TLS hello or other binary is told apart at its first bytes instead of
/// being waited for.
fn plausible(bytes: &[u8]) -> bool {
    bytes.iter().take(64).all(|&b| b == b'\t' || b == b'\r' || b == b'\n' || (0x20..0x7f).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPTIONS: &[u8] = b"OPTIONS rtsp://h/demo RTSP/1.0\r\nCSeq: 1\r\n\r\n";

    #[test]
    fn requests_and_packets_come_out_whole_however_they_are_cut() {
        let mut stream = OPTIONS.to_vec();
        stream.extend_from_slice(b"$\x01\x00\x03abc\r\n");
        stream.extend_from_slice(
            b"SET_PARAMETER rtsp://h/demo RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 4\r\n\r\nbody",
        );
        for cut in 1..stream.len() {
            let (mut inbox, mut seen) = (Inbox::default(), Vec::new());
            for part in stream.chunks(cut) {
                inbox.push(part);
                while let Some(item) = inbox.take().unwrap() {
                    seen.push(match item {
                        Item::Request(r) => format!("{:?} {}", r.method(), r.body().len()),
                        Item::Packet { channel } => format!("packet {channel}"),
                        Item::Response => "response".into(),
                    });
                }
            }
            assert_eq!(seen, ["Options 0", "packet 1", "SetParameter 4"], "cut in {cut}");
        }
    }

    #[test]
    fn a_header_without_end_and_a_huge_body_are_refused() {
        let mut inbox = Inbox::default();
        inbox.push(b"OPTIONS rtsp://h/demo RTSP/1.0\r\nX: ");
        assert!(inbox.take().unwrap().is_none());
        inbox.push(&vec![b'a'; MAX_MESSAGE_BYTES]);
        assert_eq!(inbox.take().unwrap_err(), Error::TooLong);

        let mut inbox = Inbox::default();
        inbox.push(b"SET_PARAMETER rtsp://h/ RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999\r\n\r\n");
        assert_eq!(inbox.take().unwrap_err(), Error::TooLong);
    }

    #[test]
    fn binary_is_refused_at_once() {
        let mut inbox = Inbox::default();
        inbox.push(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc");
        assert_eq!(inbox.take().unwrap_err(), Error::Malformed);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_stay_stuck(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
            let mut inbox = Inbox::default();
            'stream: for part in parts {
                inbox.push(&part);
                let before = inbox.bytes.len();
                for _ in 0..=before {
                    match inbox.take() {
                        Ok(Some(_)) => {}
                        Ok(None) => continue 'stream,
                        Err(_) => break 'stream,
                    }
                }
                prop_assert!(false, "yields without consuming");
            }
        }

        #[test]
        fn nearly_valid_requests_do_not_panic(at in 0usize..120, byte in any::<u8>()) {
            let mut text = b"SETUP rtsp://h/demo/track0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1;timeout=60\r\n\r\n".to_vec();
            let at = at % text.len();
            text[at] = byte;
            let mut inbox = Inbox::default();
            inbox.push(&text);
            let _ = inbox.take();
        }
    }
}
