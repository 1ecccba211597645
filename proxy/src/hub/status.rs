//! What a stream tells of itself: its state, what is wrong with it, what it counted.

use std::net::SocketAddr;

use crate::media::Track;

/// Who sends the pictures, where they come to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where from.
    pub address: SocketAddr,
    /// What it calls itself.
    pub encoder: Option<String>,
    /// Since when, in microseconds since 1970.
    pub since_time_us: i64,
}

/// Something an operator should see to, though pictures come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// For programs; one stream has at most one of each.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// Whether a stream gives pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nobody watches, so nothing is fetched.
    Idle,
    /// The camera is being asked.
    Connecting,
    /// Pictures come.
    Live,
    /// No pictures come; it will be tried again.
    Offline,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Connecting, Self::Live, Self::Offline];

    /// As the API and the metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Offline => "offline",
        }
    }
}

/// Why a stream gives no pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// For programs: `unauthorized`, `not_found`, `stalled` …
    pub code: &'static str,
    /// For people.
    pub reason: String,
}

/// What happened since the stream was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames of video passed on.
    pub frames: u64,
    /// Bytes of media passed on.
    pub bytes: u64,
    /// Frames not passed on: after a loss, before the first key frame, such as refer to what was before it, or too large.
    pub frames_discarded: u64,
    /// Frames that viewers were too slow for, over all viewers.
    pub frames_dropped: u64,
    /// Packets that the camera sent and that did not come.
    pub packets_lost: u64,
    /// Times the camera's clock jumped.
    pub clock_jumps: u64,
    /// Attempts to reach the camera that failed, and sessions that ended.
    pub failures: u64,
    /// Viewers who came here from another quality of the stream.
    pub switches: u64,
}

/// All there is to tell about a stream.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whether it gives pictures.
    pub state: State,
    /// Since when, in microseconds since 1970.
    pub since_time_us: i64,
    /// The last thing that went wrong, if it is still so.
    pub fault: Option<Fault>,
    /// How many watch; of several qualities, this one.
    pub viewers: usize,
    /// The tracks of the current epoch.
    pub tracks: Vec<Track>,
    /// Video, over the last seconds.
    pub bits_per_second: u64,
    /// Video, over the last seconds.
    pub frames_per_second: f64,
    /// Between the last two key frames.
    pub key_frame_interval_ms: Option<u32>,
    /// Bytes held for viewers who join or lag.
    pub ring_bytes: usize,
    /// Who publishes, where that is not a camera we asked.
    pub origin: Option<Origin>,
    /// How the camera's packets come, while there is a session that we asked for: `tcp`, `tls` or `udp`.
    pub transport: Option<&'static str>,
    /// What is not as it should be.
    pub warnings: Vec<Warning>,
    /// Totals.
    pub counts: Counts,
}
