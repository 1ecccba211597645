// <sightline-player>: attributes, words and events around the player; what the player does is decided in the WASM.
import init, { Player } from './sightline-player.js';

const loaded = init();
const here = new URL('../ws', import.meta.url);
const FORWARDED = ['play', 'playing', 'waiting', 'pause', 'volumechange', 'resize', 'loadeddata'];
const RESTART = ['src', 'stream', 'autoplay', 'renderer'];

// Chromium, that is: Firefox is as quick by itself, and Safari lets no sound of a MediaSource out.
const ROUTABLE = ['webkitAudioDecodedByteCount', 'captureStream'].every(name => name in HTMLMediaElement.prototype);
// What the device takes, a wireless headset 200 ms, comes on top of the picture's time then: sound may be 60 ms late (EBU R 37).
const MAX_OUTPUT_LATENCY = 0.05;

const sheet = new CSSStyleSheet();
sheet.replaceSync(`
:host{display:block;position:relative;overflow:hidden;background:#000;aspect-ratio:16/9;contain:content}
:host([hidden]){display:none}
video,canvas{position:absolute;inset:0;width:100%;height:100%;object-fit:var(--sightline-fit,contain);background:#000}
canvas{pointer-events:none;background:none}
canvas[hidden]{display:none}
p{position:absolute;inset:0;margin:0;display:grid;place-content:center;text-align:center;padding:1em;color:#d7dde4;
 font:500 clamp(13px,2.2vw,17px)/1.45 system-ui,sans-serif;text-wrap:balance;white-space:pre-line;pointer-events:none;opacity:0;
 visibility:hidden;background:radial-gradient(#0009,#000b);transition:opacity .2s,visibility .2s}
p.on{opacity:1;visibility:visible}
p.late{transition-delay:.7s}
button{position:absolute;inset:0;margin:auto;width:4.5em;height:4.5em;border:0;border-radius:50%;background:#fffd;color:#111;
 font:600 15px system-ui,sans-serif;cursor:pointer}
button:focus-visible{outline:3px solid #6cf;outline-offset:3px}
@media (prefers-reduced-motion:reduce){p{transition:none}}`);

const time = us => {
  const at = new Date(us / 1e3), old = Date.now() - at > 864e5;
  return at.toLocaleString([], { ...(old && { dateStyle: 'medium' }), timeStyle: 'short' });
};

/** What a state means, in words for people. */
const words = ({ state, code, reason, sinceUs }) => {
  if (state === 'live') return '';
  if (state === 'offline') return `Offline since ${time(sinceUs)}${reason && ': ' + reason}`;
  if (state === 'error') return reason ? reason[0].toUpperCase() + reason.slice(1) : 'Something went wrong';
  return reason && code !== 'connecting' ? `Connecting…\n${reason}` : 'Connecting…';
};

// So much of a window away, a picture is not even waited with before it is given back.
const isFar = ({ top, bottom, left, right }) =>
  top > 2 * innerHeight || bottom < -innerHeight || left > 2 * innerWidth || right < -innerWidth;

