//! The picture: which bytes go to which SourceBuffer, where play begins, and how it is kept at the live edge.

mod arrival;
mod care;
mod first_look;
mod playhead;

use sightline_wire::{Header, Track};

use super::decode::Decoding;
use super::{Command, Event, Facts, Notice, Problem, Renderer, Session};
use crate::append::{Failure, History, Queue, Verdict};
use crate::clock::Reading;
use crate::latency::{Controller, SoundClock, Target};
use crate::prelude::*;
use crate::reorder::Reorder;
use crate::stats::{Stats, Window};
use crate::watchdog::Watchdog;
use first_look::FirstLook;
use playhead::Jump;

/// Pictures remembered to find the capture time of the one on the screen.
const MAX_PICTURES: usize = 512;

/// How long after the last fragment the history is taken to be whole, in milliseconds.
const HISTORY_REST_MS: f64 = 200.0;

/// What is called history is none when it has come no faster than it was taken for this long, in milliseconds.
const HISTORY_MAX_MS: f64 = 1_000.0;

/// A step in the timeline that is a gap and not jitter, in seconds.
const GAP_S: f64 = 1.0;

/// A picture that is shown this much before its time, in seconds, was the only one there was: Chromium lets time stand then,
/// and those that come in better time wait until it has come so far. So long is enough, in milliseconds.
const UNTIMED_S: f64 = 0.1;
const UNSEEN_MS: f64 = 60.0;

/// Time between two `stats` notices, in milliseconds.
const STATS_EVERY_MS: f64 = 1_000.0;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Nothing is to be seen yet: history is on its way.
    Filling,
    /// The place to begin at is chosen; the first picture is being decoded.
    Placed,
    /// A picture was seen.
    Playing,
}

#[derive(Clone, Copy, Debug)]
struct Picture {
    presentation_s: f64,
    capture_us: i64,
    arrival_ms: f64,
}

/// What belongs to one MediaSource, and what outlives it for the figures.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states of one thing")]
pub(super) struct Playback<P> {
    pub(super) controller: Controller,
    pub(super) queues: Vec<Queue<P>>,
    pub(super) reorder: Reorder<P>,
    pub(super) bits: Window,
    pub(super) ticked_ms: f64,
    /// The way to the screen by decoders, where that is taken. Queues are empty then.
    pub(super) decoding: Option<Decoding<P>>,
    generation: u32,
    source_open: bool,
    buffers_added: bool,
    epoch: u32,
    pub(super) tracks: Vec<Track>,
    catch_up_sequence: Option<u32>,
    pub(super) history_whole: bool,
    /// When it was last looked how fast history comes, and the newest presentation time then, in seconds.
    looked: Option<(f64, f64)>,
    history: History,
    phase: Phase,
    first_look: FirstLook,
    newest_s: Option<f64>,
    in_flight_s: Option<f64>,
    appended_s: Option<f64>,
    arrived_ms: f64,
    /// The expected time between two pictures, and how far the newest two are apart, in milliseconds.
    frame_ms: f64,
    apart_ms: f64,
    /// Decode time of the newest picture, in seconds.
    decode_s: Option<f64>,
    pictures: Vec<Picture>,
    watchdog: Watchdog,
    stalled: bool,
    facts: Facts,
    first_frame_ms: Option<f64>,
    shown_ms: Option<f64>,
    /// The newest picture that was shown, by its presentation time.
    shown_s: Option<f64>,
    /// While a jump is made. Browsers show pictures on the way that are older than what was seen; Chromium each whose
    /// declared duration reaches to where it goes.
    jumping: Option<Jump>,
    /// When the playhead was last moved.
    moved_ms: f64,
    /// When to forget what was measured while the page was starting.
    measure_anew_ms: Option<f64>,
    latency: Window,
    wait: Window,
    gaps: Window,
    stats_in_ms: f64,
}

impl<P: Clone> Playback<P> {
    pub(super) fn new(target: Target, sound_clock: SoundClock) -> Self {
        Self {
            controller: Controller::new(target, sound_clock),
            queues: Vec::new(),
            reorder: Reorder::default(),
            bits: Window::default(),
            ticked_ms: 0.0,
            decoding: None,
            generation: 0,
            source_open: false,
            buffers_added: false,
            epoch: 0,
            tracks: Vec::new(),
            catch_up_sequence: None,
            history_whole: false,
            looked: None,
            history: History::default(),
            phase: Phase::Filling,
            first_look: FirstLook::default(),
            newest_s: None,
            in_flight_s: None,
            appended_s: None,
            arrived_ms: 0.0,
            frame_ms: 40.0,
            apart_ms: 0.0,
            decode_s: None,
            pictures: Vec::new(),
            watchdog: Watchdog::default(),
            stalled: false,
            facts: Facts::default(),
            first_frame_ms: None,
            shown_ms: None,
            shown_s: None,
            jumping: None,
            moved_ms: 0.0,
            measure_anew_ms: None,
            latency: Window::default(),
            wait: Window::default(),
            gaps: Window::default(),
            stats_in_ms: STATS_EVERY_MS,
        }
    }

