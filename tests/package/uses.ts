// What a page may write in TypeScript. Nothing here is run: it is compiled against the packed package.
import { type ErrorDetail, type Stats, createPlayer, describe, load, setWasm, Player } from 'sightline-player';
import { SightlinePlayer, type SightlinePlayerAttributes } from 'sightline-player/element';
import 'sightline-player/inline';

const video = document.querySelector('video')!;
const player: Player = createPlayer(video, { src: 'wss://host/ws', stream: 'gate', targetLatency: 300, renderer: 'auto', wasmUrl: new URL('https://host/p.wasm') });
player.addEventListener('latency', event => event.detail.toFixed());
player.addEventListener('error', ({ detail }) => {
  const told: ErrorDetail = detail;
  console.log(told.code, told.fatal, told.retryable);
});
player.addEventListener('statechange', ({ detail }) => console.log(describe(detail), detail.sinceUs));
player.set({ stream: 'yard' });
const stats: Stats | null = player.getStats();
if (stats) stats.codecs.map(codec => codec.length);
const image: Promise<Blob> = player.snapshot();
player.destroy();
void load('/player.wasm');
setWasm(() => new Uint8Array());

const element: SightlinePlayer = document.createElement('sightline-player');
element.addEventListener('statechange', event => event.detail.state === 'offline' && event.currentTarget);
element.addEventListener('snapshot', event => event.detail.arrayBuffer());
element.addEventListener('click', event => event.clientX);
element.targetLatency = 300;
element.muted = !element.muted;
const attributes: SightlinePlayerAttributes = { stream: 'gate', muted: '', 'target-latency': 'auto', autoplay: 'off' };
document.querySelector('sightline-player')?.play().then(() => attributes);

// @ts-expect-error there is no such option
createPlayer(video, { streem: 'gate' });
// @ts-expect-error it is told, not set
element.state = 'live';
// @ts-expect-error a figure may be missing
stats.latencyMs.toFixed();
void image;
