import { describe, expect, it } from "vitest";
import { inDrawnOrder, NoteIndex } from "./note-index";
import { draws, someNotes } from "./testing";

const ids = (notes: readonly { id: number }[]) => notes.map((note) => note.id).sort((a, b) => a - b);

describe("NoteIndex", () => {
  it("finds what a filter over all notes finds, each once", () => {
    const draw = draws(3);
    for (let seed = 1; seed <= 20; seed++) {
      const notes = someNotes(300, seed);
      const index = new NoteIndex(notes);
      for (let round = 0; round < 50; round++) {
        const from = draw() * 80 - 10;
        const to = from + draw() * 20;
        const wanted = notes.filter((note) => note.onsetBeats < to && note.onsetBeats + note.durationBeats > from);
        expect(ids(index.between(from, to))).toEqual(ids(wanted));
      }
    }
  });

  it("gives them by onset", () => {
    const found = new NoteIndex(someNotes(300, 7)).between(20, 40).map((note) => note.onsetBeats);
    expect(found).toEqual([...found].sort((a, b) => a - b));
    expect(found.length).toBeGreaterThan(20);
  });

  it("finds a note by its id, and nothing in an empty piece", () => {
    const notes = someNotes(20, 1);
    expect(new NoteIndex(notes).get(13)).toBe(notes[13]);
    expect(new NoteIndex([]).between(0, 100)).toEqual([]);
    expect(new NoteIndex([]).get(0)).toBeUndefined();
  });

  it("holds as many entries near the view as sound there, with one note held through the whole piece", () => {
    const notes = [...someNotes(100, 2), { id: 1000, track: 0, pitch: 60, velocity: 90, onsetBeats: 0, durationBeats: 500 }];
    expect(new NoteIndex(notes).between(400, 401).map((note) => note.id)).toEqual([1000]);
  });
});

it("draws faint tracks below the others, and tracks as they are numbered", () => {
  const tracks = inDrawnOrder(someNotes(100, 4), new Set([2])).map((note) => note.track);
  const runs = tracks.filter((track, at) => track !== tracks[at - 1]);
  expect(runs).toEqual([2, 0, 1, 3]);
});
