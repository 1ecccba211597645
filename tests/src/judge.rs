//! An independent judge of the fMP4 the proxy makes: ffmpeg and ffprobe.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What ffmpeg found in a file.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What it complained of while decoding; empty when all is well.
    pub complaints: String,
    /// How many frames (of sound: packets of samples) came out of the decoder.
    pub frames: u64,
    /// The codec's name as ffprobe spells it.
    pub codec: String,
    /// Width and height in pixels, 0 for sound.
    pub size: (u64, u64),
}

/// Decodes an init segment with its fragments.
pub fn decode(file: &[u8]) -> Result<Verdict> {
    let mut kept = tempfile::Builder::new().suffix(".mp4").tempfile()?;
    kept.write_all(file)?;
    let complaints = complaints(kept.path())?;
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-of", "json"])
        .args(["-show_entries", "stream=codec_name,width,height,nb_read_frames"])
        .arg(kept.path())
        .output()
        .context("cannot run ffprobe")?;
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    let told: Value = serde_json::from_slice(&out.stdout).with_context(|| format!("ffprobe: {stderr}"))?;
    let stream = &told["streams"][0];
    ensure!(stream.is_object(), "ffprobe found no stream: {stderr}");
    Ok(Verdict {
        complaints: complaints + &stderr,
        frames: stream["nb_read_frames"].as_str().and_then(|n| n.parse().ok()).unwrap_or(0),
        codec: stream["codec_name"].as_str().unwrap_or_default().to_owned(),
        size: (stream["width"].as_u64().unwrap_or(0), stream["height"].as_u64().unwrap_or(0)),
    })
}

fn complaints(path: &Path) -> Result<String> {
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i"])
        .arg(path)
        // In the file's own ticks: in whole frames, two that jitter would share a time.
        .args(["-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"])
        .output()
        .context("cannot run ffmpeg")?;
    let mut said = String::from_utf8_lossy(&out.stderr).into_owned();
    if !out.status.success() && said.is_empty() {
        said = out.status.to_string();
    }
    Ok(said)
}
