//! Decode times of pictures that come without any: RTP says only when a picture is to be shown.
//!
//! Pictures come in the order they are decoded. Where all but `depth` of those that came have been shown by then, the
//! n-th picture is decoded at the latest when the (n - depth)-th in the order of showing is shown. That is its decode
//! time: it never lies behind its presentation (but where reordering first shows and no order counts foretold it), strictly rises, takes the same steps as presentation does, and only what
//! has come already is needed. Nothing waits for it: it is a label, shifted into the past by the depth.
//!
//! How deep pictures are reordered is not what the SPS says: many say 1 or 2 and never have a B-frame, and those must
//! keep presentation and decoding at the same time. It is what was seen, and seen in time by picture order counts: a
//! hole between them is a picture that comes later and is shown before. What the SPS says bounds that.
//!
//! PURE.

/// More are never reordered (ITU-T H.264, A.3.1; ITU-T H.265, A.4.2: the size of the decoded picture buffer).
const MAX_DEPTH: usize = 16;

/// How many pictures' worth of holes are believed where the SPS does not bound them.
const MAX_UNSAID_DEPTH: usize = 4;

/// So many pictures after the first hole one must have come that is shown before another, or there are no B-frames: the
/// encoder counts in larger steps than was thought, or leaves pictures out.
const MAX_DOUBT: u32 = 32;

/// A presentation time that steps back by more is not that of a B-frame, in ticks of 90 kHz: 500 ms.
const MAX_STEP_BACK_TICKS: i64 = 45_000;

/// One that steps forward by more is another beginning: 2 s.
const MAX_STEP_TICKS: i64 = 180_000;

/// Counts pictures as the order they are shown in has it: from the low bits in slices (ITU-T H.264, 8.2.1.1;
/// ITU-T H.265, 8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderCount {
    anchor: i64,
}

impl OrderCount {
    /// The count of a picture whose slices say `lsb` in so many bits. `restarts`: it begins anew. `is_anchor`: others count
    /// from this picture.
    pub fn next(&mut self, lsb: u32, bits: u32, restarts: bool, is_anchor: bool) -> i64 {
        let (lsb, range) = (i64::from(lsb), 1i64 << bits.min(16));
        if restarts {
            self.anchor = 0;
        }
        let anchor_lsb = self.anchor.rem_euclid(range);
        let mut count = self.anchor - anchor_lsb + lsb;
        if lsb < anchor_lsb && anchor_lsb - lsb >= range / 2 {
            count += range;
        } else if lsb > anchor_lsb && lsb - anchor_lsb > range / 2 {
            count -= range;
        }
        if is_anchor {
            self.anchor = count;
        }
        count
    }
}

/// What is known of a picture's place in the order of showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In ticks of 90 kHz.
    pub pts_ticks: i64,
    /// Its picture order count, where it can be read.
    pub order_count: Option<i64>,
    /// Counts begin anew with it.
    pub restarts: bool,
}

/// The decode times of one track.
#[derive(Clone, Debug)]
pub struct DecodeOrder {
    holes: Holes,
    /// How many pictures wait for one that comes later.
    depth: usize,
    /// A picture was seen that is shown before one that came earlier.
    seen: bool,
    /// Pictures since the first hole.
    doubt: u32,
    /// Order counts, or presentation times where there are none, of what came last; at most [`MAX_DEPTH`].
    recent: Times,
    /// Presentation times that no decode time was made of yet, at most `depth`.
    waiting: Times,
    last_dts_ticks: Option<i64>,
    newest_pts_ticks: Option<i64>,
}

impl DecodeOrder {
    /// For a stream whose SPS allows so many pictures to wait for another, where it says so. `unit` is what picture order
    /// counts mostly grow by from picture to picture: 2 in H.264, which counts fields, 1 in H.265.
    pub fn new(max_depth: Option<u32>, unit: i64) -> Self {
        let max_depth = max_depth.map_or(MAX_UNSAID_DEPTH, |depth| (depth as usize).min(MAX_DEPTH));
        Self {
            holes: Holes { max_depth, unit, last: None, front: 0, waiting: Times::default() },
            depth: 0,
            seen: false,
            doubt: 0,
            recent: Times::default(),
            waiting: Times::default(),
            last_dts_ticks: None,
            newest_pts_ticks: None,
        }
    }

