import type { TempoMap } from "./tempo";

/** A run without a jump: from here the music goes on in the piece's own time. */
export interface Segment {
  readonly startSeconds: number;
  readonly startBeats: number;
  readonly tempo: TempoMap;
  /** Where the run was left (a loop's end, a change of tempo); Infinity for the last one. */
  readonly endBeats: number;
}

export function secondsOf(segment: Segment, beats: number): number {
  return segment.startSeconds + (segment.tempo.secondsAt(beats) - segment.tempo.secondsAt(segment.startBeats));
}

export function beatsOf(segment: Segment, seconds: number): number {
  const beats = segment.tempo.beatsAt(segment.tempo.secondsAt(segment.startBeats) + seconds - segment.startSeconds);
  return Math.min(Math.max(beats, segment.startBeats), segment.endBeats);
}

/** The runs that are played or planned, the oldest first. */
export class Timeline {
  #segments: Segment[] = [];

  get tail(): Segment | null {
    return this.#segments.at(-1) ?? null;
  }

  /** Whether what is planned jumps, from where `seconds` is. */
  jumpsAfter(seconds: number): boolean {
    return this.#segments.some((segment, i) => i > 0 && segment.startSeconds > seconds);
  }

  clear(): void {
    this.#segments = [];
  }

  /** Ends the last run at `leftBeats` and begins another. */
  add(startSeconds: number, startBeats: number, tempo: TempoMap, leftBeats: number): void {
    const tail = this.#segments.pop();
    if (tail) this.#segments.push({ ...tail, endBeats: leftBeats });
    this.#segments.push({ startSeconds, startBeats, tempo, endBeats: Infinity });
  }

  beatsAt(seconds: number): number | null {
    const segment = this.#segments.findLast((one) => one.startSeconds <= seconds) ?? this.#segments[0];
    return segment ? beatsOf(segment, seconds) : null;
  }

  forgetBefore(seconds: number): void {
    while ((this.#segments[1]?.startSeconds ?? Infinity) <= seconds) this.#segments.shift();
  }
}
