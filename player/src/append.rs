//! The operation queue of one SourceBuffer, and what of the past may be thrown away.
//!
//! A SourceBuffer does one thing at a time and tells when it is done. Everything it shall do waits here; what waits
//! together is appended together, so that a cached GOP of 250 frames costs a few appends and not 250.
//! Time limits, seeking and the choice of the live edge do not belong here.
//!
//! Invariant: at most one operation is in flight, operations keep their order, and the bytes waiting are bounded.

use crate::prelude::*;

/// Bytes that may wait for one SourceBuffer. A browser that is this far behind will not catch up: start over.
pub const MAX_WAITING_BYTES: usize = 24 << 20;

/// The most bytes put into one append. Chromium refuses an append that is larger than its whole quota.
const MAX_APPEND_BYTES: usize = 8 << 20;

/// How much of the past is kept behind the playhead, in seconds: trimmed to `.0` when it exceeds `.1`.
const KEEP_S: (f64, f64) = (5.0, 10.0);

/// How far before a key frame a cut is made, in seconds. `remove` goes on to the next key frame at or after its end:
/// with an end that the browser's rounding puts behind the key frame, Firefox removes the whole GOP being played.
const BEFORE_KEY_FRAME_S: f64 = 0.005;

/// Key frames remembered; at one a second this is ten minutes, far more than is kept.
const MAX_KEY_FRAMES: usize = 600;

/// What a SourceBuffer is told to do. `P` is a payload: opaque here, never looked into.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation<P> {
    /// `changeType(mime)`.
    ChangeType(String),
    /// `appendBuffer` of these, joined. Always whole segments.
    Append(Vec<P>),
    /// `remove(0, end_s)`.
    RemoveBefore {
        /// Everything before this presentation time goes, in seconds.
        end_s: f64,
    },
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `QuotaExceededError`: the SourceBuffer is full.
    Quota,
    /// Anything else: the MediaSource is no longer of use.
    Broken,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Space is made and the same bytes are tried once more.
    Retry,
    /// The MediaSource has to be built anew.
    Rebuild,
}

#[derive(Clone, Debug)]
enum Item<P> {
    ChangeType(String),
    Payload(P, usize),
    RemoveBefore(f64),
}

/// The queue of one SourceBuffer.
#[derive(Debug)]
pub struct Queue<P> {
    /// In front those that are in flight.
    items: Vec<Item<P>>,
    in_flight: usize,
    waiting_bytes: usize,
    retried: bool,
    has_appended: bool,
}

impl<P> Default for Queue<P> {
    fn default() -> Self {
        Self { items: Vec::new(), in_flight: 0, waiting_bytes: 0, retried: false, has_appended: false }
    }
}

impl<P> Item<P> {
    fn bytes(&self) -> usize {
        if let Self::Payload(_, bytes) = self { *bytes } else { 0 }
    }
}

impl<P: Clone> Queue<P> {
    /// Adds a whole segment of `bytes` bytes. `false` when too much waits already; the segment is then not taken.
    #[must_use]
    pub fn push(&mut self, payload: P, bytes: usize) -> bool {
        if self.waiting_bytes.saturating_add(bytes) > MAX_WAITING_BYTES {
            return false;
        }
        self.waiting_bytes += bytes;
        self.items.push(Item::Payload(payload, bytes));
        true
    }

    /// What follows is of another codec.
    pub fn change_type(&mut self, mime: String) {
        self.items.push(Item::ChangeType(mime));
    }

    /// Forgets everything before `end_s`, once what waits already is appended.
    pub fn remove_before(&mut self, end_s: f64) {
        self.items.push(Item::RemoveBefore(end_s));
    }

    /// The next operation, or `None` while one is in flight or nothing waits.
    pub fn next_operation(&mut self) -> Option<Operation<P>> {
        if self.in_flight > 0 {
            return None;
        }
        let (operation, count) = match self.items.first()? {
            Item::ChangeType(mime) => (Operation::ChangeType(mime.clone()), 1),
            Item::RemoveBefore(end_s) => (Operation::RemoveBefore { end_s: *end_s }, 1),
            Item::Payload(..) => {
                let mut payloads = Vec::new();
                let mut total = 0;
                for item in &self.items {
                    let Item::Payload(payload, bytes) = item else { break };
                    if total > 0 && total + bytes > MAX_APPEND_BYTES {
                        break;
                    }
                    total += bytes;
                    payloads.push(payload.clone());
                }
                self.waiting_bytes -= total;
                let count = payloads.len();
                (Operation::Append(payloads), count)
            }
        };
        self.in_flight = count;
        Some(operation)
    }

