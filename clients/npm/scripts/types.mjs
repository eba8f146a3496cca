// Writes openapi.json, the server's own description, and src/schema.ts, the types that follow from it.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";

const python = process.env.MIDIFACTORY_PYTHON ?? "python";
const here = new URL("../", import.meta.url);
const document = new URL("openapi.json", here);
const script = new URL("../../scripts/write_openapi.py", here);
execFileSync(python, [fileURLToPath(script), fileURLToPath(document)], { stdio: "inherit" });

const bytes = readFileSync(document);
// What has a default may be left out by clients.
const types = astToString(await openapiTS(JSON.parse(bytes), { defaultNonNullable: false }));
const sha256 = createHash("sha256").update(bytes).digest("hex");
const head = `// Made of openapi.json by \`npm run types\`; not to be edited.\n// sha256 of openapi.json: ${sha256}\n\n`;
writeFileSync(new URL("src/schema.ts", here), head + types);
