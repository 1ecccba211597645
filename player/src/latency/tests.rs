//! How the playhead is steered, told by a plant of pictures, sound and a clock.

use super::*;
use proptest::prelude::*;

/// Plays 25 frames a second that arrive `delay_ms` after their time, starting `behind_s` late.
struct Plant {
    controller: Controller,
    now_ms: f64,
    position_s: f64,
    seeks: Vec<f64>,
    rates: Vec<f64>,
}

impl Plant {
    fn new(controller: Controller, behind_s: f64) -> Self {
        Self { controller, now_ms: 0.0, position_s: -behind_s, seeks: vec![], rates: vec![] }
    }

    fn run(&mut self, seconds: f64, mut delay_ms: impl FnMut(u32) -> f64) {
        let from_ms = self.now_ms;
        let mut frame = (from_ms / 40.0) as u32;
        let mut last_arrival = from_ms;
        while self.now_ms < from_ms + seconds * 1e3 {
            let arrival_ms = (f64::from(frame) * 40.0 + delay_ms(frame)).max(last_arrival);
            last_arrival = arrival_ms;
            self.pass(arrival_ms);
            let presentation_s = f64::from(frame) * 0.04;
            self.controller.on_video(presentation_s, (presentation_s * 1e6) as i64, 40.0, arrival_ms);
            self.controller.on_audio(presentation_s, 0.04, arrival_ms);
            self.controller.on_position(self.position_s, arrival_ms);
            match self.controller.decide(arrival_ms, Some(0.0)) {
                Action::Hold => {}
                Action::Rate(rate) => self.rates.push(rate),
                Action::Seek(to_s) => {
                    self.seeks.push(to_s);
                    self.position_s = to_s;
                }
            }
            frame += 1;
        }
    }

    fn pass(&mut self, to_ms: f64) {
        self.position_s += (to_ms - self.now_ms) / 1e3 * self.controller.rate();
        self.now_ms = to_ms;
    }

    fn latency_ms(&self) -> f64 {
        self.now_ms - self.position_s * 1e3
    }
}

#[test]
fn a_small_delay_is_caught_up_by_speed_and_held() {
    let mut plant = Plant::new(Controller::new(Target::Auto, SoundClock::Samples), 0.3);
    plant.run(5.0, |_| 5.0);
    assert!(plant.seeks.is_empty());
    assert!((10.0..40.0).contains(&plant.latency_ms()), "{}", plant.latency_ms());
    assert!(plant.rates.iter().all(|rate| *rate <= 1.25));
    let changes = plant.rates.len();
    plant.run(20.0, |_| 5.0);
    assert_eq!(plant.rates.len(), changes, "a steady feed is left alone");
}

#[test]
fn where_pictures_are_far_apart_each_is_reached_soon_although_time_stands_before_it() {
    let mut controller = Controller::new(Target::Auto, SoundClock::TimeStamps);
    let (mut position_ms, mut reached_ms) = (0.0_f64, vec![]);
    assert!(!controller.is_sparse());
    for picture in 0..30 {
        let came_ms = f64::from(picture) * 200.0;
        controller.on_video(came_ms / 1e3, 0, 200.0, came_ms);
        let mut reached = None;
        for ms in 0..200 {
            let now_ms = came_ms + f64::from(ms);
            if ms == 0 || ms % 100 == 50 {
                controller.hurry(position_ms / 1e3, now_ms, Some(0.0));
            }
            position_ms = (position_ms + controller.rate()).min(came_ms + 40.0);
            reached = reached.or((position_ms >= came_ms).then_some(now_ms - came_ms));
        }
        reached_ms.push(reached.unwrap_or(f64::INFINITY));
    }
    assert!(controller.is_sparse());
    assert!(reached_ms[5..].iter().all(|ms| *ms <= 80.0), "{reached_ms:?}");
}

#[test]
fn sound_is_hurried_by_five_percent_at_most() {
    let mut controller = Controller::new(Target::Auto, SoundClock::Samples);
    controller.set_sound(true);
    let mut plant = Plant::new(controller, 1.0);
    plant.run(3.0, |_| 5.0);
    assert!(plant.rates.iter().all(|rate| (0.97..=1.05).contains(rate)), "{:?}", plant.rates);
}

