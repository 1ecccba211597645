//! The one HTTP server: pages, API, operations, and the door to the WebSocket.
//!
//! Invariant: every request passes `guard` before anything answers it.

mod admission;
mod api;
mod assets;
mod door;
mod ops;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::get,
    serve::ListenerExt as _,
};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    auth::{Action, Asker, Policy},
    egress::{crowd::Crowds, tcp, ws::Viewer},
    hub::Hub,
    metrics::Metrics,
};

pub use admission::Admission;

/// What every handler may need.
#[derive(Clone, Debug)]
pub struct Server {
    /// The streams.
    pub hub: Arc<Hub>,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// Who writes to many viewers.
    pub crowds: Arc<Crowds<Viewer>>,
    /// Who may do what.
    pub policy: Policy,
    /// How many get in.
    pub admission: Admission,
    /// Becomes true when the server stops.
    pub shutdown: watch::Receiver<bool>,
}

impl Server {
    /// Serves until told to stop. Open WebSockets end by themselves.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        let mut shutdown = self.shutdown.clone();
        tcp::prepare_listener(&listener);
        let listener = listener.tap_io(|tcp| tcp::prepare(tcp));
        let service = self.router().into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service)
            .with_graceful_shutdown(async move {
                let _ = shutdown.wait_for(|stop| *stop).await;
            })
            .await
    }

    fn router(self) -> Router {
        Router::new()
            .route("/ws", get(door::websocket))
            .route("/api/v1/streams", get(api::streams))
            .route("/api/v1/streams/{name}", get(api::stream))
            .route("/api/v1/openapi.json", get(api::openapi))
            .route("/healthz", get(ops::healthz))
            .route("/readyz", get(ops::readyz))
            .route("/metrics", get(ops::metrics))
            .route("/", get(assets::page))
            .route("/embed", get(assets::page))
            .route("/watch/{name}", get(assets::stream_page))
            .route("/embed/{name}", get(assets::stream_page))
            .fallback_service(get(assets::asset))
            .layer(middleware::from_fn_with_state(self.clone(), guard))
            .with_state(self)
    }
}

/// Asks the policy, and gives every answer the headers that keep browsers careful.
async fn guard(
    State(server): State<Server>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let action = match request.uri().path() {
        "/healthz" | "/readyz" | "/metrics" => Action::Observe,
        "/ws" => Action::Watch,
        _ => Action::Look,
    };
    let allowed = {
        let text = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let asker = Asker { peer: peer.ip(), host: text(header::HOST), origin: text(header::ORIGIN) };
        server.policy.allows(&asker, action)
    };
    let mut response = match allowed {
        Ok(()) => next.run(request).await,
        Err(denied) => api::error(StatusCode::FORBIDDEN, "forbidden", &denied.to_string()),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
