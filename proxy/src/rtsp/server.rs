//! The socket shell around [`super::session`]: accepts clients, moves bytes, keeps time.
//!
//! Not here: what RTSP says. Invariant: one task per client; what waits to be sent is bounded by
//! [`Limits::pending_bytes`] and by [`Limits::write_stall`]; a client beyond either is dropped and counted. Dropping the
//! [`Server`] ends all of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::packetise::Origin;
use super::session::{CloseReason, Command, Directory, Identity, Now, Session};
use super::{AccessUnit, Offer};

/// A live presentation that can be watched.
pub trait Source: Send + Sync + 'static {
    /// Its tracks and its clock, now.
    fn offer(&self) -> Offer;
    /// Its access units from now on. A receiver that falls behind loses units and goes on at a key frame.
    fn subscribe(&self) -> broadcast::Receiver<AccessUnit>;
}

/// What one client may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Clients at one time; more are closed at once.
    pub clients: usize,
    /// Bytes that may wait for one client beyond what the kernel holds.
    pub pending_bytes: usize,
    /// How long one client may accept nothing while something waits.
    pub write_stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { clients: 64, pending_bytes: 2 << 20, write_stall: Duration::from_secs(10) }
    }
}

/// Counters since start; `clients` is a gauge.
#[derive(Debug, Default)]
pub struct Stats {
    /// Clients connected now.
    pub clients: AtomicU64,
    /// Clients refused because [`Limits::clients`] was reached.
    pub refused: AtomicU64,
    /// Clients dropped because they did not read.
    pub dropped_slow: AtomicU64,
    /// Clients closed because they did not speak RTSP.
    pub malformed: AtomicU64,
    /// Sessions nobody kept alive.
    pub timed_out: AtomicU64,
    /// Access units lost to clients' tasks that ran late.
    pub units_lagged: AtomicU64,
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

type Mounts = HashMap<String, Arc<dyn Source>>;

impl Directory for Mounts {
    fn offer(&self, path: &str) -> Option<Offer> {
        self.get(path).map(|source| source.offer())
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stats: Arc<Stats>,
    accepting: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    /// Serves `mounts` (path without slashes -> source) on `listener`.
    ///
    /// # Errors
    /// Where the listener's address cannot be learnt.
    pub fn start(
        listener: TcpListener,
        mounts: HashMap<String, Arc<dyn Source>>,
        limits: Limits,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let stats = Arc::new(Stats::default());
        let accepting =
            tokio::spawn(accept(listener, Arc::new(mounts), limits, Arc::clone(&stats))).abort_handle();
        Ok(Self { address, stats, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }
}

async fn accept(listener: TcpListener, mounts: Arc<Mounts>, limits: Limits, stats: Arc<Stats>) {
    // Owned here, so that aborting this task ends every client's.
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: the next call would fail at once too.
                tracing::warn!(%error, "RTSP server cannot accept");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        while clients.try_join_next().is_some() {}
        if clients.len() >= limits.clients {
            count(&stats.refused, 1);
            continue;
        }
        let client =
            Client { mounts: Arc::clone(&mounts), limits: limits.clone(), stats: Arc::clone(&stats), peer };
        clients.spawn(client.serve(socket));
    }
}

struct Client {
    mounts: Arc<Mounts>,
    limits: Limits,
    stats: Arc<Stats>,
    peer: SocketAddr,
}

/// Counts a client for as long as it lives, also when its task is aborted.
struct Counted(Arc<Stats>);

impl Counted {
    fn new(stats: &Arc<Stats>) -> Self {
        count(&stats.clients, 1);
        Self(Arc::clone(stats))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The wall clock in microseconds since 1970.
pub(crate) fn unix_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}

impl Client {
    async fn serve(self, mut socket: TcpStream) {
        let _counted = Counted::new(&self.stats);
        // Each unit is written once it is due and whole: nothing is gained by waiting for more.
        let _ = socket.set_nodelay(true);
        let started = Instant::now();
        let now = || Now { mono_ms: started.elapsed().as_millis() as u64, unix_us: unix_us() };
        let identity = Identity {
            session: rand::random(),
            origin: Origin { ssrc: rand::random(), sequence: rand::random(), timestamp: rand::random() },
        };
        let mut session = Session::new(identity, now());
        let mut units: Option<broadcast::Receiver<AccessUnit>> = None;
        let (mut reader, mut writer) = socket.split();
        let mut buffer = vec![0; 4096];
        let mut pending: Vec<u8> = Vec::new();
        let mut sent = 0;
        let mut progress = Instant::now();
        let mut closing = false;
        let mut ticker = tokio::time::interval(Duration::from_millis(500));
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);

        loop {
            let commands = tokio::select! {
                read = reader.read(&mut buffer), if !closing => match read {
                    Ok(0) | Err(_) => return,
                    Ok(n) => session.receive(&buffer[..n], now(), &*self.mounts),
                },
                written = writer.write(&pending[sent..]), if sent < pending.len() => match written {
                    Ok(0) | Err(_) => return,
                    Ok(n) => {
                        sent += n;
                        progress = Instant::now();
                        Vec::new()
                    }
                },
                unit = next_unit(&mut units) => match unit {
                    Ok(unit) => {
                        session.unit(&unit);
                        Vec::new()
                    }
                    Err(broadcast::error::RecvError::Lagged(lost)) => {
                        count(&self.stats.units_lagged, lost);
                        session.gap();
                        Vec::new()
                    }
                    // The source is gone, as when a camera loses power: its clients see the connection end.
                    Err(broadcast::error::RecvError::Closed) => vec![Command::Close(CloseReason::Teardown)],
                },
                _ = ticker.tick() => session.tick(now(), &*self.mounts),
            };
            for command in commands {
                match command {
                    Command::Subscribe(path) => {
                        units = self.mounts.get(&path).map(|source| source.subscribe());
                    }
                    Command::Unsubscribe => units = None,
                    Command::Close(reason) => {
                        self.closing(reason);
                        units = None;
                        closing = true;
                    }
                }
            }
            if sent == pending.len() {
                pending.clear();
                sent = 0;
            }
            let fresh = session.take_output();
            if !fresh.is_empty() {
                if pending.is_empty() {
                    progress = Instant::now();
                }
                pending.drain(..std::mem::take(&mut sent));
                pending.extend_from_slice(&fresh);
            }
            let waiting = pending.len() - sent;
            if closing && waiting == 0 {
                return;
            }
            if waiting > self.limits.pending_bytes
                || (waiting > 0 && progress.elapsed() > self.limits.write_stall)
            {
                tracing::info!(peer = %self.peer, waiting_bytes = waiting, "RTSP client does not read: dropped");
                count(&self.stats.dropped_slow, 1);
                return;
            }
        }
    }

    fn closing(&self, reason: CloseReason) {
        match reason {
            CloseReason::Teardown => {}
            CloseReason::TimedOut => count(&self.stats.timed_out, 1),
            CloseReason::Malformed => {
                tracing::info!(peer = %self.peer, "RTSP client does not speak RTSP: closed");
                count(&self.stats.malformed, 1);
            }
        }
    }
}

/// The next unit, or never while nothing is subscribed.
async fn next_unit(
    units: &mut Option<broadcast::Receiver<AccessUnit>>,
) -> Result<AccessUnit, broadcast::error::RecvError> {
    match units {
        Some(units) => units.recv().await,
        None => std::future::pending().await,
    }
}
