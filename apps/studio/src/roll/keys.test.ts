import { describe, expect, it } from "vitest";
import type { Selection } from "../music/piece";
import { actOf, steppedBars, walked } from "./keys";
import { NoteIndex } from "./note-index";
import { someNotes } from "./testing";

const stroke = (key: string, held: Partial<Record<"shiftKey" | "altKey" | "ctrlKey" | "metaKey", boolean>> = {}) => ({ key, shiftKey: false, altKey: false, ctrlKey: false, metaKey: false, ...held });

describe("keys", () => {
  it("mean what the help says", () => {
    expect(actOf(stroke("ArrowRight"), "select")).toEqual({ kind: "walk", step: "next" });
    expect(actOf(stroke("ArrowRight"), "draw")).toEqual({ kind: "place", byBeats: 0.25, bySemitones: 0 });
    expect(actOf(stroke("ArrowDown", { shiftKey: true }), "draw")).toEqual({ kind: "move", byBeats: 0, bySemitones: -1 });
    expect(actOf(stroke("ArrowLeft", { altKey: true }), "select")).toEqual({ kind: "bars", step: "less" });
    expect(actOf(stroke("ArrowUp", { altKey: true }), "select")).toEqual({ kind: "resize", byBeats: 0.25 });
    expect(["select", "draw", "erase"].map((tool) => actOf(stroke("Enter"), tool as "select")?.kind)).toEqual(["choose", "draw", "delete"]);
  });

  it("leave the page its own", () => {
    for (const key of ["Tab", " ", "z", "?"]) expect(actOf(stroke(key), "select")).toBeNull();
    expect(actOf(stroke("z", { ctrlKey: true }), "select")).toBeNull();
    expect(actOf(stroke("Home", { altKey: true }), "select")).toBeNull();
  });
});

describe("the note cursor", () => {
  const notes = someNotes(120, 8);
  const index = new NoteIndex(notes);

  it("walks over every note once, forwards in time and back", () => {
    const seen: number[] = [];
    let last = null;
    for (let note = walked(index, null, "next"); note; note = walked(index, note, "next")) seen.push((last = note).id);
    expect(new Set(seen).size).toBe(120);
    expect(last).toBe(walked(index, null, "last"));
    let back = 1;
    for (let note = walked(index, last, "previous"); note; note = walked(index, note, "previous")) back++;
    expect(back).toBe(120);
  });

  it("goes up and down to the nearest note that is higher or lower", () => {
    for (const from of notes.slice(0, 40)) {
      for (const [step, sign] of [["up", 1], ["down", -1]] as const) {
        const cost = (note: (typeof notes)[number]) => Math.abs(note.onsetBeats - from.onsetBeats) + Math.abs(note.pitch - from.pitch) / 4;
        const least = Math.min(...notes.filter((note) => (note.pitch - from.pitch) * sign > 0).map(cost));
        const found = walked(index, from, step);
        if (!found) expect(least).toBe(Infinity);
        else {
          expect((found.pitch - from.pitch) * sign).toBeGreaterThan(0);
          expect(cost(found)).toBeCloseTo(least);
        }
      }
    }
  });

  it("stands nowhere in an empty piece", () => {
    for (const step of ["next", "up", "first", "last"] as const) expect(walked(new NoteIndex([]), null, step)).toBeNull();
  });
});

describe("bars by keys", () => {
  const three: Selection = { firstBar: 3, lastBar: 4, tracks: [1] };

  it("grow, shrink and shift, and keep their tracks", () => {
    expect(steppedBars(three, "more", 9, 16)).toEqual({ firstBar: 3, lastBar: 5, tracks: [1] });
    expect(steppedBars(three, "less", 9, 16)).toEqual({ firstBar: 3, lastBar: 3, tracks: [1] });
    expect(steppedBars(three, "later", 9, 16)).toEqual({ firstBar: 4, lastBar: 5, tracks: [1] });
    expect(steppedBars(three, "earlier", 9, 16)).toEqual({ firstBar: 2, lastBar: 3, tracks: [1] });
  });

  it("begin at the cursor's bar, end with none, and stay within the piece", () => {
    expect(steppedBars(null, "more", 7, 16)).toEqual({ firstBar: 7, lastBar: 7, tracks: null });
    expect(steppedBars({ firstBar: 7, lastBar: 7, tracks: null }, "less", 7, 16)).toBeNull();
    expect(steppedBars({ firstBar: 1, lastBar: 2, tracks: null }, "earlier", 1, 16)).toEqual({ firstBar: 1, lastBar: 2, tracks: null });
    expect(steppedBars({ firstBar: 15, lastBar: 16, tracks: null }, "later", 1, 16)).toEqual({ firstBar: 15, lastBar: 16, tracks: null });
    expect(steppedBars({ firstBar: 15, lastBar: 16, tracks: null }, "more", 1, 16)).toEqual({ firstBar: 15, lastBar: 16, tracks: null });
  });
});
