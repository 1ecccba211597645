//! The way to the screen by decoders (`WebCodecs`): which frame is decoded when, and which picture is shown when.
//!
//! History is decoded as fast as it can be, and only its newest picture is shown. From then on each frame goes to the
//! decoder the moment it comes, and `cadence` says when its picture is shown. Sound and failures are in `decode/care.rs`.
//!
//! Invariant: pictures are shown in the order of their presentation times, each decoded one is shown or discarded, and
//! what waits is bounded: [`MAX_IN_DECODER`] frames and [`MAX_READY`] pictures with the browser, the rest as bytes here.

mod care;

use sightline_wire::{Header, Kind, Track};

use super::{Command, Facts, Renderer, Session};
use crate::append::MAX_WAITING_BYTES;
use crate::cadence::Cadence;
use crate::latency::Target;
use crate::prelude::*;
use crate::reorder::Fragment;
use crate::rounded;
use crate::sound::Sync;

/// Frames a decoder is given at a time. Those of a stream with B-frames keep up to 16 back.
const MAX_IN_DECODER: usize = 32;

/// Decoded pictures that wait for their time. Decoders in hardware have few more to write to, and stop without them.
const MAX_READY: usize = 6;

/// Frames wait for the decoder longer than this: it does not keep up, in milliseconds.
const LAG_MS: f64 = 700.0;

/// So often within a minute, and where another way may be taken it is.
const MAX_LAGS: u32 = 3;

/// A decoder that fails more often than this without so long a rest in between is given up, in milliseconds.
const MAX_FAILURES: u32 = 2;
const REST_MS: f64 = 30_000.0;

/// Sound whose decoder fails more often than this in an epoch is left out.
const MAX_SOUND_FAILURES: u32 = 3;

/// No picture came out of the decoder for so long: what it keeps back is not waited for any more, in milliseconds.
const KEPT_BACK_MS: f64 = 150.0;

/// A picture that is due within this time is due, in milliseconds: timers are no better.
const EARLY_MS: f64 = 1.0;

/// How quickly smoothed values follow.
const SMOOTH: f64 = 0.05;

/// A frame that waits for the decoder.
#[derive(Clone, Debug)]
struct Unit<P> {
    header: Header,
    presentation_us: i64,
    payload: P,
    bytes: usize,
    arrival_ms: f64,
    /// What has to be told to the decoder before.
    description: Option<Box<Track>>,
}

/// A frame that is with the decoder.
#[derive(Clone, Copy, Debug)]
struct Submitted {
    presentation_us: i64,
    /// When it came, where it was not passed on at once; else nothing.
    kept_ms: Option<f64>,
    history: bool,
}

/// What belongs to one generation of decoders, and what outlives it.
#[derive(Debug)]
pub(super) struct Decoding<P> {
    cadence: Cadence,
    queued: Vec<Unit<P>>,
    queued_bytes: usize,
    submitted: Vec<Submitted>,
    /// Presentation times of decoded pictures, oldest first.
    ready_us: Vec<i64>,
    description: Option<Box<Track>>,
    /// The decoder has no configuration, or another one than it needs.
    outdated: bool,
    needs_key_frame: bool,
    newest_history_us: Option<i64>,
    caught_up: bool,
    decoded_ms: f64,
    /// The picture last given to the screen, and when.
    shown: Option<(i64, f64)>,
    /// From there to where it is seen, in milliseconds.
    screen_ms: f64,
    /// Capture time minus presentation time, in milliseconds.
    capture_line_ms: Option<f64>,
    sound: Sync,
    /// Which track the sound is, and what its decoder has yet to be told.
    sound_description: Option<Box<Track>>,
    sound_failures: u32,
    /// Local time minus media time of what is on the screen, in milliseconds.
    picture_line_ms: Option<f64>,
    decoded: u32,
    dropped: u32,
    failures: u32,
    failed_ms: f64,
    lags: u32,
    lagged_ms: f64,
}

impl<P> Default for Decoding<P> {
    fn default() -> Self {
        Self {
            cadence: Cadence::default(),
            queued: Vec::new(),
            queued_bytes: 0,
            submitted: Vec::new(),
            ready_us: Vec::new(),
            description: None,
            outdated: true,
            needs_key_frame: true,
            newest_history_us: None,
            caught_up: false,
            decoded_ms: 0.0,
            shown: None,
            screen_ms: 0.0,
            capture_line_ms: None,
            sound: Sync::default(),
            sound_description: None,
            sound_failures: 0,
            picture_line_ms: None,
            decoded: 0,
            dropped: 0,
            failures: 0,
            failed_ms: 0.0,
            lags: 0,
            lagged_ms: 0.0,
        }
    }
}

