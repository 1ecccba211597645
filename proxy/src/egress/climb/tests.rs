use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::{
    hub::{Hub, Item, Publisher, Spec},
    media::{Frame, Track, h264},
};

#[derive(Debug)]
struct Nobody;

impl Member for Nobody {
    fn news(&self, _: u32) {}
}

/// A camera of one of the qualities: 25 pictures a second, each tenth a key frame.
struct Camera {
    publisher: Publisher,
    start: Instant,
    sent: i64,
}

impl Camera {
    /// Sends this many.
    fn send(&mut self, pictures: i64) {
        for i in self.sent..self.sent + pictures {
            let frame = Frame {
                track: 0,
                pts_ticks: i * 3_600,
                dts_ticks: None,
                duration_ticks: None,
                capture_time_us: 0,
                key_frame: i % 10 == 0,
                data: Bytes::from_static(b"picture"),
            };
            self.publisher.frame(frame, self.start + Duration::from_millis(i as u64 * 40));
        }
        self.sent += pictures;
    }
}

/// A stream of two qualities, and one viewer.
struct Watched {
    qualities: Vec<Arc<Stream>>,
    crowds: Arc<Crowds<Nobody>>,
    member: Arc<Nobody>,
    start: Instant,
    now: Instant,
}

struct Viewer {
    climb: Climb<Nobody>,
    cursor: Cursor,
    seat: Seat<Nobody>,
    /// Presentation times, in milliseconds, of what it got, from the first on.
    got_ms: Vec<i64>,
    first_ms: Option<i64>,
}

fn all(_: &Epoch) -> bool {
    true
}

impl Watched {
    fn new() -> Self {
        let name = |name: &str| name.parse().expect("a name");
        let qualities = vec![name("main"), name("sub")];
        let spec = Spec { name: name("cam"), on_demand: true, max_viewers: None, qualities };
        let hub = Hub::with([spec], usize::MAX);
        let qualities = hub.get("cam").expect("there").qualities().cloned().collect();
        let now = Instant::now();
        Self { qualities, crowds: Arc::default(), member: Arc::new(Nobody), start: now, now }
    }

    /// A camera that comes so late.
    fn camera(&self, quality: usize, late_ms: u64) -> Camera {
        let start = self.start + Duration::from_millis(late_ms);
        let publisher = self.qualities[quality].publish();
        let track: Track = h264::track(h264::tests::AVCC).expect("a track");
        publisher.tracks(vec![track], start).expect("muxes");
        Camera { publisher, start, sent: 0 }
    }

    fn viewer(&self, height: Option<u32>, decodes: impl Fn(&Epoch) -> bool) -> Viewer {
        let (climb, stream) = Climb::new(&self.qualities[0], height, None, decodes, self.now);
        let seat = self.crowds.join(&stream, &self.member);
        Viewer { climb, cursor: Cursor::new(stream), seat, got_ms: Vec::new(), first_ms: None }
    }

    /// How many watch each quality, and for how many each is fetched.
    fn watching(&self) -> Vec<(usize, usize)> {
        self.qualities.iter().map(|stream| (stream.status().viewers, *stream.viewers().borrow())).collect()
    }

    /// Lets the viewer decide, and take what there is. Gives the frames it left out, if it went to another quality.
    fn step(&mut self, viewer: &mut Viewer, troubled: bool, decodes: impl Fn(&Epoch) -> bool) -> Option<u32> {
        self.now += Duration::from_millis(100);
        let now = self.now;
        let from = (&viewer.cursor, &viewer.seat);
        let change = viewer.climb.step(from, &self.crowds, &decodes, troubled, now);
        let left_out = change.map(|change| {
            let frames = viewer.cursor.leave_out(change.begins_us);
            (viewer.cursor, viewer.seat) = (change.cursor, change.seat);
            frames
        });
        self.take(viewer, decodes);
        left_out
    }

    fn take(&self, viewer: &mut Viewer, decodes: impl Fn(&Epoch) -> bool) {
        loop {
            if viewer.climb.holds(&viewer.cursor, || self.now) {
                return;
            }
            let Some(item) = viewer.cursor.next() else { return };
            match item {
                Item::State(State::Offline, since_us, fault) => {
                    viewer.climb.lose(Loss::Offline(since_us, fault), self.now);
                }
                Item::State(State::Live, ..) => viewer.climb.live(self.now),
                Item::Epoch(epoch, _) if decodes(&epoch) => viewer.climb.decodable(self.now),
                Item::Epoch(..) => viewer.climb.lose(Loss::Undecodable("H.265".into()), self.now),
                Item::Fragment(fragment) => {
                    let ms = fragment.pts_us / 1_000;
                    viewer.got_ms.push(ms - *viewer.first_ms.get_or_insert(ms));
                }
                _ => {}
            }
        }
    }
}

fn fault(code: &'static str) -> Fault {
    Fault { code, reason: format!("it is {code}") }
}