    /// The operation in flight is done. Returns how many segments it appended.
    pub fn done(&mut self) -> usize {
        let done = self.items.drain(..core::mem::take(&mut self.in_flight));
        let appended = done.filter(|item| matches!(item, Item::Payload(..))).count();
        if appended > 0 {
            self.retried = false;
            self.has_appended = true;
        }
        appended
    }

    /// Whether the SourceBuffer has taken anything yet.
    pub fn has_appended(&self) -> bool {
        self.has_appended
    }

    /// The operation in flight failed. `cut_s` is up to where the past could be thrown away now.
    pub fn failed(&mut self, failure: Failure, cut_s: Option<f64>) -> Verdict {
        let failed = core::mem::take(&mut self.in_flight);
        let Some(end_s) = cut_s.filter(|_| failure == Failure::Quota && !self.retried) else {
            return Verdict::Rebuild;
        };
        self.retried = true;
        self.waiting_bytes += self.items[..failed].iter().map(Item::bytes).sum::<usize>();
        self.items.insert(0, Item::RemoveBefore(end_s));
        Verdict::Retry
    }

    /// Bytes that wait for the SourceBuffer.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }
}

/// What the `SourceBuffer`s hold of the past: where it begins, and the key frames it could begin at instead.
#[derive(Debug, Default)]
pub struct History {
    begins_s: Option<f64>,
    key_frames_s: Vec<f64>,
}

impl History {
    /// A video fragment was queued.
    pub fn on_video(&mut self, presentation_s: f64, key_frame: bool) {
        self.begins_s.get_or_insert(presentation_s);
        if key_frame {
            if self.key_frames_s.len() == MAX_KEY_FRAMES {
                self.key_frames_s.remove(0);
            }
            self.key_frames_s.push(presentation_s);
        }
    }

    /// Where what is kept begins, in seconds.
    pub fn begins_s(&self) -> Option<f64> {
        self.begins_s
    }

    /// Where to cut when more than enough is kept behind `position_s`: the newest key frame that leaves enough.
    pub fn trim(&mut self, position_s: f64) -> Option<f64> {
        let begins_s = self.begins_s?;
        if position_s - begins_s <= KEEP_S.1 {
            return None;
        }
        self.cut_at_key_frame(position_s - KEEP_S.0)
    }

    /// Where to cut when space is needed at once: the newest key frame that `position_s` can still be decoded from.
    pub fn evict(&mut self, position_s: f64) -> Option<f64> {
        self.cut_at_key_frame(position_s)
    }

