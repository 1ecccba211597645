//! What the qualities of one stream share, so that a viewer can go from one to another: numbers that do not come twice, and
//! one timeline.

use std::{
    sync::atomic::{AtomicI64, AtomicU32, Ordering},
    time::Instant,
};

/// Where timelines begin, in microseconds: room for sound that is earlier than the first picture, and for browsers. WebKitGTK
/// fails ("not-linked") and begins anew, for up to 6 s, with a stream that begins in the first second of its time.
const BEGINS_US: i64 = 10_000_000;

/// Each picture that is later than expected takes the lead back by such a part of the difference.
const FOLLOWS: i64 = 32;

/// What the qualities of a stream share.
#[derive(Debug)]
pub(super) struct Group {
    origin: Instant,
    epochs: AtomicU32,
    fragments: AtomicU32,
    /// How far pictures stand ahead of when they were received, on the timeline, in microseconds: those that were held up
    /// least. A camera's clock drifts from ours by seconds in a day, and a quality that is connected to later has to stand
    /// beside the others, rather a little ahead of them than behind.
    lead_us: Option<AtomicI64>,
}

impl Group {
    /// For so many qualities.
    pub(super) fn new(qualities: usize) -> Self {
        Self {
            origin: Instant::now(),
            epochs: AtomicU32::new(0),
            fragments: AtomicU32::new(0),
            lead_us: (qualities > 1).then(AtomicI64::default),
        }
    }

    /// Where on the timeline what happens at this time stands, in microseconds.
    pub(super) fn elapsed_us(&self, at: Instant) -> i64 {
        let since_us =
            i64::try_from(at.saturating_duration_since(self.origin).as_micros()).unwrap_or(i64::MAX);
        since_us.saturating_add(BEGINS_US)
    }

    /// The number of the next epoch, from 1 on.
    pub(super) fn next_epoch(&self) -> u32 {
        self.epochs.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// The number of the next fragment.
    pub(super) fn next_sequence(&self) -> u32 {
        self.fragments.fetch_add(1, Ordering::Relaxed)
    }

    /// A picture of this presentation time was received at `received_us`.
    pub(super) fn passed(&self, pts_us: i64, received_us: i64) {
        let Some(lead_us) = &self.lead_us else { return };
        let (now, before) = (pts_us.saturating_sub(received_us), lead_us.load(Ordering::Relaxed));
        // Two qualities may get in each other's way here: each says the same.
        let follows = before.saturating_add(now.saturating_sub(before) / FOLLOWS);
        lead_us.store(now.max(follows), Ordering::Relaxed);
    }

    /// Where on the timeline the first picture of a session stands that was received at `received_us`, not before `end_us`:
    /// behind all that came of other qualities. None where there are no others: a session stands where it began.
    pub(super) fn stands_at_us(&self, received_us: i64, end_us: i64) -> Option<i64> {
        let lead_us = self.lead_us.as_ref()?.load(Ordering::Relaxed);
        Some(received_us.saturating_add(lead_us).max(end_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_begins_later_stands_where_pictures_that_were_not_held_up_do() {
        let group = Group::new(2);
        let lead_us = |group: &Group, now_us| group.stands_at_us(now_us, 0).map(|at_us| at_us - now_us);
        assert_eq!(lead_us(&group, 7_000_000), Some(0), "there is nothing to stand beside");
        assert_eq!(group.stands_at_us(7_000_000, 8_000_000), Some(8_000_000), "it does not go back");
        // A camera's clock that is 3 s ahead by now, and pictures that are up to 60 ms late.
        for i in 0..1_000 {
            group.passed(i * 40_000 + 3_000_000, i * 40_000 + i % 4 * 20_000);
            let newest_us = i * 40_000 + 3_000_000;
            let next = group.stands_at_us(i * 40_000 + i % 4 * 20_000 + 1, 0);
            assert!(next > Some(newest_us), "in front of what came just before");
        }
        let lead = lead_us(&group, 50_000_000);
        assert!(lead > Some(2_990_000) && lead <= Some(3_000_000), "{lead:?}");
        // And one that is slow: the lead goes after it.
        for i in 1_000..2_000 {
            group.passed(i * 40_000, i * 40_000);
        }
        assert!(lead_us(&group, 90_000_000) < Some(1_000));
        let alone = Group::new(1);
        alone.passed(9_000_000, 0);
        assert_eq!(alone.stands_at_us(5, 0), None);
    }

    #[test]
    fn nothing_stands_in_the_first_second_of_the_timeline() {
        let group = Group::new(1);
        let now = Instant::now();
        assert!(group.elapsed_us(now) >= BEGINS_US);
        let later = now + std::time::Duration::from_secs(3);
        assert_eq!(group.elapsed_us(later) - group.elapsed_us(now), 3_000_000);
    }

    #[test]
    fn no_number_comes_twice() {
        let group = Group::new(2);
        assert_eq!([group.next_epoch(), group.next_epoch()], [1, 2]);
        assert_eq!([group.next_sequence(), group.next_sequence()], [0, 1]);
    }
}
