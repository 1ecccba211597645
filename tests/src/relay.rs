//! An RTMP server none of us wrote: nginx with its rtmp module, to pull from, and as a relay that pushes; and stunnel,
//! which puts TLS in front of what has none.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::camera::free_port;
use crate::process::Process;
use crate::wait;

const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// A running nginx with the application `live`. It is killed when dropped.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    port: u16,
    // Deleted behind the process.
    _folder: TempDir,
}

impl Nginx {
    /// Takes streams in, and sends them to who asks.
    pub fn start() -> Result<Self> {
        Self::configured("")
    }

    /// As [`Nginx::start`], and pushes what it takes in to this address. What stands behind the address' application is
    /// the name it publishes, key and all.
    pub fn pushing_to(url: &str) -> Result<Self> {
        Self::configured(&format!("push {url}; push_reconnect 500ms;"))
    }

    fn configured(application: &str) -> Result<Self> {
        ensure!(
            Path::new(MODULE).exists(),
            "{MODULE} is missing: install libnginx-mod-rtmp (make test does)"
        );
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        // One process, so that it is the one whose processor time counts. As many connections as the benchmarks make.
        let text = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr info;
             load_module {MODULE};
             events {{ worker_connections 1024; }}
             rtmp {{ access_log off; server {{
                 listen 127.0.0.1:{port}; chunk_size 4096;
                 application live {{ live on; {application} }}
             }} }}"
        );
        std::fs::write(folder.path().join("nginx.conf"), text)?;
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        let process = Process::start(&mut command)?;
        wait_for_port(port).with_context(|| format!("nginx said:\n{}", process.log()))?;
        Ok(Self { process, port, _folder: folder })
    }

    /// The address of a stream in it, to publish to or to pull from.
    pub fn url(&self, name: &str) -> String {
        format!("rtmp://127.0.0.1:{}/live/{name}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Processor time it has used, in clock ticks (hundredths of a second).
    pub fn cpu_ticks(&self) -> Result<u64> {
        self.process.cpu_ticks()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// A certificate for `127.0.0.1` and `localhost` with its key, signed by itself: files that live as long as this.
#[derive(Debug)]
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// Makes one.
    pub fn make() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem())?;
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem())?;
        Ok(Self { folder })
    }

    /// The certificate, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Its key, in PEM.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

/// A running stunnel. It is killed when dropped.
#[derive(Debug)]
pub struct Tunnel {
    port: u16,
    process: Process,
    _folder: TempDir,
}

impl Tunnel {
    /// Takes TLS and passes it on in the clear to a port of loopback.
    pub fn before(port: u16, certificate: &Certificate) -> Result<Self> {
        let (cert, key) = (certificate.certificate(), certificate.key());
        Self::start(port, &format!("cert = {}\nkey = {}\n", cert.display(), key.display()))
    }

    /// Takes what comes in the clear and passes it on by TLS to a port of loopback, if that has this certificate.
    pub fn towards(port: u16, certificate: &Certificate) -> Result<Self> {
        let trusted = certificate.certificate();
        Self::start(port, &format!("client = yes\nverifyPeer = yes\nCAfile = {}\n", trusted.display()))
    }

    fn start(to: u16, service: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let file = folder.path().join("stunnel.conf");
        let text = format!(
            "foreground = yes\npid =\nsyslog = no\ndebug = 5\n\
             [rtmps]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{to}\n{service}"
        );
        std::fs::write(&file, text)?;
        let process = Process::start(Command::new("/usr/bin/stunnel4").arg(&file))?;
        wait_for_port(port).with_context(|| format!("stunnel said:\n{}", process.log()))?;
        Ok(Self { port, process, _folder: folder })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// Waits until somebody listens there, without connecting: what connects would be in the log.
fn wait_for_port(port: u16) -> Result<()> {
    const LISTENS: &str = "0A";
    let address = format!("0100007F:{port:04X}");
    wait::until(&format!("port {port} to be listened on"), || {
        let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
        table.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields.get(1) == Some(&address.as_str()) && fields.get(3) == Some(&LISTENS)).then_some(())
        })
    })
}
