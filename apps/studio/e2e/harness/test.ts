import { fileURLToPath } from "node:url";
import { test as plain } from "@playwright/test";
import { build, preview } from "vite";

export { expect } from "@playwright/test";
export type { Page } from "@playwright/test";

const configFile = fileURLToPath(new URL("vite.config.ts", import.meta.url));

/** Pages of the harness, built and served once for all their tests. */
export const test = plain.extend<object, { harness: string }>({
  harness: [
    async ({}, provide) => {
      await build({ configFile, logLevel: "warn" });
      const server = await preview({ configFile, preview: { host: "127.0.0.1", port: 0 } });
      const [url] = server.resolvedUrls?.local ?? [];
      if (url === undefined) throw new Error("the harness is not served");
      await provide(url);
      await server.close();
    },
    { scope: "worker", timeout: 180_000 },
  ],
  baseURL: async ({ harness }, provide) => provide(harness),
});
