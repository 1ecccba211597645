//! Pushing: encoders that connect to us and publish.
//!
//! A connection costs its own task and nothing else: it has deadlines, bounded buffers, and no effect on any stream
//! until it gave the right name and key.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use super::{
    amf::Value,
    session::{self, Request},
    socket::{Io, Socket},
    tags::Tags,
};
use crate::{
    auth,
    config::{Publish, Rtmp, SecondPublisher, StreamName},
    hub::{Fault, Hub, Origin, State, Stream, unix_time_us},
    ingest::{Event, feed::Feed, tls},
};

/// From the first byte to the end of the handshakes, TLS's and RTMP's.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// From there to `publish`.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a refusal takes, whatever its reason: nobody learns from it which names there are, or tries many keys.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// Connections that have not said yet what they publish, in all.
const MAX_PENDING: usize = 1024;

/// And from one address.
const MAX_PENDING_FROM_ONE: usize = 256;

/// What stands in the way of a second publisher, and of one with the wrong key or name.
const REFUSED: &str = "there is no such stream, or the key is wrong";

/// The streams that may be published, and who publishes them.
#[derive(Debug)]
pub struct Server {
    slots: BTreeMap<StreamName, Slot>,
    pending: Mutex<HashMap<IpAddr, usize>>,
}

#[derive(Debug)]
struct Slot {
    stream: Arc<Stream>,
    publish: Publish,
    idle_timeout: Duration,
    /// Told when another encoder takes over.
    current: Mutex<Option<Arc<Notify>>>,
}

/// A listener and whether it speaks TLS.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("tcp", &self.tcp).field("tls", &self.tls.is_some()).finish()
    }
}

impl Listener {
    /// Takes the ports of a configuration. Fails with a sentence that says what to do about it.
    pub async fn bind(config: &Rtmp) -> anyhow::Result<Vec<Self>> {
        let mut listeners = Vec::new();
        if let Some(listen) = config.listen {
            listeners.push(Self { tcp: bind(listen, "--rtmp or listen under [rtmp]").await?, tls: None });
        }
        if let Some(rtmps) = &config.rtmps {
            let tls = tls::acceptor(&rtmps.certificate, &rtmps.key)?;
            listeners.push(Self { tcp: bind(rtmps.listen, "rtmps under [rtmp]").await?, tls: Some(tls) });
        }
        Ok(listeners)
    }

    /// Where encoders push to: `rtmp://127.0.0.1:1935/live`.
    pub fn url(&self) -> String {
        let address = self.tcp.local_addr().map(|address| address.to_string()).unwrap_or_default();
        let scheme = if self.tls.is_some() { "rtmps" } else { "rtmp" };
        format!("{scheme}://{address}/{}", session::APPLICATION)
    }
}

async fn bind(address: SocketAddr, how: &str) -> anyhow::Result<TcpListener> {
    use anyhow::Context as _;
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for encoders: is another program using it? Choose another address with {how}")
    })
}

impl Server {
    /// A server for these streams; each waits for its encoder.
    pub fn new(hub: &Hub, streams: impl IntoIterator<Item = (StreamName, Publish, Duration)>) -> Arc<Self> {
        let slots = streams.into_iter().filter_map(|(name, publish, idle_timeout)| {
            let stream = hub.get(name.as_str())?.clone();
            let reason = format!("no encoder publishes: push to rtmp://HOST/{}/{name}", session::APPLICATION);
            stream.set_state(State::Offline, Some(Fault { code: "no_publisher", reason }));
            Some((name, Slot { stream, publish, idle_timeout, current: Mutex::default() }))
        });
        Arc::new(Self { slots: slots.collect(), pending: Mutex::default() })
    }

