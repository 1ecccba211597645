//! Everything around the players: the camera's time, servers, the network, and what goes wrong.

use std::collections::VecDeque;

use sightline_player::append::Failure;
use sightline_player::latency::{SoundClock, Target};
use sightline_player::link::{self, Ask, Link, News};
use sightline_player::session::{Command, Config, Event, Renderer, Session};
use sightline_wire::{ClientMessage, Header, Kind as Segment, Media, ServerMessage, Track};

use crate::browser::{Browser, Kind, Payload};

const RUN_MS: f64 = 60_000.0;
/// Trouble begins no earlier and ends no later.
const TROUBLE_MS: (f64, f64) = (1_000.0, 46_000.0);
/// More than this behind the newest picture, and for so long, is too much, in milliseconds.
const BEHIND_MS: f64 = 1_500.0;
const TOO_LONG_MS: f64 = 5_000.0;
/// What a server leaves out when a viewer is so much too slow, in milliseconds.
const LAG_MS: f64 = 2_000.0;
const NEVER: f64 = f64::INFINITY;

/// xorshift64*: enough randomness for a simulation, the same on every machine.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d | 1);
        random.unit();
        random
    }
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
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.unit() * from.len() as f64) as usize]
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing comes through for a while, then all of it.
    Pause,
    /// Packets are lost: everything behind them waits for its repetition, many times in a row.
    Burst,
    /// There is no network, and nobody says so.
    NoNetwork,
    /// The connection is closed.
    Closed,
    /// The connection is dead, and nobody says so.
    Silent,
    /// The server is gone, and back after a while.
    NoServer,
    /// The camera falls silent; the server says so.
    Offline,
    /// The server says offline and online in turn, and media goes on.
    Flapping,
    /// The decoder hangs until a seek.
    Hung,
    /// The decoder hangs until there is another MediaSource.
    HungForGood,
    /// Bytes that cannot be decoded.
    Corrupt,
    /// The browser lets go of the MediaSource.
    SourceLost,
    /// The page is hidden.
    Hidden,
    /// The machine sleeps.
    Sleep,
    /// The server's next answer lacks `tracks`, or the init segment, or brings that late; or there is no answer at all.
    Lie,
    /// The epoch is announced again.
    Repeated,
}

impl Trouble {
    pub(crate) const ALL: [Self; 16] = [
        Self::Pause,
        Self::Burst,
        Self::NoNetwork,
        Self::Closed,
        Self::Silent,
        Self::NoServer,
        Self::Offline,
        Self::Flapping,
        Self::Hung,
        Self::HungForGood,
        Self::Corrupt,
        Self::SourceLost,
        Self::Hidden,
        Self::Sleep,
        Self::Lie,
        Self::Repeated,
    ];
}

/// How an answer to `subscribe` is a lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    NoTracks,
    NoInit,
    LateInit,
    NoAnswer,
    WrongAnswer,
}

enum Packet {
    Text(String),
    Fragment(Header, Payload),
    Closed,
}

/// A connection, seen from both ends.
struct Wire {
    link: Link,
    connection: Option<u32>,
    opening: Option<(f64, u32)>,
    /// What is on its way, in order.
    queue: VecDeque<(f64, Packet)>,
    /// Nothing gets through any more in either direction.
    dead: bool,
    busy: VecDeque<link::Event>,
}

/// A player, and what the server holds for it.
pub(crate) struct Client {
    pub(crate) session: Session<Payload>,
    browser: Browser,
    wire: usize,
    events: VecDeque<Event<Payload>>,
    subscribed: bool,
    /// Frames left out because the way was blocked.
    lagging: u32,
    late_init_ms: f64,
    /// Every append of it fails.
    pub(crate) broken: bool,
    pub(crate) sources: u32,
    behind_ms: f64,
    worst_behind_ms: f64,
    worst_at_ms: f64,
    /// When somebody looked again, and how long it took to be live.
    looked_ms: f64,
    pub(crate) back_ms: f64,
}

