import type { Model } from "midifactory";
import { create } from "zustand";
import { say } from "../../frame/saying";
import { barCount } from "../../music/bars";
import { midiOf, serverTracks } from "../../music/midi";
import type { Selection } from "../../music/piece";
import { withServer } from "../../server/connection";
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
  return vary(take, "Continued", (seed) => ({
    ...common(model, seed),
    kind: "continue",
    settings: { bars, temperature },
    of: { midi: midiOf(take) },
  }));
}

/** Make bars or tracks of the take anew. */
export function infillTake(take: Take, model: Model, selection: Selection): Promise<void> {
  const { temperature } = useWishes.getState();
  const last = Math.min(selection.lastBar, barCount(take.piece));
  const numbers = serverTracks(take.piece);
  const tracks = selection.tracks?.flatMap((track) => numbers[track] ?? []).map(String) ?? null;
  return vary(take, "Infill", (seed) => ({
    ...common(model, seed),
    kind: "infill",
    settings: { temperature, bars: `${selection.firstBar}-${last}`, tracks },
    of: { midi: midiOf(take) },
  }));
}

function common(model: Model, seed: number) {
  return { model: model.name, sha256: model.sha256, seed };
}

/** Each variant is asked for by itself, with a seed of its own: so each can be asked for again, and has its own link. */
async function vary(take: Take, name: string, askedWith: (seed: number) => Asked): Promise<void> {
  if (useVarying.getState().running) return;
  const { seed, variants } = useWishes.getState();
  const asked = Array.from({ length: variants }, (_, index) => askedWith(seed + index));
  const infills = asked[0]?.kind === "infill";
  useVarying.setState({ running: infills ? "infill" : "continue", problem: null });
  const label = `${infills ? "Filling in" : "Continuing"} ${take.name}`;
  say(`${label}.`);
  try {
    // With any model: one that was exchanged at the server a moment ago is meant all the same.
    const made = await withServer(label, (signal) =>
      Promise.all(asked.map((one, index) => perform(one, signal, { name: `${name} ${index + 1}`, parent: take.id, withAnyModel: true }))),
    );
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