impl<P> Decoding<P> {
    /// The same for other decoders.
    pub(super) fn renewed(self) -> Self {
        Self {
            screen_ms: self.screen_ms,
            failures: self.failures,
            failed_ms: self.failed_ms,
            lags: self.lags,
            lagged_ms: self.lagged_ms,
            ..Self::default()
        }
    }

    /// An epoch begins.
    pub(super) fn on_tracks(&mut self, tracks: &[Track]) {
        self.description = tracks.iter().find(|track| track.is_video()).cloned().map(Box::new);
        self.outdated = true;
        self.needs_key_frame = true;
        self.sound_description = tracks.iter().find(|track| !track.is_video()).cloned().map(Box::new);
    }

    /// How things are, as a media element would tell.
    pub(super) fn facts(&self) -> Facts {
        Facts {
            position_s: self.shown.map_or(0.0, |(us, _)| us as f64 / 1e6),
            moving: self.shown.is_some(),
            total_frames: self.decoded,
            dropped_frames: self.dropped,
            buffered_s: Vec::new(),
        }
    }

    /// Whether a decoded picture waits for its time.
    pub(super) fn waits(&self) -> bool {
        self.caught_up && !self.ready_us.is_empty()
    }

    /// How long pictures are held back for an even cadence, in milliseconds.
    pub(super) fn delay_ms(&self) -> f64 {
        self.cadence.delay_ms()
    }

    /// Bytes that wait for a decoder.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// The presentation time of the picture on the screen, in seconds, by what the browser tells of it. Not every browser
    /// tells the time that the picture was given.
    pub(super) fn shown_s(&mut self, media_time_s: f64, shown_ms: f64) -> f64 {
        let Some((us, at_ms)) = self.shown else { return media_time_s };
        let given_s = us as f64 / 1e6;
        self.screen_ms += ((shown_ms - at_ms).max(0.0) - self.screen_ms) * SMOOTH;
        let shown_s = if (given_s - media_time_s).abs() < 1.0 { media_time_s } else { given_s };
        let line_ms = shown_ms - shown_s * 1e3;
        let before_ms = self.picture_line_ms.unwrap_or(line_ms);
        let jumped = (line_ms - before_ms).abs() > 1e3;
        self.picture_line_ms =
            Some(if jumped { line_ms } else { before_ms + (line_ms - before_ms) * SMOOTH });
        shown_s
    }

    fn drop_queued(&mut self, frames: usize) {
        self.dropped = self.dropped.saturating_add(frames as u32);
        self.queued_bytes -= self.queued.drain(..frames).map(|unit| unit.bytes).sum::<usize>();
    }

    /// Forgets what the decoder had. It begins again with a key frame.
    fn begin_anew(&mut self) {
        self.submitted.clear();
        // Those of an epoch that is over are of no use.
        let key_frame = self.queued.iter().rposition(|unit| unit.header.key_frame).filter(|_| !self.outdated);
        self.outdated = key_frame.is_none();
        self.needs_key_frame = key_frame.is_none();
        self.drop_queued(key_frame.unwrap_or(self.queued.len()));
        if let Some(unit) = self.queued.first_mut() {
            unit.description.clone_from(&self.description);
        }
    }
}

impl<P: Clone> Session<P> {
    fn decoding(&mut self) -> Option<&mut Decoding<P>> {
        self.play.decoding.as_mut()
    }

