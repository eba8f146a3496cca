import type { Note } from "../music/piece";
import { barOf } from "../music/bars";
import { noteAt, notesWithin } from "./hit";
import type { RollProps } from "./roll";
import { allowedMove, allowedResize, cellOf, drawnSpan } from "./snap";
import type { Surface } from "./surface";
import { beatsAt, type Rect, rowAt } from "./viewport";

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Something that is going on while a pointer is down. */
export interface Drag {
  move(at: Point): void;
  end(): void;
  cancel(): void;
}

export interface Stage {
  readonly surface: Surface;
  /** The newest ones. */
  readonly props: () => RollProps;
}

/** Less than this is a click. */
export const CLICK_PX = 4;

const isClick = (from: Point, to: Point) => Math.hypot(to.x - from.x, to.y - from.y) < CLICK_PX;

/** On the ruler: a click seeks, a drag chooses bars, with Shift the chosen bars reach to here. */
export function barsDrag({ surface, props }: Stage, start: Point, extend: boolean): Drag {
  const before = props().selection;
  const barAt = (x: number) => barOf(surface.scene.bars, beatsAt(surface.view, x)).number;
  const startBar = barAt(start.x);
  const anchor = extend && before ? (startBar < before.firstBar ? before.lastBar : before.firstBar) : startBar;
  let moved = extend;
  const select = (bar: number) =>
    props().onSelection({ firstBar: Math.min(anchor, bar), lastBar: Math.max(anchor, bar), tracks: before?.tracks ?? null });
  if (extend) select(startBar);
  return {
    move: (at) => {
      moved ||= !isClick(start, at);
      if (!moved) return;
      if (at.x > surface.view.width - 16) surface.scrollBy(14, 0);
      if (at.x < surface.view.keysWidth + 8) surface.scrollBy(-14, 0);
      select(barAt(at.x));
    },
    end: () => {
      if (!moved) props().onSeek(Math.max(0, beatsAt(surface.view, start.x)));
    },
    cancel: () => props().onSelection(before),
  };
}

/** On empty ground: a rubber band; `add` keeps what was chosen. A click chooses nothing. */
export function bandDrag({ surface, props }: Stage, start: Point, add: boolean): Drag {
  const before = props().chosen;
  let band: Rect | null = null;
  return {
    move: (at) => {
      if (!band && isClick(start, at)) return;
      band = { x: Math.min(start.x, at.x), y: Math.min(start.y, at.y), width: Math.abs(at.x - start.x), height: Math.abs(at.y - start.y) };
      surface.over({ band });
      const { index, rows, faint } = surface.scene;
      const found = notesWithin(index, surface.view, rows, faint, band).map((note) => note.id);
      props().onChosen(new Set([...(add ? before : []), ...found]));
    },
    end: () => {
      surface.over({ band: null });
      if (!band && !add && before.size > 0) props().onChosen(new Set());
    },
    cancel: () => {
      surface.over({ band: null });
      props().onChosen(before);
    },
  };
}

const chosenNotes = (surface: Surface, ids: ReadonlySet<number>) =>
  [...ids].flatMap((id) => {
    const note = surface.scene.index.get(id);
    return note ? [note] : [];
  });

