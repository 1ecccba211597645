//! Encoders none of us wrote, which push by RTMP: ffmpeg, and `GStreamer` (`camera/encoder.py`).
//!
//! Both show what the cameras show, with the painted clock. Nothing stands between the clock and `GStreamer`'s encoder,
//! so that latency is measured with that one; ffmpeg reads pictures from a pipe.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::process::Process;

/// What an encoder sends.
#[derive(Clone, Debug)]
pub struct Options {
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Frames a second.
    pub fps: u32,
    /// Frames from key frame to key frame.
    pub gop: u32,
    /// Kilobits a second.
    pub kbps: u32,
    /// B-frames between two others.
    pub b_frames: u32,
    /// Whether there is sound (AAC).
    pub audio: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { size: (640, 360), fps: 25, gop: 50, kbps: 1500, b_frames: 0, audio: false }
    }
}

/// A running encoder. It is killed when dropped.
#[derive(Debug)]
pub struct Encoder {
    process: Process,
    /// What it reads, where that is another program.
    scene: Option<Scene>,
}

#[derive(Debug)]
struct Scene(Child);

impl Drop for Scene {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Encoder {
    /// ffmpeg with libx264 (3 reference frames) and its own AAC; `more` goes in front of the address.
    pub fn ffmpeg(url: &str, options: &Options, more: &[&str]) -> Result<Self> {
        let size = format!("{}x{}", options.size.0, options.size.1);
        let mut scene = Command::new(PYTHON)
            .arg(crate::file("camera/scene.py"))
            .args([format!("--size={size}"), format!("--fps={}", options.fps)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start scene.py")?;
        let pictures = scene.stdout.take().context("scene.py has an output")?;
        let mut command = Command::new("ffmpeg");
        command.args(["-nostats", "-loglevel", "info", "-f", "rawvideo", "-pix_fmt", "nv12"]);
        command.args(["-video_size", &size, "-framerate", &options.fps.to_string()]);
        // Its queue must hold what comes while the other input is opened.
        command.args(["-thread_queue_size", "64", "-i", "pipe:0"]);
        if options.audio {
            let tone = "sine=frequency=200:beep_factor=5:sample_rate=48000";
            command.args(["-re", "-f", "lavfi", "-i", tone, "-c:a", "aac", "-b:a", "96k"]);
        }
        let rate = format!("{}k", options.kbps);
        command.args(["-c:v", "libx264", "-preset", "superfast", "-threads", "1", "-refs", "3"]);
        command.args(["-bf", &options.b_frames.to_string(), "-b_strategy", "0", "-sc_threshold", "0"]);
        command.args(["-g", &options.gop.to_string(), "-b:v", &rate, "-pix_fmt", "yuv420p"]);
        if options.b_frames == 0 {
            command.args(["-tune", "zerolatency"]);
        }
        command.args(more).args(["-f", "flv", url]);
        let process = Process::start_reading(&mut command, pictures)?;
        Ok(Self { process, scene: Some(Scene(scene)) })
    }

    /// `GStreamer`'s x264enc, without any delay of its own, `flvmux` and `rtmp2sink`.
    pub fn gstreamer(url: &str, options: &Options) -> Result<Self> {
        let mut command = Command::new(PYTHON);
        command.arg(crate::file("camera/encoder.py")).args(["--until-eof", url]);
        let mut option = |name: &str, value: String| {
            command.arg(format!("--{name}={value}"));
        };
        option("size", format!("{}x{}", options.size.0, options.size.1));
        option("fps", options.fps.to_string());
        option("gop", options.gop.to_string());
        option("kbps", options.kbps.to_string());
        option("bframes", options.b_frames.to_string());
        if options.audio {
            command.arg("--audio");
        }
        Ok(Self { process: Process::start(&mut command)?, scene: None })
    }

    /// The process that pushes.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it said.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.scene.take();
        Ok(())
    }
}

/// The system's own: only that one has Debian's `GStreamer` bindings.
const PYTHON: &str = "/usr/bin/python3";
