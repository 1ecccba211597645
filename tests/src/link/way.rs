//! One way of a link: what becomes of each packet.
//!
//! PURE: time is passed in. Invariant: packets that arrive, arrive in the order in which they came.

use std::time::{Duration, Instant};

/// What a link is like, each way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Conditions {
    /// How long a packet is on its way.
    pub delay: Duration,
    /// The share of packets that are lost, 0 to 1.
    pub loss: f64,
    /// Bits a second that it takes; none: any number.
    pub bits_per_second: Option<u32>,
    /// Nothing gets through, and what is on its way is lost.
    pub is_out: bool,
}

/// What waits for its turn on a link with a rate, waits no longer than this: packets for which it would are dropped.
const QUEUE_MAX: Duration = Duration::from_millis(200);

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives then.
    At(Instant),
    /// It is lost.
    Lost,
    /// It finds the queue full.
    Overflowed,
}

/// The state of one way.
#[derive(Debug)]
pub(super) struct Way {
    random: u64,
    /// When the last packet has been sent, at the rate.
    sent_at: Option<Instant>,
    /// When the last packet arrives.
    arrives_at: Option<Instant>,
}

impl Way {
    /// A way whose losses follow from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { random: seed, sent_at: None, arrives_at: None }
    }

    /// Takes a packet of so many bytes.
    pub(super) fn take(&mut self, now: Instant, len: usize, conditions: &Conditions) -> Fate {
        // One number a packet, so that the seed tells which are lost whatever else there is.
        let chance = self.chance();
        if conditions.is_out || chance < conditions.loss {
            return Fate::Lost;
        }
        let mut sent_at = now;
        if let Some(bits) = conditions.bits_per_second {
            let begins = self.sent_at.map_or(now, |earlier| earlier.max(now));
            if begins - now > QUEUE_MAX {
                return Fate::Overflowed;
            }
            sent_at = begins + Duration::from_secs_f64(len as f64 * 8.0 / f64::from(bits.max(1)));
            self.sent_at = Some(sent_at);
        }
        let at = sent_at + conditions.delay;
        let at = self.arrives_at.map_or(at, |earlier| earlier.max(at));
        self.arrives_at = Some(at);
        Fate::At(at)
    }

    /// The next number of a sequence (`SplitMix64`), from 0 to below 1.
    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn lost(seed: u64, loss: f64) -> Vec<usize> {
        let (mut way, now) = (Way::new(seed), Instant::now());
        let conditions = Conditions { loss, ..Conditions::default() };
        (0..10_000).filter(|_| way.take(now, 1_500, &conditions) == Fate::Lost).collect()
    }

    #[test]
    fn a_seed_says_which_packets_are_lost() {
        let five = lost(7, 0.05);
        assert!((400..600).contains(&five.len()), "{} of 10,000", five.len());
        assert_eq!(five, lost(7, 0.05));
        assert_ne!(five, lost(8, 0.05));
        assert!(lost(7, 0.0).is_empty());
    }

    #[test]
    fn a_rate_sends_one_packet_behind_the_other_and_drops_what_would_wait_too_long() {
        let (mut way, start) = (Way::new(0), Instant::now());
        // 1,000 bytes take 10 ms.
        let conditions =
            Conditions { delay: 20 * MS, bits_per_second: Some(800_000), ..Conditions::default() };
        for n in 1..=21 {
            assert_eq!(way.take(start, 1_000, &conditions), Fate::At(start + n * 10 * MS + 20 * MS));
        }
        assert_eq!(way.take(start, 1_000, &conditions), Fate::Overflowed);
        let later = start + 10 * MS;
        assert_eq!(way.take(later, 1_000, &conditions), Fate::At(start + 240 * MS));
        // Idle again.
        let later = start + 1_000 * MS;
        assert_eq!(way.take(later, 1_000, &conditions), Fate::At(later + 30 * MS));
    }

    #[test]
    fn packets_keep_their_order_when_the_link_gets_better() {
        let (mut way, start) = (Way::new(0), Instant::now());
        let slow = Conditions { delay: 100 * MS, ..Conditions::default() };
        assert_eq!(way.take(start, 100, &slow), Fate::At(start + 100 * MS));
        assert_eq!(way.take(start + MS, 100, &Conditions::default()), Fate::At(start + 100 * MS));
        assert_eq!(way.take(start + 200 * MS, 100, &Conditions::default()), Fate::At(start + 200 * MS));
    }

    #[test]
    fn nothing_gets_through_an_outage() {
        let out = Conditions { is_out: true, ..Conditions::default() };
        assert_eq!(Way::new(0).take(Instant::now(), 100, &out), Fate::Lost);
    }
}
