//! The meeting place: a name leads to a [`Stream`], into which one publisher puts frames and from which any number of
//! viewers read through a [`Cursor`].
//!
//! What belongs here: who is live, what the last seconds were, who watches. What does not: any protocol's name, any
//! socket. Invariant: a frame is muxed once, in `stream`, and from then on is immutable; its bytes are never copied.

mod cursor;
mod fragment;
mod lag;
mod meter;
mod ring;
mod status;
mod stream;

use std::{collections::BTreeMap, sync::Arc};

use crate::config::StreamName;

use ring::Memory;

pub use cursor::{Cursor, Item};
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
}

/// What is said, in every protocol, to whoever asks for a stream there is not. `name` comes from a peer: cut it first.
pub fn unknown_stream(name: &str) -> String {
    format!("no stream is called {name:?}; the names are listed at /api/v1/streams")
}

impl Hub {
    /// A hub of streams with these names; `true` stands for a stream that is only fetched while somebody watches.
    pub fn new(names: impl IntoIterator<Item = (StreamName, bool)>) -> Self {
        let specs = names.into_iter().map(|(name, on_demand)| Spec { name, on_demand, max_viewers: None });
        Self::with(specs, usize::MAX)
    }

    /// A hub of these streams, which hold so many bytes of their last seconds together.
    pub fn with(specs: impl IntoIterator<Item = Spec>, history_bytes: usize) -> Self {
        let specs: Vec<_> = specs.into_iter().collect();
        let memory = Memory::new(history_bytes, specs.len());
        let streams = (1..)
            .zip(specs)
            .map(|(number, spec)| (spec.name.clone(), Stream::new(spec, number, memory.clone())))
            .collect();
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
