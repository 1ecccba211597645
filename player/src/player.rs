//! The player as JavaScript sees it: binds a session to a `<video>`, a seat on a link, a MediaSource and a timer.
//!
//! It carries commands out and reports what happened; it decides nothing.
//!
//! Invariant: events are handled one at a time, in order, also when carrying out a command causes the next one; after
//! [`Player::destroy`] nothing is left: no seat, timer, callback or object URL.

use alloc::rc::{Rc, Weak};
use core::cell::{Cell, RefCell};

use wasm_bindgen::prelude::*;

use crate::browser::{
    Callback, FrameCallback, FrameMetadata, Function, Listener, Uint8Array, Video, clear_interval, has,
    now_ms, random, set_interval, vendor_starts_with,
};
use crate::latency::{SoundClock, Target};
use crate::links::{Heard, Seat};
use crate::mse::{Source, Told, buffered_s, codecs, is_called};
use crate::prelude::*;
use crate::reorder::Durations;
use crate::session::{Command, Config, Event, Facts, Renderer, Session};
use crate::webcodecs::{self, Decoders};
use crate::within;

/// Firefox's pictures are on the screen so much later than its sound is heard, in seconds, measured on a sound card: sound is
/// appended that much later. Some of it, later sound, is less noticed than any earlier one (EBU R 37: 60 ms and 40).
const FIREFOX_LEAD_S: f64 = -0.033;

/// A refresh of the screen, in milliseconds: so late Firefox tells of a picture.
const MAX_TOLD_LATE_MS: f64 = 17.0;

/// Time between two looks, in milliseconds.
const TICK_MS: i32 = 100;

/// The `readyState` from which on there is something to go on with.
const HAVE_FUTURE_DATA: u32 = 3;

type Payload = Uint8Array;

struct Shell {
    video: Video,
    listener: Function,
    /// Where this browser needs them right.
    durations: Option<Cell<Durations>>,
    session: RefCell<Session<Payload>>,
    events: RefCell<Vec<Event<Payload>>>,
    busy: Cell<bool>,
    gone: Cell<bool>,
    /// Borrowed for a moment only: whoever is told something may end this player.
    seat: RefCell<Option<Rc<Seat>>>,
    source: RefCell<Option<Source>>,
    decoders: RefCell<Option<Decoders>>,
    generation: Cell<u32>,
    /// How much earlier than its pictures sound is appended, in seconds.
    sound_lead_s: Cell<f64>,
    frame_request: Cell<Option<u32>>,
    on_frame: FrameCallback,
    on_tick: Callback,
    on_rejected: Callback,
    failed: RefCell<Option<Listener>>,
}

/// Plays one stream in one `<video>`.
#[wasm_bindgen]
pub struct Player {
    shell: Rc<Shell>,
    timer: i32,
}

#[wasm_bindgen]
impl Player {
    /// Plays `stream` of the server at `url` (`wss://host/ws`) in `video`. `target_ms` is NaN for the least latency
    /// there can be. `decoders` makes those of `npm/webcodecs.js`, where that way to the screen is to be taken;
    /// `auto` if only as long as it plays smoothly. `listener` is called with each notice's name and JSON.
    #[wasm_bindgen(constructor)]
    #[expect(clippy::too_many_arguments, reason = "one call from JavaScript, by element.js")]
    pub fn new(
        video: Video,
        url: &str,
        stream: &str,
        autoplay: bool,
        target_ms: f64,
        decoders: Option<Function>,
        auto: bool,
        listener: Function,
    ) -> Player {
        let whole_groups = is_firefox(&video);
        let config = Config {
            stream: stream.into(),
            muted: video.muted(),
            autoplay,
            target: target(target_ms),
            sound_clock: sound_clock(&video),
            whole_groups,
            renderer: match (decoders.is_some(), auto) {
                (false, _) => Renderer::Mse,
                (true, false) => Renderer::WebCodecs,
                (true, true) => Renderer::Auto,
            },
        };
        let shell = Rc::new_cyclic(|shell| Shell {
            durations: whole_groups.then(Cell::default),
            session: RefCell::new(Session::new(config)),
            failed: RefCell::new(Some(Listener::new(&video, &["error"], callback(shell, Shell::on_error)))),
            video,
            listener,
            events: RefCell::default(),
            busy: Cell::new(false),
            gone: Cell::new(false),
            seat: RefCell::default(),
            source: RefCell::default(),
            decoders: RefCell::default(),
            generation: Cell::new(0),
            sound_lead_s: Cell::new(0.0),
            frame_request: Cell::new(None),
            on_frame: frame_callback(shell),
            on_tick: callback(shell, Shell::on_tick),
            on_rejected: callback(shell, Shell::on_rejected),
        });
        if let Some(make) = decoders {
            let made = Decoders::new(&make, shell.decoders_teller());
            match made {
                Ok(decoders) => drop(shell.decoders.replace(Some(decoders))),
                Err(_) => shell.take(Event::CodecRefused { generation: 0, mime: String::new() }),
            }
        }
        shell.request_frame();
        let timer = set_interval(&shell.on_tick, TICK_MS);
        let weak = Rc::downgrade(&shell);
        let ear = Rc::new(move |heard| {
            if let Some(shell) = weak.upgrade() {
                shell.hear(heard);
            }
        });
        let seat = Seat::join(url, codecs(), stream, ear);
        shell.seat.replace(Some(Rc::new(seat)));
        if whole_groups {
            shell.lead_sound(false, FIREFOX_LEAD_S);
        }
        shell.take(Event::Started);
        Player { shell, timer }
    }

