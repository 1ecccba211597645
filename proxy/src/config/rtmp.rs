//! PURE: `[rtmp]` and `publish`: where encoders push to, and who may.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// `[rtmp]`: how encoders reach it. Off unless it is written or asked for on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rtmp {
    /// Where encoders connect; off by default.
    pub listen: Option<SocketAddr>,
    /// The same with TLS; off by default.
    pub rtmps: Option<Rtmps>,
}

/// `rtmps = { listen, certificate, key }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtmps {
    /// Where encoders connect.
    pub listen: SocketAddr,
    /// Its certificate and those it depends on: a PEM file.
    pub certificate: PathBuf,
    /// The certificate's private key: a PEM file.
    pub key: PathBuf,
}

/// `publish = { key, second_publisher }`: an encoder pushes the stream.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Publish {
    /// What the encoder must know. None is allowed on this machine only.
    pub key: Option<Key>,
    /// What becomes of a second encoder.
    pub second_publisher: SecondPublisher,
}

/// What becomes of an encoder that publishes a stream which another one publishes already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SecondPublisher {
    /// It takes the stream over. The default: an encoder that lost its connection is back before its old one is dead.
    #[default]
    Takeover,
    /// It is refused.
    Refuse,
}

/// A stream key. Never shown: not by `Debug`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

/// The longest key, in bytes.
const MAX_KEY_LEN: usize = 256;

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has 1 to {MAX_KEY_LEN} printable characters without spaces")]
pub struct KeyError;

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > MAX_KEY_LEN || !printable {
            return Err(KeyError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}
