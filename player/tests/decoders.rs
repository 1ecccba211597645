//! A seeded simulation of the session with decoders for its way to the screen: a network with jitter and pauses, decoders
//! that are slow, fail or hang, a connection that breaks.
//!
//! For every seed: pictures are shown in order, each one that is decoded is shown or let go of, no more than a few are
//! open at a time, and whatever happened it ends live and close behind the camera.

use std::collections::{BTreeSet, VecDeque};

use sightline_player::latency::{SoundClock, Target};
use sightline_player::link::{self, Link};
use sightline_player::session::{Command, Config, Event, Facts, Notice, Renderer, Session};
use sightline_wire::{ClientMessage, Header, Kind, Media, ServerMessage, Track};

const FRAME_MS: f64 = 40.0;
const GOP: u32 = 50;
/// The only session on its link.
const MEMBER: u32 = 1;

/// xorshift64*: the same on every machine.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[derive(Clone, Copy, Debug)]
struct World {
    jitter_ms: f64,
    /// Milliseconds between two pauses of the network, and how long they last; 0: never.
    pause_every_ms: f64,
    pause_ms: f64,
    break_every_ms: f64,
    /// What decoding a frame takes, in milliseconds.
    decode_ms: f64,
    /// The chance of a frame to end its decoder.
    fails: f64,
    target: Target,
    renderer: Renderer,
}

const CALM: World = World {
    jitter_ms: 2.0,
    pause_every_ms: 0.0,
    pause_ms: 0.0,
    break_every_ms: 0.0,
    decode_ms: 2.0,
    fails: 0.0,
    target: Target::Auto,
    renderer: Renderer::WebCodecs,
};

#[derive(Default)]
struct Decoders {
    generation: u32,
    configured: bool,
    began: bool,
    /// When each is done, and its presentation time.
    busy: VecDeque<(f64, i64)>,
    open: BTreeSet<i64>,
    most_open: usize,
    shown: Vec<(f64, i64)>,
    gone: bool,
}

/// What is on its way to the page.
enum Coming {
    Told(link::Event),
    Fragment(u32, Header, u32),
    Shown(i64),
}

struct Simulation {
    world: World,
    random: Random,
    now_ms: f64,
    session: Session<u32>,
    link: Link,
    decoders: Decoders,
    connection: Option<u32>,
    opening: Option<(f64, u32)>,
    network: VecDeque<(f64, Coming)>,
    subscribed: bool,
    frame: u32,
    wake_ms: f64,
    paused_until_ms: f64,
    /// The camera sends nothing more.
    silent: bool,
    renderer_changes: u32,
}

impl Simulation {
    fn run(world: World, seed: u64, seconds: u32) -> Self {
        let config = Config {
            stream: "gate".into(),
            muted: true,
            autoplay: true,
            target: world.target,
            sound_clock: SoundClock::Samples,
            whole_groups: false,
            renderer: world.renderer,
        };
        let mut simulation = Self {
            world,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now_ms: 0.0,
            session: Session::new(config),
            link: Link::new(vec!["avc1".into()]),
            decoders: Decoders::default(),
            connection: None,
            opening: None,
            network: VecDeque::new(),
            subscribed: false,
            frame: 31, // somebody joins in the middle of a group
            wake_ms: f64::INFINITY,
            paused_until_ms: 0.0,
            silent: false,
            renderer_changes: 0,
        };
        simulation.tell(link::Event::Joined { member: MEMBER, stream: "gate".into() });
        simulation.give(Event::Started);
        simulation.go_on(seconds);
        simulation
    }

    fn go_on(&mut self, seconds: u32) {
        for _ in 0..seconds * 1000 {
            self.step();
        }
    }

    /// When a frame is taken, on the page's clock.
    fn taken_ms(frame: u32) -> f64 {
        (f64::from(frame) - 31.0) * FRAME_MS
    }

    fn give(&mut self, event: Event<u32>) {
        let commands = self.session.handle(event, self.now_ms);
        for command in commands {
            self.carry_out(command);
        }
    }

    fn tell(&mut self, event: link::Event) {
        for command in self.link.handle(event, self.now_ms) {
            match command {
                link::Command::Connect(connection) => {
                    self.network.clear();
                    self.subscribed = false;
                    self.connection = None;
                    self.opening = Some((self.now_ms + 5.0, connection));
                }
                link::Command::Disconnect => {
                    self.connection = None;
                    self.opening = None;
                    self.subscribed = false;
                    self.network.clear();
                }
                link::Command::Send(text) => self.hear(&text),
                link::Command::Tell(_, news) => self.give(Event::Link(news)),
                link::Command::Move(..) => unreachable!("one session is alone"),
            }
        }
    }

