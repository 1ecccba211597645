// The player on a <video> of anybody's: what only JavaScript can do for a session of the WASM, which decides what is done.
// Nothing happens when this is imported, in Node neither.
import init, { Player as Session } from './sightline-player.js';

// What the device takes, a wireless headset 200 ms, comes on top of the picture's time then: sound may be 60 ms late (EBU R 37).
const MAX_OUTPUT_LATENCY = 0.05;
const CODECS = { avc: 'H.264', hvc: 'H.265', hev: 'H.265', av0: 'AV1', mp4: 'AAC' };
const CONNECTING = { state: 'connecting', code: '', reason: '', sinceUs: null };

// A picture nobody can see costs the camera's network and this machine's decoder.
const players = new WeakMap();
// Where a <video>'s sound goes by an AudioContext, it does so for good.
const routes = new WeakMap();
let sight, sizes;
let wasm, loading;

/** Where the .wasm is taken from, unless load() is told. A function is asked when it is needed. */
export const setWasm = from => { wasm = from; };

/** Fetches and compiles the .wasm, once for the page. What failed may be tried again. */
export const load = (from = wasm) => loading ??= (async () => {
  try {
    if (typeof from === 'function') from = from();
    await init(from === undefined ? undefined : { module_or_path: from });
  } catch (error) {
    loading = null;
    throw error;
  }
})();

// As the proxy serves it, the server is where this came from; inside of a bundle it is the page's. (Bundlers take an address
// relative to `import.meta.url`, also by way of a constant, for a file that they should bring along.)
const served = /^(http(?!.*node_modules).*\/)sightline-player\/[^/]+$/;
const server = () => new URL(served.test(import.meta.url) ? import.meta.url.replace(served, '$1ws') : '/ws', location.href);

// Chromium, that is: Firefox is as quick by itself, and Safari lets no sound of a MediaSource out.
const isRoutable = () => ['webkitAudioDecodedByteCount', 'captureStream'].every(name => name in HTMLMediaElement.prototype);

// So much of a window away, a picture is not even waited with before it is given back.
const isFar = ({ top, bottom, left, right }) =>
  top > 2 * innerHeight || bottom < -innerHeight || left > 2 * innerWidth || right < -innerWidth;

const time = us => {
  const at = new Date(us / 1e3), old = Date.now() - at > 864e5;
  return at.toLocaleString([], { ...(old && { dateStyle: 'medium' }), timeStyle: 'short' });
};

