//! A viewer's way between the qualities of a stream: what `ladder` decides, done with cursors.
//!
//! The quality to come is joined beside the one in use, which makes it be fetched, and taken over at its first new key frame.

use std::{sync::Arc, time::Instant};

use super::{
    crowd::{Crowds, Seat},
    ladder::Ladder,
    ws::Viewer,
};
use crate::hub::{Cursor, State, Stream};

/// What belongs to a subscription of a stream in several qualities.
#[derive(Debug)]
pub(super) struct Climb {
    ladder: Ladder,
    best: Arc<Stream>,
    /// The quality in use.
    current: usize,
    next: Option<Next>,
    /// There is something to decide.
    pub(super) look: bool,
}

#[derive(Debug)]
struct Next {
    quality: usize,
    cursor: Cursor,
    seat: Seat<Viewer>,
}

impl Climb {
    /// For a viewer who comes now; and the quality to begin with.
    pub(super) fn new(best: &Arc<Stream>, height: Option<u32>, now: Instant) -> (Self, Arc<Stream>) {
        let mut ladder = Ladder::new(best.qualities().count(), height, now);
        let current = ladder.choose(best.qualities().map(|stream| stream.height()), now);
        let stream = best.qualities().nth(current).unwrap_or(best).clone();
        (Self { ladder, best: best.clone(), current, next: None, look: false }, stream)
    }

    /// The stream is shown at another height.
    pub(super) fn show(&mut self, height: Option<u32>) {
        self.ladder.show(height);
        self.look = true;
    }

    /// The quality in use gives no pictures, or none that can be decoded.
    pub(super) fn do_without(&mut self, now: Instant) {
        self.ladder.do_without(self.current, now);
        self.look = true;
    }

    /// Whether the quality to come has this id.
    pub(super) fn awaits(&self, id: u32) -> bool {
        self.next.as_ref().is_some_and(|next| next.cursor.stream().id == id)
    }

    /// Decides. Gives the cursor and the seat to go on with, where it is time to change.
    pub(super) fn step(
        &mut self,
        seat: &Seat<Viewer>,
        crowds: &Arc<Crowds<Viewer>>,
        troubled: bool,
        now: Instant,
    ) -> Option<(Cursor, Seat<Viewer>)> {
        self.look = false;
        if troubled {
            self.ladder.trouble(self.current, now);
        }
        let chosen = self.ladder.choose(self.best.qualities().map(|stream| stream.height()), now);
        if chosen == self.current {
            self.next = None;
            return None;
        }
        if self.next.as_ref().is_none_or(|next| next.quality != chosen) {
            let stream = self.best.qualities().nth(chosen)?;
            let seat = seat.beside(crowds, stream)?;
            self.next = Some(Next { quality: chosen, cursor: Cursor::fresh(stream.clone()), seat });
        }
        let next = self.next.as_ref()?;
        if !next.cursor.is_ready() {
            if next.cursor.stream().state() == State::Offline {
                self.ladder.do_without(chosen, now);
                self.next = None;
            }
            return None;
        }
        let next = self.next.take()?;
        self.current = chosen;
        self.ladder.changed(now);
        Some((next.cursor, next.seat))
    }
}
