//! PURE: when a link's rate is to be found anew, as for a new connection.
//!
//! BBR, which does best on links that lose packets, takes for a link's rate what was taken of late. What a stream sends between
//! two key frames says too little of it: the next key frame, ten times as long as other pictures, goes out at the pace of these,
//! and all behind it are late. And a few pictures that were held up by lost packets, one packet in a round trip, pass for a link
//! that takes no more: a hundredth of what it takes, found again within seconds.

use std::time::{Duration, Instant};

use super::told::Told;

/// Key frames that count are so far apart: cameras that send nothing else keep the rate known.
const KEY_FRAMES_EVERY: Duration = Duration::from_millis(400);

/// A rate is found no more often than this: it takes some round trips.
const FIND_EVERY: Duration = Duration::from_millis(400);

/// A key frame, or what the socket did not take at once, that goes out in this time is as soon there as any other picture.
const SOON: Duration = Duration::from_millis(20);

/// A stream is to go out in this part of its time: its pictures come at once, not evenly.
const SHARE: u32 = 4;

/// Time between two looks whether lost packets have come: a part of a round trip.
pub(super) const RECOVERS_LOOK_EVERY: Duration = Duration::from_millis(10);

/// Watches one link.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// When the newest key frame was received that counted.
    key_frame: Option<Instant>,
    found: Option<Instant>,
    /// Bytes that may take too long at the rate that is known.
    due: Option<usize>,
    /// When it was looked last, and what was sent since.
    looked: Option<Instant>,
    sent_bytes: usize,
}

impl Rate {
    /// A key frame comes next, received then, for a link that has taken all before it.
    pub(super) fn on_key_frame(&mut self, received: Instant, bytes: usize) {
        if self.key_frame.is_none_or(|at| received.duration_since(at) >= KEY_FRAMES_EVERY) {
            self.key_frame = Some(received);
            self.due = Some(bytes);
        }
    }

    /// So much was sent.
    pub(super) const fn on_sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes;
    }

    /// The socket did not take so much at once.
    pub(super) const fn on_full(&mut self, bytes: usize) {
        self.due = Some(bytes);
    }

    /// A look from time to time.
    pub(super) fn look(&mut self, told: &Told, now: Instant) {
        let bytes = std::mem::take(&mut self.sent_bytes);
        if let Some(looked) = self.looked.replace(now)
            && told.takes(bytes) * SHARE > now.duration_since(looked)
        {
            self.due = Some(bytes);
        }
    }

    /// Whether it is to be asked what TCP tells.
    pub(super) const fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// Whether the rate is to be found anew now.
    pub(super) fn finds(&mut self, told: &Told, now: Instant) -> bool {
        let Some(bytes) = self.due else { return false };
        let found_lately = self.found.is_some_and(|at| now.duration_since(at) < FIND_EVERY);
        if found_lately || told.queues() || told.takes(bytes) <= SOON {
            self.due = None;
            return false;
        }
        // Meanwhile BBR's window is no more than what is on its way. The one from before comes back behind that, but not to a
        // BBR that was chosen meanwhile.
        if told.recovers {
            return false;
        }
        self.due = None;
        self.found = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_FRAME_BYTES: usize = 80_000;

    fn told(bytes_per_second: u64) -> Told {
        let round_trip = Duration::from_millis(40);
        let window_bytes = 1_000_000;
        Told { round_trip, least_round_trip: round_trip, bytes_per_second, window_bytes, ..Told::default() }
    }

    fn key_frame(rate: &mut Rate, at: Instant) {
        rate.on_key_frame(at, KEY_FRAME_BYTES);
    }

    #[test]
    fn a_key_frame_that_would_take_long_has_the_rate_found_anew() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        assert!(!rate.is_due() && !rate.finds(&told(1), start), "nothing is to be sent");
        for n in 0..5 {
            let at = start + Duration::from_secs(2) * n;
            key_frame(&mut rate, at);
            assert!(rate.is_due());
            assert!(rate.finds(&told(400_000), at), "{n}: it would take 200 ms");
            assert!(!rate.is_due());
        }
        let at = start + Duration::from_secs(20);
        key_frame(&mut rate, at);
        assert!(!rate.finds(&told(10_000_000), at), "it takes 8 ms");
        assert!(!rate.is_due());
    }

    #[test]
    fn while_lost_packets_are_sent_again_it_is_put_off() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        key_frame(&mut rate, start);
        for ms in (0..200).step_by(10) {
            let recovers = Told { recovers: true, ..told(400_000) };
            assert!(!rate.finds(&recovers, start + Duration::from_millis(ms)));
            assert!(rate.is_due(), "{ms} ms");
        }
        assert!(rate.finds(&told(400_000), start + Duration::from_millis(200)));
        assert!(!rate.is_due());
    }

    #[test]
    fn a_link_with_a_queue_is_asked_for_no_more() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        key_frame(&mut rate, start);
        let queues = Told { round_trip: Duration::from_millis(200), ..told(400_000) };
        assert!(!rate.finds(&queues, start) && !rate.is_due());
    }

    #[test]
    fn a_rate_below_what_a_stream_needs_is_found_anew_at_the_next_look() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let mut found = vec![];
        for n in 0..8_u32 {
            let now = start + Duration::from_millis(250) * n;
            rate.look(&told(if n < 4 { 4_000_000 } else { 70_000 }), now);
            if rate.is_due() && rate.finds(&told(70_000), now) {
                found.push(n);
            }
            rate.on_sent(60_000);
        }
        assert_eq!(found, [4, 6], "and not again while it is being found");
    }

    #[test]
    fn what_a_socket_does_not_take_is_a_reason_too() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        rate.on_full(KEY_FRAME_BYTES);
        assert!(rate.finds(&told(400_000), start));
        rate.on_full(KEY_FRAME_BYTES);
        assert!(rate.is_due());
        assert!(!rate.finds(&told(400_000), start + Duration::from_millis(399)), "it is being found");
        assert!(!rate.is_due(), "a reader that is slow itself is not looked at all the time");
    }

    #[test]
    fn nothing_but_key_frames_are_not_each_a_reason_to_look() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let looks = (0..250_u32).filter(|n| {
            let at = start + Duration::from_millis(40) * *n;
            key_frame(&mut rate, at);
            let due = rate.is_due();
            rate.finds(&told(10_000_000), at);
            due
        });
        assert_eq!(looks.count(), 25);
    }
}
