//! How much a browser downloads for the player: its `.wasm` and JavaScript, compressed as a server sends them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{Options, report::Report};

const BENCH: &str = "size";
const BUDGET: u64 = 60 * 1024;
const SESSION_BUDGET: u64 = 45 * 1024;

/// What `import 'sightline-player'` loads.
const SESSION: [&str; 3] = ["index.js", "sightline-player.js", "sightline-player_bg.wasm"];

/// Measures the files that Trunk put into `www/dist`.
pub(crate) fn run(_: Options, report: &mut Report) -> Result<()> {
    let dist = sightline_tests::file("../www/dist");
    let mut files = vec![dist.join("sightline-player.js")];
    let folder = dist.join("sightline-player");
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("{}: build the pages first (make bench does)", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "js" || extension == "wasm") {
            files.push(path);
        }
    }
    files.sort();
    let session: Vec<_> = SESSION.iter().map(|name| folder.join(name)).collect();
    let (mut gzip, mut session_gzip, mut brotli) = (0, 0, 0);
    for file in &files {
        let name = file.strip_prefix(&dist)?.display().to_string();
        let (as_gzip, as_brotli) = (gzipped(file)?, brotlied(file)?);
        report.figure(BENCH, format!("{name}, gzip -9"), as_gzip as f64, "B");
        gzip += as_gzip;
        session_gzip += if session.contains(file) { as_gzip } else { 0 };
        brotli += as_brotli;
    }
    report.figure(BENCH, "player in all, brotli", brotli as f64, "B");
    for (what, bytes, budget) in [
        ("player in all, gzip -9", gzip, BUDGET),
        ("the session alone, gzip -9", session_gzip, SESSION_BUDGET),
    ] {
        report.goal(BENCH, what, (bytes as f64, "B"), format!("<= {budget} B"), bytes <= budget);
    }
    Ok(())
}

fn gzipped(file: &Path) -> Result<u64> {
    let out = Command::new("gzip").args(["-9", "-n", "-c"]).arg(file).output().context("cannot run gzip")?;
    ensure!(out.status.success(), "gzip {}: {}", file.display(), String::from_utf8_lossy(&out.stderr));
    Ok(out.stdout.len() as u64)
}

fn brotlied(file: &Path) -> Result<u64> {
    let js = "process.stdout.write(String(require('zlib').brotliCompressSync(require('fs').readFileSync(process.argv[1])).length))";
    let out = Command::new("node").args(["-e", js]).arg(file).output().context("cannot run node")?;
    ensure!(out.status.success(), "brotli {}: {}", file.display(), String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8(out.stdout)?.trim().parse()?)
}
