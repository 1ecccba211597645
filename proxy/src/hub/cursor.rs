//! A viewer's position in a stream.
//!
//! There is no queue for a viewer: it asks for what comes next when it can take it. One that lags too far goes on at a newer
//! key frame (`lag` says when) and learns how much it missed.

use std::{sync::Arc, time::Duration};

use super::{
    fragment::Fragment,
    lag::{Lag, Place, Verdict},
    ring::Ring,
    status::{Fault, State},
    stream::{Epoch, Leading, Stream},
};
use crate::media::Track;

/// A viewer that falls so far behind has a link too slow, in microseconds: it does not have to leave anything out yet.
const TROUBLE_US: i64 = 1_000_000;

/// What it is behind with has to be there for so long: what a camera holds up and then sends all at once is not its doing.
const TROUBLE_WAIT: Duration = Duration::from_millis(500);

/// What comes next for a viewer.
#[derive(Clone, Debug)]
pub enum Item {
    /// The stream's state changed: a new one, since when (microseconds since 1970), and what is wrong.
    State(State, i64, Option<Fault>),
    /// An epoch begins. Fragments up to the given sequence are history.
    Epoch(Arc<Epoch>, Option<u32>),
    /// The next frame.
    Fragment(Arc<Fragment>),
    /// So many frames of video, or of sound where there is no video, were left out; decoding can go on with the next fragment.
    Dropped(u32),
}

/// Where a viewer who has another quality could begin.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The epoch.
    pub epoch: Arc<Epoch>,
    /// The newest key frame; none where the epoch has sound only.
    pub key: Option<Key>,
    /// The presentation time at which the next one is due, if its camera keeps to its interval, in microseconds.
    pub due_us: Option<i64>,
}

/// A key frame to begin at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Names it.
    pub position: u64,
    /// Its presentation time, in microseconds.
    pub pts_us: i64,
    /// It came since the viewer waits.
    pub is_new: bool,
}

/// A viewer of one stream. Dropping it ends the watching.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states of one thing")]
pub struct Cursor {
    stream: Arc<Stream>,
    version: Option<u64>,
    epoch: Option<u32>,
    position: u64,
    /// Whether the epoch has video.
    video: bool,
    lag: Lag,
    /// Whether the live edge was reached since the epoch began.
    caught_up: bool,
    /// Whether it was too slow for what came since that was last asked.
    troubled: bool,
    /// It waits beside another quality, since the stream had come to this position.
    waits_from: Option<u64>,
    /// The newest presentation time of what was given out, in microseconds: of pictures, where there are some.
    given_us: Option<i64>,
    /// Whether what it gave last was all there was.
    is_empty: bool,
    /// Whether nothing can be decoded before the next key frame.
    awaiting_key_frame: bool,
    leading: Leading,
    /// In front of what is at this position, so many of its lead-in were given.
    led_in: (u64, usize),
    /// The number of the next frame of video, once one was given out.
    video_number: Option<u64>,
}

impl Cursor {
    /// Begins to watch `stream`. When there may be something is told by [`Stream::listen`]'s waker.
    pub fn new(stream: Arc<Stream>) -> Self {
        stream.join();
        Self {
            stream,
            version: None,
            epoch: None,
            position: 0,
            video: true,
            lag: Lag::default(),
            caught_up: false,
            troubled: false,
            waits_from: None,
            given_us: None,
            is_empty: false,
            awaiting_key_frame: true,
            leading: Leading::default(),
            led_in: (0, 0),
            video_number: None,
        }
    }

    /// The same for a viewer who has another quality of the stream, and waits for a place to begin at: [`Cursor::entry`].
    pub fn waiting(stream: Arc<Stream>) -> Self {
        let end = stream.lock().ring.end();
        let mut cursor = Self::new(stream);
        cursor.stream.begin_to_wait();
        cursor.waits_from = Some(end);
        cursor
    }

    /// Where it could begin now, if there is something.
    pub fn entry(&self) -> Option<Entry> {
        let shared = self.stream.lock();
        let (epoch, ring) = (shared.epoch.clone()?, &shared.ring);
        let from = self.waits_from.unwrap_or_default();
        let key = ring.newest_key().and_then(|position| {
            Some(Key { position, pts_us: ring.get(position)?.pts_us, is_new: position >= from })
        });
        let has_video = epoch.tracks.iter().any(Track::is_video);
        (key.is_some() || !has_video).then(|| Entry { epoch, key, due_us: ring.due_us() })
    }

    /// The newest presentation time of what was given out, in microseconds.
    pub fn given_us(&self) -> Option<i64> {
        self.given_us
    }

    /// Whether what it gave last was all there was: it need not be asked again until a waker is told.
    pub fn has_given_all(&self) -> bool {
        self.is_empty
    }

    /// The presentation time of what comes next, in microseconds, if that is there.
    pub fn next_us(&self) -> Option<i64> {
        Some(self.stream.lock().ring.get(self.position)?.pts_us)
    }

    /// Whether it was too slow for the stream since that was last asked: it had to leave something out, or is about to.
    pub fn take_trouble(&mut self) -> bool {
        std::mem::take(&mut self.troubled)
    }

