//! The decoders of `WebCodecs`, as `npm/webcodecs.js` binds them: a small module of JavaScript that only pages load that
//! take this way. Here is what passes between the two.
//!
//! What is decoded and shown when is the session's matter.
//!
//! Invariant: after a drop every picture is closed, and nothing is told any more.

use sightline_wire::{Media, Track};
use wasm_bindgen::prelude::*;

use crate::browser::{Callback, Function, Uint8Array};
use crate::prelude::*;
use crate::sound::{Correction, Report};

#[wasm_bindgen]
extern "C" {
    /// Makes the module's object, of which the decoders are.
    #[wasm_bindgen(method, catch, js_name = call)]
    fn make(this: &Function, nobody: &JsValue, tell: &Tell) -> Result<Module, JsValue>;

    type Module;
    #[wasm_bindgen(method, catch)]
    fn configure(
        this: &Module,
        track: usize,
        codec: &str,
        description: &[u8],
        width: u32,
        height: u32,
    ) -> Result<(), JsValue>;
    #[wasm_bindgen(method)]
    fn open(this: &Module);
    #[wasm_bindgen(method)]
    fn decode(this: &Module, track: usize, key_frame: bool, presentation_us: f64, data: &Uint8Array);
    #[wasm_bindgen(method)]
    fn show(this: &Module, presentation_us: f64) -> bool;
    #[wasm_bindgen(method)]
    fn discard(this: &Module, before_us: f64);
    #[wasm_bindgen(method)]
    fn sound(this: &Module, speed: f64, skip_ms: f64, begin_ms: f64);
    #[wasm_bindgen(method)]
    fn wake(this: &Module, ms: f64, callback: &Callback);
    #[wasm_bindgen(method)]
    fn close(this: &Module);
}

/// What happened, a number and words that belong to it, and another number, which only reports of sound have.
type Tell = Closure<dyn Fn(u32, f64, String, f64)>;

/// What the decoders tell.
pub(crate) enum Told {
    Decoded(i64),
    Failed(usize, String),
    Refused(String),
    Heard(Report),
    SoundRefused,
    Woken,
}

/// The decoders of one player, and the way from them to the screen.
pub(crate) struct Decoders {
    module: Module,
    _tell: Tell,
    woken: Callback,
}

impl Decoders {
    /// `make` takes a function to tell by, and makes the module's object.
    pub(crate) fn new(make: &Function, tell: impl Fn(Told) + Clone + 'static) -> Result<Self, JsValue> {
        let told = tell.clone();
        let woken = Callback::new(move |_| told(Told::Woken));
        // It may be entered again while it runs: a decoder may fail at once with what it is given.
        let tell = Tell::new(move |what, number: f64, text: String, ahead_ms| {
            tell(match what {
                0 => Told::Decoded(number as i64),
                1 => Told::Failed(number as usize, text),
                3 => Told::Heard(Report { line_ms: number, ahead_ms, dry: !text.is_empty() }),
                4 => Told::SoundRefused,
                _ => Told::Refused(text),
            });
        });
        let module = make.make(&JsValue::NULL, &tell)?;
        Ok(Self { module, _tell: tell, woken })
    }

    /// Other decoders from now on.
    pub(crate) fn open(&self) {
        self.module.open();
    }

    pub(crate) fn configure(&self, track: usize, description: &Track) {
        let (width, height) = match description.media {
            Media::Video { width, height } => (width, height),
            Media::Audio { sample_rate, channels } => (sample_rate, channels),
        };
        let config = &description.decoder_config;
        let _ = self.module.configure(track, &description.codec, config, width, height);
    }

    pub(crate) fn decode(
        &self,
        track: usize,
        key_frame: bool,
        presentation_us: i64,
        payload: &Uint8Array,
        offset: u32,
    ) {
        let data = payload.subarray(offset, payload.length());
        self.module.decode(track, key_frame, presentation_us as f64, &data);
    }

    /// Shows a picture. Whether it is drawn already.
    pub(crate) fn show(&self, presentation_us: i64) -> bool {
        self.module.show(presentation_us as f64)
    }

    pub(crate) fn discard(&self, before_us: i64) {
        self.module.discard(before_us as f64);
    }

    pub(crate) fn sound(&self, correction: Correction) {
        let Correction { speed, skip_ms, begin_ms } = correction;
        self.module.sound(speed, skip_ms, begin_ms);
    }

    pub(crate) fn wake_in(&self, ms: f64) {
        self.module.wake(ms, &self.woken);
    }
}

impl Drop for Decoders {
    fn drop(&mut self) {
        self.module.close();
    }
}
