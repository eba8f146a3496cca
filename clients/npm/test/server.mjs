// A real server in a process of its own, with the model in the box.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const START_SECONDS = 240;

/** Starts `midifactory serve` on a free port; MIDIFACTORY_PYTHON is the Python that has midifactory[serve]. */
export async function startServer(...settings) {
  const python = process.env.MIDIFACTORY_PYTHON ?? "python";
  const folder = mkdtempSync(join(tmpdir(), "midifactory-client-"));
  const given = ["-m", "midifactory.cli.main", "serve", "port=0", ...settings];
  const child = spawn(python, given, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "exit");
  let said = "";
  const url = await new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`no server after ${START_SECONDS} seconds:\n${said}`));
    }, START_SECONDS * 1000);
    ended.catch(() => undefined).then(() => clearTimeout(late));
    const hear = (part) => {
      said += part;
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(said);
      if (!found) return;
      clearTimeout(late);
      resolve(found[0]);
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", (part) => (said += part));
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`${python} ${given.join(" ")} ended with ${code}:\n${said}`)));
  });
  return {
    url,
    async stop() {
      child.kill("SIGTERM");
      const last = setTimeout(() => child.kill("SIGKILL"), 20_000);
      const [code] = await ended;
      clearTimeout(last);
      rmSync(folder, { recursive: true, force: true });
      return code;
    },
  };
}
