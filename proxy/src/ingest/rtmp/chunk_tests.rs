//! Chunks are written here once by a writer of our own, which can do all that is legal, and once by `rml_rtmp`'s.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use rml_rtmp::{chunk_io::ChunkSerializer, messages::MessagePayload, time::RtmpTimestamp};

use super::*;

fn message(type_id: u8, stream_id: u32, timestamp_ms: u32, payload: impl Into<Bytes>) -> Message {
    Message { type_id, stream_id, timestamp_ms, payload: payload.into() }
}

fn basic(format: u8, id: u32) -> Vec<u8> {
    let bits = format << 6;
    match id {
        2..=63 => vec![bits | id as u8],
        64..=319 => vec![bits, (id - 64) as u8],
        _ => [&[bits | 1], &((id - 64) as u16).to_le_bytes()[..]].concat(),
    }
}

/// A header: its type, the time field, and what the types say.
fn header(format: u8, id: u32, time: u32, message: &Message) -> Vec<u8> {
    let mut out = basic(format, id);
    if format < 3 {
        out.extend_from_slice(&time.min(EXTENDED).to_be_bytes()[1..]);
    }
    if format < 2 {
        out.extend_from_slice(&(message.payload.len() as u32).to_be_bytes()[1..]);
        out.push(message.type_id);
    }
    if format == 0 {
        out.extend_from_slice(&message.stream_id.to_le_bytes());
    }
    if format < 3 && time >= EXTENDED {
        out.extend_from_slice(&time.to_be_bytes());
    }
    out
}

/// Reads as the owner of a socket does: `parts` arrive one after the other, and what is not used stays in front.
fn read_parts<'a>(
    reader: &mut ChunkReader,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Message>, Error> {
    let mut messages = vec![];
    let mut pending = vec![];
    for part in parts {
        pending.extend_from_slice(part);
        loop {
            let (used, message) = reader.read(&pending)?;
            assert!(reader.unfinished_len() <= MAX_UNFINISHED_LEN);
            pending.drain(..used);
            match message {
                Some(message) => messages.push(message),
                None if used == 0 || pending.is_empty() => break,
                None => {}
            }
        }
        assert!(pending.len() < 18, "only a header may be left: {}", pending.len());
    }
    Ok(messages)
}

fn read(bytes: &[u8]) -> Result<Vec<Message>, Error> {
    read_parts(&mut ChunkReader::default(), [bytes])
}

fn fault(bytes: &[u8]) -> Fault {
    read(bytes).expect_err("it cannot be read").fault
}

/// Writes messages into chunks, with the shortest header or one that is longer by so many types.
struct Writer {
    chunk_len: usize,
    repeat_extended: bool,
    longer: u8,
    /// The last message of each chunk stream, and the time field of its header.
    last: BTreeMap<u32, (Message, u32)>,
}

impl Writer {
    fn new(chunk_len: usize, repeat_extended: bool, longer: u8) -> Self {
        Self { chunk_len, repeat_extended, longer, last: BTreeMap::new() }
    }

    fn chunks(&mut self, id: u32, message: &Message) -> Vec<Vec<u8>> {
        let (format, time) = match self.last.get(&id) {
            Some((last, last_time)) if last.stream_id == message.stream_id => {
                let difference = message.timestamp_ms.wrapping_sub(last.timestamp_ms);
                let same_kind =
                    last.type_id == message.type_id && last.payload.len() == message.payload.len();
                // Whether the times are extended must agree, or type 3 would have four bytes too many or too few.
                let shortest = match (same_kind, difference == *last_time) {
                    (true, true) if self.repeat_extended || difference < EXTENDED => 3,
                    (true, _) => 2,
                    (false, _) => 1,
                };
                let format: u8 = std::cmp::max(shortest - i16::from(self.longer), 0) as u8;
                (format, if format == 0 { message.timestamp_ms } else { difference })
            }
            _ => (0, message.timestamp_ms),
        };
        self.last.insert(id, (message.clone(), time));
        let mut chunks = vec![];
        let mut parts = message.payload.chunks(self.chunk_len);
        let extra = if time >= EXTENDED { time.to_be_bytes().to_vec() } else { vec![] };
        let mut first = header(format, id, time, message);
        if format == 3 {
            first.extend_from_slice(&extra);
        }
        first.extend_from_slice(parts.next().unwrap_or_default());
        chunks.push(first);
        for part in parts {
            let mut chunk = basic(3, id);
            if self.repeat_extended {
                chunk.extend_from_slice(&extra);
            }
            chunk.extend_from_slice(part);
            chunks.push(chunk);
        }
        chunks
    }
}

