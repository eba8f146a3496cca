import { describe, expect, test } from "vitest";
import type { RollEdit } from "../roll/roll";
import { TEMPO_BPM, applyEdit, notesOf, transposed, withProgram, withTempo } from "./edits";
import { DRUMS } from "./piece";
import type { Piece } from "./piece";
import { pieceWith, randomPiece, seeded, whole } from "./testing";

/** What is wrong with a piece. */
function wrong(piece: Piece): string[] {
  const found: string[] = [];
  const sounding = new Map<number, [number, number][]>();
  if (new Set(piece.notes.map((note) => note.id)).size !== piece.notes.length) found.push("an id twice");
  for (const { id, track, pitch, onsetBeats, durationBeats } of piece.notes) {
    if (!Number.isInteger(pitch) || pitch < 0 || pitch > 127) found.push(`note ${id}: pitch ${pitch}`);
    if (!(onsetBeats >= 0) || !(durationBeats > 0)) found.push(`note ${id}: ${onsetBeats} for ${durationBeats}`);
    const others = sounding.get(track * 128 + pitch) ?? [];
    if (others.some(([begin, end]) => onsetBeats < end - 1e-6 && onsetBeats + durationBeats > begin + 1e-6)) found.push(`note ${id} over another`);
    sounding.set(track * 128 + pitch, [...others, [onsetBeats, onsetBeats + durationBeats]]);
  }
  return found;
}

function randomEdit(piece: Piece, random: () => number): RollEdit {
  const notes = piece.notes.filter(() => random() < 0.2).map((note) => note.id);
  const amount = () => (random() - 0.5) * 12;
  const edits: RollEdit[] = [
    { kind: "add", track: whole(random, 0, piece.tracks.length), pitch: whole(random, -5, 140), onsetBeats: amount(), durationBeats: amount() },
    { kind: "delete", notes },
    { kind: "move", notes, byBeats: amount(), bySemitones: whole(random, -90, 90) },
    { kind: "resize", notes, byBeats: amount() },
  ];
  return edits[Math.floor(random() * edits.length)] ?? { kind: "delete", notes };
}

test("whatever is done, the piece stays one that can be played, and the old one stays as it was", () => {
  for (let seed = 0; seed < 25; seed++) {
    const random = seeded(seed);
    let piece = randomPiece(seed);
    for (let step = 0; step < 12; step++) {
      const before = structuredClone(piece);
      const after = applyEdit(piece, randomEdit(piece, random));
      expect(piece).toEqual(before);
      expect(wrong(after), `seed ${seed}, step ${step}`).toEqual([]);
      piece = after;
    }
  }
});

describe("by hand", () => {
  const piece = pieceWith([[0, 60, 0, 2], [0, 60, 2, 2], [0, 64, 0, 4], [2, 36, 0, 1]]);
  const lengths = (of: Piece, track = 0) => of.notes.filter((note) => note.track === track).map((note) => [note.pitch, note.onsetBeats, note.durationBeats]);

  test("a drawn note cuts the one that sounds, and ends where the next begins", () => {
    const drawn = applyEdit(piece, { kind: "add", track: 0, pitch: 60, onsetBeats: 1, durationBeats: 3 });
    expect(lengths(drawn)).toEqual([[60, 0, 1], [60, 2, 2], [64, 0, 4], [60, 1, 1]]);
    expect(drawn.notes.at(-1)).toMatchObject({ id: 4, velocity: 90 });
  });

  test("a drawn note takes the place of one that begins with it", () => {
    const drawn = applyEdit(piece, { kind: "add", track: 0, pitch: 64, onsetBeats: 0, durationBeats: 1 });
    expect(lengths(drawn)).toEqual([[60, 0, 2], [60, 2, 2], [64, 0, 1]]);
  });

  test("what is moved keeps its shape at the edges", () => {
    const low = applyEdit(piece, { kind: "move", notes: [0, 2], byBeats: -3, bySemitones: -100 });
    expect(lengths(low)).toEqual([[0, 0, 2], [60, 2, 2], [4, 0, 4]]);
  });

  test("nothing done is the same piece; a track that is not there cannot be drawn into", () => {
    expect(applyEdit(piece, { kind: "delete", notes: [99] })).toBe(piece);
    expect(applyEdit(piece, { kind: "move", notes: [0], byBeats: -1, bySemitones: 0 })).toBe(piece);
    expect(applyEdit(piece, { kind: "add", track: 7, pitch: 60, onsetBeats: 0, durationBeats: 1 })).toBe(piece);
  });
});

describe("without the model", () => {
  test("drums stay when the rest is transposed, and back again is where it was", () => {
    const piece = pieceWith([[0, 60, 0, 1], [1, 40, 0, 1], [2, 36, 0, 1]]);
    expect(transposed(piece, 5).notes.map((note) => note.pitch)).toEqual([65, 45, 36]);
    expect(transposed(piece, 5, piece.notes.slice(1)).notes.map((note) => note.pitch)).toEqual([60, 45, 36]);
    expect(transposed(transposed(piece, 5), -5)).toEqual(piece);
    expect(transposed(piece, 100).notes.map((note) => note.pitch)).toEqual([127, 107, 36]);
    expect(transposed(pieceWith([[2, 36, 0, 1]]), 3).notes[0]?.pitch).toBe(36);
  });

  test("a tempo keeps the proportion of later ones, within limits", () => {
    const piece = { ...pieceWith([]), tempos: [{ onsetBeats: 0, bpm: 100 }, { onsetBeats: 4, bpm: 50 }] };
    expect(withTempo(piece, 120).tempos.map((tempo) => tempo.bpm)).toEqual([120, 60]);
    expect(withTempo(piece, 9999).tempos[0]?.bpm).toBe(TEMPO_BPM.most);
    expect(withTempo(piece, Number.NaN)).toBe(piece);
  });

  test("another instrument takes the name of the old one, but not a name that was given", () => {
    const piece = { ...pieceWith([]), tracks: [{ name: "Violin", program: 40 }, { name: "Melody", program: 40 }] };
    expect(withProgram(withProgram(piece, 0, 73), 1, DRUMS).tracks).toEqual([{ name: "Flute", program: 73 }, { name: "Melody", program: DRUMS }]);
  });

  test("a selection's notes begin in its bars and tracks", () => {
    const piece = pieceWith([[0, 60, 3.5, 4], [0, 62, 4, 1], [1, 40, 7.99, 1], [1, 41, 8, 1]]);
    expect(notesOf(piece, { firstBar: 2, lastBar: 2, tracks: null }).map((note) => note.pitch)).toEqual([62, 40]);
    expect(notesOf(piece, { firstBar: 1, lastBar: 9, tracks: [1] }).map((note) => note.pitch)).toEqual([40, 41]);
  });
});
