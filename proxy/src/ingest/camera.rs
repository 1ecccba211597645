//! A session of a camera or server that we ask, whatever it speaks.

use std::{path::PathBuf, time::Duration};

use tokio::time::timeout;

use super::{
    Event, Session,
    rtmp::client,
    rtsp::{self, Offer},
};
use crate::{
    config::{Source, Transport},
    hub::Fault,
};

/// A source, how it is to be asked, and what was learnt of it on the way.
#[derive(Clone)]
pub struct Target {
    /// The camera or server.
    pub source: Source,
    /// A certificate to trust beside the system's, where the source speaks TLS: a PEM file.
    pub trust: Option<PathBuf>,
    /// How its packets are to come.
    pub transport: Transport,
    /// From the first packet sent to the answer to PLAY, for each transport that is tried.
    pub connect_timeout: Duration,
    pub(super) rtsp: rtsp::Known,
}

impl Target {
    /// A source that was never asked yet.
    pub fn new(
        source: Source,
        trust: Option<PathBuf>,
        transport: Transport,
        connect_timeout: Duration,
    ) -> Self {
        Self { source, trust, transport, connect_timeout, rtsp: rtsp::Known::default() }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({})", self.source)
    }
}

/// A session, from the moment the other end said that it plays.
pub struct Camera(Protocol);

enum Protocol {
    Rtsp(Box<rtsp::Session>, Vec<Offer>),
    Rtmp(Box<client::Session>, &'static str),
}

impl std::fmt::Debug for Camera {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Protocol::Rtsp(..) => "Camera(rtsp)",
            Protocol::Rtmp(..) => "Camera(rtmp)",
        })
    }
}

impl Camera {
    /// Connects and asks it to play.
    pub async fn connect(target: &mut Target) -> Result<Self, Fault> {
        if matches!(target.source.scheme(), "rtsp" | "rtsps") {
            let (session, offers) = rtsp::Session::connect(target).await?;
            return Ok(Self(Protocol::Rtsp(Box::new(session), offers)));
        }
        let connecting = client::Session::connect(&target.source, target.trust.as_deref());
        let connected = timeout(target.connect_timeout, connecting).await.unwrap_or_else(|_| {
            let reason =
                format!("the server did not answer within {} ms", target.connect_timeout.as_millis());
            Err(Fault { code: "connect_failed", reason })
        });
        let transport = if target.source.uses_tls() { "tls" } else { "tcp" };
        Ok(Self(Protocol::Rtmp(Box::new(connected?), transport)))
    }

    /// How its packets come: `tcp`, `tls` or `udp`.
    pub fn transport(&self) -> &'static str {
        match &self.0 {
            Protocol::Rtsp(session, _) => session.transport(),
            Protocol::Rtmp(_, transport) => transport,
        }
    }

    /// What the other end's server calls itself, where it says.
    pub fn server(&self) -> Option<&str> {
        match &self.0 {
            Protocol::Rtsp(session, _) => session.server(),
            Protocol::Rtmp(..) => None,
        }
    }

    /// What it offers, where its protocol says so before it plays.
    pub fn offers(&self) -> &[Offer] {
        match &self.0 {
            Protocol::Rtsp(_, offers) => offers,
            Protocol::Rtmp(..) => &[],
        }
    }

    /// What the sender reports of the video say of the camera's clock, for people.
    pub fn clock_report(&self) -> String {
        match &self.0 {
            Protocol::Rtsp(session, _) => session.clock_report(),
            Protocol::Rtmp(..) => "none: RTMP has no clock".to_owned(),
        }
    }

    /// What comes next. Waits for as long as the other end is silent.
    pub async fn next(&mut self) -> Result<Event, Fault> {
        match &mut self.0 {
            Protocol::Rtsp(session, _) => session.next().await,
            Protocol::Rtmp(session, _) => session.next().await,
        }
    }
}

impl Session for Camera {
    async fn next(&mut self) -> Result<Event, Fault> {
        Self::next(self).await
    }
}
