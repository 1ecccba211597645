//! Notices that the picture stands still although it should not, and says what to try next.
//!
//! The steps, each one rougher than the last: nudge over a hole, jump to the live edge, build the MediaSource anew,
//! connect anew. Only a standstill *while media arrives* counts: a silent camera or a dead socket is told about by the
//! server and by the session's pings. Carrying the steps out does not belong here.
//!
//! Invariant: while the standstill lasts each step is given once, in order, and after the last one it starts over.

use crate::prelude::*;
use crate::within;

/// What to try.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Move to this media time, in seconds: the next buffered range begins there.
    Nudge(f64),
    /// Jump to the live edge.
    SeekToLive,
    /// Build the MediaSource anew.
    Rebuild,
    /// Connect anew.
    Reconnect,
}

/// What a look at the media element showed.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states of one thing")]
pub struct Look {
    /// `currentTime`, in seconds.
    pub position_s: f64,
    /// `totalVideoFrames`: pictures decoded or dropped so far.
    pub total_frames: u32,
    /// Buffered ranges of the element, in seconds: a hole in the sound stops Chromium as one in the video does.
    pub buffered_s: Vec<(f64, f64)>,
    /// Whether the picture should move: wanted, not hidden, the stream subscribed.
    pub should_move: bool,
    /// Whether the camera is said to give pictures.
    pub online: bool,
    /// Whether the first picture's place was already chosen; before that there is nothing to seek from.
    pub placed: bool,
    /// Presentation time of the newest video fragment, in seconds.
    pub newest_s: Option<f64>,
    /// Expected time between two pictures, in milliseconds.
    pub frame_ms: f64,
    /// Whether the browser, where it has run dry, may show each picture as it comes while its time stands (Chromium).
    pub shows_untimed: bool,
}

/// A standstill shorter than this is ordinary, in milliseconds.
pub const STALL_MS: f64 = 250.0;

/// How much a range may end before the playhead is taken to be at its end, in seconds.
const AT_END_S: f64 = 0.1;

/// The same when it has stood still for [`STALL_MS`]: Chromium does not start on less than 200 ms of sound, nor go on,
/// after it ran dry, on less than 400 ms, and waits at such a hole for ever.
const BEFORE_END_S: f64 = 0.5;

/// A playhead that covers less than this share of the time that passes stands still.
const STANDING: f64 = 0.2;

/// Pictures that come for so long while time stands are shown untimed, in milliseconds. Chromium, run dry for a moment,
/// finds the next picture far ahead of its time, shows it at once, has none behind it and has run dry again: it goes on
/// like that, and its time with some milliseconds a second, until a seek.
const UNTIMED_MS: f64 = 300.0;

/// A look at which the playhead is this much farther than play could have brought it, in milliseconds, follows a jump.
const JUMP_MS: f64 = 100.0;

/// After this long of play the ladder begins at its first step again, in milliseconds.
const WELL_MS: f64 = 1_000.0;

const SEEK_AFTER_MS: f64 = 1_500.0;
/// Counted from the step before, or from the last motion.
const REBUILD_AFTER_MS: f64 = 1_500.0;
const RECONNECT_AFTER_MS: f64 = 3_000.0;

/// Looks are some 100 ms apart. A longer pause means that the page slept, and that is not a standstill.
const MAX_LOOK_MS: f64 = 500.0;

/// Of a standstill no look counts for more than this, in milliseconds: where looks come late, decoders do too, and each step that
/// is taken costs what they lack.
const LOOK_COUNTS_MS: f64 = 150.0;

/// Each round of steps takes twice as long as the one before, so often at most: what has not helped helps no sooner when it is done
/// all the time.
const MAX_ROUNDS: i32 = 3;

/// After this long of play everything is forgotten, in milliseconds.
const FORGET_MS: f64 = 5_000.0;

