//! What a stream costs for a thousand viewers, compared to the floor: a program that writes the same bytes to as many sockets
//! and does nothing else, by turns in the same run. And what a thousand viewers do to others.
//!
//! How the load is made: one encoder by RTMP from this process, viewers on loopback in a process of their own. Both share
//! this machine's processors with the proxy.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use sightline_tests::flv::Clip;
use sightline_tests::proxy::Proxy;
use sightline_tests::stats::Percentiles;

use crate::fanout_load::{Moments, Part, Running, Seen};
use crate::rtmp_cpu::configuration;
use crate::rtmp_load::Load;
use crate::{Options, report::Report};

const BENCH: &str = "fanout";
const VIEWERS: u32 = 1_000;
const KBPS: u32 = 2_000;
const SIZE: (u32, u32) = (1280, 720);
const KEY: &str = "k";
/// The streams of a camera on the wall, and what each has.
const STREAMS: u32 = 100;
const VIEWERS_EACH: u32 = 10;
const KBPS_EACH: u32 = 1_000;
/// What a slow viewer reads.
const SLOW_BYTES_PER_SECOND: u32 = 10_000;
const SETTLE: Duration = Duration::from_secs(1);

const REACH_RATIO: f64 = 1.15;
const REACH_KIB: f64 = 16.0;
const REACH_LAST_MS: f64 = 20.0;
const REACH_LONE_MS: f64 = 2.0;
const REACH_SLOW_MS: f64 = 50.0;
const REACH_SLOW_MIB: f64 = 1.0;
const REACH_MANY_MS: f64 = 10.0;

/// Seconds of processor and bytes.
#[derive(Default)]
struct Cost {
    cpu_s: f64,
    bytes: f64,
}

impl Cost {
    fn add(&mut self, what: &str, ticks: u64, seen: &Seen) {
        let (cpu_s, bytes) = (ticks as f64 / 100.0, seen.bytes as f64);
        eprintln!(
            "{what}: {:.2} GB for {cpu_s:.2} s of processor: {:.3} s/GB",
            bytes / 1e9,
            cpu_s / bytes * 1e9
        );
        self.cpu_s += cpu_s;
        self.bytes += bytes;
    }

    fn per_gb(&self) -> f64 {
        self.cpu_s / self.bytes * 1e9
    }
}

fn viewers(address: &str, streams: &[(&str, u32)], bytes_per_second: Option<u32>) -> Result<Running> {
    let streams = streams.iter().map(|(name, viewers)| ((*name).to_owned(), *viewers)).collect();
    let mut running = Part::Readers { address: address.to_owned(), streams, bytes_per_second }.start()?;
    running.wait_ready()?;
    std::thread::sleep(SETTLE);
    Ok(running)
}

/// Lets viewers read for so long.
fn watch(mut running: Running, span: Duration) -> Result<Seen> {
    running.go()?;
    std::thread::sleep(span);
    running.stop()
}

/// A lone viewer of another stream, with as little between as there can be: what this machine itself makes him wait.
struct Relayed {
    floor: Running,
    _relay: Running,
    viewer: Running,
}

impl Relayed {
    /// Starts it, and has it read.
    fn start(sizes: &[usize]) -> Result<Self> {
        let floor = Part::Floor { viewers: 1, sizes: sizes.to_vec() }.start()?;
        let relay = Part::Relay { address: floor.address.clone() }.start()?;
        let mut viewer = viewers(&relay.address, &[("bare", 1)], None)?;
        viewer.go()?;
        Ok(Self { floor, _relay: relay, viewer })
    }

    fn took_ms(self) -> Result<Vec<f64>> {
        let seen = self.viewer.stop()?;
        Ok(seen.took_ms(&self.floor.stop()?.sent_us, 1))
    }
}

/// Measures some minutes; `--quick` about one.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let (rounds, span) = if options.quick { (1, 3) } else { (3, 10) };
    let span = Duration::from_secs(span);
    crowd(rounds, span, report)?;
    many(span, report)
}

