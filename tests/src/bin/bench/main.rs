//! Sightline's benchmarks: what a viewer gets, measured in real browsers from the pictures themselves, and what it costs.
//!
//! usage: `bench [--quick] [NAME...]`, with the names in [`ALL`]
//!
//! Prints a table; the same figures, and more, stand as JSON under `target/bench/`. `--quick` shows in a short time
//! whether the benchmarks work; its figures mean little. Ends with 1 when the download is over its size budget, which
//! does not depend on the machine; a figure that misses its reach for another reason is marked and costs nothing.

// A benchmark is a program that prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod codecs;
mod cost;
mod fanout;
mod fanout_load;
mod join;
mod latency;
mod lipsync;
mod mux;
mod report;
mod rtmp_cpu;
mod rtmp_latency;
mod rtmp_load;
mod rtmp_many;
mod size;
mod timed_camera;
mod transit;

use anyhow::{Result, bail};
use report::Report;

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Short runs.
    pub(crate) quick: bool,
}

type Bench = fn(Options, &mut Report) -> Result<()>;

const ALL: [(&str, Bench); 12] = [
    ("size", size::run),
    ("transit", transit::run),
    ("mux", mux::run),
    ("codecs", codecs::run),
    ("cost", cost::run),
    ("fanout", fanout::run),
    ("latency", latency::run),
    ("join", join::run),
    ("lipsync", lipsync::run),
    ("rtmp-latency", rtmp_latency::run),
    ("rtmp-cpu", rtmp_cpu::run),
    ("rtmp-many", rtmp_many::run),
];

fn main() -> Result<()> {
    if let Some(load) = rtmp_load::asked_for() {
        return load?.run();
    }
    if let Some(part) = fanout_load::asked_for() {
        return part?.run();
    }
    let known = ALL.map(|(name, _)| name).join(", ");
    let (flags, names): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|a| a.starts_with('-'));
    if let Some(unknown) = flags.iter().find(|flag| *flag != "--quick") {
        bail!("unknown option {unknown}; usage: bench [--quick] [NAME...], with the names {known}");
    }
    if let Some(unknown) = names.iter().find(|name| !ALL.iter().any(|(known, _)| known == name)) {
        bail!("no benchmark is called {unknown}; there are {known}");
    }
    let options = Options { quick: !flags.is_empty() };
    let mut report = Report::default();
    for (name, bench) in ALL {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            eprintln!("== {name}: make bench BENCH={name}");
            bench(options, &mut report)?;
        }
    }
    report.print();
    let folder = report.write()?;
    println!("As JSON: {}", folder.display());
    if report.over_budget() {
        bail!("the player is over its size budget");
    }
    Ok(())
}
