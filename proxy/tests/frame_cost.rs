//! A frame of video costs one small allocation and no copy on its way through the proxy, up to the sockets.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sightline::{
    hub::{Cursor, Fragment, Hub, Item},
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

/// Everything from the fragment's one allocation aside from the frame's bytes.
const OVERHEAD_MAX: u64 = 512;

#[test]
fn a_frame_of_video_is_never_copied() {
    let hub = Hub::new([("cam".parse().expect("a name"), false)]);
    let stream = hub.get("cam").expect("the stream");
    let publisher = stream.publish();
    let mut pictures = Pictures::new(Coding::H264);
    let begun = Instant::now();
    publisher.tracks(vec![pictures.configure(AVCC).expect("a track")], begun).expect("muxes");
    let mut viewers = [Cursor::new(stream.clone()), Cursor::new(stream.clone())];
    let mut pass = |i: u32| {
        let mut nal = if i.is_multiple_of(50) { IDR } else { P }.to_vec();
        nal.resize(FRAME_LEN, 0x55);
        let data = [&(FRAME_LEN as u32).to_be_bytes(), &nal[..]].concat();
        let came_at = data.as_ptr();
        let mut fragments: [Option<Arc<Fragment>>; 2] = [None, None];
        let cost = allocation_counter::measure(|| {
            let pts_ticks = i64::from(i) * 3_600;
            // As retina gives it.
            let unit = pictures.read(data.into(), pts_ticks).expect("good").expect("a picture");
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
            assert!(publisher.frame(frame, begun + Duration::from_millis(40) * i), "frame {i}");
            for (viewer, fragment) in viewers.iter_mut().zip(&mut fragments) {
                *fragment = viewer.find_map(|item| match item {
                    Item::Fragment(fragment) => Some(fragment),
                    _ => None,
                });
            }
        });
        for fragment in fragments {
            let fragment = fragment.expect("both get it");
            let [head, payload] = fragment.parts();
            assert_eq!((payload.as_ptr(), payload.len()), (came_at, FRAME_LEN + 4), "frame {i} was copied");
            assert_eq!(fragment.payload().as_ptr(), came_at);
            assert_eq!(head.len() + payload.len(), fragment.len());
        }
        cost
    };
    // Until the ring has grown to its size.
    for i in 0..1_000 {
        pass(i);
    }
    for i in 1_000..1_100 {
        let cost = pass(i);
        assert!(cost.count_total <= 1, "frame {i}: {cost:?}");
        assert!(cost.bytes_total <= OVERHEAD_MAX, "frame {i}: {cost:?}");
    }
}
