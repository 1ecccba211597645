//! Which of a stream's qualities a viewer gets.
//!
//! Two things decide: how high the stream is shown, and what the viewer's socket takes. The first may ask for any quality; the
//! second only forbids better ones. It forbids them at once where a viewer lags, and allows them one by one after a calm time,
//! which grows with each try that fails, so that a link that is too slow for good is not tried every few seconds.
//!
//! PURE: the time is passed in. Qualities are numbers, 0 for the best.

use std::time::{Duration, Instant};

/// How long a viewer must have kept up before it gets a better quality again.
const CALM: Duration = Duration::from_secs(10);

/// The longest such time, after tries that failed.
const CALM_MAX: Duration = Duration::from_secs(160);

/// A try has failed where it lags within this time; later that says something about the link of then.
const TRIED: Duration = Duration::from_mins(1);

/// After a change the socket still holds what came before: a lag says nothing about what follows.
const SETTLING: Duration = Duration::from_secs(2);

/// How long a quality that gave no pictures is not asked for: the first time, and at most. Each time that follows within as
/// long again as the one before, it is twice that.
const WITHOUT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(1));

/// How long one is not asked for that the viewer cannot decode: its camera may be set to another coding some day.
const UNDECODABLE: Duration = Duration::from_mins(10);

/// What the best quality's height is taken for until it is known, in pixels; others are taken for half of the one before.
const HEIGHT: u32 = 1_080;

/// One viewer's way up and down.
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    /// How high it is shown, in pixels; none: as high as can be.
    wanted_height: Option<u32>,
    /// The best quality that the socket is trusted with.
    best: usize,
    /// Since when the viewer has kept up.
    calm_since: Instant,
    calm: Duration,
    /// When a better quality was last allowed.
    raised: Option<Instant>,
    changed: Option<Instant>,
    /// Until when which quality is done without, and for how long that was.
    without: Vec<Option<(Instant, Duration)>>,
}

impl Ladder {
    /// For a viewer that shows the stream so high and comes now.
    pub(super) fn new(qualities: usize, wanted_height: Option<u32>, now: Instant) -> Self {
        Self {
            wanted_height,
            best: 0,
            calm_since: now,
            calm: CALM,
            raised: None,
            changed: None,
            without: vec![None; qualities],
        }
    }

    /// The stream is shown at another height.
    pub(super) fn show(&mut self, wanted_height: Option<u32>) {
        self.wanted_height = wanted_height;
    }

    /// The viewer lags with this quality, or something was left out for it.
    pub(super) fn trouble(&mut self, quality: usize, now: Instant) {
        if self.changed.is_some_and(|changed| now - changed < SETTLING) {
            return;
        }
        if self.raised.take_if(|raised| now - *raised < TRIED).is_some() {
            self.calm = (self.calm * 2).min(CALM_MAX);
        }
        self.calm_since = now;
        self.best = self.best.max(quality + 1).min(self.without.len().saturating_sub(1));
    }

    /// The viewer gets another quality.
    pub(super) fn changed(&mut self, now: Instant) {
        self.changed = Some(now);
    }

    /// This quality gives no pictures.
    pub(super) fn do_without(&mut self, quality: usize, now: Instant) {
        let Some(without) = self.without.get_mut(quality) else { return };
        let pause = match *without {
            Some((until, _)) if now < until => return,
            Some((until, pause)) if now < until + pause => (pause * 2).min(WITHOUT.1),
            _ => WITHOUT.0,
        };
        *without = Some((now + pause, pause));
    }

    /// It gives pictures again.
    pub(super) fn is_back(&mut self, quality: usize, now: Instant) {
        if let Some(Some((until, _))) = self.without.get_mut(quality) {
            *until = now.min(*until);
        }
    }

    /// The viewer cannot decode this quality.
    pub(super) fn give_up(&mut self, quality: usize, now: Instant) {
        if let Some(without) = self.without.get_mut(quality) {
            *without = Some((now + UNDECODABLE, WITHOUT.0));
        }
    }

