//! What a user may configure: the file `sightline.toml`, or cameras named on the command line.
//!
//! Here: the format, its defaults and every check that needs no network. Not here: arguments and environment (`main.rs`).
//! Invariant: a [`Config`] in hand is valid; a [`Mistake`] never contains a user, password or other secret.

mod arguments;
mod name;
mod parse;
mod rtmp;
mod source;
mod transport;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub use name::{NameError, StreamName};
pub use rtmp::{Key, KeyError, Publish, Rtmp, Rtmps, SecondPublisher};
pub use source::{RedirectError, Source, SourceError, is_forbidden};
pub use transport::{Transport, TransportError};

/// The longest configuration file that is read.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// The most streams.
pub const MAX_STREAMS: usize = 1_000;

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[rtmp]`
    pub rtmp: Rtmp,
    /// `[streams.NAME]`, in the file's order; no name stands twice.
    pub streams: Vec<Stream>,
}

/// `[server]`: how viewers reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where pages and streams are served; default 127.0.0.1:8080.
    pub listen: SocketAddr,
    /// Whether viewers must say who they are.
    pub auth: Auth,
    /// How many WebSockets may be open at a time; default 2000.
    pub max_viewers: u32,
    /// Memory for the last seconds of all streams together, in MiB; default 512.
    pub max_history_mib: u32,
}

/// `auth = "on"` or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// Access control applies; the default. Until it exists, only loopback may be listened on.
    #[default]
    On,
    /// Everybody who reaches the address may watch.
    Off,
}

/// `[streams.NAME]`: one camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// What viewers call it.
    pub name: StreamName,
    /// Where it comes from.
    pub input: Input,
    /// Connect only while somebody watches; default false.
    pub on_demand: bool,
    /// Longest wait for the camera's answer while connecting, in milliseconds; default 5000.
    pub connect_timeout_ms: u64,
    /// Longest silence of a connected camera, in milliseconds; default 4000, and 15000 for an encoder that publishes.
    pub stall_timeout_ms: u64,
    /// How many may watch it at a time; by default as many as come.
    pub max_viewers: Option<u32>,
}

/// Where a stream comes from: we ask, or an encoder pushes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// `source`, and what goes with it.
    Source {
        /// The camera or server.
        source: Source,
        /// A certificate to trust beside the system's, where the source speaks TLS: a PEM file.
        trust: Option<PathBuf>,
        /// How its packets are to come, where it speaks RTSP.
        transport: Transport,
    },
    /// `publish`
    Publish(Publish),
    /// `[[streams.NAME.quality]]`, best first: two or more.
    Qualities(Vec<Quality>),
}

/// `[[streams.NAME.quality]]`: one of several pictures of the same thing, each with a source of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quality {
    /// What it is called; no two of a stream have the same name.
    pub name: StreamName,
    /// As a stream's.
    pub source: Source,
    /// As a stream's.
    pub trust: Option<PathBuf>,
    /// As a stream's.
    pub transport: Transport,
}

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line in the file, counted from 1; 0 where there is no file.
    pub line: usize,
    /// What is wrong and what to do, in a sentence.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// It can be read, but not used.
    #[error("{}", list(path, mistakes))]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// All of them, in the file's order.
        mistakes: Vec<Mistake>,
    },
}

fn list(path: &Path, mistakes: &[Mistake]) -> String {
    let lines = mistakes.iter().map(|m| format!("{}:{}: {}", path.display(), m.line, m.message));
    lines.collect::<Vec<_>>().join("\n")
}

/// What the command line says instead of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overrides {
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--auth`
    pub auth: Option<Auth>,
    /// `--rtmp`
    pub rtmp: Option<SocketAddr>,
    /// `--max-viewers`
    pub max_viewers: Option<u32>,
    /// `--transport`, for every camera that speaks RTSP without TLS.
    pub transport: Option<Transport>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            auth: Auth::default(),
            max_viewers: 2000,
            max_history_mib: 512,
        }
    }
}

impl Server {
    /// Refuses to listen beyond this machine unless authentication is switched off by name.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn check(&self) -> Result<(), String> {
        if self.auth == Auth::Off || self.listen.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        Err(format!(
            "listening on {} would let everybody who reaches it watch, and this version has no access control yet: \
             listen on 127.0.0.1, or write auth = \"off\" under [server] (--auth off) if that is what you want",
            self.listen
        ))
    }
}

impl Stream {
    /// A stream with every option at its default.
    pub fn new(name: StreamName, input: Input) -> Self {
        let stall_timeout_ms = match &input {
            Input::Source { .. } | Input::Qualities(_) => 4000,
            Input::Publish(_) => 15_000,
        };
        Self { name, input, on_demand: false, connect_timeout_ms: 5000, stall_timeout_ms, max_viewers: None }
    }

