//! From tags, as they come in, to the events of a session.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;

use super::flv::{Demuxer, Kind, Output};
use crate::{
    hub::{Fault, unix_time_us},
    ingest::Event,
};

/// The tags of one publisher, and the events that wait to be taken.
#[derive(Debug, Default)]
pub(super) struct Tags {
    demuxer: Demuxer,
    outputs: Vec<Output>,
    waiting: VecDeque<Event>,
}

impl Tags {
    /// The next event, if one waits.
    pub(super) fn next(&mut self) -> Option<Event> {
        self.waiting.pop_front()
    }

    /// Lets an event wait behind the others.
    pub(super) fn push(&mut self, event: Event) {
        self.waiting.push_back(event);
    }

    /// Takes a tag whose last byte came in at `received`.
    pub(super) fn take(
        &mut self,
        kind: Kind,
        time_ms: u32,
        payload: Bytes,
        received: Instant,
    ) -> Result<(), Fault> {
        // RTMP says nothing of a wall clock: a frame counts as captured when it arrived.
        let age_us = i64::try_from(received.elapsed().as_micros()).unwrap_or(0);
        self.demuxer
            .tag(kind, time_ms, unix_time_us() - age_us, payload, &mut self.outputs)
            .map_err(|error| Fault { code: "unsupported", reason: error.to_string() })?;
        self.waiting.extend(self.outputs.drain(..).map(|output| match output {
            Output::Tracks(tracks) => Event::Tracks(tracks),
            Output::Frame(frame) => Event::Frame(frame, received),
            Output::Warning(code, message) => Event::Warning(code, message),
        }));
        Ok(())
    }
}
