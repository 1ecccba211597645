/**
 * The same as `sightline-player`, with the .wasm inside of the script (some 50 KB more than without, compressed): for where a .wasm
 * cannot be served. Import it beside `sightline-player/element` or `sightline-player/react`; which comes first does not matter.
 */
export * from './sightline-player/index.js';
