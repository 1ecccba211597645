//! How many viewers get in: as many as are configured, and no more than the system lets this process have open files.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Open files that are not viewers': what the program itself needs, a few connections that ask for pages.
const OTHER_FILES: u64 = 32;

/// And for each stream: its camera's connection, the next one while that is tried for, UDP's four sockets.
const FILES_A_STREAM: u64 = 6;

/// The places there are for viewers.
#[derive(Clone, Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    max_viewers: usize,
}

impl Admission {
    /// Places for this many viewers of a proxy with so many streams.
    ///
    /// Many systems let a process open 1,024 files unless it asks for more, up to a hard limit: it is asked for here.
    pub fn new(max_viewers: u32, streams: usize) -> Self {
        let open_files = open_files_max();
        let max_viewers = places(max_viewers, open_files, streams);
        Self { places: Arc::new(Semaphore::new(max_viewers as usize)), max_viewers: max_viewers as usize }
    }

    /// A place, if one is free. It is free again when that is dropped.
    pub(super) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// How many places there are.
    pub fn max_viewers(&self) -> usize {
        self.max_viewers
    }
}

/// How many viewers there is room for.
fn places(max_viewers: u32, open_files: Option<u64>, streams: usize) -> u32 {
    let Some(open_files) = open_files else { return max_viewers };
    let others = (OTHER_FILES + FILES_A_STREAM * streams as u64).min(open_files / 2);
    max_viewers.min(u32::try_from(open_files - others).unwrap_or(u32::MAX)).max(1)
}

/// How many files this process may have open, after asking for as many as it gets.
#[cfg(unix)]
fn open_files_max() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if raised.is_ok() { maximum } else { current }
}

#[cfg(not(unix))]
fn open_files_max() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_as_many_as_are_configured_and_files_can_be_opened() {
        assert_eq!(places(2_000, None, 10), 2_000);
        assert_eq!(places(2_000, Some(1_000_000), 10), 2_000);
        assert_eq!(places(2_000, Some(1_024), 10), 1_024 - 32 - 60);
        assert_eq!(places(2_000, Some(64), 1_000), 32, "cameras get half of it at most");
        assert_eq!(places(2_000, Some(0), 1), 1);
    }

    #[test]
    fn a_place_is_free_again_when_its_viewer_leaves() {
        let admission = Admission { places: Arc::new(Semaphore::new(1)), max_viewers: 1 };
        let place = admission.enter().expect("free");
        assert!(admission.enter().is_none());
        drop(place);
        assert!(admission.enter().is_some());
    }
}
