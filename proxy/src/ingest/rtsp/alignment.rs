//! How a session's sound stands against its picture: what is to be added to the times of its sound.
//!
//! PURE. Each track counts from PLAY by itself (see `clock`). What ties the two, best first:
//!
//! 1. Sender reports of both tracks (RFC 3550, 6.4.1), as soon as there is one of each. Only their difference counts, so
//!    that a camera whose clock stands at 1970 is aligned as well as any.
//! 2. `RTP-Info`, where both tracks have a plausible one.
//! 3. Arrival: the least delayed packets of both are taken to be delayed alike.
//!
//! The picture is never moved. Invariant: what is added stays within [`CONTRADICTION_US`].

use super::clock::Begins;

/// Reports of the two tracks that would move the sound by more than this contradict each other, in microseconds: the
/// camera made up one of them, or set its clock in between.
const CONTRADICTION_US: i64 = 1_000_000;

/// Later reports that part by up to this are followed smoothly, in microseconds: crystals that drift, and rounding.
const SMOOTH_US: i64 = 40_000;

/// Farther ones must be said twice, so much alike, in microseconds: one that is wrong once moves nothing.
const ALIKE_US: i64 = 20_000;

/// The first report, or the twice said, moves the sound at once when it is more than this, in microseconds.
const STEP_US: i64 = 5_000;

/// By arrival, less than this is not worth a step that can be heard, in microseconds.
const ARRIVAL_STEP_US: i64 = 25_000;

/// A packet that ends so much after it has arrived, by `RTP-Info`, proves that wrong, in microseconds.
const IMPOSSIBLE_US: i64 = 5_000;

/// For how long the least delayed packet is looked for: at first, and at most, in microseconds.
const WINDOW_US: (i64, i64) = (1_000_000, 10_000_000);

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The picture.
    Video,
    /// The sound.
    Audio,
}

/// What is known of one side.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_field_names, reason = "units belong in names")]
struct Known {
    /// Wall clock minus the track's own time, by the newest report; nothing once it was used.
    report_us: Option<i64>,
    /// By how much its own times are later than `RTP-Info` says, where there may be one, in microseconds.
    after_rtp_info_us: Option<i64>,
    /// Arrival minus the track's own time of the least delayed packet.
    least_delay_us: Option<i64>,
}

/// The state of the rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alignment {
    shift_us: i64,
    sides: [Known; 2],
    /// `RTP-Info` ties the two.
    by_rtp_info: bool,
    /// Reports were used: arrival does not count any more.
    reported: bool,
    /// What the last reports said that was too far off to be followed at once.
    doubted_us: Option<i64>,
    window_us: i64,
    window_ends_us: Option<i64>,
}

impl Default for Alignment {
    fn default() -> Self {
        Self {
            shift_us: 0,
            sides: [Known::default(); 2],
            by_rtp_info: false,
            reported: false,
            doubted_us: None,
            window_us: WINDOW_US.0,
            window_ends_us: None,
        }
    }
}

impl Alignment {
    /// What is to be added to the times of the sound, in microseconds.
    pub(super) fn shift_us(&self) -> i64 {
        self.shift_us
    }

    /// A track's times begin, at first or anew after a jump of its clock. What was known of it does not hold.
    pub(super) fn begin(&mut self, side: Side, begins: Begins) {
        self.sides = self.sides.map(|known| Known { least_delay_us: None, report_us: None, ..known });
        self.sides[side as usize].after_rtp_info_us = match begins {
            Begins::RtpInfo => Some(0),
            Begins::AtZero(us) => Some(us),
            Begins::Arrival | Begins::Jumped => None,
        };
        self.doubted_us = None;
        (self.reported, self.window_us, self.window_ends_us) = (false, WINDOW_US.0, None);
        // A server names the first packet of both tracks or of none.
        self.by_rtp_info = false;
        if let [Some(video_us), Some(audio_us)] = self.sides.map(|known| known.after_rtp_info_us)
            && (video_us == 0 || audio_us == 0)
        {
            self.by_rtp_info = true;
            self.shift_us = video_us.saturating_sub(audio_us);
        }
    }

