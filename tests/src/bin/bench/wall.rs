//! Sixteen cameras on one page: our players, and by turns sixteen bare ones.

use anyhow::Result;
use sightline_tests::browser::{Browser, Engine};
use sightline_tests::camera::{Camera, Options as Sends};
use sightline_tests::proxy::Proxy;
use sightline_tests::serve;
use sightline_tests::stats::Percentiles;

use crate::turns::{Case, FPS, Seen, Witness, bare_pages, by_turns};
use crate::{Options, report::Report};

const BENCH: &str = "wall";
const CAMERAS: usize = 16;
const REACH_RATIO: f64 = 1.15;

/// Measures 60 s of each page in Chromium, by `MediaSource` and by `WebCodecs`.
pub(crate) fn run(options: Options, report: &mut Report) -> Result<()> {
    // One encoder: sixteen of them would leave nothing of two cores.
    let camera = Camera::start(Sends { fps: FPS, ..Sends::default() })?;
    let names: Vec<String> = (0..CAMERAS).map(|i| format!("cam{i}")).collect();
    let proxy = Proxy::start(names.iter().map(|name| format!("{name}={}", camera.url())))?;
    for name in &names {
        proxy.wait_for_state(name, "live")?;
    }
    let bare = bare_pages()?;
    let sockets: Vec<String> = names.iter().map(|name| proxy.ws_url(Some(name))).collect();
    let sockets = sockets.join(",");
    let ours = our_pages(&proxy, &names)?;
    for engine in options.engines(&[Engine::Chromium]) {
        let generator = if engine == Engine::Chromium { "?to=generator" } else { "" };
        let kinds = [
            ("MediaSource", "mse", format!("{bare}/bare.html#{sockets}")),
            ("WebCodecs", "webcodecs", format!("{bare}/bare-webcodecs.html{generator}#{sockets}")),
        ];
        let browser = Browser::launch(engine)?;
        let witness = Witness::of(&proxy, "cam0")?;
        for (kind, renderer, bare) in kinds {
            let cases = [Case::new("ours", format!("{ours}/{renderer}")), Case::new("bare", bare)];
            let seen = by_turns(&browser, &witness, &cases, CAMERAS, options.turns())?;
            let taken = seen[0][0].stats["renderer"].as_str().unwrap_or("mse").to_owned();
            let what = |text: &str| format!("{}, {kind}: {text}", engine.name());
            if taken != renderer {
                eprintln!("{}: our page did not take WebCodecs but {taken}", engine.name());
                report.goal(BENCH, what("our page takes WebCodecs"), (0.0, ""), "1", false);
            }
            tell(&what, &seen, taken == renderer, report);
            for (case, seen) in cases.iter().zip(&seen) {
                for seen in seen {
                    report.detail(BENCH, seen.json(engine.name(), &format!("{} {kind}", case.name)));
                }
            }
        }
    }
    Ok(())
}

/// Of the worst of the sixteen.
fn tell(what: &impl Fn(&str) -> String, seen: &[Vec<Seen>], judged: bool, report: &mut Report) {
    let worst =
        |seen: &[Seen], of: fn(Percentiles) -> f64| seen.iter().map(|s| of(s.latency())).fold(0.0, f64::max);
    let least = |seen: &[Seen]| seen.iter().map(Seen::shown_percent).fold(100.0, f64::min);
    for (name, of) in [("p50", (|p| p.p50) as fn(Percentiles) -> f64), ("p95", |p| p.p95)] {
        let (ours_ms, bare_ms) = (worst(&seen[0], of), worst(&seen[1], of));
        report.figure(BENCH, what(&format!("worst of {CAMERAS}, {name}, bare")), bare_ms, "ms");
        let what = what(&format!("worst of {CAMERAS}, {name}, ours"));
        if judged {
            let reach = format!("<= {REACH_RATIO}x bare");
            report.goal(BENCH, what, (ours_ms, "ms"), reach, ours_ms <= REACH_RATIO * bare_ms);
        } else {
            report.figure(BENCH, what, ours_ms, "ms");
        }
    }
    report.figure(BENCH, what("pictures seen, least of ours"), least(&seen[0]), "%");
    report.figure(BENCH, what("pictures seen, least of bare"), least(&seen[1]), "%");
}

/// A page of sixteen small players, all of them in view, at the renderer's name.
fn our_pages(proxy: &Proxy, names: &[String]) -> Result<String> {
    let script = proxy.url("/sightline-player.js");
    let names = names.to_vec();
    serve::pages(move |path| {
        let renderer = path.trim_start_matches('/');
        let player = |name: &String| {
            format!("<sightline-player stream=\"{name}\" muted renderer=\"{renderer}\"></sightline-player>")
        };
        let players = names.iter().map(player).collect::<Vec<_>>().concat();
        Some(format!(
            "<!doctype html><title>A wall</title><script src=\"{script}\"></script>\
             <body style=\"margin:0;display:grid;grid-template-columns:repeat(4,1fr)\">{players}</body>"
        ))
    })
}
