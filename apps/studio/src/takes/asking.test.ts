import { Client } from "midifactory";
import { beforeEach, expect, test, vi } from "vitest";
import { writeMidi } from "../music/midi";
import { pieceWith } from "../music/testing";
import { ModelGone, perform, soundOf } from "./asking";
import type { Asked } from "./take";

const SHA = "a".repeat(64);
const midi = writeMidi(pieceWith([[0, 60, 0, 1]]));
let served: { name: string; sha256: string; infills: boolean; continues: boolean }[] = [];
let asked: { path: string; settings: unknown; accept: string | null }[] = [];

const fetched = vi.fn(async (input: RequestInfo | URL, init?: RequestInit) => {
  const path = new URL(String(input)).pathname;
  if (path === "/v1/models") return Response.json({ models: served });
  const body = init?.body;
  const settings: unknown = JSON.parse(typeof body === "string" ? body : String((body as FormData).get("settings")));
  const accept = new Headers(init?.headers).get("Accept");
  asked.push({ path, settings, accept });
  if (accept === "audio/wav") return new Response(new Uint8Array([82, 73, 70, 70]));
  return Response.json({
    model: "box",
    seed: (settings as { seed: number }).seed,
    tokens: 1,
    said: ["the key was C"],
    pieces: [
      {
        sample: 1, bars: 2, seconds: 1, truncated: false,
        notes: [{ program: 0, track: 0, pitch: 60, velocity: 90, onset_beats: 4, duration_beats: 2, onset_seconds: 0, duration_seconds: 1 }],
        tempos: [{ onset_beats: 0, bpm: 100 }], metres: [{ onset_beats: 0, metre: "4/4" }], tracks: [{ name: "Piano", program: 0 }],
        prompt_end_beats: path.endsWith("continue") ? 4 : 0, new_beats: path.endsWith("infill") ? [0, 8] : null, originality: { notes: 1 },
        midi: Buffer.from(midi).toString("base64"),
      },
    ],
  });
});

vi.mock("../server/connection", () => ({ client: () => new Client({ baseUrl: "http://here", fetch: fetched }) }));

const generated: Asked = { kind: "generate", model: "box", sha256: SHA, seed: 7, settings: { bars: 2, seed: 3, model: "other" } };
const signal = new AbortController().signal;

beforeEach(() => {
  served = [{ name: "box", sha256: SHA, infills: true, continues: true }];
  asked = [];
});

test("what a take was asked with is asked again, with its own model and seed", async () => {
  const take = await perform(generated, signal, { name: "Again" });
  expect(asked).toEqual([{ path: "/v1/generate", settings: { bars: 2, model: "box", seed: 7 }, accept: "application/json" }]);
  expect(take).toMatchObject({ name: "Again", asked: { ...generated }, originality: { notes: 1 }, said: ["the key was C"], newBeats: null, parent: null });
  expect(take.piece.notes).toEqual([{ id: 0, track: 0, pitch: 60, velocity: 90, onsetBeats: 4, durationBeats: 2 }]);
  expect([...(take.midi ?? [])]).toEqual([...midi]);
});

test("what is new is marked: after the end of what was continued, within what was filled in", async () => {
  const of = { midi };
  expect((await perform({ ...generated, kind: "continue", settings: { bars: 2 }, of }, signal)).newBeats).toEqual([4, 6]);
  expect((await perform({ ...generated, kind: "infill", settings: { bars: "1-2" }, of }, signal, { parent: "p" }))).toMatchObject({ newBeats: [0, 8], parent: "p" });
  expect(asked.map(({ path }) => path)).toEqual(["/v1/continue", "/v1/infill"]);
});

test("a model that has another name now is found by what it is", async () => {
  served = [{ name: "box", sha256: "b", infills: true, continues: true }, { name: "old", sha256: SHA, infills: true, continues: true }];
  await perform(generated, signal);
  expect(asked[0]?.settings).toMatchObject({ model: "old" });
});

test("where the model is gone another one is offered, and taken only if that is wished", async () => {
  served = [{ name: "small", sha256: "c", infills: false, continues: true }, { name: "new", sha256: "b", infills: true, continues: true }];
  const infill: Asked = { ...generated, kind: "infill", settings: {}, of: { midi } };
  const error = await perform(infill, signal).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(ModelGone);
  expect(error).toMatchObject({ present: { name: "new" } });
  expect(asked).toEqual([]);
  const take = await perform(infill, signal, { withAnyModel: true });
  expect(take.asked).toMatchObject({ model: "new", sha256: "b", seed: 7 });
  served = [];
  await expect(perform(infill, signal, { withAnyModel: true })).rejects.toMatchObject({ present: null });
});

test("the server's sound is that of the same model, or none", async () => {
  expect([...(await soundOf(generated, signal))]).toEqual([82, 73, 70, 70]);
  expect(asked[0]).toMatchObject({ accept: "audio/wav", settings: { seed: 7 } });
  served = [{ name: "box", sha256: "b", infills: true, continues: true }];
  await expect(soundOf(generated, signal)).rejects.toBeInstanceOf(ModelGone);
});
