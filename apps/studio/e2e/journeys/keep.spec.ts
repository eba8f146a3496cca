import { bytesOf, notesIn, peakOf } from "./notes";
import { COMPOSING_MS, expect, HEARD, Studio, test } from "./studio";

test("the take is downloaded as MIDI, as sound and as a picture", async ({ studio, page }) => {
  await studio.make(2, 7);
  const midi = await studio.download("MIDI");
  expect(midi.suggestedFilename()).toMatch(/\.mid$/);
  const bytes = await bytesOf(midi);
  expect(bytes.toString("latin1", 0, 4)).toBe("MThd");
  expect(notesIn(bytes).length).toBeGreaterThan(8);

  const wav = await studio.download("WAV");
  expect(wav.suggestedFilename()).toMatch(/\.wav$/);
  const sound = await bytesOf(wav);
  expect(sound.toString("latin1", 0, 4)).toBe("RIFF");
  expect(peakOf(sound)).toBeGreaterThan(0.02);

  const png = await studio.download("PNG");
  expect(png.suggestedFilename()).toMatch(/\.png$/);
  const picture = await bytesOf(png);
  expect(picture.subarray(1, 4).toString("latin1")).toBe("PNG");
  expect(await coloursIn(page, picture)).toBeGreaterThan(5);
});

/** Paper, ink and at least the four voices' colours, seen by the browser. */
async function coloursIn(page: Studio["page"], png: Buffer): Promise<number> {
  return page.evaluate(async (base64) => {
    const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))]));
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context?.drawImage(bitmap, 0, 0);
    return new Set(new Uint32Array(context?.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer ?? new ArrayBuffer(0))).size;
  }, png.toString("base64"));
}

test("takes with their names are still there after a reload", async ({ studio, page }) => {
  await studio.make(2, 7);
  await studio.make(2, 8);
  await page.getByRole("button", { name: /^Rename 2/ }).click();
  await page.getByRole("textbox", { name: "Name of the take" }).fill("Evening song");
  await page.keyboard.press("Enter");
  const before = await bytesOf(await studio.download("MIDI"));
  await page.reload();
  await expect(studio.takes).toHaveCount(2);
  await expect(studio.title).toHaveText("Evening song");
  expect(await bytesOf(await studio.download("MIDI"))).toEqual(before);
  // It plays without the first gesture's help.
  await page.getByRole("button", { name: "Play", exact: true }).click();
  await expect.poll(() => studio.loudness()).toBeGreaterThan(HEARD);
});

test("a link makes the same notes in a browser that knows nothing of them", async ({ studio, page, browser, server }) => {
  await studio.make(2, 77);
  const notes = notesIn(await bytesOf(await studio.download("MIDI")));
  await page.getByRole("button", { name: "Copy link" }).click();
  const link = await page.getByRole("textbox", { name: /the link/ }).inputValue();
  expect(link.startsWith(server.url)).toBe(true);

  const elsewhere = await browser.newContext();
  const other = new Studio(await elsewhere.newPage(), server.url);
  await other.open(link.slice(server.url.length));
  await expect(other.takes).toHaveCount(0);
  await other.page.getByRole("button", { name: "Make it" }).click();
  await expect(other.takes).toHaveCount(1, { timeout: COMPOSING_MS });
  expect(notesIn(await bytesOf(await other.download("MIDI")))).toEqual(notes);
  await elsewhere.close();
});
