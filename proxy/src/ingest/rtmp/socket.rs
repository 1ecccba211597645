//! A connection's bytes: read into one buffer, sent with a deadline.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

/// What is read at once while nothing is published, in bytes.
const SMALL: usize = 4 << 10;

/// What is read at once while pictures come, in bytes.
const LARGE: usize = 64 << 10;

/// How long a peer may take to take what we say.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// A peer that closes is given this long to read our last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A TCP connection, with or without TLS on it.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection and what was read of it.
pub(super) struct Socket {
    io: Box<dyn Io>,
    buffer: Vec<u8>,
    read: usize,
    used: usize,
    /// When the last bytes came in.
    pub(super) received: Instant,
}

impl Socket {
    pub(super) fn new(io: impl Io + 'static) -> Self {
        Self { io: Box::new(io), buffer: vec![0; SMALL], read: 0, used: 0, received: Instant::now() }
    }

    /// From now on pictures are expected.
    pub(super) fn expect_pictures(&mut self) {
        self.buffer.resize(LARGE, 0);
    }

    /// What was read and not used yet.
    pub(super) fn pending(&self) -> &[u8] {
        &self.buffer[self.used..self.read]
    }

    /// Marks the next `count` bytes as used.
    pub(super) fn consume(&mut self, count: usize) {
        self.used += count;
    }

    /// Reads on. What is pending must have been used.
    pub(super) async fn fill(&mut self) -> io::Result<()> {
        let pending = self.used..self.read;
        self.buffer.copy_within(pending.clone(), 0);
        (self.used, self.read) = (0, pending.len());
        let count = self.io.read(&mut self.buffer[self.read..]).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read += count;
        self.received = Instant::now();
        Ok(())
    }

    /// Sends what stands in `out`, and empties it.
    pub(super) async fn send(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let sending = async {
            self.io.write_all(out).await?;
            self.io.flush().await
        };
        timeout(SEND_TIMEOUT, sending).await??;
        out.clear();
        Ok(())
    }

    /// Sends what stands in `out` and closes, such that the peer gets to read it: closing a socket with unread bytes in it
    /// would take our last words back.
    pub(super) async fn close(mut self, out: &mut Vec<u8>) {
        if self.send(out).await.is_err() {
            return;
        }
        let waiting = async {
            let _ = self.io.shutdown().await;
            while self.io.read(&mut self.buffer).await.is_ok_and(|count| count > 0) {}
        };
        let _ = timeout(LAST_WORDS, waiting).await;
    }
}
