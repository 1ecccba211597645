// Runs in each page before its own scripts. Tells when a flash is seen and when the beep that belongs to it is heard:
// scene.py shows both at one instant, once a second. `__lips.start(video)` begins where it can, `__lips.pairs` is what was found.
(() => {
  // The way that the player lets its sound out by itself, if it does.
  const routes = new Map();
  const route = AudioContext.prototype.createMediaElementSource;
  AudioContext.prototype.createMediaElementSource = function (element) {
    const node = route.call(this, element);
    routes.set(element, node);
    return node;
  };

  // What the player decodes by itself comes out of no element: the node that it connects to the loudspeaker last.
  let played = null;
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to === this.context.destination) played = this;
    return connect.call(this, to, ...rest);
  };

  // Finds the first loud sample behind half a second without one, and tells its time by the context's clock.
  const FINDER = `registerProcessor('finder', class extends AudioWorkletProcessor {
    constructor() { super(); this.loud = 0; }
    process([[samples]]) {
      if (samples) for (let i = 0; i < samples.length; i++) {
        if (Math.abs(samples[i]) < 0.1) continue;
        const at = currentFrame + i;
        if (at - this.loud > sampleRate / 2) this.port.postMessage(at / sampleRate);
        this.loud = at;
      }
      return true;
    }
  });`;

  const canvas = new OffscreenCanvas(1, 1);
  const context2d = canvas.getContext('2d', { willReadFrequently: true });
  const seen = [], heard = [], pairs = [];

  // A flash and the beep nearest to it, not half a second apart. Sound that is late is positive.
  const pair = () => {
    while (seen.length && heard.length) {
      const apart = heard[0].at - seen[0].at;
      if (Math.abs(apart) < 500) pairs.push({ ...heard.shift(), seen: seen.shift().at, apart });
      else (apart > 0 ? seen : heard).shift();
    }
  };

  window.__lips = {
    pairs,
    async start(video) {
      let node = routes.get(video) ?? played;
      if (!node) {
        // Firefox plays by itself: what it plays is listened to on the way of the context, which it puts in its place.
        const context = new AudioContext();
        // Without a device for sound Firefox lets no context run.
        await Promise.race([context.resume(), new Promise(done => setTimeout(done, 5000))]);
        if (context.state !== 'running') return false;
        node = context.createMediaElementSource(video);
        node.connect(context.destination);
      }
      const { context } = node;
      await context.audioWorklet.addModule(URL.createObjectURL(new Blob([FINDER], { type: 'text/javascript' })));
      const finder = new AudioWorkletNode(context, 'finder', { numberOfOutputs: 0 });
      node.connect(finder);
      finder.port.onmessage = ({ data: time }) => {
        const { contextTime, performanceTime } = context.getOutputTimestamp();
        const out = performanceTime + (time - contextTime) * 1000;
        heard.push({ at: out, outputLatency: context.outputLatency * 1000, baseLatency: context.baseLatency * 1000,
          behindGraph: (context.currentTime - contextTime) * 1000, rate: context.sampleRate });
        pair();
      };
      let dark = 0;
      const shown = (_now, { expectedDisplayTime }) => {
        const { videoWidth: width, videoHeight: height } = video;
        if (width) {
          context2d.drawImage(video, width / 2, height - height / 16, 1, 1, 0, 0, 1, 1);
          if (context2d.getImageData(0, 0, 1, 1).data[1] < 128) dark++;
          else {
            if (dark > 5) { seen.push({ at: expectedDisplayTime }); pair(); }
            dark = 0;
          }
        }
        video.requestVideoFrameCallback(shown);
      };
      video.requestVideoFrameCallback(shown);
      return true;
    },
  };
})();
