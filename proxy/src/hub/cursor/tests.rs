use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    hub::{Hub, Publisher, Spec},
    media::{Frame, Media, aac, h264},
};

fn track() -> Track {
    h264::track(h264::tests::AVCC).expect("parses")
}

/// The picture that is shown as the `shown`-th of 25 a second.
fn picture(shown: i64, key_frame: bool, data: &[u8]) -> Frame {
    Frame {
        track: 0,
        pts_ticks: shown * 3_600,
        dts_ticks: None,
        duration_ticks: None,
        capture_time_us: 0,
        key_frame,
        data: Bytes::copy_from_slice(data),
    }
}

struct Camera {
    stream: Arc<Stream>,
    publisher: Publisher,
    start: Instant,
    sent: i64,
}

impl Camera {
    fn start() -> Self {
        let stream = Hub::new([("cam".parse().expect("a name"), false)]).get("cam").expect("there").clone();
        let publisher = stream.publish();
        let start = Instant::now();
        publisher.tracks(vec![track()], start).expect("muxes");
        Self { stream, publisher, start, sent: 0 }
    }

    /// Sends a frame when the `i`-th of 25 a second is due.
    fn pass(&self, i: i64, frame: Frame) {
        self.publisher.frame(frame, self.start + Duration::from_millis(i as u64 * 40));
    }

    /// Sends `count` frames at 25 a second with a key frame each `gop`.
    fn send(&mut self, count: i64, gop: i64) {
        for i in self.sent..self.sent + count {
            self.pass(i, picture(i, i % gop == 0, b"picture"));
        }
        self.sent += count;
    }

    /// Opens an epoch that has sound and no video, and sends `count` frames of it.
    fn send_sound(&mut self, count: i64) {
        // Its times count in the unit of the video above.
        let sound = Track { timescale: 90_000, ..aac::track(&[0x11, 0x88]).expect("parses") };
        self.publisher.tracks(vec![sound], self.start).expect("muxes");
        self.send(count, 1);
    }

    /// Sends pictures that are shown in these places: an open GOP's, if a key frame among them is not shown first.
    fn send_shown(&mut self, shown: &[i64], keys: &[i64]) {
        for (i, shown) in shown.iter().enumerate() {
            let decoded = i as i64;
            let frame = picture(*shown, keys.contains(shown), b"picture");
            self.pass(decoded, Frame { dts_ticks: Some(decoded * 3_600), ..frame });
        }
    }

    fn watch(&self) -> Cursor {
        Cursor::new(self.stream.clone())
    }
}

/// What a viewer got, a letter an item: S state, E epoch, K key frame, f frame, D dropped.
fn letters(cursor: &mut Cursor) -> String {
    std::iter::from_fn(|| cursor.next())
        .map(|item| match item {
            Item::State(..) => 'S',
            Item::Epoch(..) => 'E',
            Item::Fragment(fragment) if fragment.header.key_frame => 'K',
            Item::Fragment(_) => 'f',
            Item::Dropped(_) => 'D',
        })
        .collect()
}

#[test]
fn a_new_viewer_starts_at_the_cached_key_frame_and_learns_where_history_ends() {
    let mut camera = Camera::start();
    camera.send(8, 5);
    let mut cursor = camera.watch();
    assert!(matches!(cursor.next(), Some(Item::State(State::Live, _, None))));
    assert!(matches!(cursor.next(), Some(Item::Epoch(_, Some(7)))));
    assert_eq!(letters(&mut cursor), "Kff");
    camera.send(3, 5);
    assert_eq!(letters(&mut cursor), "ffK");
}

#[test]
fn a_viewer_who_lags_two_seconds_jumps_to_the_newest_key_frame_and_learns_what_it_missed() {
    let mut camera = Camera::start();
    camera.send(1, 50);
    let mut cursor = camera.watch();
    assert_eq!(letters(&mut cursor), "SEK");
    camera.send(109, 50);
    let Some(Item::Dropped(frames)) = cursor.next() else { panic!("not dropped") };
    assert_eq!(frames, 99);
    assert_eq!(letters(&mut cursor), "Kfffffffff");
    assert_eq!(camera.stream.status().counts.frames_dropped, 99);
}

#[test]
fn history_longer_than_the_lag_bound_is_sent_whole_to_a_new_viewer() {
    let mut camera = Camera::start();
    camera.send(200, 250);
    let mut cursor = camera.watch();
    assert_eq!(letters(&mut cursor).len(), "SE".len() + 200);
}

