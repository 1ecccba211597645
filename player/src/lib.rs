//! Plays Sightline's streams in a browser, at the live edge.
//!
//! The core is pure and compiled for the host too: [`session`] is the whole player as a state machine, and the other
//! public modules are its parts. Only `transport`, `links`, `mse`, `webcodecs` and `player` touch the browser and exist on
//! wasm32 alone.
//! Payload bytes never enter WASM memory: a fragment's `ArrayBuffer` stays an object of the page.

pub mod append;
pub mod cadence;
pub mod clock;
pub mod json;
pub mod latency;
pub mod link;
pub mod message;
pub mod reconnect;
pub mod reorder;
pub mod session;
pub mod sound;
pub mod stats;
pub mod watchdog;

/// Half the size of the standard one; the player allocates little and seldom.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();

#[cfg(target_arch = "wasm32")]
mod links;
#[cfg(target_arch = "wasm32")]
mod mse;
#[cfg(target_arch = "wasm32")]
mod player;
#[cfg(target_arch = "wasm32")]
mod transport;
#[cfg(target_arch = "wasm32")]
mod webcodecs;

#[cfg(target_arch = "wasm32")]
pub use player::Player;

/// `value`, but not below `low` and not above `high`.
///
/// `f64::clamp` panics with its arguments in the message, and the code that prints them is a tenth of the download.
pub(crate) fn within(value: f64, low: f64, high: f64) -> f64 {
    value.max(low).min(high)
}

/// What stands at `nth` when `values` are in order (Hoare's FIND); they are left in some other. `None` beyond the last.
///
/// `select_nth_unstable_by` is quicker where there are many thousands, and twenty times this code.
pub(crate) fn nth_smallest(values: &mut [f64], nth: usize) -> Option<f64> {
    let (mut low, mut high) = (0, values.len());
    while low + 1 < high {
        let pivot = *values.get(nth)?;
        let (mut left, mut right) = (low, high);
        while left < right {
            while values[left] < pivot {
                left += 1;
            }
            while pivot < values[right - 1] {
                right -= 1;
            }
            if left < right {
                values.swap(left, right - 1);
                left += 1;
                right -= 1;
            }
        }
        if right <= nth {
            low = left;
        }
        if nth < left {
            high = right;
        }
    }
    values.get(nth).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_nth_smallest_is_what_stands_there_in_order(values in prop::collection::vec(-9i8..9, 0..60), nth in 0usize..64) {
            let mut ordered = values.clone();
            ordered.sort_unstable();
            let mut values: Vec<f64> = values.into_iter().map(f64::from).collect();
            prop_assert_eq!(nth_smallest(&mut values, nth), ordered.get(nth).copied().map(f64::from));
        }

        #[test]
        fn what_is_no_number_ends_nothing(mut values: Vec<f64>, nan in any::<prop::sample::Index>(), nth in 0usize..64) {
            if !values.is_empty() {
                let at = nan.index(values.len());
                values[at] = f64::NAN;
            }
            let _ = nth_smallest(&mut values, nth);
        }
    }
}
