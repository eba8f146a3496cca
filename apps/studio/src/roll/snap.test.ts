import { describe, expect, it } from "vitest";
import { allowedMove, allowedResize, drawnSpan } from "./snap";
import { draws, someNotes } from "./testing";

describe("moving notes", () => {
  it("never leaves the piece or MIDI's pitches, and goes in sixteenths and semitones", () => {
    const draw = draws(2);
    for (let seed = 1; seed < 60; seed++) {
      const notes = someNotes(5, seed);
      const { byBeats, bySemitones } = allowedMove(notes, (draw() - 0.5) * 200, (draw() - 0.5) * 300);
      expect(Number.isInteger(byBeats * 4) && Number.isInteger(bySemitones)).toBe(true);
      for (const note of notes) {
        expect(note.onsetBeats + byBeats).toBeGreaterThanOrEqual(-1e-9);
        expect(note.pitch + bySemitones).toBeGreaterThanOrEqual(0);
        expect(note.pitch + bySemitones).toBeLessThanOrEqual(127);
      }
    }
  });

  it("goes as far as it is asked where there is room", () => {
    const notes = someNotes(4, 1).map((note) => ({ ...note, onsetBeats: note.onsetBeats + 10 }));
    expect(allowedMove(notes, 1.1, -3.2)).toEqual({ byBeats: 1, bySemitones: -3 });
    expect(allowedMove(notes, 0.1, 0.2)).toEqual({ byBeats: 0, bySemitones: 0 });
    expect(allowedMove([], 3, 3)).toEqual({ byBeats: 0, bySemitones: 0 });
  });
});

describe("changing lengths", () => {
  it("leaves each note a sixteenth, or what it had", () => {
    const note = { id: 0, track: 0, pitch: 60, velocity: 90, onsetBeats: 0 };
    const lengths = (...beats: number[]) => beats.map((durationBeats) => ({ ...note, durationBeats }));
    expect(allowedResize(lengths(1), -5)).toBe(-0.75);
    expect(allowedResize(lengths(2, 0.5), -5)).toBe(-0.25);
    expect(allowedResize(lengths(0.1, 3), -5)).toBe(0);
    expect(allowedResize(lengths(0.1), 0.6)).toBe(0.5);
    expect(allowedResize([], 1)).toBe(0);
  });
});

describe("drawing", () => {
  it("fills whole cells from where the pointer went down", () => {
    expect(drawnSpan(1.3, 1.3)).toEqual({ onsetBeats: 1.25, durationBeats: 0.25 });
    expect(drawnSpan(1.3, 2.1)).toEqual({ onsetBeats: 1.25, durationBeats: 1 });
    expect(drawnSpan(1.3, 0.2)).toEqual({ onsetBeats: 1.25, durationBeats: 0.25 });
    expect(drawnSpan(-0.4, 0.1)).toEqual({ onsetBeats: 0, durationBeats: 0.25 });
  });
});
