use std::num::NonZeroU32;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    ingest::rtsp::depacketise::fmtp::Format,
    media::{h264, h265},
};

fn time(ticks: i64) -> retina::Timestamp {
    retina::Timestamp::new(ticks, NonZeroU32::new(90_000).expect("not 0"), 0).expect("fits")
}

fn packet(payload: &[u8], ticks: i64, marker: bool) -> Packet {
    Packet { payload: Bytes::copy_from_slice(payload), timestamp: time(ticks), marker, loss: 0 }
}

fn lossy(payload: &[u8], ticks: i64, marker: bool, loss: u16) -> Packet {
    Packet { loss, ..packet(payload, ticks, marker) }
}

fn h264() -> Depacketiser {
    Depacketiser::new(Coding::H264, &Format::default(), true)
}

fn h265() -> Depacketiser {
    Depacketiser::new(Coding::H265, &Format::default(), true)
}

fn all(depacketiser: &mut Depacketiser, packets: &[Packet]) -> Vec<Output> {
    let mut out = vec![];
    for packet in packets {
        depacketiser.push(packet, &mut out);
    }
    out
}

/// What came, in words: the NAL units of each picture in hexadecimal, and what was broken off.
fn told(outputs: &[Output]) -> Vec<String> {
    let hex = |nal: &[u8]| nal.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let word = |output: &Output| match output {
        Output::Broken(error) => format!("{error:?}"),
        Output::Unit(unit) => {
            let nals: Vec<_> = nal::units(&unit.data).map(hex).collect();
            let loss = if unit.loss > 0 { format!(" -{}", unit.loss) } else { String::new() };
            let damaged = if unit.damaged { " damaged" } else { "" };
            let sets = if unit.new_sets { " sets" } else { "" };
            format!("{}: {}{loss}{damaged}{sets}", unit.timestamp.timestamp(), nals.join(" "))
        }
    };
    outputs.iter().map(word).collect()
}

const SPS: &[u8] = h264::tests::AVCC.split_at(8).1.split_at(25).0;
const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];

#[test]
fn a_picture_is_given_at_its_marker() {
    let mut depacketiser = h264();
    let aggregate = [&[24, 0, 25][..], SPS, &[0, 4], &PPS[..4], &[0, 2, 6, 5]].concat();
    let packets = [
        packet(&aggregate, 0, false),
        packet(&[0x7c, 0x85, 0x88, 1], 0, false),
        packet(&[0x7c, 0x05, 2], 0, false),
        packet(&[0x7c, 0x45, 3], 0, true),
        packet(&[0x41, 0x9a, 7], 3600, true),
    ];
    let out = all(&mut depacketiser, &packets);
    assert_eq!(told(&out), ["0: 0605 6588010203 sets", "3600: 419a07"]);
    let record = depacketiser.record().expect("both came");
    assert_eq!(record, [&h264::tests::AVCC[..35], &[4], &PPS[..4]].concat());
    assert_eq!(depacketiser.held_len(), 0);
}

#[test]
fn without_markers_a_picture_is_whole_when_the_time_changes() {
    let packets = [
        packet(SPS, 0, false),
        packet(PPS, 0, false),
        packet(&[0x65, 0x88], 0, false),
        packet(&[0x65, 0x08], 0, false),
        packet(&[0x41, 0x9a], 3600, false),
        packet(&[0x41, 0x9b], 7200, false),
    ];
    assert_eq!(told(&all(&mut h264(), &packets)), ["0: 6588 6508 sets", "3600: 419a"]);
}

#[test]
fn what_stands_in_front_of_a_picture_goes_with_it_whatever_marks_it_has() {
    // Parameter sets with markers and times of their own, or behind the picture before.
    let packets = [
        packet(SPS, 0, true),
        packet(PPS, 100, true),
        packet(&[6, 5], 200, true),
        packet(&[0x65, 0x88], 3600, true),
        packet(&[0x41, 0x9a], 7200, false),
        packet(&[0x68, 0xce, 1], 7200, false),
        packet(&[6, 6], 7200, true),
        packet(&[0x65, 0x89], 10_800, true),
    ];
    assert_eq!(
        told(&all(&mut h264(), &packets)),
        ["3600: 0605 6588 sets", "7200: 419a", "10800: 0606 6589 sets"]
    );
}