pub(crate) struct World {
    random: Random,
    pub(crate) verbose: bool,
    now_ms: f64,
    // How the world is.
    frame_ms: f64,
    gop: u32,
    jitter_ms: f64,
    pub(crate) drift_ppm: f64,
    append_fails: f64,
    quota_s: f64,
    wild_sequences: bool,
    pub(crate) script: Vec<(f64, Trouble)>,
    pub(crate) hidden_ms: f64,
    // How it is now.
    pub(crate) clients: Vec<Client>,
    wires: Vec<Wire>,
    frame: u32,
    next_frame_ms: f64,
    next_tick_ms: f64,
    /// Until when nothing comes through; until when the others.
    paused_until_ms: f64,
    burst_until_ms: f64,
    no_network_until_ms: f64,
    no_server_until_ms: f64,
    offline_until_ms: f64,
    flapping_until_ms: f64,
    hidden_until_ms: f64,
    lie: Option<Lie>,
    epoch: u32,
    /// Since when nothing is in the way of playing.
    fair_since_ms: f64,
    pub(crate) troubles: Vec<(f64, Trouble)>,
    pub(crate) connections: u32,
}

impl World {
    pub(crate) fn calm(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let frame_ms = random.pick(&[200.0, 100.0, 100.0, 66.0, 40.0]);
        let mut world = Self {
            verbose: false,
            now_ms: 0.0,
            frame_ms,
            gop: random.between(8.0, 60.0) as u32,
            jitter_ms: 3.0,
            drift_ppm: 0.0,
            append_fails: 0.0,
            quota_s: NEVER,
            wild_sequences: false,
            script: Vec::new(),
            hidden_ms: 0.0,
            clients: Vec::new(),
            wires: Vec::new(),
            frame: 1,
            next_frame_ms: 0.0,
            next_tick_ms: 100.0,
            paused_until_ms: 0.0,
            burst_until_ms: 0.0,
            no_network_until_ms: 0.0,
            no_server_until_ms: 0.0,
            offline_until_ms: 0.0,
            flapping_until_ms: 0.0,
            hidden_until_ms: 0.0,
            lie: None,
            epoch: 1,
            fair_since_ms: 0.0,
            troubles: Vec::new(),
            connections: 0,
            random,
        };
        world.make_clients(if seed % 8 == 7 { 2 } else { 1 });
        world
    }

    pub(crate) fn new(seed: u64) -> Self {
        let mut world = Self::calm(seed);
        let random = &mut world.random;
        world.jitter_ms = random.pick(&[3.0, 3.0, 20.0, 80.0, 200.0]);
        world.drift_ppm = random.between(-200.0, 200.0);
        world.append_fails = random.pick(&[0.0, 0.0, 0.0, 0.002]);
        // A group of pictures that does not fit cannot be played.
        let gop_s = f64::from(world.gop) * world.frame_ms / 1e3;
        world.quota_s = random.pick(&[NEVER, NEVER, 9.0, 14.0]) + gop_s;
        world.wild_sequences = random.chance(0.1);
        let mut at_ms = random.between(0.0, 8_000.0) + TROUBLE_MS.0;
        while at_ms < TROUBLE_MS.1 {
            world.script.push((at_ms, random.pick(&Trouble::ALL)));
            // Some come on top of each other.
            at_ms += if random.chance(0.2) {
                random.between(10.0, 1_000.0)
            } else {
                random.between(4_000.0, 16_000.0)
            };
        }
        world.hidden_ms = random.between(500.0, 14_000.0);
        // Some begin with it.
        if random.chance(0.1) {
            world.lie_next();
        }
        world
    }

    pub(crate) fn make_clients(&mut self, count: usize) {
        self.wires = vec![Wire::new()];
        self.clients = (0..count).map(Client::new).collect();
        for member in 0..count as u32 {
            self.link(0, link::Event::Joined { member, stream: name(member as usize) });
        }
        for client in 0..count {
            self.give(client, Event::Started);
        }
    }

    // ---- events into players, commands out of them

    fn give(&mut self, client: usize, event: Event<Payload>) {
        self.clients[client].events.push_back(event);
        if self.clients[client].events.len() > 1 {
            return; // it is being handled: this one follows
        }
        while let Some(event) = self.clients[client].events.front().cloned() {
            for command in self.clients[client].session.handle(event, self.now_ms) {
                self.carry_out(client, command);
            }
            self.clients[client].events.pop_front();
        }
    }