    /// What its qualities are called, best first; none where there is one.
    pub fn qualities(&self) -> impl Iterator<Item = &StreamName> {
        let qualities = if let Input::Qualities(qualities) = &self.input { &qualities[..] } else { &[] };
        qualities.iter().map(|quality| &quality.name)
    }

    /// Whether an encoder pushes it.
    pub fn is_published(&self) -> bool {
        matches!(self.input, Input::Publish(_))
    }
}

impl Config {
    /// Reads a configuration's text.
    ///
    /// # Errors
    /// Every mistake in it, in the text's order.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        Self::parse_with(text, Overrides::default())
    }

    /// As [`Config::parse`], with the command line's word above the file's.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn parse_with(text: &str, overrides: Overrides) -> Result<Self, Vec<Mistake>> {
        parse::parse(text, overrides)
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// Where it cannot be read or holds mistakes.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::load_with(path, Overrides::default())
    }

    /// As [`Config::load`], with the command line's word above the file's.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with(path: impl AsRef<Path>, overrides: Overrides) -> Result<Self, LoadError> {
        let path = path.as_ref().to_owned();
        match read_bounded(&path) {
            Ok(text) => match Self::parse_with(&text, overrides) {
                Ok(mut config) => {
                    config.resolve(path.parent().unwrap_or(Path::new("")));
                    Ok(config)
                }
                Err(mistakes) => Err(LoadError::Mistakes { path, mistakes }),
            },
            Err(error) => Err(LoadError::Unreadable { path, error }),
        }
    }

    /// Refuses what would let strangers publish, and publishers without a door. Gives a sentence for each mistake, and
    /// the number of the stream it is about.
    fn check_publishers(&self) -> Vec<(Option<usize>, String)> {
        let doors = [self.rtmp.listen, self.rtmp.rtmps.as_ref().map(|rtmps| rtmps.listen)];
        let doors: Vec<_> = doors.into_iter().flatten().collect();
        let outside = doors.iter().find(|door| !door.ip().to_canonical().is_loopback());
        let mut mistakes = Vec::new();
        for (number, stream) in self.streams.iter().enumerate() {
            let (Input::Publish(publish), name) = (&stream.input, &stream.name) else { continue };
            if doors.is_empty() {
                let sentence = format!(
                    "an encoder is to publish {name}, but nothing listens for it: write listen = \"0.0.0.0:1935\" under \
                     [rtmp], or use --rtmp ADDR"
                );
                mistakes.push((Some(number), sentence));
            }
            if let (None, Some(outside), Auth::On) = (&publish.key, outside, self.server.auth) {
                let sentence = format!(
                    "{name} has no key, and everybody who reaches {outside} could publish it: write publish = \
                     {{ key = \"...\" }}"
                );
                mistakes.push((Some(number), sentence));
            }
        }
        if !doors.is_empty() && !self.streams.iter().any(Stream::is_published) {
            let sentence = "encoders may connect, but there is no stream to publish: write publish = { key = \"...\" } \
                            in a stream, or NAME=publish on the command line";
            mistakes.push((None, sentence.to_owned()));
        }
        mistakes
    }

    /// Refuses more streams than there is room for.
    fn check_room(&self) -> Result<(), String> {
        let count = self.streams.iter().map(|stream| stream.qualities().count().max(1)).sum::<usize>();
        let mib = self.server.max_history_mib;
        if count > MAX_STREAMS {
            return Err(format!("{count} streams are too many for one proxy: {MAX_STREAMS} at most"));
        }
        if count > mib as usize {
            return Err(format!(
                "{count} streams do not fit max_history_mib = {mib}: each needs 1 MiB at least, and better one group of \
                 pictures"
            ));
        }
        Ok(())
    }

    /// Lets relative paths of files begin at the folder of the configuration file.
    fn resolve(&mut self, folder: &Path) {
        let rtmps = self.rtmp.rtmps.iter_mut().flat_map(|rtmps| [&mut rtmps.certificate, &mut rtmps.key]);
        let trusts = self.streams.iter_mut().flat_map(|stream| -> Vec<&mut PathBuf> {
            match &mut stream.input {
                Input::Source { trust, .. } => trust.iter_mut().collect(),
                Input::Publish(_) => Vec::new(),
                Input::Qualities(qualities) => {
                    qualities.iter_mut().filter_map(|quality| quality.trust.as_mut()).collect()
                }
            }
        });
        for path in rtmps.chain(trusts) {
            *path = folder.join(&*path);
        }
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!("longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