fn set_chunk_len(len: u32) -> Vec<u8> {
    let control = message(SET_CHUNK_SIZE, 0, 0, len.to_be_bytes().to_vec());
    [header(0, 2, 0, &control), control.payload.to_vec()].concat()
}

fn abort(id: u32) -> Vec<u8> {
    let control = message(ABORT, 0, 0, id.to_be_bytes().to_vec());
    [header(0, 2, 0, &control), control.payload.to_vec()].concat()
}

fn any_message() -> impl Strategy<Value = Message> {
    let time = prop_oneof![
        0..2000u32,
        EXTENDED - 3..EXTENDED + 3,
        u32::MAX - 50..=u32::MAX,
        Just(1 << 31),
        any::<u32>()
    ];
    let payload = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        4 => (0u8..4, 0usize..3).prop_map(|(byte, len)| vec![byte; len * 7]),
        1 => prop::collection::vec(any::<u8>(), 100..3000),
    ];
    (3..30u8, 0..3u32, time, payload)
        .prop_map(|(type_id, stream_id, time, payload)| message(type_id, stream_id, time, payload))
}

fn any_id() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 2..8u32, 1 => Just(63u32), 1 => Just(64u32), 1 => Just(319u32), 1 => Just(320u32), 1 => Just(65_599u32)]
}

/// Cuts `bytes` into parts of the lengths in `cuts`, over and over.
fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut parts = vec![];
    for len in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (part, after) = rest.split_at(rest.len().min(*len));
        parts.push(part);
        rest = after;
    }
    parts
}