#[test]
fn whoever_comes_in_the_midst_of_a_picture_waits_for_the_next() {
    for begun in [&[0x7c, 0x05, 1][..], &[0x7c, 0x45, 1], &[0x41, 0x1a]] {
        let last = begun[1] == 0x45 || begun[0] == 0x41;
        let mut packets = vec![packet(begun, 0, last)];
        if !last {
            packets.push(packet(&[0x7c, 0x45, 2], 0, true));
        }
        packets.push(packet(&[0x41, 0x9a], 3600, true));
        let out = told(&all(&mut h264(), &packets));
        assert_eq!(out.last().map(String::as_str), Some("3600: 419a"), "{begun:x?}");
        assert!(out.len() == 1 || out == ["0: 411a damaged", "3600: 419a"], "{out:?}");
    }
    // What begins with its own beginning is whole.
    assert_eq!(told(&all(&mut h264(), &[packet(&[0x65, 0x88], 0, true)])), ["0: 6588"]);
    assert_eq!(told(&all(&mut h265(), &[packet(&[0x26, 1, 0xaf], 0, true)])), ["0: 2601af"]);
}

#[test]
fn after_a_loss_only_what_surely_has_its_beginning_is_whole() {
    let slice = || packet(&[0x41, 0x9a], 0, true);
    let lost =
        |payload: &[u8]| told(&all(&mut h264(), &[slice(), lossy(payload, 3600, true, 2)]))[1..].to_vec();
    assert_eq!(lost(&[0x65, 0x88]), ["3600: 6588 -2 damaged"], "the parameter sets may have been others");
    let aggregate = [&[24, 0, 25][..], SPS, &[0, 2, 0x65, 0x88]].concat();
    assert_eq!(lost(&aggregate), ["3600: 6588 -2 sets"]);
    assert_eq!(lost(&[24, 0, 2, 9, 0xf0, 0, 2, 0x65, 0x88]), ["3600: 09f0 6588 -2"]);
    // In the middle of a picture.
    let packets = [
        slice(),
        packet(&[0x7c, 0x81, 0x9a], 3600, false),
        lossy(&[0x7c, 0x01, 2], 3600, false, 1),
        packet(&[0x7c, 0x41, 2], 3600, true),
        packet(&[0x41, 0x9b], 7200, true),
    ];
    assert_eq!(told(&all(&mut h264(), &packets))[1..], ["7200: 419b -1"]);
    // Its end, and the beginning of the next.
    let packets = [
        packet(&[0x7c, 0x81, 0x9a], 0, false),
        lossy(&[0x7c, 0x41, 2], 3600, true, 3),
        packet(&[0x41, 0x9b], 7200, true),
    ];
    assert_eq!(told(&all(&mut h264(), &packets)), ["7200: 419b -3"]);
    // Before the first: sent while PLAY was answered, or lost on the way.
    let first = [lossy(&[0x65, 0x88], 0, true, 5)];
    assert_eq!(told(&all(&mut h264(), &first)), ["0: 6588 -5"]);
    let mut by_udp = Depacketiser::new(Coding::H264, &Format::default(), false);
    assert_eq!(told(&all(&mut by_udp, &first)), ["0: 6588 -5 damaged"]);
}

