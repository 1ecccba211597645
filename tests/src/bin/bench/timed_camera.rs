//! An RTSP camera that knows the moment at which each frame's last packet went out.
//!
//! RTSP itself is the proxy's own server core (PURE, so that this shell decides when bytes are written); the frames are
//! encoded by ffmpeg beforehand. Invariant: the packet with the marker is written by itself, right after its moment has
//! been noted.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use sightline::rtsp::packetise::Origin;
use sightline::rtsp::session::{Command as Told, Directory, Identity, Now, Session};
use sightline::rtsp::{AccessUnit, Codec, Offer, Track};

/// Time between frames: 25 a second.
pub(crate) const FRAME: Duration = Duration::from_millis(40);
const FRAME_TICKS: i64 = 3600;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// What tells frames apart: their last bytes.
pub(crate) type Tail = [u8; 32];

/// When each frame's last packet was written, by the frame's tail.
pub(crate) type Moments = Arc<Mutex<HashMap<Tail, Instant>>>;

/// The last bytes of a frame.
pub(crate) fn tail(frame: &[u8]) -> Tail {
    frame.last_chunk().copied().unwrap_or_default()
}

/// 10 s of 640x360 at 25 fps and 1500 kbit/s, a key frame every 2 s: access units in Annex B.
#[derive(Debug)]
pub(crate) struct Clip {
    units: Vec<(Bytes, bool)>,
    track: Track,
}

impl Clip {
    /// Has ffmpeg encode it.
    pub(crate) fn encode() -> Result<Self> {
        let out = Command::new("ffmpeg")
            .args([
                "-v",
                "error",
                "-f",
                "lavfi",
                "-i",
                "testsrc2=size=640x360:rate=25,noise=alls=12:allf=t",
                "-t",
                "10",
            ])
            .args([
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-tune",
                "zerolatency",
                "-profile:v",
                "baseline",
            ])
            .args(["-b:v", "1500k", "-maxrate", "1500k", "-bufsize", "750k", "-g", "50"])
            .args(["-x264-params", "sliced-threads=0:scenecut=0:aud=1", "-f", "h264", "-"])
            .output()
            .context("cannot run ffmpeg")?;
        ensure!(out.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&out.stderr));
        Self::cut(&out.stdout)
    }

    fn cut(annex_b: &[u8]) -> Result<Self> {
        const IDR: u8 = 5;
        const SPS: u8 = 7;
        const PPS: u8 = 8;
        const DELIMITER: u8 = 9;
        let (mut units, mut unit, mut key) = (vec![], vec![], false);
        let (mut sps, mut pps) = (None, None);
        for nal in nals(annex_b) {
            match nal.first().map(|first| first & 31) {
                Some(DELIMITER) => {
                    if !unit.is_empty() {
                        units.push((Bytes::from(std::mem::take(&mut unit)), std::mem::take(&mut key)));
                    }
                    continue;
                }
                Some(SPS) => sps = Some(Bytes::copy_from_slice(nal)),
                Some(PPS) => pps = Some(Bytes::copy_from_slice(nal)),
                Some(IDR) => key = true,
                _ => {}
            }
            unit.extend(START_CODE);
            unit.extend(nal);
        }
        units.push((unit.into(), key));
        ensure!(units.len() == 250, "{} frames instead of 250", units.len());
        let (sps, pps) = (sps.context("no SPS")?, pps.context("no PPS")?);
        Ok(Self { units, track: Track { codec: Codec::H264 { sps, pps } } })
    }
}

/// NAL units without their start codes.
fn nals(annex_b: &[u8]) -> Vec<&[u8]> {
    let mut starts = vec![];
    let mut at = 0;
    while at + 3 <= annex_b.len() {
        if annex_b[at..at + 3] == START_CODE[1..] {
            starts.push(at);
            at += 3;
        } else {
            at += 1;
        }
    }
    let ends = starts.iter().skip(1).copied().chain([annex_b.len()]);
    let cut = starts.iter().zip(ends).map(|(start, end)| &annex_b[start + 3..end]);
    // The first zero of a start code of four bytes belongs to no NAL unit, and none ends with a zero.
    cut.map(|nal| &nal[..nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]).collect()
}

struct Shelf {
    offer: Offer,
}

impl Directory for Shelf {
    fn offer(&self, path: &str) -> Option<Offer> {
        (path == "cam").then(|| self.offer.clone())
    }
}

/// Starts the camera for one client at a time, until the program ends; returns its address.
///
/// Each frame also goes to `copies`, half a frame's time after it was sent to the client.
pub(crate) fn start(clip: Clip, moments: Moments, copies: Sender<Bytes>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("rtsp://{}/cam", listener.local_addr()?);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            if let Err(error) = serve(&connection, &clip, &moments, &copies) {
                eprintln!("the camera's client: {error:#}");
            }
        }
    });
    Ok(url)
}

fn serve(connection: &TcpStream, clip: &Clip, moments: &Moments, copies: &Sender<Bytes>) -> Result<()> {
    connection.set_nodelay(true)?;
    let (started, started_us) = (Instant::now(), unix_us()?);
    let shelf = Shelf { offer: Offer { tracks: Arc::from([clip.track.clone()]), epoch_unix_us: started_us } };
    let now = move || Now {
        mono_ms: started.elapsed().as_millis() as u64,
        unix_us: started_us + started.elapsed().as_micros() as i64,
    };
    let origin = Origin { ssrc: 7, sequence: 1, timestamp: 1000 };
    let mut session = Session::new(Identity { session: 4711, origin }, now());

    // Questions first, one after the other, until the client wants to see something.
    let mut buffer = [0; 4096];
    let mut playing = false;
    while !playing {
        let read = (&mut &*connection).read(&mut buffer)?;
        ensure!(read > 0, "it left before PLAY");
        let told = session.receive(&buffer[..read], now(), &shelf);
        playing = told.iter().any(|command| matches!(command, Told::Subscribe(_)));
        (&mut &*connection).write_all(&session.take_output())?;
    }
    connection.set_nonblocking(true)?;
    let first = Instant::now();
    for (index, (unit, key_frame)) in clip.units.iter().cycle().enumerate() {
        std::thread::sleep((first + FRAME * index as u32).saturating_duration_since(Instant::now()));
        match (&mut &*connection).read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                session.receive(&buffer[..read], now(), &shelf);
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.into()),
        }
        session.tick(now(), &shelf);
        connection.set_nonblocking(false)?;
        (&mut &*connection).write_all(&session.take_output())?;

        let pts_ticks = index as i64 * FRAME_TICKS;
        session.unit(&AccessUnit { track: 0, pts_ticks, key_frame: *key_frame, data: unit.clone() });
        let packets = session.take_output();
        let (before, last) = packets.split_at(last_packet(&packets));
        (&mut &*connection).write_all(before)?;
        moments.lock().unwrap_or_else(PoisonError::into_inner).insert(tail(unit), Instant::now());
        (&mut &*connection).write_all(last)?;
        connection.set_nonblocking(true)?;

        std::thread::sleep(FRAME / 2);
        // Nobody takes copies once the benchmark is over.
        let _ = copies.send(unit.clone());
    }
    Ok(())
}

/// Where the last of several interleaved packets begins (RFC 2326, 10.12: `$`, channel, two bytes of length).
fn last_packet(packets: &[u8]) -> usize {
    let (mut at, mut last) = (0, 0);
    while at + 4 <= packets.len() {
        last = at;
        at += 4 + usize::from(u16::from_be_bytes([packets[at + 2], packets[at + 3]]));
    }
    last
}

fn unix_us() -> Result<i64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64)
}
