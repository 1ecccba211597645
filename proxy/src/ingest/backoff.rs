//! How long to wait before a camera is tried again.
//!
//! PURE: randomness is passed in.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const MAX: Duration = Duration::from_secs(10);

/// The longest wait while somebody watches: a picture is due 3 s after its camera is back.
pub(super) const WATCHED_MAX: Duration = Duration::from_secs(2);

/// The wait after a refused password, watched or not: many cameras lock an account after a handful of attempts.
pub(super) const REFUSED: Duration = Duration::from_secs(30);

/// Doubles from 0.5 s to 10 s, each wait shortened by up to a quarter so that cameras behind one switch that comes back
/// are not all asked in the same instant.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The next wait; `random` is from 0 to 1.
    pub(super) fn next(&mut self, watched: bool, random: f64) -> Duration {
        let wait = self.next.min(if watched { WATCHED_MAX } else { MAX });
        self.next = (self.next * 2).min(MAX);
        wait.mul_f64(1.0 - 0.25 * random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_cap() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..7).map(|_| backoff.next(false, 0.0).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        assert_eq!(backoff.next(true, 0.0), WATCHED_MAX);
        assert_eq!(backoff.next(false, 1.0).as_millis(), 7_500);
    }
}
