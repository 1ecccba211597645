use super::*;
use proptest::prelude::*;

const FRAME_MS: f64 = 40.0;

/// Lets pictures be ready so much late each, one after the other as decoders give them out. Returns when each is shown.
fn shown(late_ms: &[f64]) -> Vec<f64> {
    let mut cadence = Cadence::default();
    let (mut ready_ms, mut last_ms, mut before) = (0.0_f64, 0.0_f64, None);
    late_ms
        .iter()
        .enumerate()
        .map(|(i, late_ms)| {
            let presentation_ms = i as f64 * FRAME_MS;
            ready_ms = ready_ms.max(presentation_ms + 1_000.0 + late_ms);
            cadence.on_picture(presentation_ms, ready_ms);
            last_ms = last_ms.max(ready_ms).max(cadence.due_ms(presentation_ms, before));
            before = Some((presentation_ms, last_ms));
            last_ms
        })
        .collect()
}

/// How much the time between two pictures differs from what it should be, at most, and in the middle.
fn unevenness_ms(shown: &[f64]) -> (f64, f64) {
    let mut off: Vec<f64> = shown.windows(2).map(|pair| (pair[1] - pair[0] - FRAME_MS).abs()).collect();
    off.sort_by(f64::total_cmp);
    (off[off.len() - 1], off[off.len() / 2])
}

/// xorshift: the same jitter on every machine.
fn jitter(seed: u64, most_ms: f64, pictures: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..pictures).map(|_| next() * most_ms).collect()
}

#[test]
fn even_pictures_are_shown_the_moment_they_are_ready() {
    for (i, at_ms) in shown(&jitter(1, UNSEEN_MS, 500)).into_iter().enumerate() {
        assert!(at_ms - (i as f64 * FRAME_MS + 1_000.0) <= UNSEEN_MS, "{i}");
    }
}

#[test]
fn under_jitter_pictures_are_even_again_and_held_back_by_no_more_than_the_jitter() {
    for seed in 0..50 {
        for most_ms in [20.0, 60.0, 150.0] {
            let late_ms = jitter(seed, most_ms, 500);
            let shown = shown(&late_ms);
            // The first ones teach it.
            let (most, middle) = unevenness_ms(&shown[100..]);
            assert!(middle <= UNSEEN_MS, "seed {seed}, jitter {most_ms}: {middle} ms uneven in the middle");
            assert!(
                most <= most_ms * 0.3 + UNSEEN_MS * 2.0,
                "seed {seed}, jitter {most_ms}: {most} ms uneven"
            );
            for (i, at_ms) in shown.iter().enumerate() {
                let held_ms = at_ms - (i as f64 * FRAME_MS + 1_000.0);
                assert!(
                    held_ms <= most_ms + 1e-6,
                    "seed {seed}: {held_ms} ms behind with {most_ms} of jitter"
                );
            }
        }
    }
}

#[test]
fn a_hiccup_is_made_up_for_as_fast_as_a_screen_shows_pictures_and_leaves_none_out() {
    let mut late_ms = vec![0.0; 200];
    late_ms[100] = 150.0;
    let shown = shown(&late_ms);
    let behind_ms = |i: usize| shown[i] - (i as f64 * FRAME_MS + 1_000.0);
    assert!(behind_ms(99) < 1.0 && behind_ms(100) > 149.0);
    assert!(
        shown[100..].windows(2).all(|pair| pair[1] - pair[0] > APART_MS - 1e-6),
        "they follow one by one"
    );
    assert!(behind_ms(108) < 1.0, "{} ms behind eight pictures later", behind_ms(108));
}

#[test]
fn a_link_that_loses_packets_makes_late_pictures_late_and_leaves_the_others_as_they_are() {
    // Behind each fifth picture a retransmission takes 60 ms, behind each fiftieth three of them.
    let late_ms: Vec<f64> = (0..500)
        .map(|i| match i {
            _ if i % 50 == 0 => 180.0,
            _ if i % 5 == 0 => 60.0,
            _ => f64::from(i * 7 % 11),
        })
        .collect();
    let shown = shown(&late_ms);
    let mut behind_ms: Vec<f64> = (100..500).map(|i| shown[i] - (i as f64 * FRAME_MS + 1_000.0)).collect();
    behind_ms.sort_by(f64::total_cmp);
    assert!(behind_ms[200] < 16.0, "{} ms behind in the middle", behind_ms[200]);
    assert!(behind_ms[399] < 181.0);
}

#[test]
fn what_comes_all_at_once_after_an_outage_is_not_shown_later_than_the_bound() {
    let mut late_ms = vec![0.0; 200];
    for i in 0..75_usize {
        late_ms[100 + i] = 3_000.0 - i as f64 * FRAME_MS;
    }
    for (i, at_ms) in shown(&late_ms).into_iter().enumerate() {
        let ready_ms = i as f64 * FRAME_MS + 1_000.0 + late_ms[i];
        assert!(at_ms <= ready_ms.max(i as f64 * FRAME_MS + 1_000.0 + MAX_DELAY_MS), "{i}");
    }
}

#[test]
fn no_delay_stays_behind_an_outage() {
    for outage in [10, 25, 75, 90_usize] {
        let mut late_ms = vec![0.0; 300];
        for i in 0..outage {
            late_ms[100 + i] = (outage - i) as f64 * FRAME_MS;
        }
        let shown = shown(&late_ms);
        let behind_ms = |i: usize| shown[i] - (i as f64 * FRAME_MS + 1_000.0);
        let over = 100 + outage + 20;
        assert!((over..300).all(|i| behind_ms(i) < 1.0), "{outage}: {} ms behind", behind_ms(over));
    }
}

#[test]
fn jitter_that_is_over_is_forgotten() {
    let mut late_ms = jitter(3, 100.0, 250);
    late_ms.extend([0.0; 200]);
    let shown = shown(&late_ms);
    let behind_ms = shown[449] - (449.0 * FRAME_MS + 1_000.0);
    assert!(behind_ms < 1.0, "{behind_ms}");
}

#[test]
fn a_camera_with_another_clock_is_followed() {
    for ppm in [300.0, -300.0] {
        let late_ms: Vec<f64> = (0..5_000).map(|i| f64::from(i) * FRAME_MS * ppm / 1e6).collect();
        for (i, at_ms) in shown(&late_ms).into_iter().enumerate() {
            let ready_ms = i as f64 * FRAME_MS + 1_000.0 + late_ms[i];
            assert!(at_ms - ready_ms < 2.0, "{ppm} ppm: {}", at_ms - ready_ms);
        }
    }
}

proptest! {
    #[test]
    fn pictures_are_never_held_back_longer_than_the_bound(
        late_ms in proptest::collection::vec(0.0f64..5_000.0, 1..300)
    ) {
        let mut cadence = Cadence::default();
        for (i, late_ms) in late_ms.iter().enumerate() {
            let presentation_ms = i as f64 * FRAME_MS;
            let ready_ms = presentation_ms + late_ms;
            cadence.on_picture(presentation_ms, ready_ms);
            prop_assert!((0.0..=MAX_DELAY_MS).contains(&cadence.delay_ms()));
            prop_assert!(cadence.due_ms(presentation_ms, None) - ready_ms <= MAX_DELAY_MS + 1e-6);
        }
    }
}
