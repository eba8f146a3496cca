import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
// What the built page is made of, from the repository's root; tests/serve/test_studio_build.py reads the same list.
const SOURCES = ["apps/studio/src", "apps/studio/public", "clients/npm/src"];
const FILES = ["index.html", "package.json", "package-lock.json", "stamp.ts", "tsconfig.json", "vite.config.ts"];

/** Writes build.json beside the built page: a SHA-256 of its sources, by which a test of Python sees a stale build. */
export function stamp(): Plugin {
  return {
    name: "stamp",
    apply: "build",
    generateBundle() {
      const source = JSON.stringify({ sources_sha256: hashOf(sourceFiles()) }) + "\n";
      this.emitFile({ type: "asset", fileName: "build.json", source });
    },
  };
}

/** Paths below the root with "/", sorted, since folders are listed in any order; tests change nothing of the page. */
function sourceFiles(): string[] {
  const inFolders = SOURCES.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)).split(sep).join("/")),
  );
  const all = [...inFolders, ...FILES.map((name) => `apps/studio/${name}`)];
  return all.filter((path) => !/\.test\.tsx?$/.test(path)).sort();
}

function hashOf(paths: string[]): string {
  const hash = createHash("sha256");
  for (const path of paths) {
    const bytes = readFileSync(join(ROOT, path));
    hash.update(`${path}\n${bytes.length}\n`).update(bytes);
  }
  return hash.digest("hex");
}
