//! The MediaSource behind a `<video>`: carries operations out and tells how they went.
//!
//! Which bytes, in which order and where to begin is the session's matter.
//!
//! Invariant: after a drop nothing of it is left on the element, and no callback of it is called.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{
    DomException, HtmlVideoElement, MediaSource, SourceBuffer, SourceBufferAppendMode, TimeRanges, Url,
};

use crate::append::{Failure, Operation};
use crate::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// Safari on iPhones has only this one; it behaves like a `MediaSource`.
    #[wasm_bindgen(extends = MediaSource)]
    type ManagedMediaSource;
    #[wasm_bindgen(constructor, catch)]
    fn new() -> Result<ManagedMediaSource, JsValue>;
}

/// What the source tells.
pub(crate) enum Told {
    Open,
    Failed(String),
    Refused(String),
    Done(usize),
    OperationFailed(usize, Failure),
}

/// Whether `MediaSource` itself is there. Asking with `in` lies on iOS 26: it is there and not a function.
fn has_media_source() -> bool {
    global("MediaSource").is_function()
}

fn global(name: &str) -> JsValue {
    Reflect::get(&js_sys::global(), &name.into()).unwrap_or(JsValue::UNDEFINED)
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
    let source = if has_media_source() { global("MediaSource") } else { global("ManagedMediaSource") };
    let Ok(ask) =
        Reflect::get(&source, &"isTypeSupported".into()).and_then(JsCast::dyn_into::<js_sys::Function>)
    else {
        return Vec::new();
    };
    PROBES
        .iter()
        .filter(|(_, mime)| ask.call1(&source, &(*mime).into()).is_ok_and(|answer| answer.is_truthy()))
        .map(|(name, _)| (*name).to_owned())
        .collect()
}

struct Buffer {
    inner: SourceBuffer,
    _on_update_end: Closure<dyn FnMut()>,
    _on_error: Closure<dyn FnMut()>,
}

/// A MediaSource and its `SourceBuffer`s.
pub(crate) struct Source {
    video: HtmlVideoElement,
    media: MediaSource,
    url: String,
    buffers: Vec<Buffer>,
    _on_open: Closure<dyn FnMut()>,
    _on_end: Closure<dyn FnMut()>,
}

impl Source {
    /// Makes a MediaSource and attaches it to `video`.
    pub(crate) fn open(
        video: &HtmlVideoElement,
        tell: impl Fn(Told) + Clone + 'static,
    ) -> Result<Self, JsValue> {
        let source = if has_media_source() {
            MediaSource::new()?
        } else {
            // Without this `sourceopen` never comes on a ManagedMediaSource.
            Reflect::set(video, &"disableRemotePlayback".into(), &true.into())?;
            ManagedMediaSource::new()?.into()
        };
        let told = tell.clone();
        let on_open = Closure::<dyn FnMut()>::new(move || told(Told::Open));
        source.set_onsourceopen(Some(on_open.as_ref().unchecked_ref()));
        // We never end it: a script of the page did, or the browser.
        let on_end =
            Closure::<dyn FnMut()>::new(move || tell(Told::Failed("the MediaSource was ended".into())));
        source.set_onsourceended(Some(on_end.as_ref().unchecked_ref()));
        source.set_onsourceclose(Some(on_end.as_ref().unchecked_ref()));
        let url = Url::create_object_url_with_source(&source)?;
        video.set_src(&url);
        Ok(Self {
            video: video.clone(),
            media: source,
            url,
            buffers: Vec::new(),
            _on_open: on_open,
            _on_end: on_end,
        })
    }

    /// Adds a SourceBuffer of each type. All of them come before the first append: that is what browsers want.
    pub(crate) fn add_buffers(&mut self, mimes: &[String], tell: &(impl Fn(Told) + Clone + 'static)) {
        for (track, mime) in mimes.iter().enumerate() {
            let buffer = match self.media.add_source_buffer(mime) {
                Ok(buffer) => buffer,
                Err(error) if name_of(&error) == "NotSupportedError" => {
                    return tell(Told::Refused(mime.clone()));
                }
                Err(error) => return tell(Told::Failed(words_of(&error))),
            };
            buffer.set_mode(SourceBufferAppendMode::Segments);
            let told = tell.clone();
            let on_update_end = Closure::<dyn FnMut()>::new(move || told(Told::Done(track)));
            let told = tell.clone();
            let on_error =
                Closure::<dyn FnMut()>::new(move || told(Told::OperationFailed(track, Failure::Broken)));
            buffer.set_onupdateend(Some(on_update_end.as_ref().unchecked_ref()));
            buffer.set_onerror(Some(on_error.as_ref().unchecked_ref()));
            self.buffers.push(Buffer { inner: buffer, _on_update_end: on_update_end, _on_error: on_error });
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
        match operation {
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
                buffer.append_buffer_with_array_buffer_view(&joined).map(|()| false)
            }
        }
        .map_err(|error| {
            if name_of(&error) == "QuotaExceededError" { Failure::Quota } else { Failure::Broken }
        })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.media.set_onsourceopen(None);
        self.media.set_onsourceended(None);
        self.media.set_onsourceclose(None);
        for Buffer { inner: buffer, .. } in &self.buffers {
            buffer.set_onupdateend(None);
            buffer.set_onerror(None);
        }
        let _ = Url::revoke_object_url(&self.url);
        let _ = self.video.remove_attribute("src");
        self.video.load();
    }
}

/// What can be played, in seconds: with sound, where both tracks are buffered.
pub(crate) fn buffered_s(video: &HtmlVideoElement) -> Vec<(f64, f64)> {
    let ranges: TimeRanges = video.buffered();
    (0..ranges.length()).filter_map(|i| Some((ranges.start(i).ok()?, ranges.end(i).ok()?))).collect()
}

/// Puts payloads together in the page's memory, not in ours.
fn join(payloads: &[Uint8Array]) -> Uint8Array {
    let joined = Uint8Array::new_with_length(payloads.iter().map(Uint8Array::length).sum());
    let mut at = 0;
    for payload in payloads {
        joined.set(payload, at);
        at += payload.length();
    }
    joined
}

fn name_of(error: &JsValue) -> String {
    error.dyn_ref::<DomException>().map(DomException::name).unwrap_or_default()
}

fn words_of(error: &JsValue) -> String {
    error.dyn_ref::<DomException>().map_or_else(|| "unknown".into(), DomException::message)
}
