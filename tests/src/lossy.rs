//! A network between a proxy and an RTSP camera that loses, swaps and repeats UDP packets, by a rule of the test's own.
//!
//! It passes on what the two say over TCP, with the ports of its own UDP sockets in the place of theirs (RFC 2326, 12.39),
//! so that packets take the way through it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Pass,
    /// It does not.
    Drop,
    /// It arrives behind the next one.
    Late,
    /// It arrives twice.
    Twice,
}

type Rule = Arc<Mutex<dyn FnMut(&[u8]) -> Fate + Send>>;

/// The network. Its threads end with the connections through it.
#[derive(Debug)]
pub struct Network {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    /// Nothing by UDP gets through.
    silent: AtomicBool,
    dropped: AtomicU64,
    setups: AtomicU64,
}

impl Network {
    /// A network in front of the camera on this port, with a rule for each RTP packet of the first stream that is set up.
    pub fn before(port: u16, rule: impl FnMut(&[u8]) -> Fate + Send + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let own = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let rule: Rule = Arc::new(Mutex::new(rule));
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for proxy in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(camera) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                let (shared, rule) = (accepting.clone(), rule.clone());
                std::thread::spawn(move || {
                    let _ = serve(&proxy, &camera, &shared, &rule);
                    let _ = (proxy.shutdown(Shutdown::Both), camera.shutdown(Shutdown::Both));
                });
            }
        });
        Ok(Self { port: own, shared })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets nothing by UDP through from now on, as a firewall; or everything again.
    pub fn silence(&self, silent: bool) {
        self.shared.silent.store(silent, Ordering::Relaxed);
    }

    /// How many packets it lost, by its rule.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// How many streams were set up by UDP through it.
    pub fn udp_setups(&self) -> u64 {
        self.shared.setups.load(Ordering::Relaxed)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// Two sockets on neighbouring ports, the first one even.
fn pair() -> Result<[UdpSocket; 2]> {
    for _ in 0..200 {
        let first = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = first.local_addr()?.port();
        if port.is_multiple_of(2)
            && let Ok(second) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port + 1))
        {
            return Ok([first, second]);
        }
    }
    anyhow::bail!("no two free ports side by side")
}

/// The sockets of one stream: towards the camera, and towards the proxy.
struct Way {
    inner: [UdpSocket; 2],
    outer: [UdpSocket; 2],
}

fn serve(proxy: &TcpStream, camera: &TcpStream, shared: &Arc<Shared>, rule: &Rule) -> Result<()> {
    let (mut from_proxy, mut from_camera) = (proxy.try_clone()?, camera.try_clone()?);
    let (mut to_proxy, mut to_camera) = (proxy, camera);
    let mut streams = 0;
    // What is asked for over UDP is asked for in turn, so that a turn of one request and its answer is enough there. What
    // comes in between, packets in the connection, is none of this network's: it passes as it is once PLAY is answered.
    loop {
        let mut request = head(&mut from_proxy)?;
        let asked = port(&request, "client_port=");
        let way = match asked {
            Some(client) => {
                let way = Way { inner: pair()?, outer: pair()? };
                let own = way.inner[0].local_addr()?.port();
                request = replace(&request, "client_port=", client, own);
                shared.setups.fetch_add(1, Ordering::Relaxed);
                Some((way, client, own))
            }
            None => None,
        };
        to_camera.write_all(request.as_bytes())?;
        let mut answer = answer(&mut from_camera, &mut to_proxy)?;
        if let Some((way, client, own)) = way
            && let Some(server) = port(&answer, "server_port=")
        {
            let outer = way.outer[0].local_addr()?.port();
            answer = replace(&answer, "server_port=", server, outer);
            answer = replace(&answer, "client_port=", own, client);
            let [rtp, rtcp] = way.inner;
            let [to_rtp, to_rtcp] = way.outer;
            let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let rule = (streams == 0).then(|| rule.clone());
            streams += 1;
            let (one, two) = (shared.clone(), shared.clone());
            std::thread::spawn(move || pass(&rtp, &to_rtp, at(client), &one, rule.as_ref()));
            std::thread::spawn(move || pass(&rtcp, &to_rtcp, at(client + 1), &two, None));
        }
        to_proxy.write_all(answer.as_bytes())?;
        if request.starts_with("PLAY ") {
            break;
        }
    }
    let mut back = (from_camera.try_clone()?, proxy.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut back.0, &mut back.1);
        let _ = back.1.shutdown(Shutdown::Both);
    });
    std::io::copy(&mut from_proxy, &mut to_camera)?;
    Ok(())
}

