import { createPlayer } from 'sightline-player';

const words = document.querySelector('p');
const player = createPlayer(document.querySelector('video'), { src: 'ws://127.0.0.1:8080/ws', stream: 'demo' });
player.addEventListener('statechange', () => { words.textContent = player.reason; });
player.addEventListener('latency', event => { words.textContent = `${Math.round(event.detail)} ms`; });
