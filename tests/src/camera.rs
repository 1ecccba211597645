//! A camera none of us wrote: the RTSP server of `GStreamer` (`camera/camera.py`).

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process::Process;

/// What the camera sends.
#[derive(Clone, Debug)]
pub struct Options {
    /// The mount point; with several mounts `path0`, `path1` …
    pub path: String,
    /// How many mount points.
    pub mounts: u32,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Frames a second.
    pub fps: u32,
    /// Another rate, for so many seconds, then `fps` for as long, and so on; `fps` is a multiple of it.
    pub alternate: Option<(u32, f64)>,
    /// Frames from key frame to key frame.
    pub gop: u32,
    /// Kilobits a second.
    pub kbps: u32,
    /// B-frames between two others.
    pub b_frames: u32,
    /// Whether the pictures are noise, which uses up all of `kbps`.
    pub noise: bool,
    /// Whether there is sound.
    pub audio: bool,
    /// `h264` or `h265`.
    pub codec: &'static str,
    /// A mount point each behind `path`, in place of `codec` and `audio`: `h264`, `h265+aac` …
    pub offers: &'static [&'static str],
    /// More properties of the encoder: x264enc, x265enc.
    pub encoder: &'static str,
    /// What codes it, by its name in SDP; AAC is `aac`.
    pub audio_codec: &'static str,
    /// Sound begins so many seconds late.
    pub audio_from_s: f64,
    /// There is no sound from then to then, in seconds.
    pub audio_pause_s: (f64, f64),
    /// Name and password it asks for.
    pub user: Option<(String, String)>,
    /// How it asks for them: `basic` or `digest`.
    pub auth: &'static str,
    /// The one transport it agrees to, `tcp` or `udp`; none: both.
    pub transport: Option<&'static str>,
    /// Certificate and key, both PEM: it speaks RTSPS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Where it listens.
    pub address: &'static str,
    /// Seconds until it ends a session in which nothing is said.
    pub session_timeout_s: u32,
    /// How many sessions it has at a time; 0: any number.
    pub max_sessions: u32,
    /// Slices of each picture.
    pub slices: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            path: "cam".into(),
            mounts: 1,
            size: (640, 360),
            fps: 25,
            alternate: None,
            gop: 50,
            kbps: 1500,
            b_frames: 0,
            noise: false,
            audio: false,
            codec: "h264",
            offers: &[],
            encoder: "",
            audio_codec: "aac",
            audio_from_s: 0.0,
            audio_pause_s: (0.0, 0.0),
            user: None,
            auth: "digest",
            transport: None,
            tls: None,
            address: "127.0.0.1",
            session_timeout_s: 60,
            max_sessions: 0,
            slices: 1,
        }
    }
}

/// A running camera. It is killed when dropped.
#[derive(Debug)]
pub struct Camera {
    options: Options,
    port: u16,
    process: Process,
}

impl Camera {
    /// Starts a camera on a free port and waits until it is ready.
    pub fn start(options: Options) -> Result<Self> {
        Self::start_on(0, options)
    }

    /// Starts a camera on this port.
    pub fn start_on(port: u16, options: Options) -> Result<Self> {
        let (process, port) = spawn(&options, port)?;
        Ok(Self { options, port, process })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address without name and password, such as `rtsp://127.0.0.1:40001/cam`.
    pub fn url(&self) -> String {
        self.url_with("")
    }

    /// Its address with this name and password in it.
    pub fn url_for(&self, name: &str, password: &str) -> String {
        self.url_with(&format!("{name}:{password}@"))
    }

    fn url_with(&self, user: &str) -> String {
        let Options { address, path, tls, .. } = &self.options;
        let scheme = if tls.is_some() { "rtsps" } else { "rtsp" };
        let host = if address.contains(':') { format!("[{address}]") } else { (*address).to_owned() };
        format!("{scheme}://{user}{host}:{}/{path}", self.port)
    }

    /// The process, to freeze and thaw it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Kills it, as a power cut would. [`Camera::restart`] brings it back.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again on the same port.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill()?;
        (self.process, _) = spawn(&self.options, self.port)?;
        Ok(())
    }
}

fn spawn(options: &Options, port: u16) -> Result<(Process, u16)> {
    // The system's own Python: only that one has Debian's GStreamer bindings.
    let mut command = Command::new("/usr/bin/python3");
    command.arg(crate::file("camera/camera.py")).arg("--until-eof");
    let mut option = |name: &str, value: String| {
        command.arg(format!("--{name}={value}"));
    };
    option("port", port.to_string());
    option("path", options.path.clone());
    option("mounts", options.mounts.to_string());
    option("size", format!("{}x{}", options.size.0, options.size.1));
    option("fps", options.fps.to_string());
    option("gop", options.gop.to_string());
    option("kbps", options.kbps.to_string());
    option("bframes", options.b_frames.to_string());
    option("codec", options.codec.to_owned());
    option("offers", options.offers.join(","));
    option("encoder", options.encoder.to_owned());
    option("address", options.address.to_owned());
    option("session-timeout", options.session_timeout_s.to_string());
    option("max-sessions", options.max_sessions.to_string());
    option("slices", options.slices.to_string());
    option("auth", options.auth.to_owned());
    if let Some(transport) = options.transport {
        option("transport", transport.to_owned());
    }
    if let Some((name, password)) = &options.user {
        option("user", format!("{name}:{password}"));
    }
    if let Some((certificate, key)) = &options.tls {
        command.arg("--tls").arg(certificate).arg(key);
    }
    if let Some((fps, seconds)) = options.alternate {
        command.arg("--alternate").args([fps.to_string(), seconds.to_string()]);
    }
    if options.noise {
        command.arg("--noise");
    }
    if options.audio {
        command.arg(format!("--audio={}", options.audio_codec));
        command.arg(format!("--audio-from={}", options.audio_from_s));
        let (from_s, to_s) = options.audio_pause_s;
        command.arg("--audio-pause").args([from_s, to_s].map(|s| s.to_string()));
    }
    let mut process = Process::start(&mut command)?;
    let port = process.wait_for_line("the camera's address", |line| {
        let (_, address) = line.strip_prefix("rtsp").and_then(|rest| rest.split_once("://"))?;
        address.split('/').next()?.rsplit(':').next()?.parse().ok()
    })?;
    Ok((process, port))
}

/// A port on which nobody listens: where a camera will be, or never is.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// How many TCP connections to this port of loopback there are, whoever holds them (from `/proc/net/tcp`).
pub fn connections_to(port: u16) -> Result<usize> {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let peer = format!("0100007F:{port:04X}");
    let is_one = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(2) == Some(&peer.as_str()) && fields.get(3) == Some(&ESTABLISHED)
    };
    Ok(table.lines().filter(is_one).count())
}