    /// The decode time of the next picture, or nothing where it is the presentation time.
    pub fn next(&mut self, place: Place) -> Option<i64> {
        let pts_ticks = place.pts_ticks;
        self.forget_before_jump(pts_ticks);
        self.newest_pts_ticks = self.newest_pts_ticks.max(Some(pts_ticks));
        if self.holes.max_depth == 0 {
            return None;
        }
        // Counts are believed before times, which jitter.
        let shown = place.order_count.unwrap_or(pts_ticks);
        if place.restarts && place.order_count.is_some() {
            self.recent = Times::default();
        }
        let shown_later = self.recent.iter().filter(|recent| *recent > shown).count();
        self.recent.push(shown);
        self.seen |= shown_later > 0;
        let expected = self.expected(place);
        self.depth = self.depth.max(shown_later).max(expected).min(MAX_DEPTH);
        if self.depth == 0 {
            self.last_dts_ticks = Some(pts_ticks);
            return None;
        }
        self.waiting.insert(pts_ticks);
        let after_last = self.last_dts_ticks.map_or(pts_ticks, |last| last.saturating_add(1));
        let mut dts_ticks = after_last;
        while self.waiting.len() > self.depth {
            dts_ticks = after_last.max(self.waiting.take_first().unwrap_or(pts_ticks));
        }
        self.last_dts_ticks = Some(dts_ticks);
        Some(dts_ticks)
    }

    /// A clock that was set makes what came before worthless.
    fn forget_before_jump(&mut self, pts_ticks: i64) {
        let Some(newest) = self.newest_pts_ticks else { return };
        let step = pts_ticks.saturating_sub(newest);
        if !(-MAX_STEP_BACK_TICKS..=MAX_STEP_TICKS).contains(&step) {
            (self.recent, self.waiting) = (Times::default(), Times::default());
            self.newest_pts_ticks = None;
            if step < 0 {
                self.last_dts_ticks = None;
            }
        }
    }

    /// How deep the picture order counts say that pictures are reordered.
    fn expected(&mut self, place: Place) -> usize {
        let Some(count) = place.order_count else { return 0 };
        let expected = self.holes.next(count, place.restarts);
        if self.seen {
            return expected;
        }
        self.doubt += u32::from(expected > 0 || self.doubt > 0);
        if self.doubt > MAX_DOUBT {
            // No B-frames after all: until one is seen, holes mean nothing.
            (self.depth, self.waiting) = (0, Times::default());
            return 0;
        }
        expected
    }
}

/// Finds pictures that wait for others, by what is missing between picture order counts.
#[derive(Clone, Debug)]
struct Holes {
    max_depth: usize,
    /// The smallest step from picture to picture.
    unit: i64,
    last: Option<i64>,
    /// Up to here nothing is missing.
    front: i64,
    /// What came beyond.
    waiting: Times,
}

impl Holes {
    /// How many pictures wait once this one has come.
    fn next(&mut self, count: i64, restarts: bool) -> usize {
        let Some(last) = self.last.replace(count).filter(|_| !restarts) else {
            (self.front, self.waiting) = (count, Times::default());
            return 0;
        };
        let step = last.abs_diff(count).min(self.unit as u64);
        if step > 0 {
            self.unit = step as i64;
        }
        if count > self.front {
            self.waiting.insert(count);
        }
        self.close();
        while self.waiting.len() > self.max_depth {
            // What is missing does not come any more.
            self.front = self.waiting.take_first().unwrap_or(self.front);
            self.close();
        }
        self.waiting.len()
    }

    fn close(&mut self) {
        while self.waiting.first().is_some_and(|first| first <= self.front.saturating_add(self.unit)) {
            self.front = self.waiting.take_first().unwrap_or(self.front);
        }
    }
}

/// A few times, without an allocation. One too many pushes the first one out.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    times: [i64; MAX_DEPTH + 1],
    len: usize,
}