#[test]
fn after_a_loss_nothing_is_passed_on_until_a_key_frame() {
    let mut camera = Camera::start();
    camera.send(2, 5);
    camera.publisher.lost(3);
    camera.send(4, 5);
    assert_eq!(letters(&mut camera.watch()), "SEK");
    let counts = camera.stream.status().counts;
    assert_eq!((counts.packets_lost, counts.frames_discarded), (3, 3));
}

#[test]
fn what_refers_to_pictures_before_an_open_gop_is_left_out_by_whoever_begins_there() {
    let mut camera = Camera::start();
    camera.send(1, 1);
    let mut live = camera.watch();
    assert_eq!(letters(&mut live), "SEK");
    camera.publisher.lost(1);
    // It begins in mid-stream, too: 3 and 4 refer to what came before 5.
    camera.send_shown(&[5, 3, 4, 8, 6, 7, 11, 9, 10, 14, 12], &[5, 11]);
    assert_eq!(camera.stream.status().counts.frames_discarded, 2);
    assert_eq!(letters(&mut live), "KfffKffff", "whoever has seen the pictures before misses nothing");
    assert_eq!(letters(&mut camera.watch()), "SEKff", "9 and 10 refer to 8");
    assert_eq!(camera.stream.status().counts.frames_dropped, 0);
}

#[test]
fn whoever_jumps_to_an_open_key_frame_is_not_given_what_refers_back_either() {
    let mut camera = Camera::start();
    let shown: Vec<i64> = (0..60).collect();
    camera.send_shown(&shown[..1], &[0]);
    let mut cursor = camera.watch();
    assert_eq!(letters(&mut cursor), "SEK");
    let late: Vec<i64> = (0..53).chain([55, 53, 54, 56, 57]).collect();
    camera.send_shown(&late, &[0, 55]);
    assert_eq!(letters(&mut cursor), "DKff", "53 and 54 refer to 52");
}

/// A camera that refreshes its pictures little by little: a recovery point each `gop`, behind which it takes `whole_after` pictures.
fn refresh(camera: &Camera, numbers: std::ops::Range<i64>, gop: i64, whole_after: u32) {
    // recovery_frame_cnt, as an Exp-Golomb code of 7 bits, and two flags behind it.
    assert!((3..7).contains(&whole_after), "of another length");
    let recovery = [0, 0, 0, 5, 0x06, 0x06, 0x01, (whole_after as u8 + 1) << 3 | 0b100, 0x80];
    let slice = [0, 0, 0, 7, 0x41, 0x9a, 0x20, 0x41, 0x3f, 0xb1, 0x22];
    for i in numbers {
        let key_frame = i % gop == 0;
        let data = if key_frame { [&recovery[..], &slice].concat() } else { slice.to_vec() };
        camera.pass(i, picture(i, key_frame, &data));
    }
}

#[test]
fn where_a_camera_sends_no_idr_pictures_whoever_begins_is_given_one_first() {
    let camera = Camera::start();
    refresh(&camera, 1..24, 10, 5);
    let mut first = camera.watch();
    let ours = letters(&mut first).len() - "SE".len() - 14;
    assert!(ours > 1, "those from 10 on, behind ours: behind 20 none is whole yet");
    refresh(&camera, 24..26, 10, 5);
    let now = format!("SEK{}", "f".repeat(ours - 1 + 6));
    assert_eq!(letters(&mut camera.watch()), now, "those from 20 on");
    refresh(&camera, 26..31, 10, 5);
    assert_eq!(letters(&mut first), "fffffff", "whoever looks on is given none again");
    camera.publisher.lost(1);
    refresh(&camera, 31..42, 10, 5);
    assert_eq!(letters(&mut first), format!("K{}", "f".repeat(ours - 1 + 2)), "but behind a gap");
    assert_eq!(camera.stream.status().counts.frames_dropped, 0);
}

#[test]
fn a_lead_in_stands_right_in_front_of_its_picture_and_takes_no_numbers() {
    let camera = Camera::start();
    refresh(&camera, 10..12, 10, 5);
    let mut cursor = camera.watch();
    let fragments: Vec<_> = std::iter::from_fn(|| cursor.next())
        .filter_map(|item| if let Item::Fragment(fragment) = item { Some(fragment.header) } else { None })
        .collect();
    let [lead_in @ .., picture, _] = &fragments[..] else { panic!("{} fragments", fragments.len()) };
    assert!(lead_in.len() > 1 && lead_in[0].key_frame, "{lead_in:?}");
    assert!(!fragments[1..].iter().any(|header| header.key_frame), "players would cut their buffers there");
    for pair in fragments[..=lead_in.len()].windows(2) {
        assert_eq!(pair[0].decode_time_ticks + u64::from(pair[0].duration_ticks), pair[1].decode_time_ticks);
    }
    assert!(lead_in.iter().all(|header| header.sequence.wrapping_add(1) == picture.sequence), "{lead_in:?}");
}

