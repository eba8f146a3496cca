import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";
import { stamp } from "./stamp.ts";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
// `npm run dev` asks a server that runs beside it.
const server = process.env.MIDIFACTORY_SERVER ?? "http://127.0.0.1:8000";

export default defineConfig({
  // Relative addresses: the page works behind a proxy's path, too.
  base: "./",
  plugins: [react(), stamp()],
  resolve: { alias: { midifactory: at("../../clients/npm/src/index.ts") } },
  build: {
    // Part of the Python package, and committed: an installation needs no node.
    outDir: at("../../src/midifactory/serve/studio"),
    assetsDir: "studio",
    emptyOutDir: true,
    chunkSizeWarningLimit: 1500,
    // What is built in goes out with the Python package, and with it the terms of its makers.
    license: { fileName: "licenses.md" },
  },
  server: {
    fs: { allow: [at("../..")] },
    proxy: { "/v1": server, "/soundfont.sf2": server, "/openapi.json": server },
  },
  test: { environment: "jsdom", include: ["src/**/*.test.{ts,tsx}"] },
});
