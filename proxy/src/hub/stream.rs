//! One stream: its publisher's side, and what it tells of itself.
//!
//! The publisher's frames are muxed here, once, under the stream's lock; viewers take shared fragments out under the
//! same lock, a few microseconds each. Invariant: within an epoch, fragments begin with a key frame of video and are
//! complete; after a loss nothing is passed on until the next key frame.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use sightline_wire::{Header, Kind, frame_head};
use tokio::sync::{Notify, watch};

use super::{
    Spec,
    fragment::{Fragment, LeadIn},
    group::Group,
    meter::Meter,
    ring::{Limits, Memory, Ring},
    status::{Counts, Fault, Origin, State, Status, Warning},
};
use crate::{
    config::StreamName,
    media::{Coding, Frame, Media, Track, h264, time},
    mux::{fragment, init, timeline::Timeline},
};

/// The largest access unit that is passed on, in bytes.
const MAX_FRAME_LEN: usize = 8 << 20;

/// So much of the time in front of a picture belongs to each picture of its lead-in: one part of so many of a second. There are
/// up to 17, and cameras with 100 pictures a second.
const LEAD_IN_PARTS: u32 = 2_000;

/// One camera's stream.
#[derive(Debug)]
pub struct Stream {
    /// Its name, which its qualities share.
    pub name: StreamName,
    /// Which quality it is, where there are several.
    pub quality: Option<StreamName>,
    /// Stands for it here; no other stream or quality has it.
    pub id: u32,
    /// Stands for it on the wire, and for all its qualities.
    pub number: u32,
    /// Whether it is only fetched while somebody watches.
    pub on_demand: bool,
    pub(super) shared: Mutex<Shared>,
    viewers: watch::Sender<usize>,
    max_viewers: Option<u32>,
    admitted: AtomicU32,
    /// Of those in `viewers`: who gets another quality and waits for this one.
    waiting: AtomicU32,
    group: Arc<Group>,
    /// The other qualities, best first, where this is the best one.
    lower: Vec<Arc<Self>>,
    /// In pixels, of the last epoch that had video; 0 before.
    height: AtomicU32,
}

/// A stream's place among others.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) id: u32,
    pub(super) number: u32,
    pub(super) quality: Option<StreamName>,
    pub(super) lower: Vec<Arc<Stream>>,
    pub(super) group: Arc<Group>,
    pub(super) memory: Arc<Memory>,
}

/// What is guarded by the stream's lock.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: State,
    pub(super) since_time_us: i64,
    pub(super) fault: Option<Fault>,
    /// Counts changes of `state` and `fault`.
    pub(super) version: u64,
    pub(super) epoch: Option<Arc<Epoch>>,
    pub(super) ring: Ring,
    pub(super) wakers: Vec<Arc<Notify>>,
    timelines: Vec<Timeline>,
    end_us: i64,
    awaiting_key_frame: bool,
    leading: Leading,
    meter: Meter,
    pub(super) counts: Counts,
    session: u64,
    /// Where the session's zero stands on the timeline; known from its first tracks on.
    session_base_us: Option<i64>,
    /// A frame of the session was passed on.
    session_begun: bool,
    session_origin: Option<Origin>,
    session_transport: Option<&'static str>,
    warnings: Vec<Warning>,
}

/// A span of a stream with one set of tracks.
#[derive(Debug)]
pub struct Epoch {
    /// Counts a stream's epochs from 1.
    pub number: u32,
    /// Its tracks; their order is their index.
    pub tracks: Vec<Track>,
    /// For each track, the binary message with its init segment, as a whole WebSocket frame.
    pub inits: Vec<Bytes>,
}

/// Finds the pictures that follow the one with which decoding began, and are shown before it (RASL pictures of H.265, the
/// B-frames of an open GOP): they refer to what was not decoded, and all come at once behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Leading {
    begun_at: Option<i64>,
}

