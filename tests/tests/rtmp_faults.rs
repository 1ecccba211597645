//! Peers that speak RTMP badly, or not at all: only they suffer.
//!
//! In each test another encoder publishes at the same time, and its viewer sees no gap.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rml_rtmp::rml_amf0::Amf0Value;
use sightline_tests::encoder::{Encoder, Options};
use sightline_tests::flv::{AUDIO, Clip, SCRIPT, Tag, VIDEO};
use sightline_tests::peer::{COMMAND, Chunks, Peer, Replay, SET_CHUNK_SIZE, amf, text};
use sightline_tests::proxy::Proxy;
use sightline_tests::viewer::Viewer;
use sightline_tests::{judge, wait};

/// The longest time without a picture that the other stream's viewer may see.
const FREEZE: Duration = Duration::from_millis(200);

/// Resident memory that a bad peer may cost, in KiB: what the allocator keeps, and not what the peer announces.
const MEMORY_KIB: u64 = 24 * 1024;

/// A proxy with a stream that somebody else publishes and watches, and another that is to be abused.
struct Scene {
    proxy: Proxy,
    address: String,
    healthy: Viewer,
    since: Instant,
    resident_kib: u64,
    replay: Replay,
}

impl Scene {
    fn set() -> Result<Self> {
        let proxy = Proxy::configured(
            "[rtmp]\nlisten = \"127.0.0.1:0\"\n\
             [streams.good]\npublish = { key = \"k\" }\n[streams.bad]\npublish = { key = \"k\" }\n",
        )?;
        let address = proxy.push_authority("rtmp")?;
        let replay = Replay::start(&address, "good?key=k", Clip::small())?;
        let healthy = Viewer::watch(&proxy, "good")?;
        healthy.wait_fragments(25)?;
        let resident_kib = proxy.resident_kib()?;
        Ok(Self { proxy, address, healthy, since: Instant::now(), resident_kib, replay })
    }

    /// Connected, and nothing published.
    fn connected(&self) -> Result<Peer> {
        Peer::connect(&self.address)
    }

    /// Watches the stream that is to be abused.
    fn watch(&self) -> Result<Viewer> {
        Viewer::watch(&self.proxy, "bad")
    }

    /// Publishes it.
    fn publisher(&self) -> Result<Peer> {
        Peer::publish_to(&self.address, "bad?key=k")
    }

    /// The other stream saw nothing of it, and it cost no memory.
    fn assert_unharmed(&self) -> Result<()> {
        self.healthy.wait_more_fragments(25)?;
        ensure!(!self.replay.is_over(), "the other encoder was let go");
        let record = self.healthy.record();
        assert_eq!(record.end, None);
        let seen: Vec<_> = record.fragments(0).filter(|f| f.at >= self.since).collect();
        let longest = seen.windows(2).map(|w| w[1].at - w[0].at).max().context("fragments")?;
        assert!(longest <= FREEZE, "the other stream froze for {longest:?}");
        drop(record);
        assert_eq!(self.healthy.missing(), 0, "the other stream lost frames");
        let grown = self.proxy.resident_kib()?.saturating_sub(self.resident_kib);
        assert!(grown < MEMORY_KIB, "grown by {grown} KiB");
        assert!(!self.proxy.log().contains("please report"), "{}", self.proxy.log());
        Ok(())
    }

    /// So many frames of the abused stream reach its viewer, and all of them decode.
    fn assert_plays(&self, frames: usize, viewer: &Viewer) -> Result<()> {
        viewer.wait_fragments(frames).with_context(|| self.proxy.log())?;
        for (track, file) in viewer.files()? {
            assert_eq!(judge::decode(&file)?.complaints, "", "{track:?}");
        }
        Ok(())
    }

    /// Nothing may be left of a peer that was thrown out.
    fn assert_offline(&self) -> Result<()> {
        self.proxy.wait_for_state("bad", "offline").map(drop)
    }
}

/// Two seconds of picture and sound: one group of pictures.
fn two_seconds() -> Vec<Tag> {
    Clip::small().looped().take_while(|tag| tag.time_ms < 2000).collect()
}