    /// Plays, from the live edge.
    pub fn play(&self) {
        self.shell.take(Event::Play);
    }

    /// Pauses.
    pub fn pause(&self) {
        self.shell.take(Event::Pause);
    }

    /// Goes to the live edge now.
    #[wasm_bindgen(js_name = seekToLive)]
    pub fn seek_to_live(&self) {
        self.shell.take(Event::SeekToLive);
    }

    /// The element's sound was switched off or on.
    #[wasm_bindgen(js_name = setMuted)]
    pub fn set_muted(&self, muted: bool) {
        self.shell.take(Event::Muted(muted));
    }

    /// An `AudioContext` takes the sound out of the element from now on, which needs less ahead of time; or no more. It is
    /// heard `lead_s` after the element takes it to be.
    #[wasm_bindgen(js_name = setSoundRouted)]
    pub fn set_sound_routed(&self, routed: bool, lead_s: f64) {
        self.shell.lead_sound(routed, lead_s);
    }

    /// Another target from capture to screen in milliseconds; NaN for the least there can be.
    #[wasm_bindgen(js_name = setTarget)]
    pub fn set_target(&self, target_ms: f64) {
        self.shell.take(Event::Target(target(target_ms)));
    }

    /// The page or the element was hidden, or is to be seen again; or it is far from where anybody looks.
    #[wasm_bindgen(js_name = setHidden)]
    pub fn set_hidden(&self, hidden: bool, far: bool) {
        self.shell.take(if far { Event::Far } else { Event::Hidden(hidden) });
    }

    /// The element is shown at this height in pixels of the screen; 0: the best there is is wanted in any case.
    #[wasm_bindgen(js_name = setHeight)]
    pub fn set_height(&self, height: u32) {
        self.shell.take(Event::Height((height > 0).then_some(height)));
    }

    /// There is a network again.
    #[wasm_bindgen(js_name = networkBack)]
    pub fn network_back(&self) {
        if let Some(seat) = self.shell.seat() {
            seat.network_back();
        }
    }

    /// The figures, as JSON.
    pub fn stats(&self) -> String {
        let stats = self.shell.session.try_borrow().map(|session| session.stats()).unwrap_or_default();
        stats.json()
    }

    /// Lets go of everything.
    pub fn destroy(&self) {
        let shell = &self.shell;
        if shell.gone.replace(true) {
            return;
        }
        clear_interval(self.timer);
        shell.failed.take();
        if let Some(id) = shell.frame_request.take() {
            let _ = shell.video.cancel_frame(id);
        }
        drop(shell.seat.take());
        shell.source.take();
        shell.decoders.take();
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.destroy();
    }
}

/// No standard says it. The browsers that count the bytes of sound decoded are those that count samples; every WebKit,
/// whatever the browser's name, says who made it.
fn sound_clock(video: &Video) -> SoundClock {
    if vendor_starts_with("Apple") {
        SoundClock::OneRate
    } else if has(video, "webkitAudioDecodedByteCount") {
        SoundClock::Samples
    } else {
        SoundClock::TimeStamps
    }
}

/// By a property that only Firefox has.
fn is_firefox(video: &Video) -> bool {
    has(video, "mozHasAudio")
}

fn target(ms: f64) -> Target {
    if ms.is_finite() { Target::FixedMs(ms.max(0.0)) } else { Target::Auto }
}

/// What calls the shell for as long as it is there.
fn callback(shell: &Weak<Shell>, call: impl Fn(Rc<Shell>, &JsValue) + 'static) -> Callback {
    let weak = shell.clone();
    Callback::new(move |what| {
        if let Some(shell) = weak.upgrade() {
            call(shell, &what);
        }
    })
}

