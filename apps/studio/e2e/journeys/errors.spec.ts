import { freePort, startServer } from "./server";
import { COMPOSING_MS, expect, Studio, test } from "./studio";

test("a wish that cannot be met marks its field, and is told with what to do", async ({ studio, page }) => {
  await studio.ask(2, 7);
  await studio.fill("Chords", "H");
  await page.getByRole("button", { name: "Generate" }).click();
  await expect(page.getByRole("alert")).toContainText("H");
  await expect(page.getByRole("alert")).toContainText(/write/i);
  await expect(page.getByRole("textbox", { name: "Chords" })).toHaveAttribute("aria-invalid", "true");
  await expect(studio.takes).toHaveCount(0);
  expect(studio.forgive(/status of 422/)).toBe(1);
  await studio.fill("Chords", "");
  await page.getByRole("button", { name: "Generate" }).click();
  await expect(studio.takes).toHaveCount(1, { timeout: COMPOSING_MS });
  await expect(page.getByRole("alert")).toHaveCount(0);
});

test("more bars than the page asks for become the most it asks for", async ({ studio, page }) => {
  await studio.fill("Length in bars", 999);
  await expect(page.getByRole("textbox", { name: "Length in bars" })).toHaveValue("64");
});

test("a file that is no MIDI file is told by its name", async ({ studio, page }) => {
  await studio.tab("Change");
  await page.locator("input[type=file]").setInputFiles({ name: "holiday.mid", mimeType: "audio/midi", buffer: Buffer.from("this is no music") });
  const alert = page.getByRole("alert");
  await expect(alert).toContainText("holiday.mid");
  await expect(alert).toContainText(/\S+\. \S+/); // what is wrong, and what to do
  await expect(studio.takes).toHaveCount(0);
});

test("a link that was cut is told", async ({ studio, page, server }) => {
  await page.goto("about:blank");
  await page.goto(`${server.url}#take=zdamaged`);
  await expect(page.getByRole("alert")).toContainText("damaged");
  await page.getByRole("button", { name: "I see" }).click();
  await expect(page.getByRole("alert")).toHaveCount(0);
  await expect(studio.title).toHaveText("No music yet");
});

test("while the server restarts, takes stay and what was asked for is composed when it is back", async ({ page }) => {
  test.setTimeout(500_000);
  const port = await freePort();
  const first = await startServer(port);
  const studio = new Studio(page, first.url);
  await studio.open();
  await studio.make(1, 3);
  await first.stop();
  await studio.ask(2, 7);
  await page.getByRole("button", { name: "Generate" }).click();
  await expect(page.getByText("The server is away. Your takes are safe")).toBeVisible();
  await expect(page.getByText("Waiting for the server")).toBeVisible();
  await expect(studio.takes).toHaveCount(1);
  const second = await startServer(port);
  await expect(studio.takes).toHaveCount(2, { timeout: COMPOSING_MS });
  await expect(page.getByText("The server is away")).toHaveCount(0);
  await expect(studio.takes.first()).toContainText("seed 7");
  await second.stop();
  studio.forgive(/ERR_CONNECTION_REFUSED/);
  expect(studio.complaints).toEqual([]);
});