    fn send(&mut self, event: Coming) {
        let jitter_ms = self.random.unit() * self.world.jitter_ms;
        let at_ms = self.now_ms.max(self.paused_until_ms) + 1.0 + jitter_ms;
        let last_ms = self.network.back().map_or(0.0, |(at_ms, _)| *at_ms);
        self.network.push_back((at_ms.max(last_ms), event));
    }

    fn say(&mut self, message: &ServerMessage) {
        if let Some(connection) = self.connection {
            let text = serde_json::to_string(message).expect("serialises");
            self.send(Coming::Told(link::Event::Text(connection, text)));
        }
    }

    fn fragment(&mut self, frame: u32) {
        let Some(connection) = self.connection else { return };
        let header = Header {
            kind: Kind::Media,
            key_frame: frame.is_multiple_of(GOP),
            sequence: frame,
            decode_time_ticks: u64::from(frame) * 3600,
            duration_ticks: 3600,
            capture_time_us: (Self::taken_ms(frame) * 1e3) as i64,
            ..Header::init(7, 1, 0)
        };
        self.send(Coming::Fragment(connection, header, frame));
    }

    fn hear(&mut self, text: &str) {
        match serde_json::from_str(text).expect("the session speaks the protocol") {
            ClientMessage::Subscribe { stream, .. } => {
                self.say(&ServerMessage::Subscribed { stream, number: 7 });
                let newest = self.frame - 1;
                let track = Track {
                    index: 0,
                    codec: "avc1.42c01e".into(),
                    timescale: 90_000,
                    decoder_config: vec![1, 2, 3],
                    media: Media::Video { width: 640, height: 360 },
                };
                self.say(&ServerMessage::Tracks {
                    number: 7,
                    epoch: 1,
                    catch_up_sequence: Some(newest),
                    tracks: vec![track],
                });
                for frame in newest - newest % GOP..=newest {
                    self.fragment(frame);
                }
                self.subscribed = true;
            }
            ClientMessage::Unsubscribe { stream } => {
                self.subscribed = false;
                self.say(&ServerMessage::Unsubscribed { stream, number: 7 });
            }
            ClientMessage::Ping { client_time_ms } => {
                self.say(&ServerMessage::Pong { client_time_ms, time_us: (self.now_ms * 1e3) as i64 });
            }
            ClientMessage::Hello { .. } | ClientMessage::Quality { .. } => {}
        }
    }

    fn carry_out(&mut self, command: Command<u32>) {
        let now_ms = self.now_ms;
        let decoders = &mut self.decoders;
        match command {
            Command::Link(ask) => {
                let random = self.random.unit();
                return self.tell(link::Event::Ask(MEMBER, ask, random));
            }
            Command::OpenDecoders { generation } => {
                decoders.generation = generation;
                decoders.configured = false;
                decoders.busy.clear();
                decoders.open.clear();
            }
            Command::Configure { description, .. } => {
                assert_eq!(description.decoder_config, [1, 2, 3]);
                decoders.configured = true;
                decoders.began = false;
            }
            Command::Decode { key_frame, presentation_us, .. } => {
                assert!(decoders.configured, "nothing is decoded without a configuration");
                assert!(decoders.began || key_frame, "a decoder begins with a key frame");
                decoders.began = true;
                let begins_ms = decoders.busy.back().map_or(now_ms, |(at_ms, _)| *at_ms);
                decoders.busy.push_back((begins_ms + self.world.decode_ms, presentation_us));
            }
            Command::Show(us) => {
                assert!(decoders.open.contains(&us), "only what is decoded is shown");
                assert!(decoders.shown.last().is_none_or(|&(_, last)| us > last), "in order");
                decoders.open.retain(|&open| open > us);
                decoders.shown.push((now_ms, us));
                self.network.push_front((now_ms, Coming::Shown(us)));
            }
            Command::Discard(us) => decoders.open.retain(|&open| open >= us),
            Command::WakeIn(ms) => self.wake_ms = now_ms + ms.max(0.0),
            Command::CloseSource => decoders.gone = true,
            Command::Notify(Notice::Renderer(..)) => self.renderer_changes += 1,
            _ => {}
        }
        self.decoders.most_open = self.decoders.most_open.max(self.decoders.open.len());
    }

