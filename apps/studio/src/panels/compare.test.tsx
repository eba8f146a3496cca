import { act, cleanup, configure, render, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { useComparing } from "../compare/comparing";
import { writeMidi } from "../music/midi";
import { pieceWith } from "../music/testing";
import { useServer } from "../server/connection";
import { BOX, FakeServer, json, problem } from "../server/fake-server";
import { player } from "../sound/the-player";
import { useTakes } from "../takes/store";
import { Compare } from "./compare";

// A busy machine takes its time; nothing here is about time.
configure({ asyncUtilTimeout: 15_000 });
vi.setConfig({ testTimeout: 60_000 });

vi.mock("../sound/the-player", () => {
  const listeners = new Set<() => void>();
  const fake = {
    state: "silent",
    load: vi.fn(),
    seek: vi.fn(),
    positionBeats: () => 0,
    play: vi.fn(() => to("playing")),
    pause: vi.fn(() => void to("stopped")),
    stop: vi.fn(() => void to("stopped")),
    subscribe: (listener: () => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  function to(state: string): Promise<void> {
    fake.state = state;
    listeners.forEach((listener) => listener());
    return Promise.resolve();
  }
  return { player: fake };
});
vi.mock("../roll/roll", () => ({ Roll: ({ label }: { label: string }) => <div role="application" aria-label={label} /> }));

const BACH = { ...BOX, name: "bach", corpus: "chorales" };
const GAMES = { ...BOX, name: "games", corpus: "consoles" };

function told(pitch: number) {
  const piece = pieceWith([[0, pitch, 0, 1]], [0]);
  const midi = btoa(String.fromCharCode(...writeMidi(piece)));
  return {
    sample: 1, bars: 1, seconds: 1, prompt_end_beats: 0, new_beats: null, originality: null, truncated: false, midi,
    notes: [{ program: 0, pitch, velocity: 90, onset_beats: 0, duration_beats: 1, onset_seconds: 0, duration_seconds: 1, track: 0 }],
    tempos: [{ onset_beats: 0, bpm: 100 }], metres: [{ onset_beats: 0, metre: "4/4" }], tracks: [{ name: "Piano", program: 0 }],
  };
}

const result = { models: ["bach", "games"], sha256: ["1", "2"], wins_first_model: 4, wins_second_model: 3, neither: 1, share: 4 / 7, low: 0.25, high: 0.84 };

let server: FakeServer;

beforeEach(() => {
  server = new FakeServer();
  server.answers.set("/v1/votes", ({ method }) =>
    method === "GET" ? json({ results: [], file: "outputs/votes.jsonl" }) : json({ first: "games", second: "bach", results: [result] }));
  server.answers.set("/v1/blind", () => json({ pair: "p1", first: told(60), second: told(67) }));
  vi.stubGlobal("fetch", server.fetch);
  vi.stubGlobal("CSS", { escape: (text: string) => text }); // jsdom has none
  useServer.setState({ state: "here", models: [BACH, GAMES], styles: [] });
  useComparing.setState({ state: "ready", pair: null, verdict: null, results: null, file: null, problem: null });
  useTakes.setState({ takes: [], currentId: null });
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  vi.clearAllMocks();
});

const votesCast = () => server.asked.filter(({ path, method }) => path === "/v1/votes" && method === "POST").map(({ body }) => body);

async function withPair() {
  const user = userEvent.setup();
  const view = render(<Compare />);
  await user.click(screen.getByRole("button", { name: "Make a pair" }));
  const pair = await screen.findByRole("region", { name: "The pair" });
  return { user, pair, ...view };
}

test("both models are asked for the same, in no order that the page decides", async () => {
  await withPair();
  expect(server.asked.find(({ path }) => path === "/v1/blind")?.body).toEqual({ models: ["bach", "games"], settings: { bars: 8, style: "free" } });
});

test("before the vote nothing of the pair tells a model, after it both are told", async () => {
  const { user, pair } = await withPair();
  expect(pair.outerHTML).not.toMatch(/bach|games|chorales|consoles/);
  await user.click(within(pair).getByRole("button", { name: /A is better/ }));
  expect((await within(pair).findByRole("status")).textContent).toBe("You chose A, by games. A is by games, B by bach.");
  expect(votesCast()).toEqual([{ pair: "p1", choice: "first" }]);
  expect(within(pair).queryByRole("button", { name: /better|No difference/ })).toBeNull();
});

test("after the vote the table says what may be concluded", async () => {
  const { user, pair } = await withPair();
  expect(await screen.findByText(/No votes yet/)).toBeTruthy();
  await user.click(within(pair).getByRole("button", { name: /No difference/ }));
  expect(await screen.findByText("With 7 votes nothing can be said yet: the interval contains one half.")).toBeTruthy();
  const table = screen.getByRole("table", { name: "bach and games" });
  expect(within(table).getByRole("row", { name: /95 % interval/ }).textContent).toContain("57 % (25 % to 84 %)");
  expect(within(table).getByRole("row", { name: /^Votes/ }).textContent).toContain("8");
  expect(screen.getByText("outputs/votes.jsonl")).toBeTruthy();
});

test.each([["1", "first"], ["2", "second"], ["0", "neither"]])("the key %s votes %s, and once", async (key, choice) => {
  const { user, pair } = await withPair();
  await waitFor(() => expect(document.activeElement).toBe(pair));
  await user.keyboard(`${key}${key}`);
  await within(pair).findByRole("status");
  await user.keyboard(key);
  expect(votesCast()).toEqual([{ pair: "p1", choice }]);
});

test("two clicks before the answer are one vote", async () => {
  let answer: (response: Response) => void = () => undefined;
  const { user, pair } = await withPair();
  server.answers.set("/v1/votes", () => new Promise<Response>((resolve) => { answer = resolve; }));
  const better = within(pair).getByRole("button", { name: /B is better/ });
  await user.dblClick(better);
  act(() => answer(json({ first: "bach", second: "games", results: [result] })));
  expect((await within(pair).findByRole("status")).textContent).toContain("You chose B, by games");
  expect(votesCast()).toHaveLength(1);
});

test("A and B share the player, which keeps its place", async () => {
  const { user, pair } = await withPair();
  const pitchLoaded = () => vi.mocked(player.load).mock.lastCall?.[0].notes[0]?.pitch;
  await user.click(within(pair).getByRole("button", { name: "Play A" }));
  expect(pitchLoaded()).toBe(60);
  expect(player.play).toHaveBeenCalledTimes(1);
  await user.click(within(pair).getByRole("button", { name: "Play B" }));
  expect(pitchLoaded()).toBe(67);
  expect(player.seek).not.toHaveBeenCalled();
  expect(player.stop).not.toHaveBeenCalled();
  await user.click(within(pair).getByRole("button", { name: "Pause B" }));
  expect(player.pause).toHaveBeenCalledTimes(1);
  expect(player.load).toHaveBeenCalledTimes(2);
});

test("who leaves has the take in the player again", async () => {
  const take = { id: "9", name: "Mine", createdAt: 1, piece: pieceWith([[0, 50, 0, 1]]), midi: null, asked: null, originality: null, said: [], newBeats: null, parent: null };
  useTakes.setState({ takes: [take], currentId: "9" });
  const { user, pair, unmount } = await withPair();
  await user.click(within(pair).getByRole("button", { name: "Play A" }));
  unmount();
  expect(player.stop).toHaveBeenCalledTimes(1);
  expect(vi.mocked(player.load).mock.lastCall?.[0]).toBe(take.piece);
});

test("a piece is kept as a take after the vote, not before", async () => {
  const { user, pair } = await withPair();
  expect(within(pair).queryByRole("button", { name: /Keep/ })).toBeNull();
  await user.click(within(pair).getByRole("button", { name: /No difference/ }));
  await user.click(await within(pair).findByRole("button", { name: "Keep B as a take" }));
  const [take] = useTakes.getState().takes;
  expect(take).toMatchObject({ name: "bach (B of a pair)", asked: null });
  expect(take?.piece.notes[0]?.pitch).toBe(67);
  expect(take?.midi?.length).toBeGreaterThan(20);
});

test("a pair that the server has forgotten is told kindly, and may be made anew", async () => {
  const { user, pair } = await withPair();
  server.answers.set("/v1/votes", () => problem(404, "pair=p1: there is none, or no longer"));
  await user.click(within(pair).getByRole("button", { name: /A is better/ }));
  expect((await screen.findByRole("alert")).textContent).toContain("no longer knows this pair");
  server.answers.set("/v1/blind", () => json({ pair: "p2", first: told(61), second: told(68) }));
  await user.click(screen.getByRole("button", { name: "Make a pair" }));
  await waitFor(() => expect(useComparing.getState().pair?.id).toBe("p2"));
  expect(screen.queryByRole("alert")).toBeNull();
});

test("the second model is another one than the first", async () => {
  const user = userEvent.setup();
  render(<Compare />);
  await user.click(screen.getByRole("button", { name: /One model/ }));
  await user.click(screen.getByRole("option", { name: /games/ }));
  await user.click(screen.getByRole("button", { name: "Make a pair" }));
  await screen.findByRole("region", { name: "The pair" });
  expect(server.asked.find(({ path }) => path === "/v1/blind")?.body).toMatchObject({ models: ["games", "bach"] });
});

test("with one model it says how to serve two, and still shows the votes", async () => {
  server.answers.set("/v1/votes", () => json({ results: [result], file: "outputs/votes.jsonl" }));
  useServer.setState({ models: [BACH] });
  render(<Compare />);
  expect(screen.getByText('midifactory serve "checkpoint=[a=PATH,b=PATH]"')).toBeTruthy();
  expect(screen.queryByRole("button", { name: "Make a pair" })).toBeNull();
  expect(await screen.findByRole("table")).toBeTruthy();
});