/// The same for each picture put on the screen.
fn frame_callback(shell: &Weak<Shell>) -> FrameCallback {
    let weak = shell.clone();
    FrameCallback::new(move |now_ms, metadata| {
        if let Some(shell) = weak.upgrade().filter(|shell| !shell.gone.get()) {
            shell.on_frame(now_ms, &metadata);
        }
    })
}

impl Shell {
    fn on_tick(self: Rc<Self>, _: &JsValue) {
        if let Some(seat) = self.seat() {
            seat.tick();
        }
        self.take(Event::Tick { facts: self.facts(), random: random() });
    }

    fn on_error(self: Rc<Self>, _: &JsValue) {
        if let Some(error) = self.video.error() {
            self.take(Event::SourceFailed { generation: self.generation.get(), reason: error.message() });
        }
    }

    /// `play()` was. Any other rejection means that the source was changed meanwhile: another `play()` follows that.
    fn on_rejected(self: Rc<Self>, error: &JsValue) {
        if is_called(error, "NotAllowedError") {
            self.take(Event::PlayRejected);
        }
    }

    fn request_frame(&self) {
        self.frame_request.set(self.video.request_frame(&self.on_frame).ok());
    }

    /// A picture was put on the screen. Tells of it, and asks for the next one.
    fn on_frame(self: &Rc<Self>, now: f64, metadata: &FrameMetadata) {
        self.request_frame();
        // A time far off is one of those browsers that fill it in with something else. Of a track it is a frame more than
        // there is.
        let expected_ms = metadata.expected_display_time();
        let by_track = self.decoders.borrow().is_some();
        let believed = !by_track && (expected_ms - now).abs() < 100.0;
        // Firefox, which alone has durations put right, tells of half of its pictures a refresh of the screen after they are drawn.
        let late_ms = if self.durations.is_some() {
            within((self.video.current_time() - metadata.media_time()) * 1e3, 0.0, MAX_TOLD_LATE_MS)
        } else {
            0.0
        };
        let shown_ms = match (believed, by_track) {
            (true, _) => expected_ms.max(now) - late_ms,
            (false, true) => now_ms(),
            (false, false) => now,
        };
        self.take(Event::FrameShown {
            media_time_s: metadata.media_time(),
            shown_ms,
            seeking: self.video.seeking(),
        });
    }

    fn lead_sound(self: &Rc<Self>, routed: bool, lead_s: f64) {
        self.sound_lead_s.set(lead_s);
        self.take(Event::SoundRouted(routed, lead_s));
    }

    /// Handles an event, and those that carrying out its commands causes.
    fn take(self: &Rc<Self>, event: Event<Payload>) {
        self.events.borrow_mut().push(event);
        if self.busy.replace(true) {
            return;
        }
        while !self.events.borrow().is_empty() {
            let event = self.events.borrow_mut().remove(0);
            if self.gone.get() {
                continue;
            }
            let commands = self.session.borrow_mut().handle(event, now_ms());
            for command in commands {
                if !self.gone.get() {
                    self.carry_out(command);
                }
            }
        }
        self.busy.set(false);
    }

