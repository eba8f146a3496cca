import type { AttentionWeights, ExplainedNote } from "midifactory";
import { expect, test } from "vitest";
import { attendedIds, mostAttended } from "./attending";
import { explainedOf } from "./explaining";

const note = (pitch: number): ExplainedNote => ({
  track: 0,
  program: 0,
  pitch,
  velocity: 80,
  onset_beats: 0,
  duration_beats: 1,
  nats: 1,
  probability: 0.4,
  alternatives: [],
  parts: [],
});
const piece = {
  notes: [60, 62, 64].map((pitch, place) => ({ id: 10 + place, track: 0, pitch, velocity: 80, onsetBeats: 0, durationBeats: 1 })),
  tracks: [{ name: "Piano", program: 0 }],
  tempos: [],
  metres: [],
};
// the server tells of them in another order, and of one that the piece does not have
const explained = explainedOf({ model: "box", notes: [64, 60, 62, 99].map(note), nats_per_note: 1, skipped: [] }, piece);
const attention = (weights: number[]): AttentionWeights => ({
  model: "box",
  layers: 2,
  heads: 2,
  window_notes: 4,
  weights: weights.map((weight, index) => ({ note: index, weight })),
});

test("weights reach the notes that they are about, the strongest is 1", () => {
  expect(attendedIds(attention([0.1, 0.4, 0.2, 0.3]), explained)).toEqual(new Map([[12, 0.25], [10, 1], [11, 0.5]]));
});

test("what got nothing has no line, and nothing at all has none", () => {
  expect(attendedIds(attention([0, 0.5, 0, 0]), explained)).toEqual(new Map([[10, 1]]));
  expect(attendedIds(attention([0, 0, 0, 0]), explained).size).toBe(0);
  expect(attendedIds(attention([]), explained).size).toBe(0);
});

test("the most attended notes come in order, with their part of all that notes got", () => {
  expect(mostAttended(attention([0.1, 0.5, 0.2, 0.2]), explained, 2)).toEqual([{ id: 10, share: 0.5 }, { id: 11, share: 0.2 }]);
  expect(mostAttended(attention([0, 0, 0, 0]), explained, 5)).toEqual([]);
});
