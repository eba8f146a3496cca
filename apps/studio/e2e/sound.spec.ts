import { readFileSync } from "node:fs";
import { expect, type Page, test } from "./harness/test";
import { BasicSoundBank } from "spessasynth_core";
import type { Piece } from "../src/music/piece";
import type { Player } from "../src/sound/player";

declare global {
  interface Window {
    player: Player;
    piece: Piece;
    renderToWav: (piece: Piece, onProgress: (share: number) => void) => Promise<Uint8Array<ArrayBuffer>>;
  }
}

const HEARD = 0.005;
const SILENT = 0.0005;
const soundFont = process.env.SOUNDFONT ? readFileSync(process.env.SOUNDFONT) : Buffer.from(BasicSoundBank.getSampleSoundBankFile());

async function open(page: Page, withSoundFont: boolean): Promise<string[]> {
  const refused: string[] = [];
  page.on("console", (message) => {
    if (message.text().includes("Content Security Policy")) refused.push(message.text());
  });
  await page.route("**/soundfont.sf2", (route) => (withSoundFont ? route.fulfill({ body: soundFont, contentType: "application/octet-stream" }) : route.fulfill({ status: 404 })));
  await page.goto("sound.html");
  return refused;
}

/** The loudest of many looks: a single one may fall between two notes. */
function loudest(page: Page, forMs: number): Promise<number> {
  return page.evaluate(async (ms) => {
    let most = 0;
    for (const end = performance.now() + ms; performance.now() < end; await new Promise((done) => setTimeout(done, 20))) most = Math.max(most, window.player.levelNow());
    return most;
  }, forMs);
}

for (const sampled of [true, false]) {
  test(`is heard while it plays, and silent after ${sampled ? "with the SoundFont" : "with plain tones"}`, async ({ page }) => {
    const refused = await open(page, sampled);
    expect(await loudest(page, 100)).toBe(0);
    await page.getByRole("button", { name: "Play", exact: true }).click();
    await expect(page.getByRole("button", { name: "Pause" })).toBeVisible();
    await expect.poll(() => loudest(page, 300)).toBeGreaterThan(HEARD);
    if (sampled) await expect(page.getByRole("status")).toHaveText("");
    else await expect(page.getByRole("status")).toContainText("plain tones");
    await page.getByRole("button", { name: "Pause" }).click();
    await expect.poll(() => loudest(page, 300)).toBeLessThan(SILENT);
    const paused = await page.evaluate(() => window.player.positionBeats());
    expect(paused).toBeGreaterThan(0);
    await page.getByRole("button", { name: "Play", exact: true }).click();
    await expect.poll(() => loudest(page, 300)).toBeGreaterThan(HEARD);
    expect(refused).toEqual([]);
  });
}

test("a muted track is silent, a solo track is heard alone", async ({ page }) => {
  await open(page, true);
  await page.getByRole("button", { name: "Play", exact: true }).click();
  await expect.poll(() => loudest(page, 300)).toBeGreaterThan(HEARD);
  await page.getByRole("button", { name: "Mute Melody" }).click();
  await page.getByRole("button", { name: "Mute Beat" }).click();
  await expect.poll(() => loudest(page, 500)).toBeLessThan(SILENT);
  await expect(page.getByRole("button", { name: "Pause" })).toBeVisible();
  await page.getByRole("button", { name: "Mute Melody" }).click();
  await expect.poll(() => loudest(page, 500)).toBeGreaterThan(HEARD);
  await page.getByRole("button", { name: "Solo Beat" }).click();
  await expect.poll(() => loudest(page, 500)).toBeLessThan(SILENT);
});

test("the loop keeps to the selected bars, by keyboard alone", async ({ page }) => {
  await open(page, true);
  await page.getByRole("button", { name: "Loop the selected bars" }).press("Enter");
  await page.getByRole("button", { name: "Play", exact: true }).press("Enter");
  await expect(page.getByRole("button", { name: "Pause" })).toBeVisible();
  const seen = await page.evaluate(async () => {
    const places: number[] = [];
    // Two bars of a second each are selected; twice that, and half.
    for (const end = performance.now() + 5000; performance.now() < end; await new Promise((done) => setTimeout(done, 20))) places.push(window.player.positionBeats());
    return places;
  });
  expect(Math.min(...seen)).toBeGreaterThanOrEqual(4);
  expect(Math.max(...seen)).toBeLessThan(12);
  expect(seen.some((place, i) => place < (seen[i - 1] ?? 0))).toBe(true);
});

test("makes a WAV file in the page", async ({ page }) => {
  const refused = await open(page, true);
  const made = await page.evaluate(async () => {
    const shares: number[] = [];
    const wav = await window.renderToWav(window.piece, (share) => shares.push(share));
    return { bytes: wav.length, head: String.fromCharCode(...wav.slice(0, 4)), last: shares.at(-1) };
  });
  // 16 s of music and the release, in 16 bits and stereo.
  expect(made.bytes).toBeGreaterThan(16 * 44_100 * 4);
  expect(made).toMatchObject({ head: "RIFF", last: 1 });
  expect(refused).toEqual([]);
});
