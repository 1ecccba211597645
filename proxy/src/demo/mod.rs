//! The built-in camera of `sightline demo`: a real RTSP server on loopback that plays a looped clip of a clock.
//!
//! Here: the pacing of the clip and the [`Source`] it makes. Not here: RTSP ([`crate::rtsp`]), the clip's bytes and where
//! it stands ([`clip`], PURE). Invariant: the seconds painted in a picture are the wall clock's when it is sent.

pub mod clip;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

use crate::rtsp::{AccessUnit, Limits, Offer, Server, Source, Track, server::unix_us};
use clip::{Clip, Playhead};

/// Access units a client's task may be late by: about two seconds.
const UNITS_KEPT: usize = 128;

/// A camera that runs until it is dropped.
#[derive(Debug)]
pub struct Camera {
    server: Server,
    pacing: AbortHandle,
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.pacing.abort();
    }
}

impl Camera {
    /// Starts it on a free port of loopback.
    ///
    /// # Errors
    /// Where no port can be had, or the clip inside this program is damaged.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(0, Limits::default()).await
    }

    /// As [`Camera::start`], with its clock ahead of the wall clock by this much, so that a test begins where it wants.
    pub(crate) async fn start_with(ahead_us: i64, limits: Limits) -> anyhow::Result<Self> {
        let clip = Clip::embedded().context("the demo clip")?;
        let listener =
            TcpListener::bind(("127.0.0.1", 0)).await.context("no port of loopback for the demo camera")?;
        let clock = Clock { ahead_us };
        let playhead = Playhead::new(clock.now_us());
        let (units, _) = broadcast::channel(UNITS_KEPT);
        let source = Arc::new(ClipSource {
            tracks: clip.tracks(),
            epoch_us: AtomicI64::new(playhead.epoch_us() - ahead_us),
            units,
        });
        let pacing = tokio::spawn(pace(clip, playhead, clock, Arc::clone(&source))).abort_handle();
        let mounts = [("demo".to_owned(), source as Arc<dyn Source>)].into();
        let server = Server::start(listener, mounts, limits).context("the demo camera's address")?;
        Ok(Self { server, pacing })
    }

    /// Where it is watched: `rtsp://127.0.0.1:PORT/demo`.
    pub fn url(&self) -> String {
        format!("rtsp://{}/demo", self.server.address())
    }

    /// The server behind it, for its counters.
    pub fn server(&self) -> &Server {
        &self.server
    }
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    ahead_us: i64,
}

impl Clock {
    fn now_us(self) -> i64 {
        unix_us() + self.ahead_us
    }
}

struct ClipSource {
    tracks: Arc<[Track]>,
    epoch_us: AtomicI64,
    units: broadcast::Sender<AccessUnit>,
}

impl Source for ClipSource {
    fn offer(&self) -> Offer {
        Offer { tracks: Arc::clone(&self.tracks), epoch_unix_us: self.epoch_us.load(Ordering::Relaxed) }
    }

    fn subscribe(&self) -> broadcast::Receiver<AccessUnit> {
        self.units.subscribe()
    }
}

/// Sends each unit when it is due, for ever.
async fn pace(clip: Clip, mut playhead: Playhead, clock: Clock, source: Arc<ClipSource>) {
    loop {
        let now_us = clock.now_us();
        if playhead.resync(now_us) {
            source.epoch_us.store(playhead.epoch_us() - clock.ahead_us, Ordering::Relaxed);
        }
        let wait_us = playhead.due_us() - now_us;
        if wait_us > 0 {
            tokio::time::sleep(Duration::from_micros(wait_us as u64)).await;
            continue;
        }
        // An error says that nobody watches.
        let _ = source.units.send(playhead.take(&clip));
    }
}

#[cfg(test)]
mod tests;