    /// The same by this way to the screen.
    pub(super) fn by(self, renderer: Renderer) -> Self {
        Self { decoding: (renderer != Renderer::Mse).then(Decoding::default), ..self }
    }

    pub(super) fn is_placed(&self) -> bool {
        self.phase != Phase::Filling
    }

    pub(super) fn is_playing(&self) -> bool {
        self.phase == Phase::Playing
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The expected time between two pictures, in milliseconds.
    pub(super) fn frame_ms(&self) -> f64 {
        self.frame_ms
    }

    pub(super) fn has_media(&self) -> bool {
        self.buffers_added
    }

    pub(super) fn has_audio(&self) -> bool {
        self.tracks.iter().any(|track| !track.is_video())
    }

    pub(super) fn is_video(&self, track: usize) -> bool {
        self.tracks.get(track).is_some_and(Track::is_video)
    }

    pub(super) fn track_of(&self, index: u8) -> Option<usize> {
        self.tracks.iter().position(|track| track.index == index)
    }

    /// Whether the `SourceBuffer`s that are there can take these tracks. From one coding to another a browser makes a new
    /// decoder: Firefox shows black meanwhile, so that is done behind the picture that is held.
    pub(super) fn fits(&self, tracks: &[Track]) -> bool {
        if self.decoding.is_some() {
            return true; // the last picture stays where it is
        }
        let coding = |track: &Track| track.codec.as_bytes().first_chunk::<4>().copied();
        self.tracks.len() == tracks.len()
            && self.tracks.iter().zip(tracks).all(|(old, new)| coding(old) == coding(new))
    }

    /// Where play should begin: at the newest picture, or as far behind it as its sound needs.
    fn first_s(&self) -> Option<f64> {
        let newest_s = self.appended_s?;
        let begins_s = self.history.begins_s().unwrap_or(newest_s);
        Some((newest_s - self.controller.first_wait_s()).max(begins_s).min(newest_s))
    }

    /// Whether pictures wait behind one that was shown before its time.
    fn leaves_unseen(&self, position_s: Option<f64>, now_ms: f64) -> bool {
        let position_s = position_s.unwrap_or(self.facts.position_s);
        let Some(shown_s) = self.shown_s.filter(|shown_s| *shown_s > position_s + UNTIMED_S) else {
            return false;
        };
        let unseen = self.pictures.iter().find(|picture| picture.presentation_s > shown_s + 0.002);
        self.jumping.is_none() && unseen.is_some_and(|picture| now_ms - picture.arrival_ms > UNSEEN_MS)
    }

    /// A server that names the end of history wrongly would let us wait for ever.
    fn is_no_history(&mut self, now_ms: f64) -> bool {
        let (Some((from_ms, from_s)), Some(newest_s)) = (self.looked, self.newest_s) else { return false };
        let passed_ms = now_ms - from_ms;
        if self.catch_up_sequence.is_none() || passed_ms <= HISTORY_MAX_MS {
            return false;
        }
        self.looked = Some((now_ms, newest_s));
        (newest_s - from_s) * 1e3 < passed_ms * 2.5
    }

    /// An epoch begins. Returns the command that adds `SourceBuffer`s, if they can and must be added now.
    pub(super) fn on_tracks<Q>(
        &mut self,
        epoch: u32,
        catch_up_sequence: Option<u32>,
        tracks: Vec<Track>,
    ) -> Option<Command<Q>> {
        self.epoch = epoch;
        self.reorder.clear();
        if let Some(decoding) = &mut self.decoding {
            decoding.on_tracks(&tracks);
            if !core::mem::replace(&mut self.buffers_added, true) {
                self.catch_up_sequence = catch_up_sequence;
                self.history_whole = catch_up_sequence.is_none();
            }
            self.tracks = tracks;
            return None;
        }
        if self.buffers_added {
            for (queue, (old, new)) in self.queues.iter_mut().zip(self.tracks.iter().zip(&tracks)) {
                if old.codec != new.codec {
                    queue.change_type(new.mime());
                }
            }
            self.controller.on_gap();
        } else {
            self.queues = tracks.iter().map(|_| Queue::default()).collect();
            self.catch_up_sequence = catch_up_sequence;
            self.history_whole = catch_up_sequence.is_none();
        }
        self.tracks = tracks;
        self.controller.set_sound(self.has_audio());
        self.add_buffers()
    }

    fn add_buffers<Q>(&mut self) -> Option<Command<Q>> {
        if self.buffers_added || !self.source_open || self.tracks.is_empty() {
            return None;
        }
        self.buffers_added = true;
        Some(Command::AddBuffers(self.tracks.iter().map(Track::mime).collect()))
    }

    /// Everything of the present MediaSource is void.
    fn forget(&mut self) {
        let old = core::mem::replace(self, Self::new(Target::Auto, SoundClock::Samples));
        self.controller = old.controller;
        self.controller.restart();
        self.bits = old.bits;
        self.ticked_ms = old.ticked_ms;
        self.decoding = old.decoding.map(Decoding::renewed);
        self.generation = old.generation.wrapping_add(1); // what is still on its way does not count
        self.watchdog = old.watchdog;
        self.watchdog.on_rebuilt();
        self.first_frame_ms = old.first_frame_ms;
        self.shown_ms = old.shown_ms;
        self.gaps = old.gaps;
        self.stats_in_ms = old.stats_in_ms;
    }

    pub(super) fn stats(&self, now_ms: f64, clock: Reading) -> Stats {
        let (width, height) = self
            .tracks
            .iter()
            .find_map(|track| match track.media {
                sightline_wire::Media::Video { width, height } => Some((width, height)),
                sightline_wire::Media::Audio { .. } => None,
            })
            .unwrap_or_default();
        let renderer = if self.decoding.is_some() { Renderer::WebCodecs } else { Renderer::Mse };
        Stats {
            renderer: renderer.name(),
            latency_ms: self.latency.percentile(0.5),
            latency_p95_ms: self.latency.percentile(0.95),
            player_latency_ms: self.wait.percentile(0.5),
            margin_ms: self.decoding.as_ref().map_or_else(|| self.controller.margin_ms(), Decoding::delay_ms),
            behind_ms: self.controller.behind_ms(clock.offset_ms()),
            rate: self.controller.rate(),
            round_trip_ms: clock.round_trip_ms(),
            clock_offset_ms: clock.offset_ms(),
            bits_per_second: self.bits.per_second(now_ms),
            frames_per_second: self.gaps.mean().map_or(0.0, |gap_ms| 1e3 / gap_ms.max(1.0)),
            total_frames: self.facts.total_frames,
            dropped_frames: self.facts.dropped_frames,
            longest_freeze_ms: self.gaps.percentile(1.0),
            first_frame_ms: self.first_frame_ms,
            codecs: self.tracks.iter().map(|track| track.codec.clone()).collect(),
            width,
            height,
            epoch: self.epoch,
            waiting_bytes: self.queues.iter().map(Queue::waiting_bytes).sum::<usize>()
                + self.decoding.as_ref().map_or(0, Decoding::queued_bytes),
            ..Stats::default()
        }
    }
}

impl<P: Clone> Session<P> {
    /// Keeps the last picture on the screen and lets go of its MediaSource.
    pub(super) fn hold_and_forget(&mut self) {
        if self.play.is_playing() {
            self.notify(Notice::Hold(true));
        }
        // What decoders have shown stays on the screen.
        if (self.play.source_open || self.play.has_media()) && self.play.decoding.is_none() {
            self.out.push(Command::CloseSource);
        }
        self.has_source = false;
        self.play.forget();
    }

