//! Ways to an RTSP camera: UDP with all that a network does to it, TLS, redirects, passwords, addresses.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use sightline_tests::camera::{Camera, Options};
use sightline_tests::lossy::{Fate, H264Packet, Network};
use sightline_tests::proxy::Proxy;
use sightline_tests::relay::{Certificate, Tunnel};
use sightline_tests::viewer::Viewer;
use sightline_tests::{judge, wait};
use sightline_wire::ServerMessage;

/// A proxy that fetches `source` as `cam`.
fn fetching(source: &str, more: &str) -> Result<Proxy> {
    Proxy::configured(&format!("[streams.cam]\nsource = \"{source}\"\n{more}\n"))
}

/// Pictures come, by this transport, and decode without a complaint.
fn assert_plays(proxy: &Proxy, transport: &str, frames: usize) -> Result<()> {
    let told = proxy.wait_for_state("cam", "live")?;
    assert_eq!(told["transport"], transport, "{told}");
    let viewer = Viewer::watch(proxy, "cam")?;
    viewer.wait_fragments(frames)?;
    assert_decodes(&viewer, "cam")
}

fn assert_decodes(viewer: &Viewer, what: &str) -> Result<()> {
    let record = viewer.record();
    let (epoch, ..) = record.tracks().context("no tracks")?;
    let verdict = judge::decode(&record.file(0, epoch))?;
    assert_eq!(verdict.complaints, "", "{what}");
    assert_eq!(verdict.frames, record.fragments(0).count() as u64, "{what}");
    Ok(())
}

/// The camera's error as the API tells it, once it has this code.
fn wait_for_error(proxy: &Proxy, code: &str) -> Result<String> {
    let reason = wait::until(code, || {
        let told = proxy.stream("cam").ok()?;
        let reason = told["error"]["reason"].as_str()?.to_owned();
        (told["error"]["code"] == code).then_some(reason)
    });
    reason.with_context(|| format!("the log:\n{}", proxy.log()))
}

/// Pictures from key frame to key frame, where packets are lost.
const GOP: u64 = 10;

/// Numbers the access units of a stream of packets, from 1 on.
#[derive(Default)]
struct Units {
    unit: u64,
    first_key_frame: Option<u64>,
    ended: bool,
}

impl Units {
    fn packet(&mut self, packet: &[u8]) -> Option<H264Packet> {
        let packet = H264Packet::read(packet).ok()?;
        self.unit += u64::from(self.ended || self.unit == 0);
        self.ended = packet.marker;
        if packet.key {
            self.first_key_frame.get_or_insert(self.unit);
        }
        Some(packet)
    }

    /// The number of the key frame that this unit is: its first packet, a delimiter, does not say.
    fn key_frame(&self) -> Option<u64> {
        let since = self.unit - self.first_key_frame?;
        since.is_multiple_of(GOP).then_some(since / GOP)
    }
}

