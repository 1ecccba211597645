// Runs in each page before its own scripts. Finds every <video> and <canvas>, also inside shadow roots, and reads the clock
// that camera/camera.py paints from each picture the moment it is shown. `__glass.summary()` gives what was seen.
(() => {
  const PATTERN = [1, 0, 1, 1, 0, 0, 1, 0];
  const SQUARES = 40;
  const KEEP = 20_000;
  // Firefox leaves pictures out of its video frame callbacks, and calls back up to a frame of the screen before or behind the
  // moment from which on a picture is drawn. There, as with a canvas, the picture is looked at whenever the screen is.
  const CALLS_BACK = !('mozHasAudio' in HTMLMediaElement.prototype);
  const canvas = new OffscreenCanvas(SQUARES, 1);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const watched = new Map();

  // The painted clock in ms mod 2^32, or null where there is none.
  const read = video => {
    const width = video.videoWidth ?? video.width;
    if (!width) return null;
    const unit = width / 640;
    context.drawImage(video, 0, 2 * unit, width, 12 * unit, 0, 0, SQUARES, 1);
    const { data } = context.getImageData(0, 0, SQUARES, 1);
    const bit = i => (data[i * 4] > 128 ? 1 : 0);
    if (PATTERN.some((expected, i) => bit(i) !== expected)) return null;
    let value = 0;
    for (let i = PATTERN.length; i < SQUARES; i++) value = value * 2 + bit(i);
    return value;
  };

  const fresh = () => ({ frames: 0, unreadable: 0, backwards: 0, first: null, last: null, clock: null, samples: [] });

  const note = (video, state) => {
    const now = Date.now();
    const clock = read(video);
    if (clock === null) { state.unreadable++; return; }
    if (clock === state.clock) return;
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
      if (video.tagName === 'CANVAS' && !video.isConnected) { watched.delete(video); return; }
      // Before its first picture there is nothing to look at.
      if (calls || !(video.readyState < 2)) note(video, watched.get(video));
      next();
    };
    next();
  };

  // The last picture of a <video> that is held on a canvas is no picture of its own.
  const moves = ([{ tagName }, { frames }]) => tagName === 'VIDEO' || frames > 1;

  const find = root => {
    for (const element of root.querySelectorAll('*')) {
      if (['VIDEO', 'CANVAS'].includes(element.tagName) && !watched.has(element)) watch(element);
      if (element.shadowRoot) find(element.shadowRoot);
    }
  };
  setInterval(() => find(document), 5);

  window.__glass = {
    // Forgets what was seen so far: for measuring from now on.
    reset() { for (const video of watched.keys()) watched.set(video, fresh()); },
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
    // What each <video>, and each <canvas> on which pictures move, showed, in the order in which they appeared. Times in ms.
    summary() {
      return [...watched].filter(([video]) => video.isConnected).filter(moves).map(([video, state]) => {
        const quality = video.getVideoPlaybackQuality?.() ?? { droppedVideoFrames: 0, totalVideoFrames: state.frames };
        return {
          ...state,
          first: state.first === null ? null : state.first - performance.timeOrigin,
          since_last: state.last === null ? null : Date.now() - state.last,
          longest_gap: state.samples.reduce((longest, [, , gap]) => Math.max(longest, gap), 0),
          dropped: quality.droppedVideoFrames,
          decoded: quality.totalVideoFrames,
          width: video.videoWidth ?? video.width,
          height: video.videoHeight ?? video.height,
        };
      });
    },
  };
})();
