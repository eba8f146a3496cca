import { audioToWav, SoundBankLoader, SpessaSynthProcessor } from "spessasynth_core";
import { DRUMS, type Piece } from "../music/piece";
import { prepare } from "./prepared";
import { Scheduler } from "./scheduler";
import type { NoteSink } from "./voices";

const SAMPLE_RATE = 44_100;
const BLOCK = 128;
/** For the last notes and the room to fade. */
export const RELEASE_SECONDS = 2;
const PEAK = 0.9;
/** The rate at which the scheduler looks at the clock; ahead of the blocks, so that every event is in time. */
const AHEAD_SECONDS = 0.1;

/** The piece as a WAV file, 16 bits and stereo, played by the instruments of the SoundFont. */
export async function renderWav(piece: Piece, soundFont: ArrayBuffer, onProgress: (share: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  if (piece.notes.length === 0) throw new Error("There are no notes to hear in this piece, so there is no sound to save.");
  const synth = new SpessaSynthProcessor(SAMPLE_RATE, { maxBufferSize: BLOCK, eventsEnabled: false });
  synth.soundBankManager.addSoundBank(SoundBankLoader.fromArrayBuffer(soundFont), "main");
  await synth.processorInitialized;
  setPrograms(synth, piece);
  const { tempo, endBeats } = prepare(piece);
  const length = Math.ceil((tempo.secondsAt(endBeats) + RELEASE_SECONDS) * SAMPLE_RATE);
  const left = new Float32Array(length);
  const right = new Float32Array(length);
  const scheduler = new Scheduler(sink(synth), () => synth.currentTime);
  scheduler.load(piece, false);
  scheduler.start(0);
  for (let at = 0; at < length; at += BLOCK) {
    scheduler.advance(AHEAD_SECONDS);
    synth.process(left, right, at, Math.min(BLOCK, length - at));
    if (at % (BLOCK * 256) === 0) onProgress(at / length);
  }
  level([left, right]);
  onProgress(1);
  // Written at the level above: the writer must not stretch it to the full range.
  return new Uint8Array(audioToWav([left, right], SAMPLE_RATE, { normalizeAudio: false }));
}

function setPrograms(synth: SpessaSynthProcessor, piece: Piece): void {
  piece.tracks.forEach((track, channel) => {
    if (channel >= synth.midiChannels.length) synth.createMIDIChannel();
    synth.midiChannels[channel]?.setDrums(track.program === DRUMS);
    synth.programChange(channel, track.program === DRUMS ? 0 : track.program);
  });
}

function sink(synth: SpessaSynthProcessor): NoteSink {
  return {
    noteOn: (channel, pitch, velocity, time) => synth.processMessage([0x90 | channel % 16, pitch, velocity], channel - channel % 16, { time }),
    noteOff: (channel, pitch, time) => synth.processMessage([0x80 | channel % 16, pitch, 0], channel - channel % 16, { time }),
    silence: () => undefined,
  };
}

function level(channels: readonly Float32Array[]): void {
  const peak = channels.reduce((most, samples) => samples.reduce((high, sample) => Math.max(high, Math.abs(sample)), most), 0);
  if (peak === 0) throw new Error("This piece came out silent: the SoundFont has no sound for its instruments.");
  for (const samples of channels) for (let i = 0; i < samples.length; i++) samples[i] = (samples[i] ?? 0) * PEAK / peak;
}
