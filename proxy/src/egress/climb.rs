//! A viewer's way between the qualities of a stream: what `ladder` decides, done with cursors.
//!
//! The quality to come is joined beside the one in use, which makes it be fetched, and taken over at its first key frame that
//! does not lead back in time. A viewer whose quality gives no pictures joins all others, and takes the first that does.
//! Invariant: as long as one quality can be shown, the viewer has it or waits beside it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sightline_wire::ServerMessage;

use super::{
    crowd::{Crowds, Member, Seat},
    ladder::Ladder,
    session::{undecodable, undecodable_reason},
};
use crate::hub::{Cursor, Entry, Epoch, Fault, Key, State, Stream};

/// Pictures from where a key frame of the quality to come is due are held back for so long: what they show, that will.
const HELD: Duration = Duration::from_millis(150);

/// And those that are so little before it, in microseconds.
const DUE_US: i64 = 5_000;

/// The code of pictures that the viewer cannot decode, where the others are only missing.
const UNDECODABLE: &str = "unsupported_codec";

/// What belongs to a subscription of a stream in several qualities.
#[derive(Debug)]
pub(super) struct Climb<M: Member> {
    ladder: Ladder,
    best: Arc<Stream>,
    /// The quality in use.
    current: usize,
    /// Why that shows nothing, while it does not, and what the viewer was told of it.
    lost: Option<(Loss, Told)>,
    others: Vec<Other<M>>,
    /// The presentation time from which pictures are held back, in microseconds, and since when.
    held: Option<(i64, Instant)>,
    /// There is something to decide.
    pub(super) look: bool,
}

/// Why a quality shows nothing.
#[derive(Clone, Debug)]
pub(super) enum Loss {
    /// No pictures come: since when, and why.
    Offline(i64, Option<Fault>),
    /// The viewer cannot decode them: what they are.
    Undecodable(String),
}

/// What a viewer was told of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// That another quality is tried.
    Trying,
    /// That there is none left.
    NoneLeft,
}

/// A quality that is joined beside the one in use.
#[derive(Debug)]
struct Other<M: Member> {
    quality: usize,
    cursor: Cursor,
    seat: Seat<M>,
    /// A new key frame that was not begun at, since it led back in time.
    passed_over: Option<Key>,
}

/// Where one of the others stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It can be begun with; what is in front of this presentation time, in microseconds, was to be seen before.
    Ready(i64),
    /// Its camera is being asked, or its key frame is still to come.
    Awaited,
    /// It gives no pictures, or sound alone.
    Offline,
    /// It gives some that the viewer cannot decode.
    Undecodable,
}

impl<M: Member> Other<M> {
    /// `given_us`: what the viewer has got of the quality in use, by its presentation time.
    fn standing(&mut self, given_us: Option<i64>, decodes: &impl Fn(&Epoch) -> bool) -> Standing {
        let Some(Entry { epoch, key, .. }) = self.cursor.entry() else {
            return match self.cursor.stream().state() {
                State::Offline => Standing::Offline,
                _ => Standing::Awaited,
            };
        };
        if !decodes(&epoch) {
            return Standing::Undecodable;
        }
        let Some(key) = key else { return Standing::Offline };
        if given_us.is_none_or(|given_us| key.pts_us > given_us) {
            return Standing::Ready(key.pts_us);
        }
        // The next one may lead back as well, where the clocks of two cameras part: once is enough.
        let before = if key.is_new { self.passed_over.replace(key) } else { None };
        match before {
            Some(before) if before != key => Standing::Ready(key.pts_us),
            _ => Standing::Awaited,
        }
    }
}

/// What to go on with.
#[derive(Debug)]
pub(super) struct Change<M: Member> {
    pub(super) cursor: Cursor,
    pub(super) seat: Seat<M>,
    /// Where it begins, in microseconds.
    pub(super) begins_us: i64,
}

impl<M: Member> Climb<M> {
    /// For a viewer who comes now; and the quality to begin with: one that can be shown at once, if there is one. `before` is
    /// what is known of the viewer already.
    pub(super) fn new(
        best: &Arc<Stream>,
        height: Option<u32>,
        before: Option<Self>,
        decodes: impl Fn(&Epoch) -> bool,
        now: Instant,
    ) -> (Self, Arc<Stream>) {
        let all: Vec<_> = best.qualities().collect();
        let mut ladder = before.map_or_else(|| Ladder::new(all.len(), height, now), |before| before.ladder);
        ladder.show(height);
        let chosen = ladder.choose(all.iter().map(|stream| stream.height()), now);
        let is_there = |quality: &usize| {
            let stream = all[*quality];
            stream.state() == State::Live && stream.epoch().is_some_and(|epoch| decodes(&epoch))
        };
        let first = (chosen..all.len()).find(is_there).or_else(|| (0..chosen).rev().find(is_there));
        let current = first.unwrap_or(chosen);
        let stream = all[current].clone();
        let climb = Self {
            ladder,
            best: best.clone(),
            current,
            lost: None,
            others: Vec::new(),
            held: None,
            look: current != chosen,
        };
        (climb, stream)
    }

    /// The stream is shown at another height.
    pub(super) fn show(&mut self, height: Option<u32>) {
        self.ladder.show(height);
        self.look = true;
    }

    /// The quality in use shows nothing.
    pub(super) fn lose(&mut self, loss: Loss, now: Instant) {
        match loss {
            Loss::Offline(..) => self.ladder.do_without(self.current, now),
            Loss::Undecodable(_) => self.ladder.give_up(self.current, now),
        }
        self.lost = Some((loss, Told::Nothing));
        self.look = true;
    }

