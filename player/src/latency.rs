//! How far behind the camera to play, and what to do about it: hold, change the rate a little, or jump.
//!
//! Two lines are compared, both of them media time minus local time, in milliseconds. The **edge** is drawn by the
//! fragments: `presentation time - arrival`; its low end belongs to the fragments that come late. The **playhead** is
//! drawn by `currentTime - now`. A fragment that arrives with the edge above the playhead is in time by that much.
//! So the playhead should run just below the low end of the edge: closer drops frames, farther shows old pictures.
//! Neither line depends on the other, so a change of rate does not spoil what was measured before it.
//!
//! What does not belong here: buffered ranges, appends, and stalls (see `watchdog`).
//!
//! Invariant: rates stay within 0.97 to 1.05 with sound and to 1.25 without, but for pictures that are far apart; seeks keep
//! a cool-down.

mod lines;

use crate::{rounded, within};
use lines::{Edge, Playhead};

/// How an error is worked off.
struct Manner {
    /// Beyond this much too far behind a jump is better than haste, in milliseconds.
    seek_beyond_ms: f64,
    /// Rest between two jumps, in milliseconds.
    rest_ms: f64,
    /// Corrections begin and end at this much error, in milliseconds.
    dead_band_ms: (f64, f64),
    /// About the time that haste takes, in milliseconds, and the fastest that it is.
    catch_up_ms: f64,
    fastest: f64,
}

const WITHOUT_SOUND: Manner = Manner {
    // A quarter more speed takes two seconds for it.
    seek_beyond_ms: 500.0,
    rest_ms: 2_000.0,
    dead_band_ms: (14.0, 4.0),
    catch_up_ms: 600.0,
    fastest: 1.25,
};

/// Corrections begin later: each change of rate can be heard, and at any rate but 1 Chromium holds some 30 ms more of decoded
/// sound back.
const WITH_SOUND: Manner = Manner {
    seek_beyond_ms: 400.0,
    rest_ms: 3_000.0,
    dead_band_ms: (28.0, 6.0),
    catch_up_ms: 1_000.0,
    fastest: 1.05,
};

/// Without sound, what is so far behind rests for less: its last jump came before most of what was held up. In milliseconds.
const FAR_BEHIND_MS: f64 = 1_000.0;
const FAR_REST_MS: f64 = 150.0;

/// So does what came so much nearer to the camera since that jump, in milliseconds: after an outage the half of what is held up may
/// come behind it.
const CAME_NEARER_MS: f64 = 300.0;

/// So long after the server has left frames out, trouble is the link's, which no distance makes up for, in milliseconds.
const SLOW_LINK_MS: f64 = 3_000.0;

/// Meanwhile the picture skips anyhow: a jump is better than haste when it is so much too far behind, in milliseconds.
const SLOW_LINK_SEEK_BEYOND_MS: f64 = 250.0;

/// Bounds of the margin, in milliseconds.
const MARGIN_MS: (f64, f64) = (14.0, 500.0);

/// How fast the margin that trouble has added goes away: this many milliseconds a second, and by a factor of e in this
/// many seconds. What comes back brings its margin back; a hiccup of the machine is over soon.
const MARGIN_DECAY_MS_PER_S: f64 = 0.4;
const MARGIN_DECAY_S: f64 = 10.0;

/// The same for sound that ran dry: that is heard, and takes seconds to be made up for.
const SOUND_MARGIN_DECAY_S: f64 = 60.0;

/// The most that this adds, in milliseconds.
const MAX_SOUND_MARGIN_MS: f64 = 200.0;

/// The most that one look at the picture adds to the margin, in milliseconds: a burst is one trouble, not many.
const MARGIN_STEP_MS: f64 = 30.0;

/// So much missing sound is played over before the sound is fetched anew, in milliseconds.
const MISSING_SOUND_MS: f64 = 60.0;

/// As long as there is no room for that.
const MISSING_SOUND_WITHOUT_ROOM_MS: f64 = 20.0;

/// Sound that has to be fetched anew again within this time has holes; in a longer time it only drifts. In milliseconds.
const HOLES_WITHIN_MS: f64 = 60_000.0;