/** The chosen notes, among them the one in hand. */
export function moveDrag({ surface, props }: Stage, start: Point, grip: Note, ids: ReadonlySet<number>): Drag {
  const notes = chosenNotes(surface, ids);
  const startPitch = surface.scene.rows.pitchAt(rowAt(surface.view, start.y)) ?? grip.pitch;
  const startBeats = beatsAt(surface.view, start.x);
  let by = { byBeats: 0, bySemitones: 0 };
  let moved = false;
  const clear = () => {
    surface.hide(new Set());
    surface.over({ ghosts: [] });
  };
  return {
    move: (at) => {
      moved ||= !isClick(start, at);
      if (!moved) return;
      const pitch = surface.scene.rows.pitchAt(rowAt(surface.view, at.y)) ?? startPitch + by.bySemitones;
      const next = allowedMove(notes, beatsAt(surface.view, at.x) - startBeats, pitch - startPitch);
      if (next.bySemitones !== by.bySemitones) props().onSound?.(grip.pitch + next.bySemitones, grip.track);
      by = next;
      surface.hide(ids);
      surface.over({ hovered: null, ghosts: notes.map((note) => ({ ...note, onsetBeats: note.onsetBeats + by.byBeats, pitch: note.pitch + by.bySemitones })) });
    },
    end: () => {
      clear();
      if (by.byBeats !== 0 || by.bySemitones !== 0) props().onEdit({ kind: "move", notes: [...ids], ...by });
    },
    cancel: clear,
  };
}

export function resizeDrag({ surface, props }: Stage, start: Point, ids: ReadonlySet<number>): Drag {
  const notes = chosenNotes(surface, ids);
  let byBeats = 0;
  const clear = () => {
    surface.hide(new Set());
    surface.over({ ghosts: [] });
  };
  return {
    move: (at) => {
      byBeats = allowedResize(notes, (at.x - start.x) / surface.view.beatPx);
      surface.hide(ids);
      surface.over({ hovered: null, ghosts: notes.map((note) => ({ ...note, durationBeats: note.durationBeats + byBeats })) });
    },
    end: () => {
      clear();
      if (byBeats !== 0) props().onEdit({ kind: "resize", notes: [...ids], byBeats });
    },
    cancel: clear,
  };
}

/** A new note, from the cell where the pointer went down to the one where it goes up. */
export function drawDrag({ surface, props }: Stage, start: Point): Drag {
  const fromBeats = cellOf(beatsAt(surface.view, start.x));
  const pitch = surface.scene.rows.pitchAt(rowAt(surface.view, start.y));
  const { drawTrack: track } = props();
  let span = drawnSpan(fromBeats, fromBeats);
  const preview = () => {
    if (pitch !== null) surface.over({ ghosts: [{ id: -1, track, pitch, velocity: 100, ...span }] });
  };
  if (pitch !== null) props().onSound?.(pitch, track);
  preview();
  return {
    move: (at) => {
      span = drawnSpan(fromBeats, beatsAt(surface.view, at.x));
      preview();
    },
    end: () => {
      surface.over({ ghosts: [] });
      if (pitch !== null) props().onEdit({ kind: "add", track, pitch, ...span });
    },
    cancel: () => surface.over({ ghosts: [] }),
  };
}

/** Everything that is touched until the pointer goes up, as one edit. */
export function eraseDrag({ surface, props }: Stage, start: Point): Drag {
  const erased = new Set<number>();
  const touch = (at: Point) => {
    const { index, rows, faint } = surface.scene;
    const note = noteAt(index, surface.view, rows, faint, at.x, at.y);
    if (note && !faint.has(note.track)) erased.add(note.id);
    surface.hide(new Set(erased));
    surface.over({ hovered: null, erased: new Set(erased) });
  };
  const clear = () => {
    surface.hide(new Set());
    surface.over({ erased: new Set() });
  };
  touch(start);
  return {
    move: touch,
    end: () => {
      clear();
      if (erased.size > 0) props().onEdit({ kind: "delete", notes: [...erased] });
    },
    cancel: clear,
  };
}

/** The music follows the finger; `tapped` if it did not move. */
export function panDrag({ surface }: Stage, start: Point, tapped: () => void): Drag {
  let last = start;
  let moved = false;
  return {
    move: (at) => {
      moved ||= Math.hypot(at.x - start.x, at.y - start.y) > 8;
      if (!moved) return;
      surface.scrollBy(last.x - at.x, last.y - at.y);
      last = at;
    },
    end: () => {
      if (!moved) tapped();
    },
    cancel: () => undefined,
  };
}