fn crowd(rounds: u32, span: Duration, report: &mut Report) -> Result<()> {
    let clip = Arc::new(Clip::encode(4, KBPS, SIZE, false)?);
    let sizes: Vec<usize> =
        clip.tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.payload.len()).collect();
    let proxy = Proxy::configured(&configuration(2, KEY))?;
    let address = proxy.push_authority("rtmp")?;
    let watched = Moments::publish(&address, &format!("s0?key={KEY}"), &clip)?;
    let lone = Moments::publish(&address, &format!("s1?key={KEY}"), &clip)?;
    proxy.wait_for_state("s0", "live")?;
    proxy.wait_for_state("s1", "live")?;
    let web = proxy.authority();

    let (mut ours, mut floor) = (Cost::default(), Cost::default());
    let (mut alone_ms, mut beside_ms, mut last_ms, mut floor_ms) = (vec![], vec![], vec![], vec![]);
    let (mut bare_alone_ms, mut bare_beside_ms) = (vec![], vec![]);
    let mut kib = 0.0f64;
    for _ in 0..rounds {
        alone_ms.extend(lone.took_ms(&watch(viewers(web, &[("s1", 1)], None)?, span)?, 1));
        let held = || -> Result<f64> {
            let rings = proxy.metric("sightline_ring_bytes", &[])?.unwrap_or(0.0) / 1024.0;
            Ok(proxy.resident_kib()? as f64 - rings)
        };
        let before = held()?;
        let mut one = viewers(web, &[("s1", 1)], None)?;
        let mut thousand = viewers(web, &[("s0", VIEWERS)], None)?;
        one.go()?;
        thousand.go()?;
        let ticks = proxy.cpu_ticks()?;
        std::thread::sleep(span);
        let ticks = proxy.cpu_ticks()? - ticks;
        kib = kib.max((held()? - before) / f64::from(VIEWERS));
        let (one, thousand) = (one.stop()?, thousand.stop()?);
        ours.add("proxy", ticks, &thousand);
        beside_ms.extend(lone.took_ms(&one, 1));
        let took = watched.took_ms(&thousand, VIEWERS);
        eprintln!("{} of {} frames reached everybody", took.len(), thousand.frames.len());
        last_ms.extend(took);

        let relayed = Relayed::start(&sizes)?;
        std::thread::sleep(span);
        bare_alone_ms.extend(relayed.took_ms()?);
        let relayed = Relayed::start(&sizes)?;
        let bare = Part::Floor { viewers: VIEWERS, sizes: sizes.clone() }.start()?;
        let address = bare.address.clone();
        let mut thousand = viewers(&address, &[("bare", VIEWERS)], None)?;
        thousand.go()?;
        let ticks = bare.cpu_ticks()?;
        std::thread::sleep(span);
        let ticks = bare.cpu_ticks()? - ticks;
        let sent_us = bare.stop()?.sent_us;
        let seen = thousand.stop()?;
        floor.add("floor", ticks, &seen);
        floor_ms.extend(seen.took_ms(&sent_us, VIEWERS));
        bare_beside_ms.extend(relayed.took_ms()?);
    }
    let latest_ms = watched.latest_us.load(std::sync::atomic::Ordering::Relaxed) as f64 / 1e3;
    report.figure(
        BENCH,
        format!("load: {VIEWERS} viewers of {KBPS} kb/s; latest picture late by"),
        latest_ms,
        "ms",
    );
    report.figure(BENCH, "processor, proxy", ours.per_gb(), "s/GB");
    report.figure(BENCH, "processor, bare writev", floor.per_gb(), "s/GB");
    let ratio = ours.per_gb() / floor.per_gb();
    report.goal(
        BENCH,
        "proxy to bare writev",
        (ratio, "x"),
        format!("<= {REACH_RATIO} x"),
        ratio <= REACH_RATIO,
    );
    report.goal(BENCH, "memory, each viewer", (kib, "KiB"), format!("<= {REACH_KIB} KiB"), kib <= REACH_KIB);
    let (last, alone, beside) =
        (Percentiles::of(last_ms), Percentiles::of(alone_ms), Percentiles::of(beside_ms));
    let reach = format!("<= {REACH_LAST_MS} ms");
    report.goal(BENCH, "encoder to last viewer, p99", (last.p99, "ms"), reach, last.p99 <= REACH_LAST_MS);
    report.figure(BENCH, "bare writev to last viewer, p99", Percentiles::of(floor_ms).p99, "ms");
    report.figure(BENCH, "a lone viewer of another stream, alone, p99", alone.p99, "ms");
    let grown = beside.p99 - alone.p99;
    let reach = format!("<= {REACH_LONE_MS} ms");
    report.goal(BENCH, "beside the thousand, p99 grows by", (grown, "ms"), reach, grown <= REACH_LONE_MS);
    let (bare_alone, bare_beside) = (Percentiles::of(bare_alone_ms), Percentiles::of(bare_beside_ms));
    report.figure(BENCH, "the same by bare programs, p99 grows by", bare_beside.p99 - bare_alone.p99, "ms");

    let healthy = Percentiles::of(watched.took_ms(&watch(viewers(web, &[("s0", 1)], None)?, span)?, 1));
    let slow = viewers(web, &[("s0", VIEWERS)], Some(SLOW_BYTES_PER_SECOND))?;
    let seen = watch(viewers(web, &[("s0", 1)], None)?, span)?;
    // All of its memory: what earlier viewers left behind would hide what these take.
    let mib = proxy.resident_kib()? as f64 / 1024.0 / f64::from(VIEWERS);
    let ended = slow.stop()?.ended;
    let grown = Percentiles::of(watched.took_ms(&seen, 1)).p99 - healthy.p99;
    let reach = format!("<= {REACH_SLOW_MS} ms");
    report.goal(BENCH, "beside 1,000 slow ones, p99 grows by", (grown, "ms"), reach, grown <= REACH_SLOW_MS);
    let reach = format!("<= {REACH_SLOW_MIB} MiB");
    report.goal(
        BENCH,
        "memory, all of it shared among slow viewers",
        (mib, "MiB"),
        reach,
        mib <= REACH_SLOW_MIB,
    );
    report.figure(BENCH, "slow viewers that were let go", f64::from(ended), "");
    report.detail(
        BENCH,
        serde_json::json!({ "to_last_viewer_ms": last, "lone_alone_ms": alone, "lone_beside_ms": beside,
            "bare_alone_ms": bare_alone, "bare_beside_ms": bare_beside, "sizes": sizes }),
    );
    watched.stop();
    lone.stop();
    Ok(())
}

