import type { Note } from "../music/piece";
import { inDrawnOrder, type NoteIndex } from "./note-index";
import type { Rows } from "./rows";
import { beatsAt, contains, MIN_NOTE_PX, overlaps, type Rect, rectOf, type Viewport } from "./viewport";

const EDGE_PX = 7;

export type Zone = "ruler" | "keys" | "grid";

export function zoneAt(view: Viewport, x: number, y: number): Zone {
  if (y < view.rulerHeight) return "ruler";
  return x < view.keysWidth ? "keys" : "grid";
}

/** Short notes are drawn longer than they sound, so they reach into the view from before it. */
function drawnBetween(index: NoteIndex, view: Viewport, left: number, right: number): Note[] {
  return index.between(beatsAt(view, left - MIN_NOTE_PX), beatsAt(view, right) + 1e-6);
}

/** The last drawn note that contains the point. */
export function noteAt(index: NoteIndex, view: Viewport, rows: Rows, faint: ReadonlySet<number>, x: number, y: number): Note | null {
  const here = drawnBetween(index, view, x, x).filter((note) => contains(rectOf(view, rows, note), x, y));
  return inDrawnOrder(here, faint).at(-1) ?? null;
}

/** Whether the point takes the note's end in hand rather than the note: short notes keep half of their length for being moved. */
export function onRightEdge(view: Viewport, rows: Rows, note: Note, x: number): boolean {
  const rect = rectOf(view, rows, note);
  return rect.width >= 8 && x > rect.x + rect.width - Math.min(EDGE_PX, rect.width / 2);
}

/** The notes that a rubber band touches; faint tracks are not meant. */
export function notesWithin(index: NoteIndex, view: Viewport, rows: Rows, faint: ReadonlySet<number>, band: Rect): Note[] {
  return drawnBetween(index, view, band.x, band.x + band.width).filter((note) => !faint.has(note.track) && overlaps(rectOf(view, rows, note), band));
}
