import { expect, test } from "vitest";
import { pieceWith, randomPiece } from "../music/testing";
import { trackColour } from "../roll/track-colours";
import { paint, sceneOf } from "./picture";

test("every note is a box of its track's colour, within the picture", () => {
  for (let seed = 0; seed < 20; seed++) {
    const piece = randomPiece(seed);
    const scene = sceneOf(piece, "A take");
    const colours = new Set(piece.tracks.map((_, track) => trackColour(track, false)));
    const drawn = scene.boxes.filter((box) => colours.has(box.colour));
    expect(drawn).toHaveLength(piece.notes.length + piece.tracks.length); // and one each in the legend
    const outside = [...scene.boxes, ...scene.texts].filter(({ x, y }) => x < 0 || y < 0 || x > scene.width || y > scene.height);
    expect(outside, `seed ${seed}`).toEqual([]);
  }
});

test("time goes to the right, pitch upwards, and length is width", () => {
  const scene = sceneOf(pieceWith([[0, 60, 0, 1], [0, 72, 4, 2]], [0]), "");
  const [first, second] = scene.boxes.filter((box) => box.colour === trackColour(0, false));
  expect(second?.x).toBeGreaterThan(first?.x ?? Infinity);
  expect(second?.y).toBeLessThan(first?.y ?? 0);
  expect((second?.width ?? 0) + 1).toBeCloseTo(2 * ((first?.width ?? 0) + 1));
});

test("title, bars and the names of tracks are written", () => {
  const words = sceneOf(pieceWith([[0, 60, 0, 1], [2, 36, 7, 1]]), "My take").texts.map(({ text }) => text);
  expect(words).toEqual(expect.arrayContaining(["My take", "1", "2", "1 Acoustic Grand Piano", "3 Drums"]));
});

test("a long piece stays a picture that a browser can draw, an empty one is one, too", () => {
  const long = sceneOf(pieceWith([[0, 60, 0, 1], [0, 60, 4000, 1]]), "");
  expect(long.width).toBeLessThan(8000);
  expect(sceneOf(pieceWith([]), "").height).toBeGreaterThan(100);
});

test("what is painted is the scene, from the back to the front", () => {
  const calls: unknown[][] = [];
  const context = { fillStyle: "", font: "", fillRect: (...box: number[]) => calls.push(box), fillText: (...text: unknown[]) => calls.push(text) };
  const scene = sceneOf(pieceWith([[0, 60, 0, 1]]), "My take");
  paint(scene, context as unknown as CanvasRenderingContext2D);
  expect(calls).toHaveLength(scene.boxes.length + scene.texts.length);
  expect(calls[0]).toEqual([0, 0, scene.width, scene.height]);
});
