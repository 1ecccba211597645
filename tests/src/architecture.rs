//! Who may import whom, read from the sources: the rules of the project's architecture as something that can fail.
//!
//! What belongs here: finding a source's imports, impurities and length, and the table of arrows that are allowed.
//! What does not: where the sources lie (`tests/architecture.rs`). Invariant: comments, strings and `#[cfg(test)]` items
//! count for nothing, because the sources are read as Rust tokens.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The longest source file, in lines of code (no comments, no tests).
pub const MAX_LINES: usize = 500;

/// A module of the proxy and the other modules it may import. [`EVERYONE`]'s may be imported by all.
const ARROWS: &[(&str, &[&str])] = &[
    ("auth", &[]),
    ("media", &[]),
    ("mux", &["media"]),
    ("hub", &["media", "mux", "wire"]),
    ("ingest", &["media", "hub", "auth"]),
    ("egress", &["media", "hub", "wire", "auth"]),
    ("http", &["egress", "hub", "media", "auth", "wire"]),
    ("rtsp", &["media"]),
    ("demo", &["rtsp", "media"]),
    ("config", &[]),
    ("error", &[]),
    ("metrics", &[]),
];

/// What anyone may import.
const EVERYONE: &[&str] = &["config", "error", "metrics"];

/// What only imports: the composition root, and what stands around it.
const ROOTS: &[&str] = &["app", "lib", "main", "probe"];

/// What a PURE file may not name.
const IMPURE: &[&[&str]] = &[
    &["tokio"],
    &["net", "::", "*"],
    &["std", "::", "fs"],
    &["std", "::", "thread"],
    &["Instant", "::", "now"],
    &["SystemTime"],
    // Addresses are only numbers; these are sockets, or ask a name server.
    &["TcpListener"],
    &["TcpStream"],
    &["UdpSocket"],
    &["ToSocketAddrs"],
    &["web_sys"],
    &["js_sys"],
    &["wasm_bindgen"],
];

/// Something in a source that the architecture does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, for people.
    pub what: String,
}

/// Checks the imports of a source of the proxy; `path` is its path below `proxy/src`, such as `hub/ring.rs`.
pub fn check_imports(path: &str, source: &str) -> Result<Vec<Violation>, String> {
    let module = module_of(path);
    let top = module.first().map_or_else(|| path.trim_end_matches(".rs").to_owned(), Clone::clone);
    // A test module in a file of its own may look at everything, like one inside its module.
    if ROOTS.contains(&top.as_str()) || path.ends_with("tests.rs") {
        return Ok(vec![]);
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == top) else {
        let what = format!("`{top}` is a module that the architecture does not know");
        return Ok(vec![Violation { line: 1, what }]);
    };
    let mut found: Vec<Violation> = imports(&module, source)?
        .into_iter()
        .filter(|(_, name)| {
            *name != top
                && !allowed.contains(&name.as_str())
                && !EVERYONE.contains(&name.as_str())
                // `crate::Error`: what lib.rs hands out of the modules that everyone may import.
                && !name.starts_with(char::is_uppercase)
        })
        .map(|(line, name)| Violation { line, what: format!("`{top}` may not import `{name}`") })
        .collect();
    found.dedup();
    Ok(found)
}

/// Checks that a source names no runtime, socket or clock.
pub fn check_purity(source: &str) -> Result<Vec<Violation>, String> {
    let tokens = tokens(source)?;
    let mut found = vec![];
    for (at, (_, line)) in tokens.iter().enumerate() {
        for name in IMPURE {
            let here = tokens[at..].iter().take(name.len()).map(|(text, _)| text.as_str());
            if here.eq(name.iter().copied()) {
                found.push(Violation { line: *line, what: format!("a PURE file names `{}`", name.concat()) });
            }
        }
    }
    // Names out of a group (`std::{net::…}`) are told apart by the use tree, not by neighbouring tokens.
    for (line, path) in std_groups(&tokens) {
        if ["fs", "thread"].contains(&path.as_str()) {
            found.push(Violation { line, what: format!("a PURE file names `std::{path}`") });
        }
    }
    Ok(found)
}

