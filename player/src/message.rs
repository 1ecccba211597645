//! Reads the server's text messages and writes ours.
//!
//! `sightline-wire` defines them and derives a reader and a writer; here is a second, small pair for the browser. The
//! derived reader of an internally tagged enum costs the download 30 KB (it buffers every field generically and carries
//! words for every way to be wrong), and a browser needs none of that. The tests hold the two together.
//!
//! Invariant: what this reader takes is equal to what `sightline-wire` reads, but for `decoder_config`, which Media
//! Source Extensions do not need and which is left empty.

use miniserde::{Deserialize, json};
use sightline_wire::{ClientMessage, ErrorCode, Media, ServerMessage, Track};

use crate::json::Object;

/// The fields of all messages together: each message has some of them.
#[derive(Deserialize)]
struct Fields {
    r#type: String,
    versions: Option<Vec<u16>>,
    server: Option<String>,
    time_us: Option<i64>,
    features: Option<Vec<String>>,
    stream: Option<String>,
    number: Option<u32>,
    epoch: Option<u32>,
    catch_up_sequence: Option<u32>,
    tracks: Option<Vec<TrackFields>>,
    since_time_us: Option<i64>,
    code: Option<String>,
    reason: Option<String>,
    frames: Option<u32>,
    message: Option<String>,
    retryable: Option<bool>,
    client_time_ms: Option<f64>,
}

#[derive(Deserialize)]
struct TrackFields {
    index: u8,
    codec: String,
    timescale: u32,
    kind: String,
    width: Option<u32>,
    height: Option<u32>,
    sample_rate: Option<u32>,
    channels: Option<u32>,
}

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
    let fields: Fields = json::from_str(text).ok()?;
    Some(match fields.r#type.as_str() {
        "welcome" => ServerMessage::Welcome {
            versions: fields.versions?,
            server: fields.server?,
            time_us: fields.time_us?,
            features: fields.features.unwrap_or_default(),
        },
        "subscribed" => ServerMessage::Subscribed { stream: fields.stream?, number: fields.number? },
        "unsubscribed" => ServerMessage::Unsubscribed { stream: fields.stream?, number: fields.number? },
        "tracks" => ServerMessage::Tracks {
            number: fields.number?,
            epoch: fields.epoch?,
            catch_up_sequence: fields.catch_up_sequence,
            tracks: fields.tracks?.into_iter().map(track).collect::<Option<_>>()?,
        },
        "online" => ServerMessage::Online { number: fields.number? },
        "offline" => ServerMessage::Offline {
            number: fields.number?,
            since_time_us: fields.since_time_us?,
            code: fields.code?,
            reason: fields.reason?,
        },
        "dropped" => ServerMessage::Dropped { number: fields.number?, frames: fields.frames? },
        "error" => ServerMessage::Error {
            code: error_code(&fields.code?),
            message: fields.message?,
            retryable: fields.retryable?,
            stream: fields.stream,
        },
        "pong" => ServerMessage::Pong { client_time_ms: fields.client_time_ms?, time_us: fields.time_us? },
        _ => return None,
    })
}

fn track(track: TrackFields) -> Option<Track> {
    Some(Track {
        index: track.index,
        codec: track.codec,
        timescale: track.timescale,
        decoder_config: Vec::new(),
        media: match track.kind.as_str() {
            "video" => Media::Video { width: track.width?, height: track.height? },
            "audio" => Media::Audio { sample_rate: track.sample_rate?, channels: track.channels? },
            _ => return None,
        },
    })
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
            let mut expected: ServerMessage = serde_json::from_str(line).expect("a golden message");
            if let ServerMessage::Tracks { tracks, .. } = &mut expected {
                for track in tracks {
                    track.decoder_config.clear();
                }
            }
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
    fn what_is_not_a_message_is_no_message() {
        for text in ["", "{", "[]", "{}", r#"{"type":"later"}"#, r#"{"type":"online","number":-1}"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
