import { expect, test } from "vitest";
import type { Note } from "../music/piece";
import { idsByIndex, matchNotes } from "./matching";

const note = (id: number, track: number, pitch: number, onsetBeats: number): Note => ({
  id,
  track,
  pitch,
  onsetBeats,
  velocity: 80,
  durationBeats: 1,
});
const told = (track: number, pitch: number, onset_beats: number, program = 0) => ({ track, program, pitch, onset_beats });
const of = (notes: Note[], programs = [0, 0]) => ({ notes, tracks: programs.map((program) => ({ name: "", program })) });

test("notes are found by track, pitch and onset, whatever their order", () => {
  const notes = [note(10, 0, 60, 0), note(11, 0, 60, 1), note(12, 1, 60, 0), note(13, 0, 64, 0)];
  const matched = matchNotes(of(notes), [told(0, 64, 0), told(1, 60, 0), told(0, 60, 1), told(0, 60, 0)]);
  expect([...matched].sort()).toEqual([[10, 3], [11, 2], [12, 1], [13, 0]]);
});

test("an onset that a grid has moved is still the note's", () => {
  expect(matchNotes(of([note(1, 0, 60, 0.99), note(2, 0, 60, 1.26)]), [told(0, 60, 1), told(0, 60, 1.25)])).toEqual(new Map([[1, 0], [2, 1]]));
});

test("what the server did not tell of has no partner", () => {
  expect(matchNotes(of([note(1, 0, 60, 0), note(2, 0, 60, 4)]), [told(0, 60, 4)])).toEqual(new Map([[2, 0]]));
});

test("two equal notes at one place find one partner each", () => {
  const matched = matchNotes(of([note(1, 0, 60, 0), note(2, 0, 60, 0)]), [told(0, 60, 0), told(0, 60, 0)]);
  expect([...matched.values()].sort()).toEqual([0, 1]);
});

test("the nearer note has the partner", () => {
  expect(matchNotes(of([note(1, 0, 60, 0.9), note(2, 0, 60, 1)]), [told(0, 60, 1)])).toEqual(new Map([[2, 0]]));
});

test("tracks that are numbered differently are told apart by their instruments", () => {
  const notes = [note(1, 0, 60, 0), note(2, 1, 60, 0)];
  expect(matchNotes(of(notes, [40, 42]), [told(0, 60, 0, 42), told(1, 60, 0, 40)])).toEqual(new Map([[1, 1], [2, 0]]));
});

test("a track whose notes were all erased has no number at the server: those after it are still told apart", () => {
  const notes = [note(1, 1, 60, 0), note(2, 2, 60, 0)];
  expect(matchNotes(of(notes, [40, 40, 40]), [told(0, 60, 0, 40), told(1, 60, 0, 40)])).toEqual(new Map([[1, 0], [2, 1]]));
});

test("another instrument at the same place is another note", () => {
  expect(matchNotes(of([note(1, 0, 60, 0)], [40]), [told(0, 60, 0, 42)]).size).toBe(0);
});

test("10,000 notes of one pitch are matched", () => {
  const notes = Array.from({ length: 10_000 }, (_, i) => note(i, 0, 60, i / 4));
  const matched = matchNotes(of(notes), notes.map((one) => told(0, 60, one.onsetBeats)));
  expect(matched.size).toBe(10_000);
  expect([...matched].every(([id, index]) => id === index)).toBe(true);
});

test("the other way", () => {
  expect(idsByIndex(new Map([[7, 0], [9, 2]]))).toEqual(new Map([[0, 7], [2, 9]]));
});
