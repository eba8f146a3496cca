import { endBeats, type Note } from "../music/piece";
import { type BarLine, barLines, spanOf } from "../music/bars";
import { NoteIndex } from "./note-index";
import type { RollProps } from "./roll";
import { type Rows, rowsOf } from "./rows";
import type { Extent } from "./viewport";

/** What of a piece is worked out once, until it changes. */
export interface Score {
  readonly index: NoteIndex;
  readonly rows: Rows;
  readonly bars: readonly BarLine[];
  readonly extent: Extent;
  readonly endBeats: number;
  /** The first and the last row that sound. */
  readonly sounding: readonly [number, number];
}

/** What is drawn. */
export type Scene = Score &
  Pick<RollProps, "piece" | "expectedBeats" | "selection" | "chosen" | "heat" | "attention" | "newBeats" | "playing" | "tool" | "drawTrack"> & {
    readonly faint: ReadonlySet<number>;
  };

/** An empty roll has bars too, to be drawn into. */
const LEAST_BEATS = 32;

export function scoreOf(piece: RollProps["piece"], expectedBeats: number): Score {
  const end = endBeats(piece);
  const bars = barLines(piece.metres, Math.max(LEAST_BEATS, end, expectedBeats));
  const rows = rowsOf(piece);
  const last = bars.at(-1);
  return {
    index: new NoteIndex(piece.notes),
    rows,
    bars,
    extent: { beats: last ? last.onsetBeats + last.beats : LEAST_BEATS, rows: rows.pitches.length },
    endBeats: end,
    sounding: soundingRows(piece.notes, rows),
  };
}

function soundingRows(notes: readonly Note[], rows: Rows): readonly [number, number] {
  let top = rows.pitches.length;
  let bottom = -1;
  for (const note of notes) {
    const row = rows.rowOf(note.pitch);
    top = Math.min(top, row);
    bottom = Math.max(bottom, row);
  }
  return bottom < 0 ? [0, rows.pitches.length - 1] : [top, bottom];
}

/** Whether a note is in the chosen bars and tracks: it begins there. */
export function isSelected(scene: Scene, note: Note): boolean {
  const { selection } = scene;
  if (!selection || (selection.tracks && !selection.tracks.includes(note.track))) return false;
  const span = spanOf(scene.bars, selection.firstBar, selection.lastBar);
  return span !== null && note.onsetBeats >= span[0] && note.onsetBeats < span[1];
}
