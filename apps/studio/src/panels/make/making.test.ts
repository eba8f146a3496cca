import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { writeMidi } from "../../music/midi";
import { pieceWith } from "../../music/testing";
import { BOX, FakeServer, events, json, note } from "../../server/fake-server";
import { useServer } from "../../server/connection";
import { useTakes } from "../../takes/store";
import { linkOf, readLink } from "../../takes/link";
import { useForm } from "./form";
import { generate, useMaking } from "./making";

vi.mock("../../sound/the-player", async () => ({ player: new (await import("../../sound/fake-player.testing")).FakePlayer() }));

const MIDI = Buffer.from(writeMidi(pieceWith([[0, 60, 0, 1]], [40]))).toString("base64");
const defaults = (temperature: number) => ({
  components: {
    schemas: {
      GenerateRequest: {
        properties: {
          temperature: { default: temperature }, top_p: { default: 0.97 }, bars: { default: null }, max_copy_beats: { default: null },
          model: { default: null }, seed: { default: null }, num_samples: { default: 1 }, prompt: { default: null },
        },
      },
    },
  },
});

let server: FakeServer;

function answers(sha256: string, temperature: number): void {
  server.answers.set("/v1/models", () => json({ models: [{ ...BOX, sha256 }] }));
  server.answers.set("/openapi.json", () => json(defaults(temperature)));
  const end = ["end", { model: "box", seed: 5, tokens: 1, said: [], pieces: [{ sample: 1, midi: MIDI, originality: null }] }] as const;
  server.answers.set("/v1/stream", () => events([["start", { model: "box", seed: 5, said: [] }], note(0), end]));
}

beforeEach(() => {
  server = new FakeServer();
  vi.stubGlobal("fetch", server.fetch);
  useServer.setState({ state: "here", models: [BOX], styles: [], tokenRefused: false });
  useForm.getState().change({ seed: 5, newSeed: false, bars: 2 });
});

afterEach(() => vi.unstubAllGlobals());

const asked = () => useTakes.getState().takes.at(-1)?.asked;

test("a take tells all that made it: what was not asked for, too, as the server has it", async () => {
  answers("abc", 0.8);
  await generate();
  const settings = { bars: 2, seed: 5, model: "box", temperature: 0.8, top_p: 0.97, max_copy_beats: null };
  expect(server.asked.find(({ path }) => path === "/v1/stream")?.body).toEqual(settings);
  expect(asked()).toMatchObject({ kind: "generate", model: "box", sha256: "abc", seed: 5, settings });
  const take = { asked: asked() ?? null };
  const hash = new URL((await linkOf(take)) ?? "").hash;
  expect(await readLink(hash)).toEqual(take.asked);
});

test("a model that was exchanged since the page was opened is the one that the take names", async () => {
  answers("new", 0.95);
  await generate();
  expect(asked()?.sha256).toBe("new");
});

test("a server that does not tell its defaults is asked all the same", async () => {
  answers("abc", 0.8);
  server.answers.delete("/openapi.json");
  await generate();
  expect(useMaking.getState().problem).toBeNull();
  expect(asked()?.settings).toEqual({ bars: 2, seed: 5, model: "box" });
});

test("a piece whose stream broke is one take", async () => {
  answers("abc", 0.95);
  const whole = server.answers.get("/v1/stream");
  server.answers.set("/v1/stream", () => {
    if (whole) server.answers.set("/v1/stream", whole);
    return events([["start", { model: "box", seed: 5, said: [] }], note(0)]); // and no end
  });
  const before = useTakes.getState().takes.length;
  vi.useFakeTimers();
  const done = generate();
  await vi.advanceTimersByTimeAsync(10_000);
  await done;
  vi.useRealTimers();
  expect(server.count("/v1/stream")).toBe(2);
  expect(useTakes.getState().takes.length).toBe(before + 1);
});
