//! Cameras in: the one loop that connects, watches for stalls, backs off and connects again.
//!
//! What belongs here: when to connect, when to give up on a session, how long to wait. What a session is belongs to
//! the protocol modules beside it: each gives [`Event`]s. Invariant: the loop of a stream never ends and never touches
//! another stream.

mod backoff;
mod capture;
pub mod rtsp;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout, timeout_at};

use self::backoff::Backoff;
use crate::{
    config::Source,
    hub::{Fault, State, Stream},
    media::{Frame, Track},
};

/// How long a stream that is fetched on demand goes on after its last viewer left.
const LINGER: Duration = Duration::from_secs(5);

/// A session that gave pictures for this long was a good one: the next retry is quick again.
const GOOD_SESSION: Duration = Duration::from_secs(5);

/// What a session gives.
#[derive(Debug)]
pub enum Event {
    /// The tracks, before their first frame and whenever they change.
    Tracks(Vec<Track>),
    /// The next frame in decoding order, and when its last packet came in.
    Frame(Frame, std::time::Instant),
    /// So many packets of video did not come.
    Lost(u16),
}

/// One stream's camera and how to treat it.
#[derive(Debug)]
pub struct Job {
    /// The stream it feeds.
    pub stream: Arc<Stream>,
    /// The camera.
    pub source: Source,
    /// From the first packet sent to the answer to PLAY.
    pub connect_timeout: Duration,
    /// The longest time without a picture.
    pub stall_timeout: Duration,
}

impl Job {
    /// Feeds the stream for as long as the task lives.
    pub async fn run(self) {
        let mut viewers = self.stream.viewers();
        let mut backoff = Backoff::default();
        loop {
            if self.stream.on_demand && *viewers.borrow_and_update() == 0 {
                self.stream.set_state(State::Idle, None);
                backoff = Backoff::default();
                // The sender lives in the stream, which this job holds: waiting cannot fail.
                let _ = viewers.wait_for(|n| *n > 0).await;
            }
            if self.stream.status().state == State::Idle {
                self.stream.set_state(State::Connecting, None);
            }
            let began = Instant::now();
            let fault = tokio::select! {
                fault = self.session() => fault,
                () = self.unwanted() => {
                    tracing::info!(stream = %self.stream.name, "nobody watches any more: the camera is let go");
                    continue;
                }
            };
            let known = self.stream.status().fault.as_ref() == Some(&fault);
            if !known {
                tracing::warn!(
                    stream = %self.stream.name, camera = %self.source, code = fault.code,
                    "no pictures: {}", fault.reason
                );
            }
            self.stream.set_state(State::Offline, Some(fault));
            if began.elapsed() >= GOOD_SESSION + self.stall_timeout {
                backoff = Backoff::default();
            }
            let wait = backoff.next(*viewers.borrow_and_update() > 0, rand::random());
            // Somebody who comes to look should not have to wait for a long pause to end.
            let _ = timeout(wait, viewers.wait_for(|n| *n > 0 && wait > backoff::WATCHED_MAX)).await;
        }
    }

    /// Ends when nobody has watched a stream on demand for [`LINGER`].
    async fn unwanted(&self) {
        if !self.stream.on_demand {
            return std::future::pending().await;
        }
        let mut viewers = self.stream.viewers();
        loop {
            let _ = viewers.wait_for(|n| *n == 0).await;
            if timeout(LINGER, viewers.wait_for(|n| *n > 0)).await.is_err() {
                return;
            }
        }
    }

    /// One session of the camera, from connecting to what ended it.
    async fn session(&self) -> Fault {
        let connecting = rtsp::Session::connect(&self.source);
        let mut session = match timeout(self.connect_timeout, connecting).await {
            Ok(Ok(session)) => session,
            Ok(Err(fault)) => return fault,
            Err(_) => {
                let reason =
                    format!("the camera did not answer within {} ms", self.connect_timeout.as_millis());
                return Fault { code: "connect_failed", reason };
            }
        };
        let publisher = self.stream.publish();
        let mut has_video = true;
        let mut deadline = Instant::now() + self.stall_timeout;
        loop {
            match timeout_at(deadline, session.next()).await {
                Err(_) => {
                    let reason = format!("no picture for {} ms", self.stall_timeout.as_millis());
                    return Fault { code: "stalled", reason };
                }
                Ok(Err(fault)) => return fault,
                Ok(Ok(Event::Lost(packets))) => publisher.lost(packets),
                Ok(Ok(Event::Tracks(tracks))) => {
                    has_video = tracks.iter().any(Track::is_video);
                    tracing::info!(stream = %self.stream.name, camera = %self.source, tracks = %summary(&tracks), "live");
                    if let Err(error) = publisher.tracks(tracks, std::time::Instant::now()) {
                        let reason = format!("the camera's parameter sets cannot be packed: {error}");
                        return Fault { code: "unsupported", reason };
                    }
                }
                Ok(Ok(Event::Frame(frame, received))) => {
                    publisher.frame(&frame, received);
                    if frame.duration_ticks.is_none() || !has_video {
                        deadline = Instant::now() + self.stall_timeout;
                    }
                }
            }
        }
    }
}

fn summary(tracks: &[Track]) -> String {
    tracks.iter().map(|track| track.codec.as_str()).collect::<Vec<_>>().join(" + ")
}
