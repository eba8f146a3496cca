import { cleanup, render, screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { transposed } from "../music/edits";
import { readMidi } from "../music/midi";
import { linkOf, readLink } from "../takes/link";
import { currentOf, useTakes } from "../takes/store";
import { newTake } from "../takes/testing";
import { useView } from "../takes/view";
import { Keep } from "./keep";
import { useKeeping } from "./keep/keeping";
import { Notices } from "./keep/notices";
import { SHA, standIn } from "./testing";
import type { StandIn } from "./testing";

const rendered = vi.hoisted(() => vi.fn());
vi.mock("../sound/render-wav", () => ({ renderToWav: rendered }));

let server: StandIn;
let saved: { name: string; blob: Blob }[] = [];
const user = userEvent.setup();
const current = () => currentOf(useTakes.getState());
const bytesOf = async (blob: Blob | undefined) => new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer(0));

beforeEach(() => {
  server = standIn();
  saved = [];
  let blob = new Blob();
  URL.createObjectURL = (made) => {
    blob = made as Blob;
    return "blob:here";
  };
  vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (this: HTMLAnchorElement) {
    saved.push({ name: this.download, blob });
  });
  rendered.mockReset().mockResolvedValue(new Uint8Array([9, 9]));
  useTakes.setState(useTakes.getInitialState(), true);
  useView.setState({ growing: null });
  useKeeping.setState({ busy: null, share: null, problem: null });
  location.hash = "";
});

afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

function openWithTake({ byHand = false } = {}): void {
  const id = useTakes.getState().add(newTake("My: song"));
  if (byHand) useTakes.getState().change(id, "transpose", transposed(newTake("").piece, 3));
  render(<Keep />);
}

describe("files", () => {
  test("MIDI is the file that the server gave, byte for byte", async () => {
    openWithTake();
    await user.click(screen.getByRole("button", { name: /Download MIDI/ }));
    await waitFor(() => expect(saved.map(({ name }) => name)).toEqual(["My song.mid"]));
    expect(await bytesOf(saved[0]?.blob)).toEqual(current()?.midi);
  });

  test("after a change by hand it is one of the notes as they are now", async () => {
    openWithTake({ byHand: true });
    await user.click(screen.getByRole("button", { name: /Download MIDI/ }));
    await waitFor(() => expect(saved).toHaveLength(1));
    expect(readMidi(await bytesOf(saved[0]?.blob)).notes.map((note) => note.pitch)).toEqual([63, 67, 43]);
  });

  test("sound is the server's, with the same seed", async () => {
    openWithTake();
    await user.click(screen.getByRole("button", { name: /Download WAV/ }));
    await waitFor(() => expect(saved.map(({ name }) => name)).toEqual(["My song.wav"]));
    expect([...(await bytesOf(saved[0]?.blob))]).toEqual([1, 2, 3]);
    expect(server.calls).toMatchObject([{ path: "/v1/generate", accept: "audio/wav", settings: { seed: 7, bars: 2 } }]);
    expect(rendered).not.toHaveBeenCalled();
  });

  test.each(["changed by hand", "of a model that is gone"])("sound is the page's own for music %s", async (why) => {
    const byHand = why === "changed by hand";
    openWithTake({ byHand });
    if (!byHand) server.models = [{ name: "box", sha256: "b".repeat(64), infills: true, continues: true, corpus: "" }];
    await user.click(screen.getByRole("button", { name: /Download WAV/ }));
    await waitFor(async () => expect([...(await bytesOf(saved[0]?.blob))]).toEqual([9, 9]));
    expect(rendered.mock.calls[0]?.[0]).toEqual(current()?.piece);
    expect(server.calls).toEqual([]);
  });

  test("what cannot be made is told", async () => {
    openWithTake({ byHand: true });
    rendered.mockRejectedValue(new Error("There is no SoundFont"));
    await user.click(screen.getByRole("button", { name: /Download WAV/ }));
    expect((await screen.findByRole("alert")).textContent).toContain("There is no SoundFont.");
    expect(saved).toEqual([]);
  });
});

describe("a link", () => {
  test("holds what was asked, and is copied", async () => {
    const writeText = vi.spyOn(navigator.clipboard, "writeText").mockResolvedValue();
    openWithTake();
    await user.click(screen.getByRole("button", { name: "Copy link" }));
    const field = await screen.findByRole<HTMLInputElement>("textbox", { name: /Copied/ });
    expect(writeText).toHaveBeenCalledWith(field.value);
    expect(await readLink(new URL(field.value).hash)).toEqual(current()?.asked);
  });

  test("is shown where the browser has no clipboard", async () => {
    vi.spyOn(navigator.clipboard, "writeText").mockRejectedValue(new Error("not allowed"));
    openWithTake();
    await user.click(screen.getByRole("button", { name: "Copy link" }));
    expect(await screen.findByRole("textbox", { name: /copy it from here/ })).toBeTruthy();
  });

  test("is not there for music of one's own hand, and the page says why", async () => {
    openWithTake({ byHand: true });
    await user.click(screen.getByRole("button", { name: "Copy link" }));
    expect((await screen.findByRole("status")).textContent).toContain("Download the MIDI file");
  });
});

describe("a link in the address", () => {
  const asked = { ...newTake("").asked, sha256: SHA } as NonNullable<ReturnType<typeof newTake>["asked"]>;

  async function visit(hash: string): Promise<void> {
    location.hash = hash;
    render(<Notices />);
    await screen.findByText(/link/);
  }

  test("makes the piece when it is wished, and is gone then", async () => {
    await visit(new URL((await linkOf({ asked })) ?? "").hash);
    expect(server.calls, "nothing is asked of the server unasked").toEqual([]);
    await user.click(screen.getByRole("button", { name: "Make it" }));
    await waitFor(() => expect(useTakes.getState().takes).toHaveLength(1));
    expect(current()?.asked).toEqual(asked);
    expect(location.hash).toBe("");
    expect(screen.queryByText(/link/)).toBeNull();
  });

  test("of a model that is gone offers the present one", async () => {
    server.models = [{ name: "new", sha256: "b".repeat(64), infills: true, continues: true, corpus: "" }];
    await visit(new URL((await linkOf({ asked })) ?? "").hash);
    await user.click(screen.getByRole("button", { name: "Make it" }));
    await screen.findByText(/With the present one, new, the notes will be others/);
    expect(useTakes.getState().takes).toEqual([]);
    await user.click(screen.getByRole("button", { name: "Make it all the same" }));
    await waitFor(() => expect(current()?.asked).toMatchObject({ model: "new", seed: 7 }));
  });

  test("that is damaged is told kindly", async () => {
    await visit("#take=zAAAA");
    expect(screen.getByRole("alert").textContent).toContain("damaged");
    await user.click(screen.getByRole("button", { name: "I see" }));
    expect(location.hash).toBe("");
  });
});

test("takes that cannot be kept are told of, once", async () => {
  render(<Notices />);
  useTakes.setState({ trouble: "This browser does not keep your takes." });
  await user.click(await screen.findByRole("button", { name: "I see" }));
  expect(useTakes.getState().trouble).toBeNull();
});
