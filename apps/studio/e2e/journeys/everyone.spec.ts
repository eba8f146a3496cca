import AxeBuilder from "@axe-core/playwright";
import { bytesOf, notesIn } from "./notes";
import { COMPOSING_MS, expect, HEARD, type Page, test } from "./studio";

const TABS = ["Make", "Change", "Keep", "Understand", "Compare"] as const;

test("nothing is asked of any other host, and the page's policy forbids it", async ({ studio, page, server }) => {
  const [answer] = await Promise.all([page.waitForResponse(server.url), page.reload()]);
  const policy = (await answer.allHeaders())["content-security-policy"] ?? "";
  expect(policy).toContain("default-src 'self'");
  expect(policy).not.toMatch(/https?:|\*|'unsafe-eval'|script-src[^;]*'unsafe-inline'/);
  await studio.make(2, 7);
  for (const form of ["MIDI", "WAV", "PNG"] as const) await studio.download(form);
  for (const tab of TABS) await studio.tab(tab);
  expect(studio.asked.length).toBeGreaterThan(8);
  expect(studio.foreign()).toEqual([]);
});

test("the accessibility check finds nothing serious on any panel, light and dark", async ({ studio, page }) => {
  await studio.make(2, 7);
  await studio.rest();
  for (const theme of ["Light", "Dark"]) {
    await page.getByRole("radio", { name: theme }).click();
    for (const tab of TABS) {
      await studio.tab(tab);
      if (tab === "Understand") await expect(page.getByRole("region", { name: "The most surprising notes" })).toBeVisible();
      expect(await serious(page), `${theme}, ${tab}`).toEqual([]);
    }
  }
});

/** Of what axe finds, what keeps people out. */
async function serious(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}`));
}

test("on a phone nothing sticks out at the side, and all panels are there", async ({ studio, page }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  await studio.make(2, 7);
  for (const tab of TABS) {
    await studio.tab(tab);
    await expect(page.getByRole("tabpanel", { name: tab })).toBeVisible();
    expect(await page.evaluate(() => document.documentElement.scrollWidth), tab).toBeLessThanOrEqual(360);
  }
  expect(await serious(page)).toEqual([]);
});

/** Presses Tab until the wanted thing has the focus, as one does without a mouse. */
async function reach(page: Page, role: string, name: RegExp): Promise<void> {
  const wanted = page.getByRole(role as "button", { name });
  for (let presses = 0; presses < 80; presses++) {
    await page.keyboard.press("Tab");
    if (await wanted.evaluateAll((found) => found.some((one) => one === document.activeElement))) return;
  }
  throw new Error(`${String(name)} is not reached by Tab`);
}

test("by keyboard alone: from opening the page to a take that is played and downloaded", async ({ studio, page }) => {
  await reach(page, "textbox", /^Length in bars$/);
  await page.keyboard.press("Control+a");
  await page.keyboard.type("2");
  await reach(page, "textbox", /^Seed$/);
  await page.keyboard.press("Control+a");
  await page.keyboard.type("7");
  await reach(page, "button", /^Generate/);
  await page.keyboard.press("Enter");
  await expect(studio.takes).toHaveCount(1, { timeout: COMPOSING_MS });
  await expect(studio.takes).toContainText("seed 7");
  await reach(page, "button", /^(Play|Pause)$/);
  if (await page.getByRole("button", { name: "Pause" }).isVisible()) await page.keyboard.press("Space");
  await expect(page.getByRole("button", { name: "Play", exact: true })).toBeFocused();
  await page.keyboard.press("Space");
  await expect.poll(() => studio.loudness()).toBeGreaterThan(HEARD);
  await page.keyboard.press("Space");
  await expect(page.getByRole("button", { name: "Play", exact: true })).toBeVisible();

  await reach(page, "tab", /^Make$/);
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await expect(page.getByRole("tab", { name: "Keep" })).toHaveAttribute("aria-selected", "true");
  await reach(page, "button", /^Download MIDI/);
  const coming = page.waitForEvent("download");
  await page.keyboard.press("Enter");
  expect(notesIn(await bytesOf(await coming)).length).toBeGreaterThan(8);
});
