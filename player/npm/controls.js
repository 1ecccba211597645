// What lies over the picture of <sightline-player controls>: loaded only where it is asked for. It uses no more of the element
// than a page can.
const ICONS = {
  play: 'M8 5v14l11-7z',
  pause: 'M7 5v14h3.5V5zM13.5 5v14H17V5z',
  sound: 'M4 9.5v5h3l5 4v-13l-5 4zM15.5 9a4 4 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11',
  silent: 'M4 9.5v5h3l5 4v-13l-5 4zM16 9.5l5 5M21 9.5l-5 5',
  snapshot: 'M3.5 8h4L9 5.5h6L16.5 8h4v10.5h-17zM15 13a3 3 0 1 1-6 0 3 3 0 0 1 6 0',
  pip: 'M3.5 5.5h17v13h-17zM12.5 12.5h5v3h-5z',
  full: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
  exit: 'M9 4v5H4M20 9h-5V4M15 20v-5h5M4 15h5v5',
};
const IDLE_MS = 2500;

const sheet = new CSSStyleSheet();
sheet.replaceSync(`
.over{position:absolute;inset:0;z-index:1;outline:0;container-type:inline-size;color:var(--sightline-controls-color,#fff);
 --size:var(--sightline-controls-size,36px);font:600 12px/1 var(--sightline-font,system-ui,sans-serif);-webkit-tap-highlight-color:transparent}
.over.idle{cursor:none}
.bar{position:absolute;inset:auto 0 0;display:flex;align-items:center;padding:32px 6px 6px;
 background:var(--sightline-controls-background,linear-gradient(#0000,#000b));transition:opacity .25s}
.idle .bar:not(:has(:focus-visible)){opacity:0;pointer-events:none}
.bar button{all:unset;box-sizing:border-box;flex:none;display:grid;place-content:center;min-width:var(--size);height:var(--size);
 border-radius:8px;cursor:pointer}
.bar button:hover{background:#fff2}
.bar :focus-visible{outline:2px solid var(--sightline-focus,#6cf);outline-offset:-2px}
.bar [hidden]{display:none}
.bar svg{width:22px;fill:none;stroke:currentColor;stroke-width:1.7;stroke-linecap:round;stroke-linejoin:round}
.bar .solid svg{fill:currentColor}
.bar .live{display:flex;flex:0 1 auto;align-items:center;gap:6px;min-width:0;margin-right:auto;padding:0 9px;overflow:hidden;
 letter-spacing:.05em;text-shadow:0 0 3px #000a;white-space:nowrap}
.live i{flex:none;width:8px;height:8px;border-radius:50%}
.live:not(.on) i{box-shadow:inset 0 0 0 2px}
.live.on i{background:var(--sightline-accent,#4fc38a)}
.live span{font-weight:500;letter-spacing:0;font-variant-numeric:tabular-nums}
input{all:unset;flex:none;width:0;height:var(--size);cursor:pointer;opacity:0;transition:width .2s,opacity .2s;
 background:linear-gradient(90deg,currentColor var(--at),#fff5 0) center/100% 4px no-repeat}
.mute:hover+input,input:hover,input:focus-visible,.mute:focus-visible+input{width:64px;margin:0 6px;opacity:1}
input::-webkit-slider-thumb{-webkit-appearance:none;width:12px;height:12px;border-radius:50%;background:currentColor}
input::-moz-range-thumb{width:12px;height:12px;border:0;border-radius:50%;background:currentColor}
@container(max-width:400px){.bar .wide{display:none}}
@container(max-width:240px){.bar{padding:18px 1px 1px}.bar input,.live span{display:none}.bar .live{padding:0 4px}.bar button{min-width:32px}}
@media(pointer:coarse){.over{--size:var(--sightline-controls-size,44px)}input{display:none}}
@media(prefers-reduced-motion:reduce){.bar,.bar *{transition:none}}
@media(forced-colors:active){.bar{background:Canvas;padding-top:4px}.bar button{color:ButtonText}.live.on i{forced-color-adjust:none;background:Highlight}}`);

const html = (tag, props, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
};
const number = ms => (ms < 999.5 ? `${Math.round(ms)} ms` : `${(ms / 1e3).toFixed(1)} s`);

export class Controls {
  #element;
  #timer = 0;
  #late = 0;
  #watch = new AbortController();
  #keys = {};
  #over;
  #latency = html('span', {});

