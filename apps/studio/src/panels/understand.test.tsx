import { act, cleanup, configure, render, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Note } from "../music/piece";
import { pieceWith } from "../music/testing";
import { useServer } from "../server/connection";
import { BOX, FakeServer, json, problem } from "../server/fake-server";
import { player } from "../sound/the-player";
import { useTakes } from "../takes/store";
import type { Take } from "../takes/take";
import { useView } from "../takes/view";
import { useUnderstandSettings } from "../understand/settings";
import { Understand } from "./understand";

// A busy machine takes its time; nothing here is about time.
configure({ asyncUtilTimeout: 15_000 });
vi.setConfig({ testTimeout: 60_000 });

vi.mock("../sound/the-player", () => ({ player: { sound: vi.fn(), seek: vi.fn() } }));
vi.mock("../roll/heat-legend", () => ({ HeatLegend: ({ low, high }: { low: string; high: string }) => <p>{low} – {high}</p> }));

let server: FakeServer;
let forms: { path: string; settings: Record<string, unknown>; file: Blob }[];

function takeOf(piece: Take["piece"], more: Partial<Take> = {}): Take {
  return { id: "1", name: "Take 1", createdAt: 1, piece, midi: new Uint8Array([77, 84]), asked: null, originality: null, said: [], newBeats: null, parent: null, ...more };
}

const PIECE = pieceWith([[0, 60, 0, 1], [0, 64, 1, 1], [1, 43, 4, 4]]);

function explainedNote(note: Note, nats: number, probability: number) {
  return {
    track: note.track,
    program: PIECE.tracks[note.track]?.program ?? 0,
    pitch: note.pitch,
    velocity: note.velocity,
    onset_beats: note.onsetBeats,
    duration_beats: note.durationBeats,
    nats,
    probability,
    alternatives: [{ pitch: note.pitch + 2, probability: 0.6 }, { pitch: note.pitch, probability }],
    parts: [
      { type: "Pitch", value: String(note.pitch), nats: nats / 2, probability, alternatives: [] },
      { type: "Duration", value: "1.0.8", nats: nats / 2, probability: 0.5, alternatives: [{ value: "1.0.8", probability: 0.5 }, { value: "0.4.8", probability: 0.3 }] },
    ],
  };
}

const chances = [[0.1, 0.9], [5, 0.01], [2, 0.25]] as const;
// in another order than the piece's
const NOTES = PIECE.notes.map((note, place) => {
  const [nats, probability] = chances[place] ?? [0, 0];
  return explainedNote(note, nats, probability);
}).reverse();
const EXPLANATION = { model: "box", notes: NOTES, nats_per_note: Math.log(6), skipped: [] };

beforeEach(() => {
  server = new FakeServer();
  forms = [];
  server.answers.set("/v1/explain", () => json(EXPLANATION));
  server.answers.set("/v1/analyze", () => json({ originality: { notes: 3, exact: { notes: 9, beats: 4.5, piece: "bwv1", bar: 1, piece_bar: 2, transposition: 0 }, transposed: null } }));
  server.answers.set("/v1/attention", () => json({ model: "box", layers: 2, heads: 4, window_notes: 2, weights: [{ note: 1, weight: 0.1 }, { note: 2, weight: 0.4 }] }));
  vi.stubGlobal("CSS", { escape: (text: string) => text }); // jsdom has none
  vi.stubGlobal("fetch", (input: RequestInfo | URL, init: RequestInit = {}) => {
    if (init.body instanceof FormData) {
      const file = init.body.get("file");
      const path = new URL(String(input)).pathname;
      if (file instanceof Blob) forms.push({ path, settings: JSON.parse(String(init.body.get("settings"))) as Record<string, unknown>, file });
    }
    return server.fetch(input, init);
  });
  useServer.setState({ state: "here", models: [BOX], styles: [] });
  useView.setState({ growing: null, heat: null, attention: null, hovered: null, chosen: new Set() });
  useUnderstandSettings.setState({ colours: true, lines: true, model: null, layer: null, head: null });
  // a piece of its own for each test: answers are kept by piece
  useTakes.setState({ takes: [takeOf({ ...PIECE })], currentId: "1" });
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  vi.clearAllMocks();
});