#[test]
fn sound_of_a_browser_that_counts_samples_is_kept_farther_away() {
    for (clock, expected) in [
        (SoundClock::Samples, 190.0..260.0),
        (SoundClock::Routed, 60.0..110.0),
        (SoundClock::TimeStamps, 30.0..100.0),
    ] {
        let mut controller = Controller::new(Target::Auto, clock);
        controller.set_sound(true);
        let mut plant = Plant::new(controller, 0.3);
        plant.run(20.0, |_| 5.0);
        assert!(expected.contains(&plant.latency_ms()), "{clock:?} {}", plant.latency_ms());
    }
}

#[test]
fn missing_sound_is_fetched_anew_where_time_is_samples_and_only_there() {
    for (clock, behind_s, seeks) in
        [(SoundClock::Samples, 0.3, 1), (SoundClock::Routed, 0.3, 1), (SoundClock::TimeStamps, 0.08, 0)]
    {
        let mut controller = Controller::new(Target::Auto, clock);
        controller.set_sound(true);
        controller.on_audio(0.0, 0.02, 0.0);
        controller.on_audio(0.09, 0.02, 90.0);
        let mut plant = Plant::new(controller, behind_s);
        plant.run(2.0, |_| 5.0);
        assert_eq!(plant.seeks.len(), seeks, "{clock:?}");
    }
}

#[test]
fn sound_by_time_stamps_is_played_at_one_rate_and_pictures_alone_are_not() {
    for with_sound in [true, false] {
        let mut controller = Controller::new(Target::Auto, SoundClock::TimeStamps);
        controller.set_sound(with_sound);
        let mut plant = Plant::new(controller, 0.3);
        plant.run(10.0, |_| 5.0);
        assert_eq!(plant.rates.is_empty(), with_sound, "{:?}", plant.rates);
        assert_eq!(plant.seeks.is_empty(), !with_sound, "{:?}", plant.seeks);
    }
}

#[test]
fn what_takes_no_other_rate_jumps_and_no_more_than_helps() {
    let mut plant = Plant::new(Controller::new(Target::Auto, SoundClock::OneRate), 0.2);
    plant.run(20.0, |_| 5.0);
    assert_eq!((plant.seeks.len(), &plant.rates[..]), (1, &[][..]));
    assert!((10.0..40.0).contains(&plant.latency_ms()), "{}", plant.latency_ms());
    // Jumps that leave it where it was are not tried for ever.
    let mut controller = Controller::new(Target::Auto, SoundClock::OneRate);
    let mut seeks = 0;
    for frame in 0..1_500 {
        let now_ms = f64::from(frame) * 40.0;
        controller.on_video(now_ms / 1e3, 0, 40.0, now_ms);
        controller.on_position(now_ms / 1e3 - 0.15, now_ms);
        seeks += u32::from(matches!(controller.decide(now_ms, None), Action::Seek(_)));
    }
    assert_eq!(seeks, 1);
}

#[test]
fn a_landing_with_sound_that_is_a_little_late_is_bettered_where_no_rate_can() {
    let seeks = |sound: bool, behind_s: f64| {
        let mut controller = Controller::new(Target::Auto, SoundClock::OneRate);
        controller.set_sound(sound);
        let mut plant = Plant::new(controller, behind_s);
        plant.run(10.0, |_| 5.0);
        (plant.seeks.len(), plant.latency_ms())
    };
    let (with_sound, latency_ms) = seeks(true, 0.1);
    assert_eq!(with_sound, 1);
    assert!((50.0..80.0).contains(&latency_ms), "{latency_ms}");
    assert_eq!(seeks(false, 0.06).0, 0, "pictures alone are at the newest one already");
}

#[test]
fn sound_that_takes_the_short_way_comes_nearer_without_a_jump() {
    let mut controller = Controller::new(Target::Auto, SoundClock::Samples);
    controller.set_sound(true);
    let mut plant = Plant::new(controller, 0.2);
    plant.run(5.0, |_| 5.0);
    plant.controller.set_sound_clock(SoundClock::Routed, 0.0);
    plant.run(10.0, |_| 5.0);
    assert!(plant.seeks.is_empty());
    assert!((60.0..110.0).contains(&plant.latency_ms()), "{}", plant.latency_ms());
}