    fn carry_out(self: &Rc<Self>, command: Command<Payload>) {
        match command {
            Command::Link(ask) => {
                if let Some(seat) = self.seat() {
                    seat.ask(ask);
                }
            }
            Command::OpenSource { generation } => {
                drop(self.source.take());
                self.generation.set(generation);
                match Source::open(&self.video, self.teller(generation)) {
                    Ok(source) => drop(self.source.replace(Some(source))),
                    Err(_) => self.take(Event::SourceFailed {
                        generation,
                        reason: "this browser has no Media Source Extensions".into(),
                    }),
                }
            }
            Command::AddBuffers(mimes) => {
                let tell = self.teller(self.generation.get());
                if let Some(source) = &mut *self.source.borrow_mut() {
                    source.add_buffers(&mimes, &tell);
                }
            }
            Command::CloseSource => {
                self.source.take();
                self.decoders.take();
            }
            Command::OpenDecoders { generation } => {
                self.generation.set(generation);
                self.with_decoders(Decoders::open);
            }
            Command::Configure { track, description } => {
                self.with_decoders(|decoders| decoders.configure(track, &description));
            }
            Command::Decode { track, key_frame, presentation_us, payload, payload_offset } => {
                self.with_decoders(|decoders| {
                    decoders.decode(track, key_frame, presentation_us, &payload, payload_offset);
                });
            }
            Command::Show(us) => {
                if self.with_decoders(|decoders| decoders.show(us)) == Some(true) {
                    self.take(Event::FrameShown {
                        media_time_s: us as f64 / 1e6,
                        shown_ms: now_ms(),
                        seeking: false,
                    });
                }
            }
            Command::Discard(us) => drop(self.with_decoders(|decoders| decoders.discard(us))),
            Command::Sound(correction) => drop(self.with_decoders(|decoders| decoders.sound(correction))),
            Command::WakeIn(ms) => drop(self.with_decoders(|decoders| decoders.wake_in(ms))),
            Command::Operate { track, operation } => {
                let result = match &*self.source.borrow() {
                    Some(source) => source.operate(track, operation, self.sound_lead_s.get()),
                    None => return,
                };
                let tell = self.teller(self.generation.get());
                match result {
                    Ok(true) => tell(Told::Done(track)),
                    Ok(false) => {}
                    Err(failure) => tell(Told::OperationFailed(track, failure)),
                }
            }
            Command::Look(at_s) => {
                if let Some(source) = &*self.source.borrow() {
                    source.look_at(at_s);
                }
            }
            Command::Seek(to_s) => self.video.set_current_time(to_s),
            Command::Rate(rate) => self.video.set_playback_rate(rate),
            Command::Play => self.play(),
            Command::Pause => self.video.pause(),
            Command::Mute => self.video.set_muted(true),
            Command::Notify(notice) => {
                let (name, json) = notice.write();
                let _ = self.listener.tell(&JsValue::NULL, name, &json);
            }
        }
    }

    fn with_decoders<T>(&self, call: impl FnOnce(&Decoders) -> T) -> Option<T> {
        self.decoders.borrow().as_ref().map(call)
    }

    fn decoders_teller(self: &Rc<Self>) -> impl Fn(webcodecs::Told) + Clone + 'static {
        let weak = Rc::downgrade(self);
        move |told| {
            let Some(shell) = weak.upgrade() else { return };
            let generation = shell.generation.get();
            shell.take(match told {
                webcodecs::Told::Decoded(presentation_us) => Event::Decoded { generation, presentation_us },
                webcodecs::Told::Failed(track, reason) => Event::DecoderFailed { generation, track, reason },
                webcodecs::Told::Refused(mime) => Event::CodecRefused { generation, mime },
                webcodecs::Told::Heard(report) => Event::Heard(report),
                webcodecs::Told::SoundRefused => Event::SoundRefused,
                webcodecs::Told::Woken => Event::Woken,
            });
        }
    }

    fn seat(&self) -> Option<Rc<Seat>> {
        self.seat.borrow().clone()
    }

    fn hear(self: &Rc<Self>, heard: Heard) {
        let (header, payload) = match heard {
            Heard::News(news) => return self.take(Event::Link(news)),
            Heard::Fragment(header, payload) => (header, payload),
        };
        if let Some(cell) = &self.durations {
            let mut durations = cell.get();
            let correction = durations.correction(&header);
            cell.set(durations);
            if let Some((at, right)) = correction.filter(|(at, _)| at + 4 <= payload.length()) {
                payload.write(&right, at);
            }
        }
        self.take(Event::Fragment {
            header: *header,
            bytes: payload.length() as usize,
            payload,
            position_s: self.moving().then(|| self.video.current_time()),
        });
    }

    fn teller(self: &Rc<Self>, generation: u32) -> impl Fn(Told) + Clone + 'static {
        let weak = Rc::downgrade(self);
        move |told| {
            let Some(shell) = weak.upgrade() else { return };
            let event = match told {
                Told::Open => Event::SourceOpen { generation },
                Told::Failed(reason) => Event::SourceFailed { generation, reason },
                Told::Refused(mime) => Event::CodecRefused { generation, mime },
                Told::Done(track) => Event::OperationDone { generation, track },
                Told::OperationFailed(track, failure) => {
                    let position_s = shell.video.current_time();
                    Event::OperationFailed { generation, track, failure, position_s }
                }
            };
            shell.take(event);
        }
    }

    fn play(&self) {
        if let Ok(promise) = self.video.play() {
            promise.on_rejected(&self.on_rejected);
        }
    }

    fn moving(&self) -> bool {
        !self.video.paused() && !self.video.seeking() && self.video.ready_state() >= HAVE_FUTURE_DATA
    }

    fn facts(&self) -> Facts {
        let quality = self.video.playback_quality();
        Facts {
            position_s: self.video.current_time(),
            moving: self.moving(),
            total_frames: quality.total_video_frames(),
            dropped_frames: quality.dropped_video_frames(),
            buffered_s: buffered_s(&self.video),
        }
    }
}
