import { existsSync, readFileSync } from "node:fs";
import { COMPOSING_MS, expect, HEARD, test } from "./studio";

const linesOf = (file: string) => (existsSync(file) ? readFileSync(file, "utf8").split("\n").filter(Boolean) : []);

test("a pair is heard blind, voted on once, and the result is shown and kept", async ({ studio, page, server }) => {
  const before = linesOf(server.votes).length;
  await studio.tab("Compare");
  await studio.fill("Length in bars", 8); // still heard when a busy browser comes late to listen
  const answer = page.waitForResponse(/\/v1\/blind$/);
  await page.getByRole("button", { name: "Make a pair" }).click();
  const told = await (await answer).text();
  const pair = page.getByRole("region", { name: "The pair" });
  await expect(pair).toBeVisible({ timeout: COMPOSING_MS });

  // Neither what came nor what is seen tells whose they are.
  expect(told).not.toMatch(/bach|other|seed|sha256/);
  await expect(pair).not.toContainText(/bach|other/);
  await expect(page.getByText(/is by/)).toHaveCount(0);

  for (const letter of ["A", "B"]) {
    await pair.getByRole("button", { name: `Play ${letter}` }).click();
    await expect.poll(() => studio.loudness()).toBeGreaterThan(HEARD);
  }
  await pair.getByRole("button", { name: "Pause B" }).click();
  expect(linesOf(server.votes)).toHaveLength(before);

  await pair.getByRole("button", { name: "A is better" }).click();
  await expect(pair.getByText(/^You chose A, by (bach|other)\./)).toBeVisible();
  await expect(pair.getByRole("button", { name: "A is better" })).toHaveCount(0);
  const lines = linesOf(server.votes);
  expect(lines).toHaveLength(before + 1);
  expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({ choice: "first" });

  const table = page.getByRole("table");
  await expect(table.getByRole("row", { name: /^Votes/ })).toContainText(String(before + 1));
  await expect(page.getByText(/nothing can be said yet/)).toBeVisible();
});
