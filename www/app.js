// The pages: the wall (/), one camera (/watch/NAME), the picture alone (/embed/NAME), and what to write into a page (/embed).
// Everything that comes from the server is put into the page as text, never as markup.

const POLL_MS = 3000;
const PASSED_ON = ['target-latency', 'renderer', 'quality', 'muted', 'autoplay', 'controls'];

/** An element with properties, attributes (`aria-…`, `data-…`, `role`) and children. */
function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (/^(aria-|data-|role$)/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter(child => child != null));
  return element;
}

function player(stream, attributes = {}) {
  const element = document.createElement('sightline-player');
  for (const [name, value] of Object.entries({ stream, ...attributes })) element.setAttribute(name, value);
  return element;
}

/** The player's attributes that the page's address asks for: `?target-latency=300&muted=off`. */
function asked() {
  const query = new URLSearchParams(location.search);
  const attributes = { muted: '' };
  for (const name of PASSED_ON) if (query.has(name)) attributes[name] = query.get(name);
  if (/^(0|off|no|false)$/.test(query.get('muted') ?? '')) delete attributes.muted;
  return attributes;
}

const watchPath = name => '/watch/' + encodeURIComponent(name);
const round = (value, digits = 0) => Number(value).toFixed(digits);
const ms = value => (value == null ? '–' : value < 1000 ? `${round(value)} ms` : `${round(value / 1000, 1)} s`);
const bits = value => (value >= 1e6 ? `${round(value / 1e6, 1)} Mbit/s` : `${round(value / 1e3)} kbit/s`);
const STATES = { idle: 'Idle', connecting: 'Connecting', live: 'Live', offline: 'Offline', error: 'Error' };
const CODECS = { avc1: 'H.264', avc3: 'H.264', hvc1: 'H.265', hev1: 'H.265', av01: 'AV1', mp4a: 'AAC', opus: 'Opus', fLaC: 'FLAC' };
const codec = string => CODECS[string.split('.')[0]] ?? string;

function since(us) {
  const s = Math.max(0, (Date.now() - us / 1e3) / 1e3);
  if (s < 90) return `${round(s)} s`;
  if (s < 5400) return `${round(s / 60)} min`;
  return s < 129600 ? `${round(s / 3600)} h` : `${round(s / 86400)} days`;
}

/** Calls `use` with the JSON at `path` now and every few seconds while the page is visible. */
function poll(path, use, fail) {
  let request, timer;
  const ask = async () => {
    clearTimeout(timer);
    request?.abort();
    if (document.hidden) return;
    const mine = (request = new AbortController());
    try {
      const answer = await fetch(path, { signal: mine.signal, headers: { accept: 'application/json' } });
      use(await answer.json(), answer.status);
    } catch (error) {
      if (mine.signal.aborted) return;
      fail(error);
    }
    timer = setTimeout(ask, POLL_MS);
  };
  document.addEventListener('visibilitychange', ask);
  ask();
}

const notice = h('p', { className: 'notice', role: 'status', hidden: true });
function serverAnswers(does) {
  notice.hidden = does;
  const text = does ? '' : 'The server does not answer. Trying again…';
  if (notice.textContent !== text) notice.textContent = text;
}

function header(...children) {
  return h('header', { className: 'bar' },
    h('a', { className: 'brand', href: '/' }, h('img', { src: '/icon.svg', alt: '', width: 22, height: 22 }), 'Sightline'),
    ...children);
}

// ---- the wall

function wall() {
  document.title = 'Sightline';
  const count = h('span', { className: 'count', role: 'status' });
  const grid = h('ul', { className: 'grid' });
  const main = h('main', { className: 'wall' }, h('h1', { className: 'unseen' }, 'Cameras'), notice, grid);
  document.body.append(header(count, h('a', { className: 'quiet', href: '/embed' }, 'Use in a page')), main);
  const tiles = new Map();

  const use = ({ streams = [] }) => {
    serverAnswers(true);
    const names = new Set(streams.map(stream => stream.name));
    for (const [name, tile] of tiles) {
      if (names.has(name)) continue;
      tile.item.remove();
      tiles.delete(name);
    }
    for (const stream of streams) {
      let tile = tiles.get(stream.name);
      if (!tile) {
        tiles.set(stream.name, (tile = makeTile(stream.name)));
        grid.append(tile.item);
      }
      tile.update(stream);
    }
    main.classList.toggle('empty', !streams.length);
    main.querySelector('.help')?.remove();
    if (!streams.length) main.append(howToAdd());
    grid.style.setProperty('--tiles', streams.length);
    const live = streams.filter(stream => stream.state === 'live').length;
    const text = streams.length ? `${live} of ${streams.length} live` : '';
    if (count.textContent !== text) count.textContent = text;
  };
  poll('/api/v1/streams', use, () => serverAnswers(false));
  grid.addEventListener('keydown', event => moveFocus(event, grid));
}

