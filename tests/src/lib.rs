//! The harness that the whole-system tests (`tests/`) and the benchmarks (`src/bin/bench`) share.
//!
//! Everything is real: [`camera`] is the RTSP server of `GStreamer`, [`encoder`] ffmpeg or `GStreamer` that pushes by RTMP,
//! [`relay`] nginx, [`proxy`] the `sightline` program, [`viewer`] a WebSocket client, [`browser`] Chromium or Firefox, [`judge`]
//! ffmpeg, [`speaker`] `PulseAudio`. Only what must be able to be wrong, or what no program here can write, is ours: [`raw`], [`peer`], [`tags`],
//! [`rtsp_camera`] and the networks [`lossy`] and [`link`].
//! Nothing here knows how Sightline works inside; it holds on
//! to the names in its interface: command line, HTTP paths, wire protocol, the element.
//!
//! What belongs here: starting and ending real parts, and looking at them from outside. What does not: assertions about
//! Sightline (they are the tests' own). Invariant: whatever is started ends when its value is dropped, by its own
//! process id, and no two tests share a port or a file.

// A panic of a harness is a failed test: that is what it is for.
#![allow(clippy::missing_panics_doc)]

pub mod architecture;
pub mod browser;
pub mod camera;
pub mod encoder;
pub mod flv;
pub mod http;
pub mod judge;
pub mod link;
pub mod lossy;
pub mod meddler;
pub mod package;
pub mod peer;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod relay;
pub mod rtsp_camera;
pub mod seen;
pub mod serve;
pub mod speaker;
pub mod stats;
pub mod tags;
pub mod viewer;
pub mod wait;

use std::path::PathBuf;

/// A file of this crate, by its path inside it.
pub fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The build's folder of this executable (`target/debug`, `target/release`): where its sister programs lie.
pub fn build_dir() -> PathBuf {
    let mut dir = std::env::current_exe().expect("a running program has a path");
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    dir
}

/// A folder for what tests leave behind to be looked at (screenshots): `target/tests`.
pub fn output_dir(name: &str) -> std::io::Result<PathBuf> {
    let dir = build_dir().parent().expect("the build's folder lies in target").join(name);
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}
