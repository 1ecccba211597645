//! What each fuzz target does with its bytes: the parsers of what a peer sends must not panic, and what they give and
//! hold must be bounded by what they were given. `proxy/tests/fuzz_corpus.rs` does the same with the seeds in every
//! test run. Each gives how many messages, values, frames or tags it saw, so that a seed can be seen to do its work.

use bytes::Bytes;
use sightline::{
    ingest::{
        rtmp::{
            amf::{self, Value},
            chunk::{ChunkReader, MAX_CHUNK_STREAMS, MAX_MESSAGE_LEN, MAX_UNFINISHED_LEN, Message},
            flv::{Demuxer, Kind, Output},
            session::{Event, Phase, Session},
        },
        rtsp::{
            depacketise::{MAX_PICTURE_LEN, Packet, aac as rtp_aac, fmtp::Format, video},
            exchange::Exchange,
        },
    },
    media::{Coding, Track, aac, h264, h265, nal, pcm, pictures::Pictures, sound::Sound},
    mux::init,
};

/// The longest header of a chunk: 3 bytes, 11, and an extended timestamp.
const LONGEST_HEADER: usize = 18;

/// Any moment will do.
const RECEIVED_UNIX_US: i64 = 1_700_000_000_000_000;

/// `ChunkReader`, and that what it reads does not depend on how the bytes come in.
///
/// Byte 0: in its lower half how many bytes follow that say how long reads are; bit 7 is set for a stranger's reader.
pub fn chunk(data: &[u8]) -> usize {
    let Some((first, rest)) = data.split_first() else { return 0 };
    let reader = || if first & 0x80 == 0 { ChunkReader::default() } else { ChunkReader::of_stranger() };
    let (cuts, bytes) = rest.split_at(rest.len().min((first & 15).into()));
    let parts = read_chunks(reader(), bytes, cuts);
    let whole = read_chunks(reader(), bytes, &[]);
    assert_eq!(parts, whole, "it matters how the bytes come in");
    whole.0.len()
}

/// All messages, and the error in words if there is one.
fn read_chunks(mut reader: ChunkReader, bytes: &[u8], cuts: &[u8]) -> (Vec<Message>, Option<String>) {
    let mut messages = vec![];
    let mut error = None;
    let mut payload_len = 0;
    for_each_read(bytes, cuts, |pending| match reader.read(pending) {
        Ok((used, message)) => {
            assert!(used <= pending.len());
            assert!(message.is_some() || pending.len() - used < LONGEST_HEADER, "more than a header is left");
            let whole = message.is_some();
            if let Some(message) = message {
                payload_len += message.payload.len();
                assert!(message.payload.len() <= MAX_MESSAGE_LEN);
                messages.push(message);
            }
            let held = reader.unfinished_len();
            assert!(held <= MAX_UNFINISHED_LEN.min(2 * bytes.len() + MAX_CHUNK_STREAMS * (64 << 10)));
            Some((used, whole))
        }
        Err(e) => {
            assert_eq!(reader.read(&[]), Err(e.clone()), "an error stays");
            assert!(e.position <= bytes.len() as u64, "{e}");
            error = Some(e.to_string());
            None
        }
    });
    assert!(payload_len <= bytes.len());
    (messages, error)
}

/// Gives `bytes` to `read` as a socket's owner does: part by part, with what was not used in front, and again after
/// every message. `read` says how much it used and whether that was a message, or nothing when it is not to go on.
///
/// Each of `cuts` is the length of a part, over and over: up to 200 as it is, above that in steps of 512 bytes.
fn for_each_read(bytes: &[u8], cuts: &[u8], mut read: impl FnMut(&[u8]) -> Option<(usize, bool)>) {
    let mut cuts = cuts.iter().cycle();
    let (mut used, mut end) = (0, 0);
    while end < bytes.len() {
        let part = match cuts.next() {
            None => bytes.len(),
            Some(len @ 0..=200) => usize::from(*len).max(1),
            Some(len) => usize::from(len - 200) * 512,
        };
        end = bytes.len().min(end + part);
        loop {
            let Some((more, again)) = read(&bytes[used..end]) else { return };
            used += more;
            if !again {
                break;
            }
        }
    }
}

