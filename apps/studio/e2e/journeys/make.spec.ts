import { bytesOf, notesIn, spokenOf } from "./notes";
import { COMPOSING_MS, expect, HEARD, SILENT, type Studio, test } from "./studio";

interface Moment {
  readonly title: string;
  readonly percent: number;
  readonly loudness: number;
  readonly playing: boolean;
}

/** What was seen, look after look, from now until the take is there: on a fast machine a test would come too late to see it. */
async function watch(studio: Studio): Promise<() => Promise<Moment[]>> {
  await studio.page.evaluate(() => {
    const number = (selector: string) => Number(document.querySelector(selector)?.getAttribute("aria-valuenow") ?? 0);
    const moments: Moment[] = [];
    const look = () => {
      moments.push({
        title: document.querySelector("[aria-label='The music'] h2")?.textContent ?? "",
        percent: number("[role=progressbar]"),
        loudness: window.loudness(),
        playing: [...document.querySelectorAll("button")].some((button) => button.textContent === "Pause"),
      });
      requestAnimationFrame(look);
    };
    look();
    Object.assign(window, { moments });
  });
  return () => studio.page.evaluate(() => (window as unknown as { moments: Moment[] }).moments);
}

test("the music is seen and heard while it is composed, and pausing silences it", async ({ studio, page }) => {
  // The sounds are there before the second take, as they are for everyone but a newcomer.
  await studio.make(1, 3);
  await studio.rest();
  const seen = await watch(studio);
  // Long enough that its first notes are heard before its last ones have come, on a fast machine too.
  await studio.make(32, 7);
  const coming = (await seen()).filter(({ title }) => title === "A new take is coming");
  expect(new Set(coming.map(({ percent }) => percent)).size).toBeGreaterThan(3);
  expect(coming.some(({ playing, percent, loudness }) => playing && percent < 100 && loudness > HEARD)).toBe(true);
  await expect(studio.title).toHaveText(/^2 · /);
  await expect(studio.takes.first()).toContainText("seed 7");

  await studio.rest();
  await page.getByRole("button", { name: "Play", exact: true }).click();
  await expect.poll(() => studio.loudness()).toBeGreaterThan(HEARD);
  await page.getByRole("button", { name: "Pause" }).click();
  await expect.poll(() => studio.loudness()).toBeLessThan(SILENT);
  await expect(page.getByRole("button", { name: "Play", exact: true })).toBeVisible();
});

test("the roll and the MIDI file tell the same notes, and the same seed makes them again", async ({ studio }) => {
  await studio.make(2, 7);
  const spoken = await studio.spoken();
  const first = notesIn(await bytesOf(await studio.download("MIDI")));
  expect(spoken.map((note) => note.split(",", 2).join(","))).toEqual(first.map(spokenOf));
  await studio.make(2, 8);
  expect(notesIn(await bytesOf(await studio.download("MIDI")))).not.toEqual(first);
  await studio.make(2, 7);
  expect(notesIn(await bytesOf(await studio.download("MIDI")))).toEqual(first);
});

test("composing is stopped by its button: what had come stays, as a take that says so, and is silent", async ({ studio, page }) => {
  await studio.ask(32, 5);
  await page.getByRole("button", { name: "Generate" }).click();
  await expect(studio.title).toHaveText("A new take is coming");
  await expect.poll(async () => Number(await page.getByRole("progressbar").getAttribute("aria-valuenow")), { timeout: COMPOSING_MS }).toBeGreaterThan(5);
  await page.getByRole("button", { name: "Stop composing" }).click();
  await expect(studio.title).toHaveText(/^Stopped: 1 · /);
  await expect(studio.takes).toHaveCount(1);
  await expect.poll(() => studio.loudness()).toBeLessThan(SILENT);
  const notes = notesIn(await bytesOf(await studio.download("MIDI")));
  expect(notes.length).toBeGreaterThan(0);
  expect(Math.max(...notes.map(({ onsetBeats }) => onsetBeats))).toBeLessThan(32 * 4 - 4);
});