#[test]
fn a_seek_leaves_the_sound_that_a_browser_begins_with() {
    let mut controller = Controller::new(Target::Auto, SoundClock::Routed);
    controller.set_sound(true);
    let mut plant = Plant::new(controller, 3.0);
    plant.run(0.2, |_| 5.0);
    assert_eq!(plant.seeks.len(), 1);
    assert!((200.0..230.0).contains(&plant.latency_ms()), "{}", plant.latency_ms());
    let (now_ms, position_s) = (plant.now_ms, plant.now_ms / 1e3 - 0.1);
    let landing_s = plant.controller.landing_s(position_s, now_ms, None).expect("pictures came");
    assert!((landing_s - position_s).abs() < 1e-9, "nobody goes back for that");
}

#[test]
fn a_sender_that_drifts_is_given_no_room_and_one_with_holes_is() {
    for (hole_ms, room) in [(0.002, false), (1.5, true)] {
        let mut controller = Controller::new(Target::Auto, SoundClock::Routed);
        controller.set_sound(true);
        let (mut at_ms, mut seeks) = (0.0, 0);
        while at_ms < 450_000.0 {
            controller.on_video(at_ms / 1e3, 0, 40.0, at_ms);
            controller.on_audio(at_ms / 1e3, 0.02, at_ms);
            controller.on_position(at_ms / 1e3 - 0.08, at_ms);
            seeks += u32::from(matches!(controller.decide(at_ms, None), Action::Seek(_)));
            at_ms += 20.0 + hole_ms;
        }
        assert!(seeks > 0);
        assert_eq!(controller.sound_has_holes, room, "{hole_ms} ms in each packet, {seeks} seeks");
    }
}

#[test]
fn what_came_nearer_since_a_jump_is_jumped_to_without_a_long_rest() {
    let mut plant = Plant::new(Controller::new(Target::Auto, SoundClock::Samples), 3.0);
    plant.run(1.5, |_| 900.0);
    assert_eq!(plant.seeks.len(), 1);
    assert!(plant.latency_ms() > 850.0, "{}", plant.latency_ms());
    let before_ms = plant.now_ms;
    while plant.seeks.len() == 1 && plant.now_ms < before_ms + 2_000.0 {
        plant.run(0.04, |_| 20.0);
    }
    let took_ms = plant.now_ms - before_ms;
    assert!(took_ms < 400.0 && plant.latency_ms() < 100.0, "{took_ms}, {}", plant.latency_ms());
}

#[test]
fn where_the_server_leaves_frames_out_a_jump_is_made_that_is_not_worth_it_else() {
    let seeks = |left_out: bool| {
        let mut plant = Plant::new(Controller::new(Target::Auto, SoundClock::Samples), 0.1);
        plant.run(5.0, |_| 5.0);
        if left_out {
            plant.controller.on_left_out(plant.now_ms);
        }
        plant.position_s -= 0.4;
        plant.controller.on_moved();
        plant.run(1.0, |_| 5.0);
        plant.seeks.len()
    };
    assert_eq!((seeks(false), seeks(true)), (0, 1));
}

#[test]
fn a_large_delay_is_jumped_over_once() {
    let mut plant = Plant::new(Controller::new(Target::Auto, SoundClock::Samples), 4.0);
    plant.run(6.0, |_| 5.0);
    assert_eq!(plant.seeks.len(), 1);
    assert!((0.0..40.0).contains(&plant.latency_ms()), "{}", plant.latency_ms());
}

#[test]
fn jitter_is_kept_behind() {
    let mut plant = Plant::new(Controller::new(Target::Auto, SoundClock::Samples), 0.1);
    plant.run(20.0, |frame| f64::from(frame * 37 % 120));
    assert!((110.0..160.0).contains(&plant.latency_ms()), "{}", plant.latency_ms());
}

#[test]
fn pictures_that_are_far_later_than_the_others_are_not_waited_for() {
    let mut plant = Plant::new(Controller::new(Target::Auto, SoundClock::Samples), 0.1);
    plant.run(20.0, |frame| if frame % 25 == 0 { 220.0 } else { 5.0 });
    assert!((45.0..90.0).contains(&plant.latency_ms()), "{}", plant.latency_ms());
}

#[test]
fn what_was_held_up_and_came_all_at_once_is_not_stayed_behind_for() {
    let mut plant = Plant::new(Controller::new(Target::Auto, SoundClock::Samples), 0.1);
    plant.run(10.0, |_| 5.0);
    let (stood_s, over_ms) = (plant.position_s, plant.now_ms + 3_000.0);
    plant.run(3.0, |frame| (over_ms - f64::from(frame) * 40.0).max(5.0));
    plant.position_s = stood_s;
    plant.controller.on_moved();
    plant.run(1.2, |_| 5.0);
    assert!((0.0..150.0).contains(&plant.latency_ms()), "{} ms, 1.2 s later", plant.latency_ms());
}

