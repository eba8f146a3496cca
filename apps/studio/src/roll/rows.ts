import { DRUMS, type Piece } from "../music/piece";
import { drumName, pitchName } from "./names";

/** The rows of the roll, from the top. */
export interface Rows {
  /** Only drums: a lane for each instrument of the kit. */
  readonly lanes: boolean;
  readonly pitches: readonly number[];
  /** A pitch without a row gets the nearest one's. */
  rowOf(pitch: number): number;
  /** Null outside. */
  pitchAt(row: number): number | null;
  /** What is written on the key; empty where nothing is. */
  nameOf(row: number): string;
}

/** Lanes that a kit has even before it is played: bass drum, snare, closed and open hi-hat, crash, ride. */
const KIT = [36, 38, 42, 46, 49, 51];

export const onlyDrums = (piece: Piece) => piece.tracks.length > 0 && piece.tracks.every((track) => track.program === DRUMS);

export function rowsOf(piece: Piece): Rows {
  return onlyDrums(piece) ? laneRows(piece) : pitchRows(piece);
}

function laneRows(piece: Piece): Rows {
  const pitches = [...new Set([...KIT, ...piece.notes.map((note) => note.pitch)])].sort((a, b) => b - a);
  return madeOf(pitches, true, drumName);
}

/** Whole octaves with some room above and below, so that the rows seldom change while notes come in. */
function pitchRows(piece: Piece): Rows {
  let lowest = 60;
  let highest = 71;
  for (const note of piece.notes) {
    lowest = Math.min(lowest, note.pitch);
    highest = Math.max(highest, note.pitch);
  }
  const from = Math.max(0, Math.floor((lowest - 3) / 12) * 12);
  const to = Math.min(127, Math.ceil((highest + 4) / 12) * 12);
  const pitches = Array.from({ length: to - from + 1 }, (_, row) => to - row);
  return madeOf(pitches, false, (pitch) => (pitch % 12 === 0 ? pitchName(pitch) : ""));
}

function madeOf(pitches: readonly number[], lanes: boolean, name: (pitch: number) => string): Rows {
  const table = Array.from({ length: 128 }, (_, pitch) => nearestRow(pitches, pitch));
  return {
    lanes,
    pitches,
    rowOf: (pitch) => table[Math.max(0, Math.min(127, Math.round(pitch)))] ?? 0,
    pitchAt: (row) => pitches[row] ?? null,
    nameOf: (row) => {
      const pitch = pitches[row];
      return pitch === undefined ? "" : name(pitch);
    },
  };
}

function nearestRow(pitches: readonly number[], pitch: number): number {
  let best = 0;
  for (const [row, other] of pitches.entries()) {
    if (Math.abs(other - pitch) < Math.abs((pitches[best] ?? 0) - pitch)) best = row;
  }
  return best;
}