/// `amf::read`.
pub fn amf(data: &[u8]) -> usize {
    let Ok(values) = amf::read(data) else { return 0 };
    let values_count = values.iter().map(count).sum();
    assert!(values_count <= amf::MAX_VALUES);
    assert!(values.iter().all(|value| depth(value) <= amf::MAX_DEPTH));
    // A byte that is not UTF-8 becomes three.
    assert!(values.iter().map(text_len).sum::<usize>() <= 3 * data.len());
    values_count
}

fn inside(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(properties) => properties.iter().map(|(_, value)| value).collect(),
        Value::Array(elements) => elements.iter().collect(),
        _ => vec![],
    }
}

fn count(value: &Value) -> usize {
    1 + inside(value).into_iter().map(count).sum::<usize>()
}

/// How many objects and arrays lie in each other.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(_) | Value::Array(_) => 1 + inside(value).into_iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn text_len(value: &Value) -> usize {
    let own = match value {
        Value::Text(text) => text.len(),
        Value::Object(properties) => properties.iter().map(|(name, _)| name.len()).sum(),
        _ => 0,
    };
    own + inside(value).into_iter().map(text_len).sum::<usize>()
}

/// `Demuxer`. Each tag: a byte that is even for sound, its time in 4, its length in 2, its bytes.
pub fn flv(data: &[u8]) -> usize {
    let mut tags = Tags::default();
    let mut rest = data;
    while let Some((head, after)) = rest.split_first_chunk::<7>() {
        let [kind, t0, t1, t2, t3, l0, l1] = *head;
        let len = usize::from(u16::from_be_bytes([l0, l1])).min(after.len());
        let (payload, after) = after.split_at(len);
        rest = after;
        let kind = if kind & 1 == 0 { Kind::Audio } else { Kind::Video };
        if !tags.take(kind, u32::from_be_bytes([t0, t1, t2, t3]), Bytes::copy_from_slice(payload)) {
            break;
        }
    }
    tags.frames
}

/// A publisher's tags, and what came of them.
#[derive(Default)]
struct Tags {
    demuxer: Demuxer,
    taken: usize,
    taken_len: usize,
    frames: usize,
    frames_len: usize,
}

impl Tags {
    /// Whether the tag is not refused.
    fn take(&mut self, kind: Kind, timestamp_ms: u32, payload: Bytes) -> bool {
        self.taken += 1;
        self.taken_len += payload.len();
        let mut outputs = vec![];
        let taken = self.demuxer.tag(kind, timestamp_ms, RECEIVED_UNIX_US, payload, &mut outputs).is_ok();
        for output in &outputs {
            match output {
                Output::Tracks(tracks) => assert!(tracks.len() <= 2, "{tracks:?}"),
                Output::Frame(frame) => {
                    self.frames += 1;
                    self.frames_len += frame.data.len();
                }
                Output::Warning(_, sentence) => assert!(sentence.len() < 1024, "{sentence}"),
            }
        }
        // A NAL unit's length may take more bytes here than it did there.
        assert!(self.frames_len <= 4 * self.taken_len, "{} bytes out of {}", self.frames_len, self.taken_len);
        taken
    }
}

