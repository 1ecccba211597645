//! PURE: what TCP tells of a viewer's link.

use std::time::Duration;

/// How things stand at one time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// Something was sent that is not acknowledged yet.
    pub(super) awaits: bool,
    /// When the last acknowledgement came.
    pub(super) ago: Duration,
    /// How long one takes, and how long the fastest one took.
    pub(super) round_trip: Duration,
    pub(super) least_round_trip: Duration,
    /// Packets that are taken for lost are being sent again.
    pub(super) recovers: bool,
    /// What may be sent a second, and what may be on its way.
    pub(super) bytes_per_second: u64,
    pub(super) window_bytes: u64,
}

impl Told {
    /// How long it takes to send so much.
    pub(super) fn takes(&self, bytes: usize) -> Duration {
        let bytes = bytes as u64;
        let paced_us = (bytes * 1_000_000).checked_div(self.bytes_per_second).unwrap_or(0);
        let round_trip_us = self.round_trip.as_micros() as u64;
        let windows_us = (bytes * round_trip_us).checked_div(self.window_bytes).unwrap_or(0);
        Duration::from_micros(paced_us.max(windows_us))
    }

    /// What is sent waits on its way: the link takes no more than it gets. An acknowledgement that is held back is no sign of it.
    pub(super) fn queues(&self) -> bool {
        self.round_trip > self.least_round_trip.mul_f64(1.5) + Duration::from_millis(10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_takes_as_long_as_its_pace_and_its_window_let_it() {
        let told = Told { round_trip: Duration::from_millis(40), ..Told::default() };
        let takes = |bytes_per_second, window_bytes| {
            Told { bytes_per_second, window_bytes, ..told }.takes(80_000).as_millis()
        };
        assert_eq!(takes(400_000, 160_000), 200);
        assert_eq!(takes(4_000_000, 160_000), 20);
        assert_eq!(takes(4_000_000, 32_000), 100, "three windows, and then some");
        assert_eq!(takes(u64::MAX, 160_000), 20, "a system that does not pace");
        assert_eq!(takes(0, 0), 0, "nothing is known");
    }

    #[test]
    fn a_queue_is_seen_by_a_round_trip_that_grew() {
        let queues = |ms, least_ms| {
            let (round_trip, least_round_trip) = (Duration::from_millis(ms), Duration::from_millis(least_ms));
            Told { round_trip, least_round_trip, ..Told::default() }.queues()
        };
        assert!(!queues(40, 40) && !queues(60, 40) && !queues(9, 0));
        assert!(queues(80, 40) && queues(20, 1));
    }
}
