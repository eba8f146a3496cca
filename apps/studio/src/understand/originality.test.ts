import { expect, test } from "vitest";
import { originalityLines } from "./originality";

const copy = (notes: number, beats: number, piece: string, transposition = 0) => ({ notes, beats, piece, bar: 8, piece_bar: 4, transposition });
const report = (exact: object | null, transposed: object | null, more: object = {}) => ({
  notes: 90,
  exact,
  transposed,
  exact_beats: 0,
  transposed_beats: 0,
  ngrams: 0,
  ngrams_transposed: 0.12,
  nearest: "bwv404",
  nearest_share: 0.05,
  ...more,
});

test("the longest run is told with its length and its place", () => {
  const nine = copy(9, 4.5, "bwv229.2");
  expect(originalityLines(report(nine, nine))).toEqual([
    "The longest run also in the training pieces: 9 notes, 4.5 beats, in bwv229.2: bar 8 here, bar 4 there.",
    "12 % of its phrases of 8 notes stand there, in that key or another.",
    "The training piece most like it: bwv404, which has 5 % of its phrases.",
  ]);
});

test("a longer one in another key is told as well, and which way it was moved", () => {
  const lines = originalityLines(report(copy(7, 2, "bwv1"), copy(14, 3, "bwv404", 5)));
  expect(lines[1]).toBe("In another key: 14 notes, 3 beats, in bwv404 (there 5 semitones lower): bar 8 here, bar 4 there.");
  expect(originalityLines(report(copy(7, 2, "bwv1"), copy(14, 1, "x", -1)))[1]).toContain("14 notes, 1 beat, in x (there 1 semitone higher)");
});

test("a run of one note is none", () => {
  const one = copy(1, 0, "bwv1");
  const lines = originalityLines(report(one, one, { ngrams_transposed: 0, nearest: null, nearest_share: 0 }));
  expect(lines).toEqual(["No run of two notes stands so in the training pieces.", "None of its phrases of 8 notes stands there, in any key."]);
});

test("without notes or a report there is nothing to compare", () => {
  expect(originalityLines(report(null, null, { notes: 0 }))).toEqual(["There are no notes to compare with the training pieces."]);
  expect(originalityLines(null)).toEqual([]);
});
