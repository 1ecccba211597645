//! The `sightline` program, seen from outside.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::camera::Camera;
use crate::http;
use crate::process::Process;
use crate::wait;

/// A running proxy on a free port of loopback. It is killed when dropped.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    address: String,
}

/// How a run of the program ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// All it wrote, both outputs.
    pub output: String,
    /// What it wrote to its standard output: what another program would read.
    pub standard_output: String,
}

/// What a process holds on to, from `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// Open file descriptors.
    pub fds: usize,
    /// Sockets among them.
    pub sockets: usize,
    /// Threads.
    pub threads: usize,
}

/// The program: `SIGHTLINE_BIN`, or the one built beside this executable.
pub fn program() -> Result<PathBuf> {
    let path =
        std::env::var_os("SIGHTLINE_BIN").map_or_else(|| crate::build_dir().join("sightline"), PathBuf::from);
    ensure!(path.exists(), "{} is missing: build it (make test does), or set SIGHTLINE_BIN", path.display());
    Ok(path)
}

/// Runs the program to its end.
pub fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Finished> {
    let mut process = Process::start(command()?.args(arguments))?;
    let status =
        process.wait(Duration::from_secs(30)).with_context(|| format!("it said:\n{}", process.log()))?;
    let standard_output = process.standard_output()?;
    Ok(Finished { code: status.code(), output: process.log(), standard_output })
}

/// A configuration file with this text; it is deleted when dropped.
pub fn config(text: &str) -> Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile()?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// The program in a folder of its own where no configuration file lies about.
fn command() -> Result<Command> {
    let mut command = Command::new(program()?);
    command.current_dir(std::env::temp_dir()).env_remove("SIGHTLINE_CONFIG").env_remove("RUST_LOG");
    Ok(command)
}

impl Proxy {
    /// Starts it with these arguments and `--listen 127.0.0.1:0`, and waits until it serves.
    pub fn start<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Self> {
        Self::start_on("127.0.0.1:0", arguments)
    }

    /// As [`Proxy::start`], listening elsewhere.
    pub fn start_on<S: AsRef<OsStr>>(listen: &str, arguments: impl IntoIterator<Item = S>) -> Result<Self> {
        Self::from_command(command()?.args(arguments).args(["--listen", listen]))
    }

    fn from_command(command: &mut Command) -> Result<Self> {
        let mut process = Process::start(command)?;
        let address = process.wait_for_line("Watch at http://127.0.0.1:PORT/", |line| {
            let (_, url) = line.split_once("Watch at ")?;
            Some(url.trim().trim_end_matches('/').to_owned())
        })?;
        Ok(Self { process, address })
    }

    /// As [`Proxy::start`], with so many open files at most.
    pub fn start_with_files<S: AsRef<OsStr>>(
        files: u64,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        // A shell sets the limit and then becomes the program.
        let mut shell = Command::new("sh");
        shell.current_dir(std::env::temp_dir()).env_remove("SIGHTLINE_CONFIG").env_remove("RUST_LOG");
        shell.args(["-c", "ulimit -n \"$1\"; shift; exec \"$@\"", "sh", &files.to_string()]);
        shell.arg(program()?).args(arguments);
        Self::from_command(shell.args(["--listen", "127.0.0.1:0"]))
    }

    /// Starts it with one camera under the name `cam`, and waits until that is live.
    pub fn for_camera(camera: &Camera) -> Result<Self> {
        let proxy = Self::start([format!("cam={}", camera.url())])?;
        proxy.wait_for_state("cam", "live")?;
        Ok(proxy)
    }

    /// Starts it with a configuration file of this text.
    pub fn configured(text: &str) -> Result<Self> {
        Self::configured_on("127.0.0.1:0", text)
    }

    /// As [`Proxy::configured`], listening elsewhere.
    pub fn configured_on(listen: &str, text: &str) -> Result<Self> {
        let file = config(text)?;
        Self::start_on(listen, ["--config".as_ref(), file.path().as_os_str()])
    }

