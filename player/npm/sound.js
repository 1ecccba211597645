// Plays decoded sound in the browser's thread for sound: what comes is laid end to end, read a little faster or slower as
// it is told, and how it goes is told some fifteen times a second. It decides nothing.

const FADE = 64; // samples, behind silence and where something was left out
const MOST_S = 2;
const TELL_EVERY = Math.round(sampleRate / 15 / 128);

registerProcessor('sightline-sound', class extends AudioWorkletProcessor {
  #chunks = []; // { at: media time in µs, channels: [Float32Array] }
  #ahead = 0; // samples from #position on
  #position = 0; // in the first chunk, between samples
  #speed = 1;
  #begin = sampleRate * 0.03;
  #silent = true;
  #silence = 0;
  #fade = 0;
  #least = Infinity;
  #dry = false;
  #until = TELL_EVERY;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => (data.channels ? this.#take(data) : this.#correct(data));
  }

  #take(chunk) {
    this.#chunks.push(chunk);
    this.#ahead += chunk.channels[0].length;
    if (this.#ahead > sampleRate * MOST_S) this.#leaveOut(this.#ahead - this.#begin);
  }

  #correct({ speed, skip, begin }) {
    this.#speed = speed;
    this.#begin = begin * sampleRate / 1e3;
    if (skip > 0) this.#leaveOut(Math.min(skip * sampleRate / 1e3, this.#ahead - 128));
    else this.#silence -= skip * sampleRate / 1e3;
  }

  #leaveOut(samples) {
    if (samples <= 0) return;
    this.#fade = 0;
    this.#position += samples;
    this.#ahead -= samples;
    this.#next();
  }

  #next() {
    while (this.#chunks.length && this.#position >= this.#chunks[0].channels[0].length) {
      this.#position -= this.#chunks.shift().channels[0].length;
    }
  }

  process(_inputs, [output]) {
    const length = output[0].length;
    if (this.#silence > 0) this.#silence -= length;
    else if (this.#ahead > (this.#silent ? Math.max(this.#begin, length * 2) : length * this.#speed + 1)) {
      if (this.#silent) this.#fade = 0;
      this.#silent = false;
      this.#least = Math.min(this.#least, this.#ahead);
      if (!--this.#until) this.#tell();
      this.#read(output, length);
    } else if (!this.#silent) {
      this.#silent = this.#dry = true;
      this.#tell();
    }
    return true;
  }

  #tell() {
    const [first] = this.#chunks;
    this.#until = TELL_EVERY;
    if (!first) return;
    this.port.postMessage({
      media: first.at / 1e3 + this.#position / sampleRate * 1e3,
      time: currentTime,
      ahead: Math.min(this.#least, this.#ahead) / sampleRate * 1e3,
      dry: this.#dry,
    });
    this.#least = Infinity;
    this.#dry = false;
  }

  #read(output, length) {
    for (let i = 0; i < length; i++) {
      const { channels } = this.#chunks[0], at = Math.floor(this.#position), part = this.#position - at;
      const gain = this.#fade < FADE ? this.#fade++ / FADE : 1;
      output.forEach((samples, c) => {
        const own = channels[c] ?? channels[0];
        const next = at + 1 < own.length ? own[at + 1] : (this.#chunks[1]?.channels[c] ?? own)[0];
        samples[i] = gain * (part ? own[at] + (next - own[at]) * part : own[at]);
      });
      this.#position += this.#speed;
      this.#next();
    }
    this.#ahead -= length * this.#speed;
  }
});
