//! What goes into a session and what comes out of it.

use sightline_wire::{Header, Track};

use crate::append::{Failure, Operation};
use crate::json::{Object, number_text};
use crate::latency::{SoundClock, Target};
use crate::link::{Ask, News};
use crate::prelude::*;
use crate::sound;
use crate::stats::Stats;

/// What a session is made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The stream's name.
    pub stream: String,
    /// No sound is wanted.
    pub muted: bool,
    /// Begin by itself.
    pub autoplay: bool,
    /// How far behind to play.
    pub target: Target,
    /// What this browser takes for the time of the sound.
    pub sound_clock: SoundClock,
    /// A group of B-frames has to be appended whole: see [`crate::reorder`].
    pub whole_groups: bool,
    /// The way to the screen that is wanted. Where it cannot be, another one is taken in any case.
    pub renderer: Renderer,
}

/// A way to the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renderer {
    /// Media Source Extensions: the browser keeps a buffer and plays it by its own clock.
    #[default]
    Mse,
    /// `WebCodecs`: each picture is decoded at once, and shown when we say.
    WebCodecs,
    /// The same as long as it plays smoothly, else the other one.
    Auto,
}

impl Renderer {
    /// Its name, as in the element's attribute.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mse => "mse",
            Self::WebCodecs => "webcodecs",
            Self::Auto => "auto",
        }
    }
}

/// What happened. `P` is a payload: opaque to the session.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<P> {
    /// The player was put on a page, and has a link.
    Started,
    /// The link has news.
    Link(News),
    /// A fragment of the stream came.
    Fragment {
        /// Its header.
        header: Header,
        /// What follows the header.
        payload: P,
        /// The payload's length.
        bytes: usize,
        /// `currentTime` in seconds, if the picture is moving.
        position_s: Option<f64>,
    },
    /// The MediaSource is open.
    SourceOpen {
        /// Which, as in [`Command::OpenSource`].
        generation: u32,
    },
    /// The MediaSource, or a decoder behind it, failed.
    SourceFailed {
        /// Which.
        generation: u32,
        /// The browser's words.
        reason: String,
    },
    /// The browser has no decoder for a track.
    CodecRefused {
        /// Which MediaSource.
        generation: u32,
        /// The track's MIME type.
        mime: String,
    },
    /// An operation of a SourceBuffer is done.
    OperationDone {
        /// Which MediaSource.
        generation: u32,
        /// Which SourceBuffer, counted from 0.
        track: usize,
    },
    /// An operation of a SourceBuffer failed.
    OperationFailed {
        /// Which MediaSource.
        generation: u32,
        /// Which SourceBuffer, counted from 0.
        track: usize,
        /// How.
        failure: Failure,
        /// `currentTime` in seconds.
        position_s: f64,
    },
    /// A decoder gave a picture out. It is kept until [`Command::Show`] or [`Command::Discard`].
    Decoded {
        /// Which decoders, as in [`Command::OpenDecoders`].
        generation: u32,
        /// Its presentation time, in microseconds.
        presentation_us: i64,
    },
    /// A decoder failed, and is closed.
    DecoderFailed {
        /// Which decoders.
        generation: u32,
        /// Whose, counted from 0.
        track: usize,
        /// The browser's words.
        reason: String,
    },
    /// Decoded sound is being played, or ran dry.
    Heard(sound::Report),
    /// The time asked for by [`Command::WakeIn`] is over.
    Woken,
    /// A picture was put on the screen.
    FrameShown {
        /// Its presentation time, in seconds.
        media_time_s: f64,
        /// When it is to be seen, on the page's clock in milliseconds.
        shown_ms: f64,
        /// Whether the browser is on its way to another place.
        seeking: bool,
    },
    /// Some 100 ms passed.
    Tick {
        /// How the media element is.
        facts: Facts,
        /// In 0..1, for the back-off.
        random: f64,
    },
    /// The page or the element was hidden, or is to be seen again.
    Hidden(bool),
    /// The element is far from where anybody looks.
    Far,
    /// The element is shown at this height, in pixels of the screen; none: the best there is, please.
    Height(Option<u32>),
    /// Somebody wants it to play.
    Play,
    /// Somebody wants it to pause.
    Pause,
    /// Somebody wants the live edge now.
    SeekToLive,
    /// Sound was switched off (true) or on.
    Muted(bool),
    /// An `AudioContext` takes the sound out of the element from now on (true), or nobody does. Sound is appended so many
    /// seconds earlier than its pictures, in either case.
    SoundRouted(bool, f64),
    /// Another target was set.
    Target(Target),
    /// `play()` was rejected because the page may not play by itself.
    PlayRejected,
    /// The browser lets the decoded sound not be heard before a gesture. Pictures go on.
    SoundRefused,
}

