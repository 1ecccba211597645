/**
 * ```vue
 * <script setup>
 * import 'sightline-player/vue';
 * </script>
 * <template><sightline-player src="wss://cameras.example/ws" stream="gate" muted controls @latency="ms = $event.detail" /></template>
 * ```
 * Tell Vue's compiler that it is an element: `isCustomElement: tag => tag === 'sightline-player'`.
 */
import type { EmitFn, HTMLAttributes, PublicProps } from 'vue';
import type { SightlinePlayer, SightlinePlayerAttributes, SightlinePlayerEventMap } from './sightline-player/element.js';

export * from './sightline-player/element.js';

declare module 'vue' {
  interface GlobalComponents {
    'sightline-player': new () => SightlinePlayer & {
      /** @deprecated for templates only */
      $props: HTMLAttributes & SightlinePlayerAttributes & { targetLatency?: number | string; wasmUrl?: string } & PublicProps;
      /** @deprecated for templates only */
      $emit: EmitFn<{ [K in keyof SightlinePlayerEventMap]: (event: SightlinePlayerEventMap[K]) => void }>;
    };
  }
}
