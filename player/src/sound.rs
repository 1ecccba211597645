//! PURE: sound that we play ourselves, and its time against the picture's.
//!
//! Sound needs a few packets ahead of time and the way to the loudspeaker takes its own; the picture needs neither. So the
//! sound is played as early as it can be without running dry, a little faster or slower where it has to move, and may
//! trail the picture by what nobody notices. Only beyond that does the picture wait for it: this is the least latency of
//! pictures with which lips and words belong together. Where the picture is kept back on purpose, sound keeps to it.
//!
//! A **line** is local time minus media time, in milliseconds: the greater, the later.
//!
//! Invariant: the speed stays within 1 % of what it should be, and what is not heard holds nothing back.

use crate::within;

/// So much may sound trail the picture, in milliseconds. EBU R 37 says 60; half of that is lost where two of our own
/// figures are wrong by a frame of the screen each.
pub const MAY_TRAIL_MS: f64 = 30.0;

/// The least sound ahead of the loudspeaker's next piece, in milliseconds.
const SAFE_MS: f64 = 12.0;

/// What each time it runs dry adds to that, at most how much, and how much goes away a second, in milliseconds.
const MARGIN_STEP_MS: f64 = 15.0;
const MAX_MARGIN_MS: f64 = 200.0;
const MARGIN_DECAY_MS_PER_S: f64 = 0.5;

/// An error is left alone up to here, and too large for a change of speed from there on, in milliseconds.
const ERROR_MS: (f64, f64) = (4.0, 80.0);

/// The most that speed changes, and the error for which it does, in milliseconds.
const MAX_BEND: f64 = 0.01;
const BEND_AT_MS: f64 = 20.0;

/// Reports come some fifteen a second. Without one for so long there is no sound, in milliseconds.
const STALE_MS: f64 = 400.0;

/// So many reports are looked at together.
const REPORTS: usize = 8;

/// Pictures never wait longer than this for sound, in milliseconds.
const MAX_HOLD_MS: f64 = 500.0;

/// How the sound goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Local time minus media time of what is heard, in milliseconds.
    pub line_ms: f64,
    /// The least sound that was ahead since the report before, in milliseconds.
    pub ahead_ms: f64,
    /// It ran dry since then.
    pub dry: bool,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Correction {
    /// Samples read for each one that is played.
    pub speed: f64,
    /// Leave out so much, in milliseconds; below 0: be silent for so long.
    pub skip_ms: f64,
    /// Where it ran dry, begin again with so much, in milliseconds.
    pub begin_ms: f64,
}

/// Keeps sound and picture together.
#[derive(Debug, Default)]
pub struct Sync {
    margin_ms: f64,
    /// What was heard last, and when that was reported.
    line: Option<(f64, f64)>,
    /// The line with nothing ahead, of the last reports: packets come in other steps than reports.
    bare_lines_ms: [f64; REPORTS],
    reports: usize,
}

impl Sync {
    /// A report came. `picture_line_ms` is the picture's on the screen.
    pub fn on_report(&mut self, report: &Report, picture_line_ms: Option<f64>, now_ms: f64) -> Correction {
        let passed_ms = self.line.map_or(0.0, |(_, at_ms)| within(now_ms - at_ms, 0.0, STALE_MS));
        self.margin_ms = (self.margin_ms - passed_ms * MARGIN_DECAY_MS_PER_S / 1e3).max(0.0);
        if report.dry {
            self.margin_ms = (self.margin_ms + MARGIN_STEP_MS).min(MAX_MARGIN_MS);
        }
        let needed_ms = SAFE_MS + self.margin_ms;
        if self.line.is_none() {
            self.reports = 0;
        }
        self.bare_lines_ms[self.reports % REPORTS] = report.line_ms - report.ahead_ms;
        self.reports += 1;
        let known = &self.bare_lines_ms[..self.reports.min(REPORTS)];
        let earliest_ms = known.iter().copied().fold(f64::NEG_INFINITY, f64::max) + needed_ms;
        let error_ms =
            report.line_ms - picture_line_ms.map_or(earliest_ms, |line_ms| line_ms.max(earliest_ms));
        let mut correction = Correction { speed: 1.0, skip_ms: 0.0, begin_ms: needed_ms };
        if report.dry {
            self.reports = 0;
            // What is ahead says nothing, and it begins anew anyway.
        } else if error_ms.abs() > ERROR_MS.1 {
            correction.skip_ms = error_ms;
        } else if error_ms.abs() > ERROR_MS.0 {
            correction.speed += within(error_ms / BEND_AT_MS, -1.0, 1.0) * MAX_BEND;
        }
        self.line = Some((report.line_ms - correction.skip_ms, now_ms));
        correction
    }

    /// The earliest line for pictures, in milliseconds, where sound is heard.
    pub fn picture_line_ms(&self, now_ms: f64) -> Option<f64> {
        self.line.filter(|(_, at_ms)| now_ms - at_ms < STALE_MS).map(|(line_ms, _)| line_ms - MAY_TRAIL_MS)
    }

