import type { Note, Piece } from "../music/piece";

/** Numbers from 0 to 1 that only depend on the seed. */
export function draws(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Notes as they come: on and off the grid, chords, some far longer than a bucket of the index. */
export function someNotes(count: number, seed: number): Note[] {
  const draw = draws(seed);
  return Array.from({ length: count }, (_, id) => ({
    id,
    track: Math.floor(draw() * 4),
    pitch: 40 + Math.floor(draw() * 40),
    velocity: 1 + Math.floor(draw() * 127),
    onsetBeats: draw() < 0.5 ? Math.floor(draw() * 240) / 4 : draw() * 60,
    durationBeats: draw() < 0.1 ? 30 * draw() + 0.1 : 0.05 + draw() * 2,
  }));
}

export function pieceOf(notes: readonly Note[], program = 0): Piece {
  return {
    notes,
    tracks: [0, 1, 2, 3].map((track) => ({ name: `Track ${track}`, program })),
    tempos: [{ onsetBeats: 0, bpm: 120 }],
    metres: [{ onsetBeats: 0, beatsPerBar: 4, text: "4/4" }],
  };
}
