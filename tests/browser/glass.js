// Runs in each page before its own scripts. Finds every <video>, also inside shadow roots, and reads the clock that
// camera/camera.py paints from each picture the moment it is shown. A decoded picture that is drawn on a canvas counts for
// the <video> beside it, or where there is none for the canvas. `__glass.summary()` gives what was seen.
(() => {
  const PATTERN = [1, 0, 1, 1, 0, 0, 1, 0];
  const SQUARES = 40;
  const KEEP = 20_000;
  // Firefox leaves pictures out of its video frame callbacks, and calls back up to a frame of the screen before or behind the
  // moment from which on a picture is drawn. There the picture is looked at whenever the screen is.
  const CALLS_BACK = !('mozHasAudio' in HTMLVideoElement.prototype);
  const canvas = new OffscreenCanvas(SQUARES, 1);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const watched = new Map();
  const draw = CanvasRenderingContext2D.prototype.drawImage;

  // The painted clock in ms mod 2^32, or null where there is none.
  const read = screen => {
    const width = screen.videoWidth ?? screen.width;
    if (!width) return null;
    const unit = width / 640;
    context.drawImage(screen, 0, 2 * unit, width, 12 * unit, 0, 0, SQUARES, 1);
    const { data } = context.getImageData(0, 0, SQUARES, 1);
    const bit = i => (data[i * 4] > 128 ? 1 : 0);
    if (PATTERN.some((expected, i) => bit(i) !== expected)) return null;
    let value = 0;
    for (let i = PATTERN.length; i < SQUARES; i++) value = value * 2 + bit(i);
    return value;
  };

  const fresh = () => ({ frames: 0, unreadable: 0, backwards: 0, first: null, last: null, clock: null, standing: null, samples: [] });

  // Nobody sees a <video> while a canvas lies over it.
  const covered = screen => screen.tagName === 'VIDEO' && [...screen.parentNode?.children ?? []].some(other => other.tagName === 'CANVAS' && !other.hidden);

  const note = (screen, state) => {
    if (covered(screen)) return;
    const now = Date.now();
    const clock = read(screen);
    state.screen = screen;
    if (clock === null) { state.unreadable++; return; }
    if (clock === state.clock || clock === state.standing) return;
    state.standing = null;
    if (state.clock !== null && clock < state.clock) state.backwards++;
    state.clock = clock;
    state.frames++;
    state.first ??= now;
    // [when, capture to screen, since the frame before], all in ms
    if (state.samples.length < KEEP) {
      state.samples.push([now, (now % 4294967296) - clock, state.last === null ? 0 : now - state.last]);
    }
    state.last = now;
  };

  const watch = video => {
    watched.set(video, fresh());
    const calls = CALLS_BACK && video.requestVideoFrameCallback;
    const next = () => (calls ? video.requestVideoFrameCallback(shown) : requestAnimationFrame(shown));
    const shown = () => {
      // Before its first picture there is nothing to look at.
      if (calls || video.readyState >= 2) note(video, watched.get(video));
      next();
    };
    next();
  };

  CanvasRenderingContext2D.prototype.drawImage = function (source, ...rest) {
    draw.call(this, source, ...rest);
    if (!globalThis.VideoFrame || !(source instanceof VideoFrame)) return;
    const beside = [...this.canvas.getRootNode().querySelectorAll('video')];
    const counts = beside.length ? beside[0] : this.canvas;
    if (!watched.has(counts)) counts === this.canvas ? watched.set(counts, fresh()) : watch(counts);
    note(this.canvas, watched.get(counts));
  };

  const find = root => {
    for (const element of root.querySelectorAll('*')) {
      if (element.tagName === 'VIDEO' && !watched.has(element)) watch(element);
      if (element.shadowRoot) find(element.shadowRoot);
    }
  };
  setInterval(() => find(document), 5);

  window.__glass = {
    // Forgets what was seen so far: for measuring from now on. What stands on the screen is not seen anew: behind a camera that was
    // away it is as old as that was long.
    reset() {
      for (const [video, { clock, standing }] of watched) watched.set(video, { ...fresh(), standing: clock ?? standing });
    },
    // All text that is shown, also inside shadow roots.
    text() {
        const collect = root => [...root.childNodes].map(node => {
          if (node.nodeType === Node.TEXT_NODE) return node.data;
          if (!(node instanceof Element) || ['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(node.tagName)) return '';
          if (!node.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return '';
          return (node.shadowRoot ? collect(node.shadowRoot) : '') + collect(node) + '\n';
        }).join('');
        return collect(document.body).replace(/\s*\n\s*/g, '\n');
    },
    // The summary, and none of its samples again: for measuring long.
    drain() {
      const seen = this.summary();
      for (const state of watched.values()) state.samples = [];
      return seen;
    },
    // What each <video>, or <canvas> without one, showed, in the order in which they appeared. Times in ms.
    summary() {
      return [...watched].filter(([video]) => video.isConnected).map(([video, state]) => {
        const quality = video.getVideoPlaybackQuality?.() ?? { droppedVideoFrames: 0, totalVideoFrames: state.frames };
        const { screen = video, ...seen } = state;
        return {
          ...seen,
          first: state.first === null ? null : state.first - performance.timeOrigin,
          since_last: state.last === null ? null : Date.now() - state.last,
          longest_gap: state.samples.reduce((longest, [, , gap]) => Math.max(longest, gap), 0),
          dropped: quality.droppedVideoFrames,
          decoded: quality.totalVideoFrames,
          width: screen.videoWidth ?? screen.width,
          height: screen.videoHeight ?? screen.height,
        };
      });
    },
  };
})();
