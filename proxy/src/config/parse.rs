//! PURE: from TOML to [`Config`], with every mistake and its line in one go.
//!
//! To add an option: its key in a list below, its field in `mod.rs`, its line in `sightline.example.toml` (a test compares).

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};

use toml_edit::{Document, Item, TableLike, Value};

use super::{Auth, Config, Mistake, Overrides, Server, Source, Stream, StreamName};

/// Tables at the top.
pub(super) const TOP: [&str; 2] = ["server", "streams"];
/// Keys of `[server]`.
pub(super) const SERVER: [&str; 2] = ["listen", "auth"];
/// Keys of `[streams.NAME]`.
pub(super) const STREAM: [&str; 4] = ["source", "on_demand", "connect_timeout_ms", "stall_timeout_ms"];

/// What a time-out may be: below, a camera on a slow link never connects; above, a dead one is noticed by nobody.
const TIMEOUT_MS: RangeInclusive<i64> = 100..=120_000;

pub(super) fn parse(text: &str, overrides: Overrides) -> Result<Config, Vec<Mistake>> {
    let mut reader = Reader { text, mistakes: Vec::new() };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            // The error's own display would quote the line, and with it perhaps a password.
            reader.mistake(error.span(), format_args!("not TOML: {}", error.message().replace('\n', ", ")));
            return Err(reader.mistakes);
        }
    };
    let config = reader.config(document.as_table(), overrides);
    let mut mistakes = reader.mistakes;
    if mistakes.is_empty() {
        return Ok(config);
    }
    mistakes.sort_by_key(|mistake| mistake.line);
    Err(mistakes)
}

struct Reader<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
}

/// A key's name and place, and what it holds.
struct Entry<'a> {
    name: &'a str,
    span: Option<Range<usize>>,
    item: &'a Item,
}

fn entries(table: &dyn TableLike) -> Vec<Entry<'_>> {
    let entry = |(name, item)| {
        let span = table.get_key_value(name).and_then(|(key, _)| key.span());
        Entry { name, span, item }
    };
    table.iter().map(entry).collect()
}