    pub(super) fn open_source(&mut self) {
        self.play.generation = self.play.generation.wrapping_add(1);
        self.play.source_open = false;
        self.has_source = true;
        let generation = self.play.generation;
        self.out.push(if self.play.decoding.is_some() {
            Command::OpenDecoders { generation }
        } else {
            Command::OpenSource { generation }
        });
    }

    pub(super) fn on_media_event(&mut self, event: Event<P>) {
        match event {
            Event::SourceOpen { generation } if generation == self.play.generation => {
                self.play.source_open = true;
                let buffers = self.play.add_buffers();
                self.out.extend(buffers);
                for track in 0..self.play.queues.len() {
                    self.operate(track);
                }
            }
            Event::SourceFailed { generation, reason } if generation == self.play.generation => {
                self.notify(Notice::Error(Problem {
                    code: "media_failed".into(),
                    message: reason.clone(),
                    fatal: false,
                    retryable: true,
                }));
                self.rebuild(&reason, 0.5);
            }
            Event::CodecRefused { generation, mime } if generation == self.play.generation => {
                if self.play.decoding.is_some() {
                    return self.fall_back("this browser has no decoder for it in WebCodecs");
                }
                // Searching a `str` brings 5 KB of searcher with it.
                let has = |code: &[u8]| mime.as_bytes().windows(4).any(|window| window == code);
                let name = if has(b"hvc1") || has(b"hev1") { "H.265" } else { &mime };
                self.stop("unsupported_codec", ["this browser cannot decode ", name].concat());
            }
            Event::OperationDone { generation, track } if generation == self.play.generation => {
                let Some(queue) = self.play.queues.get_mut(track) else { return };
                if queue.done() > 0 {
                    self.counters.appends = self.counters.appends.saturating_add(1);
                    if track == 0 {
                        self.play.appended_s = self.play.in_flight_s;
                    }
                }
                self.place();
                self.operate(track);
            }
            Event::OperationFailed { generation, track, failure, position_s }
                if generation == self.play.generation =>
            {
                if failure == Failure::Quota {
                    self.counters.quota_exceeded += 1;
                }
                let cut_s = self.play.history.evict(position_s);
                let verdict = self.play.queues.get_mut(track).map(|queue| queue.failed(failure, cut_s));
                match verdict {
                    Some(Verdict::Retry) => self.operate(track),
                    Some(Verdict::Rebuild) => self.rebuild("the browser refused the bytes", 0.5),
                    None => {}
                }
            }
            Event::Decoded { generation, presentation_us } if generation == self.play.generation => {
                self.on_decoded(presentation_us);
            }
            // A picture of decoders that are not there any more.
            Event::Decoded { presentation_us, .. } => self.out.push(Command::Discard(presentation_us + 1)),
            Event::DecoderFailed { generation, track, reason } if generation == self.play.generation => {
                self.on_decoder_failed(track, &reason);
            }
            Event::Heard(report) => self.on_heard(&report),
            Event::Woken => self.on_time(),
            Event::FrameShown { media_time_s, shown_ms, seeking } => {
                self.on_frame_shown(media_time_s, shown_ms, seeking);
            }
            Event::SeekToLive => self.seek_to_live(),
            _ => {}
        }
    }

