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

pub use cursor::{Cursor, Item};
pub use fragment::Fragment;
pub use status::{Counts, Fault, Origin, State, Status, Warning};
pub(crate) use stream::unix_time_us;
pub use stream::{Epoch, Publisher, Stream};

/// Every stream of this proxy, by name. The set is fixed at start.
#[derive(Debug, Default)]
pub struct Hub {
    streams: BTreeMap<StreamName, Arc<Stream>>,
}

/// What is said, in every protocol, to whoever asks for a stream there is not. `name` comes from a peer: cut it first.
pub fn unknown_stream(name: &str) -> String {
    format!("no stream is called {name:?}; the names are listed at /api/v1/streams")
}

impl Hub {
    /// A hub of streams with these names; `true` stands for a stream that is only fetched while somebody watches.
    pub fn new(names: impl IntoIterator<Item = (StreamName, bool)>) -> Self {
        let streams = (1..)
            .zip(names)
            .map(|(number, (name, on_demand))| (name.clone(), Stream::new(name, number, on_demand)))
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
