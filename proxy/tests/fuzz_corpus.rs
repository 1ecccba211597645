//! Every seed of the fuzz targets, and every input that once broke one, goes through the same functions as ordinary
//! tests. Where they come from: `proxy/fuzz`.

use std::{fs, panic, path::Path};

#[path = "../fuzz/harness.rs"]
#[expect(unreachable_pub, reason = "it is the fuzz crate's library")]
mod harness;

/// Runs `target` on each file of its corpus, and names those on which it panics.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
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