    fn link(&mut self, wire: usize, event: link::Event) {
        self.wires[wire].busy.push_back(event);
        if self.wires[wire].busy.len() > 1 {
            return;
        }
        while let Some(event) = self.wires[wire].busy.front().cloned() {
            for command in self.wires[wire].link.handle(event, self.now_ms) {
                self.carry_out_link(wire, command);
            }
            self.wires[wire].busy.pop_front();
        }
    }

    fn carry_out_link(&mut self, wire: usize, command: link::Command) {
        if self.verbose && !matches!(&command, link::Command::Send(text) if text.contains("ping")) {
            let news = matches!(command, link::Command::Tell(_, News::Clock(_) | News::Message(_)));
            if !news {
                say(self.now_ms, &format!("link {wire}: {command:?}"));
            }
        }
        match command {
            link::Command::Connect(connection) => {
                self.connections += 1;
                self.close(wire);
                let at_ms = self.connected_ms();
                let line = &mut self.wires[wire];
                line.queue.clear();
                line.dead = false;
                if self.no_server_until_ms > at_ms {
                    line.queue.push_back((at_ms, Packet::Closed));
                    line.connection = Some(connection);
                } else {
                    line.opening = Some((at_ms, connection));
                }
            }
            link::Command::Disconnect => {
                self.close(wire);
                self.wires[wire].queue.clear();
            }
            link::Command::Send(text) => self.hear(wire, &text),
            link::Command::Tell(member, news) => self.give(member as usize, Event::Link(news)),
            link::Command::Move(member, stream, wanted) => {
                let to = self.wires.len();
                self.wires.push(Wire::new());
                self.clients[member as usize].wire = to;
                self.link(to, link::Event::Joined { member, stream });
                self.link(to, link::Event::Ask(member, Ask::Subscribe(wanted), 0.5));
            }
        }
    }

    /// When a connection that is asked for now is open. A lost SYN is repeated after 1, 3 and 7 s.
    fn connected_ms(&mut self) -> f64 {
        let again = [0.0, 1_000.0, 3_000.0, 7_000.0].map(|ms| self.now_ms + ms);
        let through = again.into_iter().find(|&at| at >= self.no_network_until_ms.max(self.paused_until_ms));
        through.unwrap_or(NEVER) + 3.0 + self.random.between(0.0, self.jitter_ms)
    }

    fn close(&mut self, wire: usize) {
        let line = &mut self.wires[wire];
        line.connection = None;
        line.opening = None;
        for client in self.clients.iter_mut().filter(|client| client.wire == wire) {
            client.subscribed = false;
        }
    }

    fn carry_out(&mut self, client: usize, command: Command<Payload>) {
        if self.verbose && !matches!(command, Command::Operate { .. } | Command::Notify(_) | Command::Rate(_))
        {
            say(self.now_ms, &format!("player {client}: {command:?}"));
        }
        let now_ms = self.now_ms;
        let this = &mut self.clients[client];
        let browser = &mut this.browser;
        browser.advance(now_ms);
        match command {
            Command::Link(ask) => {
                let random = self.random.unit();
                let wire = this.wire;
                self.link(wire, link::Event::Ask(client as u32, ask, random));
            }
            Command::OpenSource { generation } => {
                browser.open(generation, now_ms);
                this.sources += 1;
            }
            Command::CloseSource => browser.close(now_ms),
            Command::AddBuffers(_) => browser.buffers = true,
            Command::Operate { operation, .. } => {
                let appends = matches!(operation, sightline_player::append::Operation::Append(_));
                let full = browser.buffered_span_s() > self.quota_s;
                let fails = this.broken || now_ms < TROUBLE_MS.1 && self.random.chance(self.append_fails);
                let done_ms = now_ms + self.random.between(0.5, 6.0);
                let bad = browser.begin(operation, done_ms);
                if bad || appends && fails {
                    browser.failure = Some(Failure::Broken);
                } else if appends && full {
                    browser.failure = Some(Failure::Quota);
                }
            }
            Command::Seek(to_s) => browser.seek(to_s),
            // Not every browser lets it go there.
            Command::Look(at_s) if self.random.chance(0.7) => browser.look(at_s),
            Command::Rate(rate) => {
                assert!((0.97..=4.0).contains(&rate)); // where a server leaves pictures out, those that come are far apart
                browser.rate = rate;
            }
            Command::Play => browser.playing = true,
            Command::Pause => browser.playing = false,
            Command::Look(_) | Command::Mute | Command::Notify(_) => {}
            _ => unreachable!("commands for decoders"),
        }
    }

