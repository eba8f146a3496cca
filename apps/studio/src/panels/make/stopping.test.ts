import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { useServer } from "../../server/connection";
import { BOX, events, FakeServer, note } from "../../server/fake-server";
import { useTakes } from "../../takes/store";
import { useView } from "../../takes/view";
import { useForm } from "./form";
import { generate, stopMaking, useMaking } from "./making";

vi.mock("../../sound/the-player", async () => {
  const { FakePlayer } = await import("../../sound/fake-player.testing");
  return { player: new FakePlayer() };
});

let server: FakeServer;

beforeEach(() => {
  server = new FakeServer();
  vi.stubGlobal("fetch", server.fetch);
  useServer.setState({ state: "here", models: [BOX], styles: [] });
  useTakes.setState(useTakes.getInitialState(), true);
  useForm.getState().change({ bars: 4, seed: 3, newSeed: false });
});

afterEach(() => vi.unstubAllGlobals());

/** Sends some notes, then holds the stream open until it is left. */
function streamsFor(...onsets: number[]): void {
  server.answers.set("/v1/stream", (_, signal) => events(onsets.map((onset) => note(onset)), (controller) => {
    signal?.addEventListener("abort", () => controller.error(signal.reason));
  }));
}

test("what had come when it was stopped is kept as music, not as a wish", async () => {
  streamsFor(0, 1, 2);
  const making = generate();
  await vi.waitFor(() => expect(useView.getState().growing?.notes.length).toBeGreaterThan(0));
  const came = useView.getState().growing?.notes;
  stopMaking();
  await making;
  const { takes } = useTakes.getState();
  expect(takes).toHaveLength(1);
  expect(takes[0]).toMatchObject({ name: "Stopped: 1 · Free", asked: null, midi: null });
  expect(takes[0]?.piece.notes).toEqual(came);
  expect(useView.getState().growing).toBeNull();
  expect(useMaking.getState()).toMatchObject({ running: false, problem: null });
});

test("where nothing had come, nothing is kept", async () => {
  streamsFor();
  const making = generate();
  await vi.waitFor(() => expect(server.count("/v1/stream")).toBe(1));
  stopMaking();
  await making;
  expect(useTakes.getState().takes).toEqual([]);
  expect(useMaking.getState()).toMatchObject({ running: false, problem: null });
});
