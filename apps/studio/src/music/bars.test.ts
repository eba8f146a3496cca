import { expect, test } from "vitest";
import { barAt, barBeats, barCount, spanOfBars } from "./bars";
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