    // ---- the server and the way from it

    /// Puts something on the way: never before what was sent earlier. When it arrives.
    fn send(&mut self, wire: usize, packet: Packet) -> f64 {
        let mut at_ms =
            self.now_ms.max(self.paused_until_ms) + 2.0 + self.random.between(0.0, self.jitter_ms);
        if self.now_ms < self.burst_until_ms && self.random.chance(0.1) {
            at_ms += self.random.between(200.0, 600.0);
        }
        let line = &mut self.wires[wire];
        if let Some((last_ms, _)) = line.queue.back() {
            at_ms = at_ms.max(*last_ms);
        }
        if !line.dead {
            line.queue.push_back((at_ms, packet));
        }
        at_ms
    }

    fn say(&mut self, wire: usize, message: &ServerMessage) {
        let text = serde_json::to_string(message).expect("serialises");
        self.send(wire, Packet::Text(text));
    }

    fn capture_ms(&self, frame: u32) -> f64 {
        f64::from(frame) * self.frame_ms * (1.0 + self.drift_ppm / 1e6)
    }

    fn media(&mut self, client: usize, frame: u32) {
        let wire = self.clients[client].wire;
        let key_frame = frame.is_multiple_of(self.gop);
        let ticks = f64::from(frame) * self.frame_ms * 90.0;
        let at_s = ticks.round() / 90_000.0;
        let sequence = if self.wild_sequences { (self.random.unit() * 1e9) as u32 } else { frame };
        let header = Header {
            kind: Segment::Media,
            track: 0,
            key_frame,
            number: client as u32 + 7,
            epoch: self.epoch,
            sequence,
            decode_time_ticks: ticks.round() as u64,
            composition_offset_ticks: 0,
            duration_ticks: (self.frame_ms * 90.0) as u32,
            capture_time_us: (self.capture_ms(frame) * 1e3) as i64,
            payload_offset: 0,
        };
        let kind = if key_frame { Kind::Key } else { Kind::Frame };
        self.send(wire, Packet::Fragment(header, Payload { at_s, kind }));
    }

    fn tracks(&mut self, client: usize, catch_up_sequence: Option<u32>) {
        let media = Media::Video { width: 640, height: 360 };
        let track =
            Track { index: 0, codec: "avc1.42c01e".into(), timescale: 90_000, decoder_config: vec![], media };
        let message = ServerMessage::Tracks {
            number: client as u32 + 7,
            epoch: self.epoch,
            catch_up_sequence,
            tracks: vec![track],
        };
        self.say(self.clients[client].wire, &message);
    }

    fn init(&mut self, client: usize) {
        let header = Header::init(client as u32 + 7, self.epoch, 0);
        self.send(
            self.clients[client].wire,
            Packet::Fragment(header, Payload { at_s: 0.0, kind: Kind::Init }),
        );
    }

    fn hear(&mut self, wire: usize, text: &str) {
        let line = &self.wires[wire];
        if line.connection.is_none() || line.dead {
            return;
        }
        match serde_json::from_str(text).expect("the link speaks the protocol") {
            ClientMessage::Subscribe { stream, .. } => self.subscribe(wire, &stream),
            ClientMessage::Unsubscribe { stream } => {
                let client = index(&stream);
                self.clients[client].subscribed = false;
                self.say(wire, &ServerMessage::Unsubscribed { stream, number: client as u32 + 7 });
            }
            ClientMessage::Ping { client_time_ms } => {
                let time_us = (self.now_ms * 1e3) as i64;
                self.say(wire, &ServerMessage::Pong { client_time_ms, time_us });
            }
            ClientMessage::Hello { .. } | ClientMessage::Quality { .. } => {}
        }
    }

