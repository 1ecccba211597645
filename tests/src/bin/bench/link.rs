//! Live behind a bad network: a browser at the far end of a link of ours that delays and loses packets, is too slow for a while,
//! or lets nothing through.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use sightline_tests::browser::{Browser, Page};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::link::{self, Conditions, Link};
use sightline_tests::proxy::Proxy;

use crate::turns::{Case, FPS, PLAYER, Seen, WARM_UP, Witness, bare_pages_at, by_turns, moving};
use crate::{Options, report::Report};

const BENCH: &str = "link";
/// Each way: a round trip of 40 ms.
const FINE: Conditions =
    Conditions { delay: Duration::from_millis(20), loss: 0.0, bits_per_second: None, is_out: false };
const KBPS: u32 = 2_000;
const SEED: u64 = 1;

/// What a way to the screen is to reach.
struct Reach {
    renderer: &'static str,
    bare: &'static str,
    /// By the share of packets lost each way, in per cent: capture to screen, p50.
    p50_ms: [(u32, f64); 4],
}

const MSE: Reach =
    Reach { renderer: "mse", bare: "bare.html", p50_ms: [(0, 85.0), (1, 95.0), (3, 140.0), (5, 190.0)] };
const WEBCODECS: Reach = Reach {
    renderer: "webcodecs",
    bare: "bare-webcodecs.html?to=generator",
    p50_ms: [(0, 40.0), (1, 50.0), (3, 65.0), (5, 80.0)],
};
/// Where it is looked at what was shown, and how long nothing was.
const LOSS_TO_SHOW: u32 = 3;
const REACH_SHOWN_PERCENT: f64 = 97.0;
const REACH_FREEZE_MS: f64 = 250.0;

const REACH_BEHIND_S: f64 = 3.0;
const REACH_AFTER_SLOW_S: f64 = 3.0;
const OUTAGE: Duration = Duration::from_secs(3);
const REACH_AFTER_OUTAGE_S: f64 = 1.5;
/// Live is no more than this behind what it was before.
const LIVE_WITHIN_MS: f64 = 250.0;

/// Measures some ten minutes; `--quick` about two.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    if let Some(missing) = link::missing() {
        eprintln!("skipped: {missing}");
        return Ok(());
    }
    let link = Link::start(SEED)?;
    link.set(FINE);
    let camera =
        Camera::start(Sends { fps: FPS, size: (1280, 720), kbps: KBPS, noise: true, ..Sends::default() })?;
    let listen = format!("{}:0", link.host());
    let proxy = Proxy::start_on(&listen, ["--auth=off".to_owned(), format!("cam={}", camera.url())])?;
    proxy.wait_for_state("cam", "live")?;
    let bare = bare_pages_at(link.host())?;
    let origin = proxy.url("");
    let browser = Browser::launch_beyond(&link, &[origin.trim_end_matches('/'), &bare])?;
    let witness = Witness::of(&proxy, "cam")?;
    for reach in [MSE, WEBCODECS] {
        for (loss_percent, p50_ms) in reach.p50_ms {
            if options.quick && !matches!(loss_percent, 0 | 3) {
                continue;
            }
            link.set(Conditions { loss: f64::from(loss_percent) / 100.0, ..FINE });
            link.forget();
            let socket = proxy.ws_url(Some("cam"));
            let cases = [
                Case::new("ours", proxy.url(&format!("/embed/cam?renderer={}", reach.renderer))),
                Case::new("bare", format!("{bare}/{}#{socket}", reach.bare)),
            ];
            let (rounds, time) = options.turns();
            let seen = by_turns(&browser, &witness, &cases, 1, (rounds.min(2), time))?;
            tell(&reach, loss_percent, p50_ms, &seen, report);
        }
        link.set(FINE);
        link.forget();
        slow(options, &reach, (&link, &proxy, &browser), report)?;
        outage(options, &reach, (&link, &proxy, &browser), report)?;
    }
    Ok(())
}

fn tell(reach: &Reach, loss_percent: u32, p50_ms: f64, seen: &[Vec<Seen>], report: &mut Report) {
    let (ours, bare) = (&seen[0][0], &seen[1][0]);
    let what = |text: &str| format!("{}, {loss_percent} % lost each way: {text}", reach.renderer);
    let p = ours.latency();
    report.goal(BENCH, what("p50"), (p.p50, "ms"), format!("<= {p50_ms} ms"), p.p50 <= p50_ms);
    report.figure(BENCH, what("p50, bare"), bare.latency().p50, "ms");
    report.figure(BENCH, what("p95"), p.p95, "ms");
    let shown = ours.shown_percent();
    if loss_percent == LOSS_TO_SHOW {
        let least = format!(">= {REACH_SHOWN_PERCENT} %");
        report.goal(BENCH, what("pictures seen"), (shown, "%"), least, shown >= REACH_SHOWN_PERCENT);
        let most = format!("<= {REACH_FREEZE_MS} ms");
        let calm = ours.freeze_ms <= REACH_FREEZE_MS;
        report.goal(BENCH, what("longest freeze"), (ours.freeze_ms, "ms"), most, calm);
        report.figure(BENCH, what("longest freeze, bare"), bare.freeze_ms, "ms");
    } else {
        report.figure(BENCH, what("pictures seen"), shown, "%");
    }
    for (page, seen) in [("ours", ours), ("bare", bare)] {
        report.detail(BENCH, seen.json("chromium", &format!("{page}, {}, {loss_percent} %", reach.renderer)));
    }
}

type World<'a> = (&'a Link, &'a Proxy, &'a Browser);

