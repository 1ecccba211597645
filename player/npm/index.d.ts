/**
 * The player on a `<video>` of your own. Importing this does nothing, in Node neither.
 *
 * ```js
 * import { createPlayer } from 'sightline-player';
 * const player = createPlayer(document.querySelector('video'), { src: 'wss://cameras.example/ws', stream: 'gate', muted: true });
 * player.addEventListener('statechange', event => console.log(event.detail.state));
 * ```
 */

/** How the stream is. `offline` and `error` go on trying, unless an error was `fatal`. */
export type State = 'connecting' | 'live' | 'offline' | 'error';

/**
 * The way to the screen.
 * - `mse`, Media Source Extensions: everywhere, with sound by the browser's own clock.
 * - `webcodecs`: each frame is decoded as it comes, some 30 ms quicker. It wants HTTPS or localhost; `mse` takes over where it cannot be.
 * - `auto`: `webcodecs` for as long as it plays smoothly.
 */
export type Renderer = 'mse' | 'webcodecs' | 'auto';

export interface PlayerOptions {
  /** The proxy's WebSocket: `wss://host/ws`. Else `/ws` of the proxy that this script came from, or of the page. */
  src?: string;
  /** The stream's name. */
  stream?: string;
  /** Without sound, which is not even fetched then. Browsers let pages play by themselves only so. */
  muted?: boolean;
  /** `false` waits for `play()`. Default: true. */
  autoplay?: boolean;
  /** Milliseconds from the camera to the screen, or `auto`: as few as the network and the browser allow. Default: `auto`. */
  targetLatency?: number | 'auto' | (string & {});
  /** Default: `mse`. */
  renderer?: Renderer | (string & {});
  /**
   * Of a stream in several qualities: `auto` gets the one that fits the size of the picture on the screen, `sub` the smallest,
   * `main` the best. In any case no more than the connection takes. Default: `main`.
   */
  quality?: 'auto' | 'main' | 'sub' | (string & {});
  /** Where the player's .wasm is, if not beside its script: see `load()`. Counts for the first player of a page. */
  wasmUrl?: string | URL;
  /** Your own style lays canvases that appear beside the `<video>` over it. Else the player does. */
  covered?: boolean;
}

/** What `statechange` tells. */
export interface StateDetail {
  state: State;
  /** What is wrong, for programs: `connecting`, `connect_failed`, `unauthorized`, `not_found`, `stalled`, `unknown_stream`, … */
  code: string;
  /** What is wrong, as the server or the browser says it; `player.reason` has it for people. */
  reason: string;
  /** Since when, in microseconds since 1970. */
  sinceUs: number | null;
}

/** What `error` tells. */
export interface ErrorDetail {
  /**
   * For programs: `no_stream`, `bad_src`, `wasm_failed`, `unknown_renderer`, `media_failed`, `decoder_failed`, `unknown_stream`,
   * `unsupported_codec`, `unsupported_version`, `bad_message`, `too_many`, `too_slow`, `shutting_down`, `other`.
   */
  code: string;
  /** For people. */
  message: string;
  /** Nothing more is tried by itself. */
  fatal: boolean;
  /** The same may work later. */
  retryable: boolean;
}

/** What `rendererchange` tells: pictures are shown another way than was asked for. */
export interface RendererDetail {
  renderer: Exclude<Renderer, 'auto'>;
  reason: string;
}

/** Figures of the last two seconds, and counters since the player was made. */
export interface Stats {
  renderer: Exclude<Renderer, 'auto'>;
  state: State;
  /** From the camera to the screen, in milliseconds: median and 95th percentile. */
  latencyMs: number | null;
  latencyP95Ms: number | null;
  /** From arrival in this page to the screen, in milliseconds. */
  playerLatencyMs: number | null;
  /** How far before their time frames are made to arrive, in milliseconds. */
  marginMs: number;
  /** How much later than wanted the picture is, in milliseconds. */
  behindMs: number | null;
  /** `playbackRate`. */
  rate: number;
  roundTripMs: number | null;
  /** The server's clock minus `performance.now()`, in milliseconds. */
  clockOffsetMs: number | null;
  bitsPerSecond: number;
  framesPerSecond: number;
  totalFrames: number;
  /** Dropped unseen by the browser. */
  droppedFrames: number;
  /** Left out by the server, because this viewer was too slow. */
  serverDroppedFrames: number;
  longestFreezeMs: number | null;
  /** From making the player to the first picture, in milliseconds. */
  firstFrameMs: number | null;
  /** Codec strings, video first: `['avc1.64001f', 'mp4a.40.2']`. */
  codecs: string[];
  /** The stream's picture, in pixels. */
  width: number;
  height: number;
  /** Which of the stream's qualities it is, by its name in the proxy's configuration; empty where there is only one. */
  quality: string;
  epoch: number;
  waitingBytes: number;
  /** What was done against trouble lately, and why. */
  lastTrouble: string;
  troubles: string[];
  fragments: number;
  bytes: number;
  appends: number;
  stalls: number;
  nudges: number;
  seeks: number;
  rebuilds: number;
  reconnects: number;
  decoderLags: number;
  soundGaps: number;
  decoderErrors: number;
  badMessages: number;
  quotaExceeded: number;
}