/// An overlap makes up for so much of a hole, in milliseconds. More of it was no rounding of time stamps, and does not
/// help: packets that come 2 ms early or late at random lose Chromium 3 ms of sound a second.
const ROUNDING_MS: f64 = 2.0;

/// What takes no other rate jumps when it is so much farther behind than the last jump left it, in milliseconds. A jump
/// stops the picture for some 50 ms, and longer the farther its key frame is.
const JUMP_BEYOND_MS: f64 = 60.0;

/// Where sound plays at one rate whatever happens, what a jump left is bettered from this much on, in milliseconds, as long as it
/// is tried: sound lands as late as WebKit takes to begin it, 20 to 50 ms, and stays there all night.
const TRY_BEYOND_MS: f64 = 25.0;

/// What a jump has left is known after so long, in milliseconds.
const JUMP_LANDS_MS: f64 = 1_000.0;

/// How far ahead of where play should be a jump aims at most, since time goes on while it is made, in milliseconds.
const MAX_LEAD_MS: f64 = 150.0;

/// So many jumps may be made that are only to do better than the one before.
const MAX_TRIES: u8 = 2;

/// The shortest jump, in milliseconds.
const STEP_MS: f64 = 10.0;

/// Where pictures are this far apart nobody sees how fast time goes between two of them, in milliseconds. And it must: 40 ms
/// (Firefox) or 90 ms (Chromium) after each one browsers let time stand until the next one is there, which is shown only when
/// that has been made up for.
const SPARSE_MS: f64 = 100.0;
const SPARSE_CATCH_UP_MS: f64 = 60.0;
const FASTEST_SPARSE: f64 = 4.0;

/// Beyond this much too far behind these are jumped over, too, in milliseconds.
const SPARSE_SEEK_BEYOND_MS: f64 = 1_500.0;

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// Leave everything as it is.
    Hold,
    /// Set `playbackRate`.
    Rate(f64),
    /// Jump to this media time, in seconds.
    Seek(f64),
}

/// What a browser takes for the time of the sound it plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoundClock {
    /// Chromium: time is samples played. Holes are not played as silence, so behind each of them the sound is early
    /// and there is that much less of it. It runs dry with 140 to 180 ms still buffered ahead of `currentTime`, then
    /// waits for 400 ms of sound, the next time for 800, and so on until a seek.
    Samples,
    /// Chromium when an `AudioContext` takes the sound out of the element: samples as well, but what the way to the
    /// sound card holds (113 ms where there is none) is no longer counted, and 10 ms are taken at a time. It runs dry
    /// with 36 to 44 ms ahead, and with 50 at a rate of 1.05. Muted, sound goes nowhere by a way that holds 35 ms more.
    Routed,
    /// Firefox: time stamps. Holes are silence, and 20 ms ahead are enough while it plays; begun so near, it shows its first
    /// picture twice. Sound at another rate than 1 goes by a way that keeps up to 100 ms of it which its clock does not
    /// count, and does not give them back: sound is heard early then, and no latency is won.
    TimeStamps,
    /// WebKit: time stamps too, and at a rate of 1 only. Safari buffers anew at each change; WebKitGTK moreover forgets that
    /// it is muted, and stops since it may not be heard.
    OneRate,
}

impl SoundClock {
    /// What sound needs more than pictures do, in milliseconds.
    fn ahead_ms(self) -> f64 {
        match self {
            Self::Samples => BEGIN_WITH_MS,
            Self::Routed => 60.0,
            Self::TimeStamps => 20.0,
            Self::OneRate => 40.0,
        }
    }

    /// The sound it wants to have before it begins to play and after each seek, in milliseconds.
    fn begin_ms(self) -> f64 {
        if self.counts_samples() { BEGIN_WITH_MS } else { self.ahead_ms() }
    }

    /// Whether its time is samples played.
    pub fn counts_samples(self) -> bool {
        matches!(self, Self::Samples | Self::Routed)
    }
}

/// Chromium begins with so much sound and no sooner, in milliseconds, however little it needs after that.
const BEGIN_WITH_MS: f64 = 200.0;

