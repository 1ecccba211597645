//! Plays Sightline's streams in a browser, at the live edge.
//!
//! The core is pure and compiled for the host too: [`session`] is the whole player as a state machine, and the other
//! public modules are its parts. Only `browser`, `transport`, `links`, `mse`, `webcodecs` and `player` touch the browser
//! and exist on wasm32 alone.
//! Payload bytes never enter WASM memory: a fragment's `ArrayBuffer` stays an object of the page.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

/// What the standard library's prelude has and the core library's has not.
pub(crate) mod prelude {
    pub(crate) use alloc::borrow::ToOwned;
    pub(crate) use alloc::boxed::Box;
    pub(crate) use alloc::string::String;
    pub(crate) use alloc::vec;
    pub(crate) use alloc::vec::Vec;
}

pub mod append;
pub mod cadence;
pub mod clock;
pub mod json;
pub mod latency;
pub mod link;
pub mod message;
mod recent;
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

/// The standard library's would print a message that nobody sees: a tenth of the download. This one traps, as that does
/// in the end.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(target_arch = "wasm32")]
mod browser;
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
/// `f64::clamp` panics where one of the limits is none.
pub(crate) fn within(value: f64, low: f64, high: f64) -> f64 {
    value.max(low).min(high)
}

/// The whole number nearest to `value`; halves go away from zero.
pub(crate) fn rounded(value: f64) -> i64 {
    (value + 0.5_f64.copysign(value)) as i64
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
        fn a_rounded_number_is_the_nearest_one(value in -1e15f64..1e15, eighths in -9i8..9) {
            let halves = f64::from(eighths) / 8.0;
            prop_assert_eq!((rounded(value), rounded(halves)), (value.round() as i64, halves.round() as i64));
        }

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