    /// A media segment came, for a decoder.
    pub(super) fn on_unit(&mut self, track: usize, fragment: Fragment<P>) {
        let Fragment { header, payload, bytes } = fragment;
        if header.kind == Kind::Init {
            return; // its contents came in `tracks`
        }
        let now_ms = self.now_ms;
        let history = self.play.note_arrival(&header, now_ms);
        let ticks_a_second = f64::from(self.play.tracks[track].timescale.max(1));
        let presentation_us = rounded(header.presentation_time_ticks() as f64 * 1e6 / ticks_a_second);
        if !self.play.is_video(track) {
            if !history {
                self.on_sound(track, &header, presentation_us, payload);
            }
            return;
        }
        if self.play.note_picture(track, &header, now_ms)
            && let Some(decoding) = self.decoding()
        {
            decoding.cadence.clear();
            decoding.capture_line_ms = None;
        }
        let Some(decoding) = self.play.decoding.as_mut() else { return };
        if decoding.needs_key_frame && !header.key_frame {
            decoding.dropped = decoding.dropped.saturating_add(1);
            return;
        }
        if history {
            decoding.newest_history_us = decoding.newest_history_us.max(Some(presentation_us));
        } else {
            let line_ms = header.capture_time_us as f64 / 1e3 - presentation_us as f64 / 1e3;
            let before_ms = decoding.capture_line_ms.unwrap_or(line_ms);
            decoding.capture_line_ms = Some(line_ms.min(before_ms + (line_ms - before_ms) * SMOOTH));
        }
        let mut description = None;
        if header.key_frame {
            decoding.needs_key_frame = false;
            if core::mem::take(&mut decoding.outdated) {
                description.clone_from(&decoding.description);
            }
        }
        decoding.queued_bytes += bytes;
        let unit = Unit { header, presentation_us, payload, bytes, arrival_ms: now_ms, description };
        decoding.queued.push(unit);
        if header.key_frame {
            self.skip_to_key_frame();
        } else if decoding.queued_bytes > MAX_WAITING_BYTES {
            decoding.begin_anew();
        }
        self.feed();
        self.show_due();
    }

    /// How long pictures are to wait here, in milliseconds.
    fn wanted_wait_ms(&self) -> f64 {
        let delay_ms = self.play.decoding.as_ref().map_or(0.0, Decoding::delay_ms);
        if let Target::FixedMs(target_ms) = self.config.target { delay_ms.max(target_ms) } else { delay_ms }
    }

    /// A key frame came. A decoder that does not keep up goes on from there.
    fn skip_to_key_frame(&mut self) {
        let (now_ms, wanted_ms) = (self.now_ms, self.wanted_wait_ms());
        let Some(decoding) = self.play.decoding.as_mut() else { return };
        let Some(first) = decoding.queued.first() else { return };
        if now_ms - first.arrival_ms - wanted_ms < LAG_MS {
            return;
        }
        let before = decoding.queued.len() - 1;
        let description = decoding.queued.iter_mut().rev().find_map(|unit| unit.description.take());
        decoding.drop_queued(before);
        if let Some(unit) = decoding.queued.first_mut() {
            unit.description = description;
        }
        decoding.lags = if now_ms - decoding.lagged_ms > 60_000.0 { 1 } else { decoding.lags + 1 };
        decoding.lagged_ms = now_ms;
        self.counters.lags = self.counters.lags.saturating_add(1);
        if decoding.lags >= MAX_LAGS && self.config.renderer == Renderer::Auto {
            self.fall_back("the decoder does not keep up");
        }
    }

    /// Gives the decoder what it may have.
    fn feed(&mut self) {
        let Some(decoding) = self.play.decoding.as_mut() else { return };
        let most = match decoding.ready_us.len() {
            _ if !decoding.caught_up => MAX_IN_DECODER,
            // One more than it has brings out what it keeps back.
            0 => MAX_READY.max(decoding.submitted.len() + 1).min(MAX_IN_DECODER),
            ready => MAX_READY.saturating_sub(ready),
        };
        let room = most.saturating_sub(decoding.submitted.len());
        for unit in decoding.queued.drain(..room.min(decoding.queued.len())) {
            let Unit { header, presentation_us, payload, bytes, arrival_ms, description } = unit;
            decoding.queued_bytes -= bytes;
            if let Some(description) = description {
                self.out.push(Command::Configure { track: 0, description });
            }
            let kept_ms = (self.now_ms > arrival_ms).then_some(arrival_ms);
            let history = decoding.newest_history_us.is_some_and(|newest_us| presentation_us <= newest_us);
            decoding.submitted.push(Submitted { presentation_us, kept_ms, history });
            self.out.push(Command::Decode {
                track: 0,
                key_frame: header.key_frame,
                presentation_us,
                payload,
                payload_offset: header.payload_offset,
            });
        }
    }

