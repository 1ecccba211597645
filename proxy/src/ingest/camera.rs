//! A session of a camera or server that we ask, whatever it speaks.

use std::path::Path;

use super::{
    Event, Session,
    rtmp::client,
    rtsp::{self, Offer},
};
use crate::{config::Source, hub::Fault};

/// A session, from the moment the other end said that it plays.
pub struct Camera(Protocol);

enum Protocol {
    Rtsp(Box<rtsp::Session>, Vec<Offer>),
    Rtmp(Box<client::Session>),
}

impl std::fmt::Debug for Camera {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Protocol::Rtsp(..) => "Camera(rtsp)",
            Protocol::Rtmp(_) => "Camera(rtmp)",
        })
    }
}

impl Camera {
    /// Connects and asks it to play. `trust` is a certificate to trust beside the system's, where the source speaks TLS.
    pub async fn connect(source: &Source, trust: Option<&Path>) -> Result<Self, Fault> {
        Ok(Self(match source.scheme() {
            "rtmp" | "rtmps" => Protocol::Rtmp(Box::new(client::Session::connect(source, trust).await?)),
            _ => {
                let (session, offers) = rtsp::Session::connect(source).await?;
                Protocol::Rtsp(Box::new(session), offers)
            }
        }))
    }

    /// What it offers, where its protocol says so before it plays.
    pub fn offers(&self) -> &[Offer] {
        match &self.0 {
            Protocol::Rtsp(_, offers) => offers,
            Protocol::Rtmp(_) => &[],
        }
    }

    /// What the sender reports of the video say of the camera's clock, for people.
    pub fn clock_report(&self) -> String {
        match &self.0 {
            Protocol::Rtsp(session, _) => session.clock_report(),
            Protocol::Rtmp(_) => "none: RTMP has no clock".to_owned(),
        }
    }

    /// What comes next. Waits for as long as the other end is silent.
    pub async fn next(&mut self) -> Result<Event, Fault> {
        match &mut self.0 {
            Protocol::Rtsp(session, _) => session.next().await,
            Protocol::Rtmp(session) => session.next().await,
        }
    }
}

impl Session for Camera {
    async fn next(&mut self) -> Result<Event, Fault> {
        Self::next(self).await
    }
}
