//! A seeded simulation of the session against a network, a browser and a user who behave badly.
//!
//! It models what the session can see of them and nothing else: fragments that come late or not at all, appends that
//! take time, a playhead that stops at the end of what is buffered, clocks that drift, connections that break. Two
//! things must hold for every seed: it never ends stuck, and it never stays more than 1.5 s behind for 5 s.

use sightline_player::append::{Failure, Operation};
use sightline_player::latency::{SoundClock, Target};
use sightline_player::session::{Command, Config, Event, Facts, Renderer, Session};
use sightline_wire::{Header, Kind, Media, ServerMessage, Track};

const FRAME_MS: f64 = 40.0;
const GOP: u32 = 100;

/// xorshift64*: enough randomness for a simulation, the same on every machine.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
    fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }
}

/// How bad the world is.
#[derive(Clone, Copy, Debug)]
struct World {
    jitter_ms: f64,
    /// Milliseconds between two network pauses, and how long they last; 0: never.
    pause_every_ms: f64,
    pause_ms: f64,
    /// Milliseconds between two breaks of the connection; 0: never.
    break_every_ms: f64,
    /// The camera's clock against ours.
    drift_ppm: f64,
    /// The chance of an append to fail, and of a failure to be a full buffer.
    append_fails: f64,
    quota: f64,
    /// The chance per second of the decoder to hang until something is done about it.
    hangs: f64,
}

#[derive(Default)]
struct Browser {
    generation: u32,
    open_at: Option<f64>,
    buffers: bool,
    busy_until: Option<(f64, Option<Failure>)>,
    in_flight: Vec<(f64, bool)>,
    frames_s: Vec<f64>,
    position_s: f64,
    playing: bool,
    hung: bool,
    rate: f64,
    total_frames: u32,
    shown_s: Option<f64>,
}

struct Simulation {
    world: World,
    random: Random,
    now_ms: f64,
    session: Session<(f64, bool)>,
    browser: Browser,
    connection: Option<u32>,
    opening: Option<(f64, u32)>,
    /// What is on its way, in order: when it arrives, and what.
    network: std::collections::VecDeque<(f64, Event<(f64, bool)>)>,
    subscribed: bool,
    frame: u32,
    next_pause_ms: f64,
    next_break_ms: f64,
    paused_until_ms: f64,
    behind_ms: f64,
    worst_behind_ms: f64,
    stuck_ms: f64,
    worst_stuck_ms: f64,
    healthy_ms: f64,
    rebuilds: u32,
}

impl Simulation {
    fn new(world: World, seed: u64) -> Self {
        let config = Config {
            stream: "gate".into(),
            codecs: vec!["avc1".into()],
            muted: true,
            autoplay: true,
            target: Target::Auto,
            sound_clock: SoundClock::Samples,
            whole_groups: false,
            renderer: Renderer::Mse,
        };
        Self {
            world,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now_ms: 0.0,
            session: Session::new(config),
            browser: Browser { rate: 1.0, ..Browser::default() },
            connection: None,
            opening: None,
            network: std::collections::VecDeque::new(),
            subscribed: false,
            frame: 0,
            next_pause_ms: world.pause_every_ms,
            next_break_ms: world.break_every_ms,
            paused_until_ms: 0.0,
            behind_ms: 0.0,
            worst_behind_ms: 0.0,
            stuck_ms: 0.0,
            worst_stuck_ms: 0.0,
            healthy_ms: 0.0,
            rebuilds: 0,
        }
    }

    fn frame_interval_ms(&self) -> f64 {
        FRAME_MS * (1.0 + self.world.drift_ppm / 1e6)
    }

    fn give(&mut self, event: Event<(f64, bool)>) {
        for command in self.session.handle(event, self.now_ms) {
            self.carry_out(command);
        }
    }

    /// Puts something on the way to the client: never before what was sent earlier.
    fn send(&mut self, event: Event<(f64, bool)>) {
        let mut at =
            self.now_ms.max(self.paused_until_ms) + 2.0 + self.random.between(0.0, self.world.jitter_ms);
        if let Some((last, _)) = self.network.back() {
            at = at.max(*last);
        }
        self.network.push_back((at, event));
    }