    /// When a picture may be given to the screen that is due there at `due_ms`, or now if that is over. It is seen
    /// `screen_ms` later.
    pub fn due_ms(&self, presentation_ms: f64, due_ms: f64, screen_ms: f64, now_ms: f64) -> f64 {
        let line_ms = self.picture_line_ms(now_ms).unwrap_or(f64::NEG_INFINITY) - screen_ms;
        due_ms.max((presentation_ms + line_ms).min(now_ms.max(due_ms) + MAX_HOLD_MS))
    }

    /// There is no sound any more.
    pub fn clear(&mut self) {
        self.line = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loudspeaker, told every 66 ms what to do: sound of media time `m` comes at `m` + so much, and is heard so much
    /// behind being read.
    struct Speaker {
        sync: Sync,
        comes_late_ms: f64,
        way_ms: f64,
        /// Local time minus media time of what is being read.
        read_ms: f64,
        /// How fast its crystal is.
        crystal: f64,
        now_ms: f64,
        dry: u32,
    }

    impl Speaker {
        fn new(comes_late_ms: f64, way_ms: f64) -> Self {
            let read_ms = comes_late_ms + SAFE_MS;
            Self { sync: Sync::default(), comes_late_ms, way_ms, read_ms, crystal: 1.0, now_ms: 0.0, dry: 0 }
        }

        fn play(&mut self, seconds: u32, picture_line_ms: f64) {
            for _ in 0..seconds * 15 {
                self.now_ms += 66.0;
                let ahead_ms = self.read_ms - self.comes_late_ms;
                let dry = ahead_ms < 0.0;
                let report = Report { line_ms: self.read_ms + self.way_ms, ahead_ms: ahead_ms.max(0.0), dry };
                let correction = self.sync.on_report(&report, Some(picture_line_ms), self.now_ms);
                assert!((correction.speed - 1.0).abs() <= MAX_BEND + 1e-9);
                if dry {
                    self.dry += 1;
                    self.read_ms = self.comes_late_ms + correction.begin_ms;
                }
                self.read_ms -= 66.0 * (correction.speed * self.crystal - 1.0) + correction.skip_ms;
            }
        }

        fn heard_ms(&self) -> f64 {
            self.read_ms + self.way_ms
        }
    }

    #[test]
    fn sound_is_heard_as_early_as_it_can_be_and_the_picture_waits_for_the_rest_only() {
        let mut speaker = Speaker::new(20.0, 60.0);
        speaker.read_ms += 300.0;
        speaker.play(10, 10.0);
        let heard_ms = speaker.heard_ms();
        assert!((heard_ms - (20.0 + 60.0 + SAFE_MS)).abs() <= ERROR_MS.0 + 1.0, "{heard_ms}");
        let line_ms = speaker.sync.picture_line_ms(speaker.now_ms).expect("sound is heard");
        assert!((line_ms - (heard_ms - MAY_TRAIL_MS)).abs() < 1.0);
        assert_eq!(speaker.dry, 0);
    }

    #[test]
    fn sound_keeps_to_a_picture_that_is_kept_back() {
        let mut speaker = Speaker::new(20.0, 20.0);
        speaker.play(20, 1_000.0);
        assert!((speaker.heard_ms() - 1_000.0).abs() <= ERROR_MS.0 + 1.0, "{}", speaker.heard_ms());
    }

    #[test]
    fn a_crystal_that_is_off_is_followed_without_running_dry() {
        for ppm in [300.0, -300.0] {
            let mut speaker = Speaker::new(20.0, 20.0);
            speaker.crystal = 1.0 + ppm / 1e6;
            speaker.play(3_600, 10.0);
            assert!(speaker.dry <= 1, "{ppm} ppm: ran dry {} times", speaker.dry);
            assert!((speaker.heard_ms() - 52.0).abs() < 12.0, "{ppm} ppm: {}", speaker.heard_ms());
        }
    }

    #[test]
    fn sound_that_runs_dry_is_kept_farther_ahead() {
        let mut speaker = Speaker::new(20.0, 20.0);
        for _ in 0..5 {
            speaker.comes_late_ms = 20.0;
            speaker.play(2, 10.0);
            speaker.comes_late_ms = 60.0; // every 2 s something is 40 ms late
            speaker.play(1, 10.0);
        }
        assert!(speaker.dry <= 3, "ran dry {} times", speaker.dry);
    }

    #[test]
    fn sound_that_is_not_heard_holds_no_picture() {
        let mut sync = Sync::default();
        assert_eq!(sync.picture_line_ms(0.0), None);
        sync.on_report(&Report { line_ms: 90.0, ahead_ms: 20.0, dry: false }, Some(0.0), 1_000.0);
        assert_eq!(sync.picture_line_ms(1_100.0), Some(90.0 - MAY_TRAIL_MS));
        assert_eq!(sync.picture_line_ms(1_500.0), None);
        // A line that cannot be holds a picture for a bounded time.
        sync.on_report(&Report { line_ms: 1e9, ahead_ms: 0.0, dry: true }, None, 2_000.0);
        assert!(sync.due_ms(0.0, f64::NEG_INFINITY, 0.0, 2_000.0) <= 2_000.0 + MAX_HOLD_MS);
    }
}