#[test]
fn nothing_that_a_network_does_to_packets_smears_a_picture() -> Result<()> {
    // Several slices, so that what is left of a picture still looks like one.
    let camera = Camera::start(Options { gop: GOP as u32, slices: 4, kbps: 800, ..Options::default() })?;

    let mut state = 7_u64;
    let random = Network::before(camera.port(), move |_| {
        // Numerical Recipes' generator: the same fates in every run.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) % (1 << 32);
        match state >> 22 {
            0..20 => Fate::Drop,
            20..25 => Fate::Late,
            25..35 => Fate::Twice,
            _ => Fate::Pass,
        }
    })?;
    let (mut units, mut begun_in) = (Units::default(), 0);
    let first_slices = Network::before(camera.port(), move |packet| {
        let Some(packet) = units.packet(packet) else { return Fate::Pass };
        if packet.begins_later_slice {
            begun_in = units.unit;
        }
        let begun = begun_in == units.unit;
        let odd = units.key_frame().is_some_and(|number| number % 2 == 1);
        if odd && !begun { Fate::Drop } else { Fate::Pass }
    })?;
    let mut units = Units::default();
    let ends = Network::before(camera.port(), move |packet| {
        let packet = units.packet(packet);
        // The last one before a key frame too.
        let hit = units.unit.is_multiple_of(7) || units.unit.is_multiple_of(20);
        if packet.is_some_and(|packet| packet.marker) && hit { Fate::Drop } else { Fate::Pass }
    })?;
    let mut units = Units::default();
    let whole = Network::before(camera.port(), move |packet| {
        units.packet(packet);
        if units.unit.is_multiple_of(33) { Fate::Drop } else { Fate::Pass }
    })?;

    let networks = [("random", &random), ("first", &first_slices), ("ends", &ends), ("whole", &whole)];
    let cameras = networks.map(|(name, network)| format!("{name}=rtsp://127.0.0.1:{}/cam", network.port()));
    let proxy = Proxy::start(cameras.iter().map(String::as_str).chain(["--transport", "udp"]))?;
    let viewers: Vec<_> =
        networks.iter().map(|(name, _)| Viewer::watch(&proxy, name)).collect::<Result<_>>()?;
    for ((name, network), viewer) in networks.iter().zip(&viewers) {
        viewer.wait_fragments(50)?;
        assert_decodes(viewer, name)?;
        let told = proxy.stream(name)?;
        assert_eq!(told["transport"], "udp", "{told}");
        assert_eq!(told["failures_total"], 0, "{told}");
        let lost = told["packets_lost_total"].as_u64().context("a count")?;
        assert!(network.dropped() > 0 && lost > 0, "{name}: {lost} of {}", network.dropped());
        assert!(told["frames_discarded_total"].as_u64() > Some(0), "{told}");
        assert!(!told.to_string().contains("picture_in_parts"), "a loss is no way to mark pictures: {told}");
        let metric = proxy.metric("sightline_packets_lost_total", &[("stream", name)])?;
        assert!(metric >= Some(lost as f64), "{metric:?}");
        let record = viewer.record();
        // Beyond the first one, which says that the camera is being asked.
        let texts =
            record.texts.iter().skip_while(|(_, _, text)| !matches!(text, ServerMessage::Online { .. }));
        let ends = texts.filter(|(_, _, text)| matches!(text, ServerMessage::Offline { .. })).count();
        assert_eq!(ends, 0, "{name}: a loss is no end of the session");
    }
    Ok(())
}

#[test]
fn where_nothing_comes_by_udp_packets_come_in_the_connection_and_that_is_remembered() -> Result<()> {
    // With one session at a time the first one has to be ended before there is another.
    let mut camera = Camera::start(Options { max_sessions: 1, ..Options::default() })?;
    let network = Network::before(camera.port(), |_| Fate::Pass)?;
    network.silence(true);
    let proxy = fetching(&format!("rtsp://127.0.0.1:{}/cam", network.port()), "transport = \"udp\"")?;
    assert_plays(&proxy, "tcp", 25)?;
    assert_eq!(network.udp_setups(), 1);
    assert_eq!(proxy.stream("cam")?["failures_total"], 0, "{}", proxy.log());
    assert!(proxy.log().contains("nothing came within"), "{}", proxy.log());

    let viewer = Viewer::watch(&proxy, "cam")?;
    viewer.wait_fragments(1)?;
    camera.kill()?;
    proxy.wait_for_state("cam", "offline")?;
    let count = viewer.record().fragments(0).count();
    camera.restart()?;
    let back = Instant::now();
    viewer.wait_fragments(count + 1)?;
    assert!(back.elapsed() < Duration::from_secs(4), "after {:?}", back.elapsed());
    assert_eq!(network.udp_setups(), 1, "UDP is not tried again so soon");
    Ok(())
}

#[test]
fn a_camera_that_refuses_a_transport_is_asked_for_the_other_one() -> Result<()> {
    let udp_only = Camera::start(Options { transport: Some("udp"), ..Options::default() })?;
    let proxy = fetching(&udp_only.url(), "")?;
    assert_plays(&proxy, "udp", 50)?;
    let proxy = fetching(&udp_only.url(), "transport = \"tcp\"")?;
    let reason = wait_for_error(&proxy, "connect_failed")?;
    assert!(reason.contains("TCP") && reason.contains("461"), "{reason}");

    let tcp_only = Camera::start(Options { transport: Some("tcp"), ..Options::default() })?;
    let proxy = fetching(&tcp_only.url(), "transport = \"udp\"")?;
    assert_plays(&proxy, "tcp", 25)
}

