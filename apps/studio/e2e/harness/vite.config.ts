import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { mergeConfig } from "vite";
import studio from "../../vite.config";

const here = fileURLToPath(new URL(".", import.meta.url));

/** Pages that show one part of the studio alone, served as the real server serves: with its Content-Security-Policy. */
export default mergeConfig(studio, {
  root: here,
  build: {
    outDir: fileURLToPath(new URL("../../node_modules/.harness", import.meta.url)),
    rollupOptions: { input: readdirSync(here).filter((name) => name.endsWith(".html")).map((name) => here + name) },
  },
  preview: {
    headers: {
      // The components put a small style element into the page.
      "Content-Security-Policy":
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'",
    },
  },
});
