//! `/api/v1`: the state of streams as JSON.

use std::sync::Arc;

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
    hub::{self, Counts, Fault, Stream, Warning},
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
    qualities: Vec<QualityView>,
}

#[derive(Serialize)]
struct QualityView {
    name: String,
    state: &'static str,
    since_time_us: i64,
    viewers: usize,
    error: Option<FaultView>,
    warnings: Vec<WarningView>,
    transport: Option<&'static str>,
    tracks: Vec<TrackView>,
    bits_per_second: u64,
    key_frame_interval_ms: Option<u32>,
    switches_total: u64,
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
    /// Of several qualities, one stands for all: see [`Stream::foremost`]. What is counted is so over all of them.
    fn new(stream: &Arc<Stream>) -> Self {
        let of = |stream: &Arc<Stream>| stream.status();
        let status = of(stream.foremost());
        let total = |count: fn(&Counts) -> u64| stream.qualities().map(|q| count(&of(q).counts)).sum();
        let qualities: Vec<_> = stream.qualities().filter_map(|quality| QualityView::new(quality)).collect();
        Self {
            name: stream.name.to_string(),
            state: status.state.as_str(),
            since_time_us: status.since_time_us,
            viewers: if qualities.is_empty() { status.viewers } else { stream.admitted() },
            on_demand: stream.on_demand,
            error: fault_view(status.fault),
            warnings: warning_views(status.warnings),
            publisher: status.origin.map(|origin| PublisherView {
                address: origin.address.to_string(),
                encoder: origin.encoder,
                since_time_us: origin.since_time_us,
            }),
            transport: status.transport,
            tracks: status.tracks.iter().map(|track| track_view(track, status.frames_per_second)).collect(),
            bits_per_second: status.bits_per_second,
            key_frame_interval_ms: status.key_frame_interval_ms,
            frames_total: total(|counts| counts.frames),
            frames_dropped_total: total(|counts| counts.frames_dropped),
            frames_discarded_total: total(|counts| counts.frames_discarded),
            packets_lost_total: total(|counts| counts.packets_lost),
            failures_total: total(|counts| counts.failures),
            qualities,
        }
    }
}

impl QualityView {
    /// None where there is only one.
    fn new(stream: &Stream) -> Option<Self> {
        let name = stream.quality.as_ref()?.to_string();
        let status = stream.status();
        Some(Self {
            name,
            state: status.state.as_str(),
            since_time_us: status.since_time_us,
            viewers: status.viewers,
            error: fault_view(status.fault),
            warnings: warning_views(status.warnings),
            transport: status.transport,
            tracks: status.tracks.iter().map(|track| track_view(track, status.frames_per_second)).collect(),
            bits_per_second: status.bits_per_second,
            key_frame_interval_ms: status.key_frame_interval_ms,
            switches_total: status.counts.switches,
        })
    }
}

fn fault_view(fault: Option<Fault>) -> Option<FaultView> {
    fault.map(|fault| FaultView { code: fault.code, reason: fault.reason })
}

fn warning_views(warnings: Vec<Warning>) -> Vec<WarningView> {
    warnings.into_iter().map(|Warning { code, message }| WarningView { code, message }).collect()
}

fn track_view(track: &Track, frames_per_second: f64) -> TrackView {
    let media = match track.media {
        Media::Video { width, height, .. } => MediaView::Video { width, height, frames_per_second },
        Media::Audio { sample_rate, channels } => MediaView::Audio { sample_rate, channels },
    };
    TrackView { codec: track.codec.clone(), media }
}

pub(super) async fn streams(State(server): State<Server>) -> Response {
    let streams: Vec<_> = server.hub.iter().map(StreamView::new).collect();
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
    use crate::hub::{Hub, Spec};

    fn hub() -> Hub {
        let name = |name: &str| name.parse().expect("a name");
        let qualities = vec![name("main"), name("sub")];
        Hub::with([Spec { name: name("gate"), on_demand: false, max_viewers: None, qualities }], usize::MAX)
    }

    #[test]
    fn the_description_names_exactly_the_fields_that_are_answered() {
        let openapi: serde_json::Value = serde_json::from_str(OPENAPI).expect("JSON");
        let hub = hub();
        let view = StreamView::new(hub.get("gate").expect("there"));
        let answered = serde_json::to_value(view).expect("serialises");
        for (schema, answered) in [("Stream", &answered), ("Quality", &answered["qualities"][1])] {
            let described = &openapi["components"]["schemas"][schema];
            let keys = |value: &serde_json::Value| {
                value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>()
            };
            let mut described_keys = keys(&described["properties"]);
            let mut answered_keys = keys(answered);
            described_keys.sort();
            answered_keys.sort();
            assert_eq!(described_keys, answered_keys);
            assert_eq!(described["required"].as_array().map(Vec::len), Some(answered_keys.len()));
        }
    }

    #[test]
    fn a_stream_is_as_its_best_quality_that_gives_pictures() {
        let hub = hub();
        let stream = hub.get("gate").expect("there");
        let states = || {
            let view = serde_json::to_value(StreamView::new(stream)).expect("serialises");
            [&view["state"], &view["qualities"][0]["state"], &view["qualities"][1]["state"]]
                .map(|s| s.as_str().map(str::to_owned))
        };
        let expected = |states: [&str; 3]| states.map(|state| Some(state.to_owned()));
        assert_eq!(states(), expected(["idle", "idle", "idle"]));
        let [main, sub] = [0, 1].map(|i| stream.qualities().nth(i).expect("there"));
        main.set_state(hub::State::Offline, None);
        assert_eq!(states(), expected(["offline", "offline", "idle"]));
        sub.set_state(hub::State::Live, None);
        assert_eq!(states(), expected(["live", "offline", "live"]));
        assert_eq!(
            Hub::new([("yard".parse().expect("a name"), false)])
                .get("yard")
                .map(|s| StreamView::new(s).qualities.len()),
            Some(0)
        );
    }
}