#[test]
fn a_session_over_udp_is_kept_alive() -> Result<()> {
    let camera = Camera::start(Options { session_timeout_s: 2, ..Options::default() })?;
    let proxy = fetching(&camera.url(), "transport = \"udp\"")?;
    assert_plays(&proxy, "udp", 25 * 6)?;
    let told = proxy.stream("cam")?;
    assert_eq!((&told["state"], &told["failures_total"]), (&"live".into(), &0.into()), "{told}");
    Ok(())
}

#[test]
fn rtsps_is_spoken_to_a_camera_whose_certificate_is_trusted_and_to_no_other() -> Result<()> {
    let certificate = Certificate::make()?;
    let tls = Some((certificate.certificate(), certificate.key()));
    let user = Some(("keeper".to_owned(), "geheim".to_owned()));
    let trust = format!("trust = {:?}", certificate.certificate());
    for auth in ["digest", "basic"] {
        let options = Options { tls: tls.clone(), user: user.clone(), auth, ..Options::default() };
        let camera = Camera::start(options)?;
        let proxy = fetching(&camera.url_for("keeper", "geheim"), &trust)?;
        assert_plays(&proxy, "tls", 50)?;

        let proxy = fetching(&camera.url_for("keeper", "falsch"), &trust)?;
        wait_for_error(&proxy, "unauthorized")?;
        let stranger = Certificate::make()?;
        let strange = format!("trust = {:?}", stranger.certificate());
        for more in ["", &strange] {
            let proxy = fetching(&camera.url_for("keeper", "geheim"), more)?;
            let reason = wait_for_error(&proxy, "connect_failed")?;
            assert!(reason.contains("certificate") && reason.contains("trust ="), "{reason}");
            assert!(!reason.contains("geheim"), "{reason}");
        }
    }
    Ok(())
}

#[test]
fn rtsps_is_spoken_to_what_stands_in_front_of_a_camera() -> Result<()> {
    let mut camera = Camera::start(Options { audio: true, ..Options::default() })?;
    let certificate = Certificate::make()?;
    let tunnel = Tunnel::before(camera.port(), &certificate)?;
    let url = format!("rtsps://127.0.0.1:{}/cam", tunnel.port());
    let proxy = fetching(&url, &format!("trust = {:?}", certificate.certificate()))?;
    assert_plays(&proxy, "tls", 50).with_context(|| tunnel.log())?;

    // What ends behind the bridge ends in front of it, and comes back.
    let viewer = Viewer::watch(&proxy, "cam")?;
    viewer.wait_fragments(1)?;
    camera.kill()?;
    proxy.wait_for_state("cam", "offline")?;
    let count = viewer.record().fragments(0).count();
    camera.restart()?;
    viewer.wait_fragments(count + 25)?;
    Ok(())
}

#[test]
fn passwords_and_addresses_of_all_kinds_lead_to_a_camera() -> Result<()> {
    let user = Some(("kee per".to_owned(), "p@ss:w/rd#1?%&ü".to_owned()));
    let (name, password) = ("kee%20per", "p%40ss%3Aw%2Frd%231%3F%25&%C3%BC");
    for (auth, address) in [("basic", "127.0.0.1"), ("digest", "::1")] {
        let camera = Camera::start(Options { user: user.clone(), auth, address, ..Options::default() })?;
        let url = camera.url_for(name, password) + "?channel=1&subtype=0";
        assert_plays(&fetching(&url, "")?, "tcp", 25)?;
        assert_plays(&fetching(&url, "transport = \"udp\"")?, "udp", 25)?;
        let proxy = fetching(&camera.url_for(name, "falsch"), "")?;
        let reason = wait_for_error(&proxy, "unauthorized")?;
        assert!(!reason.contains("falsch"), "{reason}");
    }
    Ok(())
}

