import type { Note } from "../music/piece";

/** A sixteenth. */
export const GRID_BEATS = 0.25;

export const snapped = (beats: number) => Math.round(beats / GRID_BEATS) * GRID_BEATS;
/** The begin of the grid's cell that holds the time. */
export const cellOf = (beats: number) => Math.max(0, Math.floor(beats / GRID_BEATS + 1e-9) * GRID_BEATS);

/** A move that leaves no note before the begin or outside of MIDI's pitches. Notes off the grid keep their distance to it. */
export function allowedMove(notes: readonly Note[], byBeats: number, bySemitones: number): { byBeats: number; bySemitones: number } {
  if (notes.length === 0) return { byBeats: 0, bySemitones: 0 };
  const first = Math.min(...notes.map((note) => note.onsetBeats));
  const lowest = Math.min(...notes.map((note) => note.pitch));
  const highest = Math.max(...notes.map((note) => note.pitch));
  const most = Math.floor(first / GRID_BEATS + 1e-9) * GRID_BEATS;
  return { byBeats: Math.max(snapped(byBeats), -most) + 0, bySemitones: Math.max(-lowest, Math.min(127 - highest, Math.round(bySemitones))) + 0 };
}

/** A change of length that leaves each note at least a sixteenth, or as short as it was. */
export function allowedResize(notes: readonly Note[], byBeats: number): number {
  if (notes.length === 0) return 0;
  const shortest = Math.min(...notes.map((note) => note.durationBeats));
  const most = Math.max(0, Math.floor((shortest - GRID_BEATS) / GRID_BEATS + 1e-9) * GRID_BEATS);
  return Math.max(snapped(byBeats), -most) + 0;
}

/** Of the note that is drawn from one place to another: it begins in the first cell and ends with the last. */
export function drawnSpan(fromBeats: number, toBeats: number): { onsetBeats: number; durationBeats: number } {
  const onsetBeats = cellOf(fromBeats);
  return { onsetBeats, durationBeats: Math.max(GRID_BEATS, cellOf(toBeats) + GRID_BEATS - onsetBeats) };
}