/// The watchdog.
#[derive(Debug, Default)]
pub struct Watchdog {
    last: Option<(f64, Look)>,
    still_ms: f64,
    /// Media arrived during the standstill: its newest presentation time changed this recently, in milliseconds.
    quiet_ms: f64,
    pictureless_ms: f64,
    untimed_ms: f64,
    /// Playing well without a break.
    well_ms: f64,
    /// How long it had stood still at the last step, in milliseconds.
    stepped_ms: f64,
    steps: u8,
    /// Rounds of steps that did not help.
    rounds: i32,
}

impl Watchdog {
    /// Looks. Returns what to try, if anything.
    pub fn look(&mut self, look: &Look, now_ms: f64) -> Option<Step> {
        let (last_ms, last) = self.last.replace((now_ms, look.clone()))?;
        let passed_ms = within(now_ms - last_ms, 0.0, MAX_LOOK_MS);
        let moved_ms = (look.position_s - last.position_s).abs() * 1e3;
        // A jump is what somebody did about it, and proves nothing.
        let jumped = moved_ms > passed_ms * 2.0 + JUMP_MS;
        let moved = moved_ms > (passed_ms * STANDING).max(1.0) && !jumped;
        let new_picture = look.total_frames != last.total_frames;
        self.quiet_ms = if look.newest_s == last.newest_s { self.quiet_ms + passed_ms } else { 0.0 };
        let counted_ms = passed_ms.min(LOOK_COUNTS_MS);
        self.pictureless_ms = if new_picture { 0.0 } else { self.pictureless_ms + counted_ms };
        if look.should_move && (look.newest_s.is_none() || !look.online) {
            return None; // nothing can move yet, and what was tried before still counts
        }
        self.well_ms = if moved && self.pictureless_ms < WELL_MS { self.well_ms + passed_ms } else { 0.0 };
        if self.well_ms >= WELL_MS || !look.should_move {
            self.stepped_ms = 0.0;
            self.steps = 0;
        }
        if self.well_ms >= FORGET_MS || !look.should_move {
            self.rounds = 0;
        }
        if moved || !look.should_move {
            self.still_ms = 0.0;
            self.untimed_ms = 0.0;
            // Over a hole in the video Chromium goes on with the sound alone: time moves, the picture does not.
            let patience_ms = SEEK_AFTER_MS.max(look.frame_ms * 5.0);
            if !look.should_move || self.quiet_ms > 1_000.0 || self.pictureless_ms < patience_ms {
                if !look.should_move {
                    self.pictureless_ms = 0.0;
                }
                return None;
            }
            return self.escalate(self.pictureless_ms, patience_ms);
        }
        self.still_ms += counted_ms;
        if look.placed
            && let Some(start_s) =
                after_hole(look, if self.still_ms > STALL_MS { BEFORE_END_S } else { AT_END_S })
        {
            return Some(Step::Nudge(start_s));
        }
        let untimed = look.placed && look.shows_untimed && new_picture;
        self.untimed_ms = if untimed { self.untimed_ms + passed_ms } else { 0.0 };
        if self.untimed_ms >= UNTIMED_MS {
            self.untimed_ms = 0.0;
            return Some(Step::SeekToLive);
        }
        let fresh = self.quiet_ms <= 1_000.0 + look.frame_ms * 3.0;
        let ahead = look.newest_s.is_some_and(|newest_s| newest_s > look.position_s + 0.02) || !look.placed;
        if fresh && ahead {
            self.escalate(self.still_ms, SEEK_AFTER_MS.max(look.frame_ms * 3.0))
        } else {
            None
        }
    }

    fn escalate(&mut self, still_ms: f64, first_ms: f64) -> Option<Step> {
        let scale = first_ms / SEEK_AFTER_MS * f64::from(1 << self.rounds);
        let (after_ms, step) = match self.steps {
            0 => (SEEK_AFTER_MS, Step::SeekToLive),
            1 => (REBUILD_AFTER_MS, Step::Rebuild),
            _ => (RECONNECT_AFTER_MS, Step::Reconnect),
        };
        if still_ms < self.stepped_ms {
            self.stepped_ms = 0.0; // it moved meanwhile
        }
        if still_ms - self.stepped_ms < after_ms * scale {
            return None;
        }
        self.stepped_ms = still_ms;
        self.steps += 1;
        if step == Step::Reconnect {
            self.rounds = (self.rounds + 1).min(MAX_ROUNDS);
            self.steps = 0;
            self.stepped_ms = 0.0;
            self.still_ms = 0.0;
            self.pictureless_ms = 0.0;
        }
        Some(step)
    }