/** What a state means, in words for people; none while all is well. */
export const describe = ({ state, code, reason, sinceUs }) => {
  const words = reason.replace(/(?:\w+\/mp4; codecs=")?\b(avc|hvc|hev|av0|mp4)[13a]\b[.\w]*"?/, (_, codec) => CODECS[codec]);
  if (state === 'live') return '';
  if (state === 'offline') return `The camera has been offline since ${time(sinceUs)}${words && '\n' + words}`;
  if (state === 'error') return words ? words[0].toUpperCase() + words.slice(1) : 'Something went wrong';
  return words && code !== 'connecting' ? `Connecting…\n${words}` : 'Connecting…';
};

export class Player extends EventTarget {
  #video;
  #options = {};
  #tell;
  #session = null;
  #turn = 0;
  #wish = null; // what was asked of play() and pause(), also before there is anybody to hear it
  #state = CONNECTING;
  #held = null;
  #watch = new AbortController();
  #context;
  #lead;
  #decoding = null;
  #far = false;
  #inView = true;
  #height = 0;

  // The element has what is told told as its own.
  constructor(video, options = {}, tell = (type, detail) => this.dispatchEvent(new CustomEvent(type, { detail }))) {
    super();
    this.#video = video;
    this.#tell = tell;
    [this.#context = null, this.#lead = 0] = routes.get(video) ?? [];
    this.set(options);
  }

  get video() { return this.#video; }
  /** What is drawn on, where the picture is not in the <video>. */
  get canvas() { return this.#decoding?.canvas ?? null; }
  get #screen() { return this.canvas ?? this.#video; }
  get videoWidth() { return this.canvas?.width ?? this.#video.videoWidth; }
  get videoHeight() { return this.canvas?.height ?? this.#video.videoHeight; }
  get state() { return this.#state.state; }
  get reason() { return describe(this.#state); }
  get paused() { return !(this.#wish ?? this.#options.autoplay ?? true); }
  /** Whether it was started, and not ended since. */
  get open() { return players.get(this.#video) === this; }

  play() {
    this.#wish = true;
    this.#session?.play();
  }

  pause() {
    this.#wish = false;
    this.#session?.pause();
  }

  seekToLive() { this.#session?.seekToLive(); }
  getStats() { return this.#session ? JSON.parse(this.#session.stats()) : null; }

  /** The picture on the screen, as a PNG Blob. */
  async snapshot() {
    const { videoWidth: width, videoHeight: height } = this;
    if (!width) throw new DOMException('There is no picture yet', 'InvalidStateError');
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext('2d').drawImage(this.#screen, 0, 0);
    return canvas.convertToBlob({ type: 'image/png' });
  }

  /** Other options, at any time. Only another server, stream or renderer begins anew. */
  set(options) {
    const before = this.#options, now = (this.#options = { ...before, ...options });
    const differs = name => before[name] !== now[name];
    if (options.muted !== undefined && differs('muted')) this.#video.muted = options.muted;
    if (!this.open) return;
    if (differs('stream') || differs('src')) this.#wish = null;
    if (['src', 'stream', 'renderer', 'wasmUrl'].some(differs)) this.start();
    else {
      if (differs('targetLatency')) this.#session?.setTarget(this.#target);
      if (differs('quality')) this.#sized();
      if (now.autoplay !== false && differs('autoplay') && this.#wish === null) this.#session?.play();
    }
  }

  /** Ends everything; start() begins anew. */
  destroy() {
    this.#wish = null;
    this.#end();
  }

  #end() {
    const video = this.#video;
    this.#turn++;
    this.#watch.abort();
    if (this.open) {
      players.delete(video);
      sight?.unobserve(video);
      sizes?.unobserve(video);
    }
    const session = this.#session;
    this.#session = null;
    session?.destroy();
    // It may be telling us something just now.
    if (session) queueMicrotask(() => session.free());
    this.#decoding = null;
    if (this.#lead) this.#context.suspend();
    else if (this.#context) {
      this.#context.close();
      this.#context = null;
    }
    this.#hold(false);
  }

  get #target() { return parseFloat(this.#options.targetLatency ?? 'auto'); }

  /** Plays, from the beginning. */
  async start() {
    const video = this.#video;
    this.#end();
    const turn = this.#turn;
    players.get(video)?.destroy();
    players.set(video, this);
    this.#show(CONNECTING);
    await null; // several options set in a row are one change
    if (turn !== this.#turn) return;
    const { stream, wasmUrl } = this.#options;
    if (!stream) return this.#show({ ...CONNECTING, state: 'error', code: 'no_stream', reason: 'no stream is named' });
    let src;
    try {
      src = new URL(this.#options.src || server(), server());
      await load(wasmUrl);
    } catch (error) {
      if (turn !== this.#turn) return;
      return src ? this.#fail('wasm_failed', `the player could not be loaded: ${error.message}`, true, true)
        : this.#fail('bad_src', `“${this.#options.src}” is no address of a server`, true);
    }
    if (turn !== this.#turn) return;
    sight ??= new IntersectionObserver(entries => entries.forEach(entry => players.get(entry.target)?.#seen(entry)), { rootMargin: '25%' });
    sizes ??= new ResizeObserver(entries => entries.forEach(({ target }) => players.get(target)?.#sized()));
    sight.observe(video);
    // Far from where anybody looks nothing is asked for: it begins when it is looked at.
    this.#far = isFar(video.getBoundingClientRect());
    if (this.#far) return;
    this.#inView = true;
    const decoders = await this.#decoders();
    if (turn !== this.#turn) return;
    src.protocol = src.protocol.replace('http', 'ws');
    const session = new Session(video, src.href, stream, !this.paused, this.#target, decoders?.make, !!decoders?.auto, (type, json) => {
      if (turn === this.#turn) this.#notice(type, JSON.parse(json));
    });
    if (turn !== this.#turn) return session.free(); // whoever heard of its first words ended it
    this.#session = session;
    this.#tellRoute();
    this.#context?.resume();
    sizes.observe(video);
    this.#sized(true);
    const { signal } = (this.#watch = new AbortController());
    const on = (target, type, call) => target.addEventListener(type, call, { signal });
    // The browser's own controls, media keys and picture-in-picture reach the player through these.
    // How things are counts, not what happened: `pause(); play()` in a row would answer each other for ever.
    on(video, 'play', () => video.paused || this.play());
    // At the end of a MediaSource that was ended, nobody asked for it.
    on(video, 'pause', () => {
      if (video.paused) video.ended || this.pause();
      // WebKit, shortly after a jump, moves on by itself.
      else if (this.#wish === false) video.pause();
    });
    on(video, 'volumechange', () => {
      this.#session?.setMuted(video.muted);
      this.#tellRoute();
    });
    if (isRoutable()) on(video, 'timeupdate', () => this.#route());
    on(document, 'visibilitychange', () => this.#tellHidden());
    on(window, 'online', () => this.#session?.networkBack());
    // A page that is left may be kept for the way back, and its sockets with it: nobody would read them.
    on(window, 'pagehide', () => {
      this.#end();
      const stays = this.#turn;
      window.addEventListener('pageshow', () => stays === this.#turn && this.start(), { once: true });
    });
    this.#tellHidden();
  }

  // Of what is in no page nobody can say whether it is seen.
  #seen({ isIntersecting, boundingClientRect }) {
    this.#inView = isIntersecting || !this.#video.isConnected;
    if (this.#inView && this.#far) this.start();
    else this.#tellHidden(!this.#inView && isFar(boundingClientRect));
  }

  #tellHidden(far = false) { this.#session?.setHidden(document.hidden || !this.#inView, far); }

  /** Tells how high the picture is on the screen, where that may choose the stream: only changes that matter. Nothing is too
   *  small for the smallest, and 0 stands for the best. */
  #sized(anew) {
    const { quality } = this.#options;
    const height = quality === 'auto' ? Math.ceil(this.#video.clientHeight * devicePixelRatio) || 1 : +(quality === 'sub');
    const [small, large] = [this.#height * 0.75, this.#height * 1.25];
    this.#cover(this.canvas);
    this.#cover(this.#held);
    if (!anew && height > small && height < large || !this.#session || !anew && height === this.#height) return;
    this.#height = height;
    this.#session.setHeight(height);
  }

  /** Lays a canvas over the <video>, unless the page's own style does. */
  #cover(canvas) {
    if (!canvas || this.#options.covered) return;
    const { offsetLeft: left, offsetTop: top, offsetWidth: width, offsetHeight: height } = this.#video;
    const px = Object.entries({ left, top, width, height }).map(([name, value]) => `${name}:${value}px`).join(';');
    canvas.style.cssText = `position:absolute;pointer-events:none;object-fit:${getComputedStyle(this.#video).objectFit};${px}`;
  }

  /** What makes decoders, where that way to the screen is asked for and there is one. */
  async #decoders() {
    const renderer = this.#options.renderer || 'mse', auto = renderer === 'auto';
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
      return {
        auto,
        make: tell => {
          this.#decoding = new Decoders(this.#video, tell);
          this.#cover(this.canvas);
          return this.#decoding;
        },
      };
    } catch (error) { return none(error.message); }
  }

  #notice(type, detail) {
    if (type === 'state') this.#show(detail);
    else if (type === 'hold') this.#hold(detail);
    else if (type === 'rendererchange') { this.#decoding = null; this.#tell(type, detail); }
    else if (type === 'muted') this.#tell('autoplaymuted');
    else if (type === 'gesture') { this.#wish = false; this.#tell('gestureneeded'); }
    else this.#tell(type, detail);
  }

  #fail(code, message, fatal = false, retryable = !fatal) {
    if (fatal) this.#show({ ...CONNECTING, state: 'error', code, reason: message });
    this.#tell('error', { code, message, fatal, retryable });
  }

  #show(state) {
    this.#state = state;
    this.#tell('statechange', state);
  }

  /** Whether the last picture is kept while another one is not there yet. */
  get holds() { return !!this.#held; }

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
      this.#cover(this.#held);
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
      this.#context.onstatechange = () => this.#session && this.#context.state !== 'running' && this.#context.resume();
    }
    const { state, outputLatency } = this.#context; // 0 before it is known
    if (state !== 'running' || !outputLatency || outputLatency > MAX_OUTPUT_LATENCY) return;
    // The element's clock does not count what the device still holds: the picture would be that much early. Another 10 ms
    // in the context itself are left alone: nobody hears them, and all that is made up for is latency.
    routes.set(this.#video, [this.#context, (this.#lead = outputLatency)]);
    this.#context.createMediaElementSource(this.#video).connect(this.#context.destination);
    this.#tellRoute();
  }

  // What is not heard does not go by the context.
  #tellRoute() { if (this.#lead) this.#session?.setSoundRouted(this.#heard, this.#lead); }
}

/** Plays a stream in a <video> until `destroy()`. */
export const createPlayer = (video, options) => {
  const player = new Player(video, options);
  player.start();
  return player;
};