function makeTile(name) {
  const dot = h('span', { className: 'dot', 'aria-hidden': 'true' });
  const state = h('span', { className: 'state' });
  const latency = h('span', { className: 'latency' });
  // Out of view it gives its stream back by itself.
  const element = player(name, { muted: '', quality: 'auto' });
  const picture = h('div', { className: 'picture' }, element);
  const link = h('a', { href: watchPath(name) }, picture,
    h('span', { className: 'caption' }, dot, h('strong', {}, name), state, latency));
  const item = h('li', { className: 'tile', 'data-name': name }, link);
  let listed = {};
  const show = () => {
    // What this page sees counts more than what the list says: it is newer.
    const now = listed.state !== 'idle' ? element.state : listed.state;
    item.dataset.state = now;
    state.textContent = now === 'live' ? '' : STATES[now] ?? now ?? '';
    if (now !== 'live') latency.textContent = '';
    link.setAttribute('aria-label', `${name}: ${STATES[now] ?? now}${listed.error && now === 'offline' ? ', ' + listed.error.reason : ''}`);
  };
  element.addEventListener('statechange', show);
  element.addEventListener('latency', event => { latency.textContent = ms(event.detail); });
  return { item, update(stream) { listed = stream; show(); } };
}

/** Arrow keys go from tile to tile as the eye does. */
function moveFocus(event, grid) {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
  const links = [...grid.querySelectorAll('a')];
  const at = links.indexOf(document.activeElement);
  if (at < 0) return;
  const top = links[0].getBoundingClientRect().top;
  const columns = links.filter(link => link.getBoundingClientRect().top === top).length;
  const next = links[at + step[0] + step[1] * columns];
  if (!next) return;
  event.preventDefault();
  next.focus();
  next.scrollIntoView({ block: 'nearest' });
}

function howToAdd() {
  return h('section', { className: 'help' },
    h('h1', {}, 'No cameras yet'),
    h('p', {}, 'Start Sightline with a camera’s address:'),
    h('pre', {}, h('code', {}, 'sightline gate=rtsp://user:password@10.0.0.20/stream1')),
    h('p', {}, 'or name your cameras in ', h('code', {}, 'sightline.toml'), ' and start it without arguments:'),
    h('pre', {}, h('code', {}, '[streams.gate]\nsource = "rtsp://user:password@10.0.0.20/stream1"')),
    h('p', {}, 'An encoder such as OBS can push, too:'),
    h('pre', {}, h('code', {}, 'sightline --rtmp 127.0.0.1:1935 studio=publish')),
    h('p', {}, 'To see it work without a camera: ', h('code', {}, 'sightline demo'), '. This page notices new cameras by itself.'));
}

// ---- one camera

