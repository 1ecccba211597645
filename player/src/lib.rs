//! Plays Sightline's streams in a browser, at the live edge.
//!
//! The core is pure and compiled for the host too: [`session`] is the whole player as a state machine, and the other
//! public modules are its parts. Only `transport`, `links`, `mse` and `player` touch the browser and exist on wasm32 alone.
//! Payload bytes never enter WASM memory: a fragment's `ArrayBuffer` stays an object of the page.

pub mod append;
pub mod clock;
pub mod json;
pub mod latency;
pub mod link;
pub mod message;
pub mod reconnect;
pub mod reorder;
pub mod session;
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
pub use player::Player;

/// `value`, but not below `low` and not above `high`.
///
/// `f64::clamp` panics with its arguments in the message, and the code that prints them is a tenth of the download.
pub(crate) fn within(value: f64, low: f64, high: f64) -> f64 {
    value.max(low).min(high)
}