/// How far behind to play.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// As near to the camera as the network and the browser allow.
    Auto,
    /// This much from capture to screen, in milliseconds, or more where that cannot be.
    FixedMs(f64),
}

/// Steers the playhead.
#[derive(Debug)]
pub struct Controller {
    target: Target,
    sound_clock: SoundClock,
    /// How much earlier than its pictures sound is appended, in seconds.
    sound_lead_s: f64,
    with_sound: bool,
    sound_end_s: Option<f64>,
    /// Holes in the sound since the last seek, and whether this source's sound has them often.
    missing_sound_ms: f64,
    sound_has_holes: bool,
    video: Edge,
    audio: Edge,
    playhead: Playhead,
    /// Presentation time - capture time of the newest picture, in milliseconds (server's clock).
    capture_line_ms: Option<f64>,
    /// The time between the newest pictures, the lesser of the last two of them, and the last one, in milliseconds.
    apart_ms: f64,
    last_apart_ms: f64,
    rate: f64,
    correcting: bool,
    margin_ms: f64,
    /// Added to the least margin for sound. Pictures that are dropped say nothing about sound.
    sound_margin_ms: f64,
    margin_at_ms: Option<f64>,
    last_seek_ms: Option<f64>,
    /// The line that was aimed at then.
    seek_line_ms: Option<f64>,
    /// When the server last left frames out.
    left_out_ms: Option<f64>,
    /// How far behind the last jump left it, where nothing but jumps is done. `None` while that is not known.
    landed_ms: Option<f64>,
    /// What jumps have been found to cost, and how often one was made to do better.
    lead_ms: f64,
    tries: u8,
}

impl Controller {
    /// A controller for a fresh picture.
    pub fn new(target: Target, sound_clock: SoundClock) -> Self {
        Self {
            target,
            sound_clock,
            sound_lead_s: 0.0,
            with_sound: false,
            sound_end_s: None,
            missing_sound_ms: 0.0,
            sound_has_holes: false,
            video: Edge::default(),
            audio: Edge::default(),
            playhead: Playhead::default(),
            capture_line_ms: None,
            apart_ms: 0.0,
            last_apart_ms: 0.0,
            rate: 1.0,
            correcting: false,
            margin_ms: MARGIN_MS.0,
            sound_margin_ms: 0.0,
            margin_at_ms: None,
            last_seek_ms: None,
            seek_line_ms: None,
            left_out_ms: None,
            landed_ms: Some(0.0),
            lead_ms: 0.0,
            tries: 0,
        }
    }

    /// How far behind to play from now on.
    pub fn set_target(&mut self, target: Target) {
        self.target = target;
    }

    /// Whether there is sound, which must then be in time too, and of which changes of speed must be small.
    pub fn set_sound(&mut self, present: bool) {
        self.with_sound = present;
    }

    /// The sound takes another way from now on, and is appended so much earlier than its pictures.
    pub fn set_sound_clock(&mut self, sound_clock: SoundClock, lead_s: f64) {
        self.sound_clock = sound_clock;
        self.sound_lead_s = lead_s;
    }

    /// How far behind the newest picture play can begin without waiting for sound, in seconds.
    pub fn first_wait_s(&self) -> f64 {
        if self.with_sound { self.sound_clock.begin_ms() / 1e3 } else { 0.0 }
    }

    /// Whether sound that ran dry would wait longer the next time, unless there is a seek.
    pub fn sound_must_be_fetched_anew(&self) -> bool {
        self.with_sound && self.sound_clock.counts_samples()
    }

    /// A new media source begins: what was measured of the old one does not hold. What trouble taught stays.
    pub fn restart(&mut self) {
        *self = Self {
            with_sound: self.with_sound,
            sound_lead_s: self.sound_lead_s,
            margin_ms: self.margin_ms,
            sound_margin_ms: self.sound_margin_ms,
            ..Self::new(self.target, self.sound_clock)
        };
    }

