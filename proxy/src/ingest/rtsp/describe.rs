//! The first question to a camera, and to whom it sends us on.

use std::{panic::AssertUnwindSafe, path::Path};

use futures_util::FutureExt as _;
use retina::client::{Credentials, Session, SessionOptions};

use super::{
    super::{dial, tls},
    bridge::{AGENT, Bridge, Io},
    error::fault,
};
use crate::{config::Source, hub::Fault};

/// A camera that sends us on more often than this sends us in a circle.
const MAX_REDIRECTS: u32 = 3;

/// A camera that said what it offers.
pub(super) struct Described {
    pub(super) session: Session<retina::client::Described>,
    /// Where it was found in the end.
    pub(super) source: Source,
    /// Whether a bridge lies between.
    pub(super) bridged: bool,
}

/// Asks a camera what it offers; `bridged` asks by way of the bridge, as TLS does anyway. Follows where it sends us.
pub(super) async fn describe(
    asked: &Source,
    trust: Option<&Path>,
    options: impl Fn() -> SessionOptions,
    bridged: bool,
) -> Result<Described, Fault> {
    let mut source = asked.clone();
    let mut redirects = 0;
    let mut through = bridged || source.uses_tls();
    loop {
        let (url, options, bridge) = if through {
            let bridge = bridge(&source, trust).await?;
            // The bridge signs.
            (bridge.url.clone(), options().user_agent(bridge.secret_agent.clone()), Some(bridge))
        } else {
            // retina looks the name up again: this is a guard against a mistake, not against whoever runs the name
            // server.
            dial::lookup(&source).await?;
            let credentials = source.credentials();
            let credentials = credentials.map(|(username, password)| Credentials { username, password });
            (source.url_without_credentials(), options().user_agent(AGENT.into()).creds(credentials), None)
        };
        // What reads descriptions for retina (sdp-types 0.1.8) panics on some whose lines are out of order. Nothing of it is
        // left behind: its session is dropped with it.
        let asked_and_read = AssertUnwindSafe(Session::describe(url, options)).catch_unwind();
        let error = match asked_and_read.await {
            Ok(Ok(session)) => return Ok(Described { session, source, bridged: through }),
            Ok(Err(error)) => error,
            Err(_) => {
                let reason = format!("what {source} says of what it offers (its SDP) cannot be read");
                return Err(Fault { code: "connect_failed", reason });
            }
        };
        let refused = |reason: String| Fault { code: "connect_failed", reason };
        match (error.status_code(), bridge) {
            // retina does not tell where to: the bridge does.
            (Some(300..=399), None) => through = true,
            (Some(status @ 300..=399), Some(bridge)) => {
                let Some(location) = bridge.location() else {
                    return Err(refused(format!(
                        "the camera answered with status {status}, and does not say where it is to be found"
                    )));
                };
                redirects += 1;
                if redirects > MAX_REDIRECTS {
                    return Err(refused(format!(
                        "the camera sends us on more than {MAX_REDIRECTS} times: in a circle?"
                    )));
                }
                let next = source.redirected(&location).map_err(|error| {
                    refused(format!("the camera sends us on to where no camera is asked: {error}"))
                })?;
                tracing::info!(camera = %asked, "it sends us on to {next}");
                source = next;
                through = bridged || source.uses_tls();
            }
            _ => return Err(fault(&error, &source)),
        }
    }
}

async fn bridge(source: &Source, trust: Option<&Path>) -> Result<Bridge, Fault> {
    let tcp = dial::connect(source).await?;
    let camera: Box<dyn Io> =
        if source.uses_tls() { Box::new(tls::connect(source, trust, tcp).await?) } else { Box::new(tcp) };
    Bridge::open(source, camera).await.map_err(|error| Fault {
        code: "connect_failed",
        reason: format!("cannot listen on this machine's own loopback address: {error}"),
    })
}
