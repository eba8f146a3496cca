import { Conflict, ConnectionFailed, NotFound } from "midifactory";
import type { Piece as PieceTold } from "midifactory";
import { create } from "zustand";
import { told } from "../music/midi";
import type { Piece } from "../music/piece";
import { client, withServer } from "../server/connection";
import { kindly, type Kindly } from "../server/problems";
import { isStopped } from "../server/work";
import type { ResultTold } from "./results";

export type Side = "first" | "second";
export type Choice = Side | "neither";

export interface Heard {
  readonly piece: Piece;
  readonly midi: Uint8Array<ArrayBuffer>;
}

export interface Pair {
  readonly id: string;
  readonly first: Heard;
  readonly second: Heard;
}

/** Whose the pieces were, which only a vote tells. */
export interface Verdict {
  readonly choice: Choice;
  readonly first: string;
  readonly second: string;
}

export interface Wish {
  readonly models: readonly [string, string];
  readonly bars: number;
  readonly style: string;
  /** null: as the server is set. */
  readonly temperature: number | null;
}

interface Comparing {
  readonly state: "ready" | "composing" | "voting";
  readonly pair: Pair | null;
  readonly verdict: Verdict | null;
  readonly results: readonly ResultTold[] | null;
  /** Where the server keeps the votes. */
  readonly file: string | null;
  readonly problem: Kindly | null;
}

/** Outlives the panel: a look at another one loses no pair. */
export const useComparing = create<Comparing>(() => ({ state: "ready", pair: null, verdict: null, results: null, file: null, problem: null }));

const heard = (piece: PieceTold): Heard => told(piece);

/** Has both models compose the same wish; whose piece is which, nobody here knows. */
export async function makePair({ models, bars, style, temperature }: Wish): Promise<void> {
  if (useComparing.getState().state !== "ready") return;
  useComparing.setState({ state: "composing", problem: null });
  const settings = { bars, style, ...(temperature === null ? {} : { temperature }) };
  try {
    const { pair, first, second } = await withServer("Composing a pair", (signal) => client().blind(models, settings, { signal }));
    useComparing.setState({ pair: { id: pair, first: heard(first), second: heard(second) }, verdict: null });
  } catch (error) {
    useComparing.setState({ problem: isStopped(error) ? null : kindly(error) });
  } finally {
    useComparing.setState({ state: "ready" });
  }
}

// The server keeps pairs for an hour, and only while it runs.
const COUNTED: Kindly = { what: "The server has counted a vote for this pair already.", todo: "Whose the pieces were it tells only once: make a new pair." };
const UNKNOWN: Kindly = { what: "The connection broke, and nobody knows whether your vote arrived.", todo: "Vote again: it cannot be counted twice." };
const TOO_OLD: Kindly = { what: "The server no longer knows this pair.", todo: "Make a new one." };

/** One vote for each pair. */
export async function vote(choice: Choice): Promise<void> {
  const { state, pair, verdict } = useComparing.getState();
  if (state !== "ready" || pair === null || verdict !== null) return;
  useComparing.setState({ state: "voting", problem: null });
  try {
    const { first, second, results } = await withServer("Voting", (signal) => client().vote(pair.id, choice, { signal }), { quiet: true, once: true });
    useComparing.setState({ verdict: { choice, first, second }, results });
  } catch (error) {
    useComparing.setState({ problem: problemOf(error) });
  } finally {
    useComparing.setState({ state: "ready" });
  }
}

function problemOf(error: unknown): Kindly {
  if (error instanceof NotFound) return TOO_OLD;
  if (error instanceof Conflict) return COUNTED;
  return error instanceof ConnectionFailed ? UNKNOWN : kindly(error);
}

/** The votes so far; a server that takes none says so, and that is no mistake. */
export async function askVotes(signal: AbortSignal): Promise<void> {
  try {
    const { results, file } = await withServer("Counting votes", (work) => client().votes({ signal: work }), { signal, quiet: true });
    useComparing.setState({ results, file });
  } catch (error) {
    if (!isStopped(error)) useComparing.setState({ problem: kindly(error) });
  }
}
