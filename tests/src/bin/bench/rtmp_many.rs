//! Two hundred publishers at once: whether every frame arrives, and what memory each takes.

use std::time::Duration;

use anyhow::Result;
use sightline_tests::proxy::Proxy;
use sightline_tests::wait;

use crate::rtmp_cpu::configuration;
use crate::rtmp_load::Load;
use crate::{Options, report::Report};

const BENCH: &str = "rtmp-many";
const PUBLISHERS: u32 = 200;
const KBPS: u32 = 1_000;
const SIZE: (u32, u32) = (640, 360);
const KEY: &str = "k";
const REACH_MIB: f64 = 2.0;

/// Measures 60 s.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let seconds = if options.quick { 10 } else { 60 };
    let proxy = Proxy::configured(&configuration(PUBLISHERS, KEY))?;
    let address = proxy.push_authority("rtmp")?;
    let resident_kib = proxy.resident_kib()?;
    let load = Load { address, publishers: PUBLISHERS, key: KEY.into(), kbps: KBPS, size: SIZE, seconds };
    let mut ready = load.connect()?;
    let cpu = proxy.cpu_ticks()?;
    let sent = ready.send()?;
    let cpu_s = (proxy.cpu_ticks()? - cpu) as f64 / 100.0;

    let pictures: u64 = sent.pictures.iter().sum();
    let arrived = || proxy.metric("sightline_frames_total", &[]).ok().flatten().unwrap_or(0.0);
    // What is on its way arrives, or does not.
    let all = wait::until_within(Duration::from_secs(3), "all frames", || {
        (arrived() >= pictures as f64).then_some(())
    });
    let arrived = arrived();
    if all.is_err() {
        eprintln!("{pictures} frames were sent and {arrived} arrived");
    }
    let mut short = 0;
    for (number, pictures) in sent.pictures.iter().enumerate() {
        let frames = proxy.metric("sightline_frames_total", &[("stream", &format!("s{number}"))])?;
        short += usize::from(frames != Some(*pictures as f64));
    }
    let grown_mib = proxy.resident_kib()?.saturating_sub(resident_kib) as f64 / 1024.0;
    let ring_mib = proxy.metric("sightline_ring_bytes", &[])?.map(|bytes| bytes / 1024.0 / 1024.0);
    let each = (grown_mib - ring_mib.unwrap_or(0.0)) / f64::from(PUBLISHERS);
    let rate = sent.bytes as f64 * 8.0 / 1e6 / sent.took_s;

    report.figure(BENCH, format!("load: {PUBLISHERS} publishers for {seconds} s"), rate, "Mb/s");
    report.figure(BENCH, "load: latest picture was late by", sent.latest_ms, "ms");
    report.goal(BENCH, "publishers dropped", (sent.dropped as f64, ""), "0", sent.dropped == 0);
    let missing = pictures as f64 - arrived;
    report.goal(
        BENCH,
        format!("frames missing of {pictures}"),
        (missing, ""),
        "0",
        missing == 0.0 && short == 0,
    );
    report.figure(BENCH, "one processor", cpu_s / sent.took_s * 100.0, "%");
    report.figure(BENCH, "resident memory, all publishers", grown_mib, "MiB");
    report.figure(BENCH, "of which in the rings", ring_mib.unwrap_or(0.0), "MiB");
    let reach = format!("<= {REACH_MIB} MiB");
    report.goal(BENCH, "memory beyond the ring, each", (each, "MiB"), reach, each <= REACH_MIB);
    report.detail(
        BENCH,
        serde_json::json!({ "load": load, "sent": sent, "arrived": arrived, "streams_short": short }),
    );
    Ok(())
}
