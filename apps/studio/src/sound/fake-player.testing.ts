import type { Player, PlayerState } from "./player";

/** For tests of what shows a player: keeps what it was told, and makes no sound. */
export class FakePlayer implements Player {
  state: PlayerState = "stopped";
  trouble: string | null = null;
  waiting = false;
  loadedShare = 0;
  loop: readonly [number, number] | null = null;
  volume = 0.8;
  beats = 0;
  readonly #muted = new Set<number>();
  readonly #solo = new Set<number>();
  readonly #listeners = new Set<() => void>();

  load(): void {
    this.tell();
  }
  prefetch(): void {
    this.tell();
  }
  play(): Promise<void> {
    this.state = "playing";
    this.tell();
    return Promise.resolve();
  }
  pause(): void {
    this.state = "stopped";
    this.tell();
  }
  stop(): void {
    this.beats = 0;
    this.pause();
  }
  seek(beats: number): void {
    this.beats = beats;
    this.tell();
  }
  positionBeats(): number {
    return this.beats;
  }
  setLoop(loop: readonly [number, number] | null): void {
    this.loop = loop;
    this.tell();
  }
  setMuted(track: number, muted: boolean): void {
    this.#toggle(this.#muted, track, muted);
  }
  setSolo(track: number, solo: boolean): void {
    this.#toggle(this.#solo, track, solo);
  }
  isMuted(track: number): boolean {
    return this.#muted.has(track);
  }
  isSolo(track: number): boolean {
    return this.#solo.has(track);
  }
  setVolume(volume: number): void {
    this.volume = volume;
    this.tell();
  }
  levelNow(): number {
    return 0;
  }
  sound(): void {
    this.tell();
  }
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  tell(): void {
    for (const listener of this.#listeners) listener();
  }

  #toggle(set: Set<number>, track: number, on: boolean): void {
    if (on) set.add(track);
    else set.delete(track);
    this.tell();
  }
}