impl Reader<'_> {
    fn mistake(&mut self, span: Option<Range<usize>>, message: impl Display) {
        let before = self.text.get(..span.map_or(0, |span| span.start)).unwrap_or(self.text);
        let line = 1 + before.matches('\n').count();
        self.mistakes.push(Mistake { line, message: message.to_string() });
    }

    fn unknown(&mut self, entry: &Entry<'_>, place: &str, known: &[&str]) {
        let near = known.iter().map(|k| (strsim::damerau_levenshtein(entry.name, k), k)).min();
        let advice = match near {
            Some((distance, key)) if distance <= 1 + key.len() / 4 => format!("did you mean `{key}`?"),
            _ => format!("known are {}", known.join(", ")),
        };
        self.mistake(entry.span.clone(), format_args!("unknown key {} {place}; {advice}", shown(entry.name)));
    }

    /// The table an entry holds, or a mistake.
    fn table<'a>(&mut self, entry: &Entry<'a>, example: &str) -> Option<&'a dyn TableLike> {
        let table = entry.item.as_table_like();
        if table.is_none() {
            let kind = entry.item.type_name();
            self.mistake(
                entry.span.clone(),
                format_args!("{} must be a table like {example}, not {kind}", shown(entry.name)),
            );
        }
        table
    }

    fn wrong_type(&mut self, entry: &Entry<'_>, wanted: &str) {
        let kind = entry.item.type_name();
        self.mistake(entry.span.clone(), format_args!("`{}` must be {wanted}, not {kind}", entry.name));
    }

    fn text<'a>(&mut self, entry: &Entry<'a>) -> Option<&'a str> {
        let text = entry.item.as_str();
        if text.is_none() {
            self.wrong_type(entry, "text in quotes");
        }
        text
    }

    fn timeout_ms(&mut self, entry: &Entry<'_>) -> Option<u64> {
        let Some(Value::Integer(number)) = entry.item.as_value() else {
            self.wrong_type(entry, "a whole number of milliseconds");
            return None;
        };
        let ms = Some(*number.value()).filter(|ms| TIMEOUT_MS.contains(ms));
        if ms.is_none() {
            let (least, most) = (TIMEOUT_MS.start(), TIMEOUT_MS.end());
            self.mistake(
                entry.span.clone(),
                format_args!("`{}` must be from {least} to {most} milliseconds", entry.name),
            );
        }
        ms.map(i64::unsigned_abs)
    }

    fn config(&mut self, top: &dyn TableLike, overrides: Overrides) -> Config {
        let mut config = Config::default();
        let mut listen_span = None;
        for entry in entries(top) {
            match entry.name {
                "server" => {
                    if let Some(table) = self.table(&entry, "[server]") {
                        listen_span = self.server(table, &mut config.server);
                    }
                }
                "streams" => {
                    if let Some(table) = self.table(&entry, "[streams.NAME]") {
                        config.streams = entries(table).iter().filter_map(|e| self.stream(e)).collect();
                    }
                }
                "rtmp" => self.mistake(entry.span, "[rtmp] is not supported yet by this version"),
                _ => self.unknown(&entry, "at the top of the file", &TOP),
            }
        }
        config.server.listen = overrides.listen.unwrap_or(config.server.listen);
        config.server.auth = overrides.auth.unwrap_or(config.server.auth);
        if let Err(sentence) = config.server.check() {
            self.mistake(listen_span, sentence);
        }
        config
    }

    /// Returns where `listen` stands.
    fn server(&mut self, table: &dyn TableLike, server: &mut Server) -> Option<Range<usize>> {
        let mut listen_span = None;
        for entry in entries(table) {
            match entry.name {
                "listen" => {
                    let Some(text) = self.text(&entry) else { continue };
                    match text.parse() {
                        Ok(address) => server.listen = address,
                        Err(_) => self.mistake(
                            entry.span.clone(),
                            "`listen` must be an IP address and port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"",
                        ),
                    }
                    listen_span = entry.span;
                }
                "auth" => match self.text(&entry) {
                    Some("on") => server.auth = Auth::On,
                    Some("off") => server.auth = Auth::Off,
                    Some(_) => self.mistake(entry.span, "`auth` must be \"on\" or \"off\""),
                    None => {}
                },
                _ => self.unknown(&entry, "in [server]", &SERVER),
            }
        }
        listen_span
    }

    fn source(&mut self, entry: &Entry<'_>) -> Option<Source> {
        match self.text(entry)?.parse::<Source>() {
            Ok(source) => Some(source),
            Err(error) => {
                self.mistake(entry.span.clone(), format_args!("`source`: {error}"));
                None
            }
        }
    }

    fn stream(&mut self, named: &Entry<'_>) -> Option<Stream> {
        let name = named.name.parse::<StreamName>();
        if let Err(error) = &name {
            self.mistake(named.span.clone(), format_args!("{}: {error}", shown(named.name)));
        }
        let table = self.table(named, "[streams.NAME]")?;
        let mut source = None;
        let (mut on_demand, mut connect_timeout_ms, mut stall_timeout_ms) = (None, None, None);
        // Whether a source is there at all, right or wrong.
        let mut sourced = false;
        for entry in entries(table) {
            match entry.name {
                "source" => {
                    sourced = true;
                    source = self.source(&entry);
                }
                "publish" => {
                    sourced = true;
                    self.mistake(entry.span, "`publish` is not supported yet by this version; use `source`");
                }
                "on_demand" => {
                    on_demand = entry.item.as_bool();
                    if on_demand.is_none() {
                        self.wrong_type(&entry, "true or false");
                    }
                }
                "connect_timeout_ms" => connect_timeout_ms = self.timeout_ms(&entry),
                "stall_timeout_ms" => stall_timeout_ms = self.timeout_ms(&entry),
                _ => self.unknown(&entry, "in a stream", &STREAM),
            }
        }
        if !sourced {
            let message = format!("{} has no `source`", shown(named.name));
            self.mistake(named.span.clone(), message);
        }
        let default = Stream::new(name.ok()?, source?);
        Some(Stream {
            on_demand: on_demand.unwrap_or(default.on_demand),
            connect_timeout_ms: connect_timeout_ms.unwrap_or(default.connect_timeout_ms),
            stall_timeout_ms: stall_timeout_ms.unwrap_or(default.stall_timeout_ms),
            ..default
        })
    }
}

/// A key as it may be repeated: short, on one line, and no URL (whose place was mistaken) with its password.
fn shown(key: &str) -> String {
    if key.contains(['@', ':', '/', '=', '?']) {
        return "(not repeated here: it looks like a URL)".to_owned();
    }
    let text: String = key.chars().take(64).collect();
    format!("`{}`", text.escape_debug())
}
