// The element, with types for Svelte's markup.
export * from './sightline-player/element.js';