/// `Session` as an encoder sees it, and `Demuxer` behind it.
///
/// Byte 0 as in [`chunk`], but bit 6 refuses what is asked for, and bit 7 is set when the bytes begin with the handshake
/// itself; otherwise it is done already.
pub fn session(data: &[u8]) -> usize {
    let Some((first, rest)) = data.split_first() else { return 0 };
    let (cuts, bytes) = rest.split_at(rest.len().min((first & 15).into()));
    let mut session = Session::default();
    let mut tags = Tags::default();
    if first & 0x80 == 0 {
        // C0, C1 and C2 of the plain handshake.
        let mut hello = vec![0; 1 + 1536 + 1536];
        hello[0] = 3;
        for_each_read(&hello, &[], |pending| session.read(pending).ok().map(|(used, _)| (used, used > 0)));
        assert_eq!(session.phase(), Phase::Idle, "the handshake is done");
        session.outgoing().clear();
    }
    for_each_read(bytes, cuts, |pending| {
        let (used, event) = session.read(pending).ok()?;
        assert!(used <= pending.len());
        let again = event.is_some();
        match event {
            Some(Event::Publish(_)) if first & 0x40 == 0 => session.accept().ok()?,
            Some(Event::Publish(_)) => session.refuse("not you").ok()?,
            Some(Event::Tag(kind, timestamp_ms, payload)) => {
                // As the server does: a tag that is refused ends the session.
                tags.take(kind, timestamp_ms, payload).then_some(())?;
            }
            Some(Event::Metadata(_) | Event::Unpublish) | None => {}
        }
        // Its longest answer, to a `connect` of a hundred bytes, has less than 2 KiB.
        let answers_len = session.outgoing().len();
        assert!(answers_len <= 8192 + 32 * pending.len(), "{answers_len} bytes for {}", pending.len());
        session.outgoing().clear();
        Some((used, again))
    });
    tags.taken
}

/// `Exchange`: what a camera answers on its way to retina, and that it does not depend on how the bytes come in.
///
/// Byte 0 as in [`chunk`], but bit 7 is set where there is no password.
pub fn rtsp(data: &[u8]) -> usize {
    let Some((first, rest)) = data.split_first() else { return 0 };
    let (cuts, bytes) = rest.split_at(rest.len().min((first & 15).into()));
    let credentials = (first & 0x80 == 0).then(|| ("keeper".to_owned(), "p@ss:word".to_owned()));
    let exchange = || {
        let (local, remote) = ("rtsp://127.0.0.1:40001".to_owned(), "rtsps://camera".to_owned());
        Exchange::new(local, remote, "us secret".into(), "us", credentials.clone())
    };
    // As retina would be answered, had it said this.
    let _ = exchange().is_ours(bytes);
    let _ = exchange().requests(bytes, &mut vec![]);
    let parts = read_answers(exchange(), bytes, cuts);
    let whole = read_answers(exchange(), bytes, &[]);
    assert_eq!(parts, whole, "it matters how the bytes come in");
    whole.1
}

/// What retina gets, how many requests the camera gets again, whether it all made sense, and where it sends us.
fn read_answers(mut exchange: Exchange, bytes: &[u8], cuts: &[u8]) -> (Vec<u8>, usize, bool, Option<String>) {
    let (mut to_retina, mut again, mut sense) = (vec![], vec![], true);
    for cseq in 1..=3 {
        let request = format!("DESCRIBE rtsp://127.0.0.1:40001/live RTSP/1.0\r\nCSeq: {cseq}\r\n\r\n");
        let used = exchange.requests(request.as_bytes(), &mut vec![]);
        assert_eq!(used, Ok(request.len()));
    }
    for_each_read(bytes, cuts, |pending| {
        let used = exchange.answers(pending, &mut to_retina, &mut again).ok();
        sense = used.is_some();
        assert!(used.is_none_or(|used| used <= pending.len()));
        Some((used?, false))
    });
    // A byte that is no text becomes three.
    assert!(to_retina.len() <= 3 * bytes.len() + 64, "{} bytes out of {}", to_retina.len(), bytes.len());
    let requests = again.windows(9).filter(|nine| nine == b"DESCRIBE ").count();
    // Three requests, each at most twice.
    assert!(requests <= 6 && !again.windows(9).any(|nine| nine == b"127.0.0.1"));
    (to_retina, requests, sense, exchange.location().map(str::to_owned))
}

/// What retina makes of a description: a camera on loopback answers with these bytes.
///
/// Not among the targets of `make fuzz`: sdp-types 0.1.8 panics on some lines out of order, which any run finds in seconds. It
/// costs the camera that sends it a pause (`ingest::Job::run`), and nobody else anything.
pub fn sdp(data: &[u8]) -> usize {
    use std::sync::OnceLock;

    use retina::client::SessionOptions;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
    });
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("rtsp://{}/live", listener.local_addr().expect("an address"));
        let camera = async {
            let (mut socket, _) = listener.accept().await.expect("retina connects");
            let _ = socket.read(&mut [0; 4096]).await;
            let head = format!(
                "RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n",
                data.len()
            );
            let _ = socket.write_all(&[head.as_bytes(), data].concat()).await;
            // Until retina has gone.
            let _ = socket.read(&mut [0; 64]).await;
        };
        let asking = async {
            let url = url.parse().expect("a URL");
            let options = SessionOptions::default();
            let session = retina::client::Session::describe(url, options).await;
            session.map_or(0, |session| {
                let streams = session.streams();
                streams.iter().filter(|stream| stream.parameters().is_some()).count()
            })
        };
        tokio::join!(camera, asking).1
    })
}