    fn say(&mut self, message: &ServerMessage) {
        if let Some(connection) = self.connection {
            let text = serde_json::to_string(message).expect("serialises");
            self.send(Event::Text { connection, text });
        }
    }

    fn fragment(&mut self, frame: u32) {
        let Some(connection) = self.connection else { return };
        let key_frame = frame.is_multiple_of(GOP);
        let header = Header {
            kind: Kind::Media,
            track: 0,
            key_frame,
            number: 7,
            epoch: 1,
            sequence: frame,
            decode_time_ticks: u64::from(frame) * 3600,
            composition_offset_ticks: 0,
            duration_ticks: 3600,
            capture_time_us: (f64::from(frame) * self.frame_interval_ms() * 1e3) as i64,
            payload_offset: 0,
        };
        let payload = (f64::from(frame) * 0.04, key_frame);
        self.send(Event::Fragment { connection, header, payload, bytes: 6_000, position_s: None });
    }

    fn hear(&mut self, text: &str) {
        let message: sightline_wire::ClientMessage =
            serde_json::from_str(text).expect("the session speaks the protocol");
        match message {
            sightline_wire::ClientMessage::Subscribe { stream, .. } => {
                self.say(&ServerMessage::Subscribed { stream, number: 7 });
                let tracks = vec![Track {
                    index: 0,
                    codec: "avc1.42c01e".into(),
                    timescale: 90_000,
                    decoder_config: vec![],
                    media: Media::Video { width: 640, height: 360 },
                }];
                let newest = self.frame.saturating_sub(1);
                self.say(&ServerMessage::Tracks {
                    number: 7,
                    epoch: 1,
                    catch_up_sequence: Some(newest),
                    tracks,
                });
                for frame in newest - newest % GOP..=newest {
                    self.fragment(frame);
                }
                self.subscribed = true;
            }
            sightline_wire::ClientMessage::Unsubscribe { stream } => {
                self.subscribed = false;
                self.say(&ServerMessage::Unsubscribed { stream, number: 7 });
            }
            sightline_wire::ClientMessage::Ping { client_time_ms } => {
                let time_us = (self.now_ms * 1e3) as i64;
                self.say(&ServerMessage::Pong { client_time_ms, time_us });
            }
            sightline_wire::ClientMessage::Hello { .. } => {}
        }
    }

    fn carry_out(&mut self, command: Command<(f64, bool)>) {
        let browser = &mut self.browser;
        match command {
            Command::Connect { connection } => {
                self.network.clear();
                self.subscribed = false;
                self.connection = None;
                self.opening = Some((self.now_ms + 5.0, connection));
            }
            Command::Disconnect => {
                self.connection = None;
                self.opening = None;
                self.subscribed = false;
                self.network.clear();
            }
            Command::Send(text) => self.hear(&text),
            Command::OpenSource { generation } => {
                *browser = Browser {
                    generation,
                    open_at: Some(self.now_ms + 3.0),
                    rate: 1.0,
                    total_frames: 0,
                    ..Browser::default()
                };
                self.rebuilds += 1;
            }
            Command::CloseSource => *browser = Browser { rate: 1.0, ..Browser::default() },
            Command::AddBuffers(_) => browser.buffers = true,
            Command::Operate { operation, .. } => {
                assert!(browser.buffers && browser.busy_until.is_none(), "one operation at a time");
                let fails = match operation {
                    Operation::Append(payloads) => {
                        browser.in_flight = payloads;
                        self.random.chance(self.world.append_fails)
                    }
                    Operation::RemoveBefore { end_s } => {
                        browser.frames_s.retain(|&frame| frame >= end_s);
                        false
                    }
                    Operation::ChangeType(_) => false,
                };
                let failure = fails.then(|| {
                    if self.random.chance(self.world.quota) { Failure::Quota } else { Failure::Broken }
                });
                browser.busy_until = Some((self.now_ms + self.random.between(1.0, 6.0), failure));
            }
            Command::Seek(to_s) => {
                browser.position_s = to_s;
                browser.hung = false;
            }
            Command::Rate(rate) => {
                assert!((0.97..=1.25).contains(&rate));
                browser.rate = rate;
            }
            Command::Play => browser.playing = true,
            Command::Pause => browser.playing = false,
            Command::Mute | Command::Notify(_) => {}
            _ => unreachable!("commands for decoders"),
        }
    }

