// <sightline-player>: attributes, words, events and what lies over the picture. The player is in index.js.
import { Player, describe } from './index.js';

const FORWARDED = ['play', 'playing', 'waiting', 'pause', 'volumechange', 'resize', 'loadeddata'];
const OPTIONS = { src: 'src', stream: 'stream', renderer: 'renderer', quality: 'quality', 'target-latency': 'targetLatency', 'wasm-url': 'wasmUrl' };
const STYLE = `
:host{display:block;position:relative;overflow:hidden;background:#000;aspect-ratio:16/9;contain:content}
:host([hidden]){display:none}
video,canvas{position:absolute;inset:0;width:100%;height:100%;object-fit:var(--sightline-fit,contain);background:#000}
canvas{pointer-events:none;background:none}
canvas[hidden]{display:none}
p{position:absolute;inset:0;margin:0;display:grid;place-content:center;text-align:center;padding:1em;color:#d7dde4;
 font:500 clamp(13px,2.2vw,17px)/1.45 var(--sightline-font,system-ui,sans-serif);text-wrap:balance;white-space:pre-line;pointer-events:none;
 opacity:0;visibility:hidden;background:radial-gradient(#0009,#000b);transition:opacity .2s,visibility .2s}
p.on{opacity:1;visibility:visible}
p.late{transition-delay:.7s}
.start{position:absolute;z-index:2;inset:0;margin:auto;width:4.5em;height:4.5em;border:0;border-radius:50%;background:#fffd;color:#111;
 font:600 15px var(--sightline-font,system-ui,sans-serif);cursor:pointer}
.start:focus-visible{outline:3px solid #6cf;outline-offset:3px}
@media(prefers-reduced-motion:reduce){p{transition:none}}`;
let sheet;

// In Node, where pages are made for later, there is nothing to be shown.
const Base = globalThis.HTMLElement ?? class {};

export class SightlinePlayer extends Base {
  static observedAttributes = [...Object.keys(OPTIONS), 'autoplay', 'muted', 'controls', 'poster'];
  #video = document.createElement('video');
  #text = document.createElement('p');
  #player = new Player(this.#video, { covered: true }, (type, detail) => this.#hear(type, detail));
  #button = null;
  #controls = null;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    if (!sheet) (sheet = new CSSStyleSheet()).replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    this.#video.playsInline = true;
    this.#video.part = 'video';
    this.#text.part = 'message';
    this.#text.role = 'status';
    root.append(this.#video, this.#text);
    for (const type of FORWARDED) this.#video.addEventListener(type, () => this.dispatchEvent(new Event(type)));
    this.#video.addEventListener('play', () => this.#askForClick(false));
  }

  get video() { return this.#video; }
  get canvas() { return this.#player.canvas; }
  get state() { return this.#player.state; }
  get reason() { return this.#player.reason; }
  get paused() { return this.#player.paused; }
  get videoWidth() { return this.#player.videoWidth; }
  get videoHeight() { return this.#player.videoHeight; }
  get muted() { return this.#video.muted; }
  set muted(on) { this.#video.muted = isOn(on); }
  get volume() { return this.#video.volume; }
  set volume(volume) { this.#video.volume = volume; }
  get autoplay() { return !/^(off|false|no|0)$/i.test(this.getAttribute('autoplay') ?? ''); }
  set autoplay(on) { this.setAttribute('autoplay', isOn(on) ? '' : 'off'); }
  get controls() { return this.hasAttribute('controls'); }
  set controls(on) { this.toggleAttribute('controls', isOn(on)); }

  connectedCallback() {
    // What a framework set before the element was known stands in the way of what is here.
    for (const name of Object.keys(this)) {
      if (!(name in SightlinePlayer.prototype)) continue;
      const value = this[name];
      delete this[name];
      this[name] = value;
    }
    this.#apply();
    if (!this.#player.open) this.#start();
  }

  // A move within the page takes it out and puts it back at once: only a real removal ends the player.
  disconnectedCallback() { queueMicrotask(() => this.isConnected || this.destroy()); }
  connectedMoveCallback() {}

  attributeChangedCallback(name, before, now) {
    if (before === now) return;
    if (name === 'poster') now === null ? this.#video.removeAttribute('poster') : (this.#video.poster = now);
    else if (name === 'muted') this.#video.muted = now !== null;
    else if (name === 'controls') this.#control();
    else if (this.isConnected) {
      this.#apply();
      if (name === 'stream' && !this.#player.open) this.#start();
    }
  }

  play() {
    this.#askForClick(false);
    this.#player.play();
    return Promise.resolve();
  }
  pause() { this.#player.pause(); }
  seekToLive() { this.#player.seekToLive(); }
  getStats() { return this.#player.getStats(); }
  snapshot() { return this.#player.snapshot(); }

  /** Ends everything; putting the element into a page again, or another `stream`, begins anew. */
  destroy() {
    this.#player.destroy();
    this.#askForClick(false);
    this.#control();
  }

  #start() {
    this.#player.start();
    this.#askForClick(this.paused);
    this.#control();
  }

  #apply() {
    const options = { autoplay: this.autoplay };
    for (const [name, option] of Object.entries(OPTIONS)) options[option] = this.getAttribute(name) ?? undefined;
    this.#player.set(options);
  }

  #hear(type, detail) {
    if (type === 'statechange') this.#show();
    if (type === 'gestureneeded') this.#askForClick(true);
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #show() {
    const { state, reason } = this.#player;
    if (this.#text.textContent !== reason && reason) this.#text.textContent = reason;
    this.#text.classList.toggle('on', !!reason);
    // What takes a moment is not worth a word, and drawing it takes from that moment: pictures come sooner than it is read.
    this.#text.classList.toggle('late', state === 'connecting');
    if (this.getAttribute('state') !== state) this.setAttribute('state', state);
  }

  /** Controls of our own come when they are wanted; where they cannot be had, the browser's do. */
  async #control() {
    const wanted = () => this.controls && this.#player.open;
    if (!wanted()) {
      this.#controls?.remove();
      this.#controls = null;
      this.#video.controls = false;
    } else if (!this.#controls) {
      try {
        const { Controls } = await import('./controls.js');
        if (wanted()) this.#controls ??= new Controls(this);
      } catch {
        this.#video.controls = wanted();
      }
    }
  }

  #askForClick(on) {
    if (on === !!this.#button) return;
    this.#button?.remove();
    this.#button = null;
    if (!on) return;
    this.#button = Object.assign(document.createElement('button'), { type: 'button', textContent: 'Play', className: 'start', part: 'start' });
    this.#button.addEventListener('click', () => this.play());
    this.shadowRoot.append(this.#button);
  }
}

// An attribute of HTML is on when it is there, and some frameworks hand it on as a property.
const isOn = value => value === '' || !!value;

const reflected = { ...OPTIONS, poster: 'poster' };
for (const [attribute, property] of Object.entries(reflected)) {
  Object.defineProperty(SightlinePlayer.prototype, property, {
    get() { return this.getAttribute(attribute) ?? ''; },
    set(value) { value == null ? this.removeAttribute(attribute) : this.setAttribute(attribute, value); },
    enumerable: true,
    configurable: true,
  });
}

// Names that HTMLElement has already are left alone; `requestFullscreen` is the element's own.
if (globalThis.customElements && !customElements.get('sightline-player')) customElements.define('sightline-player', SightlinePlayer);
