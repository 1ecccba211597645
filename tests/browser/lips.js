// Runs in each page before its own scripts. Tells when a flash of scene.py's is to be seen, once a second: `__lips.start(video)`
// begins, `__lips.seen` is what was found, in milliseconds since 1970.
(() => {
  const canvas = new OffscreenCanvas(1, 1);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const seen = [];

  window.__lips = {
    seen,
    start(video) {
      // See glass.js: Firefox leaves pictures out of its video frame callbacks. There the picture is looked at whenever the
      // screen is.
      const calls = !('mozHasAudio' in HTMLVideoElement.prototype);
      const next = () => (calls ? video.requestVideoFrameCallback(shown) : requestAnimationFrame(shown));
      let dark = 0;
      const shown = (now, { expectedDisplayTime = now } = {}) => {
        const { videoWidth: width, videoHeight: height } = video;
        if (width) {
          context.drawImage(video, width / 2, height - height / 16, 1, 1, 0, 0, 1, 1);
          if (context.getImageData(0, 0, 1, 1).data[1] < 128) dark++;
          else {
            if (dark > 5) seen.push(performance.timeOrigin + expectedDisplayTime);
            dark = 0;
          }
        }
        next();
      };
      next();
    },
  };
})();
