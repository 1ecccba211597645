//! The main way out: one WebSocket a viewer, many streams on it. The protocol is `sightline-wire`'s page.
//!
//! There is no queue: a viewer's cursors are asked for what comes next whenever its socket has taken what came before. While
//! it keeps up that is done by its streams' crowds; its own task hears it, asks whether it is still there, and writes to it
//! while it catches up or its socket is full. Invariant: whatever a client sends or fails to read costs that client's
//! connection at most.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use sightline_wire::{ErrorCode, ServerMessage};
use tokio::{
    net::TcpStream,
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};
use tungstenite::{Message, protocol::CloseFrame};

use super::{
    crowd::{Crowds, Member},
    rate::RECOVERS_LOOK_EVERY,
    session::{End, Progress, Session, cut},
    silence::call_after,
    socket::Link,
};
use crate::{hub::Hub, metrics::Metrics};

/// How often a viewer is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(10);
/// A connection from which nothing came for this long is given up at the next ping, and so within 30 s.
const SILENT_MAX: Duration = Duration::from_secs(25);
/// A viewer that takes nothing for this long is given up.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// How long a viewer has to take why its connection ends.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// The longest reason a close frame holds, in bytes (RFC 6455, 5.5: 125 with its code).
const MAX_CLOSE_REASON: usize = 123;
/// A viewer is not heard while so many bytes wait that answer what it said.
const MAX_ANSWERS_LEN: usize = 16 * 1024;

/// What every viewer's connection needs.
#[derive(Clone, Debug)]
pub struct Service {
    /// The streams.
    pub hub: Arc<Hub>,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// Who writes to many viewers.
    pub crowds: Arc<Crowds<Viewer>>,
    /// Becomes true when the server stops.
    pub shutdown: watch::Receiver<bool>,
}

/// Serves one viewer behind its handshake until it leaves, misbehaves, stops reading, or the server stops. `early` is what
/// came together with the handshake; `stream` is subscribed at once.
pub async fn serve(tcp: TcpStream, early: Bytes, service: Service, stream: Option<String>) {
    let _connection = Connection::count(service.metrics.clone());
    let mut shutdown = service.shutdown.clone();
    let viewer = Arc::new(Viewer {
        link: Link::Plain(tcp),
        session: Mutex::new(Session::new(service, &early)),
        nudge: Notify::new(),
    });
    drop(early);
    let attended = Attended(viewer.clone());
    let end = viewer.attend(stream, &mut shutdown).await;
    tracing::debug!(?end, "viewer left");
    drop(attended);
    {
        let mut session = viewer.lock();
        session.socket.forget();
        match end {
            End::Gone => return,
            End::Left => session.socket.answer_close(),
            End::Close { code, reason, error } => {
                if let Some(code) = error {
                    let (message, retryable) = (reason.clone(), code == ErrorCode::ShuttingDown);
                    session.say(&ServerMessage::Error { code, message, retryable, stream: None });
                }
                let reason = cut(&reason, MAX_CLOSE_REASON).into();
                session.socket.say(Message::Close(Some(CloseFrame { code, reason })));
            }
        }
    }
    let _ = timeout(GOODBYE_MAX, viewer.drain()).await;
}

/// Counts a connection for as long as it lives, however it ends.
struct Connection(Arc<Metrics>);

