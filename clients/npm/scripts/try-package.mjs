// Packs the client, installs the archive into a new project, and composes there with a server of its own.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startServer } from "../test/server.mjs";

const here = fileURLToPath(new URL("../", import.meta.url));
const project = mkdtempSync(join(tmpdir(), "midifactory-project-"));
const run = (cwd, program, ...given) =>
  execFileSync(program, given, { cwd, encoding: "utf8", shell: process.platform === "win32" && program === "npm" });

const server = await startServer();
try {
  const [{ filename, files }] = JSON.parse(run(here, "npm", "pack", "--json", "--silent", "--pack-destination", project));
  console.log(`${filename}: ${files.map(({ path }) => path).join(" ")}`);
  writeFileSync(join(project, "package.json"), '{ "name": "project", "version": "1.0.0", "type": "module" }\n');
  console.log(run(project, "npm", "install", "--no-audit", "--no-fund", `./${filename}`).trim());
  const source = `
import { Client } from "midifactory";
import type { Pieces, RenderedFile } from "midifactory";
const client = new Client({ baseUrl: "${server.url}" });
const told: Pieces = await client.generate({ bars: 1, seed: 7 });
const file: RenderedFile = await client.generate({ bars: 1, seed: 7 }, { as: "midi" });
console.log(told.pieces[0]!.notes.length + " notes, " + file.bytes.length + " bytes");
`;
  writeFileSync(join(project, "main.ts"), source);
  const compiler = join(here, "node_modules", "typescript", "bin", "tsc");
  const options = ["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable"];
  run(project, process.execPath, compiler, ...options, "main.ts");
  console.log(run(project, process.execPath, "main.js").trim());
} finally {
  await server.stop();
  rmSync(project, { recursive: true, force: true });
}