/// Many streams with a few viewers each.
fn many(span: Duration, report: &mut Report) -> Result<()> {
    let proxy = Proxy::configured(&configuration(STREAMS, KEY))?;
    let address = proxy.push_authority("rtmp")?;
    // Time for the viewers to come, too.
    let seconds = span.as_secs() as u32 + 8;
    let load =
        Load { address, publishers: STREAMS, key: KEY.into(), kbps: KBPS_EACH, size: (640, 360), seconds };
    let mut ready = load.connect()?;
    let web = proxy.authority().to_owned();
    let watching = std::thread::spawn(move || -> Result<Running> {
        std::thread::sleep(2 * SETTLE);
        let names: Vec<String> = (0..STREAMS).map(|number| format!("s{number}")).collect();
        let streams: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), VIEWERS_EACH)).collect();
        let mut running = viewers(&web, &streams, None)?;
        running.go()?;
        std::thread::sleep(span);
        Ok(running)
    });
    let sent = ready.send()?;
    let seen = watching.join().map_err(|_| anyhow::anyhow!("the viewers' thread"))??.stop()?;
    let dropped = proxy.metric("sightline_frames_dropped_total", &[])?.unwrap_or(0.0);
    let what = format!("{STREAMS} streams, {VIEWERS_EACH} viewers each: frames dropped");
    report.goal(BENCH, what, (dropped, ""), "0", dropped == 0.0 && seen.ended == 0);
    let all = proxy.metric("sightline_transit_seconds_count", &[])?.unwrap_or(0.0);
    let within = |limit: &str| -> Result<f64> {
        Ok(proxy.metric("sightline_transit_seconds_bucket", &[("le", limit)])?.unwrap_or(0.0) / all.max(1.0))
    };
    let share = within("0.01")? * 100.0;
    let what = format!("of {all} transits within {REACH_MANY_MS} ms");
    report.goal(BENCH, what, (share, "%"), ">= 99 %", share >= 99.0);
    report.figure(BENCH, "of them within 5 ms", within("0.005")? * 100.0, "%");
    report.figure(BENCH, "load: latest picture was late by", sent.latest_ms, "ms");
    Ok(())
}