    /// A live picture (not history) arrived, whose time is `apart_ms` after that of the one before.
    pub fn on_video(&mut self, presentation_s: f64, capture_us: i64, apart_ms: f64, now_ms: f64) {
        // One pause is no rate.
        self.apart_ms = apart_ms.min(core::mem::replace(&mut self.last_apart_ms, apart_ms));
        self.video.push(presentation_s, now_ms);
        if !self.with_sound {
            self.video.forget_trouble();
        }
        self.capture_line_ms = Some(presentation_s * 1e3 - capture_us as f64 / 1e3);
    }

    /// A live piece of sound arrived.
    pub fn on_audio(&mut self, presentation_s: f64, duration_s: f64, now_ms: f64) {
        let presentation_s = presentation_s - self.sound_lead_s;
        self.audio.push(presentation_s, now_ms);
        if let Some(end_s) = self.sound_end_s.replace(presentation_s + duration_s) {
            // Rounding evens out. Single ticks, by which a sender's drifting clock is followed, add up.
            let hole_ms = ((presentation_s - end_s) * 1e3).max(-ROUNDING_MS);
            self.missing_sound_ms = (self.missing_sound_ms + hole_ms).max(0.0);
        }
    }

    /// The media timeline jumped: earlier arrivals say nothing about later ones.
    pub fn on_gap(&mut self) {
        self.video.clear();
        self.audio.clear();
        self.sound_end_s = None;
    }

    /// The server left frames out: the timeline jumps.
    pub fn on_left_out(&mut self, now_ms: f64) {
        self.left_out_ms = Some(now_ms);
        self.on_gap();
    }

    /// `currentTime` was read while playing.
    pub fn on_position(&mut self, position_s: f64, now_ms: f64) {
        self.playhead.read(position_s, now_ms, self.rate);
    }

    /// The playhead stands still.
    pub fn on_moved(&mut self) {
        self.playhead = Playhead::default();
    }

    /// The playhead was moved: the browser's sound begins anew there.
    pub fn on_seek(&mut self) {
        self.on_moved();
        self.missing_sound_ms = 0.0;
    }

    /// Frames were dropped unseen: keep farther away for a while.
    pub fn on_trouble(&mut self, add_ms: f64, now_ms: f64) {
        if !self.link_is_slow(now_ms) {
            self.margin_ms = (self.margin_ms + add_ms.min(MARGIN_STEP_MS)).min(MARGIN_MS.1);
        }
    }

    /// Play stalled: keep farther away for a while, for a good while where that was heard.
    pub fn on_stall(&mut self, add_ms: f64, now_ms: f64) {
        if !self.with_sound {
            self.on_trouble(add_ms, now_ms);
        } else if !self.link_is_slow(now_ms) {
            self.sound_margin_ms = (self.sound_margin_ms + add_ms).min(MAX_SOUND_MARGIN_MS);
        }
    }

    fn link_is_slow(&self, now_ms: f64) -> bool {
        self.left_out_ms.is_some_and(|at_ms| now_ms - at_ms < SLOW_LINK_MS)
    }

    /// Whether the browser has, in seconds, the sound that it begins with, so that it would go on after a seek.
    pub fn could_begin(&self, ahead_s: f64) -> bool {
        ahead_s * 1e3 >= self.sound_clock.begin_ms()
    }

    /// How far in time the fragments are kept to arrive, in milliseconds.
    pub fn margin_ms(&self) -> f64 {
        if self.with_sound { MARGIN_MS.0 + self.sound_margin_ms } else { self.margin_ms }
    }

    /// The rate last asked for.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// The sound that may be missing before it has to be fetched anew, in milliseconds.
    fn may_miss_ms(&self) -> f64 {
        match self.sound_clock {
            SoundClock::TimeStamps | SoundClock::OneRate => f64::INFINITY,
            SoundClock::Routed if !self.sound_has_holes => MISSING_SOUND_WITHOUT_ROOM_MS,
            SoundClock::Routed | SoundClock::Samples => MISSING_SOUND_MS,
        }
    }