/// The coding that a first byte stands for.
fn coding(first: u8) -> Coding {
    if first & 1 == 0 { Coding::H264 } else { Coding::H265 }
}

/// Parameter sets: the readers of each, the repair of an SPS, and a whole configuration made of them.
///
/// Byte 0 is even for H.264. Then NAL units, each behind 2 bytes of length. Gives how many were understood.
pub fn sps(data: &[u8]) -> usize {
    let Some((first, rest)) = data.split_first() else { return 0 };
    let nals = sized(rest);
    let mut understood = 0;
    for nal in &nals {
        if coding(*first) == Coding::H265 {
            understood += usize::from(h265::parse_sps(nal).is_some() || h265::slice::pps(nal).is_some());
            continue;
        }
        let read = h264::sps::read(nal);
        understood += usize::from(read.is_some() || h264::slice::pps_id(nal).is_some());
        if let Some(repaired) = h264::sps::repaired(nal) {
            let again = h264::sps::read(&repaired).expect("what was repaired can be read");
            assert_eq!(again.max_num_reorder_frames, Some(0));
            assert_eq!(
                read.map(|sps| (sps.order_count, sps.frame_num_bits)),
                Some((again.order_count, again.frame_num_bits))
            );
            assert_eq!(h264::sps::repaired(&repaired), None, "once is enough");
            assert!(repaired.len() <= nal.len() * 3 / 2 + 32);
        }
    }
    if let Some(track) = configured(&mut Pictures::new(coding(*first)), &nals) {
        assert!(track.decoder_config.len() <= data.len() * 3 / 2 + 4096);
    }
    understood
}

/// NAL units, each behind 2 bytes of length; the last may be cut short.
fn sized(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut nals = vec![];
    while let Some((len, behind)) = rest.split_first_chunk::<2>() {
        let (nal, behind) = behind.split_at(behind.len().min(u16::from_be_bytes(*len).into()));
        nals.push(nal);
        rest = behind;
    }
    nals
}

/// Has the parameter sets among these configure a track, as retina gives them: one of each.
fn configured(pictures: &mut Pictures, nals: &[&[u8]]) -> Option<Track> {
    let of = |kind: u8| {
        let is = |nal: &&&[u8]| nal.first().is_some_and(|first| kind_of(*first, pictures.coding()) == kind);
        let nal = nals.iter().find(is)?;
        Some([&(nal.len() as u16).to_be_bytes(), *nal].concat())
    };
    let record = if pictures.coding() == Coding::H265 {
        let mut record =
            vec![1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 63, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 15, 3];
        for kind in [32, 33, 34] {
            record.extend([kind, 0, 1]);
            record.extend(of(kind)?);
        }
        record
    } else {
        let sps = of(7)?;
        let head = [1, *sps.get(3)?, *sps.get(4)?, *sps.get(5)?, 0xff, 0xe1];
        [&head[..], &sps, &[1], &of(8)?].concat()
    };
    pictures.configure(&record).ok()
}

fn kind_of(first: u8, coding: Coding) -> u8 {
    if coding == Coding::H265 { first >> 1 & 63 } else { first & 31 }
}

