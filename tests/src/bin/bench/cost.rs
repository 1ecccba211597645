//! What the proxy costs with one camera, without viewers and with ten. For information.

use std::time::{Duration, Instant};

use anyhow::Result;
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::Viewer;

use crate::{Options, report::Report};

const BENCH: &str = "cost";

/// Measures processor and memory.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let span = Duration::from_secs(if options.quick { 3 } else { 15 });
    let camera = Camera::start(Sends::default())?;
    let proxy = Proxy::for_camera(&camera)?;
    for count in [0, 10] {
        let viewers: Vec<Viewer> = (0..count).map(|_| Viewer::watch(&proxy, "cam")).collect::<Result<_>>()?;
        for viewer in &viewers {
            viewer.wait_fragments(10)?;
        }
        let (before, started) = (proxy.cpu_ticks()?, Instant::now());
        std::thread::sleep(span);
        // A tick is a hundredth of a second.
        let per_cent = (proxy.cpu_ticks()? - before) as f64 / started.elapsed().as_secs_f64();
        report.figure(BENCH, format!("1 camera, {count} viewers: one processor"), per_cent, "%");
        let resident = proxy.resident_kib()? as f64 / 1024.0;
        report.figure(BENCH, format!("1 camera, {count} viewers: resident memory"), resident, "MiB");
    }
    Ok(())
}