    /// How long the picture stands still, in milliseconds.
    pub fn still_ms(&self) -> f64 {
        self.still_ms
    }

    /// Another MediaSource is being built: time runs on, positions of the old one do not count.
    pub fn on_rebuilt(&mut self) {
        self.last = None;
    }
}

/// Where the next range begins, when the playhead is at the end of one or in none.
fn after_hole(look: &Look, at_end_s: f64) -> Option<f64> {
    let at = look.position_s;
    let room_s = look
        .buffered_s
        .iter()
        .find(|range| range.0 <= at + 0.01 && range.1 >= at)
        .map_or(0.0, |range| range.1 - at);
    if room_s > at_end_s {
        return None;
    }
    look.buffered_s.iter().map(|range| range.0).find(|&start| start > at + 0.01).map(|start| start + 0.001)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn still(newest_s: f64) -> Look {
        Look {
            position_s: 5.0,
            total_frames: 100,
            buffered_s: vec![(0.0, newest_s + 0.2)],
            should_move: true,
            online: true,
            placed: true,
            newest_s: Some(newest_s),
            frame_ms: 40.0,
            shows_untimed: false,
        }
    }

    /// Looks every 100 ms and returns the steps with their times.
    fn watch(dog: &mut Watchdog, looks: impl Iterator<Item = Look>) -> Vec<(u32, Step)> {
        looks
            .enumerate()
            .filter_map(|(i, look)| dog.look(&look, i as f64 * 100.0).map(|step| (i as u32 * 100, step)))
            .collect()
    }

    #[test]
    fn a_standstill_while_media_arrives_escalates_and_starts_over_more_slowly() {
        let steps = watch(&mut Watchdog::default(), (0..200).map(|i| still(6.0 + f64::from(i) * 0.1)));
        assert_eq!(
            steps,
            [
                (1500, Step::SeekToLive),
                (3000, Step::Rebuild),
                (6000, Step::Reconnect),
                (9000, Step::SeekToLive),
                (12_000, Step::Rebuild),
                (18_000, Step::Reconnect),
            ]
        );
    }

    #[test]
    fn time_that_all_but_stands_while_pictures_are_shown_is_moved_at_once() {
        let creeping = |i: u32| Look {
            position_s: 5.0 + f64::from(i) * 0.002,
            total_frames: 100 + i * 2,
            shows_untimed: true,
            ..still(6.0 + f64::from(i) * 0.1)
        };
        assert_eq!(watch(&mut Watchdog::default(), (0..6).map(creeping)), [(300, Step::SeekToLive)]);
        // Firefox decodes ahead while it gathers enough to begin: there a seek would only begin that anew.
        let gathering = |i: u32| Look { shows_untimed: false, ..creeping(i) };
        assert_eq!(watch(&mut Watchdog::default(), (0..6).map(gathering)), []);
    }

    #[test]
    fn a_silent_camera_is_not_the_watchdogs_business() {
        assert_eq!(watch(&mut Watchdog::default(), (0..100).map(|_| still(5.0))), []);
        let steps = watch(&mut Watchdog::default(), (0..100).map(|_| still(6.0)));
        assert!(steps.len() <= 1, "{steps:?}");
    }

    #[test]
    fn a_hole_is_nudged_over_at_once() {
        let mut look = still(9.0);
        look.buffered_s = vec![(0.0, 5.05), (8.0, 9.2)];
        let steps = watch(&mut Watchdog::default(), (0..2).map(|_| look.clone()));
        assert_eq!(steps, [(100, Step::Nudge(8.001))]);
    }

    #[test]
    fn a_hole_ahead_that_keeps_play_from_starting_is_nudged_over_after_a_stall() {
        let mut look = still(9.0);
        look.buffered_s = vec![(0.0, 5.2), (8.0, 9.2)];
        let steps = watch(&mut Watchdog::default(), (0..4).map(|_| look.clone()));
        assert_eq!(steps, [(300, Step::Nudge(8.001))]);
    }

    #[test]
    fn a_picture_that_stands_while_the_sound_goes_on_is_noticed() {
        let steps = watch(
            &mut Watchdog::default(),
            (0..20).map(|i| Look { position_s: 5.0 + f64::from(i) * 0.1, ..still(6.0 + f64::from(i) * 0.1) }),
        );
        assert_eq!(steps, [(1500, Step::SeekToLive)]);
    }

    #[test]
    fn a_slow_camera_is_given_time() {
        let steps = watch(
            &mut Watchdog::default(),
            (0..100).map(|i| Look {
                position_s: 5.0 + f64::from(i) * 0.1,
                total_frames: 100 + i / 20,
                frame_ms: 2_000.0,
                ..still(6.0 + f64::from(i / 20) * 2.0)
            }),
        );
        assert_eq!(steps, []);
    }

    #[test]
    fn a_page_that_slept_does_not_count_its_sleep() {
        let mut dog = Watchdog::default();
        dog.look(&still(6.0), 0.0);
        assert_eq!(dog.look(&still(6.1), 3_600_000.0), None);
    }

    #[test]
    fn where_looks_come_late_steps_do_too() {
        let mut dog = Watchdog::default();
        let looks = (0..20u32).map(|i| (i, dog.look(&still(6.0 + f64::from(i) * 0.4), f64::from(i) * 400.0)));
        let steps: Vec<_> = looks.filter_map(|(i, step)| step.map(|step| (i, step))).collect();
        assert_eq!(
            steps,
            [(10, Step::SeekToLive)],
            "after as many looks as a picture stands still for, not after 1.5 s"
        );
    }

    #[test]
    fn a_jump_that_did_not_help_is_followed_by_the_next_step() {
        // Each jump to the live edge moves the playhead, and there it stands again.
        let mut dog = Watchdog::default();
        let (mut position_s, mut steps) = (5.0, Vec::new());
        for i in 0..75 {
            let newest_s = 6.0 + f64::from(i) * 0.1;
            let look = Look { position_s, total_frames: 100 + (position_s as u32), ..still(newest_s) };
            if let Some(step) = dog.look(&look, f64::from(i) * 100.0) {
                if step == Step::SeekToLive {
                    position_s = newest_s;
                }
                steps.push(step);
            }
        }
        assert_eq!(steps, [Step::SeekToLive, Step::Rebuild, Step::Reconnect]);
    }

    #[test]
    fn a_new_media_source_that_stands_still_like_the_old_one_leads_to_another_connection() {
        let mut dog = Watchdog::default();
        let mut steps = Vec::new();
        let mut filling = 0;
        for i in 0..120 {
            let look = if filling > 0 {
                Look { newest_s: None, placed: false, position_s: 0.0, ..still(6.0) }
            } else {
                still(6.0 + f64::from(i) * 0.1)
            };
            filling -= 1;
            if let Some(step) = dog.look(&look, f64::from(i) * 100.0) {
                if step == Step::Rebuild {
                    dog.on_rebuilt();
                    filling = 5;
                }
                steps.push(step);
            }
        }
        assert_eq!(steps[..3], [Step::SeekToLive, Step::Rebuild, Step::Reconnect]);
    }

    #[test]
    fn pausing_clears_the_account() {
        let mut dog = Watchdog::default();
        let paused = |i: u32| Look { should_move: false, ..still(6.0 + f64::from(i) * 0.1) };
        assert_eq!(watch(&mut dog, (0..60).map(paused)), []);
        assert!(dog.still_ms() < 1.0);
    }
}
