/**
 * ```svelte
 * <script>import 'sightline-player/svelte';</script>
 * <sightline-player src="wss://cameras.example/ws" stream="gate" muted controls onlatency={event => (ms = event.detail)}></sightline-player>
 * ```
 */
import type { HTMLAttributes } from 'svelte/elements';
import type { SightlinePlayer, SightlinePlayerAttributes, SightlinePlayerEventMap } from './sightline-player/element.js';

export * from './sightline-player/element.js';

type Handlers = { [K in keyof SightlinePlayerEventMap as `on${K}`]?: (event: SightlinePlayerEventMap[K]) => void };

declare module 'svelte/elements' {
  interface SvelteHTMLElements {
    'sightline-player': Omit<HTMLAttributes<SightlinePlayer>, keyof Handlers> & SightlinePlayerAttributes & Handlers;
  }
}
