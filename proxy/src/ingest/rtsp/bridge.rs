//! Between retina and a camera it cannot speak to by itself: a port of loopback that takes one connection.
//!
//! retina knows no TLS, tells a redirect's status but not where it leads, and ends a session at a second challenge. It
//! connects here instead; [`Exchange`] says what becomes of each message. The port takes one connection, the one that
//! calls itself by a name that was made up for it, so that nobody else on this machine can speak to the camera in our
//! name. Costs one copy of each packet over loopback.

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use url::Url;

use super::exchange::{Error, Exchange};
use crate::config::Source;

/// What the camera is told that we are.
pub(super) const AGENT: &str = concat!("sightline/", env!("CARGO_PKG_VERSION"));

/// retina connects at once.
const ACCEPT_WAIT: Duration = Duration::from_secs(5);

/// And says who it is at once.
const HELLO_WAIT: Duration = Duration::from_secs(1);

/// What is read at once, in bytes.
const READ_LEN: usize = 64 << 10;

/// A connection to a camera.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A bridge that waits for retina. It ends with the connection that it takes.
pub(super) struct Bridge {
    /// What retina is to ask for.
    pub(super) url: Url,
    /// What retina is to call itself.
    pub(super) secret_agent: String,
    exchange: Arc<Mutex<Exchange>>,
}

impl Bridge {
    /// Opens a bridge to the camera at the other end of `camera`.
    pub(super) async fn open(source: &Source, camera: Box<dyn Io>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let local = format!("rtsp://{}", listener.local_addr()?);
        let url = source.url_without_credentials();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let remote = format!("{}://{}{port}", url.scheme(), source.host());
        let rest = url.as_str().strip_prefix(&remote).unwrap_or_default();
        let url = Url::parse(&format!("{local}{rest}")).map_err(io::Error::other)?;
        let secret_agent = format!("{AGENT} {:032x}", rand::random::<u128>());
        let exchange = Exchange::new(local, remote, secret_agent.clone(), AGENT, source.credentials());
        let exchange = Arc::new(Mutex::new(exchange));
        tokio::spawn(serve(listener, camera, exchange.clone()));
        Ok(Self { url, secret_agent, exchange })
    }

    /// Where the camera's last redirect leads, in its own words.
    pub(super) fn location(&self) -> Option<String> {
        lock(&self.exchange).location().map(str::to_owned)
    }
}

fn lock(exchange: &Mutex<Exchange>) -> std::sync::MutexGuard<'_, Exchange> {
    exchange.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, camera: Box<dyn Io>, exchange: Arc<Mutex<Exchange>>) {
    let Ok(Some((retina, said))) = timeout(ACCEPT_WAIT, accept(&listener, &exchange)).await else { return };
    drop(listener);
    if let Err(error) = copy(retina, said, camera, &exchange).await {
        tracing::debug!(%error, "the bridge to a camera");
    }
}

/// Waits for retina, and gives what it said first.
async fn accept(listener: &TcpListener, exchange: &Mutex<Exchange>) -> Option<(TcpStream, BytesMut)> {
    loop {
        let (mut socket, address) = listener.accept().await.ok()?;
        let mut said = BytesMut::new();
        let hello = async {
            loop {
                match lock(exchange).is_ours(&said) {
                    Ok(Some(ours)) => return ours,
                    Ok(None) => {}
                    Err(_) => return false,
                }
                if !matches!(socket.read_buf(&mut said).await, Ok(1..)) {
                    return false;
                }
            }
        };
        if let Ok(true) = timeout(HELLO_WAIT, hello).await {
            let _ = socket.set_nodelay(true); // it would only cost some delay
            return Some((socket, said));
        }
        tracing::warn!(%address, "a stranger on this machine tried to use a connection to a camera");
    }
}

async fn copy(
    mut retina: TcpStream,
    mut said: BytesMut,
    mut camera: Box<dyn Io>,
    exchange: &Mutex<Exchange>,
) -> io::Result<()> {
    let refused = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut sent = BytesMut::new();
    let (mut to_retina, mut to_camera) = (Vec::new(), Vec::new());
    loop {
        let used = lock(exchange).requests(&said, &mut to_camera).map_err(refused)?;
        said.advance(used);
        let used = lock(exchange).answers(&sent, &mut to_retina, &mut to_camera).map_err(refused)?;
        sent.advance(used);
        if !to_camera.is_empty() {
            camera.write_all(&to_camera).await?;
            camera.flush().await?;
            to_camera.clear();
        }
        if !to_retina.is_empty() {
            retina.write_all(&to_retina).await?;
            to_retina.clear();
        }
        said.reserve(4 << 10);
        sent.reserve(READ_LEN);
        let read = tokio::select! {
            read = retina.read_buf(&mut said) => read?,
            read = camera.read_buf(&mut sent) => read?,
        };
        if read == 0 {
            // What was said until then has been passed on. TLS wants a word of goodbye.
            let _ = camera.shutdown().await;
            return Ok(());
        }
    }
}
