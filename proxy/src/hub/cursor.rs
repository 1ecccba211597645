//! A viewer's position in a stream.
//!
//! There is no queue for a viewer: it asks for what comes next when it can take it. One that lags too far goes on at a newer
//! key frame (`lag` says when) and learns how much it missed.

use std::sync::Arc;

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

/// A key frame so old is as good as new, in microseconds.
const FRESH_US: i64 = 300_000;

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
    /// From this position on a key frame is new: what was there before is not wanted.
    fresh_from: Option<u64>,
    /// Whether nothing can be decoded before the next key frame.
    awaiting_key_frame: bool,
    leading: Leading,
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
            fresh_from: None,
            awaiting_key_frame: true,
            leading: Leading::default(),
            video_number: None,
        }
    }

    /// The same for a viewer who has another quality of the stream: it begins at a key frame that is new, without history.
    /// Nothing may be taken before [`Cursor::is_ready`].
    pub fn fresh(stream: Arc<Stream>) -> Self {
        let end = stream.lock().ring.end();
        let mut cursor = Self::new(stream);
        cursor.fresh_from = Some(end);
        cursor
    }

    /// Whether there is a key frame for a fresh one to begin at.
    pub fn is_ready(&self) -> bool {
        let shared = self.stream.lock();
        let Some(epoch) = &shared.epoch else { return false };
        let (Some(from), ring) = (self.fresh_from, &shared.ring) else { return true };
        match ring.newest_key() {
            Some(key) => key >= from || ring.place(key).is_some_and(|place| place.lag_us <= FRESH_US),
            None => !epoch.tracks.iter().any(Track::is_video),
        }
    }

    /// Whether it was too slow for the stream since that was last asked: it had to leave something out, or is about to.
    pub fn take_trouble(&mut self) -> bool {
        std::mem::take(&mut self.troubled)
    }

    /// How many frames of video there are that were not taken. They are counted as left out.
    pub fn leave_out(&mut self) -> u32 {
        let mut shared = self.stream.lock();
        let Some(next) = self.video_number.take() else { return 0 };
        let missed = shared.counts.frames.saturating_sub(next);
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
        self.troubled |= self.caught_up && place.lag_us > TROUBLE_US;
        let verdict = self.lag.judge(&Place { newer_key: place.newer_key || !self.video, ..place });
        self.troubled |= verdict != Verdict::GoOn;
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
            let catch_up = if self.fresh_from.take().is_some() { None } else { catch_up };
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
            if self.awaiting_key_frame && !(fragment.video && fragment.header.key_frame) {
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
            self.position += 1;
            return Some(Item::Fragment(fragment.clone()));
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.stream.leave();
    }
}

#[cfg(test)]
mod tests;
