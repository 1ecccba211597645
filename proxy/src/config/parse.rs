//! PURE: from TOML to [`Config`], with every mistake and its line in one go.
//!
//! To add an option: its key in a list below, its field in `mod.rs`, its line in `sightline.example.toml` (a test compares).

use std::fmt::Display;
use std::{
    net::SocketAddr,
    ops::{Range, RangeInclusive},
    path::PathBuf,
};

use toml_edit::{Document, Item, TableLike, Value};

use super::{
    Auth, Config, Input, Mistake, Overrides, Publish, Quality, Rtmp, Rtmps, SecondPublisher, Server, Source,
    Stream, StreamName, Transport,
};

/// Tables at the top.
pub(super) const TOP: [&str; 3] = ["server", "rtmp", "streams"];
/// Keys of `[server]`.
pub(super) const SERVER: [&str; 4] = ["listen", "auth", "max_viewers", "max_history_mib"];
/// Keys of `[rtmp]`.
pub(super) const RTMP: [&str; 2] = ["listen", "rtmps"];
/// Keys of `rtmps`.
pub(super) const RTMPS: [&str; 3] = ["listen", "certificate", "key"];
/// Keys of `[streams.NAME]`.
pub(super) const STREAM: [&str; 9] = [
    "source",
    "quality",
    "trust",
    "transport",
    "publish",
    "on_demand",
    "connect_timeout_ms",
    "stall_timeout_ms",
    "max_viewers",
];
/// Keys of `[[streams.NAME.quality]]`.
pub(super) const QUALITY: [&str; 4] = ["name", "source", "trust", "transport"];
/// Keys of `publish`.
pub(super) const PUBLISH: [&str; 2] = ["key", "second_publisher"];

