//! The `sightline` program.
fn main() {}