function watch(name) {
  document.title = `${name} – Sightline`;
  const element = player(name, asked());

  const pill = h('span', { className: 'pill' }, 'Connecting');
  const button = (label, key, press) =>
    h('button', { type: 'button', title: `${label} (${key.toUpperCase()})`, onclick: press, 'data-key': key, 'aria-keyshortcuts': key }, label);
  const sound = button('Sound on', 'm', () => { element.muted = !element.muted; });
  const full = button('Full screen', 'f', () =>
    document.fullscreenElement ? document.exitFullscreen() : element.requestFullscreen().catch(() => {}));
  const shot = button('Snapshot', 's', async () => {
    const blob = await element.snapshot().catch(() => null);
    if (!blob) return;
    const url = URL.createObjectURL(blob);
    h('a', { href: url, download: `${name}-${new Date().toISOString().slice(0, 19).replaceAll(':', '')}.png` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  });
  const live = button('Go live', 'l', () => { element.play(); element.seekToLive(); });
  const controls = h('div', { className: 'controls', role: 'toolbar', 'aria-label': 'Picture' }, live, sound, shot, full);

  const values = {};
  const row = (label, key) => [h('dt', {}, label), (values[key] = h('dd', {}, '–'))];
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  line.setAttribute('viewBox', '0 0 120 36');
  line.setAttribute('preserveAspectRatio', 'none');
  line.setAttribute('aria-hidden', 'true');
  const path = line.appendChild(document.createElementNS('http://www.w3.org/2000/svg', 'polyline'));
  const big = h('strong', {}, '–');
  const warnings = h('ul', { className: 'warnings', 'aria-label': 'What to see to' });
  const aside = h('aside', { 'aria-label': 'Live numbers' },
    h('div', { className: 'headline' }, h('span', {}, 'Capture to screen'), big, line),
    h('dl', {}, ...row('State', 'state'), ...row('Picture', 'size'), ...row('Codec', 'codec'), ...row('Frame rate', 'fps'),
      ...row('Bit rate', 'bits'), ...row('Slowest 5 %', 'p95'), ...row('Round trip', 'rtt'),
      ...row('Key frames', 'gop'), ...row('Dropped', 'dropped'), ...row('Stalls', 'stalls'), ...row('Viewers', 'viewers'),
      ...row('Pushed by', 'publisher')),
    warnings);
  document.body.append(
    header(h('h1', {}, name), pill),
    h('main', { className: 'watch' }, notice, h('div', { className: 'stage' }, element, controls), aside));

  const set = (key, text) => { if (values[key].textContent !== text) values[key].textContent = text; };
  let listed = null;
  const showState = () => {
    const now = element.state;
    document.body.dataset.state = now;
    pill.textContent = STATES[now] ?? now;
    set('state', (STATES[now] ?? now) + (listed && listed.state === now ? ` for ${since(listed.since_time_us)}` : ''));
  };
  const history = [];
  element.addEventListener('statechange', showState);
  const showSound = () => { sound.textContent = element.muted ? 'Sound on' : 'Sound off'; };
  element.addEventListener('volumechange', showSound);
  showSound();
  element.addEventListener('latency', ({ detail }) => {
    big.textContent = ms(detail);
    history.push(detail);
    if (history.length > 60) history.shift();
    const top = Math.max(100, ...history) * 1.1;
    path.setAttribute('points', history.map((value, i) =>
      `${round((i + 60 - history.length) * 2.034, 1)},${round(35 - (value / top) * 33, 1)}`).join(' '));
  });
  element.addEventListener('stats', ({ detail }) => {
    set('size', detail.width ? `${detail.width} × ${detail.height}${detail.quality && ` (${detail.quality})`}` : '–');
    set('codec', detail.codecs.map(codec).join(' + ') || '–');
    values.codec.title = detail.codecs.join(', ');
    set('fps', `${round(detail.framesPerSecond, 1)} fps`);
    set('bits', bits(detail.bitsPerSecond));
    set('p95', ms(detail.latencyP95Ms));
    set('rtt', detail.roundTripMs == null ? '–' : `${round(detail.roundTripMs, 1)} ms`);
    set('dropped', `${detail.droppedFrames + detail.serverDroppedFrames} of ${detail.totalFrames + detail.serverDroppedFrames}`);
    set('stalls', String(detail.stalls));
    if (detail.state !== 'live') big.textContent = '–';
  });
  poll('/api/v1/streams/' + encodeURIComponent(name), (stream, status) => {
    serverAnswers(true);
    if (status === 404) return unknown(name);
    listed = stream;
    set('viewers', String(stream.viewers ?? '–'));
    set('gop', stream.key_frame_interval_ms ? `every ${ms(stream.key_frame_interval_ms)}` : '–');
    // Only a stream that an encoder pushes has a publisher.
    values.publisher.hidden = values.publisher.previousSibling.hidden = !stream.publisher;
    if (stream.publisher) {
      set('publisher', `${stream.publisher.encoder ?? stream.publisher.address} for ${since(stream.publisher.since_time_us)}`);
      values.publisher.title = stream.publisher.address;
    }
    const said = (stream.warnings ?? []).map(warning => warning.message);
    if (said.join() !== [...warnings.children].map(item => item.textContent).join()) {
      warnings.replaceChildren(...said.map(text => h('li', {}, text)));
    }
    const silent = stream.tracks?.length && !stream.tracks.some(track => track.kind === 'audio');
    sound.disabled = !!silent;
    sound.title = silent ? 'This camera sends no sound' : 'Sound (M)';
    showState();
  }, () => serverAnswers(false));
  addEventListener('keydown', event => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.target.closest?.('input,textarea')) return;
    controls.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`)?.click();
  });
}

function unknown(name) {
  document.body.replaceChildren(header(), h('main', { className: 'wall empty' }, h('section', { className: 'help' },
    h('h1', {}, 'No such camera'),
    h('p', {}, 'No camera is named “', h('strong', {}, name), '”. It may have been renamed, or the address has a typing error.'),
    h('p', {}, h('a', { className: 'go', href: '/' }, 'See all cameras')))));
  document.title = 'No such camera – Sightline';
}

// ---- the picture alone

function embed(name) {
  document.title = name;
  document.body.className = 'embed';
  document.body.append(h('main', {}, h('h1', { className: 'unseen' }, name), player(name, asked())));
}

// ---- what to write into a page to have a camera in it

const KINDS = {
  html: (attributes, { origin }) => `<script src="${origin}/sightline-player.js"></script>\n<sightline-player ${attributes}></sightline-player>`,
  iframe: (_, { origin, stream, query }) => `<iframe src="${origin}/embed/${encodeURIComponent(stream)}${query}" title="${stream}"\n  ` +
    'width="640" height="360" style="border: 0" allow="autoplay; fullscreen; picture-in-picture"></iframe>',
  react: attributes => `import { SightlinePlayer } from 'sightline-player/react';\n\n<SightlinePlayer ${
    attributes.replace(/target-latency="(\d+)"/, 'targetLatency={$1}').replace('autoplay="off"', 'autoPlay={false}')} />`,
};

function embedding() {
  document.title = 'A camera in your page – Sightline';
  const choice = (label, options) => {
    const select = h('select', { onchange: () => show() }, ...options.map(([value, text]) => h('option', { value }, text)));
    return [h('label', {}, h('span', {}, label), select), select];
  };
  const tick = (label, checked) => {
    const box = h('input', { type: 'checkbox', checked, onchange: () => show() });
    return [h('label', { className: 'tick' }, box, h('span', {}, label)), box];
  };
  const [streamRow, stream] = choice('Camera', []);
  const [kindRow, kind] = choice('For', [['html', 'a page in HTML'], ['iframe', 'an iframe'], ['react', 'React']]);
  const [latencyRow, latency] = choice('Latency', [['', 'the least there can be'], ['300', '300 ms'], ['1000', '1 s']]);
  const [rendererRow, renderer] = choice('Renderer', [['', 'works everywhere'], ['auto', 'the quicker one, where it can be']]);
  const [mutedRow, muted] = tick('Begins without sound', true);
  const [controlsRow, controls] = tick('Controls', true);
  const [autoplayRow, autoplay] = tick('Plays by itself', true);
  const code = h('code', {}), picture = h('div', { className: 'picture' });
  const copied = h('span', { className: 'copied', role: 'status' });
  const copy = h('button', {
    type: 'button',
    onclick: async () => {
      // Without HTTPS there is no clipboard for pages; the text can be marked all the same.
      try { await navigator.clipboard.writeText(code.textContent); copied.textContent = 'Copied'; } catch {
        getSelection().selectAllChildren(code);
        copied.textContent = 'Press Ctrl+C to copy';
      }
    },
  }, 'Copy');
  document.body.append(header(h('h1', {}, 'A camera in your page')), h('main', { className: 'embedding' }, notice,
    h('section', { 'aria-label': 'Preview' }, picture, h('pre', { tabIndex: 0, role: 'region', 'aria-label': 'What to write' }, code),
      h('div', { className: 'controls' }, copy, copied)),
    h('form', { className: 'choices', 'aria-label': 'Choices' },
      streamRow, kindRow, latencyRow, rendererRow, mutedRow, controlsRow, autoplayRow)));

  const show = () => {
    copied.textContent = '';
    if (!stream.value) { code.textContent = ''; return picture.replaceChildren(); }
    const wanted = {};
    if (muted.checked) wanted.muted = '';
    if (controls.checked) wanted.controls = '';
    if (!autoplay.checked) wanted.autoplay = 'off';
    if (latency.value) wanted['target-latency'] = latency.value;
    if (renderer.value) wanted.renderer = renderer.value;
    const { origin } = location, src = origin.replace('http', 'ws') + '/ws', query = new URLSearchParams(wanted);
    if (!muted.checked) query.set('muted', 'off');
    const all = kind.value === 'html' ? { stream: stream.value, ...wanted } : { src, stream: stream.value, ...wanted };
    const attributes = Object.entries(all).map(([name, value]) => (value === '' ? name : `${name}="${value}"`)).join(' ');
    code.textContent = KINDS[kind.value](attributes, { origin, stream: stream.value, query: `${query}` && `?${query}` });
    picture.replaceChildren(player(stream.value, wanted));
  };
  poll('/api/v1/streams', ({ streams = [] }) => {
    serverAnswers(true);
    const names = streams.map(({ name }) => name);
    if (names.join() === [...stream.options].map(option => option.value).join()) return;
    const before = stream.value;
    stream.replaceChildren(...names.map(value => h('option', { value }, value)));
    if (names.includes(before)) stream.value = before;
    show();
  }, () => serverAnswers(false));
}

const [, page, encoded] = location.pathname.match(/^\/(watch|embed)\/([^/]+)\/?$/) ?? [];
let name = encoded;
try { name = encoded && decodeURIComponent(encoded); } catch { /* a stray %: shown as it is */ }
if (page === 'watch') watch(name);
else if (page === 'embed') embed(name);
else if (/^\/embed\/?$/.test(location.pathname)) embedding();
else wall();
