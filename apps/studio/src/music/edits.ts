import type { RollEdit } from "../roll/roll";
import { DRUMS } from "./piece";
import type { Note, Piece, Selection } from "./piece";
import { instrumentName } from "./instruments";
import { spanOfBars } from "./bars";

/** The shortest note that can be drawn or dragged. */
export const SHORTEST_BEATS = 1 / 32;
export const TEMPO_BPM = { least: 20, most: 300 } as const;

const SAME = 1e-6;

/** The piece after what was done to its notes by hand; the same piece where that changes nothing. */
export function applyEdit(piece: Piece, edit: RollEdit): Piece {
  switch (edit.kind) {
    case "add":
      return added(piece, edit);
    case "delete":
      return deleted(piece, new Set(edit.notes));
    case "move":
      return moved(piece, new Set(edit.notes), edit.byBeats, edit.bySemitones);
    case "resize":
      return changed(piece, new Set(edit.notes), (note) => ({ ...note, durationBeats: Math.max(Math.min(SHORTEST_BEATS, note.durationBeats), note.durationBeats + edit.byBeats) }));
  }
}

/** All notes (or some) but those of drums moved by semitones, less where one would leave the keyboard. */
export function transposed(piece: Piece, semitones: number, notes: readonly Note[] = piece.notes): Piece {
  const melodic = notes.filter((note) => piece.tracks[note.track]?.program !== DRUMS);
  return moved(piece, new Set(melodic.map((note) => note.id)), 0, semitones);
}

/** The piece begins in this tempo; later tempos keep their proportion to the first. */
export function withTempo(piece: Piece, bpm: number): Piece {
  const wanted = Math.min(TEMPO_BPM.most, Math.max(TEMPO_BPM.least, bpm));
  const first = piece.tempos[0]?.bpm;
  if (!Number.isFinite(wanted) || wanted === first) return piece;
  const tempos = piece.tempos.map((tempo) => ({ ...tempo, bpm: first ? (tempo.bpm / first) * wanted : wanted }));
  return { ...piece, tempos: tempos.length ? tempos : [{ onsetBeats: 0, bpm: wanted }] };
}

/** A track played by another instrument, named after it if it was named after the old one. */
export function withProgram(piece: Piece, track: number, program: number): Piece {
  const old = piece.tracks[track];
  if (!old || old.program === program) return piece;
  const name = old.name === instrumentName(old.program) ? instrumentName(program) : old.name;
  return { ...piece, tracks: piece.tracks.map((one, index) => (index === track ? { ...one, name, program } : one)) };
}

/** The notes that begin within the selected bars and tracks. */
export function notesOf(piece: Piece, selection: Selection): Note[] {
  const [begin, end] = spanOfBars(piece, selection.firstBar, selection.lastBar);
  return piece.notes.filter(
    (note) => note.onsetBeats >= begin - SAME && note.onsetBeats < end - SAME && (selection.tracks?.includes(note.track) ?? true),
  );
}

function added(piece: Piece, { track, pitch, onsetBeats, durationBeats }: Extract<RollEdit, { kind: "add" }>): Piece {
  if (!piece.tracks[track]) return piece;
  const id = piece.notes.reduce((most, note) => Math.max(most, note.id), -1) + 1;
  const note: Note = {
    id,
    track,
    pitch: Math.min(127, Math.max(0, Math.round(pitch))),
    velocity: velocityNear(piece, track, onsetBeats),
    onsetBeats: Math.max(0, onsetBeats),
    durationBeats: Math.max(SHORTEST_BEATS, durationBeats),
  };
  return { ...piece, notes: withoutOverlaps([...piece.notes, note], new Set([id])) };
}

/** As loud as the track's nearest note, so that a drawn one does not stand out. */
function velocityNear(piece: Piece, track: number, beats: number): number {
  const distance = (note: Note) => Math.abs(note.onsetBeats - beats);
  const near = piece.notes.filter((note) => note.track === track).reduce<Note | null>((best, note) => (best && distance(best) <= distance(note) ? best : note), null);
  return near?.velocity ?? 80;
}

function deleted(piece: Piece, ids: ReadonlySet<number>): Piece {
  const notes = piece.notes.filter((note) => !ids.has(note.id));
  return notes.length === piece.notes.length ? piece : { ...piece, notes };
}

/** All by the same amount, so that what is moved keeps its shape: less where one of them would leave the roll. */
function moved(piece: Piece, ids: ReadonlySet<number>, byBeats: number, bySemitones: number): Piece {
  const own = piece.notes.filter((note) => ids.has(note.id));
  const first = own.reduce((least, note) => Math.min(least, note.onsetBeats), Infinity);
  const lowest = own.reduce((least, note) => Math.min(least, note.pitch), Infinity);
  const highest = own.reduce((most, note) => Math.max(most, note.pitch), -Infinity);
  const beats = Math.max(byBeats, -first);
  const semitones = Math.min(127 - highest, Math.max(-lowest, Math.round(bySemitones)));
  if (beats === 0 && semitones === 0) return piece;
  return changed(piece, ids, (note) => ({ ...note, onsetBeats: note.onsetBeats + beats, pitch: note.pitch + semitones }));
}

function changed(piece: Piece, ids: ReadonlySet<number>, change: (note: Note) => Note): Piece {
  if (!piece.notes.some((note) => ids.has(note.id))) return piece;
  return { ...piece, notes: withoutOverlaps(piece.notes.map((note) => (ids.has(note.id) ? change(note) : note)), ids) };
}

/**
 * One key of a track cannot be struck twice at once: where a changed note meets another of its pitch, the later one ends
 * the former, and a changed note takes the place of one that begins with it.
 */
function withoutOverlaps(notes: readonly Note[], changed: ReadonlySet<number>): Note[] {
  const key = (note: Note) => note.track * 128 + note.pitch;
  const touched = new Set(notes.filter((note) => changed.has(note.id)).map(key));
  const kept = new Map(notes.map((note) => [note.id, note]));
  for (const one of touched) {
    const same = notes.filter((note) => key(note) === one);
    same.sort((a, b) => (Math.abs(a.onsetBeats - b.onsetBeats) > SAME ? a.onsetBeats - b.onsetBeats : Number(changed.has(a.id)) - Number(changed.has(b.id))));
    same.forEach((note, index) => {
      const room = (same[index + 1]?.onsetBeats ?? Infinity) - note.onsetBeats;
      if (room <= SAME) kept.delete(note.id);
      else if (room < note.durationBeats) kept.set(note.id, { ...note, durationBeats: room });
    });
  }
  return [...kept.values()];
}

/** The tempo in which a piece begins. */
export function tempoBpm(piece: Piece): number {
  return piece.tempos[0]?.bpm ?? 120;
}
