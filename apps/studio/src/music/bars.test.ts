import { expect, test } from "vitest";
import { barAt, barBeats, barCount, barLines, barOf, spanOf, spanOfBars } from "./bars";
import { pieceWith, randomPiece } from "./testing";

const metres = (...of: [number, number][]) => ({ metres: of.map(([onsetBeats, beatsPerBar]) => ({ onsetBeats, beatsPerBar, text: "" })) });

test("bars of one metre, the last one whole", () => {
  expect(barBeats(metres([0, 4]), 9)).toEqual([0, 4, 8, 12]);
  expect(barBeats(metres([0, 3]), 6)).toEqual([0, 3, 6]);
  expect(barBeats(metres([0, 4]), 0)).toEqual([0, 4]);
});

test("a metre begins a bar where it stands, whole bar before it or not", () => {
  expect(barBeats(metres([0, 4], [8, 3]), 14)).toEqual([0, 4, 8, 11, 14]);
  expect(barBeats(metres([0, 4], [6, 3]), 12)).toEqual([0, 4, 6, 9, 12]);
  expect(barBeats(metres([0, 4], [8, 3.5]), 2)).toEqual([0, 4]);
  expect(barBeats(metres([6, 3]), 7)).toEqual([0, 4, 6, 9]);
});

test("lines rise, cover the music, and each bar's number is its place", () => {
  for (let seed = 0; seed < 40; seed++) {
    const piece = randomPiece(seed);
    const lines = barBeats(piece, 30);
    expect(lines.at(-1)).toBeGreaterThanOrEqual(30);
    lines.slice(0, -1).forEach((line, index) => {
      const end = lines[index + 1] ?? 0;
      expect(end).toBeGreaterThan(line);
      expect(barAt(piece, line)).toBe(index + 1);
      expect(barAt(piece, (line + end) / 2)).toBe(index + 1);
      expect(spanOfBars(piece, index + 1, index + 1)[0]).toBe(line);
    });
  }
});

test("a piece's bars are counted whole; a metre without a length is passed over", () => {
  expect(barCount(pieceWith([[0, 60, 3, 1.5]]))).toBe(2);
  expect(barCount(pieceWith([]))).toBe(1);
  expect(barBeats(metres([0, 0], [0, 4]), 5)).toEqual([0, 4, 8]);
});

const metre = (onsetBeats: number, beatsPerBar: number, text: string) => ({ onsetBeats, beatsPerBar, text });

test("each bar has its length and what its metre counts; a change within a bar cuts it, behind the end of the music too", () => {
  const bars = barLines([metre(16, 3, "3/4"), metre(0, 4, "4/4"), metre(10, 3, "6/8")], 20);
  expect(bars.map((bar) => [bar.number, bar.onsetBeats, bar.beats, bar.unitBeats])).toEqual([
    [1, 0, 4, 1], [2, 4, 4, 1], [3, 8, 2, 1], [4, 10, 3, 0.5], [5, 13, 3, 0.5], [6, 16, 3, 1], [7, 19, 3, 1],
  ]);
  expect(barBeats(metres([0, 4], [6, 3]), 5)).toEqual([0, 4, 6]);
  expect(spanOfBars(metres([0, 4], [6, 3]), 2, 3)).toEqual([4, 9]);
  expect(barLines([], 0)).toHaveLength(1);
});

test("a time's bar is the one that a walk through all of them finds", () => {
  const bars = barLines([metre(0, 4, "4/4"), metre(10, 3, "6/8")], 200);
  for (let beats = 0; beats < 200; beats += 0.375) expect(barOf(bars, beats)).toBe(bars.findLast((bar) => bar.onsetBeats <= beats));
  expect([barOf(bars, -3).number, barOf(bars, 9999).number]).toEqual([1, bars.length]);
});

test("bars reach from the first one's begin to the last one's end", () => {
  const bars = barLines([metre(0, 4, "4/4")], 32);
  expect([spanOf(bars, 3, 4), spanOf(bars, 7, 99), spanOf(bars, 40, 41)]).toEqual([[8, 16], [24, 32], null]);
});