/// Code, and whether it ends the subscription.
fn told(message: Option<ServerMessage>) -> Option<(String, bool)> {
    match message? {
        ServerMessage::Offline { code, .. } => Some((code, false)),
        ServerMessage::Error { message, .. } => Some((message, true)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_viewer_begins_with_what_there_is_and_goes_on_with_what_fits_when_that_comes() {
    let mut watched = Watched::new();
    let mut main = watched.camera(0, 0);
    main.send(5);
    let mut viewer = watched.viewer(Some(100), all);
    assert_eq!(viewer.cursor.stream().quality.as_ref().map(ToString::to_string), Some("main".into()));
    assert!(viewer.climb.look, "and would rather have the other");
    assert_eq!(watched.step(&mut viewer, false, all), None);
    assert_eq!(watched.watching(), [(1, 1), (0, 1)], "it is fetched, and nobody has it yet");
    main.send(1);
    assert_eq!(watched.step(&mut viewer, false, all), None);
    // It begins as late as it is connected to: behind what was seen.
    let mut sub = watched.camera(1, 240);
    sub.send(2);
    assert_eq!(watched.step(&mut viewer, false, all), Some(0));
    assert_eq!(watched.watching(), [(0, 0), (1, 1)]);
    sub.send(2);
    watched.step(&mut viewer, false, all);
    assert_eq!(viewer.got_ms, [0, 40, 80, 120, 160, 200, 240, 280, 320, 360]);
    assert_eq!(watched.qualities[1].status().counts.switches, 1);
}

#[tokio::test]
async fn pictures_are_held_back_where_a_key_frame_is_due_of_the_quality_that_is_waited_for() {
    let mut watched = Watched::new();
    // The large pictures come first, and the small ones 120 ms later stand rather ahead of them.
    let (mut main, mut sub) = (watched.camera(0, 0), watched.camera(1, 120));
    main.send(28);
    sub.send(25);
    let mut viewer = watched.viewer(None, all);
    assert_eq!(watched.step(&mut viewer, false, all), None);
    viewer.climb.show(Some(100));
    let mut switched_at = Vec::new();
    for picture in 28..50 {
        // Late by two: its key frame comes when two large pictures of that time have come.
        main.send(1);
        if watched.step(&mut viewer, false, all).is_some() {
            switched_at.push(picture);
        }
        sub.send(1);
        if watched.step(&mut viewer, false, all).is_some() {
            switched_at.push(picture);
        }
    }
    assert_eq!(switched_at, [33], "the first key frame there is");
    let steps: Vec<_> = viewer.got_ms.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().all(|step_ms| *step_ms == 40), "{steps:?}");
}

#[tokio::test]
async fn a_key_frame_that_is_not_where_it_is_due_is_not_waited_for_long() {
    let mut watched = Watched::new();
    let (mut main, mut sub) = (watched.camera(0, 0), watched.camera(1, 0));
    main.send(25);
    sub.send(25);
    let mut viewer = watched.viewer(None, all);
    assert_eq!(watched.step(&mut viewer, false, all), None);
    viewer.climb.show(Some(100));
    // The small camera stands still in front of its key frame.
    main.send(5);
    assert_eq!(watched.step(&mut viewer, false, all), None);
    main.send(10);
    assert_eq!(watched.step(&mut viewer, false, all), None);
    assert_eq!(viewer.got_ms.last(), Some(&(9 * 40)), "held back");
    watched.now += HELD;
    assert_eq!(watched.step(&mut viewer, false, all), None);
    assert_eq!(viewer.got_ms.last(), Some(&(19 * 40)));
    // Then it leads back: the next one counts, or the one behind that.
    sub.send(6);
    assert_eq!(watched.step(&mut viewer, false, all), None);
    sub.send(10);
    assert_eq!(watched.step(&mut viewer, false, all), Some(0));
}

#[tokio::test]
async fn a_viewer_that_lags_goes_on_with_the_small_pictures_that_are_there_from_where_it_stands() {
    let mut watched = Watched::new();
    let (mut main, mut sub) = (watched.camera(0, 0), watched.camera(1, 0));
    main.send(5);
    sub.send(5);
    let mut viewer = watched.viewer(None, all);
    assert_eq!(watched.step(&mut viewer, false, all), None);
    // It takes nothing more: key frames at 400 and 800 ms are there when it is looked.
    main.send(20);
    sub.send(20);
    assert_eq!(watched.step(&mut viewer, true, all), Some(15), "5 to 19 were left out");
    assert_eq!(viewer.got_ms, [0, 40, 80, 120, 160, 800, 840, 880, 920, 960]);
    assert_eq!(watched.qualities[0].status().counts.frames_dropped, 15);
}

#[tokio::test]
async fn a_quality_that_is_dead_costs_nothing_and_is_tried_again() {
    let mut watched = Watched::new();
    let mut main = watched.camera(0, 0);
    main.send(5);
    let mut viewer = watched.viewer(Some(100), all);
    assert_eq!(watched.step(&mut viewer, false, all), None);
    watched.qualities[1].set_state(State::Connecting, None);
    watched.qualities[1].set_state(State::Offline, Some(fault("unreachable")));
    assert_eq!(watched.step(&mut viewer, false, all), None);
    assert_eq!(watched.watching(), [(1, 1), (0, 0)], "nobody waits for it");
    assert_eq!(told(viewer.climb.untold(all)), None, "and nobody is told");
    watched.now += Duration::from_secs(10);
    watched.qualities[1].set_state(State::Idle, None);
    assert_eq!(watched.step(&mut viewer, false, all), None);
    assert_eq!(watched.watching(), [(1, 1), (0, 1)]);
}

#[tokio::test]
async fn whoever_loses_its_quality_takes_the_first_other_one_and_is_told_when_none_is_left() {
    let mut watched = Watched::new();
    let mut main = watched.camera(0, 0);
    main.send(5);
    let mut viewer = watched.viewer(None, all);
    assert_eq!(watched.step(&mut viewer, false, all), None);
    drop(main);
    watched.qualities[0].set_state(State::Offline, Some(fault("stalled")));
    watched.take(&mut viewer, all);
    assert_eq!(watched.step(&mut viewer, false, all), None);
    assert_eq!(told(viewer.climb.untold(all)), Some(("connecting".into(), false)), "another one is tried");
    assert_eq!(told(viewer.climb.untold(all)), None, "once");
    watched.qualities[1].set_state(State::Connecting, None);
    watched.qualities[1].set_state(State::Offline, Some(fault("unreachable")));
    assert_eq!(watched.step(&mut viewer, false, all), None);
    assert_eq!(told(viewer.climb.untold(all)), Some(("stalled".into(), false)), "none is left");
    assert_eq!(watched.watching(), [(1, 1), (0, 1)], "whichever is back first is the one");
    let mut sub = watched.camera(1, 10_000);
    sub.send(1);
    assert_eq!(watched.step(&mut viewer, false, all), Some(0));
    assert_eq!(watched.watching(), [(0, 0), (1, 1)]);
    assert_eq!(viewer.got_ms, [0, 40, 80, 120, 160, 10_000]);
    assert_eq!(told(viewer.climb.untold(all)), None);
}

#[tokio::test]
async fn whoever_loses_its_quality_and_gets_it_back_stays() {
    let mut watched = Watched::new();
    let mut main = watched.camera(0, 0);
    main.send(5);
    let mut viewer = watched.viewer(None, all);
    assert_eq!(watched.step(&mut viewer, false, all), None);
    drop(main);
    watched.qualities[0].set_state(State::Offline, Some(fault("stalled")));
    watched.take(&mut viewer, all);
    assert_eq!(watched.step(&mut viewer, false, all), None);
    let mut main = watched.camera(0, 5_000);
    main.send(3);
    watched.take(&mut viewer, all);
    assert_eq!(watched.step(&mut viewer, false, all), None);
    assert_eq!(watched.watching(), [(1, 1), (0, 0)], "the other is let go");
}

#[tokio::test]
async fn what_cannot_be_decoded_is_not_gone_to_and_ends_the_subscription_only_where_all_are_so() {
    let mut watched = Watched::new();
    let (mut main, mut sub) = (watched.camera(0, 0), watched.camera(1, 0));
    main.send(5);
    sub.send(5);
    let sub_epoch = watched.qualities[1].epoch().expect("live").number;
    let but_sub = |epoch: &Epoch| epoch.number != sub_epoch;
    let but_main = |epoch: &Epoch| epoch.number == sub_epoch;
    let mut viewer = watched.viewer(Some(100), but_sub);
    assert_eq!(watched.step(&mut viewer, false, but_sub), None);
    assert_eq!(watched.watching(), [(1, 1), (0, 0)]);
    let viewer = watched.viewer(None, but_main);
    assert_eq!(viewer.cursor.stream().id, watched.qualities[1].id, "it begins with the other");
    let none = |_: &Epoch| false;
    let mut viewer = watched.viewer(None, none);
    watched.take(&mut viewer, none);
    assert_eq!(watched.step(&mut viewer, false, none), None);
    let (message, ends) = told(viewer.climb.untold(none)).expect("is told");
    assert!(ends && message.contains("H.265"), "{message}");
    // Where one is only away, it may be decoded when it comes.
    drop(sub);
    watched.qualities[1].set_state(State::Offline, Some(fault("closed")));
    let mut viewer = watched.viewer(None, none);
    watched.take(&mut viewer, none);
    assert_eq!(watched.step(&mut viewer, false, none), None);
    assert_eq!(told(viewer.climb.untold(none)), Some((UNDECODABLE.into(), false)));
}

#[tokio::test]
async fn what_is_known_of_a_viewer_holds_when_it_begins_anew() {
    let mut watched = Watched::new();
    let (mut main, mut sub) = (watched.camera(0, 0), watched.camera(1, 0));
    main.send(5);
    sub.send(5);
    let mut viewer = watched.viewer(None, all);
    assert_eq!(watched.step(&mut viewer, true, all), Some(0));
    let (_, stream) = Climb::new(&watched.qualities[0], None, Some(viewer.climb), all, watched.now);
    assert_eq!(stream.id, watched.qualities[1].id);
}
