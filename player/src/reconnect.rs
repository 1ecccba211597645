//! When to connect again: a capped back-off with jitter that never gives up.
//!
//! Randomness is passed in, so that a restarted server is not met by all its viewers in the same millisecond and a
//! test still knows the answer. Sockets and timers do not belong here.
//!
//! Invariant: a delay is never longer than [`MAX_DELAY_MS`] and never shorter than half its step.

use crate::within;

/// The first step, in milliseconds.
pub const FIRST_DELAY_MS: f64 = 250.0;

/// The longest delay, in milliseconds. A page has one connection to a server, and its pictures are due 3 s after that is
/// back.
pub const MAX_DELAY_MS: f64 = 2_000.0;

/// Counts attempts and says how long to wait before the next.
#[derive(Debug, Default)]
pub struct BackOff {
    attempt: u32,
}

impl BackOff {
    /// How long to wait before the next attempt, in milliseconds. `random` is in 0..1.
    pub fn next_delay_ms(&mut self, random: f64) -> f64 {
        let step = (FIRST_DELAY_MS * f64::from(1u32 << self.attempt.min(10))).min(MAX_DELAY_MS);
        self.attempt = self.attempt.saturating_add(1);
        step * (0.5 + 0.5 * within(random, 0.0, 1.0))
    }

    /// It worked: the next failure starts from the beginning.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Attempts since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn delays_double_up_to_the_cap_and_start_over_after_a_success() {
        let mut back_off = BackOff::default();
        let delays: Vec<f64> = (0..7).map(|_| back_off.next_delay_ms(1.0)).collect();
        assert_eq!(delays, [250.0, 500.0, 1000.0, 2000.0, 2000.0, 2000.0, 2000.0]);
        back_off.reset();
        assert_eq!(back_off.next_delay_ms(0.0).to_bits(), 125f64.to_bits());
    }

    proptest! {
        #[test]
        fn it_never_gives_up_and_never_waits_longer_than_the_cap(attempts in 0u32..5000, random in -1.0f64..2.0) {
            let mut back_off = BackOff { attempt: attempts };
            let delay = back_off.next_delay_ms(random);
            prop_assert!((FIRST_DELAY_MS / 2.0..=MAX_DELAY_MS).contains(&delay));
        }
    }
}