    fn subscribe(&mut self, wire: usize, stream: &str) {
        let client = index(stream);
        let number = client as u32 + 7;
        let lie = self.lie.take();
        match lie {
            Some(Lie::NoAnswer) => return,
            Some(Lie::WrongAnswer) => {
                return self.say(wire, &ServerMessage::Unsubscribed { stream: stream.into(), number });
            }
            _ => {}
        }
        self.say(wire, &ServerMessage::Subscribed { stream: stream.into(), number });
        let offline = self.now_ms < self.offline_until_ms;
        if offline {
            self.say_state(client, false);
        }
        let catch_up = if self.wild_sequences { u32::MAX / 2 } else { self.frame - 1 };
        if lie != Some(Lie::NoTracks) {
            self.tracks(client, Some(catch_up));
        }
        match lie {
            Some(Lie::NoInit) => {}
            Some(Lie::LateInit) => self.clients[client].late_init_ms = self.now_ms + 400.0,
            _ => self.init(client),
        }
        self.clients[client].subscribed = true;
        self.clients[client].lagging = 0;
        self.history(client);
    }

    fn history(&mut self, client: usize) {
        let newest = self.frame - 1;
        for frame in newest - newest % self.gop..=newest {
            self.media(client, frame);
        }
    }

    fn say_state(&mut self, client: usize, online: bool) {
        let number = client as u32 + 7;
        let message = if online {
            ServerMessage::Online { number }
        } else {
            let reason = "no picture".to_owned();
            ServerMessage::Offline { number, since_time_us: 0, code: "stalled".into(), reason }
        };
        self.say(self.clients[client].wire, &message);
    }

    fn take_picture(&mut self) {
        let frame = self.frame;
        self.frame += 1;
        self.next_frame_ms = self.capture_ms(self.frame);
        if self.now_ms < self.offline_until_ms {
            return;
        }
        for client in 0..self.clients.len() {
            let Client { wire, subscribed, lagging, .. } = self.clients[client];
            if !subscribed || self.wires[wire].dead {
                continue;
            }
            if self.now_ms < self.flapping_until_ms {
                self.say_state(client, frame.is_multiple_of(3));
            }
            let blocked = self.wires[wire].queue.back().is_some_and(|(at, _)| at - self.now_ms > LAG_MS)
                || self.paused_until_ms - self.now_ms > LAG_MS;
            if blocked {
                self.clients[client].lagging += 1;
            } else if lagging > 0 {
                self.clients[client].lagging = 0;
                let number = client as u32 + 7;
                self.say(wire, &ServerMessage::Dropped { number, frames: lagging });
                self.history(client);
            } else {
                self.media(client, frame);
            }
        }
    }

    // ---- what goes wrong

    fn lie_next(&mut self) {
        self.lie = Some(self.random.pick(&[
            Lie::NoTracks,
            Lie::NoInit,
            Lie::LateInit,
            Lie::NoAnswer,
            Lie::WrongAnswer,
        ]));
    }

