//! What an encoder sends by RTMP, recorded: the tags of a real encode, to be sent again by a program of ours.

use std::process::Command;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

/// The message type of a tag, and its kind in a file.
pub const AUDIO: u8 = 8;
/// See [`AUDIO`].
pub const VIDEO: u8 = 9;
/// See [`AUDIO`]: `onMetaData`.
pub const SCRIPT: u8 = 18;

/// One tag.
#[derive(Clone, Debug)]
pub struct Tag {
    /// [`AUDIO`], [`VIDEO`] or [`SCRIPT`].
    pub kind: u8,
    /// Its time in milliseconds (of pictures: when to decode them).
    pub time_ms: u32,
    /// What RTMP sends.
    pub payload: Bytes,
}

impl Tag {
    /// Whether it holds no media but says how what follows is coded.
    pub fn is_sequence_header(&self) -> bool {
        match (self.kind, &self.payload[..]) {
            // Enhanced RTMP says it in the packet type.
            (AUDIO, [head, ..]) if head >> 4 == 9 => head & 15 == 0,
            (VIDEO, [head, ..]) if head & 0x80 != 0 => head & 15 == 0,
            (AUDIO, [head, 0, ..]) => head >> 4 == 10,
            (VIDEO, [head, 0, ..]) => matches!(head & 15, 7 | 12),
            _ => false,
        }
    }

    /// Whether it holds a picture.
    pub fn is_picture(&self) -> bool {
        match (self.kind, &self.payload[..]) {
            (VIDEO, [head, ..]) if head & 0x80 != 0 => matches!(head & 15, 1 | 3),
            (VIDEO, [head, 1, ..]) => matches!(head & 15, 7 | 12),
            _ => false,
        }
    }
}

/// Some seconds of an encoder, which may be repeated without a seam.
#[derive(Clone, Debug)]
pub struct Clip {
    /// All its tags.
    pub tags: Vec<Tag>,
    /// Its length in milliseconds.
    pub duration_ms: u32,
}

impl Clip {
    /// Has ffmpeg encode `seconds` of a moving picture of 25 frames a second, with a key frame every 2 s.
    pub fn encode(seconds: u32, kbps: u32, size: (u32, u32), audio: bool) -> Result<Self> {
        let picture = format!("testsrc2=size={}x{}:rate=25,noise=alls=12:allf=t", size.0, size.1);
        let rate = format!("{kbps}k");
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-f", "lavfi", "-i", &picture]);
        if audio {
            command.args(["-f", "lavfi", "-i", "sine=sample_rate=48000", "-c:a", "aac", "-b:a", "96k"]);
        }
        command.args(["-t", &seconds.to_string(), "-c:v", "libx264", "-preset", "ultrafast"]);
        command.args(["-tune", "zerolatency", "-b:v", &rate, "-minrate", &rate, "-maxrate", &rate]);
        command.args(["-bufsize", &format!("{}k", kbps / 2), "-g", "50", "-pix_fmt", "yuv420p"]);
        command.args(["-x264-params", "sliced-threads=0:scenecut=0", "-f", "flv", "-"]);
        let out = command.output().context("cannot run ffmpeg")?;
        ensure!(out.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&out.stderr));
        Ok(Self { tags: read(&Bytes::from(out.stdout))?, duration_ms: seconds * 1000 })
    }

    /// A small one with sound, encoded once for all tests of a program.
    pub fn small() -> Arc<Self> {
        static SMALL: OnceLock<Arc<Clip>> = OnceLock::new();
        let encode = || Arc::new(Self::encode(4, 400, (320, 180), true).expect("ffmpeg encodes"));
        Arc::clone(SMALL.get_or_init(encode))
    }

    /// Its tags again and again, with times that go on; metadata and sequence headers only once.
    pub fn looped(&self) -> impl Iterator<Item = Tag> + '_ {
        (0u32..).flat_map(move |round| {
            let again = self
                .tags
                .iter()
                .filter(move |tag| round == 0 || (tag.kind != SCRIPT && !tag.is_sequence_header()));
            again.map(move |tag| Tag { time_ms: tag.time_ms + round * self.duration_ms, ..tag.clone() })
        })
    }
}

/// The tags of a file (Adobe's FLV specification 10.1, E.3 and E.4.1).
pub fn read(file: &Bytes) -> Result<Vec<Tag>> {
    const FILE_HEADER: usize = 9;
    const TAG_HEADER: usize = 11;
    const LENGTH_BEFORE: usize = 4;
    ensure!(file.starts_with(b"FLV"), "no FLV file");
    let mut tags = vec![];
    let mut at = FILE_HEADER + LENGTH_BEFORE;
    while let Some(header) = file.get(at..at + TAG_HEADER) {
        let length = usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
        let time_ms = u32::from_be_bytes([header[7], header[4], header[5], header[6]]);
        at += TAG_HEADER;
        ensure!(at + length <= file.len(), "the file ends inside a tag");
        tags.push(Tag { kind: header[0] & 31, time_ms, payload: file.slice(at..at + length) });
        at += length + LENGTH_BEFORE;
    }
    // The end of the sequence is not sent before the end.
    tags.retain(|tag| !(tag.kind == VIDEO && matches!(tag.payload[..], [_, 2, ..])));
    Ok(tags)
}
