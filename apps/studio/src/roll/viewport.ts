import type { Note } from "../music/piece";
import type { Rows } from "./rows";

/** What part of the music the canvas shows. Lengths are CSS pixels; the grid lies right of the keys and below the ruler. */
export interface Viewport {
  readonly width: number;
  readonly height: number;
  readonly keysWidth: number;
  readonly rulerHeight: number;
  /** What stands at the left edge of the grid. */
  readonly scrollBeats: number;
  /** What stands at its top. */
  readonly scrollRows: number;
  readonly beatPx: number;
  readonly rowPx: number;
}

/** How much there is to scroll through. */
export interface Extent {
  readonly beats: number;
  readonly rows: number;
}

export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export const MAX_BEAT_PX = 400;
export const MIN_ROW_PX = 5;
export const MAX_ROW_PX = 32;
/** A lower roll is there for the shape of the music; its notes are read elsewhere. */
const LOW_GRID_PX = 200;
/** A shorter bar could not be seen or hit. */
export const MIN_NOTE_PX = 3;

/** Room before the first beat, so that what begins there is seen whole. */
export const LEAD_PX = 8;

export const gridWidth = (view: Viewport) => Math.max(1, view.width - view.keysWidth);
export const gridHeight = (view: Viewport) => Math.max(1, view.height - view.rulerHeight);
export const xOf = (view: Viewport, beats: number) => view.keysWidth + (beats - view.scrollBeats) * view.beatPx;
export const beatsAt = (view: Viewport, x: number) => view.scrollBeats + (x - view.keysWidth) / view.beatPx;
export const yOf = (view: Viewport, row: number) => view.rulerHeight + (row - view.scrollRows) * view.rowPx;
export const rowAt = (view: Viewport, y: number) => Math.floor(view.scrollRows + (y - view.rulerHeight) / view.rowPx);
export const lastBeats = (view: Viewport) => beatsAt(view, view.width);

export function rectOf(view: Viewport, rows: Rows, note: Pick<Note, "pitch" | "onsetBeats" | "durationBeats">): Rect {
  const width = Math.max(MIN_NOTE_PX, note.durationBeats * view.beatPx - 1);
  return { x: xOf(view, note.onsetBeats), y: yOf(view, rows.rowOf(note.pitch)) + 0.5, width, height: view.rowPx - 1 };
}

export const contains = (rect: Rect, x: number, y: number) =>
  x >= rect.x && x <= rect.x + rect.width && y >= rect.y && y <= rect.y + rect.height;

export const overlaps = (a: Rect, b: Rect) =>
  a.x <= b.x + b.width && b.x <= a.x + a.width && a.y <= b.y + b.height && b.y <= a.y + a.height;

const within = (value: number, low: number, high: number) => Math.max(low, Math.min(Math.max(low, high), value));

/** The whole piece in the width is the furthest out; scrolling ends a quarter of the width behind the last bar. */
export function clamped(view: Viewport, extent: Extent): Viewport {
  const least = Math.min(40, Math.max(1, gridWidth(view) - 2 * LEAD_PX) / Math.max(1, extent.beats));
  const beatPx = within(view.beatPx, least, MAX_BEAT_PX);
  const rowPx = within(view.rowPx, MIN_ROW_PX, MAX_ROW_PX);
  const shown = gridWidth(view) / beatPx;
  const lead = LEAD_PX / beatPx;
  const overscroll = shown >= extent.beats ? lead : shown / 4;
  return {
    ...view, beatPx, rowPx,
    scrollBeats: within(view.scrollBeats, -lead, extent.beats + overscroll - shown),
    scrollRows: within(view.scrollRows, 0, extent.rows - gridHeight(view) / rowPx),
  };
}

/** What stands at `x` stays there. */
export function zoomedBeats(view: Viewport, extent: Extent, factor: number, x: number): Viewport {
  const fixed = beatsAt(view, x);
  const scaled = clamped({ ...view, beatPx: view.beatPx * factor }, extent);
  return clamped({ ...scaled, scrollBeats: fixed - (x - view.keysWidth) / scaled.beatPx }, extent);
}

/** What stands at `y` stays there. */
export function zoomedRows(view: Viewport, extent: Extent, factor: number, y: number): Viewport {
  const fixed = view.scrollRows + (y - view.rulerHeight) / view.rowPx;
  const scaled = clamped({ ...view, rowPx: view.rowPx * factor }, extent);
  return clamped({ ...scaled, scrollRows: fixed - (y - view.rulerHeight) / scaled.rowPx }, extent);
}

export function scrolled(view: Viewport, extent: Extent, byX: number, byY: number): Viewport {
  return clamped({ ...view, scrollBeats: view.scrollBeats + byX / view.beatPx, scrollRows: view.scrollRows + byY / view.rowPx }, extent);
}

/** Rows so high that all that sound are seen, while they can be read; in the middle of the height. */
export function withRowsFitted(view: Viewport, extent: Extent, sounding: readonly [number, number]): Viewport {
  const [top, bottom] = sounding;
  const least = gridHeight(view) < LOW_GRID_PX ? MIN_ROW_PX : 7;
  const rowPx = within(gridHeight(view) / (bottom - top + 3), least, 22);
  return clamped({ ...view, rowPx, scrollRows: (top + bottom + 1) / 2 - gridHeight(view) / rowPx / 2 }, extent);
}

/** Where to scroll to so that the playhead is seen; null if it is well seen where it is. */
export function followed(view: Viewport, positionBeats: number): number | null {
  const x = xOf(view, positionBeats) - view.keysWidth;
  if (x >= -1 && x <= gridWidth(view) * 0.9) return null;
  return positionBeats - (gridWidth(view) * 0.08) / view.beatPx;
}

/** Scrolled just so far that the rectangle is seen. */
export function revealed(view: Viewport, extent: Extent, rect: Rect): Viewport {
  const margin = 24;
  const right = rect.x + Math.min(rect.width, gridWidth(view) / 2);
  const byX = rect.x < view.keysWidth + margin ? rect.x - view.keysWidth - margin : Math.max(0, right + margin - view.width);
  const byY = rect.y < view.rulerHeight ? rect.y - view.rulerHeight - margin : Math.max(0, rect.y + rect.height - view.height + margin);
  return byX === 0 && byY === 0 ? view : scrolled(view, extent, byX, byY);
}