    /// The address of a path: `url("/metrics")`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// The WebSocket's address, with a stream to be subscribed at once, or without.
    pub fn ws_url(&self, stream: Option<&str>) -> String {
        let base = self.url("/ws").replacen("http", "ws", 1);
        stream.map_or_else(|| base.clone(), |name| format!("{base}?stream={name}"))
    }

    /// Host and port, such as `127.0.0.1:40001`.
    pub fn authority(&self) -> &str {
        self.address.trim_start_matches("http://")
    }

    /// Host and port of the listener for encoders that speaks this, `rtmp` or `rtmps`.
    pub fn push_authority(&self, scheme: &str) -> Result<String> {
        let start = format!("Push to {scheme}://");
        let found = wait::until(&format!("{start}HOST:PORT/live/…"), || {
            let log = self.log();
            let (_, url) = log.lines().find_map(|line| line.split_once(&start))?;
            Some(url.split('/').next()?.to_owned())
        });
        found.with_context(|| format!("it said:\n{}", self.log()))
    }

    /// Where an encoder pushes to: `push_url("rtmp", "studio?key=secret")`.
    pub fn push_url(&self, scheme: &str, name_and_key: &str) -> Result<String> {
        Ok(format!("{scheme}://{}/live/{name_and_key}", self.push_authority(scheme)?))
    }

    /// Gets a path.
    pub fn get(&self, path: &str) -> Result<http::Answer> {
        http::get(&self.url(path))
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// One stream as the API tells it.
    pub fn stream(&self, name: &str) -> Result<Value> {
        let answer = self.get(&format!("/api/v1/streams/{name}"))?;
        ensure!(answer.status == 200, "status {}: {}", answer.status, answer.body);
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// Waits until the API tells this state of a stream, and gives what it tells then.
    pub fn wait_for_state(&self, name: &str, state: &str) -> Result<Value> {
        let mut last = Value::Null;
        wait::until(&format!("stream {name} to be {state}"), || {
            last = self.stream(name).ok()?;
            (last["state"] == state).then(|| last.clone())
        })
        .with_context(|| format!("the API last said {last}; the log:\n{}", self.log()))
    }

    /// The sum of a metric's samples that carry all these labels; none when there is no such sample.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<Option<f64>> {
        let answer = self.get("/metrics")?;
        ensure!(answer.status == 200, "/metrics: status {}", answer.status);
        Ok(sum(&answer.body, name, labels))
    }

    /// What it holds on to now.
    pub fn holdings(&self) -> Result<Holdings> {
        let proc = PathBuf::from(format!("/proc/{}", self.process.pid()));
        let links: Vec<PathBuf> = std::fs::read_dir(proc.join("fd"))?
            .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
            .collect();
        Ok(Holdings {
            fds: links.len(),
            sockets: links.iter().filter(|link| link.to_string_lossy().starts_with("socket:")).count(),
            threads: std::fs::read_dir(proc.join("task"))?.count(),
        })
    }

    /// Its resident memory in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Processor time it has used, in clock ticks (hundredths of a second).
    pub fn cpu_ticks(&self) -> Result<u64> {
        self.process.cpu_ticks()
    }
}

fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let mut total = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (found, tags) = series.split_once('{').unwrap_or((series, ""));
        if found == name && labels.iter().all(|(label, value)| tags.contains(&format!("{label}=\"{value}\"")))
        {
            *total.get_or_insert(0.0) += value.parse::<f64>().ok()?;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn metrics_are_summed_over_the_samples_with_the_labels() {
        let text = "# TYPE a gauge\na{s=\"x\",t=\"1\"} 2\na{s=\"y\"} 3\nab 7\nb 1\n";
        assert_eq!(sum(text, "a", &[]), Some(5.0));
        assert_eq!(sum(text, "a", &[("s", "x")]), Some(2.0));
        assert_eq!(sum(text, "a", &[("s", "z")]), None);
        assert_eq!(sum(text, "b", &[]), Some(1.0));
    }
}
