//! The text messages: JSON objects told apart by `type`.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::base64;

/// What a client says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Picks a version and names what the client decodes. Send it before the first `subscribe`.
    Hello {
        /// One of the versions in `welcome`.
        version: u16,
        /// RFC 6381 codec strings or their beginnings, such as `avc1`, `hvc1.1`, `mp4a.40.2`, `opus`, `flac`.
        codecs: Vec<String>,
    },
    /// Asks for a stream.
    Subscribe {
        /// The stream's name.
        stream: String,
        /// Whether its sound is wanted.
        #[serde(default = "yes")]
        audio: bool,
        /// The height at which it is shown, in pixels of the screen: a server that has the stream in several sizes may
        /// give the smallest that is hardly lower. Absent: the best there is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_height: Option<u32>,
    },
    /// The subscribed stream is shown at another height from now on. Only to a server with the feature `quality`. It has
    /// no answer; where the server changes to another size, `switched` follows.
    Quality {
        /// The stream's name.
        stream: String,
        /// As in `subscribe`; null: the best there is.
        max_height: Option<u32>,
    },
    /// Ends a subscription. No media of the stream follows the answer.
    Unsubscribe {
        /// The stream's name.
        stream: String,
    },
    /// Asks for the server's clock.
    Ping {
        /// The client's clock in milliseconds from any origin, given back in `pong`.
        client_time_ms: f64,
    },
}

fn yes() -> bool {
    true
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The first message of every connection.
    Welcome {
        /// The versions the server speaks.
        versions: Vec<u16>,
        /// Name and version of the server.
        server: String,
        /// The server's clock, in microseconds since 1970.
        time_us: i64,
        /// Messages beyond the first ones of version 1 that the server takes: `quality`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        features: Vec<String>,
    },
    /// The answer to `subscribe`. `tracks` follows as soon as the camera's tracks are known.
    Subscribed {
        /// The stream's name.
        stream: String,
        /// Stands for the stream in every later message.
        number: u32,
    },
    /// The answer to `unsubscribe`.
    Unsubscribed {
        /// The stream's name.
        stream: String,
        /// Its number.
        number: u32,
    },
    /// An epoch begins: the init segment of each track follows, in order.
    Tracks {
        /// The stream's number.
        number: u32,
        /// The epoch that begins.
        epoch: u32,
        /// Everything up to this fragment is history, sent to be decoded and not to be shown in real time.
        /// Absent when there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        catch_up_sequence: Option<u32>,
        /// The tracks this client gets: those it decodes and asked for.
        tracks: Vec<Track>,
    },
    /// The camera gives pictures.
    Online {
        /// The stream's number.
        number: u32,
    },
    /// The camera gives no pictures. The subscription stays: `online` follows when it is back.
    Offline {
        /// The stream's number.
        number: u32,
        /// Since when, in microseconds since 1970.
        since_time_us: i64,
        /// What is wrong, for programs: `connecting`, `connect_failed`, `unauthorized`, `not_found`, `stalled` …
        code: String,
        /// What is wrong, for people.
        reason: String,
    },
    /// The client was too slow: frames were left out, and the next one is a key frame.
    Dropped {
        /// The stream's number.
        number: u32,
        /// How many frames of video; of sound where the stream has no video.
        frames: u32,
    },
    /// From here on the stream comes in another quality, or, behind `subscribed`, in this one of several. `tracks` follows,
    /// and media from a key frame on.
    Switched {
        /// The stream's number.
        number: u32,
        /// The quality's name, as the server's configuration calls it.
        quality: String,
    },
    /// Something the client asked for cannot be.
    Error {
        /// What, for programs.
        code: ErrorCode,
        /// What and what to do, for people.
        message: String,
        /// Whether asking again later can help.
        retryable: bool,
        /// The stream it is about, if it is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream: Option<String>,
    },
    /// The answer to `ping`.
    Pong {
        /// What the client sent.
        client_time_ms: f64,
        /// The server's clock, in microseconds since 1970.
        time_us: i64,
    },
}

/// One track of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// The header's `track`.
    pub index: u8,
    /// The exact RFC 6381 codec string, from the bitstream.
    pub codec: String,
    /// Ticks a second.
    pub timescale: u32,
    /// What the decoder is configured with: the contents of `avcC` or `hvcC`, or the `AudioSpecificConfig`.
    #[serde(with = "base64")]
    pub decoder_config: Vec<u8>,
    /// What kind of track it is.
    #[serde(flatten)]
    pub media: Media,
}

/// What a track holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Media {
    /// Pictures.
    Video {
        /// In pixels, cropped.
        width: u32,
        /// In pixels, cropped.
        height: u32,
    },
    /// Sound.
    Audio {
        /// Samples a second.
        sample_rate: u32,
        /// Channels.
        channels: u32,
    },
}

impl Track {
    /// The MIME type for `MediaSource.isTypeSupported` and `addSourceBuffer`.
    pub fn mime(&self) -> String {
        let kind = if self.is_video() { "video" } else { "audio" };
        [kind, "/mp4; codecs=\"", &self.codec, "\""].concat()
    }

    /// Whether it holds pictures.
    pub fn is_video(&self) -> bool {
        matches!(self.media, Media::Video { .. })
    }
}

/// Why something cannot be, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// No stream has this name.
    UnknownStream,
    /// The client decodes none of the stream's video.
    UnsupportedCodec,
    /// The server does not speak the version asked for.
    UnsupportedVersion,
    /// The client sent what the protocol does not allow.
    BadMessage,
    /// A limit of the server is reached.
    TooMany,
    /// The client did not read for too long.
    TooSlow,
    /// The server is stopping.
    ShuttingDown,
    /// A code this version does not know.
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line of a vector file is one message; reading and writing it must give the same JSON.
    fn golden<T: Serialize + for<'a> Deserialize<'a> + std::fmt::Debug>(lines: &str) -> usize {
        for line in lines.lines() {
            let message: T = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            assert_eq!(serde_json::to_string(&message).expect("serialises"), line, "{message:?}");
        }
        lines.lines().count()
    }

    #[test]
    fn text_messages_match_their_golden_vectors() {
        assert_eq!(golden::<ClientMessage>(include_str!("../vectors/client.jsonl")), 7);
        assert_eq!(golden::<ServerMessage>(include_str!("../vectors/server.jsonl")), 12);
    }

    #[test]
    fn unknown_fields_and_codes_are_tolerated() {
        let message = r#"{"type":"error","code":"from_the_future","message":"m","retryable":true,"x":1}"#;
        let ServerMessage::Error { code, .. } = serde_json::from_str(message).expect("reads") else {
            panic!("not an error")
        };
        assert_eq!(code, ErrorCode::Other);
    }

    #[test]
    fn a_subscription_has_sound_unless_it_says_otherwise() {
        let message: ClientMessage =
            serde_json::from_str(r#"{"type":"subscribe","stream":"gate"}"#).expect("reads");
        assert_eq!(
            message,
            ClientMessage::Subscribe { stream: "gate".into(), audio: true, max_height: None }
        );
    }

    #[test]
    fn a_mime_type_carries_the_exact_codec_string() {
        let track = Track {
            index: 0,
            codec: "avc1.42c01e".into(),
            timescale: 90_000,
            decoder_config: vec![],
            media: Media::Video { width: 640, height: 360 },
        };
        assert_eq!(track.mime(), "video/mp4; codecs=\"avc1.42c01e\"");
    }
}
