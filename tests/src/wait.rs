//! Waiting for conditions. Nothing here waits for a fixed time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a condition may take before a test gives up: long, because a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Asks until `condition` gives something; `what` says in the error what was waited for.
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> Result<T> {
    until_within(PATIENCE, what, condition)
}

/// As [`until`], with a time limit of its own.
pub fn until_within<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if started.elapsed() > limit {
            bail!("waited {} s in vain for: {what}", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
