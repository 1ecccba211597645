//! What a user may configure: the file `sightline.toml`, or cameras named on the command line.
//!
//! Here: the format, its defaults and every check that needs no network. Not here: arguments and environment (`main.rs`).
//! Invariant: a [`Config`] in hand is valid; a [`Mistake`] never contains a user, password or other secret.

mod name;
mod parse;
mod source;

use std::collections::HashSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub use name::{NameError, StreamName};
pub use source::{Source, SourceError, is_forbidden};

/// The longest configuration file that is read.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// `[server]`
    pub server: Server,
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
    pub source: Source,
    /// Connect only while somebody watches; default false.
    pub on_demand: bool,
    /// Longest wait for the camera's answer while connecting, in milliseconds; default 5000.
    pub connect_timeout_ms: u64,
    /// Longest silence of a connected camera, in milliseconds; default 4000.
    pub stall_timeout_ms: u64,
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
}

impl Default for Server {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 8080).into(), auth: Auth::default() }
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
    pub fn new(name: StreamName, source: Source) -> Self {
        Self { name, source, on_demand: false, connect_timeout_ms: 5000, stall_timeout_ms: 4000 }
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
            Ok(text) => {
                Self::parse_with(&text, overrides).map_err(|mistakes| LoadError::Mistakes { path, mistakes })
            }
            Err(error) => Err(LoadError::Unreadable { path, error }),
        }
    }

    /// A configuration from `NAME=rtsp://…` or `rtsp://…` (named cam1, cam2…), with the default server.
    ///
    /// # Errors
    /// Every mistake, with line 0 and the number of the argument.
    pub fn from_urls(arguments: &[impl AsRef<str>]) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut mistake = |number: usize, what: &dyn fmt::Display| {
            mistakes.push(Mistake { line: 0, message: format!("camera {number}: {what}") });
        };
        let mut named = Vec::new();
        let mut taken = HashSet::new();
        for (number, argument) in (1..).zip(arguments) {
            let argument = argument.as_ref();
            // A name never holds a colon or slash, a URL's scheme never an equals sign.
            let (name, url) = match argument.split_once('=') {
                Some((name, url)) if !name.contains("://") => (Some(name), url),
                _ => (None, argument),
            };
            let name = name.map(str::parse::<StreamName>).transpose();
            let source = url.parse::<Source>();
            if let Err(error) = &name {
                mistake(number, error);
            }
            if let Err(error) = &source {
                mistake(number, error);
            }
            if let (Ok(name), Ok(source)) = (name, source) {
                if let Some(name) = name.as_ref().filter(|name| !taken.insert(name.as_str().to_owned())) {
                    mistake(number, &format_args!("the name {name} is given twice"));
                }
                named.push((name, source));
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let mut numbers = 1..;
        let mut free = || loop {
            let name = format!("cam{}", numbers.next().unwrap_or_default());
            if let (false, Ok(name)) = (taken.contains(&name), name.parse()) {
                return name;
            }
        };
        let streams = named
            .into_iter()
            .map(|(name, source)| Stream::new(name.unwrap_or_else(&mut free), source))
            .collect();
        Ok(Self { server: Server::default(), streams })
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
