import { MIDIControllers } from "spessasynth_core";
import { WorkletSynthesizer } from "spessasynth_lib";
import processorUrl from "spessasynth_lib/dist/spessasynth_processor.min.js?url";
import { DRUMS } from "../music/piece";
import type { Voices } from "./voices";

/** Long enough for the fade of a silenced channel, which would click if it were cut. */
const FADE_SECONDS = 0.05;

interface Retired {
  readonly line: number;
  readonly freeSeconds: number;
}

export async function spessaVoices(context: AudioContext, out: AudioNode, soundFont: ArrayBuffer): Promise<Voices> {
  await context.audioWorklet.addModule(processorUrl);
  const synth = new WorkletSynthesizer(context, { eventsEnabled: false });
  // The synthesizer takes its copy away to the audio thread.
  await synth.soundBankManager.addSoundBank(soundFont.slice(0), "main");
  await synth.isReady;
  synth.connect(out);
  return new SpessaVoices(synth);
}

/**
 * The synthesizer cannot forget an event that was handed to it for later. So each channel plays on a line, as we call the synthesizer's
 * own channels here; a channel that is silenced moves to a fresh line, and the old one is muted until its last event has gone by.
 */
class SpessaVoices implements Voices {
  readonly #synth: WorkletSynthesizer;
  #programs: readonly number[] = [];
  readonly #lines: number[] = [];
  readonly #lastSeconds = new Map<number, number>();
  #retired: Retired[] = [];
  #linesMade = 0;

  constructor(synth: WorkletSynthesizer) {
    this.#synth = synth;
  }

  setPrograms(programs: readonly number[]): void {
    const before = this.#programs;
    this.#programs = [...programs];
    programs.forEach((program, channel) => {
      const line = this.#lines[channel];
      if (line === undefined) this.#lines[channel] = this.#freshLine(program);
      else if (program !== before[channel]) this.#setProgram(line, program);
    });
  }

  noteOn(channel: number, pitch: number, velocity: number, timeSeconds: number): void {
    const line = this.#lines[channel];
    if (line === undefined) return;
    this.#synth.noteOn(line, pitch, velocity, { time: timeSeconds });
    this.#keep(line, timeSeconds);
  }

  noteOff(channel: number, pitch: number, timeSeconds: number): void {
    const line = this.#lines[channel];
    if (line === undefined) return;
    this.#synth.noteOff(line, pitch, { time: timeSeconds });
    this.#keep(line, timeSeconds);
  }

  silence(channel: number): void {
    const line = this.#lines[channel];
    if (line === undefined) return;
    const lastSeconds = Math.max(this.#synth.currentTime, this.#lastSeconds.get(line) ?? 0) + FADE_SECONDS;
    this.#synth.controllerChange(line, MIDIControllers.expression, 0);
    this.#synth.controllerChange(line, MIDIControllers.allSoundOff, 0, { time: lastSeconds });
    this.#synth.controllerChange(line, MIDIControllers.expression, 127, { time: lastSeconds });
    this.#retired.push({ line, freeSeconds: lastSeconds + FADE_SECONDS });
    this.#lastSeconds.delete(line);
    this.#lines[channel] = this.#freshLine(this.#programs[channel] ?? 0);
  }

  #keep(line: number, timeSeconds: number): void {
    this.#lastSeconds.set(line, Math.max(timeSeconds, this.#lastSeconds.get(line) ?? 0));
  }

  #freshLine(program: number): number {
    const free = this.#retired.find((one) => one.freeSeconds <= this.#synth.currentTime);
    this.#retired = this.#retired.filter((one) => one !== free);
    const line = free?.line ?? this.#linesMade++;
    if (line >= this.#synth.midiChannels.length) this.#synth.addNewChannel();
    this.#setProgram(line, program);
    return line;
  }

  #setProgram(line: number, program: number): void {
    this.#synth.midiChannels[line]?.setDrums(program === DRUMS);
    this.#synth.programChange(line, program === DRUMS ? 0 : program);
  }
}
