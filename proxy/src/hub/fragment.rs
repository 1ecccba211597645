//! One frame as every viewer gets it, in two parts that lie in memory as they are sent.
//!
//! In front of the frame's own bytes stands its head: the head of a WebSocket frame, this protocol's header, `moof` and the
//! header of `mdat`. PURE. Invariant: the frame's own bytes are those that ingest gave, at their place in memory.

use std::time::Instant;

use bytes::{BufMut as _, Bytes};
use sightline_wire::{FRAME_HEAD_MAX, HEADER_LEN, Header, frame_head};

use crate::mux::fragment::{OVERHEAD, Sample, write_head};

/// The longest head, in bytes.
const HEAD_MAX: usize = FRAME_HEAD_MAX + HEADER_LEN + OVERHEAD;

/// One frame as every viewer gets it.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// What the message's header says.
    pub header: Header,
    /// Presentation time on the stream's timeline, in microseconds.
    pub pts_us: i64,
    /// How many frames of video the stream had before this fragment.
    pub video_number: u64,
    /// Whether it is a frame of video.
    pub video: bool,
    /// When its last packet came in.
    pub received: Instant,
    head: [u8; HEAD_MAX],
    head_len: u8,
    payload: Bytes,
}

impl Fragment {
    /// Packs a frame's bytes, in time as `header` says.
    pub(super) fn new(
        header: Header,
        declared_duration_ticks: u32,
        payload: Bytes,
        pts_us: i64,
        received: Instant,
    ) -> Self {
        let sample = Sample {
            sequence: header.sequence,
            decode_time_ticks: header.decode_time_ticks,
            composition_offset_ticks: header.composition_offset_ticks,
            declared_duration_ticks,
            key_frame: header.key_frame,
        };
        let (frame, frame_len) = frame_head(HEADER_LEN + OVERHEAD + payload.len());
        let mut head = [0; HEAD_MAX];
        let mut rest = &mut head[..];
        rest.put_slice(&frame[..frame_len]);
        rest.put_slice(&header.encode());
        write_head(&mut rest, &sample, payload.len() as u32);
        let head_len = (HEAD_MAX - rest.len()) as u8;
        Self { header, pts_us, video_number: 0, video: false, received, head, head_len, payload }
    }

    /// Makes it a frame of video before which the stream had `number` others.
    pub(super) fn of_video(self, video: bool, video_number: u64) -> Self {
        Self { video_number, video, ..self }
    }

    /// The WebSocket frame, whole, in the parts in which it lies in memory.
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.head[..usize::from(self.head_len)], &self.payload]
    }

    /// The frame's own bytes, as ingest gave them.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Bytes of all parts.
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        usize::from(self.head_len) + self.payload.len()
    }
}
