//! What a frame of video costs in the proxy, from what RTSP's depacketiser gives to the shared fragment: its slice is read,
//! its decode time derived, its segment written, and it goes into the ring.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use sightline::{
    hub::{Hub, Publisher},
    media::{Coding, Frame, pictures::Pictures},
};

use crate::{Options, report::Report};

const BENCH: &str = "mux";
const BUDGET_US: f64 = 2.0;
const ALLOCATED_MAX: f64 = 512.0;

/// x264's high profile: SPS and PPS.
const SETS: [&str; 2] = ["6764000aacd9447b011000000300100000030320f1225960", "68ef8fcb"];

/// The beginnings of a group of pictures with three B-frames, and when each is shown, in frames.
const GROUP: [(&str, i64); 9] = [
    ("65888400dfd4d445abc4073c5372", 0),
    ("419a241893ffbcd9e6330a6358df", 4),
    ("419e424223fffedd20aa806c8f7b", 2),
    ("019e6144575cc0", 1),
    ("019e634457e9f76d", 3),
    ("419a68344c7fd77dad9ead81cd40", 8),
    ("419e8645112c9feb219a54da311b", 6),
    ("019ea544475941", 5),
    ("019ea744dffed1b97da0", 7),
];

/// The size of a frame of 1.5 Mb/s at 25 frames a second, and of a key frame of 8 Mb/s.
const FRAME_LENS: [usize; 2] = [7_500, 120_000];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn record() -> Vec<u8> {
    let [sps, pps] = SETS.map(bytes);
    let sized = |nal: &[u8]| [&(nal.len() as u16).to_be_bytes(), nal].concat();
    [&[1, sps[1], sps[2], sps[3], 0xff, 0xe1], &sized(&sps)[..], &[1], &sized(&pps)].concat()
}

/// Passes one frame on, as `ingest/rtsp` does.
fn pass(pictures: &mut Pictures, publisher: &Publisher, data: Bytes, pts_ticks: i64, at: Instant) -> bool {
    let Ok(Some(unit)) = pictures.read(data, pts_ticks) else { return false };
    let picture = pictures.place(unit, pts_ticks);
    let frame = Frame {
        track: 0,
        pts_ticks,
        dts_ticks: picture.dts_ticks,
        duration_ticks: None,
        capture_time_us: 0,
        key_frame: picture.key_frame,
        data: picture.data,
    };
    publisher.frame(frame, at)
}

/// Measures time and allocations.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let groups = if options.quick { 200 } else { 5_000 };
    for len in FRAME_LENS {
        let hub = Hub::new([("cam".parse().map_err(|e| anyhow::anyhow!("{e}"))?, false)]);
        let publisher = hub.get("cam").context("the stream")?.publish();
        let mut pictures = Pictures::new(Coding::H264);
        let track = pictures.configure(&record()).map_err(anyhow::Error::msg)?;
        let begun = Instant::now();
        publisher.tracks(vec![track], begun)?;
        let (mut took, mut frames, mut allocations, mut allocated) = (vec![], 0u64, 0, 0);
        for group in 0..groups {
            for (i, (head, shown)) in GROUP.iter().enumerate() {
                let mut nal = bytes(head);
                nal.resize(len, 0x55);
                let data = Bytes::from([&(len as u32).to_be_bytes(), &nal[..]].concat());
                let frame = group * 9 + shown;
                let at = begun
                    + std::time::Duration::from_millis(40) * (group * 9) as u32
                    + std::time::Duration::from_millis(40) * i as u32;
                let mut passed = false;
                let started = Instant::now();
                let cost = allocation_counter::measure(|| {
                    passed = pass(&mut pictures, &publisher, data, frame * 3_600, at);
                });
                took.push(started.elapsed().as_nanos() as f64 / 1_000.0);
                ensure!(passed, "a frame was left out");
                frames += 1;
                allocations += cost.count_total;
                allocated += cost.bytes_total;
            }
        }
        took.sort_by(f64::total_cmp);
        let median = took[took.len() / 2];
        let what = format!("a frame of {len} B, median");
        report.goal(BENCH, what, (median, "us"), format!("<= {BUDGET_US} us"), median <= BUDGET_US);
        report.figure(BENCH, format!("a frame of {len} B, p99"), took[took.len() * 99 / 100], "us");
        let per_frame = allocations as f64 / frames as f64;
        report.figure(BENCH, format!("a frame of {len} B, allocations"), per_frame, "");
        // Its own bytes are those that came: no copy of them fits into this.
        let bytes = allocated as f64 / frames as f64;
        let what = format!("a frame of {len} B, allocated");
        report.goal(BENCH, what, (bytes, "B"), format!("<= {ALLOCATED_MAX} B"), bytes <= ALLOCATED_MAX);
    }
    Ok(())
}
