import { Client, ConnectionFailed, NotInService, ProblemError, Unauthorized } from "midifactory";
import type { Model, Style } from "midifactory";
import { create } from "zustand";
import { begin } from "./work";

export type ServerState = "here" | "away" | "locked";

interface Server {
  readonly state: ServerState;
  /** Empty until the server has answered for the first time. */
  readonly models: readonly Model[];
  readonly styles: readonly Style[];
  /** The token that was given is another server's. */
  readonly tokenRefused: boolean;
}

const TOKEN_KEY = "midifactory.token";
const ASK_AGAIN_MS = 2500;
/** A request that breaks though the server answers has a cause of its own: it is not repeated for ever. */
const MOST_BREAKS = 4;

export const useServer = create<Server>(() => ({ state: "here", models: [], styles: [], tokenRefused: false }));

let made: { client: Client; token: string | null } | null = null;

/** A client of the page's own server, behind a proxy's path, too. */
export function client(): Client {
  const token = sessionStorage.getItem(TOKEN_KEY);
  if (made === null || made.token !== token) {
    const baseUrl = new URL(".", document.baseURI).href;
    made = { token, client: new Client(token === null ? { baseUrl } : { baseUrl, token }) };
  }
  return made.client;
}

let asking: Promise<void> | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Asks whether the server is there and what it serves; while it is not, again every few seconds. */
export function ask(): Promise<void> {
  clearTimeout(timer);
  asking ??= askOnce().finally(() => (asking = null));
  return asking;
}

async function askOnce(): Promise<void> {
  try {
    const [models, styles] = await Promise.all([client().models(), client().styles()]);
    useServer.setState({ state: "here", models, styles, tokenRefused: false });
  } catch (error) {
    if (!noted(error)) beAway(); // such as a proxy's own page
  }
}

/** Whether an error means that the server is away or locked; if so the page says it, and asks again by itself. */
function noted(error: unknown): boolean {
  if (error instanceof Unauthorized) {
    useServer.setState({ state: "locked", tokenRefused: sessionStorage.getItem(TOKEN_KEY) !== null });
    return true;
  }
  if (!isAway(error)) return false;
  beAway();
  return true;
}

function beAway(): void {
  useServer.setState({ state: "away" });
  clearTimeout(timer);
  timer = setTimeout(() => void ask(), ASK_AGAIN_MS);
}

/** 502: a proxy whose server is away. */
function isAway(error: unknown): boolean {
  return error instanceof ConnectionFailed || error instanceof NotInService || (error instanceof ProblemError && error.status === 502);
}

/** Kept while the tab is open, and no longer: it is a secret. */
export function unlock(token: string): Promise<void> {
  sessionStorage.setItem(TOKEN_KEY, token.trim());
  return ask();
}

function whenHere(signal: AbortSignal): Promise<void> {
  if (useServer.getState().state === "here") return Promise.resolve();
  return new Promise((resolve, reject) => {
    const leave = useServer.subscribe(({ state }) => {
      if (state === "here") finish(resolve);
    });
    const stopped = () => finish(() => reject(signal.reason as Error));
    const finish = (then: () => void) => {
      leave();
      signal.removeEventListener("abort", stopped);
      then();
    };
    signal.addEventListener("abort", stopped);
  });
}

export interface WorkOptions {
  /** Ends the work, beside the Stop button of the page's strip. */
  readonly signal?: AbortSignal;
  /** The panel shows this work itself; the strip stays away. */
  readonly quiet?: boolean;
  /** What counts, such as a vote: where it is not known whether the request arrived, it is not sent again. */
  readonly once?: boolean;
}

/**
 * Does work at the server, which the page shows below `label`. While the server is away (or wants a token) it waits, and the
 * work begins anew when the server is back: what is asked with a seed gives the same music.
 */
export async function withServer<T>(label: string, work: (signal: AbortSignal) => Promise<T>, options: WorkOptions = {}): Promise<T> {
  const job = begin(label, options);
  try {
    for (let breaks = 0; ; breaks++) {
      job.signal.throwIfAborted();
      await whenHere(job.signal);
      try {
        job.waits(false);
        return await work(job.signal);
      } catch (error) {
        job.signal.throwIfAborted();
        const again = noted(error) && (!options.once || error instanceof Unauthorized);
        if (breaks >= MOST_BREAKS || !again) throw error;
        job.waits(true);
      }
    }
  } finally {
    job.end();
  }
}
