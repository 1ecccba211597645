//! A first look: the key frame at which a long history begins, shown while everything behind it is decoded.
//!
//! With a key frame every 10 s up to 250 pictures are decoded before the newest one: 0.4 s in Firefox, 1 s in WebKitGTK,
//! and longer where the link is slow. Here only what is seen until then; where play begins is `place`'s matter.
//!
//! Invariant: play begins at the same place with a first look and without, and never waits for it longer than
//! [`LOOK_MAX_MS`].

use sightline_wire::Header;

use super::super::{Command, Session};
use super::Playback;
use super::playhead::Jump;

/// A history of fewer fragments than this is decoded sooner than a look is taken.
const LONG_HISTORY: i32 = 50;

/// How long play waits for the key frame to be seen, in milliseconds.
const LOOK_MAX_MS: f64 = 400.0;

/// Into the key frame, in seconds: exactly at its beginning browsers' rounding may miss it.
const INTO_S: f64 = 0.001;

/// How far the look is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum FirstLook {
    /// Nothing has come yet.
    #[default]
    Open,
    /// The key frame has this presentation time, in seconds, and the browser was sent there at this time.
    Sent { at_s: f64, from_ms: f64 },
    /// It was seen, or there is none.
    Over,
}

impl<P: Clone> Playback<P> {
    /// Whether play has to wait for the look.
    pub(super) fn is_looking(&self, now_ms: f64) -> bool {
        matches!(self.first_look, FirstLook::Sent { from_ms, .. } if now_ms - from_ms < LOOK_MAX_MS)
    }
}

impl<P: Clone> Session<P> {
    /// A picture was queued: the first one may be worth a look.
    pub(super) fn take_first_look(&mut self, presentation_s: f64, header: &Header) {
        let play = &mut self.play;
        if core::mem::replace(&mut play.first_look, FirstLook::Over) != FirstLook::Open {
            return;
        }
        let behind = play.history_behind(header.sequence).unwrap_or(0);
        // What was seen before is on the screen still. Sound waits for more than a picture.
        if behind < LONG_HISTORY || play.first_frame_ms.is_some() || play.has_audio() || !play.has_media() {
            return;
        }
        let at_s = presentation_s + INTO_S;
        play.first_look = FirstLook::Sent { at_s: presentation_s, from_ms: self.now_ms };
        self.out.push(Command::Look(at_s));
    }

    /// A picture is on the screen before play has begun.
    pub(super) fn on_looked(&mut self, media_time_s: f64) {
        let FirstLook::Sent { at_s, .. } = self.play.first_look else { return };
        if (media_time_s - at_s).abs() > 2.0 * INTO_S {
            return;
        }
        self.play.first_look = FirstLook::Over;
        self.note_first_frame();
        // It stays on the screen by itself until what is live is there, and Firefox may tell of it once more.
        self.play.jumping = Some(Jump::from(at_s, self.now_ms));
        self.place();
    }
}