#[test]
fn a_camera_that_comes_back_opens_an_epoch_later_on_the_timeline() {
    let mut camera = Camera::start();
    camera.send(3, 5);
    let mut cursor = camera.watch();
    assert_eq!(letters(&mut cursor), "SEKff");
    let again = camera.stream.publish();
    again.tracks(vec![track()], camera.start).expect("muxes");
    camera.send(1, 1);
    assert_eq!(letters(&mut cursor), "E", "the publisher that was replaced has no say any more");
    camera.publisher = again;
    camera.send(2, 1);
    let Some(Item::Fragment(fragment)) = cursor.next() else { panic!("no fragment") };
    assert_eq!(fragment.header.epoch, 2);
    assert!(fragment.pts_us >= 120_000, "{}", fragment.pts_us);
}

#[test]
fn a_change_of_tracks_in_mid_session_opens_an_epoch_that_goes_on_in_time() {
    let mut camera = Camera::start();
    camera.send(1_000, 1);
    let mut cursor = camera.watch();
    let before = cursor.by_ref().filter_map(|item| match item {
        Item::Fragment(fragment) => Some(fragment.pts_us),
        _ => None,
    });
    let before = before.last().expect("many frames");
    let wide = Track { media: Media::Video { width: 1, height: 1, sample_aspect: (1, 1) }, ..track() };
    camera.publisher.tracks(vec![wide.clone()], camera.start).expect("muxes");
    camera.publisher.tracks(vec![wide], camera.start).expect("muxes");
    camera.send(1, 1);
    assert!(
        matches!(cursor.next(), Some(Item::Epoch(epoch, _)) if epoch.number == 2),
        "said twice, one epoch"
    );
    let Some(Item::Fragment(fragment)) = cursor.next() else { panic!("no fragment") };
    assert_eq!(fragment.pts_us - before, 40_000);
}

#[test]
fn an_offline_stream_has_nothing_to_join() {
    let mut camera = Camera::start();
    camera.send(3, 5);
    let mut cursor = camera.watch();
    letters(&mut cursor);
    drop(camera.publisher);
    let fault = Fault { code: "stalled", reason: "no picture for 4 s".into() };
    camera.stream.set_state(State::Offline, Some(fault.clone()));
    assert!(matches!(cursor.next(), Some(Item::State(State::Offline, _, Some(f))) if f == fault));
    assert_eq!(letters(&mut Cursor::new(camera.stream)), "S");
}

#[test]
fn a_cursor_that_is_dropped_leaves_nothing_behind() {
    let camera = Camera::start();
    let cursor = camera.watch();
    assert_eq!(camera.stream.status().viewers, 1);
    drop(cursor);
    assert_eq!(camera.stream.status().viewers, 0);
}

#[test]
fn a_viewer_of_sound_alone_who_lags_goes_on_at_the_newest_and_learns_what_it_missed() {
    let mut camera = Camera::start();
    camera.send_sound(1);
    let mut cursor = camera.watch();
    assert_eq!(letters(&mut cursor), "SE");
    camera.send_sound(60);
    let Some(Item::Dropped(frames)) = cursor.next() else { panic!("not dropped") };
    assert_eq!((frames, letters(&mut cursor).as_str()), (59, "K"));
    assert_eq!(camera.stream.status().counts.frames_dropped, 59);
}

#[test]
fn a_viewer_who_is_behind_a_newer_key_frame_leaves_out_what_would_only_be_late() {
    let mut camera = Camera::start();
    camera.send(26, 25);
    let mut cursor = camera.watch();
    assert_eq!(letters(&mut cursor), "SEK");
    camera.send(20, 25);
    assert_eq!(letters(&mut cursor).len(), 20, "it is 760 ms behind, and there is no newer one");
    camera.send(16, 25);
    assert_eq!(letters(&mut cursor).len(), 16, "it is 600 ms behind: that is as far as it may");
    camera.send(20, 25);
    assert_eq!(letters(&mut cursor), "DKffffff");
}

