import { serverTracks } from "../music/midi";
import type { Piece } from "../music/piece";

/** What names a note in the server's answers. */
export interface ToldNote {
  readonly track: number;
  /** General MIDI's, -1 for drums. */
  readonly program: number;
  readonly pitch: number;
  readonly onset_beats: number;
}

// A file's grid may move an onset a little; the next note of the same pitch is further away than that.
const NEAR_BEATS = 0.13;

/**
 * For each note of the piece that the server told of: its index there. By track, instrument and pitch, the nearest
 * onsets first, each note once: two equal notes at one place find one partner each. What is left is tried again by
 * instrument and pitch alone, since the two readers of a file may number its tracks differently.
 */
export function matchNotes(piece: Pick<Piece, "notes" | "tracks">, told: readonly ToldNote[]): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  const numbers = serverTracks(piece);
  let mine = piece.notes.map((note) => ({ ...note, track: (numbers[note.track] ?? 0) - 1, program: piece.tracks[note.track]?.program ?? 0 }));
  let theirs = told.map((note, index) => ({ ...note, index }));
  for (const key of [byTrack, byProgram]) {
    const places = groups(theirs, key);
    for (const [name, notes] of groups(mine, key)) {
      for (const [id, index] of nearestPairs(notes, places.get(name) ?? [])) found.set(id, index);
    }
    const indexes = new Set(found.values());
    mine = mine.filter(({ id }) => !found.has(id));
    theirs = theirs.filter(({ index }) => !indexes.has(index));
  }
  return found;
}

/** The other way: the id of the piece's note for each index that has one. */
export function idsByIndex(matched: ReadonlyMap<number, number>): ReadonlyMap<number, number> {
  return new Map([...matched].map(([id, index]) => [index, id]));
}

interface Keyed {
  readonly track: number;
  readonly program: number;
  readonly pitch: number;
}

const byProgram = ({ program, pitch }: Keyed) => (program + 1) * 128 + pitch;
const byTrack = (note: Keyed) => note.track * 2 ** 15 + byProgram(note);

function groups<T extends Keyed>(notes: readonly T[], key: (note: T) => number): Map<number, T[]> {
  const found = new Map<number, T[]>();
  for (const note of notes) {
    const group = found.get(key(note));
    if (group) group.push(note);
    else found.set(key(note), [note]);
  }
  return found;
}

/** (id, index) of notes of one pitch, each with the nearest that is left. */
function nearestPairs(
  mine: readonly { readonly id: number; readonly onsetBeats: number }[],
  theirs: readonly { readonly index: number; readonly onset_beats: number }[],
): [number, number][] {
  const pairs: { id: number; index: number; apart: number }[] = [];
  const inTime = [...theirs].sort((a, b) => a.onset_beats - b.onset_beats);
  let from = 0;
  for (const { id, onsetBeats } of [...mine].sort((a, b) => a.onsetBeats - b.onsetBeats)) {
    while ((inTime[from]?.onset_beats ?? Infinity) < onsetBeats - NEAR_BEATS) from += 1;
    for (let place = from; place < inTime.length; place += 1) {
      const other = inTime[place];
      if (other === undefined || other.onset_beats > onsetBeats + NEAR_BEATS) break;
      pairs.push({ id, index: other.index, apart: Math.abs(other.onset_beats - onsetBeats) });
    }
  }
  return eachOnce(pairs.sort((a, b) => a.apart - b.apart));
}

function eachOnce(pairs: readonly { id: number; index: number }[]): [number, number][] {
  const ids = new Set<number>();
  const indexes = new Set<number>();
  const kept: [number, number][] = [];
  for (const { id, index } of pairs) {
    if (ids.has(id) || indexes.has(index)) continue;
    ids.add(id);
    indexes.add(index);
    kept.push([id, index]);
  }
  return kept;
}
