import { expect, test, type Page, type Studio } from "./studio";

/** Goes down over the roll until the pointer stands on a note. */
async function pointAtANote(studio: Studio): Promise<void> {
  const box = await studio.roll.boundingBox();
  if (box === null) throw new Error("the roll is not seen");
  const { page } = studio;
  const inTheSecondBar = box.x + 56 + ((box.width - 64) / 8) * 1.4; // right of the keys and a small lead, eight bars fill the width
  for (let y = box.y + 40; y < box.y + box.height - 8; y += 4) {
    await page.mouse.move(inTheSecondBar, y);
    if (await page.getByRole("article", { name: /^About the note/ }).isVisible()) return;
  }
  throw new Error("no note was met");
}

const picture = async (page: Page, studio: Studio) => (await page.screenshot({ clip: (await studio.roll.boundingBox()) ?? { x: 0, y: 0, width: 1, height: 1 } })).toString("base64");

test("a note that is pointed at tells its chance and what else was weighed", async ({ studio, page }) => {
  await studio.make(2, 7);
  await studio.rest();
  await studio.tab("Understand");
  await expect(page.getByText("Point at a note in the roll")).toBeVisible();
  await pointAtANote(studio);
  const card = page.getByRole("article", { name: /^About the note/ });
  await expect(card).toContainText(/chance of\s.*%/);
  const choices = card.getByRole("list", { name: "What it weighed" }).getByRole("listitem");
  expect(await choices.count()).toBeGreaterThan(2);
  await expect(choices.filter({ hasText: "this note" })).toHaveCount(1);
  await choices.last().getByRole("button", { name: /^Hear/ }).click();
  await expect(page.getByRole("region", { name: "How original it is" }).getByRole("paragraph").first()).toBeVisible();
});

test("surprise colours the notes, and the attention of a chosen one is drawn and named", async ({ studio, page }) => {
  await studio.make(2, 7);
  await studio.rest();
  await studio.tab("Understand");
  await expect(page.getByText("expected:")).toBeVisible();
  const coloured = await picture(page, studio);
  await page.getByText("Colour by surprise").click();
  await expect(page.getByText("expected:")).toHaveCount(0);
  await expect.poll(() => picture(page, studio)).not.toBe(coloured);

  await studio.roll.focus();
  await page.keyboard.press("End");
  const plain = await picture(page, studio);
  await page.keyboard.press("Enter");
  const looked = page.getByRole("list", { name: "Notes it looked at most" });
  await expect(looked.getByRole("listitem").first()).toContainText("%");
  await expect.poll(() => picture(page, studio)).not.toBe(plain);
  await looked.getByRole("button").first().click();
  await expect(page.getByRole("region", { name: "The most surprising notes" }).getByRole("listitem")).toHaveCount(8);
});
