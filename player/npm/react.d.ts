/**
 * ```jsx
 * import { SightlinePlayer } from 'sightline-player/react';
 * <SightlinePlayer src="wss://cameras.example/ws" stream="gate" muted controls onLatency={event => setMs(event.detail)} />
 * ```
 * The ref is the element. It renders on a server, where it is empty.
 */
import type { DetailedHTMLProps, ForwardRefExoticComponent, HTMLAttributes, RefAttributes } from 'react';
import type { SightlinePlayer as SightlinePlayerElement, SightlinePlayerAttributes, SightlinePlayerEventMap } from './sightline-player/element.js';
import type { PlayerOptions } from './sightline-player/index.js';

type Handler<K extends keyof SightlinePlayerEventMap> = (event: SightlinePlayerEventMap[K]) => void;

/** The element's events, under React's names. They are the DOM's own: `event.detail`, `event.currentTarget`. */
export interface SightlinePlayerHandlers {
  onPlay?: Handler<'play'>;
  onPlaying?: Handler<'playing'>;
  onWaiting?: Handler<'waiting'>;
  onPause?: Handler<'pause'>;
  onVolumeChange?: Handler<'volumechange'>;
  onResize?: Handler<'resize'>;
  onLoadedData?: Handler<'loadeddata'>;
  onLatency?: Handler<'latency'>;
  onStateChange?: Handler<'statechange'>;
  onStats?: Handler<'stats'>;
  onError?: Handler<'error'>;
  onRendererChange?: Handler<'rendererchange'>;
  onAutoplayMuted?: Handler<'autoplaymuted'>;
  onGestureNeeded?: Handler<'gestureneeded'>;
  onSnapshot?: Handler<'snapshot'>;
}

export interface SightlinePlayerProps
  extends Omit<HTMLAttributes<SightlinePlayerElement>, keyof SightlinePlayerHandlers | 'children'>,
    SightlinePlayerHandlers,
    Pick<PlayerOptions, 'src' | 'stream' | 'muted' | 'targetLatency' | 'renderer' | 'quality'> {
  /** `false` waits for `play()`, and shows a button. */
  autoPlay?: boolean;
  controls?: boolean;
  poster?: string;
  /** Where the player's .wasm is, if not beside its script. */
  wasmUrl?: string;
}

export declare const SightlinePlayer: ForwardRefExoticComponent<SightlinePlayerProps & RefAttributes<SightlinePlayerElement>>;
export type { SightlinePlayerElement };

declare module 'react' {
  namespace JSX {
    interface IntrinsicElements {
      'sightline-player': DetailedHTMLProps<HTMLAttributes<SightlinePlayerElement>, SightlinePlayerElement> & SightlinePlayerAttributes;
    }
  }
}
