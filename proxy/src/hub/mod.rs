//! The meeting place: a name leads to a [`Stream`], into which one publisher puts frames and from which any number of
//! viewers read through a [`Cursor`].
//!
//! What belongs here: who is live, what the last seconds were, who watches. What does not: any protocol's name, any
//! socket. Invariant: a frame is muxed once, in `stream`, and from then on is immutable; its bytes are never copied.

mod cursor;
mod fragment;
mod group;
mod lag;
mod meter;
mod ring;
mod status;
mod stream;

use std::{collections::BTreeMap, sync::Arc};

use crate::config::StreamName;

use group::Group;
use ring::Memory;
use stream::Place;

pub use cursor::{Cursor, Entry, Item, Key};
pub use fragment::Fragment;
pub use status::{Counts, Fault, Origin, State, Status, Warning};
pub(crate) use stream::unix_time_us;
pub use stream::{Admitted, Epoch, Publisher, Stream};

/// Every stream of this proxy, by name. The set is fixed at start.
#[derive(Debug, Default)]
pub struct Hub {
    streams: BTreeMap<StreamName, Arc<Stream>>,
}

/// What a stream is to be.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name.
    pub name: StreamName,
    /// Whether it is only fetched while somebody watches.
    pub on_demand: bool,
    /// How many may watch it at a time; none: as many as come.
    pub max_viewers: Option<u32>,
    /// What its qualities are called, best first; none where there is one. All but the best are only fetched while
    /// somebody gets them.
    pub qualities: Vec<StreamName>,
}

/// What is said, in every protocol, to whoever asks for a stream there is not. `name` comes from a peer: cut it first.
pub fn unknown_stream(name: &str) -> String {
    format!("no stream is called {name:?}; the names are listed at /api/v1/streams")
}

impl Hub {
    /// A hub of streams with these names; `true` stands for a stream that is only fetched while somebody watches.
    pub fn new(names: impl IntoIterator<Item = (StreamName, bool)>) -> Self {
        let specs = names.into_iter().map(|(name, on_demand)| Spec {
            name,
            on_demand,
            max_viewers: None,
            qualities: Vec::new(),
        });
        Self::with(specs, usize::MAX)
    }

    /// A hub of these streams, which hold so many bytes of their last seconds together.
    pub fn with(specs: impl IntoIterator<Item = Spec>, history_bytes: usize) -> Self {
        let specs: Vec<_> = specs.into_iter().collect();
        let rings = specs.iter().map(|spec| spec.qualities.len().max(1)).sum();
        let memory = Memory::new(history_bytes, rings);
        let mut ids = 1..;
        let mut stream = |spec: Spec, number| {
            let group = Arc::new(Group::new(spec.qualities.len()));
            let mut made = |spec: &Spec, quality: Option<&StreamName>, lower| {
                let id = ids.next().unwrap_or_default();
                let (quality, group, memory) = (quality.cloned(), group.clone(), memory.clone());
                Stream::new(spec.clone(), Place { id, number, quality, lower, group, memory })
            };
            let lower = Spec { on_demand: true, ..spec.clone() };
            let lower = spec.qualities.iter().skip(1).map(|name| made(&lower, Some(name), Vec::new()));
            let lower = lower.collect();
            (spec.name.clone(), made(&spec, spec.qualities.first(), lower))
        };
        let streams = (1..).zip(specs).map(|(number, spec)| stream(spec, number)).collect();
        Self { streams }
    }

    /// The stream of this name. Any text may be asked for; only configured names are found.
    pub fn get(&self, name: &str) -> Option<&Arc<Stream>> {
        self.streams.get(name)
    }

    /// All streams, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Stream>> {
        self.streams.values()
    }
}