/// Whether a file is PURE: the architecture lists it, or its module's page says so.
pub fn is_pure(path: &str, source: &str) -> bool {
    const PURE: &[&str] = &["media/", "mux/", "auth/", "hub/ring.rs", "ingest/rtmp/session.rs"];
    const PLAYER: &[&str] =
        &["session.rs", "latency.rs", "append.rs", "reconnect.rs", "clock.rs", "stats.rs"];
    PLAYER.contains(&path)
        || PURE.iter().any(|pure| path.starts_with(pure))
        || source.lines().take_while(|line| line.starts_with("//!")).any(|line| line.starts_with("//! PURE"))
}

/// Lines that hold code: no blank ones, no comments, no test module at the end.
pub fn lines_of_code(source: &str) -> usize {
    let mut count = 0;
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]"
            && lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
        {
            break;
        }
        let code = line.trim();
        count += usize::from(!code.is_empty() && !code.starts_with("//"));
    }
    count
}

/// The modules at the crate's root that a source names, each with its line.
fn imports(module: &[String], source: &str) -> Result<Vec<(usize, String)>, String> {
    let tokens = tokens(source)?;
    let text = |at: usize| tokens.get(at).map_or("", |(text, _)| text.as_str());
    let mut found = vec![];
    let mut at = 0;
    while at < tokens.len() {
        let start = at;
        // How far above the crate's root the path begins: `crate` is 0, `super` one less than this module.
        let mut depth = match text(at) {
            "crate" | "sightline" if text(at + 1) == "::" => 0,
            "sightline_wire" => {
                found.push((tokens[at].1, "wire".to_owned()));
                at += 1;
                continue;
            }
            "super" if text(at + 1) == "::" => module.len().saturating_sub(1),
            _ => {
                at += 1;
                continue;
            }
        };
        at += 2;
        while text(start) == "super" && text(at) == "super" {
            depth = depth.saturating_sub(1);
            at += 2;
        }
        if depth > 0 {
            continue; // still inside this module of the root
        }
        if text(at) == "{" {
            found.extend(group(&tokens, at));
        } else if let Some((name, line)) = tokens.get(at) {
            found.push((*line, name.clone()));
        }
    }
    Ok(found)
}