  constructor(element) {
    this.#element = element;
    const { video, shadowRoot: root } = element;
    if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
    const play = this.#button('play', 'k', () => (element.paused ? element.play() : element.pause()), 'solid');
    const mute = this.#button('mute', 'm', () => { element.muted = !element.muted; });
    const volume = html('input', { type: 'range', max: 1, step: 0.05, part: 'volume', ariaLabel: 'Volume' });
    const live = this.#button('live', 'l', () => { element.play(); element.seekToLive(); }, 'live');
    const word = new Text();
    live.title = 'From the camera to this screen (L)';
    live.append(html('i', {}), word, this.#latency);
    const snapshot = this.#button('snapshot', 's', () => this.#snapshot(), 'wide');
    const pip = this.#button('pip', 'i', () =>
      (root.pictureInPictureElement ? document.exitPictureInPicture() : video.requestPictureInPicture()).catch(() => {}), 'wide');
    const full = this.#button('fullscreen', 'f', () => {
      if (element.matches(':fullscreen')) document.exitFullscreen();
      else if (element.requestFullscreen) element.requestFullscreen().catch(() => {});
      // An iPhone.
      else video.webkitEnterFullscreen?.();
    });
    const bar = html('div', { className: 'bar', part: 'controls', role: 'group', ariaLabel: 'Player controls' },
      play, mute, volume, live, snapshot, pip, full);
    this.#over = html('div', { className: 'over', tabIndex: -1 }, bar);
    root.append(this.#over);

    const show = () => {
      const { paused, state } = element, silent = element.muted || !element.volume, on = state === 'live' && !paused;
      draw(play, paused ? 'play' : 'pause', paused ? 'Play' : 'Pause');
      draw(mute, silent ? 'silent' : 'sound', silent ? 'Unmute' : 'Mute');
      draw(snapshot, 'snapshot', 'Save this picture');
      draw(pip, 'pip', 'Picture in picture');
      const fills = element.matches(':fullscreen');
      draw(full, fills ? 'exit' : 'full', fills ? 'Leave full screen' : 'Full screen');
      pip.hidden = !document.pictureInPictureEnabled || !video.requestPictureInPicture || !!element.canvas;
      full.hidden = !element.requestFullscreen && !video.webkitEnterFullscreen;
      live.classList.toggle('on', on);
      word.data = on ? 'LIVE' : paused ? 'GO LIVE' : state.toUpperCase();
      if (!on) this.#latency.textContent = '';
      volume.value = silent ? 0 : element.volume;
      volume.style.setProperty('--at', volume.value * 100 + '%');
      if (!on) this.#wake();
    };
    const on = (target, types, call) => types.split(' ').forEach(type => target.addEventListener(type, call, { signal: this.#watch.signal }));
    on(element, 'play playing pause volumechange rendererchange resize gestureneeded', show);
    // What is over in a moment is not worth a word.
    on(element, 'statechange', () => {
      clearTimeout(this.#late);
      this.#late = setTimeout(show, element.state === 'live' ? 0 : 700);
    });
    on(element, 'latency', ({ detail }) => { if (live.classList.contains('on')) this.#latency.textContent = number(detail); });
    on(document, 'fullscreenchange', show);
    on(volume, 'input', () => Object.assign(element, { volume: +volume.value, muted: !+volume.value }));
    // A finger that finds none only has them shown: what is hidden takes no presses.
    on(this.#over, 'pointerdown pointermove focusin keydown', () => this.#wake());
    on(this.#over, 'pointerleave', () => this.#wake(300));
    // Safari's buttons take no focus, and keys go where that is.
    on(this.#over, 'click', () => root.activeElement ?? this.#over.focus({ preventScroll: true }));
    on(this.#over, 'dblclick', event => bar.contains(event.target) || full.click());
    on(this.#over, 'keydown', event => this.#pressed(event));
    show();
    this.#wake();
  }

  remove() {
    clearTimeout(this.#timer);
    clearTimeout(this.#late);
    this.#watch.abort();
    this.#over.remove();
  }

  #button(name, key, press, style = '') {
    this.#keys[key] = press;
    const button = html('button', { type: 'button', className: `${name} ${style}`, part: `button ${name}`, onclick: press });
    button.setAttribute('aria-keyshortcuts', key);
    return button;
  }

  #pressed(event) {
    const { key, target } = event, step = { ArrowUp: 0.1, ArrowDown: -0.1 }[key];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const press = this.#keys[key === ' ' && target === this.#over ? 'k' : key.toLowerCase()];
    if (press) press();
    else if (step && target.type !== 'range') {
      const volume = Math.min(1, Math.max(0, (this.#element.muted ? 0 : this.#element.volume) + step));
      Object.assign(this.#element, { volume, muted: !volume });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Shows them, and hides them again when nothing is done and all is well. */
  #wake(ms = IDLE_MS) {
    const { classList } = this.#over;
    clearTimeout(this.#timer);
    classList.remove('idle');
    this.#timer = setTimeout(() => {
      if (this.#element.state === 'live' && !this.#element.paused) classList.add('idle');
    }, ms);
  }

  /** Hands the picture on as a file, unless the page takes it. */
  async #snapshot() {
    const element = this.#element, blob = await element.snapshot().catch(() => null);
    if (!blob || !element.dispatchEvent(new CustomEvent('snapshot', { detail: blob, cancelable: true }))) return;
    const href = URL.createObjectURL(blob), at = new Date().toISOString().slice(0, 19).replaceAll(':', '');
    html('a', { href, download: `${element.stream}-${at}.png` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 1e4);
  }
}

function draw(button, icon, label) {
  if (button.ariaLabel === label) return;
  button.ariaLabel = label;
  button.title = `${label} (${button.getAttribute('aria-keyshortcuts').toUpperCase()})`;
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg'), path = document.createElementNS(svg.namespaceURI, 'path');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.ariaHidden = 'true';
  path.setAttribute('d', ICONS[icon]);
  svg.append(path);
  button.replaceChildren(svg);
}
