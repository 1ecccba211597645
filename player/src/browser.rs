//! What the shells use of the browser, and nothing else.
//!
//! `web-sys` and `js-sys` have all of it and bring more along: whatever of theirs takes a function stays in the download.
//!
//! Invariant: what may throw is marked `catch`; an exception from anywhere else would end the program half-way.

use wasm_bindgen::prelude::*;

use crate::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    pub(crate) fn now_ms() -> f64;
    #[wasm_bindgen(js_namespace = Math, js_name = random)]
    pub(crate) fn random() -> f64;
    #[wasm_bindgen(js_name = setInterval)]
    pub(crate) fn set_interval(callback: &Callback, ms: i32) -> i32;
    #[wasm_bindgen(js_name = clearInterval)]
    pub(crate) fn clear_interval(id: i32);
    /// Whether an object has a property, its own or inherited.
    #[wasm_bindgen(js_namespace = Reflect, js_name = has)]
    pub(crate) fn has(object: &JsValue, property: &str) -> bool;
    #[wasm_bindgen(js_namespace = ["navigator", "vendor"], js_name = startsWith)]
    pub(crate) fn vendor_starts_with(words: &str) -> bool;
    /// Of an exception: its name, a colon, and its message.
    #[wasm_bindgen(js_name = String)]
    pub(crate) fn words(value: &JsValue) -> String;

    /// A function of the page's.
    pub type Function;
    #[wasm_bindgen(method, catch, js_name = call)]
    pub(crate) fn tell(this: &Function, nobody: &JsValue, name: &str, json: &str) -> Result<(), JsValue>;

    #[derive(Clone)]
    pub type EventTarget;
    #[wasm_bindgen(method, js_name = addEventListener)]
    fn add_event_listener(this: &EventTarget, name: &str, callback: &Callback);
    #[wasm_bindgen(method, js_name = removeEventListener)]
    fn remove_event_listener(this: &EventTarget, name: &str, callback: &Callback);

    /// A `<video>`.
    #[wasm_bindgen(extends = EventTarget, typescript_type = "HTMLVideoElement")]
    #[derive(Clone)]
    pub type Video;
    #[wasm_bindgen(method, setter, js_name = src)]
    pub(crate) fn set_src(this: &Video, url: &str);
    #[wasm_bindgen(method, setter, js_name = disableRemotePlayback)]
    pub(crate) fn set_disable_remote_playback(this: &Video, disable: bool);
    #[wasm_bindgen(method, js_name = removeAttribute)]
    pub(crate) fn remove_attribute(this: &Video, name: &str);
    #[wasm_bindgen(method)]
    pub(crate) fn load(this: &Video);
    #[wasm_bindgen(method, catch)]
    pub(crate) fn play(this: &Video) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method)]
    pub(crate) fn pause(this: &Video);
    #[wasm_bindgen(method, getter)]
    pub(crate) fn muted(this: &Video) -> bool;
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_muted(this: &Video, muted: bool);
    #[wasm_bindgen(method, getter)]
    pub(crate) fn error(this: &Video) -> Option<MediaError>;
    #[wasm_bindgen(method, getter, js_name = currentTime)]
    pub(crate) fn current_time(this: &Video) -> f64;
    #[wasm_bindgen(method, setter, js_name = currentTime)]
    pub(crate) fn set_current_time(this: &Video, to_s: f64);
    #[wasm_bindgen(method, setter, js_name = playbackRate)]
    pub(crate) fn set_playback_rate(this: &Video, rate: f64);
    #[wasm_bindgen(method, getter)]
    pub(crate) fn paused(this: &Video) -> bool;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn seeking(this: &Video) -> bool;
    #[wasm_bindgen(method, getter, js_name = readyState)]
    pub(crate) fn ready_state(this: &Video) -> u32;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn buffered(this: &Video) -> TimeRanges;
    #[wasm_bindgen(method, js_name = getVideoPlaybackQuality)]
    pub(crate) fn playback_quality(this: &Video) -> PlaybackQuality;
    /// Not every browser has it.
    #[wasm_bindgen(method, catch, js_name = requestVideoFrameCallback)]
    pub(crate) fn request_frame(this: &Video, callback: &FrameCallback) -> Result<u32, JsValue>;
    #[wasm_bindgen(method, catch, js_name = cancelVideoFrameCallback)]
    pub(crate) fn cancel_frame(this: &Video, id: u32) -> Result<(), JsValue>;

    pub(crate) type Promise;
    #[wasm_bindgen(method, js_name = catch)]
    pub(crate) fn on_rejected(this: &Promise, callback: &Callback) -> Promise;

    pub(crate) type MediaError;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn message(this: &MediaError) -> String;

    pub(crate) type PlaybackQuality;
    #[wasm_bindgen(method, getter, js_name = totalVideoFrames)]
    pub(crate) fn total_video_frames(this: &PlaybackQuality) -> u32;
    #[wasm_bindgen(method, getter, js_name = droppedVideoFrames)]
    pub(crate) fn dropped_video_frames(this: &PlaybackQuality) -> u32;

    pub(crate) type FrameMetadata;
    #[wasm_bindgen(method, getter, js_name = mediaTime)]
    pub(crate) fn media_time(this: &FrameMetadata) -> f64;
    #[wasm_bindgen(method, getter, js_name = expectedDisplayTime)]
    pub(crate) fn expected_display_time(this: &FrameMetadata) -> f64;

    pub(crate) type TimeRanges;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn length(this: &TimeRanges) -> u32;
    #[wasm_bindgen(method)]
    pub(crate) fn start(this: &TimeRanges, index: u32) -> f64;
    #[wasm_bindgen(method)]
    pub(crate) fn end(this: &TimeRanges, index: u32) -> f64;

    #[wasm_bindgen(extends = EventTarget)]
    pub(crate) type MediaSource;
    #[wasm_bindgen(constructor, catch)]
    pub(crate) fn new() -> Result<MediaSource, JsValue>;
    #[wasm_bindgen(catch, static_method_of = MediaSource, js_name = isTypeSupported)]
    pub(crate) fn is_type_supported(mime: &str) -> Result<bool, JsValue>;
    #[wasm_bindgen(method, catch, js_name = addSourceBuffer)]
    pub(crate) fn add_source_buffer(this: &MediaSource, mime: &str) -> Result<SourceBuffer, JsValue>;
    #[wasm_bindgen(method, catch, js_name = setLiveSeekableRange)]
    pub(crate) fn set_live_seekable_range(
        this: &MediaSource,
        start_s: f64,
        end_s: f64,
    ) -> Result<(), JsValue>;
    #[wasm_bindgen(catch, js_namespace = URL, js_name = createObjectURL)]
    pub(crate) fn create_object_url(source: &MediaSource) -> Result<String, JsValue>;
    #[wasm_bindgen(js_namespace = URL, js_name = revokeObjectURL)]
    pub(crate) fn revoke_object_url(url: &str);

    /// Safari on iPhones has only this one; it behaves like a `MediaSource`.
    #[wasm_bindgen(extends = MediaSource)]
    pub(crate) type ManagedMediaSource;
    #[wasm_bindgen(constructor, catch)]
    pub(crate) fn new() -> Result<ManagedMediaSource, JsValue>;
    #[wasm_bindgen(catch, static_method_of = ManagedMediaSource, js_name = isTypeSupported)]
    pub(crate) fn is_type_supported(mime: &str) -> Result<bool, JsValue>;

    #[wasm_bindgen(extends = EventTarget)]
    pub(crate) type SourceBuffer;
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_mode(this: &SourceBuffer, mode: &str);
    #[wasm_bindgen(method, setter, js_name = timestampOffset)]
    pub(crate) fn set_timestamp_offset(this: &SourceBuffer, offset_s: f64);
    #[wasm_bindgen(method, catch, js_name = appendBuffer)]
    pub(crate) fn append(this: &SourceBuffer, data: &Uint8Array) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(crate) fn remove(this: &SourceBuffer, start_s: f64, end_s: f64) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch, js_name = changeType)]
    pub(crate) fn change_type(this: &SourceBuffer, mime: &str) -> Result<(), JsValue>;

    #[wasm_bindgen(extends = EventTarget)]
    pub(crate) type WebSocket;
    #[wasm_bindgen(constructor, catch)]
    pub(crate) fn new(url: &str) -> Result<WebSocket, JsValue>;
    #[wasm_bindgen(method, setter, js_name = binaryType)]
    pub(crate) fn set_binary_type(this: &WebSocket, binary_type: &str);
    #[wasm_bindgen(method, catch)]
    pub(crate) fn send(this: &WebSocket, text: &str) -> Result<(), JsValue>;
    #[wasm_bindgen(method)]
    pub(crate) fn close(this: &WebSocket);

    /// Any event of a `WebSocket`.
    pub(crate) type SocketEvent;
    /// Of its end.
    #[wasm_bindgen(method, getter)]
    pub(crate) fn code(this: &SocketEvent) -> Option<u16>;
    /// Of a message.
    #[wasm_bindgen(method, getter)]
    pub(crate) fn data(this: &SocketEvent) -> JsValue;

    #[derive(Clone)]
    pub(crate) type Uint8Array;
    /// The bytes of an `ArrayBuffer`.
    #[wasm_bindgen(constructor)]
    pub(crate) fn new(buffer: &JsValue) -> Uint8Array;
    #[wasm_bindgen(constructor)]
    pub(crate) fn with_length(length: u32) -> Uint8Array;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn length(this: &Uint8Array) -> u32;
    /// The same bytes, from `begin` up to `end`.
    #[wasm_bindgen(method)]
    pub(crate) fn subarray(this: &Uint8Array, begin: u32, end: u32) -> Uint8Array;
    #[wasm_bindgen(method, js_name = set)]
    pub(crate) fn set(this: &Uint8Array, bytes: &Uint8Array, at: u32);
    #[wasm_bindgen(method, js_name = set)]
    pub(crate) fn write(this: &Uint8Array, bytes: &[u8], at: u32);
    #[wasm_bindgen(js_namespace = ["Uint8Array", "prototype", "set"], js_name = call)]
    pub(crate) fn read(into: &mut [u8], bytes: &Uint8Array);
}

/// What a browser calls, with an event or whatever else it has to say.
pub(crate) type Callback = Closure<dyn Fn(JsValue)>;

/// What it calls with each picture on the screen: the time, and what it knows of the picture.
pub(crate) type FrameCallback = Closure<dyn Fn(f64, FrameMetadata)>;

/// Somebody listens to these events of `target`, until this is dropped.
pub(crate) struct Listener {
    target: EventTarget,
    events: &'static [&'static str],
    callback: Callback,
}

impl Listener {
    pub(crate) fn new(target: &EventTarget, events: &'static [&'static str], callback: Callback) -> Self {
        for event in events {
            target.add_event_listener(event, &callback);
        }
        Self { target: target.clone(), events, callback }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for event in self.events {
            self.target.remove_event_listener(event, &self.callback);
        }
    }
}
