//! Recorded access units: pictures with a painted clock (as `camera/scene.py` paints it), coded once by ffmpeg.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

/// Pictures a second of every clip.
pub const FPS: u32 = 25;

/// How a clip is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// By libx264.
    H264,
    /// By libx265.
    H265,
}

/// What is to be recorded.
#[derive(Clone, Debug)]
pub struct Options {
    /// How it is coded.
    pub coding: Coding,
    /// `baseline`, `main` or `high`, for H.264.
    pub profile: &'static str,
    /// Width and height in pixels; the width is a multiple of 40 where the clock is to be read.
    pub size: (u32, u32),
    /// How many pictures.
    pub pictures: u32,
    /// Pictures from key frame to key frame.
    pub gop: u32,
    /// B-frames between two others.
    pub b_frames: u32,
    /// What the clock of the first picture shows, in milliseconds.
    pub clock_ms: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            coding: Coding::H264,
            profile: "main",
            size: (640, 360),
            pictures: 100,
            gop: 50,
            b_frames: 0,
            clock_ms: 0,
        }
    }
}

/// One access unit.
#[derive(Clone, Debug)]
pub struct AccessUnit {
    /// Its NAL units without start codes, parameter sets among them and delimiters not.
    pub nals: Vec<Bytes>,
    /// Whether decoding can begin here.
    pub key_frame: bool,
}

/// A recorded clip. Its last picture is followed by its first, which is a key frame.
#[derive(Clone, Debug)]
pub struct Clip {
    /// How it is coded.
    pub coding: Coding,
    /// Its access units in decoding order.
    pub units: Arc<[AccessUnit]>,
    /// When each is shown, in pictures from the first: only with B-frames not its index.
    pub shown: Arc<[u32]>,
}

impl Clip {
    /// Has ffmpeg encode it, which takes a fraction of its duration.
    pub fn encode(options: &Options) -> Result<Self> {
        let (width, height) = options.size;
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-f", "rawvideo", "-pix_fmt", "gray"]);
        command.args(["-video_size", &format!("{width}x{height}"), "-framerate", &FPS.to_string()]);
        command.args(["-i", "pipe:0", "-pix_fmt", "yuv420p", "-g", &options.gop.to_string()]);
        command.args(["-bf", &options.b_frames.to_string(), "-crf", "30"]);
        match options.coding {
            Coding::H264 => {
                command.args(["-c:v", "libx264", "-preset", "superfast", "-profile:v", options.profile]);
                let params = "aud=1:scenecut=0:sliced-threads=0:b-adapt=0:b-pyramid=0:threads=1";
                command.args(["-x264-params", params, "-f", "h264", "-"]);
            }
            Coding::H265 => {
                command.args(["-c:v", "libx265", "-preset", "ultrafast"]);
                let params = "aud=1:repeat-headers=1:scenecut=0:log-level=error:pools=none:frame-threads=1";
                command.args(["-x265-params", params, "-f", "hevc", "-"]);
            }
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run ffmpeg")?;
        let mut input = child.stdin.take().context("ffmpeg has an input")?;
        let painted = options.clone();
        let painter = std::thread::spawn(move || {
            (0..painted.pictures).try_for_each(|n| input.write_all(&picture(&painted, n)))
        });
        let out = child.wait_with_output()?;
        ensure!(out.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&out.stderr));
        painter.join().expect("painting does not panic").context("ffmpeg reads all pictures")?;
        let units = access_units(&Bytes::from(out.stdout), options.coding);
        ensure!(units.len() == options.pictures as usize, "{} access units", units.len());
        ensure!(units.first().is_some_and(|unit| unit.key_frame), "it begins with no key frame");
        let shown = order(options, units.len() as u32);
        Ok(Self { coding: options.coding, units: units.into(), shown: shown.into() })
    }

    /// Its parameter sets: those in front of the first picture.
    pub fn parameter_sets(&self) -> Vec<Bytes> {
        let is_one = |nal: &&Bytes| is_parameter_set(nal, self.coding);
        self.units[0].nals.iter().filter(is_one).cloned().collect()
    }
}

/// Recorded sound: AAC-LC of 48 kHz in mono, a second of it.
#[derive(Clone, Debug)]
pub struct Sound {
    /// Its frames of 1,024 samples.
    pub frames: Arc<[Bytes]>,
}

impl Sound {
    /// Samples a second.
    pub const RATE: u32 = 48_000;
    /// Samples of a frame.
    pub const FRAME: u32 = 1_024;
    /// `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1).
    pub const CONFIG: [u8; 2] = [0x11, 0x88];