    /// A sender report: the wall clock minus the track's own time. Whether the sound moved by a step.
    pub(super) fn report(&mut self, side: Side, wall_minus_own_us: i64) -> bool {
        self.sides[side as usize].report_us = Some(wall_minus_own_us);
        let [Some(video_us), Some(audio_us)] = self.sides.map(|known| known.report_us) else { return false };
        // The next verdict is by reports that both come after this one: a clock that is set between two of them is
        // contradicted then.
        self.sides = self.sides.map(|known| Known { report_us: None, ..known });
        let wanted_us = audio_us.saturating_sub(video_us);
        if wanted_us.saturating_abs() > CONTRADICTION_US {
            self.doubted_us = None;
            return false;
        }
        let apart_us = wanted_us - self.shift_us;
        let first = !std::mem::replace(&mut self.reported, true);
        if !first && apart_us.abs() <= SMOOTH_US {
            self.doubted_us = None;
            self.shift_us += apart_us / 4;
            return false;
        }
        let said_before =
            self.doubted_us.is_some_and(|doubted_us| (doubted_us - wanted_us).abs() <= ALIKE_US);
        if !first && !said_before {
            self.doubted_us = Some(wanted_us);
            return false;
        }
        self.doubted_us = None;
        self.shift_us = wanted_us;
        apart_us.abs() > STEP_US
    }

