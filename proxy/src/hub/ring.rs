//! The last seconds of a stream, as shared fragments, bounded in bytes and in time.
//!
//! PURE. Positions count every fragment ever pushed; a fragment keeps its position while it is held. Invariant: what is
//! held from [`Ring::newest_key`] on is complete, so that decoding can begin there.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{fragment::Fragment, lag::Place};

/// How much a ring holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes of fragments.
    pub(super) bytes: usize,
    /// Microseconds between the oldest fragment and the newest.
    pub(super) span_us: i64,
}

impl Default for Limits {
    /// 48 MiB and 30 s: a group of pictures of 30 s at 12 Mb/s. A camera with a longer one starts at its next key frame.
    fn default() -> Self {
        Self { bytes: 48 << 20, span_us: 30_000_000 }
    }
}

/// What all rings together may hold. While they hold more, each one lets go of what is beyond its share.
#[derive(Debug)]
pub(super) struct Memory {
    max: usize,
    share: usize,
    bytes: AtomicUsize,
}

impl Memory {
    /// Memory of so many bytes for so many rings.
    pub(super) fn new(max: usize, rings: usize) -> Arc<Self> {
        Arc::new(Self { max, share: max / rings.max(1), bytes: AtomicUsize::new(0) })
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.max
    }
}

/// How much older fragments than the newest key frame may be and still be kept for viewers who lag, in microseconds.
const LAG_SPAN_US: i64 = 2_000_000;

/// The ring itself.
#[derive(Debug)]
pub(super) struct Ring {
    limits: Limits,
    memory: Arc<Memory>,
    fragments: VecDeque<Held>,
    /// Position of the first fragment held.
    first: u64,
    bytes: usize,
    /// Bytes of every fragment ever pushed.
    pushed: u64,
    newest_key: Option<u64>,
    /// One that is newer, with which no picture is whole before so many more have come.
    ripening: Option<(u64, u32)>,
    /// Presentation time of the last key frame of video, and from the one before to it.
    last_key_us: Option<i64>,
    key_interval_us: Option<i64>,
}

#[derive(Debug)]
struct Held {
    fragment: Arc<Fragment>,
    /// Bytes of every fragment that was pushed before it.
    before: u64,
}

impl Ring {
    /// An empty ring.
    pub(super) fn new(limits: Limits, memory: Arc<Memory>) -> Self {
        Self {
            limits,
            memory,
            fragments: VecDeque::new(),
            first: 0,
            bytes: 0,
            pushed: 0,
            newest_key: None,
            ripening: None,
            last_key_us: None,
            key_interval_us: None,
        }
    }

    /// Adds the newest fragment and lets go of what is too old.
    pub(super) fn push(&mut self, fragment: Arc<Fragment>) {
        if fragment.video {
            self.ripen(&fragment);
        }
        if fragment.video
            && fragment.is_entry
            && let Some(last_us) = self.last_key_us.replace(fragment.pts_us)
        {
            self.key_interval_us = Some(fragment.pts_us.saturating_sub(last_us));
        }
        let now_us = fragment.pts_us;
        let before = self.pushed;
        let held_len = fragment.held_len();
        self.bytes += held_len;
        self.memory.bytes.fetch_add(held_len, Ordering::Relaxed);
        self.pushed += fragment.len() as u64;
        self.fragments.push_back(Held { fragment, before });
        while let Some(oldest) = self.fragments.front() {
            let age_us = now_us.saturating_sub(oldest.fragment.pts_us);
            let before_key = self.newest_key.is_some_and(|key| self.first < key);
            let span_us = if before_key { LAG_SPAN_US.min(self.limits.span_us) } else { self.limits.span_us };
            // The newest one always gets through.
            let crowded = self.bytes > self.memory.share && self.fragments.len() > 1 && self.memory.is_full();
            if self.bytes <= self.limits.bytes && age_us <= span_us && !crowded {
                break;
            }
            self.pop();
        }
    }