    fn cut_at_key_frame(&mut self, limit_s: f64) -> Option<f64> {
        let cut = self.key_frames_s.iter().copied().take_while(|&key| key <= limit_s).last()?;
        if self.begins_s.is_some_and(|begins| cut <= begins) {
            return None;
        }
        self.begins_s = Some(cut);
        self.key_frames_s.retain(|&key| key >= cut);
        Some(cut - BEFORE_KEY_FRAME_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queue(payloads: std::ops::Range<u32>) -> Queue<u32> {
        let mut queue = Queue::default();
        for payload in payloads {
            assert!(queue.push(payload, 10));
        }
        queue
    }

    #[test]
    fn what_waits_together_is_appended_together() {
        let mut q = queue(0..1);
        assert_eq!(q.next_operation(), Some(Operation::Append(vec![0])));
        for payload in 1..251 {
            assert!(q.push(payload, 10));
        }
        assert_eq!(q.next_operation(), None, "one at a time");
        assert_eq!(q.done(), 1);
        assert_eq!(q.next_operation(), Some(Operation::Append((1..251).collect())));
        assert_eq!((q.done(), q.next_operation()), (250, None));
    }

    #[test]
    fn a_codec_change_stays_between_what_was_queued_around_it() {
        let mut q = queue(0..2);
        q.change_type("video/mp4".into());
        assert!(q.push(2, 10));
        assert_eq!(q.next_operation(), Some(Operation::Append(vec![0, 1])));
        q.done();
        assert_eq!(q.next_operation(), Some(Operation::ChangeType("video/mp4".into())));
        q.done();
        assert_eq!(q.next_operation(), Some(Operation::Append(vec![2])));
    }

    #[test]
    fn a_full_source_buffer_is_emptied_and_tried_once_more_with_the_same_bytes() {
        let mut q = queue(0..3);
        q.next_operation();
        assert_eq!(q.failed(Failure::Quota, Some(7.5)), Verdict::Retry);
        assert_eq!(q.next_operation(), Some(Operation::RemoveBefore { end_s: 7.5 }));
        q.done();
        assert_eq!(q.next_operation(), Some(Operation::Append(vec![0, 1, 2])));
        assert_eq!(q.failed(Failure::Quota, Some(7.5)), Verdict::Rebuild);
    }

    #[test]
    fn a_second_full_buffer_after_a_success_is_tried_again_too() {
        let mut q = queue(0..1);
        q.next_operation();
        assert_eq!(q.failed(Failure::Quota, Some(1.0)), Verdict::Retry);
        q.next_operation();
        q.done();
        q.next_operation();
        q.done();
        assert!(q.push(9, 10));
        q.next_operation();
        assert_eq!(q.failed(Failure::Quota, Some(2.0)), Verdict::Retry);
    }

    #[test]
    fn anything_but_a_full_buffer_asks_for_a_new_media_source() {
        let mut q = queue(0..1);
        q.next_operation();
        assert_eq!(q.failed(Failure::Broken, Some(7.5)), Verdict::Rebuild);
        let mut q = queue(0..1);
        q.next_operation();
        assert_eq!(q.failed(Failure::Quota, None), Verdict::Rebuild, "nothing can be thrown away");
    }

    #[test]
    fn the_waiting_bytes_are_bounded() {
        let mut q: Queue<()> = Queue::default();
        assert!(q.push((), MAX_WAITING_BYTES));
        assert!(!q.push((), 1));
        q.next_operation();
        assert!(q.push((), 1));
        assert!(!q.push((), usize::MAX));
    }

    #[test]
    fn the_past_is_cut_at_a_key_frame_five_seconds_behind_and_only_when_ten_are_there() {
        let mut history = History::default();
        for i in 0..20 {
            history.on_video(f64::from(i), i % 2 == 0);
        }
        assert_eq!(history.trim(10.0), None);
        assert_eq!(history.trim(10.5), Some(4.0 - BEFORE_KEY_FRAME_S));
        assert_eq!(history.trim(10.6), None, "already cut");
        assert_eq!(history.evict(10.6), Some(10.0 - BEFORE_KEY_FRAME_S));
    }

    #[test]
    fn a_gop_longer_than_what_is_kept_stays_whole() {
        let mut history = History::default();
        history.on_video(0.0, true);
        for i in 1..30 {
            history.on_video(f64::from(i), false);
        }
        assert_eq!(history.trim(29.0), None);
        assert_eq!(history.evict(29.0), None);
    }

    proptest! {
        #[test]
        fn every_payload_is_appended_once_and_in_order(steps in proptest::collection::vec(0u8..4, 1..200)) {
            let mut q = Queue::default();
            let (mut pushed, mut appended) = (0u32, Vec::new());
            let mut flying = None;
            let land = |operation: Option<Operation<u32>>, appended: &mut Vec<u32>| {
                if let Some(Operation::Append(payloads)) = operation {
                    appended.extend(payloads);
                }
            };
            for step in steps {
                match step {
                    0 | 1 => {
                        prop_assert!(q.push(pushed, 100));
                        pushed += 1;
                    }
                    2 => {
                        if let Some(operation) = q.next_operation() {
                            prop_assert!(flying.is_none());
                            flying = Some(operation);
                        }
                    }
                    _ => {
                        q.done();
                        land(flying.take(), &mut appended);
                    }
                }
            }
            q.done();
            land(flying.take(), &mut appended);
            while let Some(operation) = q.next_operation() {
                land(Some(operation), &mut appended);
                q.done();
            }
            prop_assert_eq!(appended, (0..pushed).collect::<Vec<_>>());
            prop_assert_eq!(q.waiting_bytes(), 0);
        }
    }
}