/// How the media element is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// `currentTime`, in seconds.
    pub position_s: f64,
    /// Playing: not paused, not seeking, with data.
    pub moving: bool,
    /// `totalVideoFrames`.
    pub total_frames: u32,
    /// `droppedVideoFrames`.
    pub dropped_frames: u32,
    /// Buffered ranges of the element, in seconds: with sound, where both tracks are there.
    pub buffered_s: Vec<(f64, f64)>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command<P> {
    /// Ask the link.
    Link(Ask),
    /// Make a MediaSource and attach it, in place of the one before.
    OpenSource {
        /// Names it in events.
        generation: u32,
    },
    /// Add a SourceBuffer of each MIME type, video first.
    AddBuffers(Vec<String>),
    /// Detach and forget the MediaSource.
    CloseSource,
    /// Tell a SourceBuffer to do something.
    Operate {
        /// Which, counted from 0.
        track: usize,
        /// What.
        operation: Operation<P>,
    },
    /// Make ready for decoders, in place of those before. What is on the screen stays there.
    OpenDecoders {
        /// Names them in events.
        generation: u32,
    },
    /// Give a track a decoder, or configure the one it has anew: what was decoded before comes out first.
    Configure {
        /// Which, counted from 0: pictures first.
        track: usize,
        /// What it decodes.
        description: Box<Track>,
    },
    /// Decode a frame.
    Decode {
        /// Whose.
        track: usize,
        /// Decoding can begin here.
        key_frame: bool,
        /// Its presentation time, in microseconds.
        presentation_us: i64,
        /// The media segment it is in.
        payload: P,
        /// Where in it the frame's own bytes begin.
        payload_offset: u32,
    },
    /// Show a decoded picture, by its presentation time in microseconds, and let go of all that are older.
    Show(i64),
    /// Let go of all decoded pictures that are older than this presentation time, in microseconds.
    Discard(i64),
    /// How decoded sound goes on.
    Sound(sound::Correction),
    /// Tell [`Event::Woken`] in so many milliseconds, in place of what was asked for before.
    WakeIn(f64),
    /// Set `currentTime`, in seconds, although nothing is buffered there yet.
    Look(f64),
    /// Set `currentTime`, in seconds.
    Seek(f64),
    /// Set `playbackRate`.
    Rate(f64),
    /// Call `play()`.
    Play,
    /// Call `pause()`.
    Pause,
    /// Set `muted`.
    Mute,
    /// Tell the page.
    Notify(Notice),
}

/// What the page is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The state changed, or its reason.
    State(State),
    /// Capture to screen, once a second: the last two seconds' median, in milliseconds.
    Latency(f64),
    /// The figures, once a second.
    Stats(Box<Stats>),
    /// Something went wrong.
    Error(Problem),
    /// The last picture should stay visible while a new MediaSource is being built (true), or no longer (false).
    Hold(bool),
    /// The picture takes another way to the screen from now on, and why.
    Renderer(Renderer, String),
    /// The page may not play sound by itself: it plays without.
    Muted,
    /// The page may not play by itself at all: a click is needed.
    GestureNeeded,
}

/// How the player is.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// `connecting`, `live`, `offline` or `error`.
    pub state: &'static str,
    /// Why, for programs; empty when there is nothing to say.
    pub code: String,
    /// Why, for people.
    pub reason: String,
    /// Since when, in microseconds since 1970.
    pub since_us: Option<i64>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What, for programs.
    pub code: String,
    /// What, for people.
    pub message: String,
    /// The player has given up.
    pub fatal: bool,
    /// Trying again later can help.
    pub retryable: bool,
}

impl Notice {
    /// Its name and its JSON.
    pub fn write(&self) -> (&'static str, String) {
        match self {
            Self::State(State { state, code, reason, since_us }) => (
                "state",
                Object::new()
                    .str("state", state)
                    .str("code", code)
                    .str("reason", reason)
                    .int("sinceUs", *since_us)
                    .finish(),
            ),
            Self::Latency(ms) => ("latency", number_text(*ms)),
            Self::Stats(stats) => ("stats", stats.json()),
            Self::Error(Problem { code, message, fatal, retryable }) => (
                "error",
                Object::new()
                    .str("code", code)
                    .str("message", message)
                    .bool("fatal", *fatal)
                    .bool("retryable", *retryable)
                    .finish(),
            ),
            Self::Renderer(renderer, reason) => (
                "rendererchange",
                Object::new().str("renderer", renderer.name()).str("reason", reason).finish(),
            ),
            Self::Hold(on) => ("hold", if *on { "true" } else { "false" }.into()),
            Self::Muted => ("muted", "null".into()),
            Self::GestureNeeded => ("gesture", "null".into()),
        }
    }
}