/// `Pictures`: access units through the reading of slices to decode times.
///
/// Byte 0 is even for H.264. Each access unit: how much later than the one before it is shown, in ticks, in 4 bytes with a
/// sign; its length in 2; NAL units as in [`sps`]. Gives how many pictures came out.
pub fn nal(data: &[u8]) -> usize {
    let Some((first, mut rest)) = data.split_first() else { return 0 };
    let coding = coding(*first);
    let mut pictures = Pictures::new(coding);
    let (mut pts_ticks, mut newest, mut last, mut placed) = (0i64, 0, None, 0);
    while let Some((head, after)) = rest.split_first_chunk::<6>() {
        let [s0, s1, s2, s3, l0, l1] = *head;
        let (unit, after) = after.split_at(after.len().min(u16::from_be_bytes([l0, l1]).into()));
        rest = after;
        pts_ticks += i64::from(i32::from_be_bytes([s0, s1, s2, s3]));
        let mut nals = sized(unit);
        configured(&mut pictures, &nals);
        let parameters = if coding == Coding::H265 { 32..35 } else { 7..9 };
        nals.retain(|nal| !nal.first().is_some_and(|first| parameters.contains(&kind_of(*first, coding))));
        let payload: Bytes =
            nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes(), *nal].concat()).collect();
        let len = payload.len();
        let Ok(Some(unit)) = pictures.read(payload, pts_ticks) else { continue };
        let picture = pictures.place(unit, pts_ticks);
        assert!(picture.data.len() <= 12 * len);
        let dts_ticks = picture.dts_ticks.unwrap_or(pts_ticks);
        // A clock that goes back begins anew, and so does a track with other parameter sets.
        if pts_ticks >= newest && picture.dts_ticks.is_some() {
            assert!(last.is_none_or(|last| dts_ticks > last), "{dts_ticks} after {last:?}");
        }
        (newest, last) = (pts_ticks.max(newest), Some(dts_ticks));
        placed += 1;
    }
    placed
}

/// Packets of a camera. Each: a byte whose bit 0 is its marker, bit 1 a step of the time, and bit 7 a packet lost in front of it;
/// its length in 2; its payload. In front of them all, behind 2 bytes of length, what SDP says of them.
fn packets(data: &[u8]) -> (Format, Vec<Packet>) {
    let (len, rest) = data.split_first_chunk().unwrap_or((&[0, 0], data));
    let (format, mut rest) = rest.split_at(rest.len().min(u16::from_be_bytes(*len).into()));
    let (mut packets, mut ticks) = (vec![], 0);
    while let Some(([flags, high, low], behind)) = rest.split_first_chunk() {
        let (payload, behind) = behind.split_at(behind.len().min(u16::from_be_bytes([*high, *low]).into()));
        rest = behind;
        ticks += i64::from(flags >> 1 & 1) * 3600;
        let rate = std::num::NonZeroU32::new(90_000).expect("not 0");
        packets.push(Packet {
            payload: Bytes::copy_from_slice(payload),
            timestamp: retina::Timestamp::new(ticks, rate, 0).expect("fits"),
            marker: flags & 1 == 1,
            loss: u16::from(flags >> 7),
        });
    }
    (Format::read(&String::from_utf8_lossy(format)), packets)
}

/// `depacketise::video` of H.264. Gives how many pictures came out.
pub fn rtp_h264(data: &[u8]) -> usize {
    rtp_video(data, Coding::H264)
}

/// `depacketise::video` of H.265. Gives how many pictures came out.
pub fn rtp_h265(data: &[u8]) -> usize {
    rtp_video(data, Coding::H265)
}

fn rtp_video(data: &[u8], coding: Coding) -> usize {
    let (format, packets) = packets(data);
    let mut depacketiser = video::Depacketiser::new(coding, &format, true);
    let mut pictures = Pictures::new(coding);
    let (mut out, mut taken, mut given, mut count) = (vec![], 0, 0, 0);
    for packet in packets {
        // A start code becomes a length, which has a byte more.
        taken += 2 * packet.payload.len() + 8;
        depacketiser.push(&packet, &mut out);
        assert!(out.len() <= 3 && depacketiser.held_len() <= taken.min(MAX_PICTURE_LEN));
        for output in out.drain(..) {
            let video::Output::Unit(unit) = output else { continue };
            given += unit.data.len();
            count += 1;
            if unit.new_sets
                && depacketiser.record().is_some_and(|record| pictures.configure(&record).is_err())
            {
                depacketiser.forget_sets();
            }
            let read =
                nal::access_unit(unit.data.clone(), 4, coding).expect("NAL units behind their lengths");
            assert!(read.has_picture);
            let ticks = unit.timestamp.timestamp();
            if let Ok(Some(part)) = pictures.read(unit.data, ticks) {
                let _ = pictures.place(part, ticks);
            }
        }
    }
    assert!(given <= taken);
    count
}

