//! What the server says of our stream, and what follows from it.
//!
//! Invariant: nothing the server sends ends the session but a fatal error; what is not understood is counted.

use sightline_wire::{ErrorCode, Header, Kind, ServerMessage, Track};

use crate::prelude::*;
use crate::reorder::Fragment;

use super::{ASK_AGAIN_MS, Notice, Problem, Session, State};

impl<P: Clone> Session<P> {
    pub(super) fn on_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Subscribed { .. } => {
                self.subscribed = true;
                self.quality.clear();
                self.starved_ms = 0.0;
                self.trouble = None;
            }
            ServerMessage::Tracks { epoch, catch_up_sequence, tracks, .. } => {
                self.on_tracks(epoch, catch_up_sequence, tracks);
            }
            ServerMessage::Online { .. } => self.trouble = None,
            ServerMessage::Offline { since_time_us, code, reason, .. } => {
                // A camera that is being connected to for the first time is not "offline since now".
                let state = if code == "connecting" { "connecting" } else { "offline" };
                self.trouble = Some(State { state, code, reason, since_us: Some(since_time_us) });
            }
            ServerMessage::Dropped { frames, .. } => {
                self.counters.server_dropped_frames =
                    self.counters.server_dropped_frames.saturating_add(frames);
                self.play.controller.on_left_out(self.now_ms);
            }
            // The tracks that follow say all there is to do.
            ServerMessage::Switched { quality, .. } => self.quality = quality,
            ServerMessage::Error { code, message, retryable, .. } => self.on_error(code, message, retryable),
            // These are the link's.
            ServerMessage::Welcome { .. }
            | ServerMessage::Pong { .. }
            | ServerMessage::Unsubscribed { .. } => {}
        }
    }

    fn on_error(&mut self, code: ErrorCode, message: String, retryable: bool) {
        let name = crate::message::error_name(code);
        match code {
            ErrorCode::UnsupportedVersion | ErrorCode::UnsupportedCodec => return self.stop(name, message),
            ErrorCode::UnknownStream | ErrorCode::TooMany => {
                // Somebody may add the stream, or leave: ask again, for as long as it takes.
                self.subscribed = false;
                self.ask_again_in_ms = Some(ASK_AGAIN_MS);
                let told = self.trouble.as_ref().is_some_and(|trouble| trouble.code == name);
                self.trouble = Some(State {
                    state: "error",
                    code: name.into(),
                    reason: message.clone(),
                    since_us: None,
                });
                if told {
                    return;
                }
            }
            _ => {}
        }
        self.notify(Notice::Error(Problem { code: name.into(), message, fatal: false, retryable }));
    }

    fn on_tracks(&mut self, epoch: u32, catch_up_sequence: Option<u32>, tracks: Vec<Track>) {
        let (mut tracks, sound): (Vec<_>, Vec<_>) = tracks.into_iter().partition(Track::is_video);
        tracks.extend(sound);
        if !self.play.fits(&tracks) && self.play.has_media() {
            self.hold_and_forget();
            self.open_source();
        }
        let buffers = self.play.on_tracks(epoch, catch_up_sequence, tracks);
        self.out.extend(buffers);
    }

    pub(super) fn on_fragment(&mut self, header: &Header, payload: P, bytes: usize, position_s: Option<f64>) {
        self.counters.bytes += bytes as f64;
        self.counters.fragments = self.counters.fragments.saturating_add(1);
        if !self.subscribed || header.epoch != self.play.epoch() {
            self.strange = true;
            return;
        }
        self.starved_ms = 0.0;
        self.strange = false;
        let Some(track) = self.play.track_of(header.track) else { return };
        self.play.bits.push(bytes as f64 * 8.0, self.now_ms);
        let fragment = Fragment { header: *header, payload, bytes };
        if self.play.decoding.is_some() {
            return self.on_unit(track, fragment);
        }
        let is_picture = header.kind == Kind::Media && self.play.is_video(track);
        let ready = if self.config.whole_groups && is_picture {
            self.play.reorder.push(fragment)
        } else {
            vec![fragment]
        };
        for Fragment { header, payload, bytes } in ready {
            if !self.play.queues[track].push(payload, bytes) {
                return self.rebuild("the browser does not take the bytes", 0.5);
            }
            if header.kind == Kind::Media {
                self.on_media(track, &header, position_s);
            }
        }
        self.operate(track);
    }
}
