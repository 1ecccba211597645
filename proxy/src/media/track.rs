//! What a track holds, as its bitstream says.

use bytes::Bytes;

/// One track of a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// How it is coded.
    pub coding: Coding,
    /// Exact codec string (RFC 6381), from the bitstream and never from a table.
    pub codec: String,
    /// Ticks a second of every time of this track.
    pub timescale: u32,
    /// What a decoder is configured with; [`Coding`] says in which form.
    pub decoder_config: Bytes,
    /// What kind of track it is.
    pub media: Media,
}

/// The codings that are passed on, and the form of their decoder configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 5.3.3.1).
    H264,
    /// `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 8.3.3.1).
    H265,
    /// `AV1CodecConfigurationRecord` (AV1 in ISOBMFF, 2.3).
    Av1,
    /// `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1).
    Aac,
    /// `OpusHead`, as in Ogg (RFC 7845, 5.1).
    Opus,
    /// The `STREAMINFO` block's 34 bytes (RFC 9639, 8.2).
    Flac,
}

impl Coding {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
            Self::Av1 => "AV1",
            Self::Aac => "AAC",
            Self::Opus => "Opus",
            Self::Flac => "FLAC",
        }
    }
}

/// The kinds of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// Pictures.
    Video {
        /// Cropped width in pixels.
        width: u32,
        /// Cropped height in pixels.
        height: u32,
        /// Sample aspect ratio, width to height; 1:1 when the stream does not say.
        sample_aspect: (u16, u16),
    },
    /// Sound.
    Audio {
        /// Samples a second.
        sample_rate: u32,
        /// Channels.
        channels: u16,
    },
}

impl Track {
    /// Whether it holds pictures.
    pub fn is_video(&self) -> bool {
        matches!(self.media, Media::Video { .. })
    }
}
