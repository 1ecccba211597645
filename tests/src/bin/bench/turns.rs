//! Pages that are looked at by turns in one browser: ours and bare ones with the same bytes, and what each of them showed.
//!
//! What a figure should be does not belong here.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use sightline_tests::browser::{Browser, Glass, Page};
use sightline_tests::proxy::Proxy;
use sightline_tests::serve;
use sightline_tests::stats::Percentiles;
use sightline_tests::viewer::Viewer;

/// Pictures a second that the cameras of these benchmarks send.
pub(crate) const FPS: u32 = 25;
/// Behind the first picture: a start may be rough.
pub(crate) const WARM_UP: Duration = Duration::from_secs(4);
/// Our page's player.
pub(crate) const PLAYER: &str = "document.querySelector('sightline-player')";

/// A page.
pub(crate) struct Case {
    /// What it is called in the report.
    pub(crate) name: &'static str,
    /// Its address.
    pub(crate) url: String,
    /// What to do with it once it shows pictures.
    pub(crate) prepare: fn(&Page<'_>) -> Result<()>,
}

impl Case {
    /// One with which nothing is to be done.
    pub(crate) fn new(name: &'static str, url: impl Into<String>) -> Self {
        Self { name, url: url.into(), prepare: |_| Ok(()) }
    }
}

/// What one picture of a page showed, in all rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) latencies_ms: Vec<f64>,
    pub(crate) freeze_ms: f64,
    pub(crate) frames: u64,
    /// Pictures that the camera sent from the first to the last one seen.
    pub(crate) sent: u64,
    /// Dropped by the browser, by its own word.
    pub(crate) dropped: u64,
    pub(crate) backwards: u64,
    /// How far behind the newest frame a bare page played, by its own word.
    pub(crate) behind_ms: Vec<f64>,
    /// What our page's player said of itself at the end of the last round.
    pub(crate) stats: Value,
}

impl Seen {
    fn add(&mut self, glass: &Glass, dropped_before: u64, witness: &Witness) {
        self.sent += witness.sent(glass);
        self.frames += glass.samples.len() as u64;
        self.latencies_ms.extend(glass.samples.iter().map(|sample| sample.1));
        self.freeze_ms = self.freeze_ms.max(glass.longest_gap);
        self.dropped += glass.dropped.saturating_sub(dropped_before);
        self.backwards += glass.backwards;
    }

    /// Capture to screen.
    pub(crate) fn latency(&self) -> Percentiles {
        Percentiles::of(self.latencies_ms.iter().copied())
    }

    /// The share of the pictures sent that were seen on the screen, in per cent.
    pub(crate) fn shown_percent(&self) -> f64 {
        self.frames as f64 / (self.sent as f64).max(1.0) * 100.0
    }

    /// For the JSON.
    pub(crate) fn json(&self, engine: &str, page: &str) -> Value {
        serde_json::json!({
            "engine": engine, "page": page, "latency_ms": self.latency(), "longest_freeze_ms": self.freeze_ms,
            "pictures": self.frames, "sent": self.sent, "shown_percent": self.shown_percent(),
            "dropped_by_browser": self.dropped, "backwards": self.backwards,
            "behind_newest_ms": Percentiles::of(self.behind_ms.iter().copied()), "stats": self.stats,
        })
    }
}

/// A viewer that knows what the camera sent: on a busy machine that is less than it should be.
pub(crate) struct Witness(Viewer);

impl Witness {
    /// Of this stream, from now on.
    pub(crate) fn of(proxy: &Proxy, stream: &str) -> Result<Self> {
        let viewer = Viewer::watch(proxy, stream)?;
        viewer.wait_fragments(1)?;
        Ok(Self(viewer))
    }

    /// How many pictures came from the first to the last one seen, by the moment when they were taken.
    fn sent(&self, glass: &Glass) -> u64 {
        // The proxy's word for that moment is a little later than the clock that was painted.
        const SLACK_MS: f64 = 1_000.0 / FPS as f64 / 2.0;
        let clock =
            |sample: Option<&(f64, f64, f64)>| sample.map_or(0.0, |(shown, latency, _)| shown - latency);
        let (first, last) = (clock(glass.samples.first()), clock(glass.samples.last()));
        let record = self.0.record();
        let taken = record.fragments(0).map(|fragment| fragment.header.capture_time_us as f64 / 1e3);
        taken.filter(|ms| (first - SLACK_MS..=last + SLACK_MS).contains(ms)).count() as u64
    }
}

/// Looks at each page for so long, in each of some rounds. Gives what each picture of each page showed.
pub(crate) fn by_turns(
    browser: &Browser,
    witness: &Witness,
    cases: &[Case],
    pictures: usize,
    (rounds, time): (u32, Duration),
) -> Result<Vec<Vec<Seen>>> {
    let mut all = vec![vec![Seen::default(); pictures]; cases.len()];
    for round in 1..=rounds {
        for (case, seen) in cases.iter().zip(&mut all) {
            let engine = browser.engine().name();
            look(browser, witness, case, seen, time)
                .with_context(|| format!("{engine}, {}, round {round}", case.name))?;
            let p = seen[0].latency();
            eprintln!(
                "{engine}, {}, round {round} of {rounds}: p50 {:.0}, p95 {:.0} ms so far, {:.1} % of the pictures shown",
                case.name,
                p.p50,
                p.p95,
                seen[0].shown_percent()
            );
        }
    }
    Ok(all)
}

fn look(browser: &Browser, witness: &Witness, case: &Case, seen: &mut [Seen], time: Duration) -> Result<()> {
    let page = browser.open(&case.url)?;
    page.wait_for_pictures(seen.len(), 2)?;
    (case.prepare)(&page)?;
    std::thread::sleep(WARM_UP);
    let before = moving(page.glass()?);
    page.reset_glass()?;
    std::thread::sleep(time);
    let after = moving(page.glass()?);
    for (seen, (before, after)) in seen.iter_mut().zip(before.iter().zip(&after)) {
        seen.add(after, before.dropped, witness);
    }
    let behind = page.evaluate("typeof behind === 'undefined' ? [] : behind.slice(-3000)")?;
    seen[0].behind_ms.extend(serde_json::from_value::<Vec<f64>>(behind)?);
    seen[0].stats = page.evaluate(&format!("{PLAYER}?.getStats() ?? null"))?;
    Ok(())
}

/// A player that shows its pictures on a canvas leaves its `<video>` alone.
pub(crate) fn moving(glass: Vec<Glass>) -> Vec<Glass> {
    glass.into_iter().filter(|seen| seen.frames > 0).collect()
}

/// Starts a server for the bare pages; gives its address, on which each has its file's name.
pub(crate) fn bare_pages() -> Result<String> {
    bare_pages_at(Ipv4Addr::LOCALHOST)
}

/// As [`bare_pages`], at another address of this machine's.
pub(crate) fn bare_pages_at(host: Ipv4Addr) -> Result<String> {
    const NAMES: [&str; 3] = ["/bare.html", "/bare-sound.html", "/bare-webcodecs.html"];
    let read = |name: &str| std::fs::read_to_string(sightline_tests::file(&format!("bench{name}")));
    let pages = NAMES.into_iter().map(|name| Ok((name, read(name)?))).collect::<Result<Vec<_>>>()?;
    serve::pages_at(host, move |path| {
        let path = path.split('?').next()?;
        pages.iter().find(|(name, _)| *name == path).map(|(_, html)| html.clone())
    })
}