    /// Leaves what comes before this presentation time, in microseconds. Returns how many frames of video that were. They are
    /// counted as left out.
    pub fn leave_out(&mut self, before_us: i64) -> u32 {
        let mut shared = self.stream.lock();
        let Some(next) = self.video_number.take() else { return 0 };
        let rest = (self.position..shared.ring.end()).filter_map(|position| shared.ring.get(position));
        let mut not_missed = rest.filter(|f| f.video && f.pts_us >= before_us);
        let end = not_missed.next().map_or(shared.counts.frames, |fragment| fragment.video_number);
        let missed = end.saturating_sub(next);
        shared.counts.frames_dropped += missed;
        u32::try_from(missed).unwrap_or(u32::MAX)
    }

    /// The stream being watched.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Where to go on instead of where it stands, if it has fallen too far behind.
    fn jump(&mut self, ring: &Ring) -> Option<u64> {
        let newest = ring.end().saturating_sub(1);
        if self.position >= newest {
            self.lag.clear();
            self.caught_up = true;
            return None;
        }
        let key = if self.video { ring.newest_key() } else { Some(newest) };
        let Some(place) = ring.place(self.position) else {
            // It was let go: the viewer was slower than the ring is long.
            self.troubled = true;
            return Some(key.unwrap_or_else(|| ring.end()));
        };
        let verdict = self.lag.judge(&Place { newer_key: place.newer_key || !self.video, ..place });
        if verdict != Verdict::GoOn || self.caught_up && place.lag_us > TROUBLE_US {
            self.troubled |= ring.waited(self.position).is_some_and(|waited| waited >= TROUBLE_WAIT);
        }
        match verdict {
            Verdict::GoOn => None,
            Verdict::Jump => key,
            Verdict::Wait => Some(ring.end()),
        }
    }
}

/// What comes next, as far as it is there already: `None` is not the end, but a pause until a waker is told.
impl Iterator for Cursor {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let stream = self.stream.clone();
        let mut guard = stream.lock();
        let shared = &mut *guard;
        self.is_empty = false;
        if self.version != Some(shared.version) {
            self.version = Some(shared.version);
            return Some(Item::State(shared.state, shared.since_time_us, shared.fault.clone()));
        }
        let ring = &shared.ring;
        let epoch = shared.epoch.as_ref()?;
        if self.epoch != Some(epoch.number) {
            self.epoch = Some(epoch.number);
            self.lag.clear();
            self.caught_up = false;
            self.video_number = None;
            self.video = epoch.tracks.iter().any(Track::is_video);
            self.awaiting_key_frame = self.video;
            // Without a key frame (a group of pictures past the ring's limits) it begins at the next one.
            self.position = ring.newest_key().unwrap_or_else(|| ring.end());
            let catch_up = ring.newest_key().and(ring.newest()).map(|newest| newest.header.sequence);
            let begins = self.waits_from.take().inspect(|_| self.stream.end_waiting()).is_none();
            let catch_up = catch_up.filter(|_| begins);
            return Some(Item::Epoch(epoch.clone(), catch_up));
        }
        if let Some(to) = self.jump(ring) {
            let missed = to - self.position;
            self.position = to;
            self.awaiting_key_frame = self.video;
            if !self.video {
                shared.counts.frames_dropped += missed;
                return Some(Item::Dropped(u32::try_from(missed).unwrap_or(u32::MAX)));
            }
        }
        loop {
            let fragment = ring.get(self.position)?;
            if self.awaiting_key_frame && !(fragment.video && fragment.is_entry) {
                self.position += 1;
                continue;
            }
            let begins = std::mem::replace(&mut self.awaiting_key_frame, false);
            if fragment.video && self.leading.refers_back(fragment.pts_us, begins) {
                self.position += 1;
                self.video_number = Some(fragment.video_number + 1);
                continue;
            }
            let missed = self.video_number.map_or(0, |number| fragment.video_number.saturating_sub(number));
            self.video_number = Some(fragment.video_number + u64::from(fragment.video));
            if missed > 0 {
                // It is looked at once more, and begins then.
                self.awaiting_key_frame = begins;
                shared.counts.frames_dropped += missed;
                return Some(Item::Dropped(u32::try_from(missed).unwrap_or(u32::MAX)));
            }
            let given = if self.led_in.0 == self.position { self.led_in.1 } else { 0 };
            if let Some(lead_in) = fragment.lead_in.as_ref().and_then(|lead_in| lead_in.fragments.get(given))
                && (begins || fragment.follows_gap)
            {
                // It is looked at once more, too.
                self.awaiting_key_frame = begins;
                self.led_in = (self.position, given + 1);
                return Some(Item::Fragment(lead_in.clone()));
            }
            self.position += 1;
            if fragment.video || !self.video {
                self.given_us = self.given_us.max(Some(fragment.pts_us));
            }
            self.is_empty = self.position == ring.end();
            return Some(Item::Fragment(fragment.clone()));
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if self.waits_from.is_some() {
            self.stream.end_waiting();
        }
        self.stream.leave();
    }
}

#[cfg(test)]
mod tests;