#[test]
fn what_makes_no_sense_costs_its_picture_and_is_named() {
    for (payload, named) in [
        (&[][..], "Empty"),
        (&[0xe5, 1], "Forbidden"),
        (&[24], "Aggregate"),
        (&[24, 0, 0], "Aggregate"),
        (&[24, 0xff, 0xff, 0x41], "Aggregate"),
        (&[24, 0, 1, 0xc1], "Forbidden"),
        (&[25, 0, 0], "Unsupported(\"STAP-B, of the interleaved mode\")"),
        (&[27, 0, 0], "Unsupported(\"MTAP, of the interleaved mode\")"),
        (&[0x7d, 0x85, 0], "Unsupported(\"FU-B, of the interleaved mode\")"),
        (&[0x7c], "Short(1)"),
        (&[0x7c, 0x05, 1], "NoBeginning"),
        (&[0x7c, 0x85, 1], "NoEnd"),
    ] {
        let marks: &[bool] = if named == "NoEnd" { &[true] } else { &[false, true] };
        for marker in marks {
            let packets = [
                packet(&[0x41, 0x9a], 0, true),
                packet(payload, 3600, *marker),
                packet(&[0x41, 0x9b], if *marker { 7200 } else { 3600 }, true),
                packet(&[0x41, 0x9c], 10_800, true),
            ];
            let out = told(&all(&mut h264(), &packets));
            let (first, rest) = out.split_first().expect("a good one");
            assert_eq!(first, "0: 419a");
            let expected: &[&str] =
                if *marker { &[named, "7200: 419b", "10800: 419c"] } else { &[named, "10800: 419c"] };
            assert_eq!(rest, expected, "{payload:x?}");
        }
    }
    for (payload, named) in [
        (&[][..], "Empty"),
        (&[0x80, 1], "Forbidden"),
        (&[2], "Short(1)"),
        (&[96, 1], "Aggregate"),
        (&[96, 1, 0, 9, 2, 1], "Aggregate"),
        (&[96, 1, 0, 1, 2], "Aggregate"),
        (&[98, 1], "Short(2)"),
        (&[98, 1, 0x01, 5], "NoBeginning"),
        (&[100, 1, 0, 0], "Unsupported(\"PACI\")"),
    ] {
        let packets =
            [packet(&[2, 1, 0x80], 0, true), packet(payload, 3600, true), packet(&[2, 1, 0x81], 7200, true)];
        assert_eq!(told(&all(&mut h265(), &packets)), ["0: 020180", named, "7200: 020181"], "{payload:x?}");
    }
}

#[test]
fn a_fragment_without_an_end_ends_with_its_picture() {
    for packets in [
        // Another picture; another NAL unit; another fragmented one; the marker.
        &[packet(&[0x41, 0x9b], 3600, true)][..],
        &[packet(&[0x41, 0x9b], 0, true)],
        &[packet(&[0x7c, 0x81, 1], 0, false), packet(&[0x7c, 0x41, 1], 0, true)],
        &[packet(&[0x7c, 0x01, 1], 0, true)],
    ] {
        let mut depacketiser = h264();
        let mut out = all(&mut depacketiser, &[packet(&[0x7c, 0x85, 0x88], 0, false)]);
        out.extend(all(&mut depacketiser, packets));
        out.extend(all(&mut depacketiser, &[packet(&[0x41, 0x9c], 7200, true)]));
        let out = told(&out);
        assert_eq!(out.first().map(String::as_str), Some("NoEnd"));
        assert_eq!(out.last().map(String::as_str), Some("7200: 419c"));
    }
}

#[test]
fn what_has_no_end_is_thrown_away() {
    let mut depacketiser = h264();
    let mut out = vec![];
    depacketiser.push(&packet(&[0x7c, 0x85, 0x88], 0, false), &mut out);
    let part = packet(&[&[0x7c, 5][..], &vec![0x55; 60_000]].concat(), 0, false);
    for _ in 0..1_000 {
        depacketiser.push(&part, &mut out);
        assert!(depacketiser.held_len() <= MAX_PICTURE_LEN);
    }
    assert_eq!(told(&out), ["TooLarge"]);
    assert_eq!(depacketiser.held_len(), 0);
    // So many small ones, or parameter sets.
    for nal in [&[6, 1][..], &[0x41, 0x9a], &[0x68, 1]] {
        let (mut depacketiser, mut out) = (h264(), vec![]);
        for i in 0..10_000u16 {
            let nal = [nal, &i.to_be_bytes(), &[1]].concat();
            depacketiser.push(&packet(&nal, 0, false), &mut out);
        }
        assert_eq!(told(&out), ["TooMany"]);
    }
    let mut depacketiser = h264();
    let mut out = vec![];
    for i in 0..10_000i64 {
        depacketiser.push(&packet(&[6, 1], i * 3600, true), &mut out);
        assert!(depacketiser.held_len() < 6 * MAX_NALS + 6);
    }
    assert_eq!(told(&out), ["TooMany"; 4], "nothing but what stands in front of pictures");
}

