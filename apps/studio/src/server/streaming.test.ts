import { Client } from "midifactory";
import { expect, test } from "vitest";
import { FakeServer, events, note } from "./fake-server";
import { Growing, beatsPerBar, streamPiece } from "./streaming";
import type { Piece } from "../music/piece";

const GUESS = { tempoBpm: 80, metre: "3/4" };
const END = ["end", { model: "box", seed: 4, tokens: 9, said: [], pieces: [{ sample: 1, notes: 2, midi: btoa("MThd"), originality: null }] }] as const;

function served(told: Parameters<typeof events>[0], then?: Parameters<typeof events>[1]) {
  const server = new FakeServer();
  server.answers.set("/v1/stream", () => events(told, then));
  return new Client({ baseUrl: "http://here", fetch: server.fetch });
}

test("metres have their quarter notes", () => {
  expect(["4/4", "3/4", "6/8", "2/2", "7/8", "nonsense"].map(beatsPerBar)).toEqual([4, 3, 3, 4, 3.5, 4]);
});

test("each program is a track, and pieces that were shown do not change", () => {
  const growing = new Growing(GUESS);
  const [, first] = note(0, 60, 40);
  const [, low] = note(2, 40, 43);
  growing.add({ event: "note", ...first });
  const early = growing.piece();
  growing.add({ event: "note", ...low });
  growing.add({ event: "note", ...first });
  expect(early.notes).toHaveLength(1);
  expect(growing.piece().tracks.map(({ program }) => program)).toEqual([40, 43]);
  expect(growing.piece().notes.map(({ track, id }) => [track, id])).toEqual([[0, 0], [1, 1], [0, 2]]);
  expect(growing.piece().metres).toEqual([{ onsetBeats: 0, beatsPerBar: 3, text: "3/4" }]);
  expect(growing.beats()).toBe(2);
});

test("the first note is shown at once, the end brings the file", async () => {
  const shown: Piece[] = [];
  const stream = served([["start", { model: "box", seed: 4, said: [] }], note(0), note(1), END]);
  const { end, midi } = await streamPiece(stream, {}, GUESS, new AbortController().signal, (piece) => shown.push(piece));
  expect(shown[0]?.notes).toHaveLength(1);
  expect(end.seed).toBe(4);
  expect([...midi]).toEqual([...new TextEncoder().encode("MThd")]);
});

test("the user's stop ends the stream", async () => {
  const stop = new AbortController();
  // And then nothing, until fetch breaks the body.
  const stream = served([note(0)], (controller) => stop.signal.addEventListener("abort", () => controller.error(stop.signal.reason)));
  const streaming = streamPiece(stream, {}, GUESS, stop.signal, () => stop.abort(new Error("enough")));
  await expect(streaming).rejects.toThrow();
});
