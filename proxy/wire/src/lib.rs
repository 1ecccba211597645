//! What Sightline's proxy and player say to each other: the whole protocol, version 1.
//!
//! This page is enough to write another client. It holds the messages, the binary header and the rules; it does no
//! I/O and reads no clock. The bytes in `vectors/` are golden: a change there is a change of the protocol.
//!
//! # A conversation
//!
//! One WebSocket at `/ws` carries any number of streams. **Text** messages are JSON objects with a `type`
//! ([`ClientMessage`], [`ServerMessage`]). **Binary** messages go from server to client only: a [`Header`] followed by
//! an fMP4 init segment or media segment (ISO/IEC 14496-12).
//!
//! ```text
//! client                                  server
//!                                         {"type":"welcome","versions":[1],"server":"sightline/0.1.0","time_us":…}
//! {"type":"hello","version":1,"codecs":["avc1","mp4a.40.2"]}
//! {"type":"subscribe","stream":"gate"}
//!                                         {"type":"subscribed","stream":"gate","number":3}
//!                                         {"type":"tracks","number":3,"epoch":1,"catch_up_sequence":48,"tracks":[…]}
//!                                         <binary: init segment of track 0>
//!                                         <binary: init segment of track 1>
//!                                         <binary: media segments from the last key frame on, and then live>
//! {"type":"ping","client_time_ms":12.5}
//!                                         {"type":"pong","client_time_ms":12.5,"time_us":…}
//!                                         {"type":"offline","number":3,"since_time_us":…,"code":"…","reason":"…"}
//!                                         {"type":"online","number":3}
//!                                         {"type":"tracks","number":3,"epoch":2,…} and so on
//! ```
//!
//! - The server greets first. The client picks one of `versions` in `hello`; nothing needs to be waited for, `hello`
//!   and `subscribe` may be sent as soon as the socket is open. A version the server does not speak is answered with
//!   `error {code: unsupported_version}` and close code 1002. Without a `hello`, version 1 and [`DEFAULT_CODECS`] hold.
//! - `/ws?stream=NAME` subscribes to that stream at once, so that any WebSocket tool can look.
//! - `number` stands for the stream in everything that follows on this server, for every viewer alike.
//! - `tracks` announces an **epoch**: a span with one set of tracks and one init segment each. A client that gets a new
//!   epoch sets up its decoders from the new init segments. Timestamps go on: the media timeline of a stream never
//!   goes backwards, not even when its camera reconnects (there is a gap then).
//! - Media begins at a key frame. `catch_up_sequence` names the newest fragment at the time of joining: everything up
//!   to it is history, sent as fast as the socket takes it so that the live edge can be decoded and shown at once.
//!   Where a camera's own pictures are no beginning to every decoder, the first ones are the server's: they last a millisecond at
//!   most, and have the sequence of the fragment before, which whoever looks on gets instead of them.
//! - A viewer whose socket takes less than the stream gives is moved on to a newer key frame and is told so
//!   (`dropped`) in front of that. Until then bytes are in order and complete. It happens past one group of pictures, or
//!   2 s where that is longer; where no newer key frame is there, media may cease until the next one.
//! - `subscribe` to a stream that is subscribed already begins anew: the answer, the tracks, and media from the cached key
//!   frame on. `unsubscribe` is answered whether or not there was a subscription.
//! - A server may have a stream in several **qualities**, and gives a viewer one of them at a time: by `max_height`, and a
//!   lower one where the viewer's socket does not take a better one. It says which (`switched`) behind `subscribed`, and
//!   whenever it goes on with another one: that begins at a key frame, in an epoch of its own, whose fragments are no
//!   history. Epochs and sequences count over all qualities together, so that a viewer sees gaps in both; whoever comes
//!   back to a quality finds its epoch announced once more. The qualities stand on one timeline, and another one begins
//!   behind what was sent of the one before; only where two cameras' clocks part it may step back once. While a quality
//!   gives no pictures and another one is tried, `offline` says `connecting`, and its own reason when none is left.
//!   `tracks` alone is enough for a client that does not know `switched`.
//! - `max_height` in `subscribe` is the height at which the stream is shown; a server that has it in one size only ignores
//!   it. A change of it is told by `quality`, but only to a server whose `welcome` has `"quality"` among its `features`:
//!   others take it for a message that is not allowed.
//! - A text message of a client has at most [`MAX_CLIENT_MESSAGE_LEN`] bytes. A client that sends what this page does not
//!   allow gets `error {code: bad_message}` and close code 1008.
//!   Unknown fields and unknown server messages must be ignored: they are how the protocol grows.
//! - The server sends a WebSocket ping every 10 s and closes a connection from which 30 s long nothing has come.
//!
//! # The binary header
//!
//! 44 bytes, big-endian (network order, like the boxes that follow). The payload begins at `header_len`, not
//! at 44: later versions may append fields.
//!
//! | offset | type | field | unit |
//! | --- | --- | --- | --- |
//! | 0 | u8 | kind | 1 init segment, 2 media segment |
//! | 1 | u8 | `header_len` | bytes; the payload begins here |
//! | 2 | u8 | track | index into `tracks` |
//! | 3 | u8 | flags | bit 0: key frame, decoding can begin here |
//! | 4 | u32 | number | the stream, from `subscribed` |
//! | 8 | u32 | epoch | from `tracks` |
//! | 12 | u32 | sequence | counts the fragments of a stream, over all its tracks and epochs; wraps |
//! | 16 | u64 | `decode_time_ticks` | of the track's timescale |
//! | 24 | i32 | `composition_offset_ticks` | presentation time = decode time + this |
//! | 28 | u32 | `duration_ticks` | the expected time to the next frame (the segment itself declares more, see below) |
//! | 32 | i64 | `capture_time_us` | microseconds since 1970 (UTC) by the server's clock: when the picture was taken |
//! | 40 | u32 | `payload_offset` | where in the payload the frame's own bytes begin (behind `moof` and `mdat` header) |
//!
//! In an init segment everything from `sequence` on is 0.
//!
//! A media segment is one `moof` and `mdat` with one frame of one track. Its declared duration is generous (200 ms and
//! more for video), because the next frame's time is not known yet and browsers drop frames up to the next key frame
//! when one comes later than twice the declared duration. So a browser's `buffered.end` is **not** the live edge: the
//! live edge is the newest header's presentation time.
//!
//! The frame's own bytes are what a decoder takes: H.264 and H.265 as length-prefixed NAL units (4 bytes each), AAC as
//! a raw access unit. [`Track::decoder_config`] holds the matching `avcC` / `hvcC` / `AudioSpecificConfig`.
//!
//! # What does not belong here
//!
//! Sockets, clocks, MP4 boxes, and any policy: see the proxy's `egress` and the player's `session`.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod base64;
mod frame;
mod header;
mod message;