#[test]
fn start_codes_in_the_place_of_packets_are_understood() {
    let annex_b = [&[0x67][..], &SPS[1..], &[0, 0, 0, 1], PPS, &[0, 0, 1, 0x65, 0x88, 1, 0, 0]].concat();
    let fragments =
        [[&[0x7c, 0x87][..], &annex_b[1..20]].concat(), [&[0x7c, 0x47][..], &annex_b[20..]].concat()];
    let aggregate = [&[24, 0, annex_b.len() as u8][..], &annex_b].concat();
    let whole = [&[0, 0, 0, 1][..], &annex_b].concat();
    for packets in [
        &[packet(&annex_b, 0, true)][..],
        &[packet(&aggregate, 0, true)],
        &[packet(&whole, 0, true)],
        &[packet(&fragments[0], 0, false), packet(&fragments[1], 0, true)],
    ] {
        assert_eq!(told(&all(&mut h264(), packets)), ["0: 658801 sets"]);
    }
}

#[test]
fn parameter_sets_are_news_when_they_are_others() {
    let format = Format::read("sprop-parameter-sets=Z0LAHtkAoC/5cBEAAAMAAQAAAwAyjxYuSA==,aMuDyyA=;");
    let mut depacketiser = Depacketiser::new(Coding::H264, &format, true);
    let before = depacketiser.record();
    assert_eq!(before.as_deref(), Some(h264::tests::AVCC));
    let key = |sets: &[&[u8]], ticks: i64| {
        let mut packets: Vec<_> = sets.iter().map(|set| packet(set, ticks, false)).collect();
        packets.push(packet(&[0x65, 0x88], ticks, true));
        packets
    };
    assert_eq!(told(&all(&mut depacketiser, &key(&[], 0))), ["0: 6588"]);
    assert_eq!(told(&all(&mut depacketiser, &key(&[SPS, PPS], 1))), ["1: 6588"], "the same");
    assert_eq!(depacketiser.record(), before);
    let other = [&[0x67, 0x64, 0, 0x28][..], &SPS[4..]].concat();
    assert_eq!(told(&all(&mut depacketiser, &key(&[&other], 2))), ["2: 6588 sets"], "without its PPS");
    assert_ne!(depacketiser.record(), before);
    depacketiser.forget_sets();
    assert_eq!(depacketiser.record(), before, "it was of no use");
    // Another number goes beside it.
    assert_eq!(told(&all(&mut depacketiser, &key(&[&[0x68, 0x60, 1]], 3))), ["3: 6588 sets"]);
    assert!(
        depacketiser
            .record()
            .expect("both")
            .ends_with(&[2, 0, 5, 0x68, 0xcb, 0x83, 0xcb, 0x20, 0, 3, 0x68, 0x60, 1])
    );
}

#[test]
fn decoding_order_numbers_are_refused_by_name() {
    let format = Format::read("sprop-max-don-diff=2");
    let mut depacketiser = Depacketiser::new(Coding::H265, &format, true);
    let out = told(&all(&mut depacketiser, &[packet(&[2, 1, 0, 0, 0x80], 0, true)]));
    assert!(out[0].contains("sprop-max-don-diff"), "{out:?}");
}

/// What x265 sends.
const VPS_265: &[u8] =
    &[0x40, 1, 0x0c, 1, 0xff, 0xff, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x1e, 0x95, 0x98, 9];
const SPS_265: &[u8] = &[
    0x42, 1, 1, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x1e, 0xa0, 0x20, 0x83, 0x16, 0x59, 0x59,
    0xae, 0x4c, 0xaf, 1, 0x68, 8, 0, 0, 3, 0, 8, 0, 0, 3, 0, 0xc8, 0x40,
];
const PPS_265: &[u8] = &[0x44, 1, 0xc1, 0x73, 0xd0, 0x89];

