//! What operators and their tools ask: health, readiness, metrics.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use super::Server;
use crate::{
    hub::{self, State as StreamState, Stream},
    media::Media,
    metrics as names,
};

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(server): State<Server>) -> (StatusCode, &'static str) {
    if *server.shutdown.borrow() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

pub(super) async fn metrics(State(server): State<Server>) -> Response {
    let mut registry = Registry::with_prefix(names::PREFIX);
    let own = &server.metrics;
    registry.register(names::CONNECTIONS, "Open WebSocket connections", own.connections.clone());
    registry.register(names::SENT_BYTES, "Bytes handed to viewers' sockets", own.sent_bytes.clone());
    registry.register(
        names::TRANSIT_SECONDS,
        "From a frame's last packet in to its last byte handed to a viewer's socket",
        own.transit_seconds.clone(),
    );
    registry.register(names::REFUSED, "Viewers for whom there was no room", own.refused.clone());
    registry.register_collector(Box::new(Streams(server.hub.clone())));
    registry.register_collector(Box::new(Process));
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response()
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

/// What a sample is of: the stream, which of its qualities where there are several, and more.
fn labels<const N: usize>(stream: &Stream, more: [(&'static str, String); N]) -> Vec<(&'static str, String)> {
    let quality = stream.quality.as_ref().map(|quality| ("quality", quality.to_string()));
    [("stream", stream.name.to_string())].into_iter().chain(quality).chain(more).collect()
}

/// Reads every stream's numbers when asked for them.
#[derive(Debug)]
struct Streams(std::sync::Arc<hub::Hub>);

impl Collector for Streams {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let all: Vec<_> =
            self.0.iter().flat_map(Stream::qualities).map(|stream| (stream, stream.status())).collect();
        let mut counter = |name, help, value: fn(&hub::Counts) -> u64| -> std::fmt::Result {
            let metric_type = ConstCounter::new(0u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None::<&Unit>, metric_type)?;
            for (stream, status) in &all {
                let labels = labels(stream, []);
                ConstCounter::new(value(&status.counts)).encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        };
        counter(names::FRAMES, "Frames of video passed on", |c| c.frames)?;
        counter(names::MEDIA_BYTES, "Bytes of media passed on", |c| c.bytes)?;
        counter(names::FRAMES_DROPPED, "Frames that viewers were too slow for", |c| c.frames_dropped)?;
        counter(names::FRAMES_DISCARDED, "Frames not passed on: after a loss, or before a key frame", |c| {
            c.frames_discarded
        })?;
        counter(names::PACKETS_LOST, "Packets of the camera that did not come", |c| c.packets_lost)?;
        counter(names::CLOCK_JUMPS, "Times the camera's clock jumped", |c| c.clock_jumps)?;
        counter(names::CONNECT_FAILURES, "Failed attempts to reach the camera and ended sessions", |c| {
            c.failures
        })?;

        let help = "Viewers who came to a quality from another one";
        let counter_type = ConstCounter::new(0u64).metric_type();
        let mut family = encoder.encode_descriptor(names::QUALITY_SWITCHES, help, None, counter_type)?;
        for (stream, status) in all.iter().filter(|(stream, _)| stream.quality.is_some()) {
            let switches = ConstCounter::new(status.counts.switches);
            switches.encode(family.encode_family(&labels(stream, []))?)?;
        }

        let gauge_type = ConstGauge::new(0i64).metric_type();
        let mut gauge = |name, help, value: fn(&hub::Status) -> Option<f64>| -> std::fmt::Result {
            let mut family = encoder.encode_descriptor(name, help, None, gauge_type)?;
            for (stream, status) in &all {
                let Some(value) = value(status) else { continue };
                let labels = labels(stream, []);
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        };
        gauge(names::VIEWERS, "Subscriptions", |status| Some(status.viewers as f64))?;
        gauge(names::BITS_PER_SECOND, "Video, over the last seconds", |status| {
            Some(status.bits_per_second as f64)
        })?;
        gauge(names::KEY_FRAME_INTERVAL_SECONDS, "Between the last two key frames", |status| {
            Some(f64::from(status.key_frame_interval_ms?) / 1e3)
        })?;
        gauge(names::RING_BYTES, "Held for viewers who join or lag", |status| {
            Some(status.ring_bytes as f64)
        })?;
        gauge(names::PUBLISHER_START_SECONDS, "Since when it publishes, since 1970", |status| {
            Some(status.origin.as_ref()?.since_time_us as f64 / 1e6)
        })?;
        let help = "1 for whoever publishes the stream";
        let mut family = encoder.encode_descriptor(names::PUBLISHER, help, None, gauge_type)?;
        for (stream, status) in &all {
            let Some(origin) = &status.origin else { continue };
            let (address, encoder) = (origin.address.to_string(), origin.encoder.clone().unwrap_or_default());
            let labels = labels(stream, [("address", address), ("encoder", encoder)]);
            ConstGauge::new(1i64).encode(family.encode_family(&labels)?)?;
        }
        let help = "1 for each thing that is not as it should be";
        let mut family = encoder.encode_descriptor(names::WARNING, help, None, gauge_type)?;
        for (stream, status) in &all {
            for warning in &status.warnings {
                let labels = labels(stream, [("code", warning.code.to_owned())]);
                ConstGauge::new(1i64).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "1 for the pictures of each of a stream's qualities";
        let mut family = encoder.encode_descriptor(names::QUALITY, help, None, gauge_type)?;
        for (stream, status) in all.iter().filter(|(stream, _)| stream.quality.is_some()) {
            for track in &status.tracks {
                let Media::Video { width, height, .. } = track.media else { continue };
                let size = [("width", width.to_string()), ("height", height.to_string())];
                let labels = [labels(stream, [("codec", track.codec.clone())]), size.to_vec()].concat();
                ConstGauge::new(1i64).encode(family.encode_family(&labels)?)?;
            }
        }
        let mut family = encoder.encode_descriptor(names::STREAMS, "Streams by state", None, gauge_type)?;
        for state in StreamState::ALL {
            let count = self.0.iter().filter(|stream| stream.foremost().state() == state).count();
            ConstGauge::new(count as i64)
                .encode(family.encode_family(&StateLabel { state: state.as_str() })?)?;
        }
        let help = "1 for the state a stream is in, 0 for the others";
        let mut family = encoder.encode_descriptor(names::STREAM_STATE, help, None, gauge_type)?;
        for (stream, status) in &all {
            for state in StreamState::ALL {
                let labels = labels(stream, [("state", state.as_str().to_owned())]);
                let value = i64::from(status.state == state);
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// This process's own numbers, where the system tells them.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let fds = std::fs::read_dir("/proc/self/fd").ok().map(|dir| dir.count() as i64);
        let resident = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().trim_end_matches("kB").trim().parse::<i64>().ok().map(|kib| kib * 1024)
        });
        let tasks = Some(tokio::runtime::Handle::current().metrics().num_alive_tasks() as i64);
        for (name, help, value) in [
            (names::OPEN_FDS, "Open file descriptors", fds),
            (names::RESIDENT_BYTES, "Memory in use", resident),
            (names::TASKS, "Tasks that are alive", tasks),
        ] {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