impl Connection {
    fn count(metrics: Arc<Metrics>) -> Self {
        metrics.connections.inc();
        Self(metrics)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// Ends a viewer's subscriptions with its task, however that ends: crowds and viewer hold on to each other.
struct Attended(Arc<Viewer>);

impl Drop for Attended {
    fn drop(&mut self) {
        self.0.lock().unsubscribe_all();
    }
}

/// One viewer's connection.
#[derive(Debug)]
pub struct Viewer {
    link: Link,
    session: Mutex<Session>,
    /// Wakes its own task, which has to write from now on.
    nudge: Notify,
}

/// What stands in the way of writing more.
struct Written {
    progress: Progress,
    /// Since when the socket takes nothing.
    stuck_since: Instant,
    /// The viewer may be heard.
    hears: bool,
    /// It is to be looked soon whether the link's rate can be found anew.
    looks_for_rate: bool,
}

impl Member for Viewer {
    fn news(&self, id: u32) {
        let mut session = self.lock();
        session.mark(id);
        if session.attended {
            return;
        }
        match session.pump(&self.link) {
            Ok(Progress::Idle) => return,
            Ok(Progress::More | Progress::Full | Progress::Silent) => {}
            Err(end) => session.end = Some(end),
        }
        session.attended = true;
        drop(session);
        self.nudge.notify_one();
    }
}

impl Viewer {
    fn lock(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn attend(self: &Arc<Self>, stream: Option<String>, shutdown: &mut watch::Receiver<bool>) -> End {
        {
            let mut session = self.lock();
            session.welcome();
            if let Some(stream) = stream {
                session.subscribe(self, stream, true, None);
            }
            // What came with the handshake.
            if let Err(end) = session.hear_all(self) {
                return end;
            }
        }
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        loop {
            // Sockets that are always ready let nobody else have a turn by themselves.
            tokio::task::coop::consume_budget().await;
            let Written { progress, stuck_since, hears, looks_for_rate } = match self.write() {
                Ok(written) => written,
                Err(end) => return end,
            };
            // What a viewer says and what the clock says come before its next batch: one that is slower than its
            // stream would not be heard otherwise.
            let step = tokio::select! {
                biased;
                _ = shutdown.wait_for(|stop| *stop) => return End::stopping(),
                _ = ping.tick() => self.ping(),
                // Nothing can be said to somebody who does not read, however much he says himself.
                () = sleep_until(stuck_since + WRITE_MAX), if matches!(progress, Progress::Full | Progress::Silent) => {
                    Err(End::Gone)
                }
                ready = self.link.readable(), if hears => match ready {
                    Ok(()) => self.hear(),
                    Err(_) => Err(End::Gone),
                },
                () = tokio::task::yield_now(), if progress == Progress::More => Ok(()),
                // An error shows when it is written to.
                _ = self.link.writable(), if progress == Progress::Full => Ok(()),
                () = sleep(RECOVERS_LOOK_EVERY), if looks_for_rate => Ok(()),
                () = sleep(call_after(stuck_since.elapsed())), if progress == Progress::Silent => Ok(()),
                () = self.nudge.notified() => Ok(()),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Writes one batch.
    fn write(&self) -> Result<Written, End> {
        let mut session = self.lock();
        if let Some(end) = session.end.take() {
            return Err(end);
        }
        let progress = session.pump(&self.link)?;
        session.attended = progress != Progress::Idle;
        let stuck_since = session.stuck_since(progress).unwrap_or_else(Instant::now);
        Ok(Written {
            progress,
            stuck_since,
            hears: session.socket.own_len() < MAX_ANSWERS_LEN,
            looks_for_rate: progress == Progress::Full && session.rate.is_due(),
        })
    }

    fn hear(self: &Arc<Self>) -> Result<(), End> {
        let mut session = self.lock();
        session.socket.take(&self.link).map_err(|_| End::Gone)?;
        session.hear_all(self)
    }

    fn ping(&self) -> Result<(), End> {
        let mut session = self.lock();
        if session.heard.elapsed() > SILENT_MAX {
            return Err(End::Gone);
        }
        session.socket.say(Message::Ping(Bytes::new()));
        Ok(())
    }

    /// Sends what waits.
    async fn drain(&self) {
        loop {
            {
                let mut session = self.lock();
                if session.socket.send(&self.link).is_err() || session.socket.is_clear() {
                    return;
                }
            }
            if self.link.writable().await.is_err() {
                return;
            }
        }
    }
}