/// The first name of each branch of a use group that opens at `at`.
fn group(tokens: &[(String, usize)], at: usize) -> Vec<(usize, String)> {
    let mut depth = 0;
    let mut found = vec![];
    for (i, (text, line)) in tokens.iter().enumerate().skip(at) {
        match text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if depth == 1 && matches!(tokens[i - 1].0.as_str(), "{" | ",") => {
                found.push((*line, text.clone()));
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

fn std_groups(tokens: &[(String, usize)]) -> Vec<(usize, String)> {
    let starts =
        tokens.windows(3).enumerate().filter(|(_, w)| w[0].0 == "std" && w[1].0 == "::" && w[2].0 == "{");
    starts.flat_map(|(at, _)| group(tokens, at + 2)).collect()
}

/// `hub/ring.rs` is the module `hub::ring`; the crate's root files are none.
fn module_of(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// A source's tokens with their lines, without what is only there for tests.
fn tokens(source: &str) -> Result<Vec<(String, usize)>, String> {
    let stream: TokenStream = source.parse().map_err(|e| format!("not Rust: {e}"))?;
    let mut out = vec![];
    flatten(stream, &mut out);
    Ok(out)
}

fn flatten(stream: TokenStream, out: &mut Vec<(String, usize)>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Punct(p) if p.as_char() == '#' => {
                let Some(TokenTree::Group(attribute)) = trees.next_if(|t| matches!(t, TokenTree::Group(_)))
                else {
                    continue;
                };
                if attribute.stream().to_string().replace(' ', "") == "cfg(test)" {
                    // The item ends with its braces or its semicolon, whichever comes first.
                    for skipped in trees.by_ref() {
                        match skipped {
                            TokenTree::Group(g) if g.delimiter() == Delimiter::Brace => break,
                            TokenTree::Punct(p) if p.as_char() == ';' => break,
                            _ => {}
                        }
                    }
                }
            }
            TokenTree::Punct(p) if p.as_char() == ':' => {
                if trees.next_if(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == ':')).is_some() {
                    out.push(("::".into(), line));
                } else {
                    out.push((":".into(), line));
                }
            }
            TokenTree::Group(g) => {
                let (open, close) = match g.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::None => ("", ""),
                };
                out.push((open.into(), line));
                flatten(g.stream(), out);
                out.push((close.into(), g.span_close().start().line));
            }
            TokenTree::Literal(_) => out.push(("literal".into(), line)),
            other => out.push((other.to_string(), line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(path: &str, source: &str) -> Vec<(usize, String)> {
        check_imports(path, source).expect("is Rust").into_iter().map(|v| (v.line, v.what)).collect()
    }

    #[test]
    fn a_forbidden_arrow_is_found_however_it_is_spelt() {
        let found = [(2, "`ingest` may not import `egress`".to_owned())];
        for source in [
            "\nuse crate::egress::ws;",
            "\nuse crate::{egress::ws, media};",
            "\nuse crate::{media::{Frame, hub}, egress};",
            "\nfn f() { crate::egress::f() }",
            "\nfn f() { tracing::info!(x = crate::egress::f()) }",
            "\nuse super::egress;",
            "\npub(crate) use super::{media, egress::ws};",
        ] {
            assert_eq!(what("ingest/mod.rs", source), found, "{source}");
        }
        assert_eq!(what("ingest/rtsp.rs", "\nuse super::super::egress::ws;"), found);
        assert_eq!(what("ingest/rtmp/session.rs", "\nuse super::super::super::egress;"), found);
    }

    #[test]
    fn allowed_arrows_comments_strings_and_tests_are_left_alone() {
        for (path, source) in [
            (
                "ingest/mod.rs",
                "use crate::{hub, media::Frame, config::Config, error::Error, Error, ingest::rtsp};",
            ),
            ("ingest/rtsp.rs", "use super::backoff; use super::super::hub;"),
            ("ingest/mod.rs", "// use crate::egress;\n/// crate::egress\nconst A: &str = \"crate::egress\";"),
            ("ingest/mod.rs", "#[cfg(test)]\nmod tests { use crate::egress; }\nuse crate::hub;"),
            ("egress/ws.rs", "use sightline_wire::Header;"),
            ("app.rs", "use crate::{egress, ingest};"),
        ] {
            assert_eq!(what(path, source), [], "{path}: {source}");
        }
    }

    #[test]
    fn protocols_stay_out_of_hub_and_wire_out_of_ingest() {
        assert_eq!(
            what("ingest/rtsp.rs", "use sightline_wire::Header;"),
            [(1, "`ingest` may not import `wire`".into())]
        );
        assert_eq!(what("hub/mod.rs", "use crate::egress;"), [(1, "`hub` may not import `egress`".into())]);
        assert_eq!(what("media/h264.rs", "use crate::mux;"), [(1, "`media` may not import `mux`".into())]);
    }

    #[test]
    fn a_module_nobody_has_heard_of_is_a_violation() {
        assert_eq!(what("utils.rs", "").len(), 1);
        assert_eq!(what("helpers/mod.rs", "").len(), 1);
    }

    #[test]
    fn an_impure_file_is_found() {
        for source in [
            "use tokio::time;",
            "use std::net::TcpStream;",
            "use std::{fmt, net::{IpAddr, UdpSocket}};",
            "use std::net::*;",
            "use std::{fmt, fs};",
            "fn f() { let now = std::time::Instant::now(); }",
            "use std::time::SystemTime;",
            "use web_sys::console;",
        ] {
            assert_eq!(check_purity(source).expect("is Rust").len(), 1, "{source}");
        }
        let pure = "use std::{net::IpAddr, time::{Duration, Instant}}; // Instant::now\n#[cfg(test)]\nmod tests { use tokio::time; }";
        assert_eq!(check_purity(pure), Ok(vec![]));
    }

    #[test]
    fn only_lines_of_code_are_counted() {
        let source =
            "//! doc\n\nfn f() {\n    // why\n    g();\n}\n\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
        assert_eq!(lines_of_code(source), 3);
        assert_eq!(lines_of_code(&"x();\n".repeat(600)), 600);
    }
}
