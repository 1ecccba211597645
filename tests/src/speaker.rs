//! A sound card without a loudspeaker: a `PulseAudio` of our own, and when a beep is heard on it.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::process::Process;
use crate::wait;

const RATE: f64 = 48_000.0;
/// A tenth of what there is: far above the hum, far below the beep.
const LOUD: u16 = 3_277;
/// Sound is made so far ahead of its time at most, since the listener asks for no more latency than this.
const LATENCY_MS: &str = "5";

/// The server and somebody who listens. Both end when it is dropped.
#[derive(Debug)]
pub struct Speaker {
    folder: TempDir,
    _server: Process,
    listener: Child,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    samples: u64,
    /// When the first sample was heard, by the piece that came soonest; in ms since 1970.
    began_ms: Option<f64>,
    last_loud: Option<u64>,
    beeps: Vec<u64>,
}

impl Heard {
    fn take(&mut self, piece: &[u8], now_ms: f64) {
        for sample in piece.as_chunks::<2>().0 {
            if i16::from_le_bytes(*sample).unsigned_abs() > LOUD {
                if self.last_loud.is_none_or(|last| (self.samples - last) as f64 > RATE / 2.0) {
                    self.beeps.push(self.samples);
                }
                self.last_loud = Some(self.samples);
            }
            self.samples += 1;
        }
        let began_ms = now_ms - self.samples as f64 / RATE * 1e3;
        self.began_ms = Some(self.began_ms.map_or(began_ms, |earlier| earlier.min(began_ms)));
    }
}

impl Speaker {
    /// Starts both, with a socket that nobody else knows.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("socket");
        let mut server = Command::new("pulseaudio");
        server
            .env("XDG_RUNTIME_DIR", folder.path())
            .env("HOME", folder.path())
            .args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=yes", "--log-level=error"])
            .args(["-L", "module-null-sink sink_name=speaker format=s16le rate=48000 channels=1"])
            .arg("-L")
            .arg(format!("module-native-protocol-unix socket={} auth-anonymous=1", socket.display()));
        let server = Process::start(&mut server).context("the package pulseaudio is missing")?;
        wait::until("the sound server's socket", || socket.exists().then_some(()))?;
        let mut listener = Command::new("parec")
            .env("PULSE_SERVER", format!("unix:{}", socket.display()))
            .args(["--device=speaker.monitor", "--format=s16le", "--rate=48000", "--channels=1", "--raw"])
            .args(["--latency-msec", LATENCY_MS])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start parec")?;
        let mut sound = listener.stdout.take().context("parec has an output")?;
        let heard = Arc::<Mutex<Heard>>::default();
        let into = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut piece = [0; 4_096];
            let mut odd = 0;
            while let Ok(read @ 1..) = sound.read(&mut piece[odd..]) {
                let now_ms =
                    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64() * 1e3);
                let read = odd + read;
                into.lock().unwrap_or_else(PoisonError::into_inner).take(&piece[..read], now_ms);
                odd = read % 2;
                piece[0] = piece[read - 1];
            }
        });
        Ok(Self { folder, _server: server, listener, heard })
    }

    /// What a program that is to be heard on it has in its environment as `PULSE_SERVER`.
    pub fn address(&self) -> String {
        format!("unix:{}", self.folder.path().join("socket").display())
    }

    /// When each beep behind half a second without one began, in ms since 1970.
    pub fn beeps_ms(&self) -> Vec<f64> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let began_ms = heard.began_ms.unwrap_or_default();
        heard.beeps.iter().map(|&sample| began_ms + sample as f64 / RATE * 1e3).collect()
    }
}

/// Heard minus seen of each flash that has a beep within half a second, in ms; they come once a second.
pub fn apart_ms(flashes_ms: &[f64], beeps_ms: &[f64]) -> Vec<f64> {
    let nearest = |flash: &f64| {
        let apart = beeps_ms.iter().map(|beep| beep - flash);
        apart.min_by(|a, b| a.abs().total_cmp(&b.abs())).filter(|apart| apart.abs() < 500.0)
    };
    flashes_ms.iter().filter_map(nearest).collect()
}

impl Drop for Speaker {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}
