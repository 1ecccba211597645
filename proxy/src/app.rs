//! The composition root: builds the parts from a configuration, owns their tasks, and stops them in order.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::{
    auth::Policy,
    config::{Auth, Config, Input},
    http,
    hub::{self, Hub},
    ingest::{self, rtmp},
    metrics::Metrics,
};

/// How long viewers have to take their leave when the proxy stops.
const LEAVE_MAX: Duration = Duration::from_secs(3);

/// A proxy that listens and has not begun to serve yet.
#[derive(Debug)]
pub struct App {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    encoders: Vec<rtmp::server::Listener>,
}

impl App {
    /// Takes the port. Fails with a sentence that says what to do about it.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let listen = config.server.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!(
                "cannot listen on {listen}: is another program using it? Choose another address with --listen"
            )
        })?;
        let address = listener.local_addr().context("the listener has no address")?;
        let encoders = rtmp::server::Listener::bind(&config.rtmp).await?;
        Ok(Self { config, listener, address, encoders })
    }

    /// Where a person on this machine finds the pages.
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                [127, 0, 0, 1].into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        format!("http://{address}/")
    }

    /// Where encoders push to, without the stream's name and key: `rtmp://127.0.0.1:1935/live`.
    pub fn push_urls(&self) -> Vec<String> {
        self.encoders.iter().map(rtmp::server::Listener::url).collect()
    }

    /// Serves until `stop` is done; then says goodbye to viewers and lets go of cameras.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let specs = self.config.streams.iter().map(|stream| hub::Spec {
            name: stream.name.clone(),
            on_demand: stream.on_demand,
            max_viewers: stream.max_viewers,
            qualities: stream.qualities().cloned().collect(),
        });
        let history_bytes = (self.config.server.max_history_mib as usize).saturating_mul(1 << 20);
        let hub = Arc::new(Hub::with(specs, history_bytes));
        let metrics = Arc::new(Metrics::default());
        let (stopping, shutdown) = watch::channel(false);
        let mut cameras = JoinSet::new();
        for config in &self.config.streams {
            let Some(stream) = hub.get(config.name.as_str()).cloned() else { continue };
            let sources = match &config.input {
                Input::Source { source, trust, transport } => vec![(source, trust, *transport)],
                Input::Publish(_) => Vec::new(), // its encoder comes to us
                Input::Qualities(all) => {
                    all.iter().map(|quality| (&quality.source, &quality.trust, quality.transport)).collect()
                }
            };
            for (stream, (source, trust, transport)) in stream.qualities().zip(sources) {
                let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
                let job = ingest::Job {
                    stream: stream.clone(),
                    target: ingest::Target::new(source.clone(), trust.clone(), transport, connect_timeout),
                    stall_timeout: Duration::from_millis(config.stall_timeout_ms),
                };
                cameras.spawn(job.run());
            }
        }
        let published = self.config.streams.iter().filter_map(|stream| match &stream.input {
            Input::Publish(publish) => {
                Some((stream.name.clone(), publish.clone(), Duration::from_millis(stream.stall_timeout_ms)))
            }
            Input::Source { .. } | Input::Qualities(_) => None,
        });
        let encoders = rtmp::server::Server::new(&hub, published);
        for listener in self.encoders {
            cameras.spawn(encoders.clone().serve(listener));
        }
        let policy = match self.config.server.auth {
            Auth::On => Policy::ThisMachine,
            Auth::Off => Policy::Off,
        };
        let max_viewers = self.config.server.max_viewers;
        let admission = http::Admission::new(max_viewers, cameras.len().max(self.config.streams.len()));
        if admission.max_viewers() < max_viewers as usize {
            tracing::warn!(
                "{} viewers get in at a time, not {max_viewers}: the system lets this process open too few files (ulimit -n)",
                admission.max_viewers()
            );
        }
        let server = http::Server {
            admission,
            hub,
            metrics: metrics.clone(),
            crowds: Arc::default(),
            policy,
            shutdown,
        };
        let mut serving = tokio::spawn(server.serve(self.listener));
        tokio::select! {
            () = stop => {}
            ended = &mut serving => ended?.context("the server stopped")?,
        }
        tracing::info!("stopping");
        let _ = stopping.send(true);
        let left = async {
            while metrics.connections.get() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(LEAVE_MAX, left).await;
        cameras.shutdown().await;
        serving.abort();
        Ok(())
    }
}
