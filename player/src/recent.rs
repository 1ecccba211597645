//! PURE: the values of the last while, each with the time when it came.
//!
//! Invariant: what is remembered is bounded in number and in age, and the newest value is always there.

use crate::nth_smallest;
use crate::prelude::*;

/// Values of the last while, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Recent(Vec<(f64, f64)>);

impl Recent {
    /// Adds a value, and forgets those that are older than `window_ms` or more than `most`.
    pub(crate) fn push(&mut self, value: f64, now_ms: f64, window_ms: f64, most: usize) {
        self.0.push((now_ms, value));
        if self.0.len() > most {
            self.0.remove(0);
        }
        self.expire(now_ms, window_ms);
    }

    /// Forgets what is older than `window_ms`.
    pub(crate) fn expire(&mut self, now_ms: f64, window_ms: f64) {
        let old = self.0.iter().take_while(|(at_ms, _)| now_ms - at_ms > window_ms).count();
        self.0.drain(..old);
    }

    /// Forgets the values that are not to be kept.
    pub(crate) fn retain(&mut self, keep: impl Fn(f64) -> bool) {
        self.0.retain(|&(_, value)| keep(value));
    }

    /// The values, oldest first.
    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = f64> {
        self.0.iter().map(|&(_, value)| value)
    }

    /// The oldest value and when it came.
    pub(crate) fn first(&self) -> Option<(f64, f64)> {
        self.0.first().map(|&(at_ms, value)| (value, at_ms))
    }

    /// When the newest value came.
    pub(crate) fn newest_ms(&self) -> Option<f64> {
        self.0.last().map(|&(at_ms, _)| at_ms)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What stands at `nth` when the values are in order; none beyond the last.
    pub(crate) fn nth_smallest(&self, nth: usize) -> Option<f64> {
        let mut values: Vec<f64> = self.values().collect();
        nth_smallest(&mut values, nth)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
