//! Seeded simulations of sessions and their link against a network, servers, browsers and users who behave badly.
//!
//! [`world`] models what a player can see of them and nothing else: fragments that come late or not at all, appends that
//! take time or fail, a playhead that stops at the end of what is buffered, clocks that drift, connections that break or
//! fall silent, servers that lie, pages that are hidden or sleep. Time is simulated: a minute takes some milliseconds.
//!
//! `SIGHTLINE_SEED=4711` runs one seed and prints what happens in it; `SIGHTLINE_SEEDS=100000` runs more of them.

mod browser;
mod world;

use world::{Trouble, World};

/// One minute of play each.
const SEEDS: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a whole number"))
}

#[test]
fn in_a_calm_network_it_starts_once_and_stays_close() {
    for seed in 0..10 {
        let mut world = World::calm(seed);
        world.drift_ppm = if seed % 2 == 0 { 200.0 } else { -200.0 };
        world.run();
        world.assert_well();
        for client in &world.clients {
            let stats = client.session.stats();
            assert_eq!(stats.state, "live");
            let counted = (stats.counters.seeks, stats.counters.rebuilds, stats.counters.reconnects);
            assert_eq!(counted, (0, 0, 0), "seed {seed}");
            assert_eq!(client.sources, 1, "one MediaSource");
            assert!(stats.latency_ms.is_some_and(|ms| ms < 120.0), "seed {seed}: {:?}", stats.latency_ms);
        }
        assert_eq!(world.connections, 1, "one connection for all");
    }
}

#[test]
fn whatever_goes_wrong_no_seed_ends_stuck_or_stays_behind() {
    if let Some(seed) = number("SIGHTLINE_SEED") {
        let mut world = World::new(seed);
        world.verbose = true;
        world.run();
        world.assert_well();
        return;
    }
    let count = number("SIGHTLINE_SEEDS").unwrap_or(SEEDS);
    let mut bad = Vec::new();
    let mut met = [0u64; Trouble::ALL.len()];
    for seed in 0..count {
        let mut world = World::new(seed);
        world.run();
        for (times, trouble) in met.iter_mut().zip(Trouble::ALL) {
            *times += u64::from(world.troubles.iter().any(|(_, met)| *met == trouble));
        }
        if let Err(why) = world.verdict() {
            bad.push(format!("seed {seed}: {why}"));
        }
    }
    assert!(
        bad.is_empty(),
        "{} of {count} seeds fail. SIGHTLINE_SEED=… runs one of them.\n{}",
        bad.len(),
        bad[..bad.len().min(20)].join("\n")
    );
    // Each trouble is met often enough to mean something.
    assert!(count < SEEDS || met.iter().all(|&times| times > count / 100), "{met:?}");
}

#[test]
fn a_page_that_is_looked_at_again_is_live_within_a_second() {
    for seed in 0..200 {
        let mut world = World::calm(seed);
        world.script = vec![(8_000.0, Trouble::Hidden)];
        world.hidden_ms = 12_000.0;
        world.run();
        world.assert_well();
        let back_ms = world.clients.iter().map(|client| client.back_ms).fold(0.0, f64::max);
        assert!(back_ms > 0.0 && back_ms <= 1_000.0, "seed {seed}: {back_ms} ms");
    }
}

#[test]
fn a_stream_that_breaks_again_and_again_leaves_the_others_alone() {
    for seed in 0..50 {
        let mut world = World::calm(seed);
        world.make_clients(4);
        world.clients[0].broken = true;
        world.run();
        let troubled = &world.clients[0].session.stats().counters;
        assert!(troubled.rebuilds > 3, "{troubled:?}");
        for client in &world.clients[1..] {
            let stats = client.session.stats();
            let counted = (stats.counters.seeks, stats.counters.rebuilds, stats.counters.reconnects);
            assert_eq!((stats.state, counted), ("live", (0, 0, 0)), "seed {seed}");
        }
    }
}