#[test]
fn trouble_of_a_link_from_which_the_server_leaves_frames_out_adds_no_distance() {
    let mut controller = Controller::new(Target::Auto, SoundClock::Samples);
    controller.on_left_out(1_000.0);
    controller.on_trouble(30.0, 3_900.0);
    controller.on_stall(30.0, 3_900.0);
    assert!((controller.margin_ms() - MARGIN_MS.0).abs() < 1e-9);
    controller.on_stall(30.0, 4_100.0);
    assert!(controller.margin_ms() > MARGIN_MS.0);
}

#[test]
fn late_sound_is_waited_for_since_it_would_be_heard() {
    let mut controller = Controller::new(Target::Auto, SoundClock::TimeStamps);
    controller.set_sound(true);
    for frame in 0..100 {
        let at_ms = f64::from(frame) * 40.0;
        let late_ms = if frame % 10 == 0 { 220.0 } else { 5.0 };
        controller.on_video(at_ms / 1e3, 0, 40.0, at_ms + 5.0);
        controller.on_audio(at_ms / 1e3, 0.04, at_ms + late_ms);
        controller.on_position(at_ms / 1e3, at_ms + 5.0);
    }
    assert!(controller.wanted_line_ms(None).is_some_and(|line_ms| line_ms < -220.0));
}

#[test]
fn a_fixed_target_is_met_from_below_and_from_above() {
    for start_s in [0.05, 0.9] {
        let mut plant = Plant::new(Controller::new(Target::FixedMs(300.0), SoundClock::Samples), start_s);
        plant.run(30.0, |_| 5.0);
        assert!((285.0..315.0).contains(&plant.latency_ms()), "{}", plant.latency_ms());
    }
}

#[test]
fn trouble_moves_away_from_the_edge_and_is_forgotten_slowly() {
    let mut controller = Controller::new(Target::Auto, SoundClock::Samples);
    controller.on_trouble(30.0, 0.0);
    controller.on_trouble(30.0, 0.0);
    let mut plant = Plant::new(controller, 0.05);
    plant.run(3.0, |_| 5.0);
    assert!((45.0..80.0).contains(&plant.latency_ms()), "{}", plant.latency_ms());
    plant.run(30.0, |_| 5.0);
    assert!(plant.latency_ms() < 40.0, "{}", plant.latency_ms());
}

#[test]
fn a_burst_of_dropped_pictures_is_one_trouble() {
    let mut controller = Controller::new(Target::Auto, SoundClock::Samples);
    controller.on_trouble(5.0 * 60.0, 0.0);
    let mut plant = Plant::new(controller, 0.05);
    plant.run(3.0, |_| 5.0);
    assert!(plant.latency_ms() < 70.0, "{}", plant.latency_ms());
}

#[test]
fn a_position_that_moves_in_steps_is_read_at_its_newest() {
    let mut playhead = Playhead::default();
    for i in 0..40 {
        let now_ms = f64::from(i) * 10.0;
        playhead.read((now_ms / 40.0).floor() * 0.04 - 0.1, now_ms, 1.0);
    }
    let line = playhead.line_ms().expect("read");
    assert!((line + 100.0).abs() < 1e-6, "{line}");
}

proptest! {
    #[test]
    fn drift_of_the_camera_clock_is_followed_without_a_jump(drift_ppm in -300.0f64..300.0) {
        let mut plant = Plant::new(Controller::new(Target::Auto, SoundClock::Samples), 0.05);
        plant.run(60.0, |frame| 5.0 + 30.0 + f64::from(frame) * 0.04 * drift_ppm / 1e3);
        let expected = 35.0 + 60.0 * drift_ppm / 1e3;
        prop_assert!((plant.latency_ms() - expected).abs() < 45.0, "{} {expected}", plant.latency_ms());
        prop_assert!(plant.seeks.is_empty());
    }

    #[test]
    fn rates_stay_within_their_bounds(delays in proptest::collection::vec(0.0f64..900.0, 50..150)) {
        let mut plant = Plant::new(Controller::new(Target::Auto, SoundClock::Samples), 0.5);
        plant.run(8.0, |frame| delays[frame as usize % delays.len()]);
        prop_assert!(plant.rates.iter().all(|rate| (0.97..=1.25).contains(rate)));
    }
}
