//! Whether a viewer that has fallen behind goes on where it is, jumps, or waits for the next key frame.
//!
//! PURE: the clock is the presentation time of a stream's newest fragment, which goes as time does. Sizes are those of what
//! the stream holds, so that a rate is what a viewer's socket took of it.
//!
//! The rule: a viewer that lags and has a newer key frame ahead jumps to it: sooner than its limit, since what lies between
//! would only be shown late, and on a link that takes less than the stream has this is what it would never make up for. Past
//! its limit, where there is no newer key frame, it goes on as long as it is catching up, or will not be [`WAIT_BEHIND_US`]
//! behind when the next key frame is due: so a link that was away for a moment is live again at once, whatever the key-frame
//! interval. A link that takes less than the stream has is sent nothing more until the next key frame, for which its socket is
//! empty then. The same holds for a viewer who has just come, whose history is a long group of pictures on a slow link.

/// The largest limit, and the one of a stream whose key-frame interval is not known, in microseconds.
const MAX_LIMIT_US: i64 = 2_000_000;

/// The smallest limit, in microseconds: TCP's retransmission time-outs alone hold a picture up for as long.
const MIN_LIMIT_US: i64 = 500_000;

/// A viewer this far behind leaves out what is before a newer key frame, in microseconds. A link that loses 5 % of its packets
/// holds pictures up for less.
const SKIP_US: i64 = 600_000;

/// A viewer that would be further behind than this at the next key frame waits for it, in microseconds.
const WAIT_BEHIND_US: i64 = 3_000_000;

/// How long it is looked what a socket takes, in microseconds.
const TRIAL_US: i64 = 500_000;

/// Where a viewer stands, seen from the live edge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Presentation time of the newest fragment, in microseconds.
    pub(super) now_us: i64,
    /// From what comes next for the viewer to the newest fragment, in microseconds.
    pub(super) lag_us: i64,
    /// Bytes that the viewer has not got.
    pub(super) backlog: u64,
    /// There is a key frame between here and the live edge.
    pub(super) newer_key: bool,
    /// Between the last two key frames, in microseconds.
    pub(super) key_interval_us: Option<i64>,
    /// Since the newest key frame, in microseconds.
    pub(super) since_key_us: i64,
}

/// What a viewer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It gets what comes next.
    GoOn,
    /// It goes on at the newest key frame.
    Jump,
    /// It goes on at the next key frame.
    Wait,
}

/// What is known of a viewer that lags.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lag {
    /// The time and the backlog when it was last looked.
    looked: Option<(i64, u64)>,
}

/// How far a viewer of a stream with such key frames may fall behind, in microseconds: one group of pictures or 2 s,
/// whichever is smaller.
pub(super) fn limit_us(key_interval_us: Option<i64>) -> i64 {
    key_interval_us.map_or(MAX_LIMIT_US, |interval_us| interval_us.clamp(MIN_LIMIT_US, MAX_LIMIT_US))
}

impl Place {
    /// The time until the next key frame is due. None where nobody knows: one that is later than another whole interval
    /// may not come at all.
    fn until_key_us(&self) -> Option<i64> {
        let interval_us = self.key_interval_us?;
        (self.since_key_us < interval_us.saturating_mul(2))
            .then(|| interval_us.saturating_sub(self.since_key_us).max(0))
    }

    /// How far behind it will be when the next key frame is due, if it goes on as since the backlog was `before`,
    /// `passed_us` ago.
    fn behind_at_key_us(&self, before: u64, passed_us: i64, until_key_us: i64) -> i64 {
        let (before, backlog) = (before as f64, self.backlog.max(1) as f64);
        let then = backlog + (backlog - before) / passed_us as f64 * until_key_us as f64;
        (self.lag_us as f64 * (then / backlog).max(0.0)) as i64
    }
}

impl Lag {
    /// It does not lag.
    pub(super) fn clear(&mut self) {
        self.looked = None;
    }

