//! PURE: how the packets of an RTSP camera are to come.

use std::str::FromStr;

/// `transport = "auto"`, `"tcp"` or `"udp"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// In the camera's own connection; by UDP where it refuses that.
    #[default]
    Auto,
    /// In the camera's own connection: nothing is lost.
    Tcp,
    /// By UDP; in the connection where nothing comes by UDP.
    Udp,
}

/// A word that is no transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be \"auto\", \"tcp\" or \"udp\"")]
pub struct TransportError;

impl FromStr for Transport {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<Self, TransportError> {
        match text {
            "auto" => Ok(Self::Auto),
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(TransportError),
        }
    }
}