/// A server that gives to each request what the script says, and notes what it was asked.
struct Scripted {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// `script` gets each request, and gives the status line, header lines and body behind the `CSeq`.
    fn start(script: impl Fn(&str, u16) -> String + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, script) = (asked.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (noted, script) = (noted.clone(), script.clone());
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(&socket).lines();
                    let mut request = String::new();
                    while let Some(Ok(line)) = lines.next() {
                        request += &line;
                        request.push('\n');
                        if !line.is_empty() {
                            continue;
                        }
                        let cseq = request.lines().find(|line| line.starts_with("CSeq")).unwrap_or("CSeq: 0");
                        let answer = script(&request, port);
                        let (status, rest) = answer.split_once("\r\n").unwrap_or((&answer, "\r\n"));
                        let _ = write!(&mut &socket, "RTSP/1.0 {status}\r\n{cseq}\r\n{rest}");
                        noted.lock().expect("no test panics here").push(std::mem::take(&mut request));
                    }
                });
            }
        });
        Ok(Self { port, asked })
    }

    fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/old", self.port)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no test panics here").clone()
    }
}

/// An answer to DESCRIBE that offers this.
fn offering(media: &str) -> String {
    let sdp = format!("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\n{media}");
    format!("200 OK\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())
}

const MJPEG: &str = "m=video 0 RTP/AVP 26\r\na=control:track1\r\n";
const H264: &str = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n";

#[test]
fn a_redirect_is_followed_a_circle_is_not_and_the_password_stays_at_home() -> Result<()> {
    let user = Some(("keeper".to_owned(), "geheim".to_owned()));
    let camera = Camera::start(Options { user, ..Options::default() })?;
    let target = camera.url();
    let moved = Scripted::start(move |_, _| format!("302 Moved Temporarily\r\nLocation: {target}\r\n\r\n"))?;
    let at = moved.url().replace("rtsp://", "rtsp://keeper:geheim@");
    assert_plays(&fetching(&at, "")?, "tcp", 25)?;

    // The same server by another name is another host.
    let elsewhere = moved.url().replace("127.0.0.1", "keeper:geheim@localhost");
    wait_for_error(&fetching(&elsewhere, "")?, "unauthorized")?;

    let circle =
        Scripted::start(|_, port| format!("301 Moved\r\nLocation: rtsp://127.0.0.1:{port}/x\r\n\r\n"))?;
    let reason = wait_for_error(&fetching(&circle.url(), "")?, "connect_failed")?;
    assert!(reason.contains("more than 3 times"), "{reason}");
    for location in ["rtsp://169.254.169.254/latest", "http://127.0.0.1/", "rtsp://[fe80::1]/x"] {
        let bad = Scripted::start(move |_, _| format!("302 Moved\r\nLocation: {location}\r\n\r\n"))?;
        let reason = wait_for_error(&fetching(&bad.url(), "")?, "connect_failed")?;
        assert!(reason.contains("where no camera is asked"), "{location}: {reason}");
    }
    let nowhere = Scripted::start(|_, _| "302 Moved\r\n\r\n".to_owned())?;
    let reason = wait_for_error(&fetching(&nowhere.url(), "")?, "connect_failed")?;
    assert!(reason.contains("302"), "{reason}");
    Ok(())
}

#[test]
fn a_challenge_that_has_expired_is_answered_anew_and_a_refused_password_is_sent_once() -> Result<()> {
    let challenge = |nonce: &str| {
        format!("401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"cam\", nonce=\"{nonce}\"\r\n\r\n")
    };
    let once = Scripted::start(move |request, _| match request.split(' ').next() {
        Some("DESCRIBE") if request.contains("nonce=\"n1\"") => offering(H264),
        Some("DESCRIBE") => challenge("n1"),
        Some("SETUP") if request.contains("nonce=\"n2\"") => "503 Busy\r\n\r\n".to_owned(),
        _ => challenge("n2"),
    })?;
    let _proxy = fetching(&once.url().replace("rtsp://", "rtsp://keeper:geheim@"), "")?;
    wait::until("a request that is signed anew", || {
        once.asked()
            .iter()
            .any(|request| request.starts_with("SETUP") && request.contains("\"n2\""))
            .then_some(())
    })?;

    let refusing = Scripted::start(move |_, _| challenge("n1"))?;
    let proxy = fetching(&refusing.url().replace("rtsp://", "rtsp://keeper:falsch@"), "")?;
    wait_for_error(&proxy, "unauthorized")?;
    let signed = refusing.asked().iter().filter(|request| request.contains("Authorization")).count();
    assert_eq!(signed, 1);
    Ok(())
}

#[test]
fn a_camera_that_sends_mjpeg_is_named_as_that() -> Result<()> {
    let camera = Scripted::start(|_, _| offering(MJPEG))?;
    let reason = wait_for_error(&fetching(&camera.url(), "")?, "unsupported")?;
    assert!(reason.contains("MJPEG") && reason.contains("H.264"), "{reason}");
    Ok(())
}

#[test]
fn a_description_that_the_parser_panics_on_costs_its_camera_alone() -> Result<()> {
    // sdp-types 0.1.8 takes a name in the wrong place for its own mistake.
    let sdp = "v=0\r\no.0\r\ns=Session\r\nc=IN IP4 0.0.0.0\r\nt=- 1 1 IN IP4 0.0.0.0\r\ns=Session\r\n\
               c=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\nm=audio 0 RTP/AVP 99\r\n\
               a=rtpmap:99 mpeg4-generic/0/0\r\n";
    let bad = Scripted::start(move |_, _| {
        format!("200 OK\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())
    })?;
    let good = Camera::start(Options::default())?;
    let proxy = Proxy::start([format!("cam={}", bad.url()), format!("good={}", good.url())])?;
    let viewer = Viewer::watch(&proxy, "good")?;
    let reason = wait_for_error(&proxy, "connect_failed")?;
    assert!(reason.contains(&bad.url()) && reason.contains("SDP"), "{reason}");
    viewer.wait_more_fragments(25)?;
    Ok(())
}

/// What `sightline probe --json` says, and its exit code.
fn probe(arguments: &[&str]) -> Result<(Value, Option<i32>)> {
    let finished =
        sightline_tests::proxy::run(["probe", "--json", "--seconds", "3"].iter().chain(arguments))?;
    // Nothing but the object may be there: programs read it.
    let told = serde_json::from_str(&finished.standard_output).with_context(|| finished.output.clone())?;
    assert!(!finished.output.contains("geheim"), "{}", finished.output);
    Ok((told, finished.code))
}

#[test]
fn probe_tells_programs_all_there_is_to_know() -> Result<()> {
    let certificate = Certificate::make()?;
    let options = Options {
        gop: 25,
        audio: true,
        tls: Some((certificate.certificate(), certificate.key())),
        user: Some(("keeper".to_owned(), "geheim".to_owned())),
        ..Options::default()
    };
    let camera = Camera::start(options)?;
    let url = camera.url_for("keeper", "geheim");
    let trust = certificate.certificate().display().to_string();
    let (told, code) = probe(&["--trust", &trust, &url])?;
    assert_eq!(code, Some(0), "{told}");
    assert_eq!((&told["transport"], &told["error"]), (&"tls".into(), &Value::Null), "{told}");
    assert_eq!(told["tracks"][0]["width"], 640, "{told}");
    assert_eq!(told["tracks"][0]["sample_aspect"], serde_json::json!([1, 1]), "{told}");
    assert_eq!(
        (&told["offers"][0]["encoding"], &told["offers"][0]["played"]),
        (&"h264".into(), &true.into())
    );
    assert_eq!((&told["key_frame_kind"], &told["b_frames"]), (&"idr".into(), &false.into()), "{told}");
    assert!((900..1100).contains(&told["key_frame_interval_ms"].as_u64().unwrap_or(0)), "{told}");
    assert!(told["frames_per_second"].as_f64() > Some(20.0), "{told}");
    for key in ["connected_ms", "first_frame_ms", "first_key_frame_ms", "bits_per_second", "packets_lost"] {
        assert!(told[key].is_u64(), "{key}: {told}");
    }

    let (told, code) = probe(&["--trust", &trust, &camera.url_for("keeper", "geheim-2")])?;
    assert_eq!((&told["error"]["code"], code), (&"unauthorized".into(), Some(1)), "{told}");
    let camera = Scripted::start(|_, _| offering(MJPEG))?;
    let (told, code) = probe(&[&camera.url()])?;
    assert_eq!((&told["error"]["code"], code), (&"unsupported".into(), Some(1)), "{told}");
    Ok(())
}
