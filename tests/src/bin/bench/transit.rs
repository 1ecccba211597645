//! What the proxy adds: from the packet with the RTP marker to the last byte of the fragment at a viewer's socket.
//!
//! In the same run, between the frames, the same bytes go over two bare hops of loopback (a relay that reads a whole
//! message and writes it on): what the machine itself adds, so that its noise can be told apart.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use sightline_tests::proxy::Proxy;
use sightline_tests::raw;
use sightline_tests::stats::Percentiles;
use sightline_wire::{Header, Kind};

use crate::timed_camera::{self, Clip, Moments};
use crate::{Options, report::Report};

const BENCH: &str = "transit";
const REACH_P50_MS: f64 = 0.3;
const REACH_P99_MS: f64 = 2.0;
const WARM_UP: Duration = Duration::from_secs(2);
/// The part of a frame that is written by itself, like a packet with the marker.
const LAST_PART: usize = 700;

/// Measures 60 s.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let span = Duration::from_secs(if options.quick { 4 } else { 60 });
    let moments = Moments::default();
    let (copies, copied) = channel();
    let url = timed_camera::start(Clip::encode()?, Moments::clone(&moments), copies)?;
    let floor = measure_floor(copied)?;
    let proxy = Proxy::start([format!("cam={url}")])?;
    proxy.wait_for_state("cam", "live")?;

    let mut frames = raw::Frames::new(raw::connect(&proxy, "cam", None)?)?;
    let mut took_ms = vec![];
    let started = Instant::now();
    while started.elapsed() < WARM_UP + span {
        let message = frames.next_binary()?;
        let arrived = Instant::now();
        let (header, at) = Header::decode(&message)?;
        if header.kind != Kind::Media || started.elapsed() < WARM_UP {
            continue;
        }
        let sent = moments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&timed_camera::tail(&message[at..]))
            .copied();
        if let Some(sent) = sent {
            took_ms.push(arrived.duration_since(sent).as_secs_f64() * 1000.0);
        }
        if took_ms.len() % 250 == 0 {
            eprintln!("{} frames", took_ms.len());
        }
    }
    anyhow::ensure!(
        took_ms.len() as u128 * 2 > span.as_millis() / timed_camera::FRAME.as_millis(),
        "frames were not recognised"
    );
    let transit = Percentiles::of(took_ms);
    let floor = Percentiles::of(floor.lock().unwrap_or_else(PoisonError::into_inner).iter().copied());
    let what = "RTP marker in to last byte out";
    let reach = |limit: f64| format!("<= {limit} ms");
    report.goal(
        BENCH,
        format!("{what}, p50"),
        (transit.p50, "ms"),
        reach(REACH_P50_MS),
        transit.p50 <= REACH_P50_MS,
    );
    report.figure(BENCH, "two bare hops, p50", floor.p50, "ms");
    report.goal(
        BENCH,
        format!("{what}, p99"),
        (transit.p99, "ms"),
        reach(REACH_P99_MS),
        transit.p99 <= REACH_P99_MS,
    );
    report.figure(BENCH, "two bare hops, p99", floor.p99, "ms");
    report.detail(BENCH, serde_json::json!({ "transit_ms": transit, "two_bare_hops_ms": floor }));
    Ok(())
}

type Times = std::sync::Arc<Mutex<Vec<f64>>>;

/// Sends each copy through the bare relay; gives the times in ms, which grow while copies come.
fn measure_floor(copies: Receiver<Bytes>) -> Result<Times> {
    let (mut to_relay, mut at_relay) = pair()?;
    let (mut from_relay, mut at_sink) = pair()?;
    std::thread::spawn(move || {
        while let Ok(message) = read_message(&mut at_relay) {
            if from_relay.write_all(&message).is_err() {
                return;
            }
        }
    });
    let (sent, arriving) = channel::<Instant>();
    let times = Times::default();
    let kept = Times::clone(&times);
    std::thread::spawn(move || {
        while read_message(&mut at_sink).is_ok() {
            let arrived = Instant::now();
            let Ok(sent) = arriving.recv() else { return };
            let took_ms = arrived.duration_since(sent).as_secs_f64() * 1000.0;
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(took_ms);
        }
    });
    std::thread::spawn(move || -> Result<()> {
        for copy in copies {
            let mut message = (copy.len() as u32).to_be_bytes().to_vec();
            message.extend(&copy);
            let (before, last) = message.split_at(message.len().saturating_sub(LAST_PART));
            to_relay.write_all(before)?;
            sent.send(Instant::now())?;
            to_relay.write_all(last)?;
        }
        Ok(())
    });
    Ok(times)
}

/// Two ends of a connection.
fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

/// A message with its length in front.
fn read_message(from: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut message = vec![0; 4 + u32::from_be_bytes(length) as usize];
    message[..4].copy_from_slice(&length);
    from.read_exact(&mut message[4..])?;
    Ok(message)
}