proptest! {
    #[test]
    fn any_messages_in_any_chunks_and_any_reads_come_back(
        messages in prop::collection::vec((any_id(), any_message()), 1..20),
        chunk_len in prop_oneof![1..5u32, 100..200u32, Just(4096u32), Just(MAX_CHUNK_LEN)],
        // A message begins while so many others are under way.
        interleaved in 1..5usize,
        order in prop::collection::vec(0..5usize, 1..50),
        longer in 0..4u8,
        cuts in prop::collection::vec(1..200usize, 1..10),
        repeat_extended: bool,
    ) {
        let mut writer = Writer::new(chunk_len as usize, repeat_extended, longer);
        let mut bytes = set_chunk_len(chunk_len);
        let mut under_way: Vec<(u32, Message, std::vec::IntoIter<Vec<u8>>)> = vec![];
        let mut expected = vec![];
        let mut order = order.iter().cycle();
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() || !under_way.is_empty() {
            let free = |id| under_way.iter().all(|(busy, ..)| *busy != id);
            if under_way.len() < interleaved && messages.peek().is_some_and(|(id, _)| free(*id)) {
                let (id, message) = messages.next().expect("peeked");
                let chunks = writer.chunks(id, &message).into_iter();
                under_way.push((id, message, chunks));
            }
            let turn = order.next().expect("endless") % under_way.len();
            let (_, _, chunks) = &mut under_way[turn];
            bytes.extend_from_slice(&chunks.next().expect("ended ones are taken out"));
            if chunks.as_slice().is_empty() {
                expected.push(under_way.remove(turn).1);
            }
        }
        // Whether bytes that look like an extended timestamp are one, the bytes after them tell.
        let last = message(20, 0, 0, vec![0; 4]);
        bytes.extend_from_slice(&header(0, 9, 0, &last));
        bytes.extend_from_slice(&last.payload);
        if chunk_len >= 4 {
            expected.push(last);
        }

        let mut reader = ChunkReader::default();
        let read = read_parts(&mut reader, cut(&bytes, &cuts)).expect("all of it is legal");
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn what_rml_rtmp_writes_comes_back(
        messages in prop::collection::vec((any_message(), any::<bool>()), 1..20),
        chunk_len in prop_oneof![Just(None), (1..2000u32).prop_map(Some)],
        cuts in prop::collection::vec(1..200usize, 1..10),
    ) {
        let mut writer = ChunkSerializer::new();
        let mut bytes = vec![];
        if let Some(len) = chunk_len {
            bytes.extend(writer.set_max_chunk_size(len, RtmpTimestamp::new(0)).expect("a legal size").bytes);
        }
        let mut expected = vec![];
        for (message, droppable) in messages {
            // rml_rtmp writes no chunk at all for nothing, and cannot subtract from a time that has wrapped.
            if message.payload.is_empty() || message.timestamp_ms >= 1 << 31 {
                continue;
            }
            let payload = MessagePayload {
                timestamp: RtmpTimestamp::new(message.timestamp_ms),
                type_id: message.type_id,
                message_stream_id: message.stream_id,
                data: message.payload.clone(),
            };
            bytes.extend(writer.serialize(&payload, false, droppable).expect("a short message").bytes);
            expected.push(message);
        }
        let read = read_parts(&mut ChunkReader::default(), cut(&bytes, &cuts)).expect("all of it is legal");
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn no_bytes_panic_or_take_more_memory_than_twice_their_number(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        cuts in prop::collection::vec(1..200usize, 1..10),
    ) {
        let mut reader = ChunkReader::default();
        let read = read_parts(&mut reader, cut(&bytes, &cuts));
        prop_assert!(reader.unfinished_len() <= MAX_CHUNK_STREAMS * FIRST_ROOM_LEN + 2 * bytes.len());
        if read.is_err() {
            prop_assert_eq!(reader.read(&[]).map(|_| ()), read.map(|_| ()), "an error stays");
        }
    }
}

#[test]
fn rml_rtmps_chunk_size_message_in_chunks_of_one_byte_is_read() {
    // It writes every chunk of it with a header of type 0.
    let mut writer = ChunkSerializer::new();
    let mut bytes = vec![];
    for len in [1, 3, 2] {
        bytes.extend(writer.set_max_chunk_size(len, RtmpTimestamp::new(7)).expect("a legal size").bytes);
    }
    let payload = MessagePayload {
        timestamp: RtmpTimestamp::new(1),
        type_id: 9,
        message_stream_id: 1,
        data: Bytes::from_static(b"hello"),
    };
    bytes.extend(writer.serialize(&payload, false, false).expect("a short message").bytes);
    assert_eq!(read(&bytes), Ok(vec![message(9, 1, 1, &b"hello"[..])]));
}

#[test]
fn a_chunk_size_holds_from_the_next_chunk_on_also_in_the_middle_of_another_message() {
    let video = message(9, 1, 40, vec![5; 300]);
    let mut bytes = header(0, 6, 40, &video);
    bytes.extend_from_slice(&[5; 128]);
    bytes.extend(set_chunk_len(1));
    bytes.extend_from_slice(&[0xc6, 5, 0xc6, 5]);
    // The header of the message itself is whole whatever the size.
    let four = 200u32.to_be_bytes();
    bytes.extend([&[0xc2, four[0]], &[0xc2, four[1]], &[0xc2, four[2]], &[0xc2, four[3]][..]].concat());
    bytes.push(0xc6);
    bytes.extend_from_slice(&[5; 170]);
    assert_eq!(read(&bytes), Ok(vec![video]));
}

#[test]
fn chunk_sizes_from_1_to_a_mebibyte_are_taken_and_no_others() {
    for len in [1, 2, 128, 65_536, MAX_CHUNK_LEN] {
        assert_eq!(read(&set_chunk_len(len)), Ok(vec![]), "{len}");
    }
    for len in [0, MAX_CHUNK_LEN + 1, (1 << 31) - 1, 1 << 31, u32::MAX] {
        assert_eq!(fault(&set_chunk_len(len)), Fault::ChunkLength(len));
    }
}

#[test]
fn a_control_message_without_its_number_is_refused() {
    for type_id in [SET_CHUNK_SIZE, ABORT] {
        for len in 0..4 {
            let short = message(type_id, 0, 0, vec![0; len]);
            let bytes = [header(0, 2, 0, &short), vec![0; len]].concat();
            assert_eq!(fault(&bytes), Fault::Control { type_id, len });
        }
    }
}

#[test]
fn an_aborted_message_is_dropped_and_its_header_remembered() {
    let first = message(9, 1, 40, vec![5; 200]);
    let mut bytes = header(0, 6, 40, &first);
    bytes.extend_from_slice(&[5; 128]);
    bytes.extend(abort(7)); // nobody's
    bytes.extend(abort(6));
    bytes.push(0xc6);
    bytes.extend_from_slice(&[6; 128]);
    bytes.push(0xc6);
    bytes.extend_from_slice(&[6; 72]);
    let mut reader = ChunkReader::default();
    assert_eq!(read_parts(&mut reader, [&bytes[..]]), Ok(vec![message(9, 1, 80, vec![6; 200])]));
    assert_eq!(reader.unfinished_len(), 0);
}

#[test]
fn a_new_message_on_a_chunk_stream_ends_the_unfinished_one() {
    let first = message(9, 1, 40, vec![5; 129]);
    for (format, time, len) in [(0, 80, 100), (0, 80, 129), (1, 40, 100)] {
        let second = message(9, 1, 80, vec![6; len]);
        let mut bytes = header(0, 6, 40, &first);
        bytes.extend_from_slice(&[5; 128]);
        bytes.extend(header(format, 6, time, &second));
        bytes.extend_from_slice(&second.payload[..len.min(128)]);
        if len > 128 {
            bytes.extend_from_slice(&[0xc6, 6]);
        }
        let mut reader = ChunkReader::default();
        assert_eq!(read_parts(&mut reader, [&bytes[..]]), Ok(vec![second.clone()]), "type {format}");
        assert_eq!(reader.unfinished_len(), 0);
    }
}

#[test]
fn a_message_whose_next_chunk_has_a_longer_header_than_it_needs_goes_on() {
    let video = message(9, 1, 40, vec![5; 200]);
    for (format, time) in [(0, 40), (1, 0), (1, 40), (2, 0), (2, 40)] {
        let mut bytes = header(0, 6, 40, &video);
        bytes.extend_from_slice(&[5; 128]);
        bytes.extend(header(format, 6, time, &video));
        bytes.extend_from_slice(&[5; 72]);
        assert_eq!(read(&bytes), Ok(vec![video.clone()]), "type {format}");
    }
}

#[test]
fn an_empty_message_is_one() {
    let empty = message(9, 1, 40, vec![]);
    let bytes = [header(0, 6, 40, &empty), basic(3, 6)].concat();
    assert_eq!(read(&bytes), Ok(vec![empty, message(9, 1, 80, vec![])]));
}

#[test]
fn type_3_after_type_0_takes_its_time_for_the_difference() {
    // Flash Media Live Encoder sends this: 26 ms, then another 26 ms.
    let audio = message(8, 1, 26, vec![7; 100]);
    let bytes = [&header(0, 4, 26, &audio), &[7; 100][..], &[0xc4], &[8; 100]].concat();
    assert_eq!(read(&bytes), Ok(vec![audio, message(8, 1, 52, vec![8; 100])]));
}

#[test]
fn times_wrap_at_2_to_the_32() {
    let first = message(8, 1, u32::MAX - 9, vec![7]);
    let second = message(8, 1, 10, vec![8]);
    let bytes = [header(0, 4, u32::MAX - 9, &first), vec![7], header(2, 4, 20, &second), vec![8]].concat();
    assert_eq!(read(&bytes), Ok(vec![first, second]));
}

#[test]
fn an_extended_timestamp_may_be_small() {
    let audio = message(8, 1, 5, vec![7]);
    let mut bytes = basic(0, 4);
    bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0, 0, 1, 8, 1, 0, 0, 0, 0, 0, 0, 5, 7]);
    assert_eq!(read(&bytes), Ok(vec![audio]));
}