#[test]
fn h265_is_put_together_and_described() {
    let mut depacketiser = h265();
    let aggregate =
        [&[96, 1, 0, 24][..], VPS_265, &[0, 41], SPS_265, &[0, 6], PPS_265, &[0, 3, 0x4e, 1, 5]].concat();
    let packets = [
        packet(&aggregate, 0, false),
        packet(&[98, 1, 0x93, 0xaf, 1], 0, false),
        packet(&[98, 1, 0x53, 2], 0, true),
    ];
    assert_eq!(told(&all(&mut depacketiser, &packets)), ["0: 4e0105 2601af0102 sets"]);
    let track = h265::track(&depacketiser.record().expect("all three came")).expect("it can be used");
    assert_eq!(track.codec, "hvc1.1.6.L30.90");
    // What ffmpeg writes for the same, but for what nobody reads (min_spatial_segmentation_idc and the frame rate).
    let record = depacketiser.record().expect("all three came");
    assert_eq!(record[..13], [1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 0x1e]);
    assert_eq!(record[16..19], [0xfd, 0xf8, 0xf8]);
    assert_eq!(record[21..23], [0x0f, 3]);
}

/// How a camera may send a picture.
#[derive(Clone, Debug)]
enum Send {
    /// Each NAL unit in so many bytes of its own.
    Alone(usize),
    /// With those that follow.
    Together,
}

/// Packs NAL units as the RFCs say.
fn packed(nals: &[Vec<u8>], how: &[Send], coding: Coding, ticks: i64) -> Vec<Packet> {
    let head_len = if coding == Coding::H265 { 2 } else { 1 };
    let mut payloads: Vec<Vec<u8>> = vec![];
    let mut together: Vec<&Vec<u8>> = vec![];
    let flush = |together: &mut Vec<&Vec<u8>>, payloads: &mut Vec<Vec<u8>>| {
        if !together.is_empty() {
            let mut payload = if head_len == 2 { vec![48 << 1, 1] } else { vec![24] };
            for nal in together.drain(..) {
                payload.extend((nal.len() as u16).to_be_bytes());
                payload.extend(nal);
            }
            payloads.push(payload);
        }
    };
    for (nal, how) in nals.iter().zip(how.iter().cycle()) {
        match *how {
            Send::Together => together.push(nal),

            Send::Alone(len) => {
                flush(&mut together, &mut payloads);
                if len >= nal.len() {
                    payloads.push(nal.clone());
                    continue;
                }
                let parts: Vec<_> = nal[head_len..].chunks(len.max(1)).collect();
                for (i, part) in parts.iter().enumerate() {
                    let flags = u8::from(i == 0) << 7 | u8::from(i + 1 == parts.len()) << 6;
                    let head = if head_len == 2 {
                        vec![nal[0] & 0x81 | 0x62, nal[1], flags | nal[0] >> 1 & 63]
                    } else {
                        vec![nal[0] & 0xe0 | 0x1c, flags | nal[0] & 31]
                    };
                    payloads.push([&head[..], part].concat());
                }
            }
        }
    }
    flush(&mut together, &mut payloads);
    let last = payloads.len().saturating_sub(1);
    payloads.iter().enumerate().map(|(i, payload)| packet(payload, ticks, i == last)).collect()
}

/// NAL units of a picture: what stands in front, and slices. No byte of them is 0, as in start codes.
fn picture(coding: Coding) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let nal =
        |head: Vec<u8>, len: usize| vec(1u8.., 1..len).prop_map(move |body| [&head[..], &body].concat());
    let (prefix, slice) =
        if coding == Coding::H265 { (vec![39 << 1, 1], vec![2, 1]) } else { (vec![6], vec![0x41]) };
    (vec(nal(prefix, 20), 0..3), vec(nal(slice, 200), 1..5)).prop_map(|(front, slices)| {
        let mut slices = slices;
        for (i, slice) in slices.iter_mut().enumerate() {
            let at = if slice[0] == 2 { 2 } else { 1 };
            slice[at] = slice[at] & 0x7f | 1 | u8::from(i == 0) << 7;
        }
        [front, slices].concat()
    })
}

