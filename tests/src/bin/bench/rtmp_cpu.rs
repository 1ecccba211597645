//! What taking a publisher in costs, compared to nginx's rtmp module that takes the same bytes, by turns.

use anyhow::{Result, ensure};
use sightline_tests::proxy::Proxy;
use sightline_tests::relay::Nginx;

use crate::rtmp_load::{Load, Sent};
use crate::{Options, report::Report};

const BENCH: &str = "rtmp-cpu";
const REACH_RATIO: f64 = 2.0;
const PUBLISHERS: u32 = 64;
const KBPS: u32 = 4_000;
const SIZE: (u32, u32) = (1280, 720);
const KEY: &str = "k";

/// The configuration for so many publishers.
pub(crate) fn configuration(publishers: u32, key: &str) -> String {
    let stream = |number| format!("[streams.s{number}]\npublish = {{ key = \"{key}\" }}\n");
    let streams: String = (0..publishers).map(stream).collect();
    format!("[rtmp]\nlisten = \"127.0.0.1:0\"\n{streams}")
}

#[derive(Default)]
struct Cost {
    cpu_s: f64,
    gigabits: f64,
}

impl Cost {
    fn add(&mut self, name: &str, ticks: u64, sent: &Sent) {
        let gigabits = sent.bytes as f64 * 8.0 / 1e9;
        // A tick is a hundredth of a second.
        self.cpu_s += ticks as f64 / 100.0;
        self.gigabits += gigabits;
        eprintln!(
            "{name}: {:.0} Mb/s for {:.1} s, latest picture {:.0} ms late: {:.3} s of processor per Gb",
            gigabits * 1000.0 / sent.took_s,
            sent.took_s,
            sent.latest_ms,
            ticks as f64 / 100.0 / gigabits,
        );
    }

    fn per_gigabit(&self) -> f64 {
        self.cpu_s / self.gigabits
    }
}

/// Measures 30 s of each.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    let (rounds, seconds) = if options.quick { (1, 3) } else { (3, 10) };
    let load = |address: &str| Load {
        address: address.to_owned(),
        publishers: PUBLISHERS,
        key: KEY.into(),
        kbps: KBPS,
        size: SIZE,
        seconds,
    };
    let (mut ours, mut nginx_s) = (Cost::default(), Cost::default());
    let mut sent_all = vec![];
    for _ in 0..rounds {
        let proxy = Proxy::configured(&configuration(PUBLISHERS, KEY))?;
        let mut ready = load(&proxy.push_authority("rtmp")?).connect()?;
        let before = proxy.cpu_ticks()?;
        let sent = ready.send()?;
        ours.add("ours", proxy.cpu_ticks()? - before, &sent);
        ensure!(sent.dropped == 0, "{} publishers were let go:\n{}", sent.dropped, proxy.log());
        sent_all.push(sent);
        drop((ready, proxy));

        let nginx = Nginx::start()?;
        let mut ready = load(&format!("127.0.0.1:{}", nginx.port())).connect()?;
        let before = nginx.cpu_ticks()?;
        let sent = ready.send()?;
        nginx_s.add("nginx", nginx.cpu_ticks()? - before, &sent);
        ensure!(sent.dropped == 0, "nginx let {} publishers go:\n{}", sent.dropped, nginx.log());
        sent_all.push(sent);
    }
    let ratio = ours.per_gigabit() / nginx_s.per_gigabit();
    let rate = ours.gigabits * 1000.0 / f64::from(rounds * seconds);
    report.figure(BENCH, format!("load: {PUBLISHERS} publishers replay one encode"), rate, "Mb/s");
    report.figure(BENCH, "processor per Gb taken in, ours", ours.per_gigabit(), "s");
    report.figure(BENCH, "processor per Gb taken in, nginx", nginx_s.per_gigabit(), "s");
    let reach = format!("<= {REACH_RATIO}x nginx");
    report.goal(BENCH, "ours : nginx", (ratio, "x"), reach, ratio <= REACH_RATIO);
    report.detail(BENCH, serde_json::json!({ "load": load("HOST:PORT"), "sent": sent_all }));
    Ok(())
}