    fn moving(&self) -> bool {
        let b = &self.browser;
        // A segment declares 200 ms, so the playhead may run that far past the newest frame.
        b.playing && !b.hung && b.frames_s.iter().any(|&f| f <= b.position_s + 1e-6 && b.position_s < f + 0.2)
    }

    fn step(&mut self) {
        self.now_ms += 1.0;
        let now_ms = self.now_ms;
        if self.world.pause_every_ms > 0.0 && now_ms >= self.next_pause_ms {
            self.paused_until_ms = now_ms + self.world.pause_ms;
            self.next_pause_ms = now_ms + self.world.pause_every_ms * self.random.between(0.5, 1.5);
        }
        if self.world.break_every_ms > 0.0 && now_ms >= self.next_break_ms {
            self.next_break_ms = now_ms + self.world.break_every_ms * self.random.between(0.5, 1.5);
            if let Some(connection) = self.connection.take() {
                self.network.clear();
                self.subscribed = false;
                let random = self.random.unit();
                self.give(Event::SocketClosed { connection, code: 1006, random });
            }
        }
        if self.random.chance(self.world.hangs / 1e3) && self.browser.shown_s.is_some() {
            self.browser.hung = true;
        }
        while f64::from(self.frame) * self.frame_interval_ms() <= now_ms {
            if self.subscribed {
                self.fragment(self.frame);
            }
            self.frame += 1;
        }
        if let Some((_, connection)) = self.opening.take_if(|(at, _)| *at <= now_ms) {
            self.connection = Some(connection);
            self.give(Event::SocketOpen { connection });
        }
        while self.network.front().is_some_and(|(at, _)| *at <= now_ms) {
            let Some((_, mut event)) = self.network.pop_front() else { break };
            let moving = self.moving();
            if let Event::Fragment { position_s, .. } = &mut event {
                *position_s = moving.then_some(self.browser.position_s);
            }
            self.give(event);
        }
        self.browse();
        if (self.now_ms as u64).is_multiple_of(100) {
            self.look();
        }
    }

    fn browse(&mut self) {
        let now_ms = self.now_ms;
        let generation = self.browser.generation;
        if self.browser.open_at.take_if(|at| *at <= now_ms).is_some() {
            self.give(Event::SourceOpen { generation });
        }
        if let Some((_, failure)) = self.browser.busy_until.take_if(|(at, _)| *at <= now_ms) {
            let appended = std::mem::take(&mut self.browser.in_flight);
            if let Some(failure) = failure {
                let position_s = self.browser.position_s;
                self.give(Event::OperationFailed { generation, track: 0, failure, position_s });
            } else {
                self.browser.frames_s.extend(appended.iter().map(|(frame, _)| *frame));
                self.give(Event::OperationDone { generation, track: 0 });
            }
        }
        if self.moving() {
            self.browser.position_s += self.browser.rate / 1e3;
            let at = self.browser.position_s;
            let shown = self.browser.frames_s.iter().copied().rfind(|&frame| frame <= at);
            if shown != self.browser.shown_s
                && let Some(media_time_s) = shown
            {
                self.browser.shown_s = shown;
                self.browser.total_frames += 1;
                self.give(Event::FrameShown { media_time_s, shown_ms: now_ms });
            }
        }
    }

