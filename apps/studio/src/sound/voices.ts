/** What makes the sound. A channel is the number of a track; times are those of the AudioContext, in seconds. */
export interface Voices {
  /** The program of each channel, of General MIDI or DRUMS. */
  setPrograms(programs: readonly number[]): void;
  noteOn(channel: number, pitch: number, velocity: number, timeSeconds: number): void;
  noteOff(channel: number, pitch: number, timeSeconds: number): void;
  /** Ends at once what sounds in a channel, and forgets what was asked for later. */
  silence(channel: number): void;
}

/** What the scheduler needs of them. */
export type NoteSink = Pick<Voices, "noteOn" | "noteOff" | "silence">;
