//! What a session gives, into its stream: until it ends, gives no pictures, or gives none that decoding can begin with.

use std::{fmt::Display, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{Event, Session};
use crate::{
    hub::{Fault, Publisher, Stream, Warning},
    media::Track,
};

/// A camera that sends pictures and no key frame for this long is asked anew: a session begins with one.
const NO_KEY_FRAME: Duration = Duration::from_secs(30);

/// Key frames farther apart than this make whoever loses a packet wait, and are worth a warning.
const FAR_KEY_FRAMES: Duration = Duration::from_secs(4);

/// No key frame for so long is worth it even before there is the next one.
const VERY_FAR_KEY_FRAMES: Duration = Duration::from_secs(10);

/// The code of a session without key frames.
pub(super) const NO_KEY_FRAME_CODE: &str = "no_key_frame";

/// The code of the fault that is a camera without pictures.
pub(super) const STALLED_CODE: &str = "stalled";

/// The code of that warning.
const KEY_FRAME_INTERVAL: &str = "key_frame_interval";

/// When a session's first and last picture were passed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pictures {
    pub(super) first: Instant,
    pub(super) last: Instant,
}

/// One session on its way into its stream.
#[derive(Debug)]
pub(super) struct Feed<'a, From> {
    pub(super) stream: &'a Stream,
    pub(super) publisher: Publisher,
    /// The camera or encoder, as it may be shown.
    pub(super) from: From,
    /// The longest time without a picture.
    pub(super) stall_timeout: Duration,
}

impl<From: Display> Feed<'_, From> {
    /// Feeds the stream until the session ends, and tells why it did. `pictures` is kept current, for whoever gives up
    /// waiting for this.
    pub(super) async fn run(self, session: &mut impl Session, pictures: &mut Option<Pictures>) -> Fault {
        let Self { stream, publisher, from, stall_timeout } = self;
        let mut deadline = Instant::now() + stall_timeout;
        let mut shown_by = Instant::now() + NO_KEY_FRAME;
        let mut key_frames = KeyFrames::default();
        // Where there are pictures, sound alone is a stall.
        let mut pictured = true;
        let warn = |code, message: String| {
            tracing::warn!(stream = %stream.label(), %from, code, "{message}");
            publisher.warn(Warning { code, message });
        };
        loop {
            match timeout_at(deadline, session.next()).await {
                Err(_) => {
                    let reason = format!("no picture for {} ms", stall_timeout.as_millis());
                    return Fault { code: STALLED_CODE, reason };
                }
                Ok(Err(fault)) => return fault,
                Ok(Ok(Event::Lost(packets))) => publisher.lost(packets),
                Ok(Ok(Event::Jumped)) => publisher.jumped(),
                Ok(Ok(Event::Encoder(name))) => publisher.encoder(name),
                Ok(Ok(Event::Warning(code, message))) => warn(code, message),
                Ok(Ok(Event::Undescribed)) => {
                    deadline = Instant::now() + stall_timeout;
                }
                Ok(Ok(Event::Tracks(tracks))) => {
                    tracing::info!(stream = %stream.label(), %from, tracks = %summary(&tracks), "live");
                    pictured = tracks.iter().any(Track::is_video);
                    if let Err(error) = publisher.tracks(tracks, std::time::Instant::now()) {
                        let reason = format!("the parameter sets cannot be packed: {error}");
                        return Fault { code: "unsupported", reason };
                    }
                }
                Ok(Ok(Event::Frame(frame, received))) => {
                    let (sound, key_frame) = (frame.duration_ticks.is_some(), frame.key_frame);
                    let passed = publisher.frame(frame, received);
                    let now = Instant::now();
                    if sound {
                        if !pictured {
                            deadline = now + stall_timeout;
                        }
                        continue;
                    }
                    deadline = now + stall_timeout;
                    match key_frames.picture(key_frame, received) {
                        Some(Spacing::Far(seconds)) => warn(
                            KEY_FRAME_INTERVAL,
                            format!(
                                "its key frames are {seconds} s apart: after a loss viewers wait that long for a \
                                 picture; set the encoder's key frame interval to 2 s"
                            ),
                        ),
                        Some(Spacing::Near) => publisher.unwarn(KEY_FRAME_INTERVAL),
                        None => {}
                    }
                    if passed {
                        shown_by = now + NO_KEY_FRAME;
                        pictures.get_or_insert(Pictures { first: now, last: now }).last = now;
                    } else if now > shown_by {
                        let reason = format!("no key frame for {} s", NO_KEY_FRAME.as_secs());
                        return Fault { code: NO_KEY_FRAME_CODE, reason };
                    }
                }
            }
        }
    }
}

/// Watches how far apart key frames are.
#[derive(Debug, Default)]
struct KeyFrames {
    last: Option<std::time::Instant>,
    /// The distance last told of, in seconds, while it is too large.
    told_s: Option<u64>,
}

/// What became of the distance between key frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spacing {
    /// It is beyond [`FAR_KEY_FRAMES`], and another one than before: so many seconds.
    Far(u64),
    /// It is back within.
    Near,
}

impl KeyFrames {
    /// Takes a picture that arrived at `now`, and tells when its like have become too rare, and when that is over.
    fn picture(&mut self, key_frame: bool, now: std::time::Instant) -> Option<Spacing> {
        let last = *self.last.get_or_insert(now);
        let since = now.saturating_duration_since(last);
        // How far apart they are is known at the next one; when that is long in coming, so much is known already.
        if !key_frame && (self.told_s.is_some() || since < VERY_FAR_KEY_FRAMES) {
            return None;
        }
        if key_frame {
            self.last = Some(now);
        }
        // A tolerance for jitter: an interval of 4 s is not "more than 4 s".
        if since <= FAR_KEY_FRAMES + FAR_KEY_FRAMES / 20 {
            return self.told_s.take().map(|_| Spacing::Near);
        }
        let seconds = (since + Duration::from_millis(500)).as_secs();
        let news = self.told_s.is_none_or(|told| told.abs_diff(seconds) > 1);
        news.then(|| Spacing::Far(*self.told_s.insert(seconds)))
    }
}

fn summary(tracks: &[Track]) -> String {
    tracks.iter().map(|track| track.codec.as_str()).collect::<Vec<_>>().join(" + ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said over `seconds` of 25 pictures a second with a key frame every `interval` pictures.
    fn said(
        key_frames: &mut KeyFrames,
        from: std::time::Instant,
        pictures: u32,
        interval: u32,
    ) -> Vec<Spacing> {
        let at = |n: u32| from + Duration::from_millis(40) * n;
        (0..pictures).filter_map(|n| key_frames.picture(n % interval == 0, at(n))).collect()
    }

    #[test]
    fn key_frames_that_are_far_apart_are_said_once_and_taken_back() {
        let mut key_frames = KeyFrames::default();
        let now = std::time::Instant::now();
        assert_eq!(said(&mut key_frames, now, 250, 100), [], "4 s is near enough");
        let now = now + Duration::from_secs(10);
        assert_eq!(said(&mut key_frames, now, 1_000, 150), [Spacing::Far(6)]);
        let now = now + Duration::from_secs(40);
        assert_eq!(said(&mut key_frames, now, 250, 50), [Spacing::Near]);
        let now = now + Duration::from_secs(10);
        let twelve = said(&mut key_frames, now, 301, 300);
        assert_eq!(
            twelve,
            [Spacing::Far(10), Spacing::Far(12)],
            "said before the second key frame, and put right at it"
        );
    }
}