impl Leading {
    /// Whether the next picture is one of them. `begins`: decoding begins with it.
    pub(super) fn refers_back(&mut self, presentation_time: i64, begins: bool) -> bool {
        if begins {
            self.begun_at = Some(presentation_time);
            return false;
        }
        let refers_back = self.begun_at.is_some_and(|begun_at| presentation_time < begun_at);
        if !refers_back {
            self.begun_at = None;
        }
        refers_back
    }
}

impl Stream {
    pub(super) fn new(spec: Spec, place: Place) -> Arc<Self> {
        let Spec { name, on_demand, max_viewers, .. } = spec;
        let Place { id, number, quality, lower, group, memory } = place;
        Arc::new(Self {
            name,
            quality,
            id,
            number,
            on_demand,
            shared: Mutex::new(Shared {
                state: State::Idle,
                since_time_us: unix_time_us(),
                fault: None,
                version: 0,
                epoch: None,
                ring: Ring::new(Limits::default(), memory),
                wakers: Vec::new(),
                timelines: Vec::new(),
                end_us: 0,
                awaiting_key_frame: true,
                leading: Leading::default(),
                meter: Meter::default(),
                counts: Counts::default(),
                session: 0,
                session_base_us: None,
                session_begun: false,
                session_origin: None,
                session_transport: None,
                warnings: Vec::new(),
            }),
            viewers: watch::Sender::new(0),
            max_viewers,
            admitted: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            group,
            lower,
            height: AtomicU32::new(0),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        // A poisoned lock means a panic while muxing; the state is still consistent enough to go on serving others.
        self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How many watch, to wait for.
    pub fn viewers(&self) -> watch::Receiver<usize> {
        self.viewers.subscribe()
    }

    /// All its qualities, best first; itself where there is one.
    pub fn qualities(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::once(self).chain(&self.lower)
    }

    /// Whether it gives pictures.
    pub fn state(&self) -> State {
        self.lock().state
    }

    /// The quality that stands for all of them where one has to: the best one that gives pictures, or else is nearest to it.
    pub fn foremost(self: &Arc<Self>) -> &Arc<Self> {
        let rank = |stream: &&Arc<Self>| match stream.state() {
            State::Live => 0,
            State::Connecting => 1,
            State::Offline => 2,
            State::Idle => 3,
        };
        self.qualities().min_by_key(rank).unwrap_or(self)
    }

    /// How many watch it in whichever quality.
    pub fn admitted(&self) -> usize {
        self.admitted.load(Ordering::Relaxed) as usize
    }

    /// The epoch that is on, where there is one.
    pub fn epoch(&self) -> Option<Arc<Epoch>> {
        self.lock().epoch.clone()
    }

    /// Counts a viewer who comes from another quality.
    pub fn count_switch(&self) {
        self.lock().counts.switches += 1;
    }

    /// Whether there are several qualities of it.
    pub fn has_qualities(&self) -> bool {
        !self.lower.is_empty()
    }

    /// How high its pictures are, or were last, in pixels.
    pub fn height(&self) -> Option<u32> {
        Some(self.height.load(Ordering::Relaxed)).filter(|height| *height > 0)
    }

    /// Its name in a log: `gate`, and `gate@sub` where there are several qualities.
    pub fn label(&self) -> String {
        match &self.quality {
            Some(quality) => format!("{}@{quality}", self.name),
            None => self.name.to_string(),
        }
    }

    /// Lets one more watch, if there is room.
    pub fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let max = self.max_viewers.unwrap_or(u32::MAX);
        let one_more = |admitted: u32| (admitted < max).then(|| admitted + 1);
        self.admitted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Admitted(self.clone()))
    }

    pub(super) fn join(&self) {
        self.viewers.send_modify(|n| *n += 1);
    }

    pub(super) fn leave(&self) {
        self.viewers.send_modify(|n| *n = n.saturating_sub(1));
    }

    /// One of those who joined waits for a key frame, and has another quality meanwhile.
    pub(super) fn begin_to_wait(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Not any more.
    pub(super) fn end_waiting(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// From now on `waker` is told whenever a cursor may have something. Many cursors may share one.
    pub fn listen(&self, waker: Arc<Notify>) {
        self.lock().wakers.push(waker);
    }

    /// Takes [`Stream::listen`] back.
    pub fn ignore(&self, waker: &Arc<Notify>) {
        self.lock().wakers.retain(|w| !Arc::ptr_eq(w, waker));
    }

    /// Says that the camera is being asked, that nobody needs it, or what is wrong with it.
    pub fn set_state(&self, state: State, fault: Option<Fault>) {
        let mut shared = self.lock();
        // What was never asked for has not failed: a stream waits for its first encoder.
        if fault.is_some() && shared.state != State::Idle {
            shared.counts.failures += 1;
        }
        shared.set_state(state, fault);
    }

    /// Begins a session of the camera. Whatever an earlier publisher still holds has no effect any more.
    pub fn publish(self: &Arc<Self>) -> Publisher {
        let mut shared = self.lock();
        shared.session += 1;
        shared.end_session();
        Publisher { stream: self.clone(), session: shared.session }
    }

    /// All there is to tell.
    pub fn status(&self) -> Status {
        let now_us = self.group.elapsed_us(Instant::now());
        let mut shared = self.lock();
        Status {
            state: shared.state,
            since_time_us: shared.since_time_us,
            fault: shared.fault.clone(),
            viewers: self.viewers.borrow().saturating_sub(self.waiting.load(Ordering::Relaxed) as usize),
            tracks: shared.epoch.as_ref().map(|epoch| epoch.tracks.clone()).unwrap_or_default(),
            bits_per_second: shared.meter.bits_per_second(now_us),
            frames_per_second: shared.meter.frames_per_second(now_us),
            key_frame_interval_ms: shared.meter.key_frame_interval_ms(),
            ring_bytes: shared.ring.bytes(),
            origin: shared.session_origin.clone(),
            transport: shared.session_transport,
            warnings: shared.warnings.clone(),
            counts: shared.counts,
        }
    }
}

/// The room that one viewer takes. Dropping it leaves it to another.
#[derive(Debug)]
pub struct Admitted(Arc<Stream>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.admitted.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn set_state(&mut self, state: State, fault: Option<Fault>) {
        if self.state == state && self.fault == fault {
            return;
        }
        if self.state != state {
            self.since_time_us = unix_time_us();
        }
        self.state = state;
        self.fault = fault;
        self.version += 1;
        self.wake();
    }

    /// The session's zero stands here on the timeline, in microseconds, and nothing of it was placed yet.
    fn begin_at(&mut self, base_us: i64) {
        self.session_base_us = Some(base_us);
        for timeline in &mut self.timelines {
            *timeline = Timeline::new(timeline.timescale(), base_us);
        }
    }

    fn wake(&self) {
        for waker in &self.wakers {
            waker.notify_one();
        }
    }

    /// Ends the session, and what was only true of it.
    fn end_session(&mut self) {
        self.session_base_us = None;
        self.session_begun = false;
        self.session_origin = None;
        self.session_transport = None;
        self.warnings.clear();
        self.end_epoch();
    }

    /// Ends the epoch: nothing of it can be joined any more. Its place on the timeline stays taken.
    fn end_epoch(&mut self) {
        self.end_us = self.timelines.iter().map(Timeline::end_us).fold(self.end_us, i64::max);
        self.timelines.clear();
        self.epoch = None;
        self.ring.clear();
        self.meter = Meter::default();
    }
}

/// The publisher's side of a stream: one session of its camera. Dropping it ends the session.
#[derive(Debug)]
pub struct Publisher {
    stream: Arc<Stream>,
    session: u64,
}

impl Publisher {
    /// Opens an epoch with these tracks.
    pub fn tracks(&self, tracks: Vec<Track>, now: Instant) -> Result<(), mp4_atom::Error> {
        let group = &self.stream.group;
        let now_us = group.elapsed_us(now);
        let mut shared = self.stream.lock();
        if shared.session != self.session {
            return Ok(());
        }
        if shared.epoch.as_ref().is_some_and(|epoch| epoch.tracks == tracks) {
            return Ok(()); // said again, as some cameras do with each key frame
        }
        let number = group.next_epoch();
        let mut inits = Vec::with_capacity(tracks.len());
        for (index, track) in tracks.iter().enumerate() {
            let header = Header::init(self.stream.number, number, index as u8).encode();
            let segment = init::segment(track)?;
            let (frame, frame_len) = frame_head(header.len() + segment.len());
            inits.push(Bytes::from([&frame[..frame_len], &header[..], &segment[..]].concat()));
        }
        // A session's times count from one moment: a change of tracks in its middle goes on with the same timelines.
        let free_us = now_us.max(shared.end_us);
        let base_us = *shared.session_base_us.get_or_insert(free_us);
        let mut before = std::mem::take(&mut shared.timelines).into_iter();
        let timelines = tracks.iter().map(|track| match before.next() {
            Some(timeline) if timeline.timescale() == track.timescale => timeline,
            _ => Timeline::new(track.timescale, base_us),
        });
        let timelines = timelines.collect();
        shared.end_epoch();
        shared.timelines = timelines;
        let height = tracks.iter().find_map(|track| match track.media {
            Media::Video { height, .. } => Some(height),
            Media::Audio { .. } => None,
        });
        if let Some(height) = height {
            self.stream.height.store(height, Ordering::Relaxed);
        }
        shared.epoch = Some(Arc::new(Epoch { number, tracks, inits }));
        shared.awaiting_key_frame = true;
        Ok(())
    }

    /// Passes a frame on, whose last packet came in at `received`. False if it was left out: after a loss, before the
    /// first key frame, or because it is too large.
    pub fn frame(&self, frame: Frame, received: Instant) -> bool {
        let group = &self.stream.group;
        let received_us = group.elapsed_us(received);
        let mut guard = self.stream.lock();
        let shared = &mut *guard;
        if shared.session != self.session {
            return false;
        }
        let Some(epoch) = shared.epoch.clone() else { return false };
        let Some(track) = epoch.tracks.get(frame.track) else { return false };
        let (video, len) = (track.is_video(), frame.data.len());
        let has_video = epoch.tracks.iter().any(Track::is_video);
        let ready = !shared.awaiting_key_frame || (frame.key_frame && (video || !has_video));
        if len > MAX_FRAME_LEN || !ready {
            shared.counts.frames_discarded += u64::from(video);
            shared.awaiting_key_frame |= video;
            return false;
        }
        let begins = std::mem::replace(&mut shared.awaiting_key_frame, false) && video;
        if !std::mem::replace(&mut shared.session_begun, true)
            && let Some(at_us) = group.stands_at_us(received_us, shared.end_us)
        {
            shared.begin_at(at_us.saturating_sub(time::ticks_to_us(frame.pts_ticks, track.timescale)));
        }
        let Some(timeline) = shared.timelines.get_mut(frame.track) else { return false };
        let place = timeline.place(&frame, received_us);
        shared.counts.clock_jumps += u64::from(place.jumped);
        if video && shared.leading.refers_back(place.presentation_time_ticks(), begins) {
            shared.counts.frames_discarded += 1;
            return false;
        }
        let header = Header {
            kind: Kind::Media,
            track: frame.track as u8,
            key_frame: frame.key_frame,
            number: self.stream.number,
            epoch: epoch.number,
            sequence: group.next_sequence(),
            decode_time_ticks: place.decode_time_ticks,
            composition_offset_ticks: place.composition_offset_ticks,
            duration_ticks: place.duration_ticks,
            capture_time_us: frame.capture_time_us,
            payload_offset: fragment::OVERHEAD as u32,
        };
        shared.counts.bytes += len as u64;
        if video {
            shared.counts.frames += 1;
            shared.meter.frame(received_us, len as u32, frame.key_frame);
        }
        let pts_us = time::ticks_to_us(header.presentation_time_ticks(), track.timescale);
        if video {
            group.passed(pts_us, received_us);
        }
        let video_number = shared.counts.frames - u64::from(video);
        let lead_in =
            (video && frame.key_frame).then(|| lead_in(&header, track, &frame.data, received)).flatten();
        let duration_ticks = place.declared_duration_ticks;
        let mut fragment = Fragment::new(header, lead_in, duration_ticks, frame.data, pts_us, received);
        fragment.follows_gap = begins;
        // The one allocation of a frame on its way through; its bytes stay where ingest put them.
        shared.ring.push(Arc::new(fragment.of_video(video, video_number)));
        if shared.state == State::Live {
            shared.wake();
        } else {
            shared.set_state(State::Live, None);
        }
        true
    }

    /// Says how packets come.
    pub fn transport(&self, transport: &'static str) {
        self.update(|shared| shared.session_transport = Some(transport));
    }

    /// Says who publishes.
    pub fn origin(&self, origin: Origin) {
        self.update(|shared| shared.session_origin = Some(origin));
    }

    /// Says what the one who publishes calls itself.
    pub fn encoder(&self, name: String) {
        self.update(|shared| {
            if let Some(origin) = &mut shared.session_origin {
                origin.encoder = Some(name);
            }
        });
    }

    /// Says that something is not as it should be. It replaces what was said under the same code.
    pub fn warn(&self, warning: Warning) {
        self.update(|shared| {
            shared.warnings.retain(|old| old.code != warning.code);
            shared.warnings.push(warning);
        });
    }

    /// Takes a warning back.
    pub fn unwarn(&self, code: &str) {
        self.update(|shared| shared.warnings.retain(|old| old.code != code));
    }

    fn update(&self, change: impl FnOnce(&mut Shared)) {
        let mut shared = self.stream.lock();
        if shared.session == self.session {
            change(&mut shared);
        }
    }

    /// Says that the camera's clock jumped.
    pub fn jumped(&self) {
        self.update(|shared| shared.counts.clock_jumps += 1);
    }

    /// Says that `packets` of the camera did not come: nothing is passed on until the next key frame, for a picture
    /// decoded without them would be smeared.
    pub fn lost(&self, packets: u16) {
        self.update(|shared| {
            shared.counts.packets_lost += u64::from(packets);
            shared.awaiting_key_frame = true;
        });
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let mut shared = self.stream.lock();
        if shared.session == self.session {
            shared.session += 1;
            shared.end_session();
        }
    }
}

/// What goes in front of this picture where decoding begins with it, and after how many more one is whole. Nothing for most
/// cameras' key frames.
fn lead_in(header: &Header, track: &Track, picture: &[u8], received: Instant) -> Option<LeadIn> {
    if track.coding != Coding::H264 {
        return None;
    }
    let h264::lead_in::LeadIn { pictures, whole_after } =
        h264::lead_in::before(&track.decoder_config, picture)?;
    let duration_ticks = track.timescale / LEAD_IN_PARTS;
    let mut earlier_ticks = u64::from(duration_ticks) * pictures.len() as u64;
    let mut fragments = Vec::with_capacity(pictures.len());
    for (index, data) in pictures.into_iter().enumerate() {
        let header = Header {
            key_frame: index == 0,
            // No fragments of their own: nobody who goes on misses them.
            sequence: header.sequence.wrapping_sub(1),
            decode_time_ticks: header.decode_time_ticks.checked_sub(earlier_ticks)?,
            duration_ticks,
            ..*header
        };
        let pts_us = time::ticks_to_us(header.presentation_time_ticks(), track.timescale);
        let fragment = Fragment::new(header, None, duration_ticks, data, pts_us, received);
        fragments.push(Arc::new(fragment.of_video(true, 0)));
        earlier_ticks -= u64::from(duration_ticks);
    }
    Some(LeadIn { fragments, whole_after })
}

/// This machine's clock, in microseconds since 1970.
pub(crate) fn unix_time_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
