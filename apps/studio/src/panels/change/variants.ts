import type { Model } from "midifactory";
import { create } from "zustand";
import { say } from "../../frame/saying";
import { barCount } from "../../music/bars";
import { midiOf, serverTracks } from "../../music/midi";
import type { Selection } from "../../music/piece";
import { withServer } from "../../server/connection";
import { defaultsOf } from "../../server/defaults";
import { kindly } from "../../server/problems";
import type { Kindly } from "../../server/problems";
import { isStopped } from "../../server/work";
import { perform } from "../../takes/asking";
import { useTakes } from "../../takes/store";
import type { Asked, Take } from "../../takes/take";
import { drawSeed } from "../make/form";
import { useWishes } from "./wishes";

interface Varying {
  readonly running: "continue" | "infill" | null;
  readonly problem: Kindly | null;
}

export const useVarying = create<Varying>(() => ({ running: null, problem: null }));

/** Let the take go on after its last bar. */
export function continueTake(take: Take, model: Model): Promise<void> {
  const { bars, temperature } = useWishes.getState();
  const of = { midi: midiOf(take) };
  return vary(take, "continue", async (signal) => {
    const settings = { ...(await defaultsOf("continue", signal)), bars, temperature };
    return (seed) => ({ ...common(model, seed), kind: "continue", settings, of });
  });
}

/** Make bars or tracks of the take anew. */
export function infillTake(take: Take, model: Model, selection: Selection): Promise<void> {
  const { temperature } = useWishes.getState();
  const last = Math.min(selection.lastBar, barCount(take.piece));
  const numbers = serverTracks(take.piece);
  const tracks = selection.tracks?.flatMap((track) => numbers[track] ?? []).map(String) ?? null;
  const of = { midi: midiOf(take) };
  return vary(take, "infill", async (signal) => {
    const settings = { ...(await defaultsOf("infill", signal)), temperature, bars: `${selection.firstBar}-${last}`, tracks };
    return (seed) => ({ ...common(model, seed), kind: "infill", settings, of });
  });
}

function common(model: Model, seed: number) {
  return { model: model.name, sha256: model.sha256, seed };
}

/** Each variant is asked for by itself, with a seed of its own: so each can be asked for again, and has its own link. */
async function vary(take: Take, kind: "continue" | "infill", prepare: (signal: AbortSignal) => Promise<(seed: number) => Asked>): Promise<void> {
  if (useVarying.getState().running) return;
  const { seed, variants } = useWishes.getState();
  const seeds = Array.from({ length: variants }, (_, index) => seed + index);
  useVarying.setState({ running: kind, problem: null });
  const [doing, name] = kind === "infill" ? ["Filling in", "Infill"] : ["Continuing", "Continued"];
  const label = `${doing} ${take.name}`;
  say(`${label}.`);
  try {
    // With any model: one that was exchanged at the server a moment ago is meant all the same.
    const made = await withServer(label, async (signal) => {
      const askedWith = await prepare(signal);
      return Promise.all(seeds.map((one, index) => perform(askedWith(one), signal, { name: `${name} ${index + 1}`, parent: take.id, withAnyModel: true })));
    });
    useTakes.getState().addAll(made, made.length === 1 ? `add ${name} 1` : `add ${made.length} variants`);
    useWishes.getState().set({ seed: drawSeed() });
    say(`${made.length === 1 ? "A new take is" : `${made.length} new takes are`} ready.`);
  } catch (error) {
    const problem = isStopped(error) ? null : kindly(error);
    useVarying.setState({ problem });
    say(problem ? `${problem.what} ${problem.todo}` : "Stopped.");
  } finally {
    useVarying.setState({ running: null });
  }
}