    pub(super) fn on_decoded(&mut self, presentation_us: i64) {
        let now_ms = self.now_ms;
        let Some(decoding) = self.play.decoding.as_mut() else {
            return self.out.push(Command::Discard(presentation_us.saturating_add(1)));
        };
        decoding.decoded = decoding.decoded.saturating_add(1);
        decoding.decoded_ms = now_ms;
        let unit = decoding.submitted.iter().find(|unit| unit.presentation_us == presentation_us);
        if let Some(unit) = unit
            && !unit.history
        {
            decoding.cadence.on_picture(presentation_us as f64 / 1e3, unit.kept_ms.unwrap_or(now_ms));
        }
        // Decoders give out in the order of presentation: what is older does not come any more.
        decoding.submitted.retain(|unit| unit.presentation_us > presentation_us);
        if decoding.shown.is_some_and(|(shown_us, _)| presentation_us <= shown_us) {
            decoding.dropped = decoding.dropped.saturating_add(1);
            self.out.push(Command::Discard(presentation_us.saturating_add(1)));
        } else {
            let at = decoding.ready_us.partition_point(|&us| us < presentation_us);
            decoding.ready_us.insert(at, presentation_us);
        }
        self.show_due();
        self.feed();
    }

    /// Time passed. What is shown makes room for what waits for the decoder: a camera that falls silent sends nothing more
    /// that would.
    pub(super) fn on_time(&mut self) {
        self.show_due();
        self.feed();
    }

    /// Shows what is to be seen now, and asks to be woken for what is next.
    fn show_due(&mut self) {
        let (now_ms, offset_ms) = (self.now_ms, self.clock.offset_ms());
        let history_whole = self.play.history_whole;
        let target = self.config.target;
        let paused = !self.wants_play && self.play.is_placed();
        let Some(decoding) = self.play.decoding.as_mut() else { return };
        let Some(&newest_us) = decoding.ready_us.last() else { return };
        if !decoding.caught_up && history_whole {
            // A decoder may keep the newest ones back until more come, and from a camera that stopped none does.
            let all = decoding.newest_history_us.is_none_or(|us| newest_us >= us);
            decoding.caught_up = all || now_ms - decoding.decoded_ms > KEPT_BACK_MS;
            if decoding.caught_up {
                return self.show(newest_us);
            }
        }
        if paused || !decoding.caught_up {
            // The newest one is as good as any before it.
            if decoding.ready_us.len() > 1 {
                decoding.ready_us = vec![newest_us];
                self.out.push(Command::Discard(newest_us));
            }
            return;
        }
        let target_ms = match (target, decoding.capture_line_ms, offset_ms) {
            (Target::FixedMs(target_ms), Some(line_ms), Some(offset_ms)) => {
                Some(line_ms - offset_ms + target_ms - decoding.screen_ms)
            }
            _ => None,
        };
        let heard = !self.config.muted;
        let mut before = decoding.shown.map(|(us, at_ms)| (us as f64 / 1e3, at_ms));
        let mut due_ms = |us: i64| {
            let presentation_ms = us as f64 / 1e3;
            let mut due_ms = decoding.cadence.due_ms(presentation_ms, before);
            before = Some((presentation_ms, due_ms.max(now_ms)));
            due_ms = target_ms.map_or(due_ms, |line_ms| due_ms.max(presentation_ms + line_ms));
            if heard {
                decoding.sound.due_ms(presentation_ms, due_ms, decoding.screen_ms, now_ms)
            } else {
                due_ms
            }
        };
        let (mut due, mut next_ms) = (0_usize, None);
        for wait_ms in decoding.ready_us.iter().map(|&us| due_ms(us) - now_ms) {
            if wait_ms > EARLY_MS {
                next_ms = Some(wait_ms);
                break;
            }
            due += 1;
        }
        if let Some(&us) = due.checked_sub(1).and_then(|last| decoding.ready_us.get(last)) {
            self.show(us);
        }
        if let Some(next_ms) = next_ms {
            self.out.push(Command::WakeIn(next_ms));
        }
    }

    /// Shows a decoded picture, and none of those before it.
    fn show(&mut self, presentation_us: i64) {
        let now_ms = self.now_ms;
        let Some(decoding) = self.play.decoding.as_mut() else { return };
        let before = decoding.ready_us.partition_point(|&us| us < presentation_us);
        if decoding.shown.is_some() {
            decoding.dropped = decoding.dropped.saturating_add(before as u32);
        }
        decoding.ready_us.retain(|&us| us > presentation_us);
        decoding.shown = Some((presentation_us, now_ms));
        self.out.push(Command::Show(presentation_us));
        if self.play.begin() && self.wants_play {
            self.out.push(Command::Play);
        }
    }

    /// Shows the newest picture there is. Whether this way to the screen is the one taken.
    pub(super) fn show_newest(&mut self) -> bool {
        let Some(decoding) = self.decoding() else { return false };
        decoding.cadence.clear();
        if let Some(&newest_us) = decoding.ready_us.last() {
            self.show(newest_us);
        }
        true
    }
}
