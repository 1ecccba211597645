/**
 * `<sightline-player>`. Importing this defines it; in Node nothing happens.
 *
 * ```html
 * <sightline-player src="wss://cameras.example/ws" stream="gate" muted controls></sightline-player>
 * ```
 */
import type { ErrorDetail, PlayerEventMap, Renderer, State, Stats } from './index.js';

/** The element's attributes, all of which may change at any time. */
export interface SightlinePlayerAttributes {
  /** The proxy's WebSocket: `wss://host/ws`. Else `/ws` of the proxy that the script came from, or of the page. */
  src?: string;
  /** The stream's name. */
  stream?: string;
  /** Without sound, which is not even fetched then. */
  muted?: boolean | '' | 'true';
  /** `off` waits for `play()`, and shows a button. */
  autoplay?: boolean | '' | 'on' | 'off';
  /** Play, sound, live badge, snapshot, picture in picture, full screen. */
  controls?: boolean | '' | 'true';
  /** Milliseconds from the camera to the screen, or `auto`. */
  'target-latency'?: number | 'auto' | (string & {});
  renderer?: Renderer;
  /** Of a stream in several qualities: `auto` gets the one that fits the size on the screen, `sub` the smallest, `main` the best. */
  quality?: 'auto' | 'main' | 'sub' | (string & {});
  /** Shown before there is a picture. */
  poster?: string;
  /** Where the player's .wasm is, if not beside its script. */
  'wasm-url'?: string;
}

/** The element's events: a player's, and those of `<video>`. None of them bubbles. */
export interface SightlinePlayerEventMap extends PlayerEventMap {
  play: Event;
  playing: Event;
  waiting: Event;
  pause: Event;
  volumechange: Event;
  resize: Event;
  loadeddata: Event;
  /** Somebody pressed the button for it. The file is saved unless `preventDefault()` is called. */
  snapshot: CustomEvent<Blob>;
}

/**
 * Style it by `::part(video)`, `::part(message)`, `::part(start)`, `::part(controls)`, `::part(button)` and one part for each of them:
 * `play mute volume live snapshot pip fullscreen`; by its `state` attribute; and by `--sightline-fit` (the picture's `object-fit`),
 * `--sightline-accent` (the live dot), `--sightline-focus`, `--sightline-font`, `--sightline-controls-color`,
 * `--sightline-controls-background`, `--sightline-controls-size`.
 */
export declare class SightlinePlayer extends HTMLElement {
  /** Each attribute is a property, too. */
  src: string;
  stream: string;
  autoplay: boolean;
  controls: boolean;
  get targetLatency(): string;
  set targetLatency(target: number | string);
  renderer: Renderer | (string & {});
  quality: string;
  poster: string;
  wasmUrl: string;
  /** Whether it is silent now; the attribute says how it begins. */
  muted: boolean;
  /** 0 to 1. */
  volume: number;
  readonly paused: boolean;
  /** Also an attribute, for CSS: `sightline-player[state=offline]`. */
  readonly state: State;
  /** What the state means, as it is shown over the picture; empty while all is well. */
  readonly reason: string;
  readonly videoWidth: number;
  readonly videoHeight: number;
  /** The `<video>` inside. */
  readonly video: HTMLVideoElement;
  /** What is drawn on, where the picture is not in the `<video>`. */
  readonly canvas: HTMLCanvasElement | null;
  /** Plays from the live edge. Counts before the player is ready, too. Resolves at once: `playing` tells when it does. */
  play(): Promise<void>;
  /** The picture stands still; after a while the stream is given back. */
  pause(): void;
  /** Jumps to the live edge now. */
  seekToLive(): void;
  /** The picture on the screen as a PNG. Rejects with `InvalidStateError` while there is none. */
  snapshot(): Promise<Blob>;
  getStats(): Stats | null;
  /** Lets go of everything. Removing the element does so by itself; another `stream`, or another place in a page, begins anew. */
  destroy(): void;
  addEventListener<K extends keyof SightlinePlayerEventMap>(type: K, listener: (this: SightlinePlayer, event: SightlinePlayerEventMap[K]) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener<K extends keyof HTMLElementEventMap>(type: K, listener: (this: SightlinePlayer, event: HTMLElementEventMap[K]) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof SightlinePlayerEventMap>(type: K, listener: (this: SightlinePlayer, event: SightlinePlayerEventMap[K]) => void, options?: boolean | EventListenerOptions): void;
  removeEventListener<K extends keyof HTMLElementEventMap>(type: K, listener: (this: SightlinePlayer, event: HTMLElementEventMap[K]) => void, options?: boolean | EventListenerOptions): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | EventListenerOptions): void;
}

export type { ErrorDetail, Renderer, State, Stats };

declare global {
  interface HTMLElementTagNameMap {
    'sightline-player': SightlinePlayer;
  }
}