/// What the camera answers. Packets in front of it are passed on: it may play before it says so.
fn answer(from: &mut TcpStream, to: &mut impl Write) -> Result<String> {
    loop {
        let mut start = [0];
        from.read_exact(&mut start)?;
        if start != *b"$" {
            return rest_of_message(from, start[0]);
        }
        let mut lengths = [0; 3];
        from.read_exact(&mut lengths)?;
        let mut packet = vec![0; usize::from(u16::from_be_bytes([lengths[1], lengths[2]]))];
        from.read_exact(&mut packet)?;
        to.write_all(&[&b"$"[..], &lengths, &packet].concat())?;
    }
}

/// A message with its body, as text.
fn head(from: &mut TcpStream) -> Result<String> {
    let mut start = [0];
    from.read_exact(&mut start)?;
    rest_of_message(from, start[0])
}

fn rest_of_message(from: &mut TcpStream, start: u8) -> Result<String> {
    let mut bytes = vec![start];
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let length = text
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut body)?;
    Ok(text + &String::from_utf8_lossy(&body))
}

fn port(text: &str, name: &str) -> Option<u16> {
    let (_, rest) = text.split_once(name)?;
    rest.split('-').next()?.parse().ok()
}

fn replace(text: &str, name: &str, old: u16, new: u16) -> String {
    text.replace(&format!("{name}{old}-{}", old + 1), &format!("{name}{new}-{}", new + 1))
}

/// Passes packets on until nothing comes any more.
fn pass(from: &UdpSocket, to: &UdpSocket, client: SocketAddr, shared: &Shared, rule: Option<&Rule>) {
    let _ = from.set_read_timeout(Some(Duration::from_secs(20)));
    let mut late: Option<Vec<u8>> = None;
    let mut buffer = [0; 2048];
    while let Ok(length) = from.recv(&mut buffer) {
        if shared.stopped.load(Ordering::Relaxed) {
            return;
        }
        if shared.silent.load(Ordering::Relaxed) {
            continue;
        }
        let packet = &buffer[..length];
        let fate =
            rule.map_or(Fate::Pass, |rule| rule.lock().unwrap_or_else(PoisonError::into_inner)(packet));
        if fate == Fate::Drop {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        if fate == Fate::Late && late.is_none() {
            late = Some(packet.to_vec());
            continue;
        }
        let _ = to.send_to(packet, client);
        if fate == Fate::Twice {
            let _ = to.send_to(packet, client);
        }
        if let Some(packet) = late.take() {
            let _ = to.send_to(&packet, client);
        }
    }
}

/// What an RTP packet of H.264 is (RFC 6184, 5), as far as rules ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H264Packet {
    /// The last one of its access unit.
    pub marker: bool,
    /// It belongs to a key frame: parameter sets or a slice of an IDR picture.
    pub key: bool,
    /// It begins a slice, and not the picture's first one.
    pub begins_later_slice: bool,
}

impl H264Packet {
    /// Reads a packet of GStreamer's payloader, which has no header extension.
    pub fn read(packet: &[u8]) -> Result<Self> {
        let marker = packet.get(1).context("no RTP")? & 0x80 != 0;
        let payload = packet.get(12..).context("no RTP")?;
        let first = *payload.first().context("an empty packet")?;
        // Fragments carry the NAL unit's type in their second byte, with a bit for the first of them.
        let (kind, slice) = match (first & 31, payload) {
            (28, [_, header, data, ..]) => (header & 31, (header & 0x80 != 0).then_some(*data)),
            (kind, [_, data, ..]) => (kind, Some(*data)),
            (kind, _) => (kind, None),
        };
        // `first_mb_in_slice` is an Exp-Golomb number: a set first bit is 0.
        let begins_later_slice = matches!(kind, 1 | 5) && slice.is_some_and(|data| data & 0x80 == 0);
        Ok(Self { marker, key: matches!(kind, 5..=8 | 24), begins_later_slice })
    }
}