    /// Finds with which picture whoever joins begins: the newest one behind which one is whole already, or for want of such a one
    /// any.
    fn ripen(&mut self, next: &Fragment) {
        self.ripening = match self.ripening.take() {
            Some((position, 0 | 1)) => {
                self.newest_key = Some(position);
                None
            }
            Some((position, pictures)) => Some((position, pictures - 1)),
            None => None,
        };
        let end = self.end();
        if next.is_entry && (next.whole_after() == 0 || self.newest_key.is_none()) {
            (self.newest_key, self.ripening) = (Some(end), None);
        } else if next.is_entry && self.ripening.is_none() {
            self.ripening = Some((end, next.whole_after()));
        }
    }

    fn pop(&mut self) {
        if let Some(held) = self.fragments.pop_front() {
            let held_len = held.fragment.held_len();
            self.bytes -= held_len;
            self.memory.bytes.fetch_sub(held_len, Ordering::Relaxed);
            if self.newest_key == Some(self.first) {
                self.newest_key = self.ripening.take().map(|(position, _)| position);
            }
            self.first += 1;
        }
    }

    /// Lets go of everything. Positions go on.
    pub(super) fn clear(&mut self) {
        self.first = self.end();
        self.fragments.clear();
        self.memory.bytes.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
        (self.newest_key, self.ripening) = (None, None);
        self.last_key_us = None; // the interval is likely to stay as it was
    }

    /// Bytes of all that is held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The position behind the newest fragment.
    pub(super) fn end(&self) -> u64 {
        self.first + self.fragments.len() as u64
    }

    /// The position of the newest key frame of video.
    pub(super) fn newest_key(&self) -> Option<u64> {
        self.newest_key
    }

    /// The fragment at `position`, if it is still, or already, held.
    pub(super) fn get(&self, position: u64) -> Option<&Arc<Fragment>> {
        self.held(position).map(|held| &held.fragment)
    }

    fn held(&self, position: u64) -> Option<&Held> {
        self.fragments.get(usize::try_from(position.checked_sub(self.first)?).ok()?)
    }

    /// The newest fragment.
    pub(super) fn newest(&self) -> Option<&Arc<Fragment>> {
        self.fragments.back().map(|held| &held.fragment)
    }

    /// Presentation time at which the next key frame is due, in microseconds.
    pub(super) fn due_us(&self) -> Option<i64> {
        Some(self.last_key_us?.saturating_add(self.key_interval_us?))
    }

    /// How much later the newest fragment was received than the one at `position`, if that is held.
    pub(super) fn waited(&self, position: u64) -> Option<Duration> {
        Some(self.newest()?.received.saturating_duration_since(self.get(position)?.received))
    }

