import { afterEach, expect, test, vi } from "vitest";
import { createPlayer } from "./spessa";

afterEach(() => vi.unstubAllGlobals());

test("a computer without a way out for sound is told, and pressing play again tries again", async () => {
  const made = vi.fn(() => {
    throw new DOMException("no device", "NotSupportedError");
  });
  vi.stubGlobal("AudioContext", made);
  const player = createPlayer();
  await player.play();
  expect(player).toMatchObject({ state: "silent", trouble: expect.stringContaining("cannot play") });
  await player.play();
  expect(made).toHaveBeenCalledTimes(2);
});