/// What a time-out may be: below, a camera on a slow link never connects; above, a dead one is noticed by nobody.
const TIMEOUT_MS: RangeInclusive<i64> = 100..=120_000;
/// How many qualities a stream may have.
const QUALITIES: RangeInclusive<usize> = 2..=4;
/// What a number of viewers may be.
const VIEWERS: RangeInclusive<i64> = 1..=1_000_000;
/// What memory may be, in MiB.
const MEMORY_MIB: RangeInclusive<i64> = 16..=1_048_576;

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

    /// A whole number in a range. `unit` follows the numbers in what is said of a wrong one.
    fn number(&mut self, entry: &Entry<'_>, range: &RangeInclusive<i64>, unit: &str) -> Option<u32> {
        let Some(Value::Integer(number)) = entry.item.as_value() else {
            self.wrong_type(entry, &format!("a whole number of {unit}"));
            return None;
        };
        let number = Some(*number.value()).filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            self.mistake(
                entry.span.clone(),
                format_args!("`{}` must be from {least} to {most} {unit}", entry.name),
            );
        }
        u32::try_from(number?).ok()
    }

    fn timeout_ms(&mut self, entry: &Entry<'_>) -> Option<u64> {
        self.number(entry, &TIMEOUT_MS, "milliseconds").map(u64::from)
    }

    fn config(&mut self, top: &dyn TableLike, overrides: Overrides) -> Config {
        let mut config = Config::default();
        let (mut listen_span, mut rtmp_span) = (None, None);
        let mut stream_spans = Vec::new();
        for entry in entries(top) {
            match entry.name {
                "server" => {
                    if let Some(table) = self.table(&entry, "[server]") {
                        listen_span = self.server(table, &mut config.server);
                    }
                }
                "rtmp" => {
                    rtmp_span.clone_from(&entry.span);
                    if let Some(table) = self.table(&entry, "[rtmp]") {
                        config.rtmp = self.rtmp(table);
                    }
                }
                "streams" => {
                    let Some(table) = self.table(&entry, "[streams.NAME]") else { continue };
                    for named in entries(table) {
                        if let Some(stream) = self.stream(&named) {
                            config.streams.push(stream);
                            stream_spans.push(named.span);
                        }
                    }
                }
                _ => self.unknown(&entry, "at the top of the file", &TOP),
            }
        }
        config.override_with(overrides);
        if let Err(sentence) = config.server.check() {
            self.mistake(listen_span, sentence);
        }
        // What does not fit together can only be said of what was understood.
        if self.mistakes.is_empty() {
            if let Err(sentence) = config.check_room() {
                self.mistake(stream_spans.last().cloned().flatten(), sentence);
            }
            for (stream, sentence) in config.check_publishers() {
                let span = stream.map_or(rtmp_span.clone(), |number| stream_spans[number].clone());
                self.mistake(span, sentence);
            }
        }
        config
    }

    fn address(&mut self, entry: &Entry<'_>, example: &str) -> Option<SocketAddr> {
        let address = self.text(entry)?.parse().ok();
        if address.is_none() {
            let message = format!("`listen` must be an IP address and port, such as {example}");
            self.mistake(entry.span.clone(), message);
        }
        address
    }

    fn file(&mut self, entry: &Entry<'_>) -> Option<PathBuf> {
        let text = self.text(entry)?;
        if text.is_empty() {
            self.mistake(entry.span.clone(), format_args!("`{}` must name a PEM file", entry.name));
        }
        Some(text.into())
    }

    fn rtmp(&mut self, table: &dyn TableLike) -> Rtmp {
        let mut rtmp = Rtmp::default();
        for entry in entries(table) {
            match entry.name {
                "listen" => rtmp.listen = self.address(&entry, "\"0.0.0.0:1935\" or \"[::1]:1935\""),
                "rtmps" => {
                    if let Some(table) = self.table(&entry, "rtmps = { listen, certificate, key }") {
                        rtmp.rtmps = self.rtmps(table, &entry);
                    }
                }
                _ => self.unknown(&entry, "in [rtmp]", &RTMP),
            }
        }
        rtmp
    }

    fn rtmps(&mut self, table: &dyn TableLike, named: &Entry<'_>) -> Option<Rtmps> {
        let (mut listen, mut certificate, mut key) = (None, None, None);
        for entry in entries(table) {
            match entry.name {
                "listen" => listen = self.address(&entry, "\"0.0.0.0:1936\""),
                "certificate" => certificate = self.file(&entry),
                "key" => key = self.file(&entry),
                _ => self.unknown(&entry, "in rtmps", &RTMPS),
            }
        }
        for key in RTMPS {
            if !table.contains_key(key) {
                self.mistake(named.span.clone(), format_args!("`rtmps` has no `{key}`"));
            }
        }
        Some(Rtmps { listen: listen?, certificate: certificate?, key: key? })
    }

    fn publish(&mut self, named: &Entry<'_>) -> Option<Publish> {
        let mut publish = Publish::default();
        for entry in entries(self.table(named, "publish = { key = \"...\" }")?) {
            match entry.name {
                "key" => match self.text(&entry).map(str::parse) {
                    Some(Ok(key)) => publish.key = Some(key),
                    Some(Err(error)) => self.mistake(entry.span, format_args!("`key`: {error}")),
                    None => {}
                },
                "second_publisher" => match self.text(&entry) {
                    Some("takeover") => publish.second_publisher = SecondPublisher::Takeover,
                    Some("refuse") => publish.second_publisher = SecondPublisher::Refuse,
                    Some(_) => {
                        self.mistake(entry.span, "`second_publisher` must be \"takeover\" or \"refuse\"");
                    }
                    None => {}
                },
                _ => self.unknown(&entry, "in publish", &PUBLISH),
            }
        }
        Some(publish)
    }

    /// Returns where `listen` stands.
    fn server(&mut self, table: &dyn TableLike, server: &mut Server) -> Option<Range<usize>> {
        let mut listen_span = None;
        for entry in entries(table) {
            match entry.name {
                "listen" => {
                    if let Some(address) = self.address(&entry, "\"127.0.0.1:8080\" or \"[::1]:8080\"") {
                        server.listen = address;
                    }
                    listen_span = entry.span;
                }
                "auth" => match self.text(&entry) {
                    Some("on") => server.auth = Auth::On,
                    Some("off") => server.auth = Auth::Off,
                    Some(_) => self.mistake(entry.span, "`auth` must be \"on\" or \"off\""),
                    None => {}
                },
                "max_viewers" => {
                    server.max_viewers =
                        self.number(&entry, &VIEWERS, "viewers").unwrap_or(server.max_viewers);
                }
                "max_history_mib" => {
                    server.max_history_mib =
                        self.number(&entry, &MEMORY_MIB, "MiB").unwrap_or(server.max_history_mib);
                }
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

    fn transport(&mut self, entry: &Entry<'_>) -> Option<Transport> {
        match self.text(entry)?.parse() {
            Ok(transport) => Some(transport),
            Err(error) => {
                self.mistake(entry.span.clone(), format_args!("`transport` {error}"));
                None
            }
        }
    }

    /// Refuses a choice where there is none.
    fn check_transport(&mut self, source: &Source, transport: Transport, span: Option<Range<usize>>) {
        match (source.scheme(), transport) {
            ("rtsp", _) | ("rtsps", Transport::Auto | Transport::Tcp) => {}
            ("rtsps", Transport::Udp) => {
                self.mistake(
                    span,
                    "`transport`: an rtsps source is encrypted in its own connection; UDP would not be",
                );
            }
            _ => self.mistake(span, "`transport` means something for an rtsp source only"),
        }
    }

    fn qualities(&mut self, entry: &Entry<'_>) -> Option<Vec<Quality>> {
        let Some(tables) = entry.item.as_array_of_tables() else {
            self.wrong_type(entry, "written as [[streams.NAME.quality]]");
            return None;
        };
        let mut qualities = Vec::<Quality>::new();
        for table in tables {
            let span = table.span().or(entry.span.clone());
            let Some(quality) = self.quality(table, span.as_ref()) else { continue };
            if qualities.iter().any(|other| other.name == quality.name) {
                self.mistake(span, format_args!("a quality called {} is there already", quality.name));
            }
            qualities.push(quality);
        }
        if !QUALITIES.contains(&tables.len()) {
            let (least, most) = (QUALITIES.start(), QUALITIES.end());
            self.mistake(
                entry.span.clone(),
                format_args!("a stream has from {least} to {most} qualities, not {}", tables.len()),
            );
        }
        Some(qualities)
    }

    fn quality(&mut self, table: &dyn TableLike, span: Option<&Range<usize>>) -> Option<Quality> {
        let (mut name, mut source, mut trust) = (None, None, None);
        let (mut transport, mut transport_span) = (None, None);
        for entry in entries(table) {
            match entry.name {
                "name" => match self.text(&entry).map(str::parse::<StreamName>) {
                    Some(Ok(parsed)) => name = Some(parsed),
                    Some(Err(error)) => self.mistake(entry.span, format_args!("`name`: {error}")),
                    None => {}
                },
                "source" => source = self.source(&entry),
                "trust" => trust = self.file(&entry),
                "transport" => {
                    transport = self.transport(&entry);
                    transport_span = entry.span;
                }
                _ => self.unknown(&entry, "in a quality", &QUALITY),
            }
        }
        for key in ["name", "source"] {
            if !table.contains_key(key) {
                self.mistake(span.cloned(), format_args!("a quality has no `{key}`"));
            }
        }
        let (name, source) = (name?, source?);
        if let Some(transport) = transport {
            self.check_transport(&source, transport, transport_span);
        }
        Some(Quality { name, source, trust, transport: transport.unwrap_or_default() })
    }

    fn stream(&mut self, named: &Entry<'_>) -> Option<Stream> {
        let name = named.name.parse::<StreamName>();
        if let Err(error) = &name {
            self.mistake(named.span.clone(), format_args!("{}: {error}", shown(named.name)));
        }
        let table = self.table(named, "[streams.NAME]")?;
        let (mut source, mut trust, mut publish) = (None, None, None);
        let (mut transport, mut transport_span) = (None, None);
        let (mut on_demand, mut connect_timeout_ms, mut stall_timeout_ms) = (None, None, None);
        let (mut max_viewers, mut qualities) = (None, None);
        for entry in entries(table) {
            match entry.name {
                "source" => source = self.source(&entry),
                "trust" => trust = self.file(&entry),
                "transport" => {
                    transport = self.transport(&entry);
                    transport_span = entry.span;
                }
                "publish" => publish = self.publish(&entry),
                "quality" => qualities = self.qualities(&entry),
                "on_demand" => {
                    on_demand = entry.item.as_bool();
                    if on_demand.is_none() {
                        self.wrong_type(&entry, "true or false");
                    }
                }
                "connect_timeout_ms" => connect_timeout_ms = self.timeout_ms(&entry),
                "stall_timeout_ms" => stall_timeout_ms = self.timeout_ms(&entry),
                "max_viewers" => max_viewers = self.number(&entry, &VIEWERS, "viewers"),
                _ => self.unknown(&entry, "in a stream", &STREAM),
            }
        }
        let has = |keys: &[&str]| keys.iter().any(|key| table.contains_key(key));
        let message = match (has(&["source"]), has(&["publish"]), has(&["quality"])) {
            (false, false, false) => Some("has no `source`, and no `publish` either"),
            (true, true, _) => Some("has both a `source` and `publish`: either we ask or an encoder pushes"),
            (true, false, true) => Some("has both a `source` and `quality`: each quality has its own source"),
            (false, true, true) => Some("has both `publish` and `quality`: an encoder pushes one quality"),
            (false, true, false) if has(&["trust", "transport", "on_demand", "connect_timeout_ms"]) => Some(
                "has `publish`, with which `trust`, `transport`, `on_demand` and `connect_timeout_ms` mean nothing",
            ),
            (false, false, true) if has(&["trust", "transport"]) => {
                Some("has `quality`: `trust` and `transport` belong to each quality's source")
            }
            _ => None,
        };
        if let Some(message) = message {
            self.mistake(named.span.clone(), format_args!("{} {message}", shown(named.name)));
        }
        let input = if let Some(publish) = publish {
            Input::Publish(publish)
        } else if let Some(qualities) = qualities {
            Input::Qualities(qualities)
        } else {
            let source = source?;
            if let Some(transport) = transport {
                self.check_transport(&source, transport, transport_span);
            }
            Input::Source { source, trust, transport: transport.unwrap_or_default() }
        };
        let default = Stream::new(name.ok()?, input);
        Some(Stream {
            on_demand: on_demand.unwrap_or(default.on_demand),
            connect_timeout_ms: connect_timeout_ms.unwrap_or(default.connect_timeout_ms),
            stall_timeout_ms: stall_timeout_ms.unwrap_or(default.stall_timeout_ms),
            max_viewers,
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
