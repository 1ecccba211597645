//! What each browser was seen to do: the table in `docs/browsers.md` is written by the tests that ran.
//!
//! A test of a browser that passes says so by [`note`]; `browsers-table` writes the table from that, or holds what is
//! written against it.

use std::fmt::Write;
use std::path::PathBuf;
use std::{fs, io};

use crate::browser::Engine;

/// A line of the table.
struct Row {
    what: &'static str,
    /// The file below `tests/tests`, and its test: a browser that passed it gets a tick.
    file: &'static str,
    test: &'static str,
    /// What is to be known of a browser, tick or not.
    but: &'static [(Engine, &'static str)],
}

const NONE: &[(Engine, &str)] = &[];
const BY_ITSELF: &[(Engine, &str)] = &[(Engine::Chromium, "has none"), (Engine::Firefox, "has none")];

const ROWS: &[Row] = &[
    Row {
        what: "play, by MSE",
        file: "browsers",
        test: "the_embed_page_shows_a_live_picture_with_sound",
        but: NONE,
    },
    Row {
        what: "play, by ManagedMediaSource alone, as on an iPhone",
        file: "browsers",
        test: "a_managed_media_source_plays_where_there_is_no_other",
        but: BY_ITSELF,
    },
    Row {
        what: "play, by WebCodecs",
        file: "renderers",
        test: "pictures_are_shown_in_order_and_soon",
        but: NONE,
    },
    Row {
        what: "recover: a camera that dies and comes back",
        file: "browsers",
        test: "a_dead_camera_is_offline_and_its_picture_returns_without_a_reload",
        but: NONE,
    },
    Row {
        what: "recover: a proxy that is started anew",
        file: "browsers",
        test: "a_restarted_proxy_is_found_again_without_a_reload",
        but: NONE,
    },
    Row {
        what: "many: a wall by one connection",
        file: "browsers",
        test: "the_wall_shows_every_stream_with_its_state",
        but: NONE,
    },
    Row {
        what: "hidden tab: gives its stream back, is live again at once",
        file: "never_stuck",
        test: "a_hidden_page_gives_its_stream_back_and_is_live_soon_after_it_is_seen_again",
        but: NONE,
    },
    Row {
        what: "codec change: H.264 to H.265",
        file: "midstream",
        test: "another_codec_comes_with_a_new_session",
        but: &[(Engine::Chromium, "says that it cannot decode it")],
    },
    Row {
        what: "size change in mid-stream",
        file: "midstream",
        test: "another_resolution_and_profile_come_in_band",
        but: NONE,
    },
    Row {
        what: "another quality of the stream, without a black picture",
        file: "qualities",
        test: "the_picture_goes_on_when_its_size_asks_for_another_quality",
        but: NONE,
    },
    Row {
        what: "sound",
        file: "browsers",
        test: "the_embed_page_shows_a_live_picture_with_sound",
        but: NONE,
    },
    Row {
        what: "the element: attributes, moves",
        file: "element",
        test: "attributes_change_at_any_time_and_a_move_reconnects_nothing",
        but: NONE,
    },
    Row {
        what: "controls by mouse and keyboard",
        file: "element",
        test: "controls_do_what_they_say",
        but: &[(Engine::WebKit, "full screen not tested")],
    },
    Row {
        what: "a `<video>` of the page's own",
        file: "element",
        test: "a_page_plays_in_a_video_of_its_own",
        but: NONE,
    },
    Row {
        what: "nothing is left behind after 200 mounts",
        file: "element",
        test: "two_hundred_mounts_leave_nothing_behind",
        but: NONE,
    },
];

fn notes() -> io::Result<PathBuf> {
    crate::output_dir("tests/seen")
}

/// The test that runs here has passed in this browser.
pub fn note(engine: Engine) -> io::Result<()> {
    let program = std::env::current_exe()?;
    let program = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let file = program.rsplit_once('-').map_or(&*program, |(file, _hash)| file);
    // A thread of a test has its path for a name.
    let thread = std::thread::current();
    let test = thread.name().and_then(|path| path.rsplit("::").next()).unwrap_or_default();
    fs::write(notes()?.join(format!("{file}-{test}-{}", engine.name())), "")
}

/// Both tables as they stand in the document: what works where, and which test shows it.
pub fn tables() -> anyhow::Result<String> {
    let notes = notes()?;
    let passed = |row: &Row, engine: Engine| {
        notes.join(format!("{}-{}-{}", row.file, row.test, engine.name())).exists()
    };
    let mut seen = String::from("| | Chromium | Firefox | WebKit |\n| --- | --- | --- | --- |\n");
    let mut by = String::from("| | test, under `tests/tests` |\n| --- | --- |\n");
    for (row, number) in ROWS.iter().zip(1..) {
        write!(seen, "| {} ({number}) |", row.what)?;
        for engine in Engine::THREE {
            let but = row.but.iter().find(|(of, _)| *of == engine).map(|(_, words)| *words);
            let cell = match (passed(row, engine), but) {
                (true, Some(words)) => format!("✓, {words}"),
                (true, None) => "✓".to_owned(),
                (false, words) => words.unwrap_or("not tested").to_owned(),
            };
            write!(seen, " {cell} |")?;
        }
        seen.push('\n');
        writeln!(by, "| {number} | `{}.rs`: `{}` |", row.file, row.test)?;
    }
    Ok(format!("{seen}\n{by}"))
}
