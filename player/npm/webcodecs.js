// The second way to the screen, loaded only where it is taken: decoders of WebCodecs, and behind them a track in the
// <video> (Chromium) or a canvas over it. It does what it is told and tells what happened; the WASM decides.

/** What is told: its number, then what belongs to it. player/src/webcodecs.rs has the same list. */
const DECODED = 0, FAILED = 1, REFUSED = 2, HEARD = 3, SOUND_REFUSED = 4;

/** Whether pictures go into the <video>: its controls, full screen and picture in picture show them then. */
export const inVideo = () => 'MediaStreamTrackGenerator' in globalThis;

/** Sound, from its packets to the loudspeaker. */
class Sound {
  #video;
  #tell;
  #decoder = null;
  #context = null;
  #gain = null;
  #player = null;
  #watch = new AbortController();

  constructor(video, tell) {
    this.#video = video;
    this.#tell = tell;
    const { signal } = this.#watch;
    video.addEventListener('volumechange', () => this.#loudness(), { signal });
    // Browsers let nothing sound before a gesture.
    const resume = () => this.#context?.resume();
    for (const type of ['pointerup', 'keydown']) window.addEventListener(type, resume, { signal, capture: true });
  }

  configure(codec, description, sampleRate, numberOfChannels, failed) {
    this.stop();
    const config = { codec, sampleRate, numberOfChannels };
    if (/^flac$/i.test(codec)) config.description = streamInfo(description);
    else if (description.length && !/^opus$/i.test(codec)) config.description = description;
    this.#failed = failed;
    const decoder = this.#decoder = new AudioDecoder({
      output: data => {
        try { if (decoder === this.#decoder) this.#play(data); } finally { data.close(); }
      },
      error: error => { if (decoder === this.#decoder) failed(error); },
    });
    try { decoder.configure(config); } catch (error) { failed(error); }
  }

  decode(timestamp, data) {
    if (this.#decoder?.state !== 'configured') return;
    try {
      this.#decoder.decode(new EncodedAudioChunk({ type: 'key', timestamp, data }));
    } catch (error) { this.#failed(error); }
  }

  #failed = () => {};

  #play(data) {
    const { sampleRate, numberOfChannels, numberOfFrames, timestamp } = data;
    if (this.#context?.sampleRate !== sampleRate) this.#open(sampleRate, numberOfChannels);
    if (this.#context.state !== 'running' || !this.#player) return; // nobody waits for it
    const channels = Array.from({ length: numberOfChannels }, (_, planeIndex) => {
      const samples = new Float32Array(numberOfFrames);
      data.copyTo(samples, { planeIndex, format: 'f32-planar' });
      return samples;
    });
    this.#player.port.postMessage({ at: timestamp, channels }, channels.map(samples => samples.buffer));
  }

  async #open(sampleRate, channels) {
    this.#context?.close();
    this.#player = null;
    const context = this.#context = new AudioContext({ sampleRate });
    this.#gain = context.createGain();
    this.#gain.connect(context.destination);
    this.#loudness();
    context.resume();
    // Without a click before, it stays silent: the page says so, as it does of a <video> that may not sound.
    if (navigator.userActivation?.hasBeenActive === false) setTimeout(() => {
      if (context === this.#context && context.state !== 'running' && !this.#video.muted) this.#tell(SOUND_REFUSED, 0, '');
    }, 500);
    try { await context.audioWorklet.addModule(new URL('./sound.js', import.meta.url)); } catch (error) {
      if (context === this.#context) {
        this.#context = null; // tried again with the next packet
        this.#failed(error);
      }
      return;
    }
    if (context !== this.#context) return;
    const options = { numberOfInputs: 0, outputChannelCount: [Math.min(channels, 2)] };
    this.#player = new AudioWorkletNode(context, 'sightline-sound', options);
    this.#player.connect(this.#gain);
    this.#player.port.onmessage = ({ data: { media, time, ahead, dry } }) => {
      if (context !== this.#context) return;
      const { contextTime, performanceTime } = context.getOutputTimestamp();
      const heard = performanceTime
        ? performanceTime + (time - contextTime) * 1e3
        : performance.now() + (time - context.currentTime + (context.outputLatency || 0)) * 1e3;
      this.#tell(HEARD, heard - media, dry ? 'dry' : '', ahead);
    };
  }

  correct(speed, skip, begin) { this.#player?.port.postMessage({ speed, skip, begin }); }

  #loudness() {
    if (this.#gain) this.#gain.gain.value = this.#video.muted ? 0 : this.#video.volume;
  }

  stop() {
    if (this.#decoder && this.#decoder.state !== 'closed') this.#decoder.close();
    this.#decoder = null;
  }

  close() {
    this.stop();
    this.#watch.abort();
    this.#context?.close();
    this.#context = this.#player = null;
  }
}

/** What a FLAC decoder wants before its first frame (RFC 9639, 8): the marker and the one block. */
const streamInfo = block => Uint8Array.of(...[0x66, 0x4c, 0x61, 0x43, 0x80, 0, 0, block.length], ...block);

export class Decoders {
  #video;
  #tell;
  #decoder = null;
  #frames = new Map();
  #writer = null;
  #canvas = null;
  #context = null;
  #timer = 0;
  #sound;

  constructor(video, tell) {
    this.#video = video;
    this.#tell = tell;
    this.#sound = new Sound(video, tell);
    if (inVideo()) {
      const track = new MediaStreamTrackGenerator({ kind: 'video' });
      this.#writer = track.writable.getWriter();
      video.srcObject = new MediaStream([track]);
    } else {
      this.#canvas = Object.assign(document.createElement('canvas'), { width: 0, height: 0 });
      this.#canvas.hidden = true; // until there is a picture: the poster is below
      this.#context = this.#canvas.getContext('2d', { alpha: false, desynchronized: true });
      video.after(this.#canvas);
    }
  }

  /** Where the picture is, if not in the <video>. */
  get canvas() { return this.#canvas; }

  /** Other decoders from now on. What is on the screen stays. */
  open() {
    this.#stop(this.#decoder);
    this.#decoder = null;
    this.#sound.stop();
    this.discard(Infinity);
  }

  /** Of sound, the last two are samples a second and channels. */
  configure(track, codec, description, width, height) {
    if (track) {
      const failed = error => {
        this.#sound.stop();
        this.#tell(error.name === 'NotSupportedError' ? REFUSED : FAILED, track, error.message);
      };
      if (!('AudioDecoder' in globalThis)) return failed(new DOMException('no AudioDecoder', 'NotSupportedError'));
      return this.#sound.configure(codec, description, width, height, failed);
    }
    const old = this.#decoder;
    const config = { codec, optimizeForLatency: true, codedWidth: width, codedHeight: height };
    if (description.length) config.description = description;
    const decoder = old?.state === 'configured' ? old : (this.#decoder = this.#make(track));
    try { decoder.configure(config); } catch (error) { this.#failed(decoder, track, error); }
  }

  #make(track) {
    const decoder = new VideoDecoder({
      output: frame => {
        if (decoder !== this.#decoder) return frame.close();
        this.#frames.get(frame.timestamp)?.close();
        this.#frames.set(frame.timestamp, frame);
        this.#tell(DECODED, frame.timestamp, '');
      },
      error: error => this.#failed(decoder, track, error),
    });
    return decoder;
  }

  #failed(decoder, track, error) {
    if (decoder !== this.#decoder) return;
    this.#stop(decoder);
    this.#decoder = null;
    this.#tell(error.name === 'NotSupportedError' ? REFUSED : FAILED, track, error.message);
  }

  #stop(decoder) { if (decoder && decoder.state !== 'closed') decoder.close(); }

  decode(track, key, timestamp, data) {
    if (track) return this.#sound.decode(timestamp, data);
    const decoder = this.#decoder;
    if (decoder?.state !== 'configured') return;
    try {
      decoder.decode(new EncodedVideoChunk({ type: key ? 'key' : 'delta', timestamp, data }));
    } catch (error) { this.#failed(decoder, track, error); }
  }

  /** Shows a decoded picture, and lets go of those before it. Whether it is drawn already. */
  show(timestamp) {
    const frame = this.#frames.get(timestamp);
    this.#frames.delete(timestamp);
    this.discard(timestamp);
    if (!frame) return false;
    if (this.#writer) {
      // The track closes what it took.
      this.#writer.write(frame).catch(() => frame.close());
      return false;
    }
    const { displayWidth: width, displayHeight: height } = frame;
    const resized = this.#canvas.width !== width || this.#canvas.height !== height || this.#canvas.hidden;
    if (resized) Object.assign(this.#canvas, { width, height, hidden: false });
    try { this.#context.drawImage(frame, 0, 0, width, height); } catch (error) {
      // A format that the canvas does not take.
      queueMicrotask(() => this.#failed(this.#decoder, 0, error));
    } finally { frame.close(); }
    // Whoever hears of it may end the player, which waits for this call.
    if (resized) queueMicrotask(() => this.#video.dispatchEvent(new Event('resize')));
    return true;
  }

  /** Lets go of the decoded pictures before this time. */
  discard(before) {
    for (const [timestamp, frame] of this.#frames) {
      if (timestamp >= before) continue;
      frame.close();
      this.#frames.delete(timestamp);
    }
  }

  sound(speed, skip, begin) { this.#sound.correct(speed, skip, begin); }

  wake(ms, call) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(call, ms);
  }

  close() {
    clearTimeout(this.#timer);
    this.open();
    this.#sound.close();
    this.#canvas?.remove();
    if (this.#writer) {
      this.#writer.close().catch(() => {});
      this.#video.srcObject = null;
    }
  }
}
