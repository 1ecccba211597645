//! The server's clock as seen from here, learnt from pings.
//!
//! The answer that took the shortest way bounds the error best: half its round trip. Times here are milliseconds;
//! "local" is the page's monotonic clock, "server" is UTC since 1970. When to ping is the session's matter.
//!
//! Invariant: an answer that contradicts what was known (the server's clock was set) replaces it at once.

use crate::prelude::*;

/// Answers remembered.
const MAX_SAMPLES: usize = 12;

/// How long an answer counts, in milliseconds: crystals drift up to 0.1 ms a second against each other.
const MAX_AGE_MS: f64 = 60_000.0;

/// A difference beyond both round trips and this, in milliseconds, means that a clock was set.
const JUMP_MS: f64 = 100.0;

#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "units belong in names")]
struct Sample {
    local_ms: f64,
    round_trip_ms: f64,
    offset_ms: f64,
}

/// What is known of the server's clock at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    offset_ms: Option<f64>,
    round_trip_ms: Option<f64>,
}

impl Reading {
    /// Server time minus local time, in milliseconds; `None` before the server said anything.
    pub fn offset_ms(&self) -> Option<f64> {
        self.offset_ms
    }

    /// The shortest round trip of the last minute, in milliseconds.
    pub fn round_trip_ms(&self) -> Option<f64> {
        self.round_trip_ms
    }

    /// How long ago something captured at `capture_us` (server's clock) was at `local_ms`, in milliseconds.
    pub fn age_ms(&self, capture_us: i64, local_ms: f64) -> Option<f64> {
        Some(local_ms + self.offset_ms? - capture_us as f64 / 1e3)
    }
}

/// Server time minus local time.
#[derive(Debug, Default)]
pub struct ServerClock {
    samples: Vec<Sample>,
    greeting_offset_ms: Option<f64>,
}

impl ServerClock {
    /// The server's greeting: its clock when it was sent, an unknown one-way delay ago.
    pub fn on_welcome(&mut self, server_us: i64, local_ms: f64) {
        self.samples.clear();
        self.greeting_offset_ms = Some(server_us as f64 / 1e3 - local_ms);
    }

    /// The answer to a ping that was sent at `sent_ms` and came back at `local_ms`.
    pub fn on_pong(&mut self, sent_ms: f64, server_us: i64, local_ms: f64) {
        let round_trip_ms = local_ms - sent_ms;
        if !(0.0..=MAX_AGE_MS).contains(&round_trip_ms) {
            return;
        }
        let offset_ms = server_us as f64 / 1e3 - f64::midpoint(sent_ms, local_ms);
        if let Some(best) = self.best()
            && (best.offset_ms - offset_ms).abs() > best.round_trip_ms + round_trip_ms + JUMP_MS
        {
            self.samples.clear();
        }
        self.samples.retain(|sample| local_ms - sample.local_ms < MAX_AGE_MS);
        if self.samples.len() == MAX_SAMPLES {
            self.samples.remove(0);
        }
        self.samples.push(Sample { local_ms, round_trip_ms, offset_ms });
    }

    fn best(&self) -> Option<&Sample> {
        self.samples.iter().min_by(|a, b| a.round_trip_ms.total_cmp(&b.round_trip_ms))
    }

    /// Server time minus local time, in milliseconds; `None` before the server said anything.
    pub fn offset_ms(&self) -> Option<f64> {
        self.best().map(|sample| sample.offset_ms).or(self.greeting_offset_ms)
    }

    /// What is known now, for those who share the connection.
    pub fn reading(&self) -> Reading {
        let round_trip_ms = self.best().map(|sample| sample.round_trip_ms);
        Reading { offset_ms: self.offset_ms(), round_trip_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026, in microseconds: large enough that single precision would show.
    const SERVER_US: i64 = 1_790_000_000_000_000;

    #[test]
    fn nothing_is_known_before_the_server_spoke() {
        assert_eq!(ServerClock::default().reading().age_ms(SERVER_US, 0.0), None);
    }

    #[test]
    fn the_greeting_will_do_until_an_answer_is_there() {
        let mut clock = ServerClock::default();
        clock.on_welcome(SERVER_US, 1000.0);
        assert_eq!(clock.reading().age_ms(SERVER_US, 1250.0), Some(250.0));
        clock.on_pong(1000.0, SERVER_US + 5_000, 1010.0);
        assert_eq!(clock.reading().age_ms(SERVER_US, 1255.0), Some(255.0));
    }

    #[test]
    fn the_shortest_round_trip_wins_over_later_slower_ones() {
        let mut clock = ServerClock::default();
        clock.on_pong(0.0, SERVER_US + 1_000, 2.0);
        clock.on_pong(100.0, SERVER_US + 190_000, 200.0); // a lopsided 100 ms
        assert_eq!(clock.reading().round_trip_ms(), Some(2.0));
        assert_eq!(clock.reading().age_ms(SERVER_US, 50.0), Some(50.0));
    }

    #[test]
    fn a_server_clock_that_is_set_an_hour_on_is_followed_at_the_next_answer() {
        let mut clock = ServerClock::default();
        clock.on_pong(0.0, SERVER_US, 2.0);
        let hour_us = 3_600_000_000;
        clock.on_pong(5_000.0, SERVER_US + 5_001_000 + hour_us, 5_004.0);
        let age_ms = clock.reading().age_ms(SERVER_US + hour_us, 5_002.0).expect("known");
        assert!((age_ms - 5_001.0).abs() < 1.0, "{age_ms}");
    }

    proptest! {
        #[test]
        fn the_error_is_at_most_half_the_best_round_trip(
            ways in proptest::collection::vec((0.0f64..200.0, 0.0f64..200.0), 1..40)
        ) {
            let mut clock = ServerClock::default();
            let mut best: f64 = f64::MAX;
            for (i, (out_ms, back_ms)) in ways.iter().rev().take(10).enumerate() {
                let sent_ms = i as f64 * 1000.0;
                clock.on_pong(sent_ms, SERVER_US + ((sent_ms + out_ms) * 1e3) as i64, sent_ms + out_ms + back_ms);
                best = best.min(out_ms + back_ms);
            }
            let error = clock.reading().age_ms(SERVER_US, 0.0).expect("known");
            prop_assert!(error.abs() <= best / 2.0 + 0.01, "{error} {best}");
        }
    }
}
