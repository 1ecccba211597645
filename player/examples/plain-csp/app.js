const player = document.querySelector('sightline-player');
const output = document.querySelector('output');
player.addEventListener('latency', event => { output.textContent = `${Math.round(event.detail)} ms`; });
player.addEventListener('statechange', event => { if (event.detail.state !== 'live') output.textContent = '–'; });