#[test]
fn chunks_of_one_byte_are_legal_and_play() -> Result<()> {
    let scene = Scene::set()?;
    let mut peer = scene.publisher()?;
    peer.set_chunk_size(1)?;
    let viewer = scene.watch()?;
    peer.tags(two_seconds())?;
    scene.assert_plays(50, &viewer)?;
    scene.assert_unharmed()
}

#[test]
fn a_chunk_size_out_of_bounds_ends_the_connection() -> Result<()> {
    let scene = Scene::set()?;
    for size in [0, 0x7fff_ffff, 0xffff_ffff, (1 << 20) + 1] {
        let mut peer = scene.publisher()?;
        peer.send(2, SET_CHUNK_SIZE, 0, 0, &u32::to_be_bytes(size))?;
        peer.wait_for_end().with_context(|| format!("chunks of {size}"))?;
        scene.assert_offline()?;
    }
    scene.assert_unharmed()
}

#[test]
fn interleaved_chunk_streams_are_legal_and_play() -> Result<()> {
    let scene = Scene::set()?;
    let mut peer = scene.publisher()?;
    peer.set_chunk_size(100)?;
    let viewer = scene.watch()?;
    let tags = two_seconds();
    let (video, others): (Vec<Tag>, Vec<Tag>) = tags.into_iter().partition(|tag| tag.kind == VIDEO);
    let mut others = others.into_iter().peekable();
    for picture in video {
        // A picture, the sound before it and a message on a stream with a long number, chunk by chunk in turn.
        let mut streams = vec![peer.chunks().tag(&picture)];
        streams.push(peer.chunks().cut(65_535, SCRIPT, 1, picture.time_ms, &amf(&[text(&"x".repeat(500))])));
        let before = std::iter::from_fn(|| others.next_if(|tag| tag.time_ms <= picture.time_ms));
        streams.push(before.flat_map(|tag| peer.chunks().tag(&tag)).collect());
        let longest = streams.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..longest {
            let turn: Vec<u8> =
                streams.iter().filter_map(|chunks| chunks.get(at)).flatten().copied().collect();
            peer.write(&turn)?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    scene.assert_plays(50, &viewer)?;
    scene.assert_unharmed()
}

#[test]
fn messages_that_are_begun_and_never_ended_cost_no_memory() -> Result<()> {
    let scene = Scene::set()?;
    let mut peer = scene.publisher()?;
    let length = 8 * 1024 * 1024;
    // Of each message one chunk of 128 bytes, on as many chunk streams as there are.
    let begun = (64..65_599u32).flat_map(|chunk_stream| {
        let mut chunk = Chunks::header(chunk_stream, VIDEO, 1, 0, length);
        chunk.extend([0; 128]);
        chunk
    });
    let bytes: Vec<u8> = begun.collect();
    // It may be thrown out before all of it is sent.
    let _ = peer.write(&bytes);
    peer.wait_for_end()?;
    scene.assert_offline()?;
    scene.assert_unharmed()
}

#[test]
fn a_message_beyond_8_mib_ends_the_connection_before_it_is_sent() -> Result<()> {
    let scene = Scene::set()?;
    let mut peer = scene.publisher()?;
    peer.set_chunk_size(65_536)?;
    peer.write(&Chunks::header(6, VIDEO, 1, 0, 8 * 1024 * 1024 + 1))?;
    peer.write(&[0; 1000])?;
    let took = peer.wait_for_end()?;
    assert!(took < Duration::from_secs(3), "after {took:?}");
    scene.assert_offline()?;
    scene.assert_unharmed()
}

/// An AMF0 value inside arrays inside arrays.
fn nested(depth: usize) -> Vec<u8> {
    const STRICT_ARRAY: [u8; 5] = [10, 0, 0, 0, 1];
    const NULL: u8 = 5;
    let mut bytes = STRICT_ARRAY.repeat(depth);
    bytes.push(NULL);
    bytes
}

/// An AMF0 object of so many properties.
fn wide(count: usize) -> Vec<u8> {
    let mut bytes = vec![3];
    for i in 0..count {
        bytes.extend([0, 4]);
        bytes.extend(format!("{:04}", i % 10_000).as_bytes());
        bytes.extend([1, 1]);
    }
    bytes.extend([0, 0, 9]);
    bytes
}

#[test]
fn amf_bombs_end_a_connection_or_are_passed_over() -> Result<()> {
    let scene = Scene::set()?;
    for bomb in [
        nested(5000),
        nested(17),
        wide(100_000),
        vec![10, 0xff, 0xff, 0xff, 0xff],
        vec![12, 0xff, 0xff, 0xff, 0xff],
    ] {
        // As an argument of a command: at the handshake's end, and from one who publishes.
        let command = [&amf(&[text("connect"), Amf0Value::Number(1.0)])[..], &bomb].concat();
        let mut peer = Peer::dial(&scene.address)?;
        peer.shake_hands()?;
        peer.set_chunk_size(65_536)?;
        // What is too long is refused before its end.
        let _ = peer.send(3, COMMAND, 0, 0, &command);
        peer.wait_for_end().with_context(|| format!("connect with {} bytes", bomb.len()))?;
        let mut peer = scene.publisher()?;
        peer.set_chunk_size(65_536)?;
        let command = [&amf(&[text("FCPublish"), Amf0Value::Number(4.0)])[..], &bomb].concat();
        let _ = peer.send(3, COMMAND, 1, 0, &command);
        peer.wait_for_end().with_context(|| format!("a command with {} bytes", bomb.len()))?;
        scene.assert_offline()?;
    }
    // Metadata are for people: what cannot be read is passed over, and the pictures play.
    let mut peer = scene.publisher()?;
    peer.set_chunk_size(4096)?;
    let viewer = scene.watch()?;
    for data in [
        [&amf(&[text("@setDataFrame"), text("onMetaData")])[..], &nested(5000)].concat(),
        [&amf(&[text("onMetaData")])[..], &nested(5000)].concat(),
        [&amf(&[text("onMetaData")])[..], &wide(2000)].concat(),
        amf(&[text("@setDataFrame")]),
        amf(&[]),
        vec![2, 0xff],
        vec![0xff; 100],
    ] {
        peer.send(5, SCRIPT, 1, 0, &data)?;
    }
    peer.tags(two_seconds())?;
    scene.assert_plays(50, &viewer)?;
    scene.assert_unharmed()
}

#[test]
fn commands_that_are_cut_short_or_nonsense_end_the_connection() -> Result<()> {
    let scene = Scene::set()?;
    for payload in [
        vec![],
        vec![0],
        amf(&[text("connect")]),
        amf(&[Amf0Value::Number(1.0), text("connect")]),
        amf(&[text("connect"), Amf0Value::Number(1.0)])[..12].to_vec(),
        amf(&[text("publish"), Amf0Value::Number(1.0), Amf0Value::Null, text("bad?key=k")]),
    ] {
        let mut peer = Peer::dial(&scene.address)?;
        peer.shake_hands()?;
        peer.send(3, COMMAND, 0, 0, &payload)?;
        // An empty message is none; whoever says nothing after it has the time that everybody has.
        if !payload.is_empty() {
            let took = peer.wait_for_end().with_context(|| format!("{payload:?}"))?;
            assert!(took < Duration::from_secs(5), "{payload:?}: after {took:?}");
        }
    }
    for noise in [vec![0u8; 8192], vec![0xff; 8192], (0..8192u32).map(|i| ((i * i) >> 3) as u8).collect()] {
        let mut peer = scene.connected()?;
        peer.write(&noise)?;
        peer.wait_for_end()?;
        // Another protocol altogether.
        let mut peer = Peer::dial(&scene.address)?;
        peer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        peer.write(&noise)?;
        peer.wait_for_end()?;
    }
    let mut player = scene.connected()?;
    player.command(1, "play", 2.0, vec![Amf0Value::Null, text("good?key=k")])?;
    player.wait_for_end()?;
    scene.assert_unharmed()
}

#[test]
fn a_handshake_without_end_is_ended_after_5_s_and_one_who_says_nothing_after_10_s() -> Result<()> {
    let scene = Scene::set()?;
    let address = &scene.address;
    let trickle = |first: &[u8]| -> Result<Duration> {
        let mut peer = Peer::dial(address)?;
        peer.write(first)?;
        let started = Instant::now();
        while peer.write(&[7]).is_ok() {
            ensure!(started.elapsed() < Duration::from_secs(20), "still open");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(started.elapsed())
    };
    let silent = |peer: Result<Peer>| -> Result<Duration> { peer?.wait_for_end() };
    std::thread::scope(|scope| {
        let trickling = scope.spawn(|| trickle(&[3]));
        let mute = scope.spawn(|| silent(Peer::dial(address)));
        let shaken = scope.spawn(|| {
            let mut peer = Peer::dial(address)?;
            peer.shake_hands()?;
            silent(Ok(peer))
        });
        let connected = scope.spawn(|| silent(Peer::connect(address)));
        for (what, task, limit_s) in [
            ("a handshake by drops", trickling, 5.0),
            ("no handshake at all", mute, 5.0),
            ("nothing behind the handshake", shaken, 10.0),
            ("nothing behind connect", connected, 10.0),
        ] {
            let took_s = task.join().expect("does not panic").context(what)?.as_secs_f64();
            assert!((limit_s - 0.5..limit_s + 2.0).contains(&took_s), "{what}: ended after {took_s:.1} s");
        }
        anyhow::Ok(())
    })?;
    scene.assert_unharmed()
}

#[test]
fn pictures_without_a_sequence_header_are_not_shown_until_it_comes() -> Result<()> {
    let scene = Scene::set()?;
    let mut peer = scene.publisher()?;
    peer.set_chunk_size(4096)?;
    let viewer = scene.watch()?;
    let clip = Clip::small();
    let (headers, media): (Vec<Tag>, Vec<Tag>) =
        clip.tags.iter().filter(|tag| tag.kind != SCRIPT).cloned().partition(Tag::is_sequence_header);
    peer.tags(media.iter().filter(|tag| tag.time_ms < 1000).cloned())?;
    assert_ne!(scene.proxy.stream("bad")?["state"], "live");
    for header in headers {
        peer.tag(&Tag { time_ms: 1000, ..header })?;
    }
    // The next key frame stands at 2 s.
    peer.tags(media.iter().filter(|tag| (1000..3000).contains(&tag.time_ms)).cloned())?;
    scene.assert_plays(25, &viewer)?;
    assert!(viewer.record().fragments(0).next().is_some_and(|first| first.header.key_frame));
    scene.assert_unharmed()
}

#[test]
fn pictures_that_no_decoder_could_read_cost_only_their_sender() -> Result<()> {
    let scene = Scene::set()?;
    let sequence_header = |record: &[u8]| [&[0x17, 0, 0, 0, 0][..], record].concat();
    for (kind, payload) in [
        (VIDEO, vec![]),
        (VIDEO, vec![0x17]),
        (VIDEO, vec![0x17, 0, 0, 0]),
        (VIDEO, sequence_header(&[])),
        (VIDEO, sequence_header(&[1, 66, 0, 30, 255, 225, 255, 255])),
        (VIDEO, sequence_header(&[1, 66, 0, 30, 255, 225, 0, 4, 0x67, 0xff, 0xff, 0xff, 1, 0, 0])),
        (VIDEO, vec![0x80 | 0x10]),
        (VIDEO, vec![0x90, b'h', b'v', b'c']),
        (VIDEO, vec![0x12, 0, 0, 0, 0]),
        (VIDEO, [&[0x17, 1, 0, 0, 0][..], &[0xff; 64]].concat()),
        (AUDIO, vec![]),
        (AUDIO, vec![0xaf, 0]),
        (AUDIO, vec![0xaf, 0, 0xff, 0xff, 0xff]),
        (AUDIO, vec![0x9f]),
        (VIDEO, [&[0x96, 0xff][..], &[0xff; 64]].concat()),
    ] {
        let mut peer = scene.publisher()?;
        peer.send(6, kind, 1, 0, &payload)?;
        // Thrown out, or passed over: then real pictures play.
        if two_seconds().iter().all(|tag| peer.tag(tag).is_ok()) {
            drop(peer);
        }
        scene.assert_offline()?;
    }
    scene.assert_unharmed()
}

#[test]
fn times_that_jump_back_or_ahead_or_wrap_do_not_stop_the_pictures() -> Result<()> {
    let scene = Scene::set()?;
    let clip = Clip::small();
    let two_seconds = |from_ms: u32| -> Vec<Tag> {
        let media = clip.tags.iter().filter(|tag| tag.kind != SCRIPT);
        let first = media.filter(|tag| tag.time_ms < 2000);
        first.map(|tag| Tag { time_ms: from_ms.wrapping_add(tag.time_ms), ..tag.clone() }).collect()
    };
    let mut peer = scene.publisher()?;
    peer.set_chunk_size(4096)?;
    let viewer = Viewer::watch(&scene.proxy, "bad")?;
    let mut expected = 0;
    // On time, 30 s ahead, back to the start, over the end of the short times and of all times.
    for from_ms in [0, 32_000, 0, 0x00ff_ffff - 1000, u32::MAX - 1000] {
        for tag in two_seconds(from_ms) {
            peer.tag(&tag)?;
        }
        expected += 50;
        viewer
            .wait_fragments(expected - 5)
            .with_context(|| format!("from {from_ms} ms; {}", scene.proxy.log()))?;
    }
    let record = viewer.record();
    let times: Vec<_> = record.fragments(0).map(|f| (f.header.epoch, f.header.decode_time_ticks)).collect();
    assert!(times.windows(2).all(|w| w[0] < w[1]), "decode times go back: {times:?}");
    let sequences: Vec<_> = record.fragments(0).map(|f| f.header.sequence).collect();
    drop(record);
    assert!(sequences.len() >= expected - 5, "{} of {expected}", sequences.len());
    scene.assert_unharmed()
}

#[test]
fn an_encoder_that_is_killed_disturbs_no_other_stream() -> Result<()> {
    let scene = Scene::set()?;
    let mut encoder = Encoder::gstreamer(&scene.proxy.push_url("rtmp", "bad?key=k")?, &Options::default())?;
    scene.proxy.wait_for_state("bad", "live")?;
    let viewer = scene.watch()?;
    viewer.wait_fragments(25)?;
    encoder.kill()?;
    scene.assert_offline()?;
    scene.assert_unharmed()
}

#[test]
fn an_encoder_that_falls_silent_is_let_go_after_its_stall_timeout() -> Result<()> {
    let proxy = Proxy::configured(
        "[rtmp]\nlisten = \"127.0.0.1:0\"\n\
         [streams.default]\npublish = { key = \"k\" }\n\
         [streams.brief]\nstall_timeout_ms = 2000\npublish = { key = \"k\" }\n",
    )?;
    let address = proxy.push_authority("rtmp")?;
    let mut ends = vec![];
    for name in ["brief", "default"] {
        let mut peer = Peer::publish_to(&address, &format!("{name}?key=k"))?;
        peer.set_chunk_size(4096)?;
        for tag in two_seconds() {
            peer.tag(&tag)?;
        }
        proxy.wait_for_state(name, "live")?;
        ends.push(std::thread::spawn(move || peer.wait_for_end()));
    }
    for (end, limit_s) in ends.into_iter().zip([2.0, 15.0]) {
        let took_s = end.join().expect("does not panic")?.as_secs_f64();
        assert!((limit_s - 0.5..limit_s + 2.5).contains(&took_s), "let go after {took_s:.1} s of {limit_s}");
    }
    assert_eq!(proxy.stream("default")?["error"]["code"], "stalled");
    Ok(())
}

#[test]
fn hundreds_of_connections_that_publish_nothing_do_not_keep_an_encoder_out() -> Result<()> {
    let scene = Scene::set()?;
    let idle: Vec<Peer> = (0..200).map(|_| Peer::dial(&scene.address)).collect::<Result<_>>()?;
    let _encoder = Replay::start(&scene.address, "bad?key=k", Clip::small())?;
    scene.assert_plays(25, &scene.watch()?)?;
    // And they are gone in a while.
    wait::until("the idle connections to be closed", || {
        let sockets = scene.proxy.holdings().ok()?.sockets;
        (sockets < 40).then_some(())
    })?;
    drop(idle);
    scene.assert_unharmed()
}