/// `depacketise::aac`. Gives how many access units came out.
pub fn rtp_aac(data: &[u8]) -> usize {
    let (format, packets) = packets(data);
    let mut depacketiser = rtp_aac::Depacketiser::new(&format, 1024);
    let (mut out, mut taken) = (vec![], 0);
    for packet in packets {
        taken += packet.payload.len();
        let _ = depacketiser.push(&packet, &mut out);
        assert!(depacketiser.held_len() <= 64 << 10);
    }
    assert!(out.iter().map(|unit| unit.data.len()).sum::<usize>() <= taken);
    out.len()
}

/// `AudioSpecificConfig`: what is taken can be packed, and what there is of silence is short. Gives 1 for one that is taken.
pub fn aac(data: &[u8]) -> usize {
    let frame = aac::samples_per_frame(data);
    let silence = aac::silence(data);
    assert!(silence.as_ref().is_none_or(|silence| (4..=32).contains(&silence.len())));
    let Ok(track) = aac::track(data) else {
        assert!(silence.is_none() && frame.is_err());
        return 0;
    };
    assert!(matches!(frame, Ok(480 | 512 | 960 | 1024)));
    let init = init::segment(&track).expect("a track that was described can be packed");
    assert!(init.len() < data.len() + 2_000);
    1
}

/// The packets of a camera's sound, and its pictures, into access units. Gives how many came out.
///
/// Byte 0: in its lower half the coding, in its upper half the rate. What follows is packets and pictures: a length, of
/// which 255 is a picture, a step of the sender's time in units of 64 us (16 bits, signed), and the packet's bytes.
pub fn sound(data: &[u8]) -> usize {
    const RATES: [u32; 8] = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, u32::MAX];
    let Some((first, mut rest)) = data.split_first() else { return 0 };
    let rate = RATES[usize::from(first >> 4 & 7)];
    let sound = match first & 15 {
        0 => Sound::pcm(pcm::Coding::ALaw, rate, 1),
        1 => Sound::pcm(pcm::Coding::MuLaw, rate, 1),
        2 => Sound::pcm(pcm::Coding::L16, rate, 1),
        3 => Sound::pcm(pcm::Coding::L16, rate, 2),
        4 => Sound::pcm(pcm::Coding::G722, rate, 1),
        bits @ 5..=8 => Sound::pcm(pcm::Coding::G726(u32::from(bits) - 3), rate, 1),
        9 => Sound::aac(&[0x11, 0x90], rate),
        10 => Sound::aac(&[0xb9, 0x88], rate),
        _ => Sound::pcm(pcm::Coding::G726((*first).into()), rate, (*first).into()),
    };
    let Ok(mut sound) = sound else { return 0 };
    let (mut sent_us, mut total, mut end) = (0i64, 0, i64::MIN);
    while let Some(([len, high, low], behind)) = rest.split_first_chunk() {
        sent_us += i64::from(i16::from_be_bytes([*high, *low])) * 64;
        let mut units = vec![];
        let (packet, behind) = if *len == 255 {
            sound.picture(sent_us, &mut units);
            (&[][..], behind)
        } else {
            let (packet, behind) = behind.split_at(behind.len().min((*len).into()));
            if *len == 254 {
                sound.resync();
            }
            sound.packet(sent_us, packet, 1024, &mut units);
            (packet, behind)
        };
        // Two seconds of silence at most, and what the packet holds.
        assert!(units.len() <= 400 + packet.len(), "{} units", units.len());
        for unit in &units {
            assert!(unit.duration_ticks > 0);
            assert!(
                unit.pts_ticks >= end.saturating_sub(i64::from(unit.duration_ticks) / 2),
                "{} behind {end}",
                unit.pts_ticks
            );
            end = unit.pts_ticks + i64::from(unit.duration_ticks);
        }
        total += units.len();
        rest = behind;
    }
    total
}
