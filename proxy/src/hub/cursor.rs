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
    stream::{Epoch, Leading, Shared, Stream},
};
use crate::media::Track;

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
pub struct Cursor {
    stream: Arc<Stream>,
    at: At,
}

/// Where a cursor stands, and what it has to know of its way there.
#[derive(Debug)]
struct At {
    version: Option<u64>,
    epoch: Option<u32>,
    position: u64,
    /// Whether the epoch has video.
    video: bool,
    lag: Lag,
    /// Whether nothing can be decoded before the next key frame.
    awaiting_key_frame: bool,
    leading: Leading,
    /// The number of the next frame of video, once one was given out.
    video_number: Option<u64>,
    /// Whether there was nothing more when it was last asked.
    caught_up: bool,
}

impl Cursor {
    /// Begins to watch `stream`. When there may be something is told by [`Stream::listen`]'s waker.
    pub fn new(stream: Arc<Stream>) -> Self {
        stream.join();
        let at = At {
            version: None,
            epoch: None,
            position: 0,
            video: true,
            lag: Lag::default(),
            awaiting_key_frame: true,
            leading: Leading::default(),
            video_number: None,
            caught_up: false,
        };
        Self { stream, at }
    }

    /// The stream being watched.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Whether what it gave last was all there was: it need not be asked again until a waker is told.
    pub fn has_caught_up(&self) -> bool {
        self.at.caught_up
    }
}

impl At {
    /// Where to go on instead of where it stands, if it has fallen too far behind.
    fn jump(&mut self, ring: &Ring) -> Option<u64> {
        let newest = ring.end().saturating_sub(1);
        if self.position >= newest {
            self.lag.clear();
            return None;
        }
        let key = if self.video { ring.newest_key() } else { Some(newest) };
        let Some(place) = ring.place(self.position) else {
            // It was let go: the viewer was slower than the ring is long.
            return Some(key.unwrap_or_else(|| ring.end()));
        };
        match self.lag.judge(&Place { newer_key: place.newer_key || !self.video, ..place }) {
            Verdict::GoOn => None,
            Verdict::Jump => key,
            Verdict::Wait => Some(ring.end()),
        }
    }

    fn next(&mut self, shared: &mut Shared) -> Option<Item> {
        if self.version != Some(shared.version) {
            self.version = Some(shared.version);
            return Some(Item::State(shared.state, shared.since_time_us, shared.fault.clone()));
        }
        let ring = &shared.ring;
        let epoch = shared.epoch.as_ref()?;
        if self.epoch != Some(epoch.number) {
            self.epoch = Some(epoch.number);
            self.lag.clear();
            self.video_number = None;
            self.video = epoch.tracks.iter().any(Track::is_video);
            self.awaiting_key_frame = self.video;
            // Without a key frame (a group of pictures past the ring's limits) it begins at the next one.
            self.position = ring.newest_key().unwrap_or_else(|| ring.end());
            let catch_up = ring.newest_key().and(ring.newest()).map(|newest| newest.header.sequence);
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
            self.caught_up = self.position == ring.end();
            return Some(Item::Fragment(fragment.clone()));
        }
    }
}

/// What comes next, as far as it is there already: `None` is not the end, but a pause until a waker is told.
impl Iterator for Cursor {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        self.at.caught_up = false;
        self.at.next(&mut self.stream.lock())
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.stream.leave();
    }
}

#[cfg(test)]
mod tests;
