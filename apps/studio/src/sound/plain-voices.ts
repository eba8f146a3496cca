import { DRUMS } from "../music/piece";
import type { Voices } from "./voices";

const RELEASE_SECONDS = 0.12;
const PEAK = 0.16;

interface Voice {
  readonly envelope: GainNode;
  readonly source: AudioScheduledSourceNode;
  readonly level: number;
}

/** Voices without samples: plain waves and noise, for browsers and servers that lack what the sampled instruments need. */
export class PlainVoices implements Voices {
  readonly #context: BaseAudioContext;
  readonly #out: AudioNode;
  readonly #noise: AudioBuffer;
  #programs: readonly number[] = [];
  /** By channel and pitch, what was begun and not ended. */
  readonly #held = new Map<string, Voice>();
  /** By channel, all that may still be heard. */
  readonly #alive = new Map<number, Set<Voice>>();

  constructor(context: BaseAudioContext, out: AudioNode) {
    this.#context = context;
    this.#out = out;
    this.#noise = noise(context);
  }

  setPrograms(programs: readonly number[]): void {
    this.#programs = [...programs];
  }

  noteOn(channel: number, pitch: number, velocity: number, timeSeconds: number): void {
    const at = Math.max(timeSeconds, this.#context.currentTime);
    const level = PEAK * (velocity / 127) ** 1.5;
    const envelope = new GainNode(this.#context, { gain: 0 });
    envelope.gain.setValueAtTime(0, at);
    envelope.gain.linearRampToValueAtTime(level, at + 0.008);
    envelope.connect(this.#out);
    const drum = this.#programs[channel] === DRUMS;
    const source = drum ? this.#drum(pitch, envelope, at, level) : this.#tone(pitch, this.#programs[channel] ?? 0, envelope);
    source.start(at);
    const voice: Voice = { envelope, source, level };
    this.#remember(channel, voice);
    if (!drum) this.#held.set(`${String(channel)}/${String(pitch)}`, voice);
  }

  noteOff(channel: number, pitch: number, timeSeconds: number): void {
    const place = `${String(channel)}/${String(pitch)}`;
    const voice = this.#held.get(place);
    if (!voice) return;
    this.#held.delete(place);
    const at = Math.max(timeSeconds, this.#context.currentTime);
    voice.envelope.gain.setTargetAtTime(0, at, RELEASE_SECONDS / 4);
    voice.source.stop(at + RELEASE_SECONDS * 2);
  }

  silence(channel: number): void {
    const now = this.#context.currentTime;
    for (const voice of this.#alive.get(channel) ?? []) {
      voice.envelope.gain.cancelScheduledValues(now);
      voice.envelope.gain.setTargetAtTime(0, now, 0.005);
      voice.source.stop(now + 0.05);
    }
    this.#alive.delete(channel);
    for (const place of this.#held.keys()) if (place.startsWith(`${String(channel)}/`)) this.#held.delete(place);
  }

  #remember(channel: number, voice: Voice): void {
    const alive = this.#alive.get(channel) ?? new Set();
    this.#alive.set(channel, alive.add(voice));
    voice.source.onended = () => {
      alive.delete(voice);
      voice.envelope.disconnect();
    };
  }

  #tone(pitch: number, program: number, envelope: AudioNode): AudioScheduledSourceNode {
    const frequency = 440 * 2 ** ((pitch - 69) / 12);
    const soft = new BiquadFilterNode(this.#context, { type: "lowpass", frequency: Math.min(6000, frequency * 5) });
    const oscillator = new OscillatorNode(this.#context, { type: wave(program), frequency });
    oscillator.connect(soft).connect(envelope);
    return oscillator;
  }

  #drum(pitch: number, envelope: GainNode, at: number, level: number): AudioScheduledSourceNode {
    const low = pitch <= 36 || (pitch >= 41 && pitch <= 50 && pitch % 2 === 1);
    const seconds = low ? 0.25 : pitch === 46 || pitch >= 49 ? 0.5 : 0.12;
    envelope.gain.setValueAtTime(level * 1.5, at + 0.008);
    envelope.gain.exponentialRampToValueAtTime(0.0001, at + seconds);
    const source = low ? this.#thump(at) : new AudioBufferSourceNode(this.#context, { buffer: this.#noise });
    const filter = new BiquadFilterNode(this.#context, low ? { type: "lowpass", frequency: 800 } : { type: "highpass", frequency: pitch <= 40 ? 1200 : 6000 });
    source.connect(filter).connect(envelope);
    source.stop(at + seconds);
    return source;
  }

  #thump(at: number): OscillatorNode {
    const oscillator = new OscillatorNode(this.#context, { type: "sine", frequency: 140 });
    oscillator.frequency.setValueAtTime(140, at);
    oscillator.frequency.exponentialRampToValueAtTime(45, at + 0.15);
    return oscillator;
  }
}

function wave(program: number): OscillatorType {
  const family = Math.floor(program / 8);
  // Reeds, brass, strings and leads are rich; flutes, organs and pads round; the rest in between.
  if ([5, 6, 7, 10].includes(family)) return "sawtooth";
  if ([8].includes(family)) return "square";
  if ([2, 9, 11].includes(family)) return "sine";
  return "triangle";
}

function noise(context: BaseAudioContext): AudioBuffer {
  const buffer = context.createBuffer(1, Math.floor(context.sampleRate), context.sampleRate);
  const samples = buffer.getChannelData(0);
  // A fixed seed: the same drum sounds the same each time.
  let state = 1;
  for (let i = 0; i < samples.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    samples[i] = state / 2 ** 31 - 1;
  }
  return buffer;
}
