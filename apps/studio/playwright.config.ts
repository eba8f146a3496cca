import { existsSync } from "node:fs";
import { defineConfig } from "@playwright/test";

const installed = [process.env.CHROMIUM, "/usr/bin/chromium"].find((path) => path && existsSync(path));

// Each project starts what it needs itself (e2e/harness/test.ts, e2e/journeys/studio.ts), so one of them runs alone, too.
export default defineConfig({
  testDir: "e2e",
  timeout: 120_000,
  expect: { timeout: 30_000 },
  // The model, the sound and the browser share the processor: side by side they would be slow, and sound would stutter.
  workers: 1,
  reporter: [["list"]],
  use: {
    launchOptions: { ...(installed && { executablePath: installed }), args: ["--no-sandbox"] },
    trace: "retain-on-failure",
    screenshot: "only-on-failure",
  },
  projects: [
    { name: "harness", testMatch: ["roll.spec.ts", "sound.spec.ts"] },
    { name: "journeys", testMatch: "journeys/*.spec.ts" },
    { name: "pictures", testMatch: "pictures.ts" },
  ],
});