    fn trouble(&mut self, trouble: Trouble) {
        if self.verbose {
            say(self.now_ms, &format!("TROUBLE {trouble:?}"));
        }
        let now_ms = self.now_ms;
        self.troubles.push((now_ms, trouble));
        self.fair_since_ms = now_ms; // the next one, before the last one is over
        let until = |random: &mut Random, low, high| (now_ms + random.between(low, high)).min(TROUBLE_MS.1);
        let client = (self.random.unit() * self.clients.len() as f64) as usize;
        match trouble {
            Trouble::Pause => self.paused_until_ms = until(&mut self.random, 200.0, 6_000.0),
            Trouble::Burst => self.burst_until_ms = until(&mut self.random, 500.0, 4_000.0),
            Trouble::NoNetwork => {
                self.no_network_until_ms = until(&mut self.random, 2_000.0, 31_000.0);
                self.wires.iter_mut().for_each(Wire::die);
            }
            Trouble::Closed => self.close_all(),
            Trouble::Silent => self.wires.iter_mut().for_each(Wire::die),
            Trouble::NoServer => {
                self.no_server_until_ms = until(&mut self.random, 100.0, 12_000.0);
                self.close_all();
            }
            Trouble::Offline => {
                self.offline_until_ms = until(&mut self.random, 500.0, 8_000.0);
                self.tell_all_state(false);
            }
            Trouble::Flapping => self.flapping_until_ms = until(&mut self.random, 500.0, 5_000.0),
            Trouble::Hung => self.clients[client].browser.hung = true,
            Trouble::HungForGood => self.clients[client].browser.hung_for_good = true,
            Trouble::Corrupt => {
                for (_, packet) in self.wires.iter_mut().flat_map(|wire| wire.queue.iter_mut()) {
                    if let Packet::Fragment(_, payload) = packet {
                        payload.kind = Kind::Corrupt;
                    }
                }
            }
            Trouble::SourceLost => {
                if self.clients[client].browser.has_source {
                    let generation = self.clients[client].browser.generation;
                    self.give(
                        client,
                        Event::SourceFailed { generation, reason: "the browser let go".into() },
                    );
                }
            }
            Trouble::Hidden => {
                self.hidden_until_ms = (now_ms + self.hidden_ms).min(TROUBLE_MS.1);
                self.hide(true);
            }
            Trouble::Sleep => self.sleep(),
            Trouble::Lie => {
                self.lie_next();
                // It tells it at the next occasion, and here is one.
                if self.random.chance(0.5) {
                    self.close_all();
                }
            }
            Trouble::Repeated => {
                for client in 0..self.clients.len() {
                    if self.clients[client].subscribed {
                        self.tracks(client, None);
                        if self.random.chance(0.5) {
                            self.init(client);
                        }
                    }
                }
            }
        }
    }

    fn close_all(&mut self) {
        for wire in 0..self.wires.len() {
            if self.wires[wire].connection.is_some() {
                self.send(wire, Packet::Closed);
                for client in self.clients.iter_mut().filter(|client| client.wire == wire) {
                    client.subscribed = false;
                }
            }
        }
    }

    fn tell_all_state(&mut self, online: bool) {
        for client in 0..self.clients.len() {
            if self.clients[client].subscribed {
                self.say_state(client, online);
            }
        }
    }

    fn hide(&mut self, hidden: bool) {
        for client in 0..self.clients.len() {
            let now_ms = self.now_ms;
            self.clients[client].browser.advance(now_ms);
            self.clients[client].browser.hidden = hidden;
            if !hidden {
                self.clients[client].looked_ms = now_ms;
            }
            self.give(client, Event::Hidden(hidden));
        }
    }

    /// Nothing happens here for a while; elsewhere it does.
    fn sleep(&mut self) {
        let asleep_ms = self.random.between(1_000.0, 20_000.0).min(TROUBLE_MS.1 - self.now_ms).max(0.0);
        let survives = asleep_ms < 3_000.0 && self.random.chance(0.5);
        if !survives {
            // Its connections are closed by the other end, and that may never be heard of.
            if self.random.chance(0.5) { self.close_all() } else { self.wires.iter_mut().for_each(Wire::die) }
        }
        let wakes_ms = self.now_ms + asleep_ms;
        while self.next_frame_ms < wakes_ms {
            self.now_ms = self.now_ms.max(self.next_frame_ms);
            self.take_picture();
        }
        for client in &mut self.clients {
            // Time stood still for what plays.
            let playing = std::mem::replace(&mut client.browser.playing, false);
            client.browser.advance(wakes_ms);
            client.browser.playing = playing;
        }
        self.now_ms = wakes_ms;
        self.fair_since_ms = wakes_ms;
        self.next_tick_ms = self.next_tick_ms.max(wakes_ms);
    }

    // ---- time

    fn next_ms(&self) -> f64 {
        let mut next = self.next_tick_ms.min(self.next_frame_ms);
        if let Some((at, _)) = self.script.first() {
            next = next.min(*at);
        }
        for wire in &self.wires {
            if let Some((at, _)) = wire.queue.front() {
                next = next.min(*at);
            }
            if let Some((at, _)) = wire.opening {
                next = next.min(at);
            }
        }
        for client in &self.clients {
            let browser = &client.browser;
            next = next.min(browser.open_at).min(browser.busy_until).min(browser.next_shown_ms());
        }
        next
    }

