//! A viewer's position in a stream.
//!
//! There is no queue for a viewer: it asks for what comes next when it can take it. One that lags too far jumps to the
//! newest key frame and learns how much it missed.

use std::sync::Arc;

use super::{
    fragment::Fragment,
    ring::Ring,
    status::{Fault, State},
    stream::{Epoch, Leading, Stream},
};
use crate::media::Track;

/// How far a viewer that had reached the live edge may fall behind it, in microseconds, while there is a newer key frame
/// to go on from.
const MAX_LAG_US: i64 = 2_000_000;

/// What comes next for a viewer.
#[derive(Clone, Debug)]
pub enum Item {
    /// The stream's state changed: a new one, since when (microseconds since 1970), and what is wrong.
    State(State, i64, Option<Fault>),
    /// An epoch begins. Fragments up to the given sequence are history.
    Epoch(Arc<Epoch>, Option<u32>),
    /// The next frame.
    Fragment(Arc<Fragment>),
    /// So many frames of video were left out; the next fragment is a key frame.
    Dropped(u32),
}

/// A viewer of one stream. Dropping it ends the watching.
#[derive(Debug)]
pub struct Cursor {
    stream: Arc<Stream>,
    version: Option<u64>,
    epoch: Option<u32>,
    position: u64,
    /// Whether the live edge was reached since the last start at a key frame.
    caught_up: bool,
    /// Whether nothing can be decoded before the next key frame.
    awaiting_key_frame: bool,
    leading: Leading,
    /// The number of the next frame of video, once one was given out.
    video_number: Option<u64>,
}

impl Cursor {
    /// Begins to watch `stream`. When there may be something is told by [`Stream::listen`]'s waker.
    pub fn new(stream: Arc<Stream>) -> Self {
        stream.join();
        Self {
            stream,
            version: None,
            epoch: None,
            position: 0,
            caught_up: false,
            awaiting_key_frame: true,
            leading: Leading::default(),
            video_number: None,
        }
    }

    /// The stream being watched.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Where to go on instead of where it stands, if it has fallen too far behind.
    fn jump(&self, ring: &Ring) -> Option<u64> {
        if self.position >= ring.end() {
            return None;
        }
        let key = ring.newest_key();
        let Some(next) = ring.get(self.position) else {
            // It was let go: the viewer was slower than the ring is long.
            return Some(key.unwrap_or_else(|| ring.end()));
        };
        let lag_us = ring.newest()?.pts_us.saturating_sub(next.pts_us);
        key.filter(|key| *key > self.position && self.caught_up && lag_us > MAX_LAG_US)
    }
}

/// What comes next, as far as it is there already: `None` is not the end, but a pause until a waker is told.
impl Iterator for Cursor {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let stream = self.stream.clone();
        let mut guard = stream.lock();
        let shared = &mut *guard;
        if self.version != Some(shared.version) {
            self.version = Some(shared.version);
            return Some(Item::State(shared.state, shared.since_time_us, shared.fault.clone()));
        }
        let ring = &shared.ring;
        let epoch = shared.epoch.as_ref()?;
        if self.epoch != Some(epoch.number) {
            self.epoch = Some(epoch.number);
            self.caught_up = false;
            self.video_number = None;
            self.awaiting_key_frame = epoch.tracks.iter().any(Track::is_video);
            // Without a key frame (a group of pictures past the ring's limits) it begins at the next one.
            self.position = ring.newest_key().unwrap_or_else(|| ring.end());
            let catch_up = ring.newest_key().and(ring.newest()).map(|newest| newest.header.sequence);
            return Some(Item::Epoch(epoch.clone(), catch_up));
        }
        if let Some(to) = self.jump(ring) {
            self.position = to;
            self.caught_up = false;
            self.awaiting_key_frame = epoch.tracks.iter().any(Track::is_video);
        }
        loop {
            let Some(fragment) = ring.get(self.position) else {
                self.caught_up = true;
                return None;
            };
            if self.awaiting_key_frame && !(fragment.video && fragment.header.key_frame) {
                self.position += 1;
                continue;
            }
            let begins = std::mem::replace(&mut self.awaiting_key_frame, false);
            if fragment.video && self.leading.refers_back(fragment.pts_us, begins) {
                self.position += 1;
                self.video_number = Some(fragment.video_number + 1);
                continue;
            }
            let missed = self.video_number.map_or(0, |number| fragment.video_number.saturating_sub(number));
            self.video_number = Some(fragment.video_number + u64::from(fragment.video));
            if missed > 0 {
                // It is looked at once more, and begins then.
                self.awaiting_key_frame = begins;
                shared.counts.frames_dropped += missed;
                return Some(Item::Dropped(u32::try_from(missed).unwrap_or(u32::MAX)));
            }
            self.position += 1;
            return Some(Item::Fragment(fragment.clone()));
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.stream.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bytes::Bytes;

    use super::*;
    use crate::{
        hub::Publisher,
        media::{Frame, Media, h264},
    };

    fn track() -> Track {
        h264::track(h264::tests::AVCC).expect("parses")
    }

    struct Camera {
        stream: Arc<Stream>,
        publisher: Publisher,
        start: Instant,
        sent: i64,
    }

    impl Camera {
        fn start() -> Self {
            let stream = Stream::new("cam".parse().expect("a name"), 7, false);
            let publisher = stream.publish();
            let start = Instant::now();
            publisher.tracks(vec![track()], start).expect("muxes");
            Self { stream, publisher, start, sent: 0 }
        }

        /// Sends `count` frames at 25 a second with a key frame each `gop`.
        fn send(&mut self, count: i64, gop: i64) {
            for i in self.sent..self.sent + count {
                let frame = Frame {
                    track: 0,
                    pts_ticks: i * 3_600,
                    dts_ticks: None,
                    duration_ticks: None,
                    capture_time_us: 0,
                    key_frame: i % gop == 0,
                    data: Bytes::from_static(b"picture"),
                };
                self.publisher.frame(frame, self.start + Duration::from_millis(i as u64 * 40));
            }
            self.sent += count;
        }

        /// Sends pictures that are shown in these places: an open GOP's, if a key frame among them is not shown first.
        fn send_shown(&mut self, shown: &[i64], keys: &[i64]) {
            for (i, shown) in shown.iter().enumerate() {
                let frame = Frame {
                    track: 0,
                    pts_ticks: shown * 3_600,
                    dts_ticks: Some(i as i64 * 3_600),
                    duration_ticks: None,
                    capture_time_us: 0,
                    key_frame: keys.contains(shown),
                    data: Bytes::from_static(b"picture"),
                };
                self.publisher.frame(frame, self.start + Duration::from_millis(i as u64 * 40));
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
}