    /// Takes encoders in for as long as the task lives.
    pub async fn serve(self: Arc<Self>, listener: Listener) {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.tcp.accept() => match accepted {
                    Ok((tcp, peer)) => {
                        let Some(pending) = Pending::new(&self, peer.ip().to_canonical()) else {
                            tracing::warn!(%peer, "too many connections that publish nothing: this one is closed");
                            continue;
                        };
                        let connection = self.clone().connection(tcp, peer, listener.tls.clone(), pending);
                        connections.spawn(connection);
                    }
                    Err(error) => {
                        // Out of file descriptors, or a peer that went away at once.
                        tracing::warn!(%error, "cannot take an encoder's connection");
                        sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "an encoder's connection made this program fail; please report this");
                    }
                }
            }
        }
    }

    async fn connection(
        self: Arc<Self>,
        tcp: TcpStream,
        peer: SocketAddr,
        tls: Option<TlsAcceptor>,
        pending: Pending,
    ) {
        let _ = tcp.set_nodelay(true);
        let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
        let io: Box<dyn Io> = match tls {
            None => Box::new(tcp),
            Some(acceptor) => match timeout_at(deadline, acceptor.accept(tcp)).await {
                Ok(Ok(io)) => Box::new(io),
                Ok(Err(error)) => return tracing::info!(%peer, %error, "TLS failed"),
                Err(_) => return tracing::info!(%peer, "TLS took too long"),
            },
        };
        let mut connection = Connection {
            socket: Socket::new(io),
            session: session::Session::default(),
            tags: Tags::default(),
        };
        match connection.asked(deadline).await {
            Ok(request) => self.publish(connection, peer, &request, pending).await,
            Err(fault) => {
                tracing::info!(%peer, code = fault.code, "an encoder's connection is closed: {}", fault.reason);
                connection.close().await;
            }
        }
    }

    async fn publish(
        &self,
        mut connection: Connection,
        peer: SocketAddr,
        request: &Request,
        pending: Pending,
    ) {
        let asked = Instant::now();
        let slot = self.slots.get(request.name.as_str());
        let allowed = auth::may_publish(slot.map(Slot::key), request.key.as_deref());
        let (Some(slot), true) = (slot, allowed) else {
            tracing::warn!(%peer, name = ?shown(&request.name), "an encoder is refused: {REFUSED}");
            sleep_until(asked + REFUSAL_DELAY).await;
            return connection.refuse(REFUSED).await;
        };
        let stream = &slot.stream;
        let Some(turn) = slot.take() else {
            tracing::warn!(%peer, stream = %stream.name, "a second encoder is refused: another one publishes");
            sleep_until(asked + REFUSAL_DELAY).await;
            return connection.refuse("another encoder publishes this stream").await;
        };
        if connection.session.accept().is_err() {
            return;
        }
        drop(pending);
        connection.socket.expect_pictures();
        tracing::info!(%peer, stream = %stream.name, "an encoder publishes");
        stream.set_state(State::Connecting, None);
        let publisher = stream.publish();
        publisher.origin(Origin {
            address: peer,
            encoder: request.agent.as_deref().and_then(shown),
            since_time_us: unix_time_us(),
        });
        let feed = Feed { stream, publisher, from: peer, stall_timeout: slot.idle_timeout };
        let mut pictures = None;
        let fault = tokio::select! {
            fault = feed.run(&mut connection, &mut pictures) => fault,
            () = turn.lost.notified() => {
                Fault { code: "taken_over", reason: "another encoder publishes this stream now".into() }
            }
        };
        tracing::info!(%peer, stream = %stream.name, code = fault.code, "the encoder is let go: {}", fault.reason);
        // It may still be there, and its user may wonder.
        let _ = connection.session.dismiss(&fault.reason);
        turn.end(fault);
        connection.close().await;
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn key(&self) -> Option<&str> {
        self.publish.key.as_ref().map(AsRef::as_ref)
    }

    /// Makes the caller the one who publishes, in another's place if need be. None where that is not wanted.
    fn take(&self) -> Option<Turn<'_>> {
        let mut current = self.current();
        if let Some(other) = current.as_ref() {
            if self.publish.second_publisher == SecondPublisher::Refuse {
                return None;
            }
            other.notify_one();
        }
        let lost = Arc::new(Notify::new());
        *current = Some(lost.clone());
        Some(Turn { slot: self, lost, fault: None })
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Notify>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to publish a stream, until another encoder takes it or it is dropped.
struct Turn<'a> {
    slot: &'a Slot,
    /// Told when another encoder takes over.
    lost: Arc<Notify>,
    fault: Option<Fault>,
}