    fn step(&mut self) {
        self.now_ms = self.now_ms.max(self.next_ms());
        if self.script.first().is_some_and(|(at, _)| *at <= self.now_ms) {
            let (_, trouble) = self.script.remove(0);
            self.trouble(trouble);
        }
        if self.next_frame_ms <= self.now_ms {
            self.take_picture();
        }
        for wire in 0..self.wires.len() {
            self.deliver(wire);
        }
        for client in 0..self.clients.len() {
            self.browse(client);
        }
        if self.next_tick_ms <= self.now_ms {
            self.tick();
        }
    }

    fn deliver(&mut self, wire: usize) {
        let now_ms = self.now_ms;
        if let Some((_, connection)) = self.wires[wire].opening.take_if(|(at, _)| *at <= now_ms) {
            self.wires[wire].connection = Some(connection);
            self.link(wire, link::Event::Open(connection));
        }
        while self.wires[wire].queue.front().is_some_and(|(at, _)| *at <= now_ms) {
            let Some((_, packet)) = self.wires[wire].queue.pop_front() else { break };
            let Some(connection) = self.wires[wire].connection else { continue };
            match packet {
                Packet::Text(text) => self.link(wire, link::Event::Text(connection, text)),
                Packet::Closed => {
                    self.close(wire);
                    let random = self.random.unit();
                    self.link(wire, link::Event::Closed(connection, 1006, random));
                }
                Packet::Fragment(header, payload) => {
                    let member = self.wires[wire].link.on_fragment(connection, header.number, now_ms);
                    if let Some(member) = member {
                        let browser = &mut self.clients[member as usize].browser;
                        browser.advance(now_ms);
                        let position_s = browser.moving().then_some(browser.position_s);
                        self.give(
                            member as usize,
                            Event::Fragment { header, payload, bytes: 6_000, position_s },
                        );
                    }
                }
            }
        }
    }

    fn browse(&mut self, client: usize) {
        let now_ms = self.now_ms;
        let this = &mut self.clients[client];
        let browser = &mut this.browser;
        browser.advance(now_ms);
        let generation = browser.generation;
        if browser.open_at <= now_ms {
            browser.open_at = NEVER;
            self.give(client, Event::SourceOpen { generation });
        }
        let browser = &mut self.clients[client].browser;
        if browser.busy_until <= now_ms {
            if let Some(failure) = browser.failure.take() {
                browser.busy_until = NEVER;
                browser.in_flight.clear();
                let position_s = browser.position_s;
                self.give(client, Event::OperationFailed { generation, track: 0, failure, position_s });
            } else {
                browser.done();
                self.give(client, Event::OperationDone { generation, track: 0 });
            }
        }
        let this = &mut self.clients[client];
        if (this.browser.moving() || this.browser.looks())
            && let Some(media_time_s) = this.browser.show()
        {
            if this.looked_ms > 0.0 && f64::from(self.frame) * self.frame_ms / 1e3 - media_time_s < 1.0 {
                this.back_ms = this.back_ms.max(now_ms - this.looked_ms);
                this.looked_ms = 0.0;
            }
            self.give(client, Event::FrameShown { media_time_s, shown_ms: now_ms, seeking: false });
        }
        let late_init_ms = &mut self.clients[client].late_init_ms;
        if *late_init_ms <= now_ms {
            *late_init_ms = NEVER;
            self.init(client);
        }
    }

    fn tick(&mut self) {
        let hidden = self.now_ms < self.hidden_until_ms;
        // Timers of hidden pages are slow.
        self.next_tick_ms = self.now_ms + if hidden { 1_000.0 } else { 100.0 };
        if hidden {
            self.next_tick_ms = self.next_tick_ms.min(self.hidden_until_ms);
        } else if self.clients.iter().any(|client| client.browser.hidden) {
            self.hide(false);
        }
        let offline = self.now_ms < self.offline_until_ms;
        if !offline && self.offline_until_ms > 0.0 {
            self.offline_until_ms = 0.0;
            self.tell_all_state(true);
        }
        if self.now_ms >= self.flapping_until_ms && self.flapping_until_ms > 0.0 {
            self.flapping_until_ms = 0.0;
            // It ends with a lie as often as not: media comes all the same.
            let online = self.random.chance(0.5);
            self.tell_all_state(online);
        }
        for client in 0..self.clients.len() {
            let wire = self.clients[client].wire;
            let random = self.random.unit();
            self.link(wire, link::Event::Tick(random));
            let now_ms = self.now_ms;
            self.clients[client].browser.advance(now_ms);
            let facts = self.clients[client].browser.facts();
            self.give(client, Event::Tick { facts, random });
        }
        self.judge();
    }