impl Times {
    fn iter(&self) -> impl Iterator<Item = i64> {
        self.times[..self.len].iter().copied()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn first(&self) -> Option<i64> {
        self.iter().next()
    }

    fn take_first(&mut self) -> Option<i64> {
        let first = self.first()?;
        self.times.copy_within(1..self.len, 0);
        self.len -= 1;
        Some(first)
    }

    /// At the end.
    fn push(&mut self, time: i64) {
        if self.len == MAX_DEPTH {
            self.take_first();
        }
        self.times[self.len] = time;
        self.len += 1;
    }

    /// In order.
    fn insert(&mut self, time: i64) {
        if self.len == self.times.len() {
            self.take_first();
        }
        let at = self.iter().take_while(|other| *other <= time).count();
        self.times.copy_within(at..self.len, at + 1);
        self.times[at] = time;
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: i64 = 3_600;

    /// The decode times, in frames where they are whole, of pictures shown at these frame numbers. Counts are in steps of 2;
    /// the first picture restarts them.
    fn decoded(order: &mut DecodeOrder, shown: &[i64], counted: bool) -> Vec<(i64, Option<i64>)> {
        let next = |(i, shown): (usize, &i64)| {
            let place = Place {
                pts_ticks: shown * FRAME,
                order_count: counted.then_some(shown * 2),
                restarts: i == 0,
            };
            (*shown * FRAME, order.next(place))
        };
        shown.iter().enumerate().map(next).collect()
    }

    fn assert_sound(times: &[(i64, Option<i64>)]) {
        let dts: Vec<_> = times.iter().map(|(pts, dts)| dts.unwrap_or(*pts)).collect();
        assert!(dts.windows(2).all(|pair| pair[0] < pair[1]), "{dts:?}");
        assert!(times.iter().zip(&dts).all(|((pts, _), dts)| dts <= pts), "{times:?}");
    }

    #[test]
    fn without_b_frames_nothing_is_changed_whatever_the_sps_allows() {
        for max_depth in [None, Some(0), Some(2), Some(16)] {
            let shown: Vec<_> = (0..200).collect();
            let times = decoded(&mut DecodeOrder::new(max_depth, 2), &shown, true);
            assert!(times.iter().all(|(_, dts)| dts.is_none()), "{max_depth:?}");
        }
    }

    #[test]
    fn two_b_frames_cost_a_shift_of_one_frame() {
        for max_depth in [None, Some(1), Some(4)] {
            let times = decoded(&mut DecodeOrder::new(max_depth, 2), &[0, 3, 1, 2, 6, 4, 5, 9, 7, 8], true);
            assert_sound(&times);
            let dts: Vec<_> = times[2..].iter().map(|(_, dts)| dts.map(|dts| dts / FRAME)).collect();
            assert_eq!(dts, (1..9).map(Some).collect::<Vec<_>>(), "{max_depth:?}");
        }
    }

    #[test]
    fn a_pyramid_is_seen_before_it_is_needed() {
        let shown = [0, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11];
        let times = decoded(&mut DecodeOrder::new(None, 2), &shown, true);
        assert_sound(&times);
        let dts: Vec<_> = times[3..].iter().map(|(_, dts)| dts.map(|dts| dts / FRAME)).collect();
        assert_eq!(dts, (1..11).map(Some).collect::<Vec<_>>(), "a shift of two frames");
    }

    #[test]
    fn without_counts_it_is_learnt_from_presentation_times_within_a_group() {
        let shown = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11];
        let times = decoded(&mut DecodeOrder::new(None, 2), &shown, false);
        assert_eq!(times[1].1, None, "nothing is known yet");
        let dts: Vec<_> = times.iter().map(|(pts, dts)| dts.unwrap_or(*pts)).collect();
        assert!(dts.windows(2).all(|pair| pair[0] < pair[1]), "{dts:?}");
        assert!(times[4..].iter().all(|(pts, dts)| dts.is_some_and(|dts| dts <= *pts)), "{times:?}");
    }

    #[test]
    fn an_encoder_that_counts_in_large_steps_has_no_b_frames() {
        let mut order = DecodeOrder::new(None, 2);
        let dts = |order: &mut DecodeOrder, i: i64| {
            order.next(Place { pts_ticks: i * FRAME, order_count: Some(i * 4), restarts: i == 0 })
        };
        let times: Vec<_> = (0..100).map(|i| (i * FRAME, dts(&mut order, i))).collect();
        assert_sound(&times);
        assert!(times[40..].iter().all(|(_, dts)| dts.is_none()));
    }

    #[test]
    fn a_clock_that_jumps_begins_anew() {
        for jump in [-30 * 90_000, 30 * 90_000] {
            let mut order = DecodeOrder::new(Some(1), 2);
            decoded(&mut order, &[0, 3, 1, 2, 6, 4, 5], true);
            let next = [9, 7, 8, 12, 10, 11].map(|shown: i64| {
                let pts_ticks = shown * FRAME + jump;
                let place = Place { pts_ticks, order_count: Some(shown * 2), restarts: false };
                (pts_ticks, order.next(place))
            });
            assert!(next.windows(2).all(|pair| pair[0].1 < pair[1].1), "{next:?}");
            assert!(
                next[3..]
                    .iter()
                    .all(|(pts, dts)| dts.is_some_and(|dts| dts <= *pts && pts - dts < 4 * FRAME))
            );
        }
    }

    #[test]
    fn counts_go_on_over_the_range_of_their_low_bits() {
        let mut count = OrderCount::default();
        let lsbs = [0, 6, 2, 4, 12, 8, 10, 2, 14, 0, 8];
        let anchors = [true, true, false, false, true, false, false, true, false, false, true];
        let counts: Vec<_> = lsbs
            .into_iter()
            .zip(anchors)
            .enumerate()
            .map(|(i, (lsb, is_anchor))| count.next(lsb, 4, i == 0, is_anchor))
            .collect();
        assert_eq!(counts, [0, 6, 2, 4, 12, 8, 10, 18, 14, 16, 24]);
        assert_eq!(count.next(3, 4, true, true), 3);
    }

    /// Groups of pictures as encoders make them: a reference, then what is shown before it, in halves.
    fn group(from: i64, b_frames: i64, out: &mut Vec<i64>) {
        fn between(low: i64, high: i64, out: &mut Vec<i64>) {
            if high - low > 1 {
                let middle = i64::midpoint(low, high);
                out.push(middle);
                between(low, middle, out);
                between(middle, high, out);
            }
        }
        out.push(from + b_frames);
        between(from - 1, from + b_frames, out);
    }

    proptest! {
        #[test]
        fn decode_times_rise_and_never_lie_behind_presentation(
            groups in proptest::collection::vec(0i64..8, 1..60), jitter in 0i64..1_000,
        ) {
            let mut shown = vec![0];
            let mut from = 1;
            for b_frames in groups {
                group(from, b_frames, &mut shown);
                from += b_frames + 1;
            }
            let (mut order, mut last) = (DecodeOrder::new(Some(3), 2), i64::MIN);
            let mut depth = 0;
            for (i, frame) in shown.iter().enumerate() {
                let pts_ticks = frame * FRAME + (frame * 7919) % (jitter + 1);
                let earlier_shown_later = shown[..i].iter().filter(|other| *other > frame).count() as i64;
                depth = depth.max(earlier_shown_later);
                let place = Place { pts_ticks, order_count: Some(frame * 2), restarts: i == 0 };
                let dts = order.next(place).unwrap_or(pts_ticks);
                prop_assert!(dts > last && dts <= pts_ticks, "{} after {} for {}", dts, last, pts_ticks);
                last = dts;
            }
            prop_assert!(order.depth as i64 <= 3 && order.depth as i64 >= depth);
        }

        #[test]
        fn whatever_comes_decode_times_rise_until_the_clock_goes_back(
            places in proptest::collection::vec((any::<i64>(), any::<Option<i64>>(), any::<bool>()), 1..200),
        ) {
            let mut order = DecodeOrder::new(None, 2);
            for (pts_ticks, order_count, restarts) in places {
                let _ = order.next(Place { pts_ticks, order_count, restarts });
                prop_assert!(order.depth <= MAX_DEPTH && order.waiting.len() <= MAX_DEPTH + 1);
            }
        }
    }
}
