//! A frame of video costs one allocation of its own and one copy on its way through the proxy.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sightline::{
    hub::Hub,
    media::{Coding, Frame, pictures::Pictures},
};

/// x264, baseline: SPS and PPS in a configuration; the beginnings of an IDR picture and of the one behind it.
const AVCC: &[u8] = &[
    1, 0x42, 0xc0, 0x0a, 0xff, 0xe1, 0, 21, 0x67, 0x42, 0xc0, 0x0a, 0xda, 0x11, 0xec, 0x04, 0x40, 0, 0, 3, 0,
    0x40, 0, 0, 0x0c, 0xa3, 0xc4, 0x89, 0xa8, 1, 0, 4, 0x68, 0xce, 0x0f, 0xc8,
];
const IDR: &[u8] = &[0x65, 0x88, 0x84, 0x3a, 0x0c, 0x60, 0x01, 0x6c];
const P: &[u8] = &[0x41, 0x9a, 0x22, 0x8b];

const FRAME_LEN: usize = 8_192;

#[test]
fn a_frame_of_video_is_copied_once() {
    let hub = Hub::new([("cam".parse().expect("a name"), false)]);
    let publisher = hub.get("cam").expect("the stream").publish();
    let mut pictures = Pictures::new(Coding::H264);
    let begun = Instant::now();
    publisher.tracks(vec![pictures.configure(AVCC).expect("a track")], begun).expect("muxes");
    let mut pass = |i: u32| {
        let mut nal = if i.is_multiple_of(50) { IDR } else { P }.to_vec();
        nal.resize(FRAME_LEN, 0x55);
        let data = Bytes::from([&(FRAME_LEN as u32).to_be_bytes(), &nal[..]].concat());
        let mut passed = false;
        let cost = allocation_counter::measure(|| {
            let pts_ticks = i64::from(i) * 3_600;
            let unit = pictures.read(data, pts_ticks).expect("good").expect("a picture");
            let picture = pictures.place(unit, pts_ticks);
            let frame = Frame {
                track: 0,
                pts_ticks,
                dts_ticks: picture.dts_ticks,
                duration_ticks: None,
                capture_time_us: 0,
                key_frame: picture.key_frame,
                data: picture.data,
            };
            passed = publisher.frame(&frame, begun + Duration::from_millis(40) * i);
        });
        assert!(passed, "frame {i}");
        cost
    };
    // Until the ring has grown to its size.
    for i in 0..1_000 {
        pass(i);
    }
    for i in 1_000..1_100 {
        let cost = pass(i);
        // The message, its reference count, the fragment.
        assert!(cost.count_total <= 3, "frame {i}: {cost:?}");
        assert!(cost.bytes_total < FRAME_LEN as u64 + 512, "frame {i}: {cost:?}");
    }
}
