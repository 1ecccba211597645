// The element, with types for Vue's templates.
export * from './sightline-player/element.js';