    fn judge(&mut self) {
        let now_ms = self.now_ms;
        let in_the_way = [
            self.paused_until_ms,
            self.burst_until_ms,
            self.no_network_until_ms,
            self.no_server_until_ms,
            self.offline_until_ms,
            self.hidden_until_ms,
        ];
        // After a picture that is missing, the next one is that much later, too.
        if in_the_way.into_iter().any(|until| now_ms <= until + self.frame_ms) || self.lie.is_some() {
            self.fair_since_ms = now_ms;
        }
        let edge_s = f64::from(self.frame) * self.frame_ms / 1e3;
        let may_ms = BEHIND_MS + 200.0 + self.jitter_ms + self.frame_ms;
        for client in &mut self.clients {
            let behind = client.browser.shown_s.is_none_or(|shown_s| (edge_s - shown_s) * 1e3 > may_ms);
            client.behind_ms = if behind { client.behind_ms + 100.0 } else { 0.0 };
            let behind_ms = client.behind_ms.min(now_ms - self.fair_since_ms);
            if behind_ms > client.worst_behind_ms {
                (client.worst_behind_ms, client.worst_at_ms) = (behind_ms, now_ms);
            }
        }
    }

    pub(crate) fn run(&mut self) {
        while self.now_ms < RUN_MS {
            self.step();
        }
    }

    /// How the players fared.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        for (index, client) in self.clients.iter().enumerate().filter(|(_, client)| !client.broken) {
            let said = |what: String| {
                let stats = client.session.stats();
                Err(format!(
                    "player {index} {what}; {:?}; {:?} {:?}",
                    self.troubles, stats.state, stats.reasons
                ))
            };
            // A server that does not say where history ends costs a second at each beginning, and there may be two.
            let too_long_ms = TOO_LONG_MS + if self.wild_sequences { 2_000.0 } else { 0.0 };
            if client.worst_behind_ms > too_long_ms {
                return said(format!(
                    "was behind for {} ms at {}",
                    client.worst_behind_ms, client.worst_at_ms
                ));
            }
            if client.session.state() != "live" || client.behind_ms > 0.0 {
                return said("ended stuck".into());
            }
        }
        Ok(())
    }

    pub(crate) fn assert_well(&self) {
        if let Err(why) = self.verdict() {
            panic!("{why}");
        }
    }
}

impl Wire {
    fn new() -> Self {
        Self {
            link: Link::new(vec!["avc1".into()]),
            connection: None,
            opening: None,
            queue: VecDeque::new(),
            dead: false,
            busy: VecDeque::new(),
        }
    }

    fn die(&mut self) {
        self.dead = true;
        self.queue.clear();
        if self.opening.is_some() {
            // Its first packet is under way and is repeated.
            self.dead = false;
        }
    }
}

impl Client {
    fn new(index: usize) -> Self {
        let config = Config {
            stream: name(index),
            muted: true,
            autoplay: true,
            target: Target::Auto,
            sound_clock: SoundClock::Samples,
            whole_groups: false,
            renderer: Renderer::Mse,
        };
        Self {
            session: Session::new(config),
            browser: Browser::new(),
            wire: 0,
            events: VecDeque::new(),
            subscribed: false,
            lagging: 0,
            late_init_ms: NEVER,
            broken: false,
            sources: 0,
            behind_ms: 0.0,
            worst_behind_ms: 0.0,
            worst_at_ms: 0.0,
            looked_ms: 0.0,
            back_ms: 0.0,
        }
    }
}

fn name(index: usize) -> String {
    ["gate", "yard", "hall", "dock"][index].into()
}

fn index(stream: &str) -> usize {
    ["gate", "yard", "hall", "dock"].iter().position(|&name| name == stream).expect("one of ours")
}

fn say(now_ms: f64, what: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{now_ms:>9.1} {what}\n"));
}
