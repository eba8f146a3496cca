import { describe, expect, it } from "vitest";
import type { Note } from "../music/piece";
import { noteAt, notesWithin, onRightEdge, zoneAt } from "./hit";
import { inDrawnOrder, NoteIndex } from "./note-index";
import { rowsOf } from "./rows";
import { draws, pieceOf, someNotes } from "./testing";
import { rectOf, type Viewport } from "./viewport";

const VIEW: Viewport = { width: 900, height: 420, keysWidth: 40, rulerHeight: 20, scrollBeats: 8, scrollRows: 3, beatPx: 25, rowPx: 9 };

const boxOf = (note: Note, top: number) => {
  const x = 40 + (note.onsetBeats - 8) * 25;
  const y = 20 + (top - note.pitch - 3) * 9;
  return { left: x, right: x + Math.max(3, note.durationBeats * 25 - 1), top: y + 0.5, bottom: y + 8.5 };
};

describe("hit testing", () => {
  const notes = someNotes(400, 11);
  const rows = rowsOf(pieceOf(notes));
  const top = rows.pitches[0] ?? 0;
  const index = new NoteIndex(notes);

  it("gives the last drawn note that contains the point", () => {
    const draw = draws(5);
    const faint = new Set([1]);
    let hits = 0;
    for (let round = 0; round < 800; round++) {
      const [x, y] = [40 + draw() * 860, 20 + draw() * 400];
      const wanted = inDrawnOrder(index.sorted, faint).findLast((note) => {
        const box = boxOf(note, top);
        return x >= box.left && x <= box.right && y >= box.top && y <= box.bottom;
      });
      expect(noteAt(index, VIEW, rows, faint, x, y)).toBe(wanted ?? null);
      if (wanted) hits++;
    }
    expect(hits).toBeGreaterThan(60);
  });

  it("gives every note that a rubber band touches, but not of faint tracks", () => {
    const band = { x: 200, y: 100, width: 300, height: 140 };
    const wanted = notes.filter((note) => {
      const box = boxOf(note, top);
      return note.track !== 3 && box.left <= 500 && box.right >= 200 && box.top <= 240 && box.bottom >= 100;
    });
    const found = notesWithin(index, VIEW, rows, new Set([3]), band);
    expect(new Set(found.map((note) => note.id))).toEqual(new Set(wanted.map((note) => note.id)));
    expect(found.length).toBeGreaterThan(5);
  });

  it("takes a note by its end only there, and leaves half of a short one", () => {
    const long: Note = { id: 1, track: 0, pitch: 60, velocity: 90, onsetBeats: 10, durationBeats: 2 };
    const { x, width } = rectOf(VIEW, rows, long);
    expect([x + 2, x + width - 12, x + width - 2].map((at) => onRightEdge(VIEW, rows, long, at))).toEqual([false, false, true]);
    const short = { ...long, durationBeats: 0.4 };
    expect([1, 6].map((by) => onRightEdge(VIEW, rows, short, rectOf(VIEW, rows, short).x + by))).toEqual([false, true]);
  });

  it("knows the ruler, the keys and the grid", () => {
    expect([zoneAt(VIEW, 100, 5), zoneAt(VIEW, 10, 5), zoneAt(VIEW, 10, 100), zoneAt(VIEW, 100, 100)]).toEqual(["ruler", "ruler", "keys", "grid"]);
  });
});