    /// Media time minus local time that is aimed at, in milliseconds. `clock_offset_ms` is server minus local time.
    fn wanted_line_ms(&self, clock_offset_ms: Option<f64>) -> Option<f64> {
        let low = if self.with_sound { self.video.low_ms() } else { self.video.usual_low_ms() };
        let mut wanted = low? - self.margin_ms;
        if self.with_sound
            && let Some(low) = self.audio.low_ms()
        {
            let room_ms = if self.sound_has_holes { MISSING_SOUND_MS } else { 0.0 };
            wanted = wanted.min(low - self.margin_ms() - self.sound_clock.ahead_ms() - room_ms);
        }
        if let (Target::FixedMs(target), Some(capture), Some(offset)) =
            (self.target, self.capture_line_ms, clock_offset_ms)
        {
            wanted = wanted.min(capture + offset - target);
        }
        Some(wanted)
    }

    /// Where to seek to now, in seconds of media time: where the playhead should be, or as far behind that as the
    /// browser wants to begin, but for that not back from `position_s`. `None` before anything live arrived.
    pub fn landing_s(&self, position_s: f64, now_ms: f64, clock_offset_ms: Option<f64>) -> Option<f64> {
        let wanted_s = (self.wanted_line_ms(clock_offset_ms)? + now_ms) / 1e3;
        let room_ms =
            if self.with_sound { self.sound_clock.begin_ms() - self.sound_clock.ahead_ms() } else { 0.0 };
        Some(within(position_s, wanted_s - room_ms / 1e3, wanted_s))
    }

    /// How much later than wanted the playhead is, in milliseconds; negative when it is too early.
    pub fn behind_ms(&self, clock_offset_ms: Option<f64>) -> Option<f64> {
        Some(self.wanted_line_ms(clock_offset_ms)? - self.playhead.line_ms()?)
    }

    /// What to do now.
    pub fn decide(&mut self, now_ms: f64, clock_offset_ms: Option<f64>) -> Action {
        let passed_s = self.margin_at_ms.map_or(0.0, |at| within(now_ms - at, 0.0, 1e3) / 1e3);
        self.margin_at_ms = Some(now_ms);
        let decay_ms_per_s = MARGIN_DECAY_MS_PER_S + (self.margin_ms - MARGIN_MS.0) / MARGIN_DECAY_S;
        self.margin_ms = (self.margin_ms - passed_s * decay_ms_per_s).max(MARGIN_MS.0);
        self.sound_margin_ms *= 1.0 - passed_s / SOUND_MARGIN_DECAY_S;
        self.playhead.advance(now_ms, self.rate);

        let Some(behind_ms) = self.behind_ms(clock_offset_ms) else { return self.set_rate(1.0) };
        let manner = if self.with_sound { WITH_SOUND } else { WITHOUT_SOUND };
        let mut seek_beyond_ms = manner.seek_beyond_ms;
        if !self.with_sound && self.link_is_slow(now_ms) {
            seek_beyond_ms = SLOW_LINK_SEEK_BEYOND_MS;
        }
        let one_rate = self.has_one_rate();
        if one_rate {
            if self.landed_ms.is_none() && self.last_seek_ms.is_none_or(|at| now_ms - at > JUMP_LANDS_MS) {
                // With sound there is room ahead of where play should be; else it is at the newest picture already.
                self.lead_ms =
                    if self.with_sound { within(self.lead_ms + behind_ms, 0.0, MAX_LEAD_MS) } else { 0.0 };
                let again = self.lead_ms > 0.0 && self.tries < MAX_TRIES;
                self.tries += u8::from(again);
                self.landed_ms = Some(if again { 0.0 } else { behind_ms.max(0.0) });
            }
            let tries = self.with_sound && self.sound_clock == SoundClock::OneRate && self.tries < MAX_TRIES;
            let beyond_ms = if tries { TRY_BEYOND_MS } else { JUMP_BEYOND_MS };
            seek_beyond_ms = self.landed_ms.map_or(f64::INFINITY, |landed_ms| landed_ms + beyond_ms);
        }
        let missing = self.missing_sound_ms > self.may_miss_ms();
        if behind_ms > seek_beyond_ms || missing {
            let eager = one_rate && self.tries < MAX_TRIES;
            let line_ms = self.wanted_line_ms(clock_offset_ms);
            let came_nearer = self
                .seek_line_ms
                .zip(line_ms)
                .is_some_and(|(then_ms, now_ms)| now_ms - then_ms > CAME_NEARER_MS);
            let far = (behind_ms > FAR_BEHIND_MS || came_nearer) && !self.with_sound;
            let rested = eager || self.is_rested(if far { FAR_REST_MS } else { manner.rest_ms }, now_ms);
            if rested && let Some(line_ms) = self.playhead.line_ms() {
                // Fetching the sound anew never goes back: what was seen is not shown again.
                let next_s = (line_ms + now_ms + STEP_MS) / 1e3;
                let landing_s = self.landing_s(next_s, now_ms, clock_offset_ms).unwrap_or(next_s);
                let position_s = landing_s.max(next_s) + self.lead_ms / 1e3;
                self.correcting = false;
                self.sound_has_holes |=
                    missing && self.last_seek_ms.is_some_and(|at| now_ms - at < HOLES_WITHIN_MS);
                self.on_seek();
                self.last_seek_ms = Some(now_ms);
                self.seek_line_ms = self.wanted_line_ms(clock_offset_ms);
                self.landed_ms = None;
                return Action::Seek(position_s);
            }
        }
        if one_rate {
            return self.set_rate(1.0);
        }
        let (begin_ms, end_ms) = manner.dead_band_ms;
        let limit = if self.correcting { end_ms } else { begin_ms };
        let overshot = self.correcting && (behind_ms > 0.0) != (self.rate > 1.0);
        if behind_ms.abs() < limit || (overshot && behind_ms.abs() < begin_ms) {
            self.correcting = false;
            return self.set_rate(1.0);
        }
        self.correcting = true;
        let wanted = within(1.0 + behind_ms / manner.catch_up_ms, 0.97, manner.fastest);
        // In steps of a hundredth, and never the standstill 1.0: each change is a call into the decoder.
        let steps = rounded((wanted - 1.0) * 100.0) as f64;
        let steps = if steps == 0.0 { behind_ms.signum() } else { steps };
        self.set_rate(1.0 + steps / 100.0)
    }

