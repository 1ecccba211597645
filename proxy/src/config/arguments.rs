//! A configuration without a file: cameras named on the command line.

use std::{collections::HashSet, fmt};

use super::{Config, Input, Mistake, Overrides, Publish, Stream, StreamName, Transport};

/// What stands in the place of a URL where an encoder pushes.
const PUBLISH: &str = "publish";

impl Config {
    /// A configuration from `NAME=rtsp://…`, `rtsp://…` (named cam1, cam2…) or `NAME=publish`, with the default server.
    ///
    /// # Errors
    /// Every mistake, with line 0 and the number of the argument.
    pub fn from_urls(arguments: &[impl AsRef<str>], overrides: Overrides) -> Result<Self, Vec<Mistake>> {
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
            let input = match url {
                PUBLISH => Ok(Input::Publish(Publish::default())),
                _ => url.parse().map(|source| Input::Source {
                    source,
                    trust: None,
                    transport: Transport::default(),
                }),
            };
            if let Err(error) = &name {
                mistake(number, error);
            }
            if let Err(error) = &input {
                mistake(number, error);
            }
            if let (Ok(name), Ok(input)) = (name, input) {
                if let Some(name) = name.as_ref().filter(|name| !taken.insert(name.as_str().to_owned())) {
                    mistake(number, &format_args!("the name {name} is given twice"));
                }
                named.push((name, input));
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
            .map(|(name, input)| Stream::new(name.unwrap_or_else(&mut free), input))
            .collect();
        let mut config = Self { streams, ..Self::default() };
        config.override_with(overrides);
        let server = config.server.check().err().into_iter().chain(config.check_room().err());
        let publishers = config.check_publishers().into_iter().map(|(_, sentence)| sentence);
        let mistakes: Vec<_> = server.chain(publishers).map(|message| Mistake { line: 0, message }).collect();
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// Puts the command line's word above what stands here.
    pub(super) fn override_with(&mut self, overrides: Overrides) {
        self.server.listen = overrides.listen.unwrap_or(self.server.listen);
        self.server.auth = overrides.auth.unwrap_or(self.server.auth);
        self.server.max_viewers = overrides.max_viewers.unwrap_or(self.server.max_viewers);
        self.rtmp.listen = overrides.rtmp.or(self.rtmp.listen);
        for stream in &mut self.streams {
            let asked: Vec<_> = match &mut stream.input {
                Input::Source { source, transport, .. } => vec![(source, transport)],
                Input::Publish(_) => Vec::new(),
                Input::Qualities(qualities) => qualities
                    .iter_mut()
                    .map(|quality| (&mut quality.source, &mut quality.transport))
                    .collect(),
            };
            for (source, transport) in asked {
                // The others have no choice.
                if source.scheme() == "rtsp" {
                    *transport = overrides.transport.unwrap_or(*transport);
                }
            }
        }
    }
}
