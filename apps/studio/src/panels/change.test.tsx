import { cleanup, render, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { tempoBpm } from "../music/edits";
import { writeMidi } from "../music/midi";
import { pieceWith } from "../music/testing";
import { currentOf, useTakes } from "../takes/store";
import { newTake } from "../takes/testing";
import { useView } from "../takes/view";
import { Change } from "./change";
import { useVarying } from "./change/variants";
import { useOpening } from "./change/opening";
import { useWishes } from "./change/wishes";
import { standIn } from "./testing";
import type { StandIn } from "./testing";

let server: StandIn;
const user = userEvent.setup();
const current = () => currentOf(useTakes.getState());
const names = () => useTakes.getState().takes.map((take) => take.name);
const button = (name: string | RegExp) => screen.getByRole("button", { name });

beforeEach(() => {
  server = standIn();
  useTakes.setState(useTakes.getInitialState(), true);
  useView.setState({ selection: null, growing: null });
  useVarying.setState({ running: null, problem: null });
  useOpening.setState({ problem: null });
  useWishes.setState({ seed: 60, variants: 2, bars: 4, temperature: 0.95, model: null });
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

function open(): void {
  render(<Change />);
}

function openWithTake(): string {
  const id = useTakes.getState().add(newTake("Song"));
  open();
  return id;
}

async function choose(file: File): Promise<void> {
  const input = document.querySelector<HTMLInputElement>("input[type=file]");
  if (!input) throw new Error("there is no way to choose a file");
  await userEvent.setup({ applyAccept: false }).upload(input, file);
}

describe("a file of the user's", () => {
  test("becomes a take that can be worked on", async () => {
    open();
    expect(screen.queryByRole("button", { name: "Continue it" })).toBeNull();
    await choose(new File([writeMidi(pieceWith([[0, 60, 0, 1]]))], "waltz.mid"));
    await waitFor(() => expect(names()).toEqual(["waltz"]));
    expect(current()).toMatchObject({ asked: null });
    expect(button("Continue it")).toBeTruthy();
  });

  test("that is none is told, with what to do", async () => {
    open();
    await choose(new File(["an mp3"], "waltz.mp3"));
    expect((await screen.findByRole("alert")).textContent).toMatch(/waltz\.mp3: This is no MIDI file\..*\.mid/);
    expect(names()).toEqual([]);
  });
});

describe("filling in", () => {
  test("asks for the bars and tracks that are chosen, a variant for each seed, and shows them beside the old take", async () => {
    const id = openWithTake();
    expect(button("Infill")).toHaveProperty("disabled", true);
    await user.click(button("Choose bars by number"));
    await user.click(screen.getByRole("checkbox", { name: "Acoustic Grand Piano" }));
    await user.click(button("Infill bars 1 to 2"));
    await waitFor(() => expect(names()).toEqual(["Song", "Infill 1", "Infill 2"]));
    expect(server.calls.map(({ path, settings }) => [path, settings.bars, settings.tracks, settings.seed])).toEqual([
      ["/v1/infill", "1-2", ["2"], 60],
      ["/v1/infill", "1-2", ["2"], 61],
    ]);
    expect(useTakes.getState().takes[2]).toMatchObject({ parent: id, newBeats: [0, 4], asked: { kind: "infill", seed: 61 } });
    expect(useWishes.getState().seed, "the next ones are others").not.toBe(60);

    expect(current()?.name).toBe("Infill 1");
    const family = within(screen.getByRole("radiogroup", { name: "Before and after" }));
    await user.click(family.getByRole("radio", { name: "Infill 2" }));
    expect(current()?.name).toBe("Infill 2");
    await user.click(family.getByRole("radio", { name: "Before: Song" }));
    expect(current()?.name).toBe("Song");

    useTakes.getState().undo();
    expect(names(), "one undo takes all variants away").toEqual(["Song"]);
  });

  test("a selection on the roll is meant as it is; bars behind the end are left out", async () => {
    openWithTake();
    useView.setState({ selection: { firstBar: 2, lastBar: 9, tracks: null } });
    await user.click(await screen.findByRole("button", { name: "Infill bar 2" }));
    await waitFor(() => expect(server.calls).toHaveLength(2));
    expect(server.calls[0]?.settings).toMatchObject({ bars: "2-2", tracks: null });
  });

  test("is not offered where no model can", () => {
    server.models = server.models.map((model) => ({ ...model, infills: false }));
    standInModels();
    openWithTake();
    expect(screen.getByText("No model at this server was trained to fill in.")).toBeTruthy();
    expect(button("Infill")).toHaveProperty("disabled", true);
    expect(button("Continue it")).toHaveProperty("disabled", false);
  });

  function standInModels(): void {
    const answering = server.models;
    server = standIn();
    server.models.splice(0, 1, ...answering);
  }
});

test("continuing asks for the bars, and is marked as made of the take", async () => {
  const id = openWithTake();
  useWishes.setState({ variants: 1, bars: 6 });
  await user.click(button("Continue it"));
  await waitFor(() => expect(names()).toEqual(["Song", "Continued 1"]));
  expect(server.calls[0]).toMatchObject({ path: "/v1/continue", settings: { bars: 6, seed: 60, model: "box" } });
  expect(current()?.parent).toBe(id);
});

test("what the server refuses is told, and nothing is changed", async () => {
  server.answer = () => Response.json({ type: "about:blank", title: "This cannot be done", status: 422, detail: "bars=9: there are 2 bars" }, { status: 422 });
  openWithTake();
  await user.click(button("Continue it"));
  expect((await screen.findByRole("alert")).textContent).toContain("there are 2 bars");
  expect(names()).toEqual(["Song"]);
  expect(button("Continue it")).toHaveProperty("disabled", false);
});

describe("without the model", () => {
  test("the music is transposed, and undone", async () => {
    openWithTake();
    await user.click(button("A semitone up"));
    expect(current()?.piece.notes.map((note) => note.pitch)).toEqual([61, 65, 41]);
    expect(useTakes.getState().undoable).toBe("transpose all by +1");
    useTakes.getState().undo();
    expect(current()?.piece.notes.map((note) => note.pitch)).toEqual([60, 64, 40]);
  });

  test("only the selected bars are transposed, where some are", async () => {
    openWithTake();
    useView.setState({ selection: { firstBar: 2, lastBar: 2, tracks: null } });
    await screen.findByText(/Transpose bar 2/);
    await user.click(button("An octave down"));
    expect(current()?.piece.notes.map((note) => note.pitch)).toEqual([60, 64, 28]);
  });

  test("tempo and instruments are changed; the server's file is no longer the music's", async () => {
    openWithTake();
    const tempo = screen.getByRole("textbox", { name: /Tempo/ });
    await user.clear(tempo);
    await user.type(tempo, "144{Enter}");
    await waitFor(() => expect(tempoBpm(current()?.piece ?? pieceWith([]))).toBe(144));
    await user.click(button(/^Instruments/));
    await user.selectOptions(screen.getByRole("combobox", { name: "Instrument of Acoustic Bass" }), "Tuba");
    expect(current()?.piece.tracks[1]?.program).toBe(58);
    expect(current()).toMatchObject({ midi: null, asked: null });
    expect(server.calls).toEqual([]);
  });
});