    /// The quality to get, where they are so high as far as that is known.
    pub(super) fn choose(&mut self, heights: impl IntoIterator<Item = Option<u32>>, now: Instant) -> usize {
        if self.best > 0 && now - self.calm_since >= self.calm {
            self.best -= 1;
            self.calm_since = now;
            self.raised = Some(now);
        }
        if self.raised.is_some_and(|raised| now - raised >= TRIED) {
            self.raised = None;
            self.calm = CALM;
        }
        let wanted = self.wanted(heights).max(self.best);
        let is_there = |quality: &usize| self.without[*quality].is_none_or(|(until, _)| now >= until);
        // A worse one rather than one that the socket does not take.
        let lower = (wanted..self.without.len()).find(is_there);
        lower.or_else(|| (0..wanted).rev().find(is_there)).unwrap_or(wanted)
    }

    /// The smallest one that is hardly lower than it is shown.
    fn wanted(&self, heights: impl IntoIterator<Item = Option<u32>>) -> usize {
        let Some(wanted_height) = self.wanted_height else { return 0 };
        let (mut above, mut found) = (HEIGHT * 2, 0);
        for (quality, height) in heights.into_iter().enumerate().take(self.without.len()) {
            let height = height.unwrap_or(above / 2);
            // An eighth is not seen.
            if u64::from(height) * 8 >= u64::from(wanted_height) * 7 {
                found = quality;
            }
            above = height;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEIGHTS: [Option<u32>; 2] = [Some(1_080), Some(360)];

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_size_on_the_screen_chooses_the_smallest_that_is_hardly_lower() {
        let now = Instant::now();
        for (wanted, heights, chosen) in [
            (None, HEIGHTS, 0),
            (Some(1_080), HEIGHTS, 0),
            (Some(412), HEIGHTS, 0),
            (Some(411), HEIGHTS, 1),
            (Some(1), HEIGHTS, 1),
            (Some(4_000), HEIGHTS, 0),
            (Some(300), [None, None], 1),
            (Some(900), [None, None], 0),
            (Some(300), [Some(400), None], 0),
            (Some(200), [Some(400), None], 1),
        ] {
            assert_eq!(Ladder::new(2, wanted, now).choose(heights, now), chosen, "{wanted:?} {heights:?}");
        }
        let mut ladder = Ladder::new(2, Some(100), now);
        ladder.show(Some(1_000));
        assert_eq!(ladder.choose(HEIGHTS, now), 0, "nothing has been wrong: at once");
    }

    #[test]
    fn a_viewer_that_lags_goes_down_at_once_and_up_after_ten_calm_seconds() {
        let start = Instant::now();
        let mut ladder = Ladder::new(2, None, start);
        ladder.trouble(0, start + seconds(5.0));
        assert_eq!(ladder.choose(HEIGHTS, start + seconds(5.0)), 1);
        ladder.changed(start + seconds(5.5));
        ladder.trouble(1, start + seconds(6.0)); // of what came before
        ladder.trouble(1, start + seconds(8.0));
        assert_eq!(ladder.choose(HEIGHTS, start + seconds(17.9)), 1);
        assert_eq!(ladder.choose(HEIGHTS, start + seconds(18.0)), 0);
        // Size asks for nothing that the socket does not take.
        ladder.trouble(0, start + seconds(80.0));
        ladder.show(Some(1_080));
        assert_eq!(ladder.choose(HEIGHTS, start + seconds(81.0)), 1);
    }

    #[test]
    fn a_quality_without_pictures_is_done_without_for_a_while() {
        let now = Instant::now();
        let mut ladder = Ladder::new(3, None, now);
        let heights = [None, None, None];
        ladder.do_without(0, now);
        assert_eq!(ladder.choose(heights, now), 1);
        ladder.do_without(1, now);
        ladder.do_without(2, now);
        assert_eq!(ladder.choose(heights, now), 0, "there is none: what is wanted");
        let later = now + seconds(10.0);
        assert_eq!(ladder.choose(heights, later), 0);
        ladder.do_without(2, later);
        ladder.do_without(1, later);
        ladder.trouble(0, later);
        assert_eq!(ladder.choose(heights, later), 0, "a better one rather than none");
        // What the socket takes asks for the second one: where it is not there, neither is the third.
        let chosen =
            |ladder: &Ladder, now| Ladder { best: 1, calm_since: now, ..ladder.clone() }.choose(heights, now);
        assert_eq!(chosen(&ladder, later + seconds(19.9)), 0, "the second time in a row is twice as long");
        assert_eq!(chosen(&ladder, later + seconds(20.0)), 1);
        ladder.do_without(1, later + seconds(40.0));
        ladder.do_without(1, later + seconds(45.0));
        assert_eq!(chosen(&ladder, later + seconds(49.9)), 2, "so much later is none in a row");
        assert_eq!(chosen(&ladder, later + seconds(50.0)), 1, "and what is known already is no news");
        ladder.do_without(1, later + seconds(50.0));
        ladder.is_back(1, later + seconds(51.0));
        assert_eq!(chosen(&ladder, later + seconds(51.0)), 1);
    }

    #[test]
    fn a_quality_that_cannot_be_decoded_is_not_tried_again_soon() {
        let now = Instant::now();
        let mut ladder = Ladder::new(2, Some(100), now);
        assert_eq!(ladder.choose(HEIGHTS, now), 1);
        ladder.give_up(1, now);
        assert_eq!(ladder.choose(HEIGHTS, now + seconds(599.0)), 0);
        assert_eq!(ladder.choose(HEIGHTS, now + seconds(600.0)), 1);
    }

    /// Plays a link of so many kb/s at each second, with qualities of 2,000 and 400 kb/s. Returns the quality at each second.
    fn play(link_kbps: &[u32]) -> Vec<usize> {
        let start = Instant::now();
        let mut ladder = Ladder::new(2, None, start);
        let (mut quality, mut behind_kb) = (0, 0.0_f64);
        let mut got = Vec::new();
        for (second, link) in link_kbps.iter().enumerate() {
            let now = start + Duration::from_secs(second as u64);
            let rate = f64::from([2_000, 400][quality]);
            behind_kb = (behind_kb + rate - f64::from(*link)).max(0.0);
            if behind_kb / rate > 1.0 {
                ladder.trouble(quality, now);
            }
            let chosen = ladder.choose(HEIGHTS, now);
            if chosen != quality {
                (quality, behind_kb) = (chosen, 0.0);
                ladder.changed(now);
            }
            got.push(quality);
        }
        got
    }

    #[test]
    fn a_link_of_half_the_rate_for_twenty_seconds_gets_the_sub_stream_and_the_main_one_soon_after() {
        let mut link = vec![10_000; 10];
        link.extend([1_000; 20]);
        link.extend([10_000; 40]);
        let got = play(&link);
        assert!(got[..10].iter().all(|quality| *quality == 0));
        assert!(got[10..30].iter().filter(|quality| **quality == 1).count() >= 14, "{got:?}");
        assert!(got[52..].iter().all(|quality| *quality == 0), "{got:?}");
    }

    #[test]
    fn a_link_that_stays_slow_is_tried_less_and_less_often() {
        let got = play(&[1_000; 600]);
        let tries = got.windows(2).filter(|pair| pair == &[1, 0]).count();
        assert!((3..=8).contains(&tries), "{tries} in ten minutes");
        assert!(got.iter().filter(|quality| **quality == 0).count() < 40);
    }

    proptest! {
        #[test]
        fn whatever_happens_a_better_one_comes_only_after_ten_calm_seconds(
            steps in proptest::collection::vec((0..4_000_u64, 0..5_u8, proptest::option::of(0..3_000_u32)), 1..200),
            qualities in 2..5_usize,
        ) {
            let mut now = Instant::now();
            let mut ladder = Ladder::new(qualities, None, now);
            let (mut quality, mut trouble, mut changed) = (0, None::<Instant>, None::<Instant>);
            let heights: Vec<_> = (0..qualities).map(|i| Some(1_080 >> i)).collect();
            for (step_ms, what, height) in steps {
                now += Duration::from_millis(step_ms);
                let mut counts = false;
                match what {
                    0 => {
                        ladder.trouble(quality, now);
                        counts = changed.is_none_or(|changed| now - changed >= SETTLING);
                        trouble = if counts { Some(now) } else { trouble };
                    }
                    1 => ladder.show(height),
                    _ => {}
                }
                let chosen = ladder.choose(heights.iter().copied(), now);
                prop_assert!(chosen < qualities);
                if counts {
                    prop_assert!(chosen > quality || chosen + 1 == qualities, "{chosen}");
                }
                // Size alone may go up, within what the socket was trusted with all the time.
                prop_assert!(chosen >= ladder.best, "{} is better than {}", chosen, ladder.best);
                if trouble.is_some_and(|trouble| now - trouble < CALM) {
                    prop_assert!(ladder.best > 0);
                }
                if chosen != quality {
                    (quality, changed) = (chosen, Some(now));
                    ladder.changed(now);
                }
            }
        }
    }
}