    fn step(&mut self) {
        self.now_ms += 1.0;
        let now_ms = self.now_ms;
        let World { pause_every_ms, pause_ms, break_every_ms, fails, .. } = self.world;
        if pause_every_ms > 0.0 && now_ms % pause_every_ms < 1.0 {
            self.paused_until_ms = now_ms + pause_ms;
        }
        if break_every_ms > 0.0
            && now_ms % break_every_ms < 1.0
            && let Some(connection) = self.connection.take()
        {
            self.network.clear();
            self.subscribed = false;
            let random = self.random.unit();
            self.tell(link::Event::Closed(connection, 1006, random));
        }
        while Self::taken_ms(self.frame) <= now_ms {
            if self.subscribed && !self.silent {
                self.fragment(self.frame);
            }
            self.frame += 1;
        }
        if let Some((_, connection)) = self.opening.take_if(|(at_ms, _)| *at_ms <= now_ms) {
            self.connection = Some(connection);
            self.tell(link::Event::Open(connection));
        }
        while let Some((_, coming)) = self.network.pop_front_if(|(at_ms, _)| *at_ms <= now_ms) {
            match coming {
                Coming::Told(event) => self.tell(event),
                Coming::Fragment(connection, header, payload) => {
                    if self.link.on_fragment(connection, header.number, now_ms).is_some() {
                        self.give(Event::Fragment { header, payload, bytes: 6_000, position_s: None });
                    }
                }
                Coming::Shown(us) => {
                    self.give(Event::FrameShown {
                        media_time_s: us as f64 / 1e6,
                        shown_ms: now_ms,
                        seeking: false,
                    });
                }
            }
        }
        while let Some((_, presentation_us)) = self.decoders.busy.pop_front_if(|(at_ms, _)| *at_ms <= now_ms)
        {
            let generation = self.decoders.generation;
            if self.random.unit() < fails {
                self.decoders.busy.clear();
                self.decoders.configured = false;
                self.give(Event::DecoderFailed { generation, track: 0, reason: "broken".into() });
            } else {
                self.decoders.open.insert(presentation_us);
                self.give(Event::Decoded { generation, presentation_us });
            }
        }
        if self.wake_ms <= now_ms {
            self.wake_ms = f64::INFINITY;
            self.give(Event::Woken);
        }
        if (now_ms as u64).is_multiple_of(100) {
            let random = self.random.unit();
            self.tell(link::Event::Tick(random));
            self.give(Event::Tick { facts: Facts::default(), random });
        }
    }

    /// How far behind the camera the newest picture on the screen is, in milliseconds.
    fn behind_ms(&self) -> f64 {
        let frame = self.decoders.shown.last().map_or(0, |&(_, us)| (us as f64 / 40_000.0).round() as u32);
        self.now_ms - Self::taken_ms(frame)
    }

