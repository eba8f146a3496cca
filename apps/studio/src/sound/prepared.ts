import { type Note, type Piece, endBeats } from "../music/piece";
import { TempoMap } from "./tempo";

/** A piece made ready to be played: in order of time, each note once. */
export interface Prepared {
  readonly notes: readonly Note[];
  readonly tempo: TempoMap;
  readonly endBeats: number;
  readonly lastOnsetBeats: number;
  readonly channels: number;
  /** The note of this identity, if it is there. */
  readonly find: (key: string) => Note | undefined;
}

/** Where and when a note sounds. Its number is not enough: another take has the same numbers. */
export function identity(note: Note): string {
  return `${String(note.track)}/${String(note.pitch)}/${String(note.onsetBeats)}`;
}

export function prepare(piece: Piece): Prepared {
  const longest = new Map<string, Note>();
  for (const note of piece.notes) {
    if (note.durationBeats <= 0) continue;
    const key = identity(note);
    const other = longest.get(key);
    if (!other || other.durationBeats < note.durationBeats) longest.set(key, note);
  }
  const notes = [...longest.values()].sort((a, b) => a.onsetBeats - b.onsetBeats);
  return {
    notes,
    tempo: new TempoMap(piece.tempos),
    endBeats: endBeats(piece),
    lastOnsetBeats: notes.at(-1)?.onsetBeats ?? 0,
    channels: piece.tracks.length,
    find: (key) => longest.get(key),
  };
}