    /// Where a viewer for whom the fragment at `position` is next stands, if that is held.
    pub(super) fn place(&self, position: u64) -> Option<Place> {
        let next = self.held(position)?;
        let now_us = self.newest()?.pts_us;
        Some(Place {
            now_us,
            lag_us: now_us.saturating_sub(next.fragment.pts_us),
            backlog: self.pushed - next.before,
            newer_key: self.newest_key.is_some_and(|key| key > position),
            key_interval_us: self.key_interval_us,
            since_key_us: self.last_key_us.map_or(0, |key_us| now_us.saturating_sub(key_us)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use sightline_wire::{Header, Kind};

    use super::*;

    /// What a small frame has in front of its own bytes.
    const HEAD: usize = 4 + 44 + 112;

    fn ring(limits: Limits) -> Ring {
        Ring::new(limits, Memory::new(usize::MAX, 1))
    }

    fn fragment(pts_us: i64, key_frame: bool, video: bool, len: usize) -> Arc<Fragment> {
        let header = Header { kind: Kind::Media, key_frame, ..Header::init(1, 1, 0) };
        let fragment = Fragment::new(header, None, 0, vec![0; len - HEAD].into(), pts_us, Instant::now());
        assert_eq!(fragment.len(), len);
        Arc::new(fragment.of_video(video, 0))
    }

    #[test]
    fn the_current_gop_is_held_whole_and_older_ones_for_two_seconds() {
        let mut ring = ring(Limits::default());
        for i in 0..500 {
            ring.push(fragment(i * 40_000, i % 250 == 0, true, 200));
        }
        assert_eq!(ring.newest_key(), Some(250));
        assert_eq!(ring.first, 250, "the group before is older than two seconds");
        assert_eq!(ring.end(), 500);
        for i in 500..520 {
            ring.push(fragment(i * 40_000, i % 250 == 0, true, 200));
        }
        assert_eq!(ring.newest_key(), Some(500));
        assert_eq!(ring.first, 519 - 50);
    }

    #[test]
    fn a_gop_past_the_limits_is_let_go_and_has_no_key_frame() {
        let mut ring = ring(Limits { bytes: 2_000, span_us: i64::MAX });
        for i in 0..20 {
            ring.push(fragment(i * 40_000, i == 0, true, 200));
        }
        assert_eq!((ring.newest_key(), ring.bytes), (None, 2_000));
    }

    #[test]
    fn a_place_is_told_in_time_in_bytes_and_by_key_frames() {
        let mut ring = ring(Limits::default());
        for i in 0..60 {
            ring.push(fragment(i * 40_000, i % 25 == 0, true, 200));
        }
        let place = ring.place(40).expect("held");
        assert_eq!((place.now_us, place.lag_us, place.backlog), (59 * 40_000, 19 * 40_000, 20 * 200));
        assert_eq!((place.newer_key, place.key_interval_us), (true, Some(1_000_000)));
        assert_eq!(place.since_key_us, 9 * 40_000);
        assert!(!ring.place(50).expect("held").newer_key);
        assert!(ring.place(60).is_none());
    }

    #[test]
    fn rings_that_are_too_large_together_let_go_of_what_is_beyond_their_share() {
        let memory = Memory::new(6_000, 2);
        let limits = Limits { bytes: 100_000, span_us: i64::MAX };
        let [mut large, mut small] = [0, 1].map(|_| Ring::new(limits, memory.clone()));
        for i in 0..30 {
            large.push(fragment(i * 40_000, i == 0, true, 200));
        }
        assert_eq!((large.bytes(), large.newest_key()), (6_000, Some(0)), "there is room");
        for i in 0..10 {
            small.push(fragment(i * 40_000, i == 0, true, 200));
            large.push(fragment((30 + i) * 40_000, false, true, 200));
        }
        assert_eq!((small.bytes(), small.newest_key()), (2_000, Some(0)), "its share is its own");
        assert!(large.bytes() <= 4_000 && large.newest_key().is_none(), "{}", large.bytes());
        large.push(fragment(2_000_000, true, true, 9_000));
        assert_eq!(large.bytes(), 9_000, "the newest fragment gets through, however large");
        large.clear();
        small.clear();
        assert_eq!(memory.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn clearing_keeps_positions_going() {
        let mut ring = ring(Limits::default());
        ring.push(fragment(0, true, true, 300));
        ring.clear();
        ring.push(fragment(1, true, true, 300));
        assert_eq!((ring.newest_key(), ring.end()), (Some(1), 2));
        assert!(ring.get(0).is_none());
    }

    proptest! {
        #[test]
        fn no_camera_makes_it_grow_past_its_limits(
            frames in proptest::collection::vec((0i64..3_000_000, any::<bool>(), any::<bool>(), 300usize..5_000), 1..300)
        ) {
            let limits = Limits { bytes: 20_000, span_us: 10_000_000 };
            let (mut ring, mut now) = (ring(limits), 0);
            for (step, key, video, len) in frames {
                now += step;
                ring.push(fragment(now, key, video, len));
                prop_assert!(ring.bytes <= limits.bytes);
                prop_assert_eq!(ring.bytes, ring.fragments.iter().map(|held| held.fragment.held_len()).sum::<usize>());
                let span = ring.fragments.front().map_or(0, |held| now - held.fragment.pts_us);
                prop_assert!(span <= limits.span_us);
                if let Some(key) = ring.newest_key() {
                    let fragment = ring.get(key).expect("the newest key frame is held");
                    prop_assert!(fragment.header.key_frame && fragment.video);
                }
            }
        }
    }
}