pub use frame::{FRAME_HEAD_MAX, frame_head};
pub use header::{HEADER_LEN, Header, HeaderError, Kind};
pub use message::{ClientMessage, ErrorCode, Media, ServerMessage, Track};

/// The protocol versions this crate speaks, oldest first.
pub const VERSIONS: &[u16] = &[1];

/// The codecs a client is taken to decode when it sends no `hello`.
pub const DEFAULT_CODECS: &[&str] = &["avc1", "mp4a.40.2"];

/// The longest text message a client may send, in bytes.
pub const MAX_CLIENT_MESSAGE_LEN: usize = 16 * 1024;

/// Whether one of `codecs`, as in `hello`, covers `codec`, an RFC 6381 string.
///
/// An entry covers itself and everything below it: `avc1` covers `avc1.42c01e`, and `mp4a.40.2` does not cover
/// `mp4a.40.29`.
pub fn covers<S: AsRef<str>>(codecs: &[S], codec: &str) -> bool {
    codecs.iter().any(|entry| {
        codec
            .strip_prefix(entry.as_ref())
            .is_some_and(|rest| !entry.as_ref().is_empty() && (rest.is_empty() || rest.starts_with('.')))
    })
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_codec_entry_covers_itself_and_what_is_below_it() {
        assert!(covers(&["avc1"], "avc1.42c01e"));
        assert!(covers(&["mp4a.40.2"], "mp4a.40.2"));
        assert!(!covers(&["mp4a.40.2"], "mp4a.40.29"));
        assert!(!covers(&["avc1"], "hvc1.1.6.L93.B0"));
        assert!(!covers(&[""], "avc1.42c01e"));
        assert!(!covers::<&str>(&[], "avc1.42c01e"));
    }
}