    /// A packet whose end arrived `delay_us` after the track's own time, at `now_us`. Whether the sound moved by a step.
    pub(super) fn arrived(&mut self, side: Side, delay_us: i64, now_us: i64) -> bool {
        let known = self.sides[side as usize];
        // By a true `RTP-Info` nothing ends after it has arrived. GStreamer's servers name packets that are up to 80 ms off.
        self.by_rtp_info &= delay_us.saturating_add(known.after_rtp_info_us.unwrap_or(0)) >= -IMPOSSIBLE_US;
        if self.reported || self.by_rtp_info {
            return false;
        }
        let least = &mut self.sides[side as usize].least_delay_us;
        *least = Some(least.map_or(delay_us, |least_us| least_us.min(delay_us)));
        let ends_us = *self.window_ends_us.get_or_insert(now_us.saturating_add(self.window_us));
        if now_us < ends_us {
            return false;
        }
        let [Some(video_us), Some(audio_us)] = self.sides.map(|known| known.least_delay_us) else {
            return false;
        };
        self.sides = self.sides.map(|known| Known { least_delay_us: None, ..known });
        self.window_us = (self.window_us * 2).min(WINDOW_US.1);
        self.window_ends_us = Some(now_us.saturating_add(self.window_us));
        let wanted_us = audio_us.saturating_sub(video_us);
        let moved = wanted_us.saturating_abs() <= CONTRADICTION_US
            && (wanted_us - self.shift_us).abs() > ARRIVAL_STEP_US;
        if moved {
            self.shift_us = wanted_us;
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Side::{Audio, Video},
        *,
    };
    use proptest::prelude::*;

    /// Both tracks' reports, at a wall clock of `wall_us`, for sound that stands `early_us` too early.
    fn reports(alignment: &mut Alignment, wall_us: i64, early_us: i64) -> bool {
        let first = alignment.report(Video, wall_us);
        alignment.report(Audio, wall_us + early_us) || first
    }

    #[test]
    fn the_first_reports_of_both_tracks_move_the_sound_at_once() {
        for wall_us in [0, -2_208_988_800_000_000, 1_790_000_000_000_000] {
            let mut alignment = Alignment::default();
            assert!(!alignment.report(Video, wall_us), "one track's report says nothing");
            assert_eq!(alignment.shift_us(), 0);
            assert!(alignment.report(Audio, wall_us + 80_000));
            assert_eq!(alignment.shift_us(), 80_000);
        }
    }

    #[test]
    fn reports_of_one_track_only_leave_everything_as_it_is() {
        let mut alignment = Alignment::default();
        for i in 0..100 {
            assert!(!alignment.report(Audio, i * 1_000_000));
        }
        assert_eq!(alignment.shift_us(), 0);
    }

    #[test]
    fn reports_that_contradict_each_other_are_not_used() {
        let mut alignment = Alignment::default();
        for _ in 0..10 {
            assert!(!reports(&mut alignment, 0, 1_500_000));
        }
        assert_eq!(alignment.shift_us(), 0);
        // Arrival still counts.
        alignment.arrived(Video, 0, 0);
        alignment.arrived(Audio, 50_000, 0);
        assert!(alignment.arrived(Video, 0, 1_100_000));
        assert_eq!(alignment.shift_us(), 50_000);
    }

    #[test]
    fn a_wall_clock_that_is_set_between_two_reports_moves_nothing() {
        for step_us in [30_000_000, -30_000_000, 500_000, -500_000] {
            let mut alignment = Alignment::default();
            reports(&mut alignment, 0, 20_000);
            // Set behind the picture's report and before the sound's.
            assert!(!alignment.report(Video, 0));
            assert!(!alignment.report(Audio, step_us + 20_000));
            for _ in 0..3 {
                assert!(!reports(&mut alignment, step_us, 20_000));
            }
            assert_eq!(alignment.shift_us(), 20_000, "{step_us}");
        }
    }

    #[test]
    fn later_reports_that_stay_far_off_are_followed_when_said_twice() {
        let mut alignment = Alignment::default();
        reports(&mut alignment, 0, 0);
        assert!(!reports(&mut alignment, 0, 300_000));
        assert!(reports(&mut alignment, 0, 302_000));
        assert_eq!(alignment.shift_us(), 302_000);
    }

    #[test]
    fn a_sound_card_that_drifts_is_followed_without_a_step() {
        let mut alignment = Alignment::default();
        // 200 ppm between the two clocks, a report each 5 s: an hour is 720 ms.
        for i in 0..720 {
            let said_us = i * 1_000;
            assert!(!reports(&mut alignment, i, said_us), "{i}");
            assert!((alignment.shift_us() - said_us).abs() < 5_000, "{i}: {}", alignment.shift_us());
        }
    }

    #[test]
    fn without_reports_the_least_delayed_packets_count() {
        let mut alignment = Alignment::default();
        // The first picture, a large one, took 90 ms more than the others.
        let mut stepped = 0;
        for i in 0..100i64 {
            let jitter_us = i * 7 % 5 * 3_000;
            let video_us = if i == 0 { 0 } else { -90_000 + jitter_us };
            stepped += u32::from(alignment.arrived(Video, video_us, i * 40_000));
            stepped += u32::from(alignment.arrived(Audio, jitter_us, i * 40_000));
        }
        assert_eq!((stepped, alignment.shift_us()), (1, 90_000));
    }

    #[test]
    fn rtp_info_goes_before_arrival_and_reports_before_both() {
        let mut alignment = Alignment::default();
        alignment.begin(Video, Begins::AtZero(70_000));
        alignment.begin(Audio, Begins::RtpInfo);
        assert_eq!(alignment.shift_us(), 70_000, "the picture stands so much too late");
        for i in 0..100 {
            assert!(!alignment.arrived(Video, 0, i * 40_000));
            assert!(!alignment.arrived(Audio, 300_000, i * 40_000));
        }
        assert!(reports(&mut alignment, 0, -60_000));
        assert_eq!(alignment.shift_us(), -60_000);
    }

    #[test]
    fn rtp_info_by_which_sound_ends_after_its_arrival_does_not_count() {
        let mut alignment = Alignment::default();
        alignment.begin(Video, Begins::RtpInfo);
        alignment.begin(Audio, Begins::RtpInfo);
        for i in 0..50 {
            alignment.arrived(Video, 44_000, i * 40_000);
            alignment.arrived(Audio, -28_000, i * 40_000);
        }
        assert_eq!(alignment.shift_us(), -72_000);
    }

    #[test]
    fn a_jump_of_one_tracks_clock_is_made_up_for_by_the_next_reports() {
        let mut alignment = Alignment::default();
        reports(&mut alignment, 0, 20_000);
        alignment.begin(Audio, Begins::Jumped);
        assert_eq!(alignment.shift_us(), 20_000, "until more is known");
        assert!(reports(&mut alignment, 0, -35_000));
        assert_eq!(alignment.shift_us(), -35_000);
    }

    proptest! {
        #[test]
        fn the_sound_is_never_moved_far(steps in proptest::collection::vec((0u8..6, any::<i64>()), 0..200)) {
            let mut alignment = Alignment::default();
            for (step, us) in steps {
                let side = if step % 2 == 0 { Video } else { Audio };
                match step / 2 {
                    0 => drop(alignment.report(side, us)),
                    1 => drop(alignment.arrived(side, us, us)),
                    _ if us > 0 => alignment.begin(side, Begins::RtpInfo),
                    _ => alignment.begin(side, Begins::AtZero(us.rem_euclid(300_001))),
                }
                prop_assert!(alignment.shift_us().abs() <= CONTRADICTION_US);
            }
        }
    }
}
