// The second way to the screen, loaded only where it is taken: decoders of WebCodecs, and behind them a track in the
// <video> (Chromium) or a canvas over it. It does what it is told and tells what happened; the WASM decides.

/** What is told: its number, then what belongs to it. player/src/webcodecs.rs has the same list. */
const DECODED = 0, FAILED = 1, REFUSED = 2;

export const available = () => 'VideoDecoder' in globalThis;
/** Whether pictures go into the <video>: its controls, full screen and picture in picture show them then. */
export const inVideo = () => 'MediaStreamTrackGenerator' in globalThis;

export class Decoders {
  #video;
  #tell;
  #decoder = null;
  #frames = new Map();
  #writer = null;
  #canvas = null;
  #context = null;
  #timer = 0;

  constructor(video, tell) {
    this.#video = video;
    this.#tell = tell;
    if (inVideo()) {
      const track = new MediaStreamTrackGenerator({ kind: 'video' });
      this.#writer = track.writable.getWriter();
      video.srcObject = new MediaStream([track]);
    } else {
      this.#canvas = document.createElement('canvas');
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
    this.discard(Infinity);
  }

  configure(track, codec, description, width, height) {
    if (track) return;
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
    const decoder = this.#decoder;
    if (track || decoder?.state !== 'configured') return;
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
    this.#context.drawImage(frame, 0, 0, width, height);
    frame.close();
    if (resized) this.#video.dispatchEvent(new Event('resize'));
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

  wake(ms, call) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(call, ms);
  }

  close() {
    clearTimeout(this.#timer);
    this.open();
    this.#canvas?.remove();
    if (this.#writer) {
      this.#writer.close().catch(() => {});
      this.#video.srcObject = null;
    }
  }
}