    /// The quality in use gives pictures, which the viewer may be able to decode.
    pub(super) fn live(&mut self, now: Instant) {
        if let Some((Loss::Offline(..), _)) = self.lost {
            self.decodable(now);
        }
    }

    /// The quality in use can be shown.
    pub(super) fn decodable(&mut self, now: Instant) {
        if self.lost.take().is_some() {
            self.ladder.is_back(self.current, now);
            self.look = true;
        }
    }

    /// Whether one that is waited for has this id.
    pub(super) fn awaits(&self, id: u32) -> bool {
        self.others.iter().any(|other| other.cursor.stream().id == id)
    }

    /// Whether what comes next of the quality in use is held back, since a key frame of the one to come should stand there:
    /// a browser that has a later picture already would show it only with the next key frame.
    pub(super) fn holds(&mut self, cursor: &Cursor, now: impl FnOnce() -> Instant) -> bool {
        let Some(other) = self.others.first().filter(|_| self.lost.is_none()) else { return false };
        let due_us = other.cursor.entry().and_then(|entry| entry.due_us);
        let (Some(due_us), Some(next_us)) = (due_us, cursor.next_us()) else { return false };
        if next_us.saturating_add(DUE_US) < due_us {
            return false;
        }
        let now = now();
        match self.held {
            Some((from_us, since)) if from_us == due_us => now - since < HELD,
            _ => {
                self.held = Some((due_us, now));
                true
            }
        }
    }

    /// Decides for a viewer with this cursor and seat. `troubled`: it lags, or something was left out for it. Gives what to
    /// go on with, where it is time to change.
    pub(super) fn step(
        &mut self,
        (cursor, seat): (&Cursor, &Seat<M>),
        crowds: &Arc<Crowds<M>>,
        decodes: impl Fn(&Epoch) -> bool,
        troubled: bool,
        now: Instant,
    ) -> Option<Change<M>> {
        self.look = false;
        if troubled {
            self.ladder.trouble(self.current, now);
        }
        let chosen = self.ladder.choose(self.best.qualities().map(|stream| stream.height()), now);
        let (current, all) = (self.current, self.lost.is_some());
        let is_wanted = |quality: usize| quality != current && (all || quality == chosen);
        self.others.retain(|other| is_wanted(other.quality));
        for (quality, stream) in self.best.qualities().enumerate() {
            if is_wanted(quality) && !self.others.iter().any(|other| other.quality == quality) {
                let (seat, cursor) = (seat.beside(crowds, stream)?, Cursor::waiting(stream.clone()));
                self.others.push(Other { quality, cursor, seat, passed_over: None });
            }
        }
        let mut ready = None;
        for (i, other) in self.others.iter_mut().enumerate() {
            let quality = other.quality;
            match other.standing(cursor.given_us(), &decodes) {
                Standing::Ready(begins_us) if ready.is_none() || quality == chosen => {
                    ready = Some((i, begins_us));
                }
                Standing::Ready(_) | Standing::Awaited => {}
                Standing::Offline => self.ladder.do_without(quality, now),
                Standing::Undecodable => self.ladder.give_up(quality, now),
            }
        }
        let Some((i, begins_us)) = ready else {
            if !all {
                // What failed is not kept waiting for.
                let chosen = self.ladder.choose(self.best.qualities().map(|stream| stream.height()), now);
                self.others.retain(|other| other.quality == chosen);
                self.look |= chosen != current && self.others.is_empty();
            }
            return None;
        };
        let Other { quality, cursor, seat, .. } = self.others.swap_remove(i);
        self.others.clear();
        (self.current, self.lost, self.held) = (quality, None, None);
        self.ladder.changed(now);
        cursor.stream().count_switch();
        Some(Change { cursor, seat, begins_us })
    }

    /// What the viewer has to be told of a loss, where that is news: that another quality is tried, or that there is none
    /// left. An error ends the subscription.
    pub(super) fn untold(&mut self, decodes: impl Fn(&Epoch) -> bool) -> Option<ServerMessage> {
        let (loss, told) = self.lost.as_mut()?;
        let standings: Vec<_> = self.others.iter_mut().map(|other| other.standing(None, &decodes)).collect();
        let hopes = |standing: &Standing| matches!(standing, Standing::Awaited | Standing::Ready(_));
        let news = if standings.iter().any(hopes) { Told::Trying } else { Told::NoneLeft };
        if *told == news || *told == Told::NoneLeft {
            return None;
        }
        *told = news;
        let stream = self.best.qualities().nth(self.current)?;
        let quality = stream.quality.as_ref().map_or("", |quality| quality.as_str());
        let none_left = news == Told::NoneLeft;
        let (since_time_us, code, reason) = match loss {
            Loss::Offline(since_time_us, fault) => {
                let (code, reason) = match fault {
                    Some(Fault { code, reason }) => (*code, reason.as_str()),
                    None => ("connecting", "connecting to the camera"),
                };
                if none_left {
                    (*since_time_us, code, reason.to_owned())
                } else {
                    (*since_time_us, "connecting", format!("no {quality} pictures ({reason}); trying others"))
                }
            }
            Loss::Undecodable(codec) => {
                if none_left && standings.iter().all(|standing| *standing == Standing::Undecodable) {
                    return Some(undecodable(codec, stream));
                }
                let message = undecodable_reason(codec);
                let since_time_us = stream.status().since_time_us;
                if none_left {
                    let reason = format!("{message}; its other qualities give no pictures");
                    (since_time_us, UNDECODABLE, reason)
                } else {
                    (since_time_us, "connecting", format!("{message}; trying others"))
                }
            }
        };
        Some(ServerMessage::Offline { number: stream.number, since_time_us, code: code.into(), reason })
    }
}

#[cfg(test)]
mod tests;
