//! One connection: RTSP's requests and their answers (RFC 2326), right ones and those of the script.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::clip::{Clip, Coding};
use super::script::{Answer, Script};
use super::sender::{Sender, Way};

/// How often whoever waits looks whether the camera is to end.
const LOOK: Duration = Duration::from_millis(200);

/// Serves a connection to its end.
pub(super) fn serve(
    connection: &TcpStream,
    script: Script,
    camera_over: &Arc<AtomicBool>,
) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(LOOK))?;
    let writer = Arc::new(Mutex::new(connection.try_clone()?));
    let over = Arc::<AtomicBool>::default();
    let mut session = Session {
        script,
        writer: Arc::clone(&writer),
        over: Arc::clone(&over),
        camera_over: Arc::clone(camera_over),
        way: Some(Way::Interleaved),
    };
    let ended = session.requests(BufReader::new(connection.try_clone()?));
    over.store(true, Ordering::Relaxed);
    let _ = connection.shutdown(Shutdown::Both);
    ended
}

struct Session {
    script: Script,
    writer: Arc<Mutex<TcpStream>>,
    over: Arc<AtomicBool>,
    camera_over: Arc<AtomicBool>,
    way: Option<Way>,
}

impl Session {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.camera_over.load(Ordering::Relaxed)
    }

    fn requests(&mut self, mut reader: BufReader<TcpStream>) -> std::io::Result<()> {
        let mut head = vec![];
        loop {
            if self.is_over() {
                return Ok(());
            }
            match reader.read_until(b'\n', &mut head) {
                Ok(0) => return Ok(()),
                Ok(_) if head.ends_with(b"\r\n\r\n") => {
                    let request = String::from_utf8_lossy(&head).into_owned();
                    head.clear();
                    self.request(&request)?;
                }
                Ok(_) => {
                    // Receiver reports of the client's come here too: they hold no request.
                    if head.first() == Some(&b'$') {
                        head.clear();
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn request(&mut self, request: &str) -> std::io::Result<()> {
        let method = request.split(' ').next().unwrap_or_default();
        let header = |name: &str| {
            let line = request
                .lines()
                .find(|line| line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name)))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let cseq = header("CSeq").unwrap_or_default();
        let mut answer = format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n");
        match method {
            "OPTIONS" => answer += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER\r\n\r\n",
            "DESCRIBE" => {
                let sdp = describe(&self.script);
                let base = request.split(' ').nth(1).unwrap_or_default();
                let _ = write!(
                    answer,
                    "Content-Type: application/sdp\r\nContent-Base: {base}/\r\nContent-Length: {}\r\n\r\n{sdp}",
                    sdp.len()
                );
            }
            "SETUP" => {
                let transport = header("Transport").unwrap_or_default();
                let transport = self.set_up(&transport)?;
                let _ = write!(answer, "Session: 1234;timeout=60\r\nTransport: {transport}\r\n\r\n");
            }
            _ => answer += "Session: 1234\r\n\r\n",
        }
        let wrong =
            self.script.answers.iter().find(|(of, _)| *of == method).map(|(_, answer)| answer.clone());
        match wrong {
            None => self.write(answer.as_bytes())?,
            Some(Answer::Close) => return Err(ErrorKind::ConnectionAborted.into()),
            Some(Answer::Late(delay)) => {
                std::thread::sleep(delay);
                self.write(answer.as_bytes())?;
            }
            Some(Answer::Trickle) => {
                for byte in answer.bytes() {
                    self.write(&[byte])?;
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
            Some(Answer::Raw(bytes)) => {
                let bytes = String::from_utf8_lossy(&bytes).replace("CSEQ", &cseq);
                self.write(bytes.as_bytes())?;
            }
            Some(Answer::Endless(bytes)) => {
                self.write(format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n").as_bytes())?;
                // As fast as a link of 1 Gb/s.
                let begun = Instant::now();
                for sent in (0u32..).step_by(bytes.len().max(1)) {
                    self.write(&bytes)?;
                    let due = begun + Duration::from_secs_f64(f64::from(sent) / 125e6);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
            }
        }
        match method {
            "TEARDOWN" => Err(ErrorKind::ConnectionAborted.into()),
            "PLAY" => {
                if let Some(way) = self.way.take() {
                    self.play(way);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        if self.is_over() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)
    }

    /// Takes the transport that is asked for, and gives the one that is answered.
    fn set_up(&mut self, asked: &str) -> std::io::Result<String> {
        let Some(ports) = asked.split(';').find_map(|part| part.strip_prefix("client_port=")) else {
            return Ok(asked.to_owned());
        };
        let to = |port: &str| SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap_or(0)));
        let (rtp, rtcp) = ports.split_once('-').unwrap_or((ports, ports));
        let pair = [to(rtp), to(rtcp)];
        let port = match &mut self.way {
            Some(Way::Udp(socket, tracks)) => {
                tracks.push(pair);
                socket.local_addr()?.port()
            }
            way => {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                let port = socket.local_addr()?.port();
                *way = Some(Way::Udp(socket, vec![pair]));
                port
            }
        };
        Ok(format!("{asked};server_port={port}-{}", port.wrapping_add(1)))
    }

    fn play(&self, way: Way) {
        let mut sender =
            Sender::new(Arc::clone(&self.writer), Arc::clone(&self.over), way, self.script.clone());
        let (over, writer) = (Arc::clone(&self.over), Arc::clone(&self.writer));
        std::thread::spawn(move || {
            // It ends with an error: the session is over, or was to be closed here.
            let _ = sender.run();
            over.store(true, Ordering::Relaxed);
            let _ = writer.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Both);
        });
    }
}

/// The description (RFC 4566, RFC 6184 8.2.1, RFC 7798 7.1), and what the script makes of it.
fn describe(script: &Script) -> String {
    let mut sdp =
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"
            .to_owned();
    sdp += "m=video 0 RTP/AVP 96\r\n";
    sdp += &rtpmap(&script.clip, script.in_sdp);
    sdp += "a=control:track0\r\n";
    if script.sound.is_some() {
        sdp += "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/1\r\na=fmtp:97 streamtype=5;mode=AAC-hbr;\
                sizelength=13;indexlength=3;indexdeltalength=3;config=1188\r\na=control:track1\r\n";
    }
    match &script.sdp {
        Some(rewrite) => rewrite(sdp),
        None => sdp,
    }
}

fn rtpmap(clip: &Clip, with_sets: bool) -> String {
    let sets: Vec<String> = clip.parameter_sets().iter().map(|set| base64(set)).collect();
    match (clip.coding, with_sets) {
        (Coding::H264, true) => format!(
            "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={}\r\n",
            sets.join(",")
        ),
        (Coding::H264, false) => "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n".into(),
        (Coding::H265, true) => format!(
            "a=rtpmap:96 H265/90000\r\na=fmtp:96 sprop-vps={};sprop-sps={};sprop-pps={}\r\n",
            sets[0], sets[1], sets[2]
        ),
        (Coding::H265, false) => "a=rtpmap:96 H265/90000\r\n".into(),
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let group =
            three.iter().enumerate().fold(0u32, |group, (i, byte)| group | u32::from(*byte) << (16 - 8 * i));
        for i in 0..4 {
            let sextet = (group >> (18 - 6 * i) & 63) as usize;
            text.push(if i <= three.len() { ALPHABET[sextet].into() } else { '=' });
        }
    }
    text
}
