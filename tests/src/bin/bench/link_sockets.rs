//! What a link that loses packets makes of the frames, without a browser: many viewers at its far end, each with a connection of
//! its own, and one beside the proxy against whom they are timed.
//!
//! A browser's longest freeze hangs on a few packets; here are twenty times as many, so that two builds can be told apart.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::link::{self, Conditions, Link};
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::Viewer;

use crate::{Options, report::Report};

const BENCH: &str = "link-sockets";
/// Each way: a round trip of 40 ms.
const DELAY: Duration = Duration::from_millis(20);
const VIEWERS: usize = 20;
const LOSS_PERCENT: [u32; 3] = [1, 3, 5];
const SEED: u64 = 1;
/// So long between two frames is called a freeze.
const FREEZE_MS: f64 = 250.0;

/// Measures four minutes; `--quick` one.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    if let Some(missing) = link::missing() {
        eprintln!("skipped: {missing}");
        return Ok(());
    }
    let time = Duration::from_secs(if options.quick { 20 } else { 80 });
    let link = Link::start(SEED)?;
    let fine = Conditions { delay: DELAY, ..Conditions::default() };
    link.set(fine);
    let camera =
        Camera::start(Sends { fps: 25, size: (1280, 720), kbps: 2_000, noise: true, ..Sends::default() })?;
    let listen = format!("{}:0", link.host());
    let proxy = Proxy::start_on(&listen, ["--auth=off".to_owned(), format!("cam={}", camera.url())])?;
    proxy.wait_for_state("cam", "live")?;
    for loss_percent in LOSS_PERCENT {
        if options.quick && loss_percent != 3 {
            continue;
        }
        link.set(Conditions { loss: f64::from(loss_percent) / 100.0, ..fine });
        link.forget();
        let near = Viewer::watch(&proxy, "cam")?;
        let far: Vec<_> =
            (0..VIEWERS).map(|_| link.beyond(|| Viewer::watch(&proxy, "cam"))).collect::<Result<_>>()?;
        near.wait_fragments(50)?;
        eprintln!("{loss_percent} % lost each way, {VIEWERS} viewers, {} s", time.as_secs());
        let start = Instant::now();
        std::thread::sleep(time);
        tell(loss_percent, start, &near, &far, report)?;
    }
    Ok(())
}

fn tell(loss_percent: u32, start: Instant, near: &Viewer, far: &[Viewer], report: &mut Report) -> Result<()> {
    let sent: HashMap<u32, Instant> =
        near.record().fragments(0).map(|fragment| (fragment.header.sequence, fragment.at)).collect();
    let (mut late_ms, mut freezes_ms, mut minutes) = (vec![], vec![], 0.0);
    for viewer in far {
        let record = viewer.record();
        let came: Vec<_> = record.fragments(0).filter(|fragment| fragment.at > start).collect();
        ensure!(came.len() > 1, "a viewer got {} frames: {:?}", came.len(), record.end);
        minutes += came[came.len() - 1].at.duration_since(start).as_secs_f64() / 60.0;
        late_ms.extend(came.iter().filter_map(|fragment| {
            let sent = sent.get(&fragment.header.sequence)?;
            Some(fragment.at.saturating_duration_since(*sent).as_secs_f64() * 1e3)
        }));
        freezes_ms.extend(came.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64() * 1e3));
    }
    late_ms.sort_by(f64::total_cmp);
    freezes_ms.sort_by(f64::total_cmp);
    let share = |sorted: &[f64], share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
    let what = |text: &str| format!("{loss_percent} % lost each way: {text}");
    for (name, p) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)] {
        report.figure(BENCH, what(&format!("later than beside the proxy, {name}")), share(&late_ms, p), "ms");
    }
    let frozen = freezes_ms.iter().filter(|ms| **ms > FREEZE_MS).count();
    let name = format!("freezes of more than {FREEZE_MS} ms, a viewer and minute");
    report.figure(BENCH, what(&name), frozen as f64 / minutes, "");
    report.figure(BENCH, what("longest freeze of all"), share(&freezes_ms, 1.0), "ms");
    Ok(())
}