/// A link in between that holds a few frames and takes so many bytes in 40 ms.
struct Path {
    camera: Camera,
    cursor: Cursor,
    /// Bytes in it.
    held: i64,
}

/// What a frame of the camera has in all, in bytes, and what a link holds.
const FRAME_LEN: i64 = 4 + 44 + 112 + 7;
const PATH_LEN: i64 = 10 * FRAME_LEN;

impl Path {
    fn new(gop: i64) -> Self {
        let mut camera = Camera::start();
        camera.send(1, gop);
        let cursor = camera.watch();
        Self { camera, cursor, held: 0 }
    }

    /// Lets a frame's time pass, in which the link takes so many bytes. Returns how far behind the live edge each frame is
    /// that went into it.
    fn step(&mut self, gop: i64, takes: i64) -> Vec<i64> {
        self.camera.send(1, gop);
        let newest_us = (self.camera.sent - 1) * 40_000;
        let base_us = self.camera.stream.lock().ring.newest().expect("one").pts_us - newest_us;
        self.held = (self.held - takes).max(0);
        let mut lags = Vec::new();
        while self.held < PATH_LEN {
            match self.cursor.next() {
                Some(Item::Fragment(fragment)) => {
                    self.held += fragment.len() as i64;
                    lags.push(newest_us - (fragment.pts_us - base_us));
                }
                Some(_) => {}
                None => break,
            }
        }
        lags
    }
}

#[test]
fn a_link_that_was_away_is_live_again_soon_whatever_the_key_frame_interval() {
    for gop in [10, 25, 50, 250, 700] {
        let mut path = Path::new(gop);
        for _ in 0..gop + 30 {
            path.step(gop, 4 * FRAME_LEN);
        }
        for _ in 0..75 {
            path.step(gop, 0); // 3 s
        }
        let lags: Vec<_> = (0..30).map(|_| path.step(gop, 4 * FRAME_LEN)).collect();
        let last = lags.iter().rev().flatten().next().expect("frames");
        assert_eq!(*last, 0, "1.2 s after, with a key frame each {gop}");
    }
}

#[test]
fn a_link_of_half_the_streams_rate_shows_what_is_new_and_most_of_the_time_something() {
    for gop in [10, 25, 50, 250] {
        let mut path = Path::new(gop);
        for _ in 0..gop + 5 {
            path.step(gop, 4 * FRAME_LEN);
        }
        let slow: Vec<i64> = (0..4 * gop.max(50)).flat_map(|_| path.step(gop, FRAME_LEN / 2)).collect();
        assert!(*slow.iter().max().expect("frames") <= 2_700_000, "{gop}: {slow:?}");
        // The link is used, but for when it waits for the last third of a long group.
        assert!(slow.len() as i64 * 4 > 4 * gop.max(50), "{gop}: {}", slow.len());
        // And is live at once when it takes all again, from the next key frame on.
        let fast: Vec<_> = (0..gop + 30).map(|_| path.step(gop, 4 * FRAME_LEN)).collect();
        assert_eq!(fast.iter().rev().flatten().next(), Some(&0), "{gop}");
    }
}

proptest! {
    #[test]
    fn no_link_however_it_changes_shows_what_is_long_past(
        gop in 3..260i64,
        rates in proptest::collection::vec((0..4 * FRAME_LEN, 1..60i64), 1..12),
    ) {
        let mut path = Path::new(gop);
        // The interval is known with the second key frame.
        for _ in 0..=gop {
            path.step(gop, 4 * FRAME_LEN);
        }
        for (takes, frames) in rates {
            let mut went = Vec::new();
            for _ in 0..frames {
                went.extend(path.step(gop, takes));
            }
            // What waits while a link is away is old when it is back, at most for the time in which it is looked what
            // it takes; else it was sent at a rate that promised less.
            let late = went.iter().filter(|lag| **lag > 4_000_000).count() as i64;
            prop_assert!(late <= 15 * (takes / FRAME_LEN + 1) + 15, "{late} frames of {}", went.len());
        }
    }
}

#[test]
fn no_more_watch_than_there_is_room_for() {
    let name: crate::config::StreamName = "cam".parse().expect("a name");
    let hub =
        Hub::with([Spec { name, on_demand: false, max_viewers: Some(2), qualities: Vec::new() }], usize::MAX);
    let stream = hub.get("cam").expect("there");
    let [first, _second] = [0, 1].map(|_| stream.admit().expect("room"));
    assert!(stream.admit().is_none());
    drop(first);
    assert!(stream.admit().is_some());
}
