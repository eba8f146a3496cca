import type { TempoMap } from "./tempo";

/** "3.2": the second beat of the third bar. `barBeats`: where each bar begins, in order. */
export function barAndBeat(beats: number, barBeats: readonly number[]): string {
  const index = Math.max(0, barBeats.findLastIndex((start) => start <= beats + 1e-6));
  const beat = Math.floor(beats - (barBeats[index] ?? 0) + 1e-6) + 1;
  return `${String(index + 1)}.${String(beat)}`;
}

/** "1:05". */
export function clock(seconds: number): string {
  const whole = Math.floor(Math.max(0, seconds) + 1e-6);
  return `${String(Math.floor(whole / 60))}:${String(whole % 60).padStart(2, "0")}`;
}

export function placeText(beats: number, barBeats: readonly number[], tempo: TempoMap): string {
  return `Bar ${barAndBeat(beats, barBeats)}, ${clock(tempo.secondsAt(beats))}`;
}
