import { expect, test } from "vitest";
import { FAMILIES, instrumentName, trackName } from "./instruments";
import { DRUMS } from "./piece";
import { pieceWith } from "./testing";

test("instruments are named as General MIDI numbers them", () => {
  expect(FAMILIES.map(({ instruments }) => instruments.length)).toEqual(Array.from({ length: 16 }, () => 8));
  expect([0, 73, 127, DRUMS].map(instrumentName)).toEqual(["Acoustic Grand Piano", "Flute", "Gunshot", "Drums"]);
});

test("a track without a name is called by its instrument", () => {
  const piece = pieceWith([], [73, DRUMS]);
  expect(trackName({ ...piece, tracks: [{ name: " Solo ", program: 73 }, { name: " ", program: DRUMS }] }, 0)).toBe("Solo");
  expect([0, 1].map((track) => trackName(piece, track))).toEqual(["Flute", "Drums"]);
});
