import { bytesOf, notesIn, type ReadNote } from "./notes";
import { COMPOSING_MS, expect, test, type Studio } from "./studio";

const [GAP_FROM, GAP_TO] = [4, 12]; // bars 2 and 3, in beats
const outside = (notes: ReadNote[]) => notes.filter(({ onsetBeats }) => onsetBeats < GAP_FROM || onsetBeats >= GAP_TO);
const inside = (notes: ReadNote[]) => notes.filter(({ onsetBeats }) => onsetBeats >= GAP_FROM && onsetBeats < GAP_TO);
const kept = async (studio: Studio) => notesIn(await bytesOf(await studio.download("MIDI")));

test("two bars that are dragged over are composed anew, nothing else; undone and done again", async ({ studio, page }) => {
  await studio.make(4, 11);
  await studio.rest();
  const before = await kept(studio);
  await studio.tab("Change");
  await page.getByRole("button", { name: "Show all" }).click();
  // Right of the keys and a small lead, eight bars fill the width: from the middle of the second to that of the third.
  const box = await studio.roll.boundingBox();
  if (box === null) throw new Error("the roll is not seen");
  const firstBar = box.x + 48 + 8;
  const barPx = (box.x + box.width - 8 - firstBar) / 8;
  await page.mouse.move(firstBar + barPx * 1.5, box.y + 10);
  await page.mouse.down();
  await page.mouse.move(firstBar + barPx * 2.5, box.y + 10, { steps: 5 });
  await page.mouse.up();
  await studio.unfold("How the model does it");
  await studio.fill("Variants", 1);
  await page.getByRole("button", { name: "Infill bars 2 to 3" }).click();
  await expect(studio.takes).toHaveCount(2, { timeout: COMPOSING_MS });
  const after = await kept(studio);
  expect(outside(after)).toEqual(outside(before));
  expect(inside(after)).not.toEqual(inside(before));
  expect(inside(after).length).toBeGreaterThan(0);

  await studio.tab("Change");
  await page.getByRole("radio", { name: /^Before: 1/ }).click();
  await expect(studio.title).toHaveText(/^1 · /);
  await page.getByRole("radio", { name: "Infill 1" }).click();
  await expect(studio.title).toHaveText("Infill 1");

  await page.getByRole("button", { name: "Undo: add Infill 1" }).click();
  await expect(studio.takes).toHaveCount(1);
  expect(await kept(studio)).toEqual(before);
  await page.getByRole("button", { name: "Redo: add Infill 1" }).click();
  await expect(studio.takes).toHaveCount(2);
  await expect(studio.title).toHaveText("Infill 1");
  expect(await kept(studio)).toEqual(after);
});

test("a file that is dropped anywhere goes on, and by hand it is transposed and a note erased", async ({ studio, page }) => {
  await studio.make(2, 7);
  const midi = await bytesOf(await studio.download("MIDI"));
  const begin = notesIn(midi);
  const file = await page.evaluateHandle((bytes) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], "a song of mine.mid", { type: "audio/midi" }));
    return data;
  }, [...midi]);
  await studio.roll.dispatchEvent("drop", { dataTransfer: file });
  await expect(studio.title).toHaveText("a song of mine");
  await studio.tab("Change");
  await studio.fill("By how many bars", 2);
  await studio.unfold("How the model does it");
  await studio.fill("Variants", 1);
  await page.getByRole("button", { name: "Continue it" }).click();
  await expect(studio.takes).toHaveCount(3, { timeout: COMPOSING_MS });
  const longer = await kept(studio);
  expect(longer.slice(0, begin.length)).toEqual(begin);
  expect(longer.length).toBeGreaterThan(begin.length);

  await studio.tab("Change");
  await page.getByRole("button", { name: "An octave up" }).click();
  await studio.roll.focus();
  await page.keyboard.press("Home");
  await page.keyboard.press("Delete");
  const changed = await kept(studio);
  expect(changed).toEqual(longer.slice(1).map((note) => ({ ...note, pitch: note.pitch + 12 })));
  await page.keyboard.press("Control+z");
  await page.keyboard.press("Control+z");
  expect(await kept(studio)).toEqual(longer);
});