    /// Times between two pictures since then, in milliseconds.
    fn gaps_ms(&self, since_ms: f64) -> Vec<f64> {
        let shown: Vec<f64> =
            self.decoders.shown.iter().map(|&(at_ms, _)| at_ms).filter(|&at_ms| at_ms > since_ms).collect();
        shown.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

#[test]
fn in_a_calm_network_each_picture_is_shown_when_it_is_decoded_and_history_is_not_played() {
    for seed in 0..10 {
        let simulation = Simulation::run(CALM, seed, 30);
        let stats = simulation.session.stats();
        assert_eq!((stats.state, stats.renderer), ("live", "webcodecs"));
        assert!(stats.latency_p95_ms.is_some_and(|ms| ms < 8.0), "{stats:?}");
        assert_eq!((stats.dropped_frames, stats.counters.decoder_errors), (0, 0), "{stats:?}");
        // Of the 32 pictures of history one was shown, and that soon.
        let shown = &simulation.decoders.shown;
        assert_eq!(shown[0].1, 31 * 40_000);
        assert!(shown[0].0 < 5.0 + 31.0 * 2.0 + 40.0, "{}", shown[0].0);
        assert!(simulation.gaps_ms(1_000.0).iter().all(|gap_ms| (34.0..=46.0).contains(gap_ms)));
    }
}

#[test]
fn under_jitter_pictures_come_evenly() {
    for seed in 0..10 {
        let simulation = Simulation::run(World { jitter_ms: 80.0, ..CALM }, seed, 40);
        let mut off_ms: Vec<f64> =
            simulation.gaps_ms(10_000.0).iter().map(|gap_ms| (gap_ms - FRAME_MS).abs()).collect();
        off_ms.sort_by(f64::total_cmp);
        assert!(off_ms[off_ms.len() * 9 / 10] < 20.0, "seed {seed}: {}", off_ms[off_ms.len() * 9 / 10]);
        let stats = simulation.session.stats();
        assert!(stats.latency_p95_ms.is_some_and(|ms| ms < 100.0), "{stats:?}");
    }
}

#[test]
fn a_target_is_kept_with_few_pictures_open() {
    let world = World { target: Target::FixedMs(1_000.0), jitter_ms: 30.0, ..CALM };
    let simulation = Simulation::run(world, 1, 30);
    let stats = simulation.session.stats();
    assert!(stats.latency_ms.is_some_and(|ms| (ms - 1_000.0).abs() < 15.0), "{stats:?}");
    assert!(simulation.gaps_ms(5_000.0).iter().all(|gap_ms| (gap_ms - FRAME_MS).abs() < 12.0));
    assert!(simulation.decoders.most_open <= 8, "{} pictures open, {stats:?}", simulation.decoders.most_open);
}

#[test]
fn all_that_a_camera_sent_before_it_fell_silent_is_shown() {
    let world = World { target: Target::FixedMs(1_000.0), ..CALM };
    let mut simulation = Simulation::run(world, 1, 30);
    let newest_us = i64::from(simulation.frame - 1) * 40_000;
    simulation.silent = true;
    simulation.go_on(2);
    assert_eq!(simulation.decoders.shown.last().map(|&(_, us)| us), Some(newest_us));
    assert!(simulation.gaps_ms(5_000.0).iter().all(|gap_ms| (gap_ms - FRAME_MS).abs() < 12.0));
}

#[test]
fn a_decoder_that_does_not_keep_up_goes_on_at_key_frames_and_stays_close() {
    let simulation = Simulation::run(World { decode_ms: 60.0, ..CALM }, 1, 60);
    let stats = simulation.session.stats();
    assert!(stats.counters.lags > 3, "{stats:?}");
    assert!(simulation.behind_ms() < 4_000.0, "{} ms behind", simulation.behind_ms());
    assert_eq!((simulation.renderer_changes, stats.renderer), (0, "webcodecs"));

    // Where it may, it takes the other way.
    let simulation = Simulation::run(World { decode_ms: 60.0, renderer: Renderer::Auto, ..CALM }, 1, 60);
    assert_eq!((simulation.renderer_changes, simulation.session.stats().renderer), (1, "mse"));
}

#[test]
fn whatever_goes_wrong_it_ends_live_and_close() {
    let worlds = [
        World { jitter_ms: 200.0, ..CALM },
        World { pause_every_ms: 5_000.0, pause_ms: 2_500.0, ..CALM },
        World { break_every_ms: 7_000.0, ..CALM },
        World { fails: 0.000_5, ..CALM },
        World { fails: 0.2, ..CALM },
        World {
            jitter_ms: 60.0,
            pause_every_ms: 9_000.0,
            pause_ms: 1_500.0,
            break_every_ms: 21_000.0,
            fails: 0.000_2,
            decode_ms: 15.0,
            target: Target::FixedMs(300.0),
            ..CALM
        },
    ];
    for (index, world) in worlds.into_iter().enumerate() {
        for seed in 0..10 {
            let mut simulation = Simulation::run(world, seed, 60);
            let target = simulation.world.target;
            simulation.world = World { target, ..CALM };
            simulation.go_on(10);
            let stats = simulation.session.stats();
            let what = format!("world {index}, seed {seed}: {stats:?}");
            if simulation.decoders.gone {
                // It gave up in favour of the other way, and said so.
                assert_eq!((simulation.renderer_changes, stats.renderer), (1, "mse"), "{what}");
                assert!(stats.counters.decoder_errors >= 3, "{what}");
                continue;
            }
            assert_eq!(stats.state, "live", "{what}");
            assert!(simulation.behind_ms() < 400.0, "{} ms behind in {what}", simulation.behind_ms());
            assert!(simulation.decoders.most_open <= 40, "{} open in {what}", simulation.decoders.most_open);
        }
    }
}
