import { act, cleanup, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, test, vi } from "vitest";
import { DRUMS, type Piece, type Selection } from "../music/piece";
import { FakePlayer } from "./fake-player.testing";
import { barAndBeat, clock } from "./place";
import { TrackList } from "./track-list";
import { Transport } from "./transport";

// Generous: a busy machine is no failure.
vi.setConfig({ testTimeout: 30_000 });

afterEach(cleanup);

const piece: Piece = {
  notes: [{ id: 0, track: 0, pitch: 60, velocity: 80, onsetBeats: 0, durationBeats: 16 }],
  tracks: [{ name: "Right hand", program: 0 }, { name: "", program: DRUMS }],
  tempos: [{ onsetBeats: 0, bpm: 60 }],
  metres: [],
};
const barBeats = [0, 4, 8, 12, 16];

function show(player: FakePlayer, selection: Selection | null = null) {
  return <Transport player={player} piece={piece} barBeats={barBeats} selection={selection} />;
}

test("play becomes pause and play again; stop goes to the begin", async () => {
  const player = new FakePlayer();
  const user = userEvent.setup();
  render(show(player));
  await user.click(screen.getByRole("button", { name: "Play" }));
  expect(player.state).toBe("playing");
  await user.click(screen.getByRole("button", { name: "Pause" }));
  expect(player.state).toBe("stopped");
  act(() => player.seek(9));
  expect(screen.getByText(/Bar 3\.2, 0:09/)).toBeTruthy();
  await user.click(screen.getByRole("button", { name: /Stop/ }));
  expect(player.beats).toBe(0);
});

test("the position can be moved by keyboard, and is told in bars", async () => {
  const player = new FakePlayer();
  const user = userEvent.setup();
  render(show(player));
  const position = screen.getByRole("slider", { name: "Position" });
  act(() => position.focus());
  await user.keyboard("{End}");
  expect(player.beats).toBe(16);
  await user.keyboard("{Home}");
  expect(player.beats).toBe(0);
});

test("the loop is that of the selection, and follows it", async () => {
  const player = new FakePlayer();
  const user = userEvent.setup();
  const { rerender } = render(show(player, { firstBar: 2, lastBar: 3, tracks: null }));
  await user.click(screen.getByRole("button", { name: "Loop the selected bars" }));
  expect(player.loop).toEqual([4, 12]);
  rerender(show(player, { firstBar: 4, lastBar: 4, tracks: null }));
  expect(player.loop).toEqual([12, 16]);
  rerender(show(player));
  expect(player.loop).toEqual([0, 16]);
  await user.click(screen.getByRole("button", { name: "Loop the whole piece" }));
  expect(player.loop).toBeNull();
});

test("it says what keeps it waiting", () => {
  const player = new FakePlayer();
  render(show(player));
  act(() => {
    player.state = "loading";
    player.loadedShare = 0.4;
    player.tell();
  });
  expect(screen.getByRole("status").textContent).toContain("40 %");
  act(() => {
    player.state = "playing";
    player.waiting = true;
    player.tell();
  });
  expect(screen.getByRole("status").textContent).toBe("Waiting for notes");
});

test("tracks are muted and heard alone by their names", async () => {
  const player = new FakePlayer();
  const user = userEvent.setup();
  render(<TrackList player={player} piece={piece} />);
  expect(screen.getByText("Acoustic Grand Piano")).toBeTruthy();
  expect(screen.getByText("Drums")).toBeTruthy();
  const mute = screen.getByRole("button", { name: "Mute Right hand" });
  await user.click(mute);
  expect(mute.getAttribute("aria-pressed")).toBe("true");
  expect(player.isMuted(0)).toBe(true);
  await user.click(screen.getByRole("button", { name: "Solo Track 2" }));
  expect(player.isSolo(1)).toBe(true);
});

test("places", () => {
  expect(barAndBeat(0, [0, 3, 7])).toBe("1.1");
  expect(barAndBeat(6.5, [0, 3, 7])).toBe("2.4");
  expect(clock(65.4)).toBe("1:05");
});
