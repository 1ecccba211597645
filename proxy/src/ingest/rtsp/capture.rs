//! When a frame was captured, by this machine's clock.
//!
//! PURE. A camera's sender reports (RFC 3550, 6.4.1) tie its media clock to its wall clock. Many cameras' wall clocks
//! are wrong by minutes or stand at 1970: a capture time that cannot be is replaced by the time of arrival.

use std::fmt;

use crate::media::time::ticks_to_us;

/// NTP counts from 1900, Unix from 1970.
const NTP_TO_UNIX_S: i64 = 2_208_988_800;

/// The longest time from capture to arrival that is believed, in microseconds.
const MAX_DELAY_US: i64 = 2_000_000;

/// How far a capture time may lie behind its arrival because two clocks are not quite the same, in microseconds.
const MAX_AHEAD_US: i64 = 50_000;

/// A report that moves the tie by more than this is believed when the next one says the same, in microseconds: a clock
/// that is set moves it once and for good, a report that is wrong once does not.
const STEP_US: i64 = 100_000;

/// The tie between one track's media clock and the wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CaptureClock {
    /// Media time in ticks, and the wall clock in microseconds since 1970.
    report: Option<(i64, i64)>,
    /// One that moves the tie, until another says the same.
    doubted: Option<(i64, i64)>,
    /// Microseconds from capture to arrival of the last frame, by the camera's clock.
    delay_us: Option<i64>,
}

impl fmt::Display for CaptureClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.delay_us {
            None => f.write_str("none"),
            Some(us) if believed(us) => write!(f, "yes; {} ms from capture to arrival", us / 1000),
            Some(us) => write!(f, "yes, but the camera's clock is {} s off and is not used", us / 1_000_000),
        }
    }
}

fn believed(delay_us: i64) -> bool {
    (-MAX_AHEAD_US..=MAX_DELAY_US).contains(&delay_us)
}

impl CaptureClock {
    /// Notes a sender report: media time `ticks` is wall-clock time `ntp` (32.32 fixed point, seconds since 1900). Gives
    /// that in microseconds since 1970.
    pub(super) fn report(&mut self, ticks: i64, timescale: u32, ntp: u64) -> i64 {
        let seconds = (ntp >> 32) as i64 - NTP_TO_UNIX_S;
        let micros = ((ntp & 0xffff_ffff) * 1_000_000) >> 32;
        let wall_us = seconds * 1_000_000 + micros as i64;
        let agrees = |(before_ticks, before_us): (i64, i64)| {
            let passed_us = ticks_to_us(ticks.saturating_sub(before_ticks), timescale);
            wall_us.saturating_sub(before_us).saturating_sub(passed_us).saturating_abs() <= STEP_US
        };
        let now = Some((ticks, wall_us));
        if self.report.is_none_or(agrees) || self.doubted.is_some_and(agrees) {
            (self.report, self.doubted) = (now, None);
        } else {
            self.doubted = now;
        }
        wall_us
    }

    /// When the frame at media time `ticks`, which arrived at `received_us` since 1970, was captured.
    pub(super) fn capture_time_us(&mut self, ticks: i64, timescale: u32, received_us: i64) -> i64 {
        let Some((report_ticks, report_us)) = self.report else { return received_us };
        let captured_us =
            report_us.saturating_add(ticks_to_us(ticks.saturating_sub(report_ticks), timescale));
        let delay_us = received_us.saturating_sub(captured_us);
        self.delay_us = Some(delay_us);
        if believed(delay_us) { captured_us.min(received_us) } else { received_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: i64 = 1_790_000_000_000_000;

    fn ntp(unix_us: i64) -> u64 {
        let seconds = (unix_us / 1_000_000 + NTP_TO_UNIX_S) as u64;
        (seconds << 32) | ((((unix_us % 1_000_000) as u64) << 32) / 1_000_000)
    }

    #[test]
    fn a_sane_report_gives_capture_times() {
        let mut clock = CaptureClock::default();
        assert_eq!(clock.capture_time_us(900, 90_000, NOW_US), NOW_US, "arrival before the first report");
        clock.report(0, 90_000, ntp(NOW_US));
        let captured = clock.capture_time_us(90_000, 90_000, NOW_US + 1_080_000);
        assert!((captured - NOW_US - 1_000_000).abs() <= 1, "{captured}");
    }

    #[test]
    fn an_impossible_report_gives_the_time_of_arrival() {
        let mut clock = CaptureClock::default();
        for wall_us in [0, NOW_US - 3_600_000_000, NOW_US + 3_600_000_000] {
            // Twice: what moves the tie is believed when it is said again.
            clock.report(0, 90_000, ntp(wall_us));
            clock.report(0, 90_000, ntp(wall_us));
            assert_eq!(clock.capture_time_us(0, 90_000, NOW_US), NOW_US);
        }
        clock.report(i64::MIN, 90_000, u64::MAX);
        clock.report(i64::MIN, 90_000, u64::MAX);
        assert_eq!(clock.capture_time_us(i64::MAX, 90_000, NOW_US), NOW_US);
    }

    #[test]
    fn a_wall_clock_that_steps_is_followed_when_it_stays_there() {
        let mut clock = CaptureClock::default();
        clock.report(0, 90_000, ntp(NOW_US - 50_000));
        assert!((clock.capture_time_us(0, 90_000, NOW_US) - NOW_US + 50_000).abs() <= 1);
        // Set by NTP: it was 400 ms fast.
        clock.report(90_000, 90_000, ntp(NOW_US + 550_000));
        let before = clock.capture_time_us(90_000, 90_000, NOW_US + 1_000_000);
        assert!((before - NOW_US - 950_000).abs() <= 1, "one report moves nothing");
        clock.report(180_000, 90_000, ntp(NOW_US + 1_550_000));
        let after = clock.capture_time_us(180_000, 90_000, NOW_US + 2_000_000);
        assert!((after - NOW_US - 1_550_000).abs() <= 1, "{after}");
    }

    #[test]
    fn one_wrong_report_moves_nothing() {
        let mut clock = CaptureClock::default();
        clock.report(0, 90_000, ntp(NOW_US));
        clock.report(90_000, 90_000, ntp(NOW_US + 31_000_000));
        clock.report(180_000, 90_000, ntp(NOW_US + 2_000_000));
        let captured = clock.capture_time_us(180_000, 90_000, NOW_US + 2_040_000);
        assert!((captured - NOW_US - 2_000_000).abs() <= 1, "{captured}");
    }
}
