//! The library as the program that a browser loads: it exports [`sightline_player::Player`] and does nothing by itself.

#![cfg_attr(target_arch = "wasm32", no_main, no_std)]

use sightline_player as _;

#[cfg(not(target_arch = "wasm32"))]
fn main() {}
