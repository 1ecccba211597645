//! Sightline's benchmarks: what a viewer gets, measured in real browsers from the pictures themselves, and what it costs.
//!
//! usage: `bench [--quick] [--hour] [--engine NAME] [NAME...]`, with the names in [`ALL`]
//!
//! Prints a table; the same figures, and more, stand as JSON under `target/bench/`. `--quick` shows in a short time
//! whether the benchmarks work; its figures mean little. `--hour` makes `endurance` last so long; `--engine` keeps to one
//! of the browsers `chromium`, `firefox`, `webkit`, where a benchmark takes several. Ends with 1 when the download is over its size budget, which
//! does not depend on the machine; a figure that misses its reach for another reason is marked and costs nothing.

// A benchmark is a program that prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod codecs;
mod cost;
mod endurance;
mod fanout;
mod fanout_load;
mod join;
mod latency;
mod link;
mod link_sockets;
mod lipsync;
mod mux;
mod player_cpu;
mod rates;
mod report;
mod rtmp_cpu;
mod rtmp_latency;
mod rtmp_load;
mod rtmp_many;
mod size;
mod sound_latency;
mod start;
mod timed_camera;
mod transit;
mod truth;
mod turns;
mod wall;
mod webcodecs;

use anyhow::{Context, Result, bail};
use report::Report;
use sightline_tests::browser::Engine;

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Short runs.
    pub(crate) quick: bool,
    /// A long run of what looks for things that grow slowly.
    pub(crate) hour: bool,
    /// The only browser.
    pub(crate) engine: Option<Engine>,
}

impl Options {
    /// Those of these browsers that are asked for.
    pub(crate) fn engines(self, all: &[Engine]) -> Vec<Engine> {
        all.iter().copied().filter(|engine| self.engine.is_none_or(|only| only == *engine)).collect()
    }
}

type Bench = fn(Options, &mut Report) -> Result<()>;

const USAGE: &str = "usage: bench [--quick] [--hour] [--engine NAME] [NAME...]";

const ALL: [(&str, Bench); 22] = [
    ("size", size::run),
    ("start", start::run),
    ("transit", transit::run),
    ("mux", mux::run),
    ("codecs", codecs::run),
    ("cost", cost::run),
    ("fanout", fanout::run),
    ("latency", latency::run),
    ("webcodecs", webcodecs::run),
    ("sound-latency", sound_latency::run),
    ("join", join::run),
    ("rates", rates::run),
    ("wall", wall::run),
    ("truth", truth::run),
    ("player-cpu", player_cpu::run),
    ("lipsync", lipsync::run),
    ("rtmp-latency", rtmp_latency::run),
    ("rtmp-cpu", rtmp_cpu::run),
    ("rtmp-many", rtmp_many::run),
    ("link", link::run),
    ("link-sockets", link_sockets::run),
    ("endurance", endurance::run),
];

fn main() -> Result<()> {
    if let Some(load) = rtmp_load::asked_for() {
        return load?.run();
    }
    if let Some(part) = fanout_load::asked_for() {
        return part?.run();
    }
    let known = ALL.map(|(name, _)| name).join(", ");
    let (mut options, mut names) = (Options::default(), vec![]);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--hour" => options.hour = true,
            "--engine" => {
                let name = arguments.next().unwrap_or_default();
                let engine = Engine::THREE.into_iter().find(|engine| engine.name() == name);
                options.engine = Some(engine.with_context(|| format!("no browser is called {name:?}"))?);
            }
            name if ALL.iter().any(|(known, _)| *known == name) => names.push(argument),
            "-h" | "--help" => {
                println!("{USAGE}, with the names {known}");
                return Ok(());
            }
            unknown => {
                bail!("{unknown} is neither an option nor a benchmark; {USAGE}, with the names {known}")
            }
        }
    }
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