#[test]
fn type_3_repeats_an_extended_timestamp_or_does_not() {
    let time = 0x0123_4567;
    let video = message(9, 1, time, vec![5; 200]);
    let first = [header(0, 6, time, &video), vec![5; 128], vec![0xc6]].concat();
    let repeated = [&first[..], &time.to_be_bytes(), &[5; 72]].concat();
    let left_out = [&first[..], &[5; 72]].concat();
    for bytes in [&repeated, &left_out] {
        assert_eq!(read(bytes), Ok(vec![video.clone()]));
        let mut reader = ChunkReader::default();
        assert_eq!(read_parts(&mut reader, bytes.chunks(1)), Ok(vec![video.clone()]), "byte by byte");
    }
}

#[test]
fn a_short_time_field_ends_extended_timestamps() {
    let audio = message(9, 1, 1 << 30, vec![4]);
    let video = message(9, 1, (1 << 30) + 40, [[5; 128].as_slice(), &40u32.to_be_bytes()].concat());
    let mut bytes = [header(0, 6, 1 << 30, &audio), vec![4], header(1, 6, 40, &video)].concat();
    bytes.extend_from_slice(&video.payload[..128]);
    bytes.push(0xc6);
    bytes.extend_from_slice(&video.payload[128..]);
    assert_eq!(read(&bytes), Ok(vec![audio, video]));
}