    /// Whether pictures are so far apart that time stands between them, and may be hurried.
    pub fn is_sparse(&self) -> bool {
        self.apart_ms >= SPARSE_MS && !self.with_sound && !self.has_one_rate()
    }

    /// What to do now, where pictures are far apart and the playhead, moving or not, is at `position_s`.
    pub fn hurry(&mut self, position_s: f64, now_ms: f64, clock_offset_ms: Option<f64>) -> Action {
        self.on_moved();
        self.correcting = false;
        let Some(line_ms) = self.wanted_line_ms(clock_offset_ms) else { return self.set_rate(1.0) };
        let behind_ms = line_ms + now_ms - position_s * 1e3;
        if behind_ms > SPARSE_SEEK_BEYOND_MS && self.is_rested(WITHOUT_SOUND.rest_ms, now_ms) {
            self.last_seek_ms = Some(now_ms);
            return Action::Seek((line_ms + now_ms) / 1e3);
        }
        let rate = within(1.0 + behind_ms / SPARSE_CATCH_UP_MS, 1.0, FASTEST_SPARSE);
        self.set_rate(crate::rounded(rate * 10.0) as f64 / 10.0)
    }

    /// Whether the last jump was so long ago.
    fn is_rested(&self, rest_ms: f64, now_ms: f64) -> bool {
        self.last_seek_ms.is_none_or(|at| now_ms - at > rest_ms)
    }

    fn has_one_rate(&self) -> bool {
        match self.sound_clock {
            SoundClock::OneRate => true,
            SoundClock::TimeStamps => self.with_sound,
            SoundClock::Samples | SoundClock::Routed => false,
        }
    }

    fn set_rate(&mut self, rate: f64) -> Action {
        if (rate - self.rate).abs() < 1e-9 {
            return Action::Hold;
        }
        self.rate = rate;
        Action::Rate(rate)
    }
}

#[cfg(test)]
mod tests;