/** What a player tells. What `<video>` tells (`playing`, `waiting`, `volumechange`, …), it goes on telling. */
export interface PlayerEventMap {
  statechange: CustomEvent<StateDetail>;
  /** Milliseconds from the camera to the screen, each second. */
  latency: CustomEvent<number>;
  /** As `getStats()`, each second. */
  stats: CustomEvent<Stats>;
  error: CustomEvent<ErrorDetail>;
  rendererchange: CustomEvent<RendererDetail>;
  /** The browser allowed playing only without sound. */
  autoplaymuted: CustomEvent<undefined>;
  /** The browser wants a gesture first: show a button that calls `play()`. */
  gestureneeded: CustomEvent<undefined>;
}

/** Plays one stream in one `<video>`. */
export declare class Player extends EventTarget {
  /** Nothing is asked for before `start()`. */
  constructor(video: HTMLVideoElement, options?: PlayerOptions);
  readonly video: HTMLVideoElement;
  /** What is drawn on, where `webcodecs` shows pictures on a canvas over the `<video>` (Firefox, Safari). */
  readonly canvas: HTMLCanvasElement | null;
  readonly state: State;
  /** What the state means, in words to be shown; empty while all is well. */
  readonly reason: string;
  /** Whether it was asked, or made by the browser, not to play. */
  readonly paused: boolean;
  /** Between `start()` and `destroy()`. */
  readonly open: boolean;
  /** Whether a picture is held over the `<video>` until there is a newer one. */
  readonly holds: boolean;
  readonly videoWidth: number;
  readonly videoHeight: number;
  /** Begins, or begins anew. `createPlayer()` has done so. */
  start(): Promise<void>;
  /** Other options, at any time. Only another `src`, `stream` or `renderer` begins anew. */
  set(options: PlayerOptions): void;
  /** Plays from the live edge. Counts before the player is ready, too. */
  play(): void;
  /** The picture stands still; after a while the stream is given back. */
  pause(): void;
  /** Jumps to the live edge now. */
  seekToLive(): void;
  /** The picture on the screen as a PNG. Rejects with `InvalidStateError` while there is none. */
  snapshot(): Promise<Blob>;
  /** `null` while there is no connection to speak of. */
  getStats(): Stats | null;
  /** Lets go of everything: socket, timers, buffers, listeners. The `<video>` stays yours. */
  destroy(): void;
  addEventListener<K extends keyof PlayerEventMap>(type: K, listener: (this: Player, event: PlayerEventMap[K]) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof PlayerEventMap>(type: K, listener: (this: Player, event: PlayerEventMap[K]) => void, options?: boolean | EventListenerOptions): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | EventListenerOptions): void;
}

/** Plays a stream in a `<video>` until `destroy()`. A player that the `<video>` had before is ended. */
export declare function createPlayer(video: HTMLVideoElement, options: PlayerOptions): Player;

/** What the player's .wasm may be taken from. */
export type WasmSource = string | URL | Request | Response | BufferSource | WebAssembly.Module;

/** Fetches and compiles the player's .wasm ahead of time; the first call counts. Without an argument it is beside the script. */
export declare function load(from?: WasmSource | (() => WasmSource)): Promise<void>;

/** Where `load()` takes the .wasm from when it is not told, as the first player does. `sightline-player/inline` uses it. */
export declare function setWasm(from: WasmSource | (() => WasmSource) | undefined): void;

/** What a state means, in words for people; empty while all is well. */
export declare function describe(state: StateDetail): string;