export class SightlinePlayer extends HTMLElement {
  // A picture nobody can see costs the camera's network and this machine's decoder.
  static #sight = new IntersectionObserver(entries => entries.forEach(entry => entry.target.#seen(entry)), { rootMargin: '25%' });
  static #sizes = new ResizeObserver(entries => entries.forEach(({ target }) => target.#sized()));
  static observedAttributes = [...RESTART, 'muted', 'controls', 'target-latency', 'quality', 'poster'];
  #video = document.createElement('video');
  #text = document.createElement('p');
  #player = null;
  #wanted = 0;
  #held = null;
  #button = null;
  #state = { state: 'connecting', code: '', reason: '', sinceUs: null };
  #watch = new AbortController();
  #context = null;
  #decoding = null;
  #lead = 0;
  #far = false;
  #inView = true;
  #height = 0;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    root.adoptedStyleSheets = [sheet];
    this.#video.playsInline = true;
    this.#video.disablePictureInPicture = false;
    this.#text.setAttribute('role', 'status');
    this.#text.setAttribute('aria-live', 'polite');
    root.append(this.#video, this.#text);
    for (const type of FORWARDED) this.#video.addEventListener(type, () => this.dispatchEvent(new Event(type)));
    // The browser's own controls, media keys and picture-in-picture reach the player through these.
    // How things are counts, not what happened: `pause(); play()` in a row would answer each other for ever.
    this.#video.addEventListener('play', () => this.#video.paused || this.play());
    // At the end of a MediaSource that was ended, nobody asked for it.
    this.#video.addEventListener('pause', () => this.#video.paused && !this.#video.ended && this.#player?.pause());
    this.#video.addEventListener('volumechange', () => {
      this.#player?.setMuted(this.#video.muted);
      this.#tellRoute();
    });
    if (ROUTABLE) this.#video.addEventListener('timeupdate', () => this.#route());
  }

  get video() { return this.#video; }
  get state() { return this.#state.state; }
  get muted() { return this.#video.muted; }
  set muted(on) { this.#video.muted = on; }
  get volume() { return this.#video.volume; }
  set volume(volume) { this.#video.volume = volume; }
  get paused() { return this.#video.paused; }

  connectedCallback() { this.#player || this.#restart(); }
  // A move within the page takes it out and puts it back at once: only a real removal ends the player.
  disconnectedCallback() { queueMicrotask(() => this.isConnected || this.destroy()); }

  attributeChangedCallback(name, before, now) {
    if (before === now) return;
    if (name === 'controls') this.#video.controls = now !== null;
    else if (name === 'poster') now === null ? this.#video.removeAttribute('poster') : (this.#video.poster = now);
    else if (name === 'muted') this.#video.muted = now !== null;
    else if (name === 'target-latency') this.#player?.setTarget(this.#target());
    else if (name === 'quality') this.#sized();
    else if (RESTART.includes(name) && this.isConnected) this.#restart();
  }

  play() {
    this.#button?.remove();
    this.#button = null;
    this.#player?.play();
    return this.#player ? Promise.resolve() : loaded.then(() => undefined);
  }
  pause() { this.#player?.pause(); }
  seekToLive() { this.#player?.seekToLive(); }
  getStats() { return this.#player ? JSON.parse(this.#player.stats()) : null; }

  /** The picture on the screen, as a PNG Blob. */
  async snapshot() {
    const { videoWidth: width, videoHeight: height } = this;
    if (!width) throw new DOMException('There is no picture yet', 'InvalidStateError');
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext('2d').drawImage(this.#screen, 0, 0);
    return canvas.convertToBlob({ type: 'image/png' });
  }

  /** Ends everything; putting the element into a page again, or another `stream`, begins anew. */
  destroy() {
    this.#wanted++;
    this.#watch.abort();
    SightlinePlayer.#sight.unobserve(this);
    SightlinePlayer.#sizes.unobserve(this);
    const player = this.#player;
    this.#player = null;
    player?.destroy();
    // It may be telling us something just now.
    if (player) queueMicrotask(() => player.free());
    this.#decoding = null;
    this.#context?.suspend();
    this.#hold(false);
    this.#button?.remove();
    this.#button = null;
  }

  #target() { return parseFloat(this.getAttribute('target-latency') ?? 'auto'); }

  async #restart() {
    this.destroy();
    const wanted = this.#wanted;
    this.#show({ state: 'connecting', code: '', reason: '', sinceUs: null });
    await null; // several attributes set in a row are one change
    if (wanted !== this.#wanted) return;
    const stream = this.getAttribute('stream');
    if (!stream) return this.#show({ state: 'error', code: 'no_stream', reason: 'no stream is named', sinceUs: null });
    try { await loaded; } catch (error) {
      return this.#fail('wasm_failed', `the player could not be loaded: ${error.message}`, true);
    }
    if (wanted !== this.#wanted || !this.isConnected) return;
    SightlinePlayer.#sight.observe(this);
    // Far from where anybody looks nothing is asked for: it begins when it is looked at.
    this.#far = isFar(this.getBoundingClientRect());
    if (this.#far) return;
    this.#inView = true;
    const decoders = await this.#decoders();
    if (wanted !== this.#wanted || !this.isConnected) return;
    const src = new URL(this.getAttribute('src') || here, here);
    src.protocol = src.protocol.replace('http', 'ws');
    const autoplay = !/^(off|false|no)$/i.test(this.getAttribute('autoplay') ?? '');
    const player = new Player(this.#video, src.href, stream, autoplay, this.#target(), decoders?.make, !!decoders?.auto, (type, json) => {
      if (wanted === this.#wanted) this.#notice(type, JSON.parse(json));
    });
    if (wanted !== this.#wanted) return player.free(); // whoever heard of its first words ended it
    this.#player = player;
    this.#tellRoute();
    this.#context?.resume();
    if (!autoplay) this.#askForClick();
    const { signal } = this.#watch = new AbortController();
    SightlinePlayer.#sizes.observe(this);
    this.#sized(true);
    document.addEventListener('visibilitychange', () => this.#tellHidden(), { signal });
    window.addEventListener('online', () => this.#player?.networkBack(), { signal });
    // A page that is left may be kept for the way back, and its sockets with it: nobody would read them.
    window.addEventListener('pagehide', () => {
      this.destroy();
      window.addEventListener('pageshow', () => this.isConnected && this.#restart(), { once: true });
    }, { signal });
    this.#tellHidden();
  }

  #seen({ isIntersecting, boundingClientRect }) {
    this.#inView = isIntersecting;
    if (isIntersecting && this.#far) this.#restart();
    else this.#tellHidden(!isIntersecting && isFar(boundingClientRect));
  }

  #tellHidden(far = false) { this.#player?.setHidden(document.hidden || !this.#inView, far); }

  /** Tells how high the picture is on the screen, where that may choose the stream: only changes that matter. */
  #sized(anew) {
    const auto = this.getAttribute('quality') === 'auto';
    const height = auto ? Math.round(this.clientHeight * devicePixelRatio) : 0;
    const [small, large] = [this.#height * 0.75, this.#height * 1.25];
    if (!anew && height > small && height < large || !this.#player || !anew && height === this.#height) return;
    this.#height = height;
    this.#player.setHeight(height);
  }

  /** What makes decoders, where that way to the screen is asked for and there is one. */
  async #decoders() {
    const renderer = this.getAttribute('renderer') || 'mse', auto = renderer === 'auto';
    if (renderer === 'mse') return null;
    if (!auto && renderer !== 'webcodecs') return this.#fail('unknown_renderer', 'no such renderer: using mse');
    const none = reason => void this.#tell('rendererchange', { renderer: 'mse', reason });
    if (!('VideoDecoder' in globalThis)) {
      return none(isSecureContext ? 'this browser has no WebCodecs' : 'WebCodecs want a page by HTTPS');
    }
    try {
      const { Decoders, inVideo } = await import('./webcodecs.js');
      // The browser's own controls would be under the canvas.
      if (auto && this.#video.controls && !inVideo()) return none('the controls are the <video>’s');
      return { auto, make: tell => (this.#decoding = new Decoders(this.#video, tell)) };
    } catch (error) { return none(error.message); }
  }

  /** Where the picture is. */
  get #screen() { return this.#decoding?.canvas ?? this.#video; }
  get videoWidth() { return this.#decoding?.canvas?.width ?? this.#video.videoWidth; }
  get videoHeight() { return this.#decoding?.canvas?.height ?? this.#video.videoHeight; }

  #notice(type, detail) {
    if (type === 'state') this.#show(detail);
    else if (type === 'hold') this.#hold(detail);
    else if (type === 'rendererchange') { this.#decoding = null; this.#tell(type, detail); }
    else if (type === 'muted') this.#tell('autoplaymuted');
    else if (type === 'gesture') { this.#askForClick(); this.#tell('gestureneeded'); }
    else this.#tell(type, detail);
  }

  #tell(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  #fail(code, message, fatal = false) {
    if (fatal) this.#show({ state: 'error', code, reason: message, sinceUs: null });
    this.#tell('error', { code, message, fatal, retryable: !fatal });
  }

  #show(state) {
    const text = words(state);
    this.#state = state;
    if (this.#text.textContent !== text && text) this.#text.textContent = text;
    this.#text.classList.toggle('on', !!text);
    // A reconnect of a moment is not worth a word while the last picture stands.
    this.#text.classList.toggle('late', state.state === 'connecting' && !!this.#held);
    if (this.getAttribute('state') !== state.state) this.setAttribute('state', state.state);
    this.#tell('statechange', state);
  }

  /** Keeps the last picture visible while its MediaSource is replaced, or a jump shows older ones. */
  #hold(on) {
    const { videoWidth: width, videoHeight: height } = this;
    if (!on) {
      const held = this.#held;
      this.#held = null;
      // What is told of now is on the screen with its next frame.
      if (held) requestAnimationFrame(() => requestAnimationFrame(() => held.remove()));
    } else if (!this.#held && width) {
      this.#held = Object.assign(document.createElement('canvas'), { width, height });
      this.#held.getContext('2d').drawImage(this.#screen, 0, 0);
      this.#screen.after(this.#held);
    }
  }

  get #heard() { return !this.#video.muted && this.#video.volume > 0; }

  /** Lets the sound out by an AudioContext, which wants some 100 ms less of it ahead of time. There is no way back, and
   *  while the context rests so does the picture: not before it is known to run. It stays with the <video> for good. */
  #route() {
    if (this.#lead || !this.#heard || this.#decoding) return;
    if (!this.#context) {
      this.#context = new AudioContext();
      this.#context.onstatechange = () => this.#player && this.#context.state !== 'running' && this.#context.resume();
    }
    const { state, outputLatency } = this.#context; // 0 before it is known
    if (state !== 'running' || !outputLatency || outputLatency > MAX_OUTPUT_LATENCY) return;
    // The element's clock does not count what the device still holds: the picture would be that much early. Another 10 ms
    // in the context itself are left alone: nobody hears them, and all that is made up for is latency.
    this.#lead = outputLatency;
    this.#context.createMediaElementSource(this.#video).connect(this.#context.destination);
    this.#tellRoute();
  }

  // What is not heard does not go by the context.
  #tellRoute() { if (this.#lead) this.#player?.setSoundRouted(this.#heard, this.#lead); }

  #askForClick() {
    if (this.#button) return;
    this.#button = Object.assign(document.createElement('button'), { type: 'button', textContent: 'Play' });
    this.#button.addEventListener('click', () => this.play());
    this.shadowRoot.append(this.#button);
  }
}

// Names that HTMLElement has already are left alone; `requestFullscreen` is the element's own.
if (!customElements.get('sightline-player')) customElements.define('sightline-player', SightlinePlayer);