impl Turn<'_> {
    /// Gives it back and says why.
    fn end(mut self, fault: Fault) {
        self.fault = Some(fault);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut current = self.slot.current();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &self.lost)) {
            *current = None;
            let failed =
                || Fault { code: "internal", reason: "this program failed on what the encoder sent".into() };
            self.slot.stream.set_state(State::Offline, Some(self.fault.take().unwrap_or_else(failed)));
        }
    }
}

/// A place among the connections that publish nothing yet.
struct Pending {
    server: Arc<Server>,
    address: IpAddr,
}

impl Pending {
    fn new(server: &Arc<Server>, address: IpAddr) -> Option<Self> {
        let mut pending = server.pending();
        let from_one = pending.get(&address).copied().unwrap_or(0);
        if from_one >= MAX_PENDING_FROM_ONE || pending.values().sum::<usize>() >= MAX_PENDING {
            return None;
        }
        pending.insert(address, from_one + 1);
        drop(pending);
        Some(Self { server: server.clone(), address })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut pending = self.server.pending();
        if let Some(count) = pending.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                pending.remove(&self.address);
            }
        }
    }
}

/// An encoder's connection.
struct Connection {
    socket: Socket,
    session: session::Session,
    tags: Tags,
}

impl Connection {
    /// Waits for what the encoder wants to publish.
    async fn asked(&mut self, deadline: Instant) -> Result<Request, Fault> {
        let mut deadline = deadline;
        let mut shaken = false;
        loop {
            let late = if shaken { "it published nothing" } else { "it did not finish the handshake" };
            match timeout_at(deadline, self.step()).await {
                Err(_) => return Err(Fault { code: "too_slow", reason: format!("{late} in time") }),
                Ok(step) => {
                    if let Some(session::Event::Publish(request)) = step? {
                        return Ok(request);
                    }
                }
            }
            if !shaken && self.session.phase() != session::Phase::Handshake {
                shaken = true;
                deadline = Instant::now() + PUBLISH_TIMEOUT;
            }
        }
    }

    /// Takes in what comes next.
    async fn step(&mut self) -> Result<Option<session::Event>, Fault> {
        let broken = |reason: String| Fault { code: "closed", reason };
        let (used, event) = self.session.read(self.socket.pending()).map_err(|e| broken(e.to_string()))?;
        self.socket.consume(used);
        let sent = self.socket.send(self.session.outgoing()).await;
        sent.map_err(|error| broken(format!("it does not take our answers: {error}")))?;
        if event.is_none() && used == 0 {
            self.socket.fill().await.map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => broken("it closed the connection".into()),
                _ => broken(format!("the connection broke: {error}")),
            })?;
        }
        Ok(event)
    }

    async fn refuse(mut self, why: &str) {
        if self.session.refuse(why).is_ok() {
            self.close().await;
        }
    }

    async fn close(mut self) {
        self.socket.close(self.session.outgoing()).await;
    }
}

impl crate::ingest::Session for Connection {
    async fn next(&mut self) -> Result<Event, Fault> {
        loop {
            if let Some(event) = self.tags.next() {
                return Ok(event);
            }
            match self.step().await? {
                Some(session::Event::Tag(kind, time_ms, payload)) => {
                    self.tags.take(kind, time_ms, payload, self.socket.received)?;
                }
                Some(session::Event::Metadata(values)) => {
                    if let Some(name) = encoder_of(&values).and_then(shown) {
                        self.tags.push(Event::Encoder(name));
                    }
                }
                Some(session::Event::Unpublish) => {
                    return Err(Fault {
                        code: "no_publisher",
                        reason: "the encoder ended the stream".into(),
                    });
                }
                Some(session::Event::Publish(_)) | None => {}
            }
        }
    }
}

/// What the encoder calls itself: ffmpeg and OBS say `encoder`, GStreamer and others `metadatacreator`.
fn encoder_of(metadata: &Value) -> Option<&str> {
    ["encoder", "metadatacreator"].iter().find_map(|name| metadata.get(name)?.as_text())
}

/// A name as it may stand in logs, answers and metrics: short, and on one line.
fn shown(name: &str) -> Option<String> {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    Some(shown.trim().to_owned()).filter(|shown| !shown.is_empty())
}