#[test]
fn an_extended_difference_is_repeated_as_such_or_as_the_time_it_makes() {
    let (start, difference) = (1000, 0x0200_0000);
    let audio = message(9, 1, start, vec![4]);
    let video = message(9, 1, start + difference, vec![5; 130]);
    for repeated in [difference, start + difference] {
        let mut bytes = [header(0, 6, start, &audio), vec![4], header(1, 6, difference, &video)].concat();
        bytes.extend_from_slice(&[5; 128]);
        bytes.extend([&[0xc6], &repeated.to_be_bytes()[..], &[5; 2]].concat());
        assert_eq!(read(&bytes), Ok(vec![audio.clone(), video.clone()]));
    }
}

#[test]
fn what_is_left_out_must_have_been_said() {
    for format in [2, 3] {
        let bytes = [vec![0; 12], basic(format, 70), vec![0; 11]].concat();
        let bytes = [header(0, 3, 0, &message(8, 0, 0, vec![])), bytes[12..].to_vec()].concat();
        let error = read(&bytes).expect_err("nothing was said on it");
        assert_eq!(error, Error { chunk_stream: 70, position: 12, fault: Fault::NoHeaderBefore(format) });
        let said = format!(
            "chunk stream 70 at byte 12: it begins with a header of type {format}, which leaves out what was never said"
        );
        assert_eq!(error.to_string(), said);
    }
    // librtmp's first ping.
    let bytes = [0x42, 0, 0, 0, 0, 0, 6, 4, 0, 6, 0, 0, 13, 15];
    assert_eq!(read(&bytes), Ok(vec![message(4, 0, 0, vec![0, 6, 0, 0, 13, 15])]));
}

#[test]
fn the_position_of_an_error_counts_all_calls() {
    let audio = message(8, 1, 0, vec![7; 100]);
    let mut reader = ChunkReader::default();
    let bytes = [header(0, 4, 0, &audio), vec![7; 100]].concat();
    for _ in 0..3 {
        assert_eq!(read_parts(&mut reader, bytes.chunks(9)).map(|messages| messages.len()), Ok(1));
    }
    let error = reader.read(&set_chunk_len(0)).expect_err("no chunk size");
    assert_eq!(error, Error { chunk_stream: 2, position: 336, fault: Fault::ChunkLength(0) });
}

#[test]
fn a_message_of_8_mebibytes_is_the_longest() {
    let mut bytes = header(0, 6, 0, &message(9, 1, 0, vec![]));
    bytes[4..7].copy_from_slice(&(MAX_MESSAGE_LEN as u32 + 1).to_be_bytes()[1..]);
    assert_eq!(fault(&bytes), Fault::MessageLength { len: MAX_MESSAGE_LEN + 1, limit: MAX_MESSAGE_LEN });

    let longest = message(9, 1, 0, vec![3; MAX_MESSAGE_LEN]);
    let mut writer = Writer::new(1 << 20, true, 0);
    let bytes = [set_chunk_len(1 << 20), writer.chunks(6, &longest).concat()].concat();
    let mut reader = ChunkReader::default();
    let read = read_parts(&mut reader, bytes.chunks(64 << 10)).expect("legal");
    assert!(read == [longest]);
    assert_eq!(reader.unfinished_len(), 0);
}

