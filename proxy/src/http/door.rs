//! The door to the WebSocket: the handshake (RFC 6455, 4.2), and the bare socket out of the HTTP server's hands.

use axum::{
    body::Body,
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade::downcast};
use serde::Deserialize;
use tokio::net::TcpStream;
use tungstenite::handshake::derive_accept_key;

use super::{Server, api};
use crate::{egress::ws, metrics::Limit};

/// The one version there is.
const VERSION: &str = "13";

#[derive(Deserialize)]
pub(super) struct Wanted {
    stream: Option<String>,
}

pub(super) async fn websocket(
    State(server): State<Server>,
    Query(wanted): Query<Wanted>,
    mut request: Request,
) -> Response {
    let Some(accept) = accept(request.method(), request.headers()) else {
        let message = "this address speaks WebSocket; open it with a WebSocket client, or see / for pictures";
        let mut response = api::error(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message);
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        return response;
    };
    let Server { hub, metrics, crowds, shutdown, admission, .. } = server;
    let Some(place) = admission.enter() else {
        metrics.refused.get_or_create(&Limit::VIEWERS).inc();
        return api::full(&admission);
    };
    let service = ws::Service { hub, metrics, crowds, shutdown };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let _place = place;
        match upgrade.await.map(downcast::<TokioIo<TcpStream>>) {
            Ok(Ok(parts)) => ws::serve(parts.io.into_inner(), parts.read_buf, service, wanted.stream).await,
            Ok(Err(_)) => tracing::error!("a WebSocket came over something else than TCP"),
            Err(error) => tracing::debug!(%error, "the handshake was not taken"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// What answers a handshake, if it is one.
fn accept(method: &Method, headers: &HeaderMap) -> Option<HeaderValue> {
    let is = |name: HeaderName, wanted: &str| {
        headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(wanted.as_bytes()))
    };
    let connection = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let upgrades = connection
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    if method != Method::GET
        || !upgrades
        || !is(header::UPGRADE, "websocket")
        || !is(header::SEC_WEBSOCKET_VERSION, VERSION)
    {
        return None;
    }
    HeaderValue::try_from(derive_accept_key(headers.get(header::SEC_WEBSOCKET_KEY)?.as_bytes())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake() -> HeaderMap {
        let headers = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        headers
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .into_iter()
            .collect()
    }

    #[test]
    fn a_handshake_is_answered_as_the_standard_shows() {
        let answer = accept(&Method::GET, &handshake()).expect("a handshake");
        assert_eq!(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_no_whole_handshake_is_none() {
        assert_eq!(accept(&Method::HEAD, &handshake()), None);
        for name in handshake().keys() {
            let mut headers = handshake();
            headers.remove(name);
            assert_eq!(accept(&Method::GET, &headers), None, "without {name}");
            headers.insert(name, HeaderValue::from_static("8"));
            assert!(
                name == "sec-websocket-key" || accept(&Method::GET, &headers).is_none(),
                "another {name}"
            );
        }
    }
}
