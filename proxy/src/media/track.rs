//! What a track holds, as its bitstream says.

use bytes::Bytes;

/// One track of a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Exact codec string (RFC 6381), from the bitstream and never from a table.
    pub codec: String,
    /// Ticks a second of every time of this track.
    pub timescale: u32,
    /// What a decoder is configured with: the contents of `avcC`, or the `AudioSpecificConfig`.
    pub decoder_config: Bytes,
    /// What kind of track it is.
    pub media: Media,
}

/// The kinds of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// H.264 pictures.
    Video {
        /// Cropped width in pixels.
        width: u32,
        /// Cropped height in pixels.
        height: u32,
        /// Sample aspect ratio, width to height; 1:1 when the stream does not say.
        sample_aspect: (u16, u16),
    },
    /// AAC sound.
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