#[test]
fn a_claimed_length_takes_no_memory() {
    let mut reader = ChunkReader::default();
    let mut claim = header(0, 6, 0, &message(9, 1, 0, vec![]));
    claim[4..7].copy_from_slice(&(MAX_MESSAGE_LEN as u32).to_be_bytes()[1..]);
    assert_eq!(reader.read(&claim), Ok((12, None)));
    assert_eq!(reader.unfinished_len(), 0);
    assert_eq!(reader.read(&[0; 128]), Ok((128, None)));
    assert_eq!(reader.unfinished_len(), FIRST_ROOM_LEN);
}

#[test]
fn unfinished_messages_are_bounded_together() {
    let mut reader = ChunkReader::default();
    reader.read(&set_chunk_len(MAX_CHUNK_LEN)).expect("a legal size");
    let mebibyte = vec![0; 1 << 20];
    let mut taken = 0;
    for round in 0..8 {
        for id in 3..10 {
            let mut bytes = basic(3, id);
            if round == 0 {
                bytes = header(0, id, 0, &message(9, 1, 0, vec![]));
                bytes[4..7].copy_from_slice(&(MAX_MESSAGE_LEN as u32).to_be_bytes()[1..]);
            }
            bytes.extend_from_slice(&mebibyte);
            match reader.read(&bytes) {
                Ok(_) => taken += 1,
                Err(error) => {
                    assert_eq!(error.fault, Fault::Unfinished(MAX_UNFINISHED_LEN));
                    assert!(taken >= 8, "{taken} MiB of 16 are used at least half");
                    assert!(reader.unfinished_len() <= MAX_UNFINISHED_LEN);
                    return;
                }
            }
        }
    }
    panic!("{taken} MiB were taken");
}

#[test]
fn chunk_streams_are_counted() {
    let one = message(8, 1, 0, vec![7]);
    let ids = (40..40 + MAX_CHUNK_STREAMS as u32).map(|id| id * 3);
    let mut bytes: Vec<u8> = ids.flat_map(|id| [header(0, id, 0, &one), vec![7]].concat()).collect();
    assert_eq!(read(&bytes).map(|messages| messages.len()), Ok(MAX_CHUNK_STREAMS));
    bytes.extend(header(0, 5, 0, &one));
    assert_eq!(fault(&bytes), Fault::ChunkStreams);
}

#[test]
fn a_payload_is_not_moved_when_it_is_whole() {
    let mut reader = ChunkReader::default();
    let video = message(9, 1, 0, vec![5; 20_000]);
    let bytes = Writer::new(128, true, 0).chunks(6, &video).concat();
    let (head, tail) = bytes.split_at(1000);
    assert_eq!(reader.read(head), Ok((1000, None)));
    assert_eq!(reader.unfinished_len(), 20_000, "neither more room than it needs nor less");
    let before = reader.streams[0].payload.as_ptr();
    let (_, whole) = reader.read(tail).expect("legal");
    assert_eq!(whole.expect("whole").payload.as_ptr(), before);
}

#[test]
fn a_stranger_sends_no_more_than_commands_until_media_is_expected() {
    let header = |len: usize| [3, 0, 0, 0, (len >> 16) as u8, (len >> 8) as u8, len as u8, 9, 1, 0, 0, 0];
    let long = header(MAX_COMMAND_LEN + 1);
    let error = ChunkReader::of_stranger().read(&long).expect_err("too long");
    assert_eq!(error.fault, Fault::MessageLength { len: MAX_COMMAND_LEN + 1, limit: MAX_COMMAND_LEN });
    let mut reader = ChunkReader::of_stranger();
    assert_eq!(reader.read(&header(MAX_COMMAND_LEN)), Ok((12, None)));
    let mut reader = ChunkReader::of_stranger();
    reader.expect_media();
    assert_eq!(reader.read(&long), Ok((12, None)));

    // Many unfinished messages are no way around it.
    let mut reader = ChunkReader::of_stranger();
    let begun = (3u8..60).try_for_each(|id| {
        let mut chunk = vec![id];
        chunk.extend_from_slice(&header(MAX_COMMAND_LEN)[1..]);
        chunk.extend_from_slice(&[0; 128]);
        reader.read(&chunk).map(drop)
    });
    assert_eq!(begun.map_err(|error| error.fault), Err(Fault::Unfinished(MAX_UNFINISHED_COMMANDS_LEN)));
}