const choose = (id: number) => act(() => useView.getState().set({ chosen: new Set([id]) }));
const told = () => screen.findByText(/On average the model gave each note a chance of 1 in 6/);
const shownPiece = () => useTakes.getState().takes[0]?.piece ?? PIECE;

test("the model is asked once, the roll is coloured, the oddest note comes first", async () => {
  const user = userEvent.setup();
  render(<Understand />);
  await told();
  expect(server.count("/v1/explain")).toBe(1);
  expect(forms.find(({ path }) => path === "/v1/explain")?.settings).toEqual({ model: "box", alternatives: 5 });
  const heats = shownPiece().notes.map((note) => useView.getState().heat?.(note) ?? Number.NaN);
  expect(heats[0]).toBeCloseTo(0);
  expect(heats[1]).toBeCloseTo(1);
  const odd = within(screen.getByRole("region", { name: "The most surprising notes" })).getAllByRole("button");
  expect(odd.map(({ textContent }) => textContent)).toEqual([
    expect.stringMatching(/^E4bar 1 beat 2, .*1 in 150$/),
    expect.stringMatching(/^G2bar 2 beat 1, /),
    expect.stringMatching(/^C4bar 1 beat 1, /),
  ]);
  await user.click(screen.getByRole("switch", { name: "Colour by surprise" }));
  expect(useView.getState().heat).toBeNull();
});

test("a look elsewhere takes the colours away and asks nothing again", async () => {
  const { unmount } = render(<Understand />);
  await told();
  unmount();
  expect(useView.getState().heat).toBeNull();
  render(<Understand />);
  await told();
  expect(server.count("/v1/explain")).toBe(1);
});

test("a surprising note is jumped to, its alternatives are told and heard", async () => {
  const user = userEvent.setup();
  render(<Understand />);
  await told();
  await user.click(screen.getByRole("button", { name: /^E4/ }));
  expect(player.seek).toHaveBeenCalledWith(1);
  expect([...useView.getState().chosen]).toEqual([1]);
  const card = screen.getByRole("article", { name: "About the note E4" });
  expect(card.textContent).toContain("bar 1 beat 2");
  expect(card.textContent).toContain("a chance of 1 %");
  const weighed = within(card).getByRole("list", { name: "What it weighed" });
  expect(within(weighed).getAllByRole("listitem").map(({ textContent }) => textContent)).toEqual(["F♯460 %", "E4 this note1 %"]);
  await user.click(within(card).getByRole("button", { name: "Hear F♯4" }));
  expect(player.sound).toHaveBeenCalledExactlyOnceWith(66, 0, 90);
  expect(card.textContent).toContain("Length: a quarter");
  expect(within(card).getByText("an eighth")).toBeTruthy();
});

test("the note below the pointer is told of, and stays while one goes to its card", async () => {
  render(<Understand />);
  await told();
  act(() => useView.getState().set({ hovered: shownPiece().notes[0] ?? null }));
  expect(screen.getByRole("article", { name: "About the note C4" })).toBeTruthy();
  act(() => useView.getState().set({ hovered: null }));
  expect(screen.getByRole("article", { name: "About the note C4" })).toBeTruthy();
});

test("the attention of the chosen note is drawn and said, for one head, too", async () => {
  const user = userEvent.setup();
  render(<Understand />);
  await told();
  choose(2); // first in the server's order
  const list = await screen.findByRole("list", { name: "Notes it looked at most" });
  expect(forms.find(({ path }) => path === "/v1/attention")?.settings).toEqual({ model: "box", note: 0, layer: null, head: null });
  expect(useView.getState().attention).toEqual({ from: 2, to: new Map([[1, 0.25], [0, 1]]) });
  expect(within(list).getAllByRole("button").map(({ textContent }) => textContent)).toEqual([
    expect.stringMatching(/^C4.*80 %$/),
    expect.stringMatching(/^E4.*20 %$/),
  ]);
  await user.click(screen.getByRole("button", { name: /Layer/ }));
  await user.click(screen.getByRole("option", { name: "Layer 2" }));
  await waitFor(() => expect(forms.filter(({ path }) => path === "/v1/attention").at(-1)?.settings).toEqual({ model: "box", note: 0, layer: 1, head: null }));
  await user.click(screen.getByRole("switch", { name: "Show what the model looked at" }));
  expect(useView.getState().attention).toBeNull();
});

