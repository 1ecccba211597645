//! Somebody between a proxy and its viewers who changes what the proxy sends: bytes of binary messages, by a rule of the
//! test's own. Pages pass unchanged.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

type Rule = Arc<Mutex<dyn FnMut(&mut [u8]) + Send>>;

const BINARY: u8 = 2;

/// Listens on a free port of loopback until the program ends, in front of the proxy at `authority` (host and port). `rule`
/// is given each binary message. Returns its own authority.
pub fn before(authority: &str, rule: impl FnMut(&mut [u8]) + Send + 'static) -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let own = listener.local_addr()?.to_string();
    let (authority, rule): (_, Rule) = (authority.to_owned(), Arc::new(Mutex::new(rule)));
    std::thread::spawn(move || {
        for viewer in listener.incoming().flatten() {
            let Ok(proxy) = TcpStream::connect(&authority) else { continue };
            let rule = Arc::clone(&rule);
            std::thread::spawn(move || {
                // It ends with either side.
                let _ = pass(&viewer, &proxy, &rule);
                let _ = (viewer.shutdown(Shutdown::Both), proxy.shutdown(Shutdown::Both));
            });
        }
    });
    Ok(own)
}

fn pass(viewer: &TcpStream, proxy: &TcpStream, rule: &Rule) -> Result<()> {
    let (mut from, mut to) = (viewer.try_clone()?, proxy.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (proxy, viewer);
    let mut held = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    let mut is_socket = None;
    loop {
        let len = from.read(&mut buffer)?;
        ensure!(len > 0, "the proxy closed");
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
