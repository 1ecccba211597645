//! Every seed of the fuzz targets, and every input that once broke one, goes through the same functions as ordinary
//! tests. Where they come from: `proxy/fuzz`.

use std::{
    fs, panic,
    path::{Path, PathBuf},
};

#[path = "../fuzz/harness.rs"]
#[expect(unreachable_pub, reason = "it is the fuzz crate's library")]
mod harness;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// Runs `target` on each file of its corpus, and names those on which it panics.
fn replay(name: &str, target: fn(&[u8]) -> usize) {
    let folder = corpus(name);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the corpus is committed")
        .map(|entry| entry.expect("a folder can be read").path())
        .collect();
    files.sort();
    assert!(files.len() >= 10, "only {} files in {}", files.len(), folder.display());
    let broken: Vec<_> = files
        .iter()
        .filter(|file| {
            let bytes = fs::read(file).expect("a file can be read");
            panic::catch_unwind(|| target(&bytes)).is_err()
        })
        .collect();
    assert!(broken.is_empty(), "{name}: {broken:?}");
}

#[test]
fn the_chunk_reader_stands_its_corpus() {
    replay("chunk", harness::chunk);
}

#[test]
fn the_amf_reader_stands_its_corpus() {
    replay("amf", harness::amf);
}

#[test]
fn the_flv_demuxer_stands_its_corpus() {
    replay("flv", harness::flv);
}

#[test]
fn the_session_stands_its_corpus() {
    replay("session", harness::session);
}

#[test]
fn the_bridge_to_cameras_stands_its_corpus() {
    replay("rtsp", harness::rtsp);
}

#[test]
fn retina_stands_the_corpus_of_descriptions() {
    replay("sdp", harness::sdp);
}

#[test]
fn the_readers_of_parameter_sets_stand_their_corpus() {
    replay("sps", harness::sps);
}

#[test]
fn the_readers_of_access_units_stand_their_corpus() {
    replay("nal", harness::nal);
}

#[test]
fn the_depacketisers_stand_their_corpus() {
    replay("rtp_h264", harness::rtp_h264);
    replay("rtp_h265", harness::rtp_h265);
    replay("rtp_aac", harness::rtp_aac);
}

#[test]
fn the_aac_config_reader_stands_its_corpus() {
    replay("aac", harness::aac);
}

#[test]
fn the_sound_of_cameras_stands_its_corpus() {
    replay("sound", harness::sound);
}

#[test]
fn the_seeds_reach_what_they_are_named_for() {
    let given = |target: fn(&[u8]) -> usize, name: &str, seed: &str| {
        let bytes = fs::read(corpus(name).join(seed)).expect("the seed is committed");
        target(&bytes)
    };
    // connect to publish, metadata, 8 tags, and goodbye.
    for seed in ["", "-chunk-size-1", "-chunk-size-4096"] {
        let seed = format!("bytes-of-a-publisher{seed}");
        assert_eq!(given(harness::chunk, "chunk", &seed), 16, "{seed}");
    }
    assert_eq!(given(harness::chunk, "chunk", "interleaved"), 2);
    for seed in ["publisher", "publisher-in-parts", "publisher-chunk-size-1", "publisher-with-handshake"] {
        assert_eq!(given(harness::session, "session", seed), 8, "{seed}");
    }
    assert_eq!(given(harness::session, "session", "publisher-refused"), 0);
    assert_eq!(given(harness::session, "session", "aggregate"), 2);
    for (seed, frames) in [
        ("avc-and-aac", 6),
        ("avc-alone", 3),
        ("aac-alone", 2),
        ("enhanced-avc", 2),
        ("hevc", 2),
        ("av1", 2),
        ("enhanced-aac", 1),
        ("opus", 1),
        ("flac", 1),
        ("multitrack", 2),
        ("modifiers", 2),
        ("no-config", 0),
        ("config-cut-off", 0),
    ] {
        assert_eq!(given(harness::flv, "flv", seed), frames, "{seed}");
    }
    for (seed, signed) in [
        ("digest", 1),
        ("digest-in-parts", 1),
        ("stale", 2),
        ("refused", 1),
        ("stranger", 0),
        ("redirect", 0),
    ] {
        assert_eq!(given(harness::rtsp, "rtsp", seed), signed, "{seed}");
    }
    for (seed, described) in [("h264-and-aac", 2), ("h265", 1), ("g711", 1), ("h264-without-parameters", 0)] {
        assert_eq!(given(harness::sdp, "sdp", seed), described, "{seed}");
    }
    for (seed, pictures) in
        [("pyramid", 9), ("open-gop", 12), ("intra-refresh", 12), ("cra", 14), ("no-parameters", 1)]
    {
        assert_eq!(given(harness::nal, "nal", seed), pictures, "{seed}");
    }
    for (seed, understood) in [("pyramid", 3), ("cra", 4), ("to-be-repaired", 2), ("cut-off", 0)] {
        assert_eq!(given(harness::sps, "sps", seed), understood, "{seed}");
    }
    for form in ["alone", "together", "in-fragments"] {
        for (clip, pictures) in [("pyramid", 9), ("open-gop", 12), ("slices", 2)] {
            assert_eq!(
                given(harness::rtp_h264, "rtp_h264", &format!("{clip}-{form}")),
                pictures,
                "{clip}-{form}"
            );
        }
        assert_eq!(given(harness::rtp_h265, "rtp_h265", &format!("cra-{form}")), 14, "{form}");
    }
    for (seed, units) in
        [("three", 4), ("low", 2), ("in-parts", 2), ("a-part-lost", 1), ("sizes-that-lie", 2)]
    {
        assert_eq!(given(harness::rtp_aac, "rtp_aac", seed), units, "{seed}");
    }
    for (seed, taken) in
        [("lc-48-khz-mono", 1), ("he-explicit", 1), ("ld", 1), ("no-channels", 0), ("cut-off", 0)]
    {
        assert_eq!(given(harness::aac, "aac", seed), taken, "{seed}");
    }
    for (seed, units) in [("a-law", 50), ("g726-24", 50), ("a-law-that-pauses", 50), ("l16-of-no-rate", 0)] {
        assert!(given(harness::sound, "sound", seed).abs_diff(units) <= 1, "{seed}");
    }
    assert_eq!(given(harness::amf, "amf", "nested-objects"), 16 + 1);
    assert_eq!(given(harness::amf, "amf", "bomb-of-objects"), 0);
}
