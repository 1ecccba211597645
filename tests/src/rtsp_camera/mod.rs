//! An RTSP camera that does wrong what its script says: replays recorded access units over RTP at their pace.
//!
//! It is written from the RFCs and apart from the proxy's server, so that it can be wrong in every place, and so that each
//! checks the other. [`script`] says what is wrong, [`clip`] what is shown.
//!
//! Invariant: it ends with its value, and so do its threads, within a second.

pub mod clip;
pub mod script;
pub mod sender;
mod server;

pub use clip::{Clip, Coding, Sound};
pub use script::Script;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Result;

/// A running camera with one path, `/cam`.
#[derive(Debug)]
pub struct RtspCamera {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    sessions: Arc<AtomicUsize>,
}

impl RtspCamera {
    /// Starts it on a free port.
    pub fn start(script: Script) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (over, sessions) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (ended, counted) = (Arc::clone(&over), Arc::clone(&sessions));
        std::thread::spawn(move || {
            let good = script.good();
            for connection in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let number = counted.fetch_add(1, Ordering::Relaxed);
                let script = if number < script.sessions { script.clone() } else { good.clone() };
                let ended = Arc::clone(&ended);
                // What a session fails on shows in what the test waits for.
                std::thread::spawn(move || server::serve(&connection, script, &ended));
            }
        });
        Ok(Self { address, over, sessions })
    }

    /// Host and port, such as `127.0.0.1:40001`.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("rtsp://{}/cam", self.address)
    }

    /// How often it was connected to.
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }
}

impl Drop for RtspCamera {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread that listens. When that fails it is gone already.
        let _ = std::net::TcpStream::connect(self.address);
    }
}
