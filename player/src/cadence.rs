//! PURE: when a decoded picture is shown: at once while pictures come evenly, and under jitter with the least delay that
//! keeps them even. Where only a few are late and those by far, as behind a link that loses packets, at once too: to wait for
//! those few would make all the others old.
//!
//! Two times are compared, both in milliseconds: when a picture is ready, by the page's clock, and when it was taken, by
//! its presentation time. Their difference is the picture's **transit**. The smallest one of the last seconds is the
//! **base**; what a picture is above it, it is late. A picture is due at presentation time + base + delay.
//!
//! The delay is what all but a few pictures need, since a hiccup of the machine is no jitter. Those that come behind a hiccup
//! all at once follow each other as fast as a screen shows them, and none is left out.
//!
//! Invariant: no delay without lateness that can be seen, none above [`MAX_DELAY_MS`], and memory is bounded.

use crate::recent::Recent;
use crate::within;

/// Lateness that is not seen, in milliseconds: one refresh of a screen. Of 25 pictures a second each stays for two of
/// them or for three in any case.
const UNSEEN_MS: f64 = 16.0;

/// How far back is looked, in milliseconds, and how many pictures at most.
const WINDOW_MS: f64 = 4_000.0;
const MAX_PICTURES: usize = 256;

/// The share of pictures that may be late, and so many in any case: a page that starts is late with its first ones.
const MAY_BE_LATE: f64 = 0.05;
const MAY_BE_LATE_PICTURES: usize = 3;

/// Pictures are never held back longer than this for being even, in milliseconds.
pub const MAX_DELAY_MS: f64 = 400.0;

/// Pictures follow each other no sooner, in milliseconds: one refresh of most screens, which would show only the last of
/// those that come sooner. Where the camera sends more of them, by this share of their distance.
const APART_MS: f64 = 16.0;
const APART_SHARE: f64 = 0.6;

/// How fast the delay goes back to what is needed: by a factor of e in this time, in milliseconds.
const DECAY_MS: f64 = 400.0;

/// Decides when pictures are shown.
#[derive(Debug, Default)]
pub struct Cadence {
    transits: Recent,
    base_ms: f64,
    delay_ms: f64,
}

impl Cadence {
    /// A live picture is ready, or was in time but kept back on purpose until now.
    pub fn on_picture(&mut self, presentation_ms: f64, ready_ms: f64) {
        let passed_ms =
            self.transits.newest_ms().map_or(0.0, |at_ms| within(ready_ms - at_ms, 0.0, DECAY_MS));
        let transit_ms = ready_ms - presentation_ms;
        self.transits.push(transit_ms, ready_ms, WINDOW_MS, MAX_PICTURES);
        self.base_ms = self.transits.values().fold(f64::INFINITY, f64::min);
        // What no delay would have made even, as behind an outage, is none of the pictures that are to be.
        let most_ms = self.base_ms + MAX_DELAY_MS;
        let pictures = self.transits.values().filter(|transit_ms| *transit_ms <= most_ms).count();
        let may_be_late = (pictures as f64 * MAY_BE_LATE) as usize;
        let most_late_ms = self.lateness_ms(pictures, may_be_late.max(MAY_BE_LATE_PICTURES));
        // Jitter makes half of the pictures at least half as late as the latest; where they are less so it is less worth while.
        let even_ms = most_late_ms.min(4.0 * self.lateness_ms(pictures, pictures / 2) - most_late_ms);
        let decayed_ms = self.delay_ms * (1.0 - passed_ms / DECAY_MS);
        self.delay_ms = within((even_ms - UNSEEN_MS).max(decayed_ms), 0.0, MAX_DELAY_MS);
    }

    /// What so many of the `pictures` that are the least late are later than.
    fn lateness_ms(&self, pictures: usize, later: usize) -> f64 {
        let Some(index) = pictures.checked_sub(later + 1) else { return 0.0 };
        self.transits.nth_smallest(index).unwrap_or(self.base_ms) - self.base_ms
    }

    /// When to show a picture behind another one, of which the presentation time is given and when it is shown; in the past for:
    /// at once.
    pub fn due_ms(&self, presentation_ms: f64, before: Option<(f64, f64)>) -> f64 {
        let base_ms = presentation_ms + self.base_ms;
        let follows_ms = before.map_or(f64::NEG_INFINITY, |(before_ms, shown_ms)| {
            let apart_ms = within((presentation_ms - before_ms) * APART_SHARE, 0.0, APART_MS);
            (shown_ms + apart_ms).min(base_ms + MAX_DELAY_MS)
        });
        if self.delay_ms > 0.0 { follows_ms.max(base_ms + self.delay_ms) } else { follows_ms }
    }

    /// How long pictures are held back, in milliseconds.
    pub fn delay_ms(&self) -> f64 {
        self.delay_ms
    }

    /// The timeline jumped, or what was measured does not hold any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
