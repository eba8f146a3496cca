import { DRUMS } from "./piece";
import type { Note, Piece } from "./piece";
import { TICKS_PER_BEAT } from "./midi";

/** Numbers from 0 to below 1, the same ones for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Whole numbers from 0 up to, not including, what is asked for. */
export function numbersBelow(seed: number): (below: number) => number {
  const random = seeded(seed);
  return (below) => Math.floor(random() * below);
}

export function whole(random: () => number, least: number, most: number): number {
  return least + Math.floor(random() * (most - least + 1));
}

export function pick<T>(random: () => number, from: readonly [T, ...T[]]): T {
  return from[Math.floor(random() * from.length)] ?? from[0];
}

/** On the resolution of files; no key is struck while it sounds, and many notes begin where one of their pitch ends. */
export function randomPiece(seed: number): Piece {
  const random = seeded(seed);
  const tracks = Array.from({ length: whole(random, 1, 18) }, (_, index) => ({
    name: pick(random, ["", "Flöte", "bass", `Part ${index}`, "日本"]),
    program: random() < 0.15 ? DRUMS : whole(random, 0, 127),
  }));
  const notes: Omit<Note, "id">[] = [];
  tracks.forEach((_, track) => {
    for (let voice = 0; voice < 3; voice++) {
      let tick = whole(random, 0, 2000);
      for (let count = whole(random, 1, 8); count > 0; count--) {
        const length = whole(random, 1, 3000);
        notes.push({ track, pitch: 40 * voice + whole(random, 0, 3), velocity: whole(random, 1, 127), onsetBeats: tick / TICKS_PER_BEAT, durationBeats: length / TICKS_PER_BEAT });
        tick += length + (random() < 0.5 ? 0 : whole(random, 0, 500));
      }
    }
  });
  notes.sort((one, other) => one.onsetBeats - other.onsetBeats || one.track - other.track || one.pitch - other.pitch);
  return {
    notes: notes.map((note, id) => ({ id, ...note })),
    tracks,
    tempos: [0, 3.5, 8].slice(0, whole(random, 1, 3)).map((onsetBeats) => ({ onsetBeats, bpm: whole(random, 30, 240) })),
    metres: [0, 8, 15].slice(0, whole(random, 1, 3)).map((onsetBeats) => {
      const [text, beatsPerBar] = pick(random, [["4/4", 4], ["3/4", 3], ["7/8", 3.5], ["6/8", 3], ["2/2", 4]] as [[string, number], ...[string, number][]]);
      return { onsetBeats, beatsPerBar, text };
    }),
  };
}

/** A piece of one metre, its notes as [track, pitch, onset, duration]. */
export function pieceWith(notes: readonly (readonly [number, number, number, number])[], programs: readonly number[] = [0, 32, DRUMS]): Piece {
  return {
    notes: notes.map(([track, pitch, onsetBeats, durationBeats], id) => ({ id, track, pitch, velocity: 90, onsetBeats, durationBeats })),
    tracks: programs.map((program) => ({ name: "", program })),
    tempos: [{ onsetBeats: 0, bpm: 100 }],
    metres: [{ onsetBeats: 0, beatsPerBar: 4, text: "4/4" }],
  };
}