    pub(super) fn judge(&mut self, place: &Place) -> Verdict {
        let limit_us = limit_us(place.key_interval_us);
        if place.newer_key && place.lag_us > limit_us.min(SKIP_US) {
            self.looked = None;
            return Verdict::Jump;
        }
        if place.lag_us <= limit_us {
            self.looked = None;
            return Verdict::GoOn;
        }
        let (at_us, before) = *self.looked.get_or_insert((place.now_us, place.backlog));
        let passed_us = place.now_us - at_us;
        if passed_us < TRIAL_US {
            return Verdict::GoOn;
        }
        self.looked = Some((place.now_us, place.backlog));
        let Some(until_key_us) = place.until_key_us() else { return Verdict::GoOn };
        if place.behind_at_key_us(before, passed_us, until_key_us) <= WAIT_BEHIND_US {
            return Verdict::GoOn;
        }
        self.looked = None;
        Verdict::Wait
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND_US: i64 = 1_000_000;

    /// A viewer of a stream of 250,000 bytes a second with a key frame each 10 s, the last one 3 s ago.
    fn place(lag_us: i64) -> Place {
        Place {
            now_us: 100 * SECOND_US,
            lag_us,
            backlog: (lag_us / 4) as u64,
            newer_key: false,
            key_interval_us: Some(10 * SECOND_US),
            since_key_us: 3 * SECOND_US,
        }
    }

    /// The verdict on a viewer that lags by `lag_us`, and by `then_us` half a second later.
    fn verdict(lag_us: i64, then_us: i64, change: impl Fn(&mut Place)) -> Verdict {
        let mut lag = Lag::default();
        let mut first = place(lag_us);
        change(&mut first);
        assert_eq!(lag.judge(&first), Verdict::GoOn, "nothing is known of it yet");
        let mut second = Place { now_us: first.now_us + TRIAL_US, ..place(then_us) };
        change(&mut second);
        lag.judge(&second)
    }

    #[test]
    fn the_limit_is_one_group_of_pictures_or_two_seconds() {
        for (interval_us, limit) in
            [(None, 2 * SECOND_US), (Some(SECOND_US), SECOND_US), (Some(30 * SECOND_US), 2 * SECOND_US)]
        {
            assert_eq!(limit_us(interval_us), limit);
        }
        assert_eq!(limit_us(Some(40_000)), MIN_LIMIT_US, "each picture a key frame");
    }

    #[test]
    fn behind_a_newer_key_frame_it_jumps_before_it_is_past_its_limit() {
        let newer = |lag_us| Place { newer_key: true, key_interval_us: Some(SECOND_US), ..place(lag_us) };
        assert_eq!(Lag::default().judge(&newer(SKIP_US)), Verdict::GoOn);
        assert_eq!(Lag::default().judge(&newer(SKIP_US + 1)), Verdict::Jump);
        let short = |lag_us| Place { key_interval_us: Some(40_000), ..newer(lag_us) };
        assert_eq!(Lag::default().judge(&short(MIN_LIMIT_US)), Verdict::GoOn);
        assert_eq!(Lag::default().judge(&short(MIN_LIMIT_US + 1)), Verdict::Jump);
    }

    #[test]
    fn what_catches_up_in_time_goes_on() {
        // An outage of 4 s, and then a link that takes twice what the stream has.
        assert_eq!(verdict(4 * SECOND_US, 3_500_000, |_| {}), Verdict::GoOn);
    }

    #[test]
    fn what_falls_behind_further_and_further_waits_for_the_next_key_frame() {
        assert_eq!(verdict(2_100_000, 2_350_000, |_| {}), Verdict::Wait);
        // As little that it will not matter before the next key frame.
        assert_eq!(verdict(2_100_000, 2_110_000, |_| {}), Verdict::GoOn);
    }

    #[test]
    fn history_that_a_slow_link_takes_too_long_for_is_given_up_and_not_on_a_fast_one() {
        // 9 s of it, and the next key frame in a second.
        let late = |place: &mut Place| place.since_key_us = 9 * SECOND_US;
        assert_eq!(verdict(9 * SECOND_US, 8_900_000, late), Verdict::Wait);
        assert_eq!(verdict(9 * SECOND_US, 5_000_000, late), Verdict::GoOn);
        // Half an interval to wait: half a second of history less each half second is as soon.
        assert_eq!(verdict(9 * SECOND_US, 8_500_000, |place| place.since_key_us = SECOND_US), Verdict::GoOn);
    }

    #[test]
    fn a_key_frame_that_nobody_can_expect_is_not_waited_for() {
        assert_eq!(
            verdict(5 * SECOND_US, 6 * SECOND_US, |place| place.key_interval_us = None),
            Verdict::GoOn
        );
        let overdue = |place: &mut Place| place.since_key_us = 21 * SECOND_US;
        assert_eq!(verdict(5 * SECOND_US, 6 * SECOND_US, overdue), Verdict::GoOn);
    }

    proptest! {
        #[test]
        fn whatever_the_numbers_a_verdict_keeps_to_what_there_is(
            steps in proptest::collection::vec(
                (
                    any::<i64>(),
                    any::<i64>(),
                    any::<u64>(),
                    any::<bool>(),
                    proptest::option::of(any::<i64>()),
                    any::<i64>(),
                ),
                1..20
            )
        ) {
            let mut lag = Lag::default();
            for (now_us, lag_us, backlog, newer_key, key_interval_us, since_key_us) in steps {
                let now_us = now_us >> 8; // half a million years
                let place = Place { now_us, lag_us, backlog, newer_key, key_interval_us, since_key_us };
                match lag.judge(&place) {
                    Verdict::Jump => prop_assert!(newer_key),
                    Verdict::Wait => prop_assert!(key_interval_us.is_some() && !newer_key),
                    Verdict::GoOn => {}
                }
                if lag_us <= MIN_LIMIT_US {
                    prop_assert_eq!(lag.judge(&place), Verdict::GoOn);
                }
            }
        }
    }
}
