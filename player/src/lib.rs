//! Plays Sightline's streams in a browser, at the live edge.
//!
//! The core is pure and compiled for the host too: [`session`] is the whole player as a state machine, and the other
//! public modules are its parts. Only `transport`, `mse` and `player` touch the browser and exist on wasm32 alone.
//! Payload bytes never enter WASM memory: a fragment's `ArrayBuffer` stays an object of the page.

pub mod append;
pub mod clock;
pub mod latency;
pub mod reconnect;
pub mod session;
pub mod stats;
pub mod watchdog;

#[cfg(target_arch = "wasm32")]
mod mse;
#[cfg(target_arch = "wasm32")]
mod player;
#[cfg(target_arch = "wasm32")]
mod transport;

#[cfg(target_arch = "wasm32")]
pub use player::Player;
