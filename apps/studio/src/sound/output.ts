import { soundFont } from "./soundfont";
import { PlainVoices } from "./plain-voices";
import type { Voices } from "./voices";

const PLAIN_AFTER_FAILURE = "The instruments' sounds could not be loaded, so you hear plain tones. Check that the server is running, then press play again.";
const PLAIN_WITHOUT_WORKLET = "This browser plays sampled instruments only over https or from this computer (localhost), so you hear plain tones.";

/** The way of the sound out of the page: voices, volume, level meter, loudspeaker. Made within a gesture of the user's. */
export class Output {
  readonly context = new AudioContext({ latencyHint: "interactive" });
  readonly #gain = new GainNode(this.context);
  readonly #analyser = new AnalyserNode(this.context, { fftSize: 2048 });
  readonly #samples = new Float32Array(2048);
  #voices: Voices | null = null;
  #sampled = false;
  #preparing: Promise<void> | null = null;
  trouble: string | null = null;

  constructor() {
    this.#gain.connect(this.#analyser).connect(this.context.destination);
  }

  get voices(): Voices | null {
    return this.#voices;
  }

  /** Makes the voices; those with samples where that works, and tries again for them each time while it does not. */
  async prepare(onProgress: (share: number) => void): Promise<void> {
    if (this.#sampled) return;
    this.#preparing ??= this.#prepared(onProgress).finally(() => {
      this.#preparing = null;
    });
    await this.#preparing;
  }

  async #prepared(onProgress: (share: number) => void): Promise<void> {
    try {
      // Not there on a page that came over plain http from another machine.
      if (!("audioWorklet" in this.context)) throw new NoWorklet();
      const [bank, { spessaVoices }] = await Promise.all([soundFont(onProgress), import("./spessa-voices")]);
      this.#voices = await spessaVoices(this.context, this.#gain, bank);
      this.#sampled = true;
      this.trouble = null;
    } catch (error) {
      this.#voices ??= new PlainVoices(this.context, this.#gain);
      this.trouble = error instanceof NoWorklet ? PLAIN_WITHOUT_WORKLET : PLAIN_AFTER_FAILURE;
    }
  }

  /** Wakes the loudspeaker; false while the browser refuses. */
  async wake(): Promise<boolean> {
    // Without a gesture the promise of resume() stays open for ever.
    await Promise.race([this.context.resume(), new Promise((done) => setTimeout(done, 1000))]);
    return this.context.state === "running";
  }

  setVolume(volume: number): void {
    // Loudness goes roughly with the square of what the slider shows; a short glide, lest it crackles.
    this.#gain.gain.setTargetAtTime(volume ** 2, this.context.currentTime, 0.01);
  }

  level(): number {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return Math.sqrt(this.#samples.reduce((sum, sample) => sum + sample * sample, 0) / this.#samples.length);
  }
}

class NoWorklet extends Error {}
