import { expect, test, vi } from "vitest";
import type { Tempo } from "../music/piece";
import { numbersBelow } from "../music/testing";
import { TempoMap } from "./tempo";

// Generous: a busy machine is no failure.
vi.setConfig({ testTimeout: 30_000 });

/** Sums up small steps of a beat, each at the tempo that holds there. */
function summed(tempos: readonly Tempo[], beats: number): number {
  const step = 1 / 64;
  let seconds = 0;
  for (let at = 0; at < beats; at += step) seconds += (step * 60) / (tempos.findLast((tempo) => tempo.onsetBeats <= at)?.bpm ?? 120);
  return seconds;
}

test("beats to seconds as a naive sum over small steps, and back", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = numbersBelow(seed);
    const tempos = Array.from({ length: 1 + random(5) }, (_, i) => ({ onsetBeats: i === 0 ? 0 : i * 4 + random(16) / 4, bpm: 40 + random(160) }));
    const map = new TempoMap(tempos);
    for (let i = 0; i < 20; i++) {
      const beats = random(160) / 4;
      expect(map.secondsAt(beats)).toBeCloseTo(summed(tempos, beats), 6);
      expect(map.beatsAt(map.secondsAt(beats))).toBeCloseTo(beats, 6);
    }
  }
});

test("a piece without a tempo plays at 120", () => {
  expect(new TempoMap([]).secondsAt(4)).toBe(2);
});
