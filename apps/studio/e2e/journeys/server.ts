import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
const START_SECONDS = 240;

export interface Served {
  readonly url: string;
  /** Where it keeps votes. */
  readonly votes: string;
  stop(): Promise<void>;
}

/** MIDIFACTORY_PYTHON, else the checkout's own environment, else what the path has. */
function python(): string {
  const own = join(ROOT, ".venv/bin/python");
  return process.env.MIDIFACTORY_PYTHON ?? (existsSync(own) ? own : "python");
}

/** A real server of this checkout, with the model in the box, once as bach and once as other. */
export async function startServer(port = 0): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), "midifactory-studio-"));
  const votes = join(folder, "votes.jsonl");
  const given = ["-m", "midifactory.cli.main", "serve", `port=${port}`, "checkpoint=[bach=box,other=box]", `votes=${votes}`];
  const child = spawn(python(), given, { cwd: folder, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, PYTHONPATH: join(ROOT, "src") } });
  const ended = once(child, "exit");
  let said = "";
  const url = await new Promise<string>((resolve, reject) => {
    const late = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`no server after ${START_SECONDS} seconds:\n${said}`));
    }, START_SECONDS * 1000);
    const hear = (part: Buffer) => {
      said += part.toString();
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(said);
      if (!found) return;
      clearTimeout(late);
      resolve(found[0] + "/");
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", (part: Buffer) => (said += part.toString()));
    child.on("error", reject);
    child.on("exit", (code) => {
      clearTimeout(late);
      reject(new Error(`${python()} ${given.join(" ")} ended with ${code}; MIDIFACTORY_PYTHON names a Python that has midifactory[serve]:\n${said}`));
    });
  });
  return {
    url,
    votes,
    async stop() {
      child.kill("SIGTERM");
      const last = setTimeout(() => child.kill("SIGKILL"), 30_000);
      await ended;
      clearTimeout(last);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A port that nobody has just now, for a server that comes again at the same place. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}
