//! `/api/v1`: the state of streams as JSON.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;

use super::{Admission, Server};
use crate::{
    hub::{self, Stream},
    media::{Media, Track},
};

/// The API's description (OpenAPI 3.1). A test holds it against what is really answered.
const OPENAPI: &str = include_str!("openapi.json");

/// When to ask again for room, in seconds.
const RETRY_AFTER_S: &str = "5";

#[derive(Serialize)]
struct StreamsView {
    streams: Vec<StreamView>,
}

#[derive(Serialize)]
struct StreamView {
    name: String,
    state: &'static str,
    since_time_us: i64,
    viewers: usize,
    on_demand: bool,
    error: Option<FaultView>,
    warnings: Vec<WarningView>,
    publisher: Option<PublisherView>,
    transport: Option<&'static str>,
    tracks: Vec<TrackView>,
    bits_per_second: u64,
    key_frame_interval_ms: Option<u32>,
    frames_total: u64,
    frames_dropped_total: u64,
    frames_discarded_total: u64,
    packets_lost_total: u64,
    failures_total: u64,
}

#[derive(Serialize)]
struct FaultView {
    code: &'static str,
    reason: String,
}

#[derive(Serialize)]
struct WarningView {
    code: &'static str,
    message: String,
}

#[derive(Serialize)]
struct PublisherView {
    address: String,
    encoder: Option<String>,
    since_time_us: i64,
}

#[derive(Serialize)]
struct TrackView {
    codec: String,
    #[serde(flatten)]
    media: MediaView,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum MediaView {
    Video { width: u32, height: u32, frames_per_second: f64 },
    Audio { sample_rate: u32, channels: u16 },
}

impl StreamView {
    fn new(stream: &Stream) -> Self {
        let status = stream.status();
        Self {
            name: stream.name.to_string(),
            state: status.state.as_str(),
            since_time_us: status.since_time_us,
            viewers: status.viewers,
            on_demand: stream.on_demand,
            error: status.fault.map(|fault| FaultView { code: fault.code, reason: fault.reason }),
            warnings: (status.warnings.into_iter())
                .map(|warning| WarningView { code: warning.code, message: warning.message })
                .collect(),
            publisher: status.origin.map(|origin| PublisherView {
                address: origin.address.to_string(),
                encoder: origin.encoder,
                since_time_us: origin.since_time_us,
            }),
            transport: status.transport,
            tracks: status.tracks.iter().map(|track| track_view(track, status.frames_per_second)).collect(),
            bits_per_second: status.bits_per_second,
            key_frame_interval_ms: status.key_frame_interval_ms,
            frames_total: status.counts.frames,
            frames_dropped_total: status.counts.frames_dropped,
            frames_discarded_total: status.counts.frames_discarded,
            packets_lost_total: status.counts.packets_lost,
            failures_total: status.counts.failures,
        }
    }
}

fn track_view(track: &Track, frames_per_second: f64) -> TrackView {
    let media = match track.media {
        Media::Video { width, height, .. } => MediaView::Video { width, height, frames_per_second },
        Media::Audio { sample_rate, channels } => MediaView::Audio { sample_rate, channels },
    };
    TrackView { codec: track.codec.clone(), media }
}

pub(super) async fn streams(State(server): State<Server>) -> Response {
    let streams: Vec<_> = server.hub.iter().map(|stream| StreamView::new(stream)).collect::<Vec<_>>();
    fresh(StreamsView { streams })
}

pub(super) async fn stream(State(server): State<Server>, Path(name): Path<String>) -> Response {
    match server.hub.get(&name) {
        Some(stream) => fresh(StreamView::new(stream)),
        None => unknown_stream(&name),
    }
}

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

pub(super) fn unknown_stream(name: &str) -> Response {
    let name: String = name.chars().take(64).collect();
    error(StatusCode::NOT_FOUND, "unknown_stream", &hub::unknown_stream(&name))
}

/// An error as this API gives it.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response()
}

/// There is no room for another viewer now.
pub(super) fn full(admission: &Admission) -> Response {
    let message = format!(
        "{} viewers are connected, and no more get in (max_viewers); try again later",
        admission.max_viewers()
    );
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "too_many", &message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
    response
}

/// State is never to be kept by a cache.
fn fresh(body: impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Hub;

    #[test]
    fn the_description_names_exactly_the_fields_that_are_answered() {
        let openapi: serde_json::Value = serde_json::from_str(OPENAPI).expect("JSON");
        let hub = Hub::new([("gate".parse().expect("a name"), false)]);
        let view = StreamView::new(hub.get("gate").expect("there"));
        let answered = serde_json::to_value(view).expect("serialises");
        let described = &openapi["components"]["schemas"]["Stream"];
        let keys = |value: &serde_json::Value| {
            value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>()
        };
        let mut described_keys = keys(&described["properties"]);
        let mut answered_keys = keys(&answered);
        described_keys.sort();
        answered_keys.sort();
        assert_eq!(described_keys, answered_keys);
        assert_eq!(described["required"].as_array().map(Vec::len), Some(answered_keys.len()));
    }
}