    /// Has ffmpeg encode a hum.
    pub fn encode() -> Result<Self> {
        let tone = "sine=frequency=200:sample_rate=48000:duration=1";
        let out = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", tone, "-c:a", "aac", "-f", "adts", "-"])
            .output()
            .context("cannot run ffmpeg")?;
        let mut rest = Bytes::from(out.stdout);
        let mut frames = vec![];
        // ADTS (ISO/IEC 14496-3, 1.A.2.2): 7 bytes in front of each frame, 13 bits of length among them.
        while rest.len() > 7 {
            let length =
                usize::from(rest[3] & 3) << 11 | usize::from(rest[4]) << 3 | usize::from(rest[5] >> 5);
            ensure!((8..=rest.len()).contains(&length), "no ADTS");
            frames.push(rest.split_to(length).slice(7..));
        }
        ensure!(frames.len() > 40, "{} frames of sound", frames.len());
        Ok(Self { frames: frames.into() })
    }
}

/// When the units of a closed-GOP stream with fixed B-frames are shown: I P B B P B B … in decoding order.
fn order(options: &Options, count: u32) -> Vec<u32> {
    let (gop, b) = (options.gop, options.b_frames);
    let mut shown = Vec::new();
    while (shown.len() as u32) < count {
        let start = shown.len() as u32;
        let end = (start + gop).min(count);
        shown.push(start);
        let mut at = start;
        while at + 1 < end {
            let next = (at + b + 1).min(end - 1);
            shown.push(next);
            shown.extend(at + 1..next);
            at = next;
        }
    }
    shown
}

/// Whether a NAL unit is a parameter set.
pub fn is_parameter_set(nal: &[u8], coding: Coding) -> bool {
    match coding {
        Coding::H264 => nal.first().is_some_and(|first| matches!(first & 31, 7 | 8)),
        Coding::H265 => nal.first().is_some_and(|first| matches!(first >> 1 & 63, 32..=34)),
    }
}

/// Whether a NAL unit is a slice of a picture.
pub fn is_slice(nal: &[u8], coding: Coding) -> bool {
    match coding {
        Coding::H264 => nal.first().is_some_and(|first| matches!(first & 31, 1..=5)),
        Coding::H265 => nal.first().is_some_and(|first| first >> 1 & 63 < 32),
    }
}

/// The grey picture number `n`: the clock's squares along the top, a bar that moves below.
fn picture(options: &Options, n: u32) -> Vec<u8> {
    const PATTERN: u32 = 0b1011_0010;
    let (width, height) = (options.size.0 as usize, options.size.1 as usize);
    let square = width / 40;
    let clock = u64::from(options.clock_ms.wrapping_add(n * 1000 / FPS));
    let bits = u64::from(PATTERN) << 32 | clock;
    let mut row = vec![16; width];
    for i in 0..40 {
        if bits >> (39 - i) & 1 == 1 {
            row[i * square..(i + 1) * square].fill(235);
        }
    }
    let bar = n as usize * 8 % width.saturating_sub(64).max(1);
    (0..height)
        .flat_map(|y| {
            let mut line = row.clone();
            if y >= square {
                // Never black: a black picture on a screen is one that no camera sent.
                line.iter_mut().enumerate().for_each(|(x, luma)| *luma = (90 + (x + y) / 16 % 64) as u8);
                if y >= square + 4 {
                    line[bar..bar + 64].fill(200);
                }
            }
            line
        })
        .collect()
}

/// The access units of an Annex B stream with delimiters.
fn access_units(stream: &Bytes, coding: Coding) -> Vec<AccessUnit> {
    let mut units: Vec<AccessUnit> = vec![];
    for nal in nals(stream) {
        let (delimiter, key) = match coding {
            Coding::H264 => (nal[0] & 31 == 9, nal[0] & 31 == 5),
            Coding::H265 => (nal[0] >> 1 & 63 == 35, (16..24).contains(&(nal[0] >> 1 & 63))),
        };
        if delimiter {
            units.push(AccessUnit { nals: vec![], key_frame: false });
        } else if let Some(unit) = units.last_mut() {
            unit.key_frame |= key;
            unit.nals.push(nal);
        }
    }
    units
}

/// The NAL units between start codes.
fn nals(stream: &Bytes) -> Vec<Bytes> {
    let starts: Vec<usize> = stream
        .windows(3)
        .enumerate()
        .filter(|(_, three)| *three == [0, 0, 1])
        .map(|(at, _)| at + 3)
        .collect();
    let ends = starts.iter().skip(1).map(|start| start - 3).chain([stream.len()]);
    let whole = starts.iter().zip(ends).map(|(start, end)| {
        let mut end = end;
        while end > *start && stream[end - 1] == 0 {
            end -= 1;
        }
        stream.slice(*start..end)
    });
    whole.filter(|nal| !nal.is_empty()).collect()
}
