//! Cameras in: the one loop that connects, watches for stalls, backs off and connects again.
//!
//! What belongs here: when to connect, when to give up on a session, how long to wait. What a session is belongs to
//! the protocol modules beside it: each gives [`Event`]s. Invariant: the loop of a stream never ends and never touches
//! another stream.

mod backoff;
mod camera;
mod dial;
mod feed;
pub mod rtmp;
pub mod rtsp;
mod tls;

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};

pub use self::camera::{Camera, Target};
use self::{
    backoff::Backoff,
    feed::{Feed, Pictures},
};
use crate::{
    hub::{Fault, State, Stream},
    media::{Frame, Track},
};

/// How long a stream that is fetched on demand goes on after its last viewer left.
const LINGER: Duration = Duration::from_secs(5);

/// A session that gave pictures for this long was a good one: the next retry is quick again.
const GOOD_SESSION: Duration = Duration::from_secs(5);

/// How long a camera rests on which this program failed.
const AFTER_PANIC: Duration = Duration::from_secs(10);

/// The code of a refused or missing password.
const UNAUTHORIZED: &str = "unauthorized";

/// What a session gives.
#[derive(Debug)]
pub enum Event {
    /// The tracks, before their first frame and whenever they change.
    Tracks(Vec<Track>),
    /// A picture came that cannot be passed on: the parameter sets it needs are still to come.
    Undescribed,
    /// The next frame in decoding order, and when its last packet came in.
    Frame(Frame, std::time::Instant),
    /// So many packets of video did not come.
    Lost(u16),
    /// The camera's clock jumped, and the session's times go on without a jump.
    Jumped,
    /// What the sender says it is, for people.
    Encoder(String),
    /// Something that is not as it should be, though pictures come: a code, and a sentence for the operator.
    Warning(&'static str, String),
}

/// What gives pictures, whatever it speaks.
pub(crate) trait Session: Send {
    /// What comes next. Waits for as long as the other end is silent.
    fn next(&mut self) -> impl Future<Output = Result<Event, Fault>> + Send;
}

/// One stream's camera and how to treat it.
#[derive(Clone, Debug)]
pub struct Job {
    /// The stream it feeds.
    pub stream: Arc<Stream>,
    /// The camera.
    pub target: Target,
    /// The longest time without a picture.
    pub stall_timeout: Duration,
}

impl Job {
    /// Feeds the stream for as long as the task lives. A fault of this program that a camera brings to light costs that
    /// camera a pause, and nobody else anything.
    pub async fn run(self) {
        let mut attempt = JoinSet::new();
        loop {
            attempt.spawn(self.clone().feed());
            let Some(Err(error)) = attempt.join_next().await else { return };
            tracing::error!(stream = %self.stream.label(), camera = %self.target.source, %error, "please report this");
            let reason = "this program failed on what the camera sent; it is tried again".into();
            self.stream.set_state(State::Offline, Some(Fault { code: "internal", reason }));
            tokio::time::sleep(AFTER_PANIC).await;
        }
    }

    async fn feed(self) {
        let mut target = self.target.clone();
        let mut viewers = self.stream.viewers();
        let mut backoff = Backoff::default();
        loop {
            if self.stream.on_demand && *viewers.borrow_and_update() == 0 {
                self.stream.set_state(State::Idle, None);
                backoff = Backoff::default();
                // The sender lives in the stream, which this job holds: waiting cannot fail.
                let _ = viewers.wait_for(|n| *n > 0).await;
            }
            if self.stream.status().state != State::Offline {
                self.stream.set_state(State::Connecting, None);
            }
            let mut pictures = None;
            let fault = tokio::select! {
                fault = self.session(&mut target, &mut pictures) => fault,
                () = self.unwanted() => {
                    tracing::info!(stream = %self.stream.label(), "nobody watches any more: the camera is let go");
                    continue;
                }
            };
            let known = self.stream.status().fault.as_ref() == Some(&fault);
            if !known {
                tracing::warn!(
                    stream = %self.stream.label(), camera = %self.target.source, code = fault.code,
                    "no pictures: {}", fault.reason
                );
            }
            let refused = fault.code == UNAUTHORIZED;
            self.stream.set_state(State::Offline, Some(fault));
            if refused {
                tokio::time::sleep(backoff::REFUSED).await;
                continue;
            }
            if pictures.is_some_and(|pictures: Pictures| pictures.last - pictures.first >= GOOD_SESSION) {
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
    async fn session(&self, target: &mut Target, pictures: &mut Option<Pictures>) -> Fault {
        let mut session = match Camera::connect(target).await {
            Ok(session) => session,
            Err(fault) => return fault,
        };
        let transport = session.transport();
        tracing::info!(stream = %self.stream.label(), camera = %self.target.source, transport, "connected");
        let publisher = self.stream.publish();
        publisher.transport(transport);
        let feed = Feed {
            stream: &self.stream,
            publisher,
            from: &self.target.source,
            stall_timeout: self.stall_timeout,
        };
        let fault = feed.run(&mut session, pictures).await;
        // Reports and sound may come where pictures, in packets as large as the network lets through, do not.
        let pictureless = fault.code == feed::STALLED_CODE && pictures.is_none();
        if transport == "udp" && (pictureless || fault.code == feed::NO_KEY_FRAME_CODE) {
            target.rtsp.doubt_udp();
        }
        fault
    }
}
