//! What each fuzz target does with its bytes: the parsers of what a peer sends must not panic, and what they give and
//! hold must be bounded by what they were given. `proxy/tests/fuzz_corpus.rs` does the same with the seeds in every
//! test run. Each gives how many messages, values, frames or tags it saw, so that a seed can be seen to do its work.

use bytes::Bytes;
use sightline::ingest::rtmp::{
    amf::{self, Value},
    chunk::{ChunkReader, MAX_CHUNK_STREAMS, MAX_MESSAGE_LEN, MAX_UNFINISHED_LEN, Message},
    flv::{Demuxer, Kind, Output},
    session::{Event, Phase, Session},
};
use sightline::{
    media::{aac, pcm::Coding, sound::Sound},
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
        0 => Sound::pcm(Coding::ALaw, rate, 1),
        1 => Sound::pcm(Coding::MuLaw, rate, 1),
        2 => Sound::pcm(Coding::L16, rate, 1),
        3 => Sound::pcm(Coding::L16, rate, 2),
        4 => Sound::pcm(Coding::G722, rate, 1),
        bits @ 5..=8 => Sound::pcm(Coding::G726(u32::from(bits) - 3), rate, 1),
        9 => Sound::aac(&[0x11, 0x90], rate),
        10 => Sound::aac(&[0xb9, 0x88], rate),
        _ => Sound::pcm(Coding::G726((*first).into()), rate, (*first).into()),
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
