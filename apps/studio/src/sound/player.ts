import type { Piece } from "../music/piece";

export type PlayerState = "silent" | "loading" | "stopped" | "playing";

/** Plays a piece, also one that grows while it plays. Made once for the page; `subscribe` tells of every change of state. */
export interface Player {
  readonly state: PlayerState;
  /** What keeps it silent or makes it plain, for the page to show; null while all is well. */
  readonly trouble: string | null;
  /** It plays, and has come to the end of a piece that still grows. */
  readonly waiting: boolean;
  /** How much of the instruments' sounds has been fetched, 0 to 1. */
  readonly loadedShare: number;
  /** What is to be played. The position stays; what sounds goes on where its note is still there. `growing`: more will come, so it waits at the end. */
  load(piece: Piece, growing?: boolean): void;
  /** Fetches the instruments' sounds ahead of the first `play`; needs no gesture. */
  prefetch(): void;
  /** From the position; loads the SoundFont at the first time, which must be within a gesture of the user's. */
  play(): Promise<void>;
  pause(): void;
  /** To the begin, silent. */
  stop(): void;
  seek(beats: number): void;
  /** Where it is now, for the playhead; read at every frame. */
  positionBeats(): number;
  setLoop(loop: readonly [number, number] | null): void;
  readonly loop: readonly [number, number] | null;
  setMuted(track: number, muted: boolean): void;
  setSolo(track: number, solo: boolean): void;
  isMuted(track: number): boolean;
  isSolo(track: number): boolean;
  /** 0 to 1. */
  setVolume(volume: number): void;
  readonly volume: number;
  /** How loud it is now, as the root mean square of the samples; 0 is silence. */
  levelNow(): number;
  /** One note at once, such as when a note is drawn or clicked. */
  sound(pitch: number, program: number, velocity: number): void;
  subscribe(listener: () => void): () => void;
}
