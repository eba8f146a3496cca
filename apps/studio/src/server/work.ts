import { create } from "zustand";

/** Work that the server is doing for the page. */
export interface Job {
  readonly id: number;
  readonly label: string;
  /** For the server, which is away. */
  readonly waiting: boolean;
  stop(): void;
}

export const useWork = create<{ jobs: readonly Job[] }>(() => ({ jobs: [] }));

/** What the user ended is no problem: panels say nothing of it. */
export class Stopped extends Error {
  constructor() {
    super("stopped");
    this.name = "AbortError";
  }
}

export function isStopped(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

interface Begun {
  readonly signal: AbortSignal;
  waits(waiting: boolean): void;
  end(): void;
}

let lastId = 0;

export function begin(label: string, { signal, quiet = false }: { signal?: AbortSignal; quiet?: boolean }): Begun {
  const id = ++lastId;
  const controller = new AbortController();
  const stop = () => controller.abort(new Stopped());
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop);
  if (!quiet) useWork.setState(({ jobs }) => ({ jobs: [...jobs, { id, label, waiting: false, stop }] }));
  return {
    signal: controller.signal,
    waits: (waiting) => useWork.setState(({ jobs }) => ({ jobs: jobs.map((job) => (job.id === id ? { ...job, waiting } : job)) })),
    end: () => {
      signal?.removeEventListener("abort", stop);
      useWork.setState(({ jobs }) => ({ jobs: jobs.filter((job) => job.id !== id) }));
    },
  };
}
