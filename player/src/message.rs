//! Reads the server's text messages and writes ours.
//!
//! `sightline-wire` defines them and derives a reader and a writer; here is a second, small pair for the browser. The
//! derived reader of an internally tagged enum costs the download 30 KB (it buffers every field generically and carries
//! words for every way to be wrong), and a browser needs none of that. The tests hold the two together.
//!
//! Invariant: what this reader takes is equal to what `sightline-wire` reads.

use sightline_wire::{ClientMessage, ErrorCode, Media, ServerMessage, Track};

use crate::json::{Object, Value};
use crate::prelude::*;

/// Writes a message.
pub fn write(message: &ClientMessage) -> String {
    let object = Object::new();
    match message {
        ClientMessage::Hello { version, codecs } => {
            object.str("type", "hello").int("version", i64::from(*version)).list("codecs", codecs)
        }
        ClientMessage::Subscribe { stream, audio, max_height } => {
            let object = object.str("type", "subscribe").str("stream", stream).bool("audio", *audio);
            if max_height.is_some() { height(object, *max_height) } else { object }
        }
        ClientMessage::Quality { stream, max_height } => {
            height(object.str("type", "quality").str("stream", stream), *max_height)
        }
        ClientMessage::Unsubscribe { stream } => object.str("type", "unsubscribe").str("stream", stream),
        ClientMessage::Ping { client_time_ms } => {
            object.str("type", "ping").num("client_time_ms", *client_time_ms)
        }
    }
    .finish()
}

fn height(object: Object, max_height: Option<u32>) -> Object {
    object.int("max_height", max_height.map(i64::from))
}

/// Reads a message; `None` for what this version does not know.
pub fn read(text: &str) -> Option<ServerMessage> {
    let message = &Value::parse(text)?;
    let number = message.int("number");
    Some(match message.text("type")?.as_str() {
        "welcome" => {
            ServerMessage::Welcome {
                versions: all(message.list("versions")?, |version| version.as_int()?.try_into().ok())?,
                server: message.text("server")?,
                time_us: message.int("time_us")?,
                features: match message.list("features") {
                    Some(features) => all(features, |feature| {
                        if let Value::Text(name) = feature { Some(name.clone()) } else { None }
                    })?,
                    None => Vec::new(),
                },
            }
        }
        "subscribed" => ServerMessage::Subscribed { stream: message.text("stream")?, number: number? },
        "unsubscribed" => ServerMessage::Unsubscribed { stream: message.text("stream")?, number: number? },
        "tracks" => ServerMessage::Tracks {
            number: number?,
            epoch: message.int("epoch")?,
            catch_up_sequence: match message.field("catch_up_sequence") {
                Some(_) => Some(message.int("catch_up_sequence")?),
                None => None,
            },
            tracks: all(message.list("tracks")?, track)?,
        },
        "online" => ServerMessage::Online { number: number? },
        "offline" => ServerMessage::Offline {
            number: number?,
            since_time_us: message.int("since_time_us")?,
            code: message.text("code")?,
            reason: message.text("reason")?,
        },
        "dropped" => ServerMessage::Dropped { number: number?, frames: message.int("frames")? },
        "switched" => ServerMessage::Switched { number: number?, quality: message.text("quality")? },
        "error" => ServerMessage::Error {
            code: error_code(&message.text("code")?),
            message: message.text("message")?,
            retryable: message.bool("retryable")?,
            stream: message.text("stream"),
        },
        "pong" => ServerMessage::Pong {
            client_time_ms: message.num("client_time_ms")?,
            time_us: message.int("time_us")?,
        },
        _ => return None,
    })
}

/// What each of them is; `None` where one is nothing that is known.
fn all<T>(values: &[Value], read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    let mut all = Vec::new();
    for value in values {
        all.push(read(value)?);
    }
    Some(all)
}

fn track(track: &Value) -> Option<Track> {
    Some(Track {
        index: track.int("index")?,
        codec: track.text("codec")?,
        timescale: track.int("timescale")?,
        decoder_config: base64(&track.text("decoder_config")?),
        media: match track.text("kind")?.as_str() {
            "video" => Media::Video { width: track.int("width")?, height: track.int("height")? },
            "audio" => {
                Media::Audio { sample_rate: track.int("sample_rate")?, channels: track.int("channels")? }
            }
            _ => return None,
        },
    })
}

/// What base64 stands for (RFC 4648, 4), up to where it ends or is none.
fn base64(text: &str) -> Vec<u8> {
    let (mut out, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}

/// The code's name, as on the wire.
pub fn error_name(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownStream => "unknown_stream",
        ErrorCode::UnsupportedCodec => "unsupported_codec",
        ErrorCode::UnsupportedVersion => "unsupported_version",
        ErrorCode::BadMessage => "bad_message",
        ErrorCode::TooMany => "too_many",
        ErrorCode::TooSlow => "too_slow",
        ErrorCode::ShuttingDown => "shutting_down",
        ErrorCode::Other => "other",
    }
}

fn error_code(name: &str) -> ErrorCode {
    use ErrorCode::{
        BadMessage, ShuttingDown, TooMany, TooSlow, UnknownStream, UnsupportedCodec, UnsupportedVersion,
    };
    [UnknownStream, UnsupportedCodec, UnsupportedVersion, BadMessage, TooMany, TooSlow, ShuttingDown]
        .into_iter()
        .find(|&code| error_name(code) == name)
        .unwrap_or(ErrorCode::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_golden_message_is_read_as_the_wire_crate_reads_it() {
        let vectors = include_str!("../../proxy/wire/vectors/server.jsonl");
        assert!(vectors.lines().count() >= 10);
        for line in vectors.lines() {
            let expected: ServerMessage = serde_json::from_str(line).expect("a golden message");
            assert_eq!(read(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn every_golden_message_that_is_written_is_read_back_by_the_wire_crate() {
        let vectors = include_str!("../../proxy/wire/vectors/client.jsonl");
        assert!(vectors.lines().count() >= 4);
        for line in vectors.lines() {
            let message: ClientMessage = serde_json::from_str(line).expect("a golden message");
            let back: ClientMessage = serde_json::from_str(&write(&message)).expect("what was written");
            assert_eq!(back, message);
        }
    }

    #[test]
    fn every_error_code_is_named_as_on_the_wire() {
        for name in [
            "unknown_stream",
            "unsupported_codec",
            "unsupported_version",
            "bad_message",
            "too_many",
            "too_slow",
            "shutting_down",
            "from_the_future",
        ] {
            let expected: ErrorCode = serde_json::from_value(name.into()).expect("reads");
            assert_eq!(error_code(name), expected);
        }
    }

    #[test]
    fn bytes_of_any_length_are_read_from_base64() {
        for (text, bytes) in [("", &[][..]), ("AA==", &[0]), ("+/8=", &[251, 255]), ("AULA", &[1, 66, 192])] {
            assert_eq!(base64(text), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_message_is_no_message() {
        for text in ["", "{", "[]", "{}", r#"{"type":"later"}"#, r#"{"type":"online","number":-1}"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
