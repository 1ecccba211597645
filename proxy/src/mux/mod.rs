//! Frames into fragmented MP4 (ISO/IEC 14496-12): one init segment a track, one media segment a frame.
//!
//! PURE. What belongs here: boxes, and where a frame stands on the stream's timeline. What does not: who gets the
//! bytes, and when.

mod entry;
pub mod fragment;
pub mod init;
pub mod timeline;

/// The `track_ID` of every segment: each track has a `SourceBuffer`, and so a file, of its own.
pub const TRACK_ID: u32 = 1;
