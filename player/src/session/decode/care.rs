//! Sound by way of decoders, and what a decoder that fails leads to.
//!
//! Invariant: no trouble with sound stops the picture, and a decoder that goes on failing is not tried for ever.

use sightline_wire::Header;

use super::super::{Command, Notice, Problem, Renderer, Session};
use super::{MAX_FAILURES, MAX_SOUND_FAILURES, REST_MS};
use crate::prelude::*;
use crate::sound::Report;

impl<P: Clone> Session<P> {
    /// A packet of live sound came.
    pub(super) fn on_sound(&mut self, track: usize, header: &Header, presentation_us: i64, payload: P) {
        // What is not heard is not decoded.
        let Some(decoding) = self.play.decoding.as_mut().filter(|_| !self.config.muted && self.wants_play)
        else {
            return;
        };
        if decoding.sound_failures > MAX_SOUND_FAILURES {
            return;
        }
        if let Some(description) = decoding.sound_description.take() {
            self.out.push(Command::Configure { track, description });
        }
        let payload_offset = header.payload_offset;
        self.out.push(Command::Decode { track, key_frame: true, presentation_us, payload, payload_offset });
    }

    /// The sound went on.
    pub(in super::super) fn on_heard(&mut self, report: &Report) {
        let now_ms = self.now_ms;
        // What is not fed runs dry.
        let Some(decoding) = self.play.decoding.as_mut().filter(|_| !self.config.muted && self.wants_play)
        else {
            return;
        };
        // Only where the picture waits for something else than the sound, the sound waits for it.
        let correction = decoding.sound.on_report(report, decoding.picture_line_ms, now_ms);
        if report.dry {
            self.counters.sound_gaps = self.counters.sound_gaps.saturating_add(1);
        }
        self.out.push(Command::Sound(correction));
    }

    pub(in super::super) fn on_decoder_failed(&mut self, track: usize, reason: &str) {
        let now_ms = self.now_ms;
        self.counters.decoder_errors = self.counters.decoder_errors.saturating_add(1);
        self.reasons.push("decoder", reason);
        self.notify(Notice::Error(Problem {
            code: "decoder_failed".into(),
            message: reason.to_owned(),
            fatal: false,
            retryable: true,
        }));
        if track > 0 {
            // The picture goes on. The next packet may be whole.
            if let Some(track) = self.play.tracks.get(track).cloned()
                && let Some(decoding) = self.decoding()
            {
                decoding.sound_failures += 1;
                if decoding.sound_failures <= MAX_SOUND_FAILURES {
                    decoding.sound_description = Some(Box::new(track));
                }
            }
            return;
        }
        self.decoder_trouble(reason, now_ms);
    }

    /// The decoder gives no pictures. Once may be a broken frame on its way here: the server has it whole. Again, and the
    /// camera sent it so: the next key frame ends it. Yet again, and it is the decoder.
    pub(in super::super) fn decoder_trouble(&mut self, reason: &str, now_ms: f64) {
        let Some(decoding) = self.decoding() else { return };
        let rested = now_ms - decoding.failed_ms > REST_MS;
        decoding.failures = if rested { 1 } else { decoding.failures + 1 };
        decoding.failed_ms = now_ms;
        if decoding.failures > MAX_FAILURES {
            self.fall_back(reason);
        } else if decoding.failures > 1 {
            decoding.begin_anew();
            self.feed();
        } else if self.is_asked() {
            self.counters.rebuilds = self.counters.rebuilds.saturating_add(1);
            self.reasons.push("rebuild", reason);
            self.begin_anew();
        } else {
            self.hold_and_forget();
        }
    }

    /// Takes the way that every browser has.
    pub(in super::super) fn fall_back(&mut self, reason: &str) {
        if self.play.is_playing() {
            self.notify(Notice::Hold(true));
        }
        self.reasons.push("renderer", reason);
        self.out.push(Command::CloseSource);
        self.play.decoding = None;
        self.hold_and_forget();
        self.notify(Notice::Renderer(Renderer::Mse, reason.to_owned()));
        if self.is_asked() {
            self.subscribe();
        }
    }
}
