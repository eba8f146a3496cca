import { describe, expect, it } from "vitest";
import { DRUMS } from "../music/piece";
import { barLines } from "../music/bars";
import { drumName, lengthName, noteSpoken, pitchName, pitchSpoken } from "./names";
import { rowsOf } from "./rows";
import { pieceOf, someNotes } from "./testing";

const metre = (onsetBeats: number, beatsPerBar: number, text: string) => ({ onsetBeats, beatsPerBar, text });

describe("names", () => {
  it("call middle C C4", () => {
    expect([60, 69, 21, 108, 61, 0].map(pitchName)).toEqual(["C4", "A4", "A0", "C8", "C♯4", "C-1"]);
    expect([60, 70].map(pitchSpoken)).toEqual(["C4", "A sharp 4"]);
  });

  it("call the kit as General MIDI does", () => {
    expect([35, 36, 38, 42, 46, 49, 51, 81, 99].map(drumName)).toEqual(["Bass drum 2", "Bass drum", "Snare", "Closed hi-hat", "Open hi-hat", "Crash", "Ride", "Open triangle", "Drum 99"]);
  });

  it("call lengths as they are written, also where they are played a little short", () => {
    expect([0.5, 0.49, 1, 1.5, 1 / 3, 4, 2.3].map(lengthName)).toEqual(["an eighth", "an eighth", "a quarter", "a dotted quarter", "an eighth triplet", "a whole note", "2.3 beats"]);
  });

  it("say a whole note's place", () => {
    const piece = { ...pieceOf([]), tracks: [{ name: "Piano", program: 0 }, { name: "", program: DRUMS }] };
    const bars = barLines([metre(0, 4, "4/4")], 32);
    const note = { id: 0, track: 0, pitch: 60, velocity: 90, onsetBeats: 9, durationBeats: 0.5 };
    expect(noteSpoken(note, piece, bars, false)).toBe("C4, bar 3 beat 2, Piano, an eighth");
    expect(noteSpoken({ ...note, track: 1, pitch: 38, onsetBeats: 9.5 }, piece, bars, true)).toBe("Snare, bar 3 beat 2.5, Drums, an eighth, chosen");
  });
});

describe("rows", () => {
  it("hold every pitch of the piece once, highest on top, with its way back", () => {
    const notes = someNotes(80, 3);
    const rows = rowsOf(pieceOf(notes));
    expect([...rows.pitches]).toEqual([...new Set(rows.pitches)].sort((a, b) => b - a));
    for (const note of notes) expect(rows.pitchAt(rows.rowOf(note.pitch))).toBe(note.pitch);
    expect(rows.pitches.map((_, row) => rows.nameOf(row)).filter(Boolean)).toContain("C4");
    expect([rows.pitchAt(-1), rows.pitchAt(999)]).toEqual([null, null]);
  });

  it("are named lanes where there are only drums, with a basic kit", () => {
    const rows = rowsOf(pieceOf([{ id: 0, track: 0, pitch: 56, velocity: 9, onsetBeats: 0, durationBeats: 1 }], DRUMS));
    expect(rows.lanes).toBe(true);
    expect(rows.pitches.map((_, row) => rows.nameOf(row))).toEqual(["Cowbell", "Ride", "Crash", "Open hi-hat", "Closed hi-hat", "Snare", "Bass drum"]);
  });

  it("keep their places while notes come in within the same octaves", () => {
    const notes = someNotes(80, 3);
    const range = pieceOf(notes.filter((note) => note.pitch > 50 && note.pitch < 68));
    expect(rowsOf({ ...range, notes: range.notes.slice(0, 1) }).pitches[0]).toBe(rowsOf(range).pitches[0]);
  });
});
