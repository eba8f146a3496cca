import { existsSync } from "node:fs";
import { defineConfig } from "@playwright/test";

const ROLL_PORT = Number(process.env.STUDIO_LAB_PORT ?? 5199);
const SOUND_PORT = 4319;
const host = "127.0.0.1";
const installed = [process.env.CHROMIUM, "/usr/bin/chromium"].find((path) => path && existsSync(path));

// Parts of the page alone, in pages of their own that no build contains.
export default defineConfig({
  testDir: "e2e",
  timeout: 60_000,
  workers: 1,
  use: { launchOptions: { ...(installed && { executablePath: installed }), args: ["--no-sandbox"] } },
  projects: [
    { name: "roll", testMatch: "roll.spec.ts", use: { baseURL: `http://${host}:${ROLL_PORT}/e2e/harness/` } },
    { name: "sound", testMatch: "sound.spec.ts", use: { baseURL: `http://${host}:${SOUND_PORT}` } },
  ],
  webServer: [
    { command: `npx vite --host ${host} --port ${ROLL_PORT} --strictPort`, url: `http://${host}:${ROLL_PORT}/e2e/harness/roll.html`, reuseExistingServer: true },
    {
      command: `vite build -c e2e/harness/vite.config.ts && vite preview -c e2e/harness/vite.config.ts --host ${host} --port ${SOUND_PORT} --strictPort`,
      port: SOUND_PORT,
      reuseExistingServer: false,
      timeout: 120_000,
    },
  ],
});
