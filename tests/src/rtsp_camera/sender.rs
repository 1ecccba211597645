//! Pictures as RTP packets at their pace (RFC 3550, RFC 6184, RFC 7798), with what the script puts wrong.

use std::io::{Error, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::clip::{Clip, Coding, FPS, Sound, is_parameter_set, is_slice};
use super::script::{Change, Packet, Reports, Script};

/// Payload bytes of one packet.
const PAYLOAD: usize = 1400;

/// Payload type of the picture, 96.
const VIDEO: u8 = 0x60;
/// Payload type of the sound, 97.
const SOUND: u8 = 0x61;

/// Ticks of the RTP clock from picture to picture.
const TICKS: u32 = 90_000 / FPS;

/// Where the packets of a session go.
#[derive(Debug)]
pub(super) enum Way {
    /// Into the connection, on channels 0 and 1 for the picture, 2 and 3 for the sound.
    Interleaved,
    /// RTP and RTCP of each track, each to its own port.
    Udp(UdpSocket, Vec<[SocketAddr; 2]>),
}

/// One session's sender of pictures.
pub struct Sender {
    connection: Arc<Mutex<TcpStream>>,
    over: Arc<AtomicBool>,
    way: Way,
    script: Script,
    clip: Arc<Clip>,
    /// The clip's first picture is this one of the session.
    clip_begins: u32,
    /// Synchronisation source.
    pub(super) ssrc: u32,
    sequence: u16,
    /// RTP timestamp of the session's beginning.
    pub(super) timestamp: u32,
    /// Bytes the next picture is made longer by.
    pub(super) extra: usize,
    /// What becomes of the next picture's parameter sets.
    pub(super) parameter_sets: Option<Change>,
    /// The picture whose turn it is.
    current: u32,
    packets: u32,
    held: Option<Vec<u8>>,
    begun: Instant,
    paused: Duration,
    /// How many frames of sound were sent.
    sounds: u32,
}

impl Sender {
    pub(super) fn new(
        connection: Arc<Mutex<TcpStream>>,
        over: Arc<AtomicBool>,
        way: Way,
        script: Script,
    ) -> Self {
        Self {
            connection,
            over,
            way,
            clip: Arc::clone(&script.clip),
            clip_begins: 0,
            ssrc: 0x00c0_ffee,
            sequence: script.sequence,
            timestamp: script.timestamp,
            extra: 0,
            parameter_sets: None,
            current: 0,
            packets: 0,
            held: None,
            begun: Instant::now(),
            paused: Duration::ZERO,
            sounds: 0,
            script,
        }
    }

    /// Sends picture after picture until the session is over.
    pub(super) fn run(&mut self) -> std::io::Result<()> {
        let sound = self.script.sound.clone();
        for n in 0u32.. {
            self.current = n;
            let due = self.begun + Duration::from_secs(1) * n / FPS + self.paused;
            self.sleep_until(due)?;
            for deed in self.script.deeds.clone().iter().filter(|(at, _)| *at == n) {
                (deed.1)(self)?;
            }
            // A pause may have come.
            self.sleep_until(self.begun + Duration::from_secs(1) * n / FPS + self.paused)?;
            if n % FPS == FPS / 2 && self.script.reports != Reports::None {
                self.report(n)?;
            }
            self.picture(n)?;
            if let Some(sound) = &sound {
                self.sound(n, sound)?;
            }
        }
        Ok(())
    }

    fn sleep_until(&self, due: Instant) -> std::io::Result<()> {
        loop {
            if self.over.load(Ordering::Relaxed) {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }

    /// The packet that is so many ahead does not come.
    pub(super) fn drop_ahead(&mut self, packets: u32) {
        self.script.packets.push((self.packets + packets, Packet::Drop));
    }

    /// Sends nothing for so long.
    pub(super) fn pause(&mut self, pause: Duration) {
        self.paused += pause;
    }

    /// Goes on with another clip.
    pub(super) fn show(&mut self, clip: &Arc<Clip>) {
        self.clip_begins = self.current;
        self.clip = Arc::clone(clip);
    }

    /// The RTP timestamp of a moment, given in pictures from PLAY on.
    fn timestamp_of(&self, picture: u32) -> u32 {
        let ticks = i64::from(picture) * i64::from(TICKS) + self.paused.as_millis() as i64 * 90;
        let drifted = ticks + ticks * self.script.drift_ppm / 1_000_000;
        self.timestamp.wrapping_add(drifted as u32)
    }

    fn picture(&mut self, n: u32) -> std::io::Result<()> {
        let clip = Arc::clone(&self.clip);
        let since = n.saturating_sub(self.clip_begins);
        let (count, round) =
            (clip.units.len() as u32, since / clip.units.len() as u32 * clip.units.len() as u32);
        let at = (since % count) as usize;
        let timestamp = self.timestamp_of(self.clip_begins + round + clip.shown[at]);
        let change = self.parameter_sets.take();
        let mut nals: Vec<Bytes> = vec![];
        for nal in &clip.units[at].nals {
            let is_set = is_parameter_set(nal, clip.coding);
            if is_set && !self.script.in_band && self.clip_begins == 0 {
                continue;
            }
            match &change {
                Some(change) if is_set => {
                    let mut changed = nal.to_vec();
                    change(&mut changed);
                    nals.push(changed.into());
                }
                _ => nals.push(nal.clone()),
            }
        }
        if self.extra > 0 {
            // Behind the slice's own bits stands what no decoder reads (H.264 7.3.2.8: cabac_zero_words).
            let extra = std::mem::take(&mut self.extra);
            if let Some(slice) = nals.iter_mut().rfind(|nal| is_slice(nal, clip.coding)) {
                *slice = [&slice[..], &b"\x03\x55".repeat(extra / 2)].concat().into();
            }
        }
        let last = nals.len().saturating_sub(1);
        for (i, nal) in nals.iter().enumerate() {
            self.nal(nal, timestamp, i == last)?;
        }
        Ok(())
    }

    fn nal(&mut self, nal: &[u8], timestamp: u32, marker: bool) -> std::io::Result<()> {
        if nal.len() <= PAYLOAD {
            return self.packet(nal, timestamp, marker);
        }
        // FU-A (RFC 6184, 5.8); FU (RFC 7798, 4.4.3).
        let (head, kind, body) = match self.clip.coding {
            Coding::H264 => (vec![nal[0] & 0xe0 | 0x1c], nal[0] & 31, &nal[1..]),
            Coding::H265 => (vec![nal[0] & 0x81 | 49 << 1, nal[1]], nal[0] >> 1 & 63, &nal[2..]),
        };
        let count = body.chunks(PAYLOAD).len();
        for (i, part) in body.chunks(PAYLOAD).enumerate() {
            let flags = u8::from(i == 0) << 7 | u8::from(i + 1 == count) << 6;
            let payload = [&head[..], &[flags | kind], part].concat();
            self.packet(&payload, timestamp, marker && i + 1 == count)?;
        }
        Ok(())
    }

    /// Sends a packet with this payload and the time of the moment.
    pub(super) fn rtp(&mut self, payload: &[u8], marker: bool) -> std::io::Result<()> {
        let timestamp = self.timestamp_of(self.current);
        self.packet(payload, timestamp, marker)
    }

    fn packet(&mut self, payload: &[u8], timestamp: u32, marker: bool) -> std::io::Result<()> {
        let marker = marker && self.script.markers;
        let mut packet = vec![0x80, VIDEO | u8::from(marker) << 7];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        let number = self.packets;
        self.packets += 1;
        let fault = self.script.packets.iter().find(|(n, _)| *n == number).map(|(_, fault)| fault.clone());
        match fault {
            Some(Packet::Drop) => return Ok(()),
            Some(Packet::Late) => {
                self.held = Some(packet);
                return Ok(());
            }
            Some(Packet::Twice) => self.send(0, &packet)?,
            Some(Packet::Changed(change)) => change(&mut packet),
            None => {}
        }
        self.send(0, &packet)?;
        match self.held.take() {
            Some(late) => self.send(0, &late),
            None => Ok(()),
        }
    }

    /// The sound up to picture `n`.
    fn sound(&mut self, n: u32, sound: &Sound) -> std::io::Result<()> {
        while u64::from(self.sounds) * u64::from(Sound::FRAME) <= u64::from(n) * u64::from(Sound::RATE / FPS)
        {
            let frame = &sound.frames[self.sounds as usize % sound.frames.len()];
            let mut packet = vec![0x80, SOUND | 0x80];
            packet.extend((self.sounds as u16).to_be_bytes());
            packet.extend((self.sounds * Sound::FRAME).to_be_bytes());
            packet.extend(0x5011_u32.to_be_bytes());
            // One AU header (RFC 3640, 3.2.1): 13 bits of size and 3 of index.
            packet.extend([0, 16]);
            packet.extend((frame.len() as u16).wrapping_shl(3).to_be_bytes());
            packet.extend(frame);
            self.sounds += 1;
            self.send(2, &packet)?;
        }
        Ok(())
    }

    fn report(&mut self, n: u32) -> std::io::Result<()> {
        const NTP_TO_UNIX_S: u64 = 2_208_988_800;
        let now = match self.script.reports {
            Reports::Of1970 => self.begun.elapsed(),
            _ => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
        };
        // Sender report (RFC 3550, 6.4.1), and a source description with the name "x" (6.5).
        let mut report = vec![0x80, 200, 0, 6];
        report.extend(self.ssrc.to_be_bytes());
        report.extend(((now.as_secs() + NTP_TO_UNIX_S) as u32).to_be_bytes());
        report.extend((((u64::from(now.subsec_nanos())) << 32) / 1_000_000_000).to_be_bytes()[4..].iter());
        report.extend(self.timestamp_of(n).to_be_bytes());
        report.extend(self.packets.to_be_bytes());
        report.extend([0; 4]);
        report.extend([0x81, 202, 0, 2]);
        report.extend(self.ssrc.to_be_bytes());
        report.extend([1, 1, b'x', 0]);
        self.rtcp(&report)
    }

    /// Sends bytes where reports come.
    pub(super) fn rtcp(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.send(1, bytes)
    }

    /// A fragmented NAL unit that goes on until the other end has enough.
    pub(super) fn endless_fragment(&mut self, bytes_per_second: usize) -> std::io::Result<()> {
        let timestamp = self.timestamp_of(self.current);
        let begun = Instant::now();
        let mut sent = 0;
        for i in 0u64.. {
            let payload = [&[0x7c, if i == 0 { 0x85 } else { 0x05 }][..], &[0x55; PAYLOAD]].concat();
            self.packet(&payload, timestamp, false)?;
            sent += payload.len();
            let due = begun + Duration::from_secs_f64(sent as f64 / bytes_per_second as f64);
            if due > Instant::now() + Duration::from_millis(10) {
                self.sleep_until(due)?;
            }
        }
        Ok(())
    }

    /// Writes to the connection itself.
    pub(super) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.over.load(Ordering::Relaxed) {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)
    }

    fn send(&mut self, channel: u8, packet: &[u8]) -> std::io::Result<()> {
        match &self.way {
            Way::Udp(socket, ports) => {
                let Some(ports) = ports.get(usize::from(channel / 2)) else { return Ok(()) };
                match socket.send_to(packet, ports[usize::from(channel & 1)]) {
                    Err(e) if e.kind() != ErrorKind::ConnectionRefused => Err(e),
                    _ => Ok(()),
                }
            }
            Way::Interleaved => {
                let length = u16::try_from(packet.len()).map_err(|_| Error::from(ErrorKind::InvalidInput))?;
                let framed = [&[b'$', channel][..], &length.to_be_bytes(), packet].concat();
                self.write(&framed)
            }
        }
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("way", &self.way)
            .field("packets", &self.packets)
            .finish_non_exhaustive()
    }
}
