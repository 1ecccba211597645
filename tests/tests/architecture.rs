//! The project's own sources keep its architecture. What is checked, and that the checks can fail, is in
//! `sightline_tests::architecture`.

use std::path::{Path, PathBuf};

use sightline_tests::architecture::{MAX_LINES, check_imports, check_purity, is_pure, lines_of_code};

/// Each source below a folder of the repository: its path inside the folder, and its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = sightline_tests::file("..").join(folder);
    let mut found = vec![];
    collect(&root, &mut found);
    assert!(!found.is_empty(), "no source below {}", root.display());
    found
        .into_iter()
        .map(|file| {
            let path = file.strip_prefix(&root).expect("lies below").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&file).expect("a source is text");
            (path, text)
        })
        .collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("a folder can be read").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_import_of_the_proxy_is_an_arrow_of_the_architecture() {
    let mut wrong = vec![];
    for (path, source) in sources("proxy/src") {
        for v in check_imports(&path, &source).unwrap_or_else(|e| panic!("{path}: {e}")) {
            wrong.push(format!("proxy/src/{path}:{}: {}", v.line, v.what));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_files_name_no_runtime_socket_or_clock() {
    let mut wrong = vec![];
    let mut pure = 0;
    for folder in ["proxy/src", "proxy/wire/src", "player/src"] {
        for (path, source) in sources(folder) {
            if folder == "proxy/wire/src" || is_pure(&path, &source) {
                pure += 1;
                for v in check_purity(&source).unwrap_or_else(|e| panic!("{path}: {e}")) {
                    wrong.push(format!("{folder}/{path}:{}: {}", v.line, v.what));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(pure > 10, "only {pure} PURE files were found: is this test looking in the right place?");
}

#[test]
fn the_players_core_is_where_the_purity_check_looks_for_it() {
    let player = sources("player/src");
    for core in ["session.rs", "latency.rs", "append.rs", "reconnect.rs", "clock.rs", "stats.rs"] {
        assert!(
            player.iter().any(|(path, source)| path == core && is_pure(path, source)),
            "no player/src/{core}"
        );
    }
}

#[test]
fn the_player_depends_on_nothing_of_ours_but_the_wire() {
    for (path, source) in sources("player/src") {
        let foreign =
            source.lines().find(|line| line.contains("sightline::") && !line.trim().starts_with("//"));
        assert_eq!(foreign, None, "player/src/{path}");
    }
    let manifest =
        std::fs::read_to_string(sightline_tests::file("../player/Cargo.toml")).expect("can be read");
    let ours: Vec<&str> =
        manifest.lines().filter(|line| line.starts_with("sightline") && line.contains(['.', '='])).collect();
    assert_eq!(ours, ["sightline-wire.workspace = true"]);
}

#[test]
fn no_source_file_is_longer_than_a_reader_can_take() {
    let mut long = vec![];
    for folder in ["proxy/src", "proxy/wire/src", "player/src", "tests/src", "tests/tests"] {
        for (path, source) in sources(folder) {
            let lines = lines_of_code(&source);
            if lines > MAX_LINES {
                long.push(format!("{folder}/{path}: {lines} lines of code, at most {MAX_LINES}"));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}
