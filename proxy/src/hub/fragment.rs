//! One frame as every viewer gets it, in two parts that lie in memory as they are sent.
//!
//! In front of the frame's own bytes stands its head: the head of a WebSocket frame, this protocol's header, `moof` and the
//! header of `mdat`. PURE. Invariant: the frame's own bytes are those that ingest gave, at their place in memory.

use std::{sync::Arc, time::Instant};

use bytes::{BufMut as _, Bytes};
use sightline_wire::{FRAME_HEAD_MAX, HEADER_LEN, Header, frame_head};

use crate::mux::fragment::{OVERHEAD, Sample, write_head};

/// The longest head, in bytes.
const HEAD_MAX: usize = FRAME_HEAD_MAX + HEADER_LEN + OVERHEAD;

/// What stands in front of a picture that is no beginning to every browser.
#[derive(Clone, Debug)]
pub(super) struct LeadIn {
    /// In the order in which they are decoded.
    pub(super) fragments: Vec<Arc<Fragment>>,
    /// So many pictures after the one they stand in front of, one is whole.
    pub(super) whole_after: u32,
}

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
    /// Decoding can begin with it, behind its lead-in where it has one.
    pub is_entry: bool,
    /// Goes in front of it where decoding begins with it, or goes on behind a gap.
    pub(super) lead_in: Option<LeadIn>,
    /// What came right before it was not passed on.
    pub(super) follows_gap: bool,
    head: [u8; HEAD_MAX],
    head_len: u8,
    payload: Bytes,
}

impl Fragment {
    /// Packs a frame's bytes, in time as `header` says. One with a lead-in is no key frame to players: Chromium cannot cut its
    /// buffer there. To the container it is one if it is whole at once: Firefox can.
    pub(super) fn new(
        header: Header,
        lead_in: Option<LeadIn>,
        declared_duration_ticks: u32,
        payload: Bytes,
        pts_us: i64,
        received: Instant,
    ) -> Self {
        let is_entry = header.key_frame;
        let header = Header { key_frame: is_entry && lead_in.is_none(), ..header };
        let sample = Sample {
            sequence: header.sequence,
            decode_time_ticks: header.decode_time_ticks,
            composition_offset_ticks: header.composition_offset_ticks,
            declared_duration_ticks,
            key_frame: is_entry && lead_in.as_ref().is_none_or(|lead_in| lead_in.whole_after == 0),
        };
        let (frame, frame_len) = frame_head(HEADER_LEN + OVERHEAD + payload.len());
        let mut head = [0; HEAD_MAX];
        let mut rest = &mut head[..];
        rest.put_slice(&frame[..frame_len]);
        rest.put_slice(&header.encode());
        write_head(&mut rest, &sample, payload.len() as u32);
        let head_len = (HEAD_MAX - rest.len()) as u8;
        Self {
            header,
            pts_us,
            video_number: 0,
            video: false,
            received,
            is_entry,
            lead_in,
            follows_gap: false,
            head,
            head_len,
            payload,
        }
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

    /// So many pictures after it, one is whole where decoding begins with it.
    pub(super) fn whole_after(&self) -> u32 {
        self.lead_in.as_ref().map_or(0, |lead_in| lead_in.whole_after)
    }

    /// Bytes of what is held with it.
    pub(super) fn held_len(&self) -> usize {
        let lead_in = self.lead_in.iter().flat_map(|lead_in| &lead_in.fragments);
        self.len() + lead_in.map(|fragment| size_of::<Self>() + fragment.payload.len()).sum::<usize>()
    }

    /// Bytes of all parts.
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        usize::from(self.head_len) + self.payload.len()
    }
}
