/** Music as the page holds it. Times are in beats (quarter notes) from the begin of the piece. */

export const DRUMS = -1;

export interface Note {
  /** Unique within its piece, and kept by edits. */
  readonly id: number;
  /** The number of its track, from 0. */
  readonly track: number;
  readonly pitch: number;
  /** 1 to 127. */
  readonly velocity: number;
  readonly onsetBeats: number;
  readonly durationBeats: number;
}

export interface Track {
  readonly name: string;
  /** Of General MIDI, 0 to 127, or DRUMS. */
  readonly program: number;
}

export interface Tempo {
  readonly onsetBeats: number;
  /** Quarter notes a minute. */
  readonly bpm: number;
}

export interface Metre {
  readonly onsetBeats: number;
  readonly beatsPerBar: number;
  /** Such as 3/4. */
  readonly text: string;
}

/** Never changed in place: an edit makes a new one, so that undo is keeping the old one. */
export interface Piece {
  readonly notes: readonly Note[];
  readonly tracks: readonly Track[];
  /** The first of each begins at 0. */
  readonly tempos: readonly Tempo[];
  readonly metres: readonly Metre[];
}

/** Bars from 1, the last one included; tracks by number, null for all. */
export interface Selection {
  readonly firstBar: number;
  readonly lastBar: number;
  readonly tracks: readonly number[] | null;
}

/** The end of the last note. */
export function endBeats(piece: Piece): number {
  return piece.notes.reduce((end, note) => Math.max(end, note.onsetBeats + note.durationBeats), 0);
}
