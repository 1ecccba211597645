//! Even times for packets of sound whose sender's times are rounded.
//!
//! RTMP counts milliseconds: packets of 21.33 ms come 21, 22 and 21 ms apart. RTSP cameras stamp sound when they get to
//! it, a millisecond or three off. Browsers hear a hole or an overlap at each of these steps, so times follow the count
//! of samples for as long as the sender's agree with it.

use super::time::us_to_ticks;

/// How far the sender's time may part from the count of samples, in microseconds, before it is followed at once: it
/// paused or jumped.
const JUMP_US: i64 = 200_000;

/// How far it may part before it is followed when it stays there, in microseconds: packets were dropped.
const RESYNC_US: i64 = 40_000;

/// So many packets in a row stay there. Encoders that stamp sound when they get to it stamp two or three late when they
/// are held up, and the next ones right again: nothing is missing then.
const RESYNC_AFTER: u8 = 5;

/// Under this much, in microseconds, a difference is rounding and jitter.
const JITTER_US: i64 = 5_000;

/// Gives one track's packets their times.
///
/// Sender's clocks that drift against its own sound card are followed a tick a packet, about 1,000 ppm: more than any
/// crystal is off, and less than a browser takes for a hole (Firefox fills in silence from 2 samples on).
#[derive(Clone, Copy, Debug)]
pub struct SampleClock {
    timescale: u32,
    next_ticks: Option<i64>,
    /// Packets in a row whose time parted by more than `RESYNC_US`.
    astray: u8,
}

impl SampleClock {
    /// A clock of `timescale` ticks a second, which is the sample rate.
    pub fn new(timescale: u32) -> Self {
        Self { timescale, next_ticks: None, astray: 0 }
    }

    /// The next packet stands where its sender says: what came before is known to have ended early.
    pub fn resync(&mut self) {
        self.next_ticks = None;
        self.astray = 0;
    }

    /// The time, in ticks, of the next packet: sent with `sender_us`, lasting `duration_ticks`.
    pub fn place(&mut self, sender_us: i64, duration_ticks: u32) -> i64 {
        let said = us_to_ticks(sender_us, self.timescale);
        let apart = self.next_ticks.map_or(0, |next| said.saturating_sub(next));
        let beyond = |us: i64| apart.saturating_abs() > us_to_ticks(us, self.timescale);
        self.astray = if beyond(RESYNC_US) { self.astray + 1 } else { 0 };
        let at = match self.next_ticks {
            Some(next) if !beyond(JITTER_US) => next,
            Some(next) if !beyond(JUMP_US) && self.astray < RESYNC_AFTER => {
                // One that is astray may be back at once: it is not followed at all.
                if self.astray > 0 { next } else { next + apart.signum() }
            }
            _ => {
                self.astray = 0;
                said
            }
        };
        self.next_ticks = Some(at.saturating_add(duration_ticks.into()));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AAC: i64 = 1024;

    /// The sender's millisecond for sample `samples` at 48 kHz by a clock that is `ppm` fast.
    fn rounded_us(samples: i64, ppm: i64) -> i64 {
        let us = samples * 1_000_000 / 48_000;
        (us + us * ppm / 1_000_000) / 1_000 * 1_000
    }

    #[test]
    fn rounded_milliseconds_become_even() {
        let mut clock = SampleClock::new(48_000);
        for i in 0..10_000 {
            assert_eq!(clock.place(rounded_us(i * AAC, 0), AAC as u32), i * AAC);
        }
    }

    #[test]
    fn a_pause_is_followed_at_once() {
        let mut clock = SampleClock::new(48_000);
        clock.place(0, 1024);
        assert_eq!(clock.place(500_000, 1024), 24_000);
        assert_eq!(clock.place(521_000, 1024), 25_024);
        assert_eq!(clock.place(100_000, 1024), 4_800, "and so is a step back");
    }

    #[test]
    fn a_known_loss_is_followed_at_once() {
        let mut clock = SampleClock::new(48_000);
        clock.place(0, 1024);
        clock.resync();
        assert_eq!(clock.place(42_000, 1024), 2_016);
    }

    #[test]
    fn dropped_packets_are_made_up_for_when_a_few_more_came() {
        let mut clock = SampleClock::new(48_000);
        let lost_us = 64_000;
        let placed: Vec<i64> = (0..20)
            .map(|i| clock.place(rounded_us(i * AAC, 0) + if i < 10 { 0 } else { lost_us }, 1024))
            .collect();
        assert_eq!(placed[13], 13 * AAC);
        assert!((placed[14] - 14 * AAC - 3 * AAC).abs() < 48, "{placed:?}");
        assert_eq!(placed[19] - placed[14], 5 * AAC);
    }

    #[test]
    fn sound_that_was_stamped_late_leaves_no_hole() {
        let mut clock = SampleClock::new(48_000);
        for i in 0..1_000 {
            let late_us = if i % 100 < 3 && i >= 100 { 95_000 } else { 0 };
            assert_eq!(clock.place(rounded_us(i * AAC, 0) + late_us, AAC as u32), i * AAC);
        }
    }

    #[test]
    fn a_drifting_sender_is_followed_without_a_step() {
        for ppm in [-300, 300] {
            let mut clock = SampleClock::new(48_000);
            let mut last: Option<i64> = None;
            for i in 0..47 * 3_600 {
                let said_us = rounded_us(i * AAC, ppm);
                let at = clock.place(said_us, 1024);
                if let Some(last) = last {
                    assert!((at - last - AAC).abs() <= 1, "{ppm} ppm, packet {i}");
                }
                assert!((at - us_to_ticks(said_us, 48_000)).abs() < 48 * 7, "{ppm} ppm, packet {i}");
                last = Some(at);
            }
        }
    }

    proptest! {
        #[test]
        fn no_time_overflows(timescale: u32, packets in proptest::collection::vec((any::<i64>(), any::<u32>()), 0..50)) {
            let mut clock = SampleClock::new(timescale);
            for (sender_us, duration_ticks) in packets {
                clock.place(sender_us, duration_ticks);
            }
        }
    }
}