/// The link takes half of the stream for a while.
fn slow(
    options: Options,
    reach: &Reach,
    (link, proxy, browser): World<'_>,
    report: &mut Report,
) -> Result<()> {
    let page = open(reach, proxy, browser)?;
    let usual_ms = usual_ms(&page)?;
    let bits = proxy.metric("sightline_stream_bits_per_second", &[("stream", "cam")])?;
    let bits = bits.unwrap_or(f64::from(KBPS) * 1e3);
    page.reset_glass()?;
    link.set(Conditions { bits_per_second: Some((bits / 2.0) as u32), ..FINE });
    std::thread::sleep(Duration::from_secs(if options.quick { 8 } else { 20 }));
    link.set(FINE);
    let over_ms = now_ms()?;
    std::thread::sleep(Duration::from_secs(6));
    let samples = samples(&page)?;
    let what = |text: &str| format!("{}, half the stream's rate for a while: {text}", reach.renderer);
    let behind_s = oldest_ms(&samples) / 1e3;
    let most = format!("<= {REACH_BEHIND_S} s");
    report.goal(BENCH, what("most behind"), (behind_s, "s"), most, behind_s <= REACH_BEHIND_S);
    let after_s = live_after_ms(&samples, over_ms, usual_ms) / 1e3;
    let most = format!("<= {REACH_AFTER_SLOW_S} s");
    report.goal(BENCH, what("live again after"), (after_s, "s"), most, after_s <= REACH_AFTER_SLOW_S);
    report.figure(BENCH, what("pictures seen meanwhile"), samples.len() as f64, "");
    report.detail(BENCH, seen_after(reach, "slow", &samples, over_ms, &page)?);
    Ok(())
}

/// Nothing gets through for a while.
fn outage(
    options: Options,
    reach: &Reach,
    (link, proxy, browser): World<'_>,
    report: &mut Report,
) -> Result<()> {
    let mut afters_s = vec![];
    for round in 1..=if options.quick { 1 } else { 3 } {
        let page = open(reach, proxy, browser)?;
        let usual_ms = usual_ms(&page)?;
        page.reset_glass()?;
        link.set(Conditions { is_out: true, ..FINE });
        std::thread::sleep(OUTAGE);
        link.set(FINE);
        let over_ms = now_ms()?;
        std::thread::sleep(Duration::from_secs(6));
        let samples = samples(&page)?;
        let after_s = live_after_ms(&samples, over_ms, usual_ms) / 1e3;
        report.detail(BENCH, seen_after(reach, "outage", &samples, over_ms, &page)?);
        eprintln!("{}, outage, round {round}: live again after {after_s:.2} s", reach.renderer);
        afters_s.push(after_s);
    }
    let worst_s = afters_s.iter().copied().fold(0.0, f64::max);
    let what = format!("{}, {} s of outage: live again after, worst", reach.renderer, OUTAGE.as_secs());
    let most = format!("<= {REACH_AFTER_OUTAGE_S} s");
    report.goal(BENCH, what, (worst_s, "s"), most, worst_s <= REACH_AFTER_OUTAGE_S);
    report.detail(BENCH, serde_json::json!({ "renderer": reach.renderer, "live_again_after_s": afters_s }));
    Ok(())
}

/// For the JSON: when each picture was seen, counted from the end of the trouble, and how old it was; and the player's own word.
fn seen_after(
    reach: &Reach,
    trouble: &str,
    samples: &Samples,
    over_ms: f64,
    page: &Page<'_>,
) -> Result<serde_json::Value> {
    let pictures: Vec<_> = samples.iter().map(|(at, age, _)| [(at - over_ms).round(), age.round()]).collect();
    let stats = page.evaluate(&format!("{PLAYER}.getStats()"))?;
    Ok(serde_json::json!({
        "renderer": reach.renderer, "trouble": trouble, "at_ms_and_age_ms": pictures, "stats": stats,
    }))
}

fn open<'b>(reach: &Reach, proxy: &Proxy, browser: &'b Browser) -> Result<Page<'b>> {
    let page = browser.open(&proxy.url(&format!("/embed/cam?renderer={}", reach.renderer)))?;
    page.wait_for_pictures(1, 2)?;
    std::thread::sleep(WARM_UP);
    Ok(page)
}

/// Capture to screen as it is while nothing is wrong.
fn usual_ms(page: &Page<'_>) -> Result<f64> {
    page.reset_glass()?;
    page.wait_for_pictures(1, 50)?;
    Ok(moving(page.glass()?).first().context("no pictures")?.latency(0.0).p50)
}

type Samples = Vec<(f64, f64, f64)>;

fn samples(page: &Page<'_>) -> Result<Samples> {
    Ok(moving(page.glass()?).into_iter().next().context("no pictures")?.samples)
}

fn now_ms() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3)
}

/// How old what was on the screen became: a picture that stands still grows older.
fn oldest_ms(samples: &Samples) -> f64 {
    samples.windows(2).map(|pair| pair[0].1 + pair[1].2).fold(0.0, f64::max)
}

/// How long after `over_ms` the last picture came that was later than usual by more than [`LIVE_WITHIN_MS`], or stood so long; the
/// first one where none was.
fn live_after_ms(samples: &Samples, over_ms: f64, usual_ms: f64) -> f64 {
    let Some(first) = samples.iter().find(|sample| sample.0 > over_ms) else { return f64::INFINITY };
    let mut late = samples.windows(2).filter(|pair| {
        pair[1].0 > over_ms && pair[0].1.max(pair[1].1).max(pair[1].2) > usual_ms + LIVE_WITHIN_MS
    });
    late.next_back().map_or(first.0, |pair| pair[1].0) - over_ms
}