test("the originality of a file is asked for, that of a made piece is there", async () => {
  render(<Understand />);
  expect(await screen.findByText(/The longest run also in the training pieces: 9 notes, 4.5 beats, in bwv1/)).toBeTruthy();
  expect(forms.find(({ path }) => path === "/v1/analyze")?.settings).toEqual({ model: "box" });
  cleanup();
  const asked = { kind: "generate", model: "box", sha256: "abc", seed: 7, settings: {} } as const;
  const originality = { notes: 3, exact: { notes: 2, beats: 1, piece: "bwv2", bar: 1, piece_bar: 2, transposition: 0 }, transposed: null };
  act(() => useTakes.setState({ takes: [takeOf({ ...PIECE }, { asked, originality })], currentId: "1" }));
  render(<Understand />);
  expect(await screen.findByText(/2 notes, 1 beat, in bwv2/)).toBeTruthy();
  expect(server.count("/v1/analyze")).toBe(1);
});

test("another take is another question, and the answer to the first one is not waited for", async () => {
  let ended: AbortSignal | null = null;
  server.answers.set("/v1/explain", (_, signal) => {
    if (ended !== null) return json({ ...EXPLANATION, nats_per_note: Math.log(3) });
    ended = signal;
    return new Promise<Response>((_resolve, reject) => signal?.addEventListener("abort", () => reject(signal.reason as Error)));
  });
  render(<Understand />);
  await waitFor(() => expect(ended).not.toBeNull());
  act(() => useTakes.setState({ takes: [takeOf({ ...PIECE }, { id: "2" })], currentId: "2" }));
  expect(await screen.findByText(/a chance of 1 in 3:/)).toBeTruthy();
  expect((ended as AbortSignal | null)?.aborted).toBe(true);
  expect(screen.queryByRole("alert")).toBeNull();
});

test("a model that cannot be explained says so in the server's words, and may be asked again", async () => {
  const user = userEvent.setup();
  server.answers.set("/v1/explain", () => problem(422, "model=box: a VAE has no probabilities of notes; take another model"));
  render(<Understand />);
  const alert = await screen.findByRole("alert");
  expect(alert.textContent).toContain("a VAE has no probabilities of notes; take another model");
  server.answers.set("/v1/explain", () => json(EXPLANATION));
  await user.click(within(alert).getByRole("button", { name: "Try again" }));
  await told();
  expect(screen.queryByRole("alert")).toBeNull();
});

test("notes that the model cannot tell are grey, and their card says why", async () => {
  server.answers.set("/v1/explain", () => json({ ...EXPLANATION, notes: NOTES.slice(1), skipped: ["1 of 3 notes: this model's tokens do not tell them"] }));
  render(<Understand />);
  await told();
  const low = shownPiece().notes[2];
  expect(low && useView.getState().heat?.(low)).toBeNull();
  expect(screen.getByText(/Left out: 1 of 3 notes/)).toBeTruthy();
  choose(2);
  expect(screen.getByRole("article").textContent).toContain("The model cannot tell this note");
  expect(server.count("/v1/attention")).toBe(0);
});

test("while music is coming nothing is asked", async () => {
  useView.setState({ growing: PIECE });
  render(<Understand />);
  expect(screen.getByText(/still coming/)).toBeTruthy();
  act(() => useView.setState({ growing: null }));
  await told();
  expect(server.count("/v1/explain")).toBe(1);
});

test("without a take it says what to do", () => {
  useTakes.setState({ takes: [], currentId: null });
  render(<Understand />);
  expect(screen.getByText(/Make a piece or drop a MIDI file first/)).toBeTruthy();
});