    fn look(&mut self) {
        let b = &self.browser;
        let mut buffered_s: Vec<(f64, f64)> = Vec::new();
        let mut frames = b.frames_s.clone();
        frames.sort_by(f64::total_cmp);
        for frame in frames {
            match buffered_s.last_mut() {
                Some(last) if frame <= last.1 => last.1 = frame + 0.2,
                _ => buffered_s.push((frame, frame + 0.2)),
            }
        }
        let facts = Facts {
            position_s: b.position_s,
            moving: self.moving(),
            total_frames: b.total_frames,
            dropped_frames: 0,
            buffered_s,
        };
        let random = self.random.unit();
        self.give(Event::Tick { facts, random });

        let edge_s = f64::from(self.frame) * 0.04;
        let behind = self.browser.shown_s.is_none_or(|shown_s| edge_s - shown_s > 1.5);
        let stuck = !self.moving();
        self.behind_ms = if behind { self.behind_ms + 100.0 } else { 0.0 };
        self.stuck_ms = if stuck { self.stuck_ms + 100.0 } else { 0.0 };
        self.healthy_ms += if stuck { 0.0 } else { 100.0 };
        self.worst_behind_ms = self.worst_behind_ms.max(self.behind_ms);
        self.worst_stuck_ms = self.worst_stuck_ms.max(self.stuck_ms);
    }

    fn run(world: World, seed: u64, seconds: u32) -> Self {
        let mut simulation = Self::new(world, seed);
        // The camera was there before the viewer.
        simulation.frame = 1;
        simulation.give(Event::Started);
        for _ in 0..seconds * 1000 {
            simulation.step();
        }
        simulation
    }
}

const CALM: World = World {
    jitter_ms: 3.0,
    pause_every_ms: 0.0,
    pause_ms: 0.0,
    break_every_ms: 0.0,
    drift_ppm: 0.0,
    append_fails: 0.0,
    quota: 0.0,
    hangs: 0.0,
};

#[test]
fn in_a_calm_network_it_starts_once_and_stays_close() {
    for seed in 0..10 {
        let world = World { drift_ppm: if seed % 2 == 0 { 200.0 } else { -200.0 }, ..CALM };
        let simulation = Simulation::run(world, seed, 60);
        let stats = simulation.session.stats();
        assert_eq!(stats.state, "live");
        assert_eq!((stats.counters.seeks, stats.counters.rebuilds, stats.counters.reconnects), (0, 0, 0));
        assert_eq!(simulation.rebuilds, 1, "one MediaSource");
        assert!(stats.latency_ms.is_some_and(|ms| ms < 60.0), "seed {seed}: {:?}", stats.latency_ms);
        assert!(simulation.healthy_ms > 59_000.0, "seed {seed}: {}", simulation.healthy_ms);
    }
}

#[test]
fn whatever_goes_wrong_it_is_never_stuck_and_never_stays_behind() {
    let worlds = [
        World { jitter_ms: 150.0, ..CALM },
        World { pause_every_ms: 6_000.0, pause_ms: 2_500.0, ..CALM },
        World { break_every_ms: 8_000.0, ..CALM },
        World { append_fails: 0.002, quota: 0.5, ..CALM },
        World { hangs: 0.05, ..CALM },
        World {
            jitter_ms: 60.0,
            pause_every_ms: 9_000.0,
            pause_ms: 1_500.0,
            break_every_ms: 20_000.0,
            drift_ppm: 300.0,
            append_fails: 0.000_5,
            quota: 0.5,
            hangs: 0.02,
        },
    ];
    for (index, world) in worlds.into_iter().enumerate() {
        for seed in 0..6 {
            let simulation = Simulation::run(world, seed, 90);
            let stats = simulation.session.stats();
            let what = format!("world {index}, seed {seed}: {stats:?}");
            assert!(simulation.worst_stuck_ms < 9_000.0, "stuck {} ms in {what}", simulation.worst_stuck_ms);
            assert!(
                simulation.worst_behind_ms < 9_000.0,
                "behind {} ms in {what}",
                simulation.worst_behind_ms
            );
            // With the trouble over it must come back by itself.
            let mut healed = Simulation { world: CALM, ..simulation };
            for _ in 0..8_000 {
                healed.step();
            }
            assert_eq!(healed.session.stats().state, "live", "{what}");
            assert!(healed.moving() && healed.behind_ms < 5_000.0, "{what}");
        }
    }
}