    /// Gives a SourceBuffer what waits for it, if it is free.
    pub(super) fn operate(&mut self, track: usize) {
        if !self.play.buffers_added {
            return;
        }
        if let Some(operation) = self.play.queues.get_mut(track).and_then(Queue::next_operation) {
            if track == 0 {
                self.play.in_flight_s = self.play.newest_s;
            }
            self.out.push(Command::Operate { track, operation });
        }
    }

    /// A media segment was queued.
    pub(super) fn on_media(&mut self, track: usize, header: &Header, position_s: Option<f64>) {
        let now_ms = self.now_ms;
        let play = &mut self.play;
        let timescale = f64::from(play.tracks[track].timescale.max(1));
        let presentation_s = header.presentation_time_ticks() as f64 / timescale;
        let history = play.note_arrival(header, now_ms);
        if !play.tracks[track].is_video() {
            if !history {
                let duration_s = f64::from(header.duration_ticks) / timescale;
                play.controller.on_audio(presentation_s, duration_s, now_ms);
            }
            return;
        }
        play.note_picture(track, header, now_ms);
        play.history.on_video(presentation_s, header.key_frame);
        if history && header.key_frame {
            self.take_first_look(presentation_s, header);
        }
        let play = &mut self.play;
        if !history {
            play.controller.on_video(presentation_s, header.capture_time_us, play.apart_ms, now_ms);
            // Whoever says that there are no pictures, and sends them, is wrong in one of the two.
            if self.trouble.as_ref().is_some_and(|trouble| trouble.state == "offline") {
                self.trouble = None;
            }
        }
        if play.phase == Phase::Playing {
            if play.leaves_unseen(position_s, now_ms) && self.config.sound_clock.counts_samples() {
                return self.seek_to_live();
            }
            self.steer(position_s);
        }
    }

    /// Chooses where play begins: once, at the newest picture, when everything up to it is appended.
    fn place(&mut self) {
        let play = &mut self.play;
        if play.decoding.is_some()
            || play.phase != Phase::Filling
            || !play.history_whole
            || play.is_looking(self.now_ms)
            || play.newest_s > play.appended_s
        {
            return;
        }
        // Before all init segments are taken there is nothing to seek in: Firefox then begins at the oldest picture.
        if play.queues.iter().any(|queue| !queue.has_appended()) {
            return;
        }
        let Some(first_s) = play.first_s() else { return };
        play.phase = Phase::Placed;
        self.move_to(first_s);
        if self.wants_play {
            self.out.push(Command::Play);
        }
    }
}