fn sending() -> impl Strategy<Value = Vec<Send>> {
    vec(prop_oneof![(1usize..80).prop_map(Send::Alone), Just(Send::Alone(1_000)), Just(Send::Together)], 1..4)
}

fn coding() -> impl Strategy<Value = Coding> {
    prop_oneof![Just(Coding::H264), Just(Coding::H265)]
}

/// A picture's NAL units, and how they are sent.
type Sent = (Vec<Vec<u8>>, Vec<Send>);

fn stream() -> impl Strategy<Value = (Coding, Vec<Sent>)> {
    coding().prop_flat_map(|coding| (Just(coding), vec((picture(coding), sending()), 1..8)))
}

/// Length-prefixed, as it is to come out.
fn whole(nals: &[Vec<u8>]) -> Vec<u8> {
    nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes(), &nal[..]].concat()).collect()
}

proptest! {
    #[test]
    fn however_a_picture_is_packed_it_comes_back((coding, pictures) in stream(), markers: bool) {
        let mut depacketiser = Depacketiser::new(coding, &Format::default(), true);
        let mut out = vec![];
        for (at, (nals, how)) in pictures.iter().enumerate() {
            for mut packet in packed(nals, how, coding, at as i64 * 3600) {
                packet.marker &= markers;
                depacketiser.push(&packet, &mut out);
            }
        }
        let given = if markers { pictures.len() } else { pictures.len() - 1 };
        prop_assert_eq!(out.len(), given);
        for (output, (at, (nals, _))) in out.iter().zip(pictures.iter().enumerate()) {
            let Output::Unit(unit) = output else { panic!("{output:?}") };
            prop_assert_eq!(&unit.data[..], whole(nals));
            prop_assert_eq!(unit.timestamp.timestamp(), at as i64 * 3600);
            prop_assert!(!unit.damaged && unit.loss == 0);
        }
    }

    #[test]
    fn whatever_is_lost_only_whole_pictures_come(
        (coding, pictures) in stream(),
        lost in vec(prop::bool::weighted(0.2), 200),
        markers: bool,
    ) {
        let mut depacketiser = Depacketiser::new(coding, &Format::default(), false);
        let (mut out, mut loss, mut counted) = (vec![], 0, 0);
        let mut lost = lost.into_iter().cycle();
        for (at, (nals, how)) in pictures.iter().enumerate() {
            for mut packet in packed(nals, how, coding, at as i64 * 3600) {
                packet.marker &= markers;
                if lost.next() == Some(true) {
                    loss += 1;
                    continue;
                }
                packet.loss = std::mem::take(&mut loss);
                counted += packet.loss;
                depacketiser.push(&packet, &mut out);
            }
        }
        let mut told = 0;
        for output in &out {
            let Output::Unit(unit) = output else { panic!("a loss is no error: {output:?}") };
            told += unit.loss;
            let (nals, _) = &pictures[(unit.timestamp.timestamp() / 3600) as usize];
            prop_assert!(unit.damaged || unit.data == whole(nals), "{unit:?}");
            // Where it is damaged, it says so and what it has is right.
            prop_assert!(whole(nals).ends_with(&unit.data), "{unit:?}");
        }
        prop_assert!(told <= counted);
    }

    #[test]
    fn no_payloads_make_it_panic_or_grow(
        coding in coding(),
        packets in vec((vec(any::<u8>(), 0..40), 0i64..4, any::<bool>(), 0u16..2), 0..60),
    ) {
        let mut depacketiser = Depacketiser::new(coding, &Format::default(), true);
        let (mut out, mut taken) = (vec![], 0);
        for (payload, ticks, marker, loss) in packets {
            taken += 3 * payload.len() + 8;
            depacketiser.push(&lossy(&payload, ticks, marker, loss), &mut out);
            prop_assert!(depacketiser.held_len() <= taken);
        }
        for output in out {
            let Output::Unit(unit) = output else { continue };
            let read = nal::access_unit(unit.data.clone(), 4, coding).expect("NAL units");
            prop_assert!(read.has_picture);
        }
    }
}
