//! Every metric's name, with its unit in the name, and the counters that no stream owns.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

/// Prefix of every name.
pub const PREFIX: &str = "sightline";

/// How many subscriptions there are, by stream; all that is by stream is by quality, too, where it has several.
pub const VIEWERS: &str = "viewers";
/// How many streams are in which state.
pub const STREAMS: &str = "streams";
/// 1 for the state a stream is in and 0 for the others, by stream and state.
pub const STREAM_STATE: &str = "stream_state";
/// Frames of video passed on, by stream.
pub const FRAMES: &str = "frames";
/// Bytes of media passed on, by stream.
pub const MEDIA_BYTES: &str = "media_bytes";
/// Frames that viewers were too slow for, by stream.
pub const FRAMES_DROPPED: &str = "frames_dropped";
/// Frames not passed on after a loss or before the first key frame, by stream.
pub const FRAMES_DISCARDED: &str = "frames_discarded";
/// Packets of the camera that did not come, by stream.
pub const PACKETS_LOST: &str = "packets_lost";
/// Times the camera's clock jumped, by stream.
pub const CLOCK_JUMPS: &str = "clock_jumps";
/// Attempts to reach the camera that failed and sessions that ended, by stream.
pub const CONNECT_FAILURES: &str = "connect_failures";
/// Bits a second of video over the last seconds, by stream.
pub const BITS_PER_SECOND: &str = "stream_bits_per_second";
/// Between the last two key frames, by stream.
pub const KEY_FRAME_INTERVAL_SECONDS: &str = "key_frame_interval_seconds";
/// Bytes held for viewers who join or lag, by stream.
pub const RING_BYTES: &str = "ring_bytes";
/// 1 for whoever publishes a stream, by stream, address and encoder.
pub const PUBLISHER: &str = "publisher_info";
/// Since when it publishes, in seconds since 1970, by stream.
pub const PUBLISHER_START_SECONDS: &str = "publisher_start_time_seconds";
/// 1 for each thing that is not as it should be, by stream and code.
pub const WARNING: &str = "stream_warning";
/// Viewers who came to a quality from another one, by stream and quality.
pub const QUALITY_SWITCHES: &str = "quality_switches";
/// 1 for the pictures of each of a stream's qualities, by stream, quality, codec, width and height.
pub const QUALITY: &str = "quality_info";
/// Open WebSocket connections.
pub const CONNECTIONS: &str = "websocket_connections";
/// Bytes handed to viewers' sockets.
pub const SENT_BYTES: &str = "websocket_sent_bytes";
/// From a frame's last packet in to its last byte handed to a viewer's socket.
pub const TRANSIT_SECONDS: &str = "transit_seconds";
/// Viewers for whom there was no room, by the limit that was reached.
pub const REFUSED: &str = "refused";
/// Open file descriptors.
pub const OPEN_FDS: &str = "process_open_fds";
/// Memory in use.
pub const RESIDENT_BYTES: &str = "process_resident_memory_bytes";
/// Tasks that are alive.
pub const TASKS: &str = "process_tasks";

/// A limit that was reached.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Limit {
    /// `max_viewers`, `stream_max_viewers` or `subscriptions`, of one connection.
    pub limit: &'static str,
}

impl Limit {
    /// Of the proxy.
    pub const VIEWERS: Self = Self { limit: "max_viewers" };
    /// Of a stream.
    pub const STREAM_VIEWERS: Self = Self { limit: "stream_max_viewers" };
    /// Of a connection.
    pub const SUBSCRIPTIONS: Self = Self { limit: "subscriptions" };
}

/// What is counted where it happens. Cloning a counter shares it.
#[derive(Debug)]
pub struct Metrics {
    /// [`CONNECTIONS`].
    pub connections: Gauge<i64, AtomicI64>,
    /// [`SENT_BYTES`].
    pub sent_bytes: Counter,
    /// [`TRANSIT_SECONDS`].
    pub transit_seconds: Histogram,
    /// [`REFUSED`].
    pub refused: Family<Limit, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets =
            [0.000_05, 0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0];
        let refused = Family::default();
        for limit in [Limit::VIEWERS, Limit::STREAM_VIEWERS, Limit::SUBSCRIPTIONS] {
            drop(refused.get_or_create(&limit)); // from 0 on
        }
        Self {
            connections: Gauge::default(),
            sent_bytes: Counter::default(),
            transit_seconds: Histogram::new(buckets),
            refused,
        }
    }
}
