//! The MediaSource behind a `<video>`: carries operations out and tells how they went.
//!
//! Which bytes, in which order and where to begin is the session's matter.
//!
//! Invariant: after a drop nothing of it is left on the element, and no callback of it is called.

use wasm_bindgen::prelude::*;

use crate::append::{Failure, Operation};
use crate::browser::{
    Callback, Listener, ManagedMediaSource, MediaSource, SourceBuffer, Uint8Array, Video, create_object_url,
    revoke_object_url, words,
};
use crate::prelude::*;

/// What the source tells.
pub(crate) enum Told {
    Open,
    Failed(String),
    Refused(String),
    Done(usize),
    OperationFailed(usize, Failure),
}

/// What the browser plays, as in `hello`: each entry with a string that stands for it.
pub(crate) fn codecs() -> Vec<String> {
    const PROBES: &[(&str, &str)] = &[
        ("avc1", "video/mp4; codecs=\"avc1.64001f\""),
        ("hvc1", "video/mp4; codecs=\"hvc1.1.6.L93.B0\""),
        ("av01", "video/mp4; codecs=\"av01.0.04M.08\""),
        ("mp4a.40.2", "audio/mp4; codecs=\"mp4a.40.2\""),
        ("mp4a.40.5", "audio/mp4; codecs=\"mp4a.40.5\""),
        ("opus", "audio/mp4; codecs=\"opus\""),
        ("Opus", "audio/mp4; codecs=\"Opus\""),
        ("flac", "audio/mp4; codecs=\"flac\""),
        ("fLaC", "audio/mp4; codecs=\"fLaC\""),
    ];
    PROBES
        .iter()
        .filter(|(_, mime)| {
            MediaSource::is_type_supported(mime)
                .or_else(|_| ManagedMediaSource::is_type_supported(mime))
                .unwrap_or(false)
        })
        .map(|(name, _)| (*name).to_owned())
        .collect()
}

struct Buffer {
    inner: SourceBuffer,
    _listeners: [Listener; 2],
}

/// A MediaSource and its `SourceBuffer`s.
pub(crate) struct Source {
    video: Video,
    media: MediaSource,
    url: String,
    buffers: Vec<Buffer>,
    _listeners: [Listener; 2],
}

impl Source {
    /// Makes a MediaSource and attaches it to `video`.
    pub(crate) fn open(video: &Video, tell: impl Fn(Told) + Clone + 'static) -> Result<Self, JsValue> {
        // Asking for it with `in` lies on iOS 26: it is there and not a function.
        let media = if let Ok(media) = MediaSource::new() {
            media
        } else {
            // Without this `sourceopen` never comes on a ManagedMediaSource.
            video.set_disable_remote_playback(true);
            ManagedMediaSource::new()?.into()
        };
        let told = tell.clone();
        let on_open = Callback::new(move |_| told(Told::Open));
        // We never end it: a script of the page did, or the browser.
        let on_end = Callback::new(move |_| tell(Told::Failed("the MediaSource was ended".into())));
        let listeners = [
            Listener::new(&media, &["sourceopen"], on_open),
            Listener::new(&media, &["sourceended", "sourceclose"], on_end),
        ];
        let url = create_object_url(&media)?;
        video.set_src(&url);
        Ok(Self { video: video.clone(), media, url, buffers: Vec::new(), _listeners: listeners })
    }

    /// Adds a SourceBuffer of each type. All of them come before the first append: that is what browsers want.
    pub(crate) fn add_buffers(&mut self, mimes: &[String], tell: &(impl Fn(Told) + Clone + 'static)) {
        for (track, mime) in mimes.iter().enumerate() {
            let buffer = match self.media.add_source_buffer(mime) {
                Ok(buffer) => buffer,
                Err(error) if is_called(&error, "NotSupportedError") => {
                    return tell(Told::Refused(mime.clone()));
                }
                Err(error) => return tell(Told::Failed(words(&error))),
            };
            buffer.set_mode("segments");
            let told = tell.clone();
            let on_update_end = Callback::new(move |_| told(Told::Done(track)));
            let told = tell.clone();
            let on_error = Callback::new(move |_| told(Told::OperationFailed(track, Failure::Broken)));
            let listeners = [
                Listener::new(&buffer, &["updateend"], on_update_end),
                Listener::new(&buffer, &["error"], on_error),
            ];
            self.buffers.push(Buffer { inner: buffer, _listeners: listeners });
        }
    }

    /// Sends the playhead to where nothing is buffered yet: only where play could seek to does a browser let it go.
    pub(crate) fn look_at(&self, at_s: f64) {
        if self.media.set_live_seekable_range(at_s, at_s + 1.0).is_ok() {
            self.video.set_current_time(at_s);
        }
    }

    /// Carries an operation out. Whether it is done at once (`true`) or `updateend` follows. Sound is appended `lead_s`
    /// seconds earlier than it says.
    pub(crate) fn operate(
        &self,
        track: usize,
        operation: Operation<Uint8Array>,
        lead_s: f64,
    ) -> Result<bool, Failure> {
        let Some(Buffer { inner: buffer, .. }) = self.buffers.get(track) else { return Err(Failure::Broken) };
        let done = match operation {
            Operation::ChangeType(mime) => buffer.change_type(&mime).map(|()| true),
            Operation::RemoveBefore { end_s } => buffer.remove(0.0, end_s).map(|()| false),
            Operation::Append(payloads) => {
                // The first one is the picture's.
                if track > 0 {
                    buffer.set_timestamp_offset(-lead_s);
                }
                let joined = match payloads.as_slice() {
                    [payload] => payload.clone(),
                    payloads => join(payloads),
                };
                buffer.append(&joined).map(|()| false)
            }
        };
        done.map_err(
            |error| {
                if is_called(&error, "QuotaExceededError") { Failure::Quota } else { Failure::Broken }
            },
        )
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        revoke_object_url(&self.url);
        self.video.remove_attribute("src");
        self.video.load();
    }
}

/// What can be played, in seconds: with sound, where both tracks are buffered.
pub(crate) fn buffered_s(video: &Video) -> Vec<(f64, f64)> {
    let ranges = video.buffered();
    (0..ranges.length()).map(|i| (ranges.start(i), ranges.end(i))).collect()
}

/// Puts payloads together in the page's memory, not in ours.
fn join(payloads: &[Uint8Array]) -> Uint8Array {
    let joined = Uint8Array::with_length(payloads.iter().map(Uint8Array::length).sum());
    let mut at = 0;
    for payload in payloads {
        joined.set(payload, at);
        at += payload.length();
    }
    joined
}

/// Whether an exception has this name.
pub(crate) fn is_called(error: &JsValue, name: &str) -> bool {
    words(error).starts_with(name)
}
