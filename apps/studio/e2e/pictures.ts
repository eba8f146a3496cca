import { fileURLToPath } from "node:url";
import { COMPOSING_MS, expect, test, type Page } from "./journeys/studio";

// The pictures of docs/studio.md and the README, taken of the real page: `npm run pictures`.
const FOLDER = fileURLToPath(new URL("../../../docs/images/", import.meta.url));
const SEED = 7;

test.use({ viewport: { width: 1280, height: 800 }, colorScheme: "light", reducedMotion: "reduce" });

async function take(page: Page, name: string): Promise<void> {
  await page.mouse.move(2, 2); // no control looks pointed at
  // The welcome's soft edge would make half of the bytes.
  await page.screenshot({ path: `${FOLDER}studio-${name}.png`, style: ".welcome { background: var(--paper-raised) !important; }" });
}

test("the first minute", async ({ studio, page }) => {
  test.setTimeout(400_000);
  await take(page, "open");
  // Else the whole piece is there before its picture is taken.
  const wire = await page.context().newCDPSession(page);
  const slowly = (downloadThroughput: number) =>
    wire.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput, uploadThroughput: -1 });
  await studio.ask(8, SEED);
  await slowly(4_000);
  await page.getByRole("button", { name: "Generate" }).click();
  await expect.poll(async () => Number(await page.getByRole("progressbar").getAttribute("aria-valuenow")), { timeout: COMPOSING_MS }).toBeGreaterThan(45);
  await take(page, "generate");
  await slowly(-1);
  await expect(studio.takes).toHaveCount(1, { timeout: 2 * COMPOSING_MS });

  await studio.tab("Change");
  await page.getByRole("button", { name: "Show all" }).click();
  await page.getByRole("button", { name: "Choose bars by number" }).click();
  await studio.fill("To bar", 4);
  await studio.fill("From bar", 3);
  await studio.unfold("How the model does it");
  await studio.fill("Variants", 1);
  await studio.fill("Seed", SEED);
  await page.getByRole("heading", { name: "Compose bars anew" }).scrollIntoViewIfNeeded();
  await take(page, "choose");
  await page.getByRole("button", { name: "Infill bars 3 to 4" }).click();
  await expect(studio.takes).toHaveCount(2, { timeout: COMPOSING_MS });
  await take(page, "infill");
  await studio.tab("Keep");
  await take(page, "keep");

  await studio.tab("Understand");
  await expect(page.getByRole("region", { name: "The most surprising notes" })).toBeVisible();
  await page.getByRole("region", { name: "The most surprising notes" }).getByRole("button").first().click();
  await expect(page.getByRole("list", { name: "Notes it looked at most" })).toBeVisible();
  await page.getByRole("article").scrollIntoViewIfNeeded();
  await take(page, "understand");
});

test("two models heard blind", async ({ studio, page }) => {
  await page.getByRole("radio", { name: "Dark" }).click();
  await studio.make(4, SEED);
  await studio.tab("Compare");
  await studio.fill("Length in bars", 4);
  await page.getByRole("button", { name: "Make a pair" }).click();
  await expect(page.getByRole("region", { name: "The pair" })).toBeVisible({ timeout: COMPOSING_MS });
  await page.getByRole("region", { name: "The pair" }).scrollIntoViewIfNeeded();
  await take(page, "compare");
});

test("a phone", async ({ studio, page }) => {
  await page.setViewportSize({ width: 390, height: 800 });
  await studio.make(4, SEED);
  await page.evaluate(() => window.scrollTo(0, 0));
  await take(page, "phone");
});
