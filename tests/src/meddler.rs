//! Somebody between a proxy and its viewers who changes what the proxy sends: bytes of binary messages, by a rule of the
//! test's own. Pages pass unchanged. And who lets connections hang, as a network does that has forgotten them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

type Rule = Arc<Mutex<dyn FnMut(&mut [u8]) + Send>>;

const BINARY: u8 = 2;

/// Listens until the program ends.
#[derive(Debug)]
pub struct Meddler {
    /// Host and port.
    pub authority: String,
    /// Connections made before this one, by their count, are hung.
    hung: Arc<AtomicU32>,
    made: Arc<AtomicU32>,
}

impl Meddler {
    /// Nothing comes through the connections that there are any more, either way, and nobody is told. New ones are well.
    pub fn hang(&self) {
        self.hung.store(self.made.load(Ordering::Acquire), Ordering::Release);
    }
}

/// Stands on a free port of loopback in front of the proxy at `authority` (host and port). `rule` is given each binary
/// message.
pub fn before(authority: &str, rule: impl FnMut(&mut [u8]) + Send + 'static) -> Result<Meddler> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let meddler =
        Meddler { authority: listener.local_addr()?.to_string(), hung: Arc::default(), made: Arc::default() };
    let (authority, rule): (_, Rule) = (authority.to_owned(), Arc::new(Mutex::new(rule)));
    let (hung, made) = (Arc::clone(&meddler.hung), Arc::clone(&meddler.made));
    std::thread::spawn(move || {
        for viewer in listener.incoming().flatten() {
            let Ok(proxy) = TcpStream::connect(&authority) else { continue };
            let (rule, hung) = (Arc::clone(&rule), Arc::clone(&hung));
            let number = made.fetch_add(1, Ordering::AcqRel);
            std::thread::spawn(move || {
                let hangs = move || number < hung.load(Ordering::Acquire);
                // It ends with either side.
                let _ = pass(&viewer, &proxy, &rule, &hangs);
                let _ = (viewer.shutdown(Shutdown::Both), proxy.shutdown(Shutdown::Both));
            });
        }
    });
    Ok(meddler)
}

/// Reads on, whatever hangs: a buffer that is full would tell.
fn read(from: &mut TcpStream, into: &mut [u8], hangs: &impl Fn() -> bool) -> Result<usize> {
    loop {
        let len = from.read(into)?;
        ensure!(len > 0, "it closed");
        if !hangs() {
            return Ok(len);
        }
    }
}

fn pass(
    viewer: &TcpStream,
    proxy: &TcpStream,
    rule: &Rule,
    hangs: &(impl Fn() -> bool + Clone + Send + 'static),
) -> Result<()> {
    let (mut from, mut to) = (viewer.try_clone()?, proxy.try_clone()?);
    let asks = hangs.clone();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 12];
        while let Ok(len) = read(&mut from, &mut buffer, &asks)
            && to.write_all(&buffer[..len]).is_ok()
        {}
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (proxy.try_clone()?, viewer);
    let mut held = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    let mut is_socket = None;
    loop {
        let len = read(&mut from, &mut buffer, hangs)?;
        held.extend_from_slice(&buffer[..len]);
        if is_socket.is_none() {
            let Some(end) = held.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let upgraded = held.starts_with(b"HTTP/1.1 101");
            is_socket = Some(upgraded);
            if upgraded {
                to.write_all(&held[..end + 4])?;
                held.drain(..end + 4);
            }
        }
        if is_socket == Some(false) {
            to.write_all(&held)?;
            held.clear();
            continue;
        }
        while let Some((begins, ends)) = frame(&held)? {
            if held[0] & 0x0f == BINARY {
                rule.lock().unwrap_or_else(PoisonError::into_inner)(&mut held[begins..ends]);
            }
            to.write_all(&held[..ends])?;
            held.drain(..ends);
        }
    }
}

/// Where the payload of the first frame begins and ends (RFC 6455, 5.2), once all of it is there. Servers do not mask.
fn frame(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(&[_, length]) = bytes.first_chunk::<2>() else { return Ok(None) };
    ensure!(length & 0x80 == 0, "the proxy masks");
    let (begins, length) = match length {
        126 => match bytes[2..].first_chunk::<2>() {
            Some(length) => (4, u64::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        127 => match bytes[2..].first_chunk::<8>() {
            Some(length) => (10, u64::from_be_bytes(*length)),
            None => return Ok(None),
        },
        length => (2, u64::from(length)),
    };
    let ends = begins + usize::try_from(length).context("a frame fits into memory")?;
    Ok((bytes.len() >= ends).then_some((begins, ends)))
}
