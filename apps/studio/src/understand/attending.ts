import type { AttentionWeights } from "midifactory";
import { useEffect, useState } from "react";
import { midiOf } from "../music/midi";
import { client, withServer } from "../server/connection";
import { kindly, type Kindly } from "../server/problems";
import type { Take } from "../takes/take";
import type { Explained } from "./explaining";

/** Which layer and head; null: the mean of all. */
export interface Lens {
  readonly layer: number | null;
  readonly head: number | null;
}

export type Attending =
  | { readonly state: "idle" | "asking" }
  | { readonly state: "told"; readonly attention: AttentionWeights }
  | { readonly state: "failed"; readonly problem: Kindly };

const known = new WeakMap<Explained, Map<string, AttentionWeights>>();

/** What the model looked at when it told the note of that index; null: no note is chosen, so nothing is asked. */
export function useAttention(take: Take | null, explained: Explained | null, index: number | null, lens: Lens): Attending {
  const [answer, setAnswer] = useState<{ readonly of: Explained; readonly key: string; readonly got: AttentionWeights | Kindly } | null>(null);
  const { layer, head } = lens;
  const key = `${index}/${layer}/${head}`;

  useEffect(() => {
    if (take === null || explained === null || index === null || known.get(explained)?.has(key)) return;
    const leaving = new AbortController();
    const settings = { model: explained.told.model, note: index, layer, head };
    withServer(
      "Asking what the model looked at",
      (signal) => client().attention(midiOf(take), settings, { signal }),
      { signal: leaving.signal, quiet: true },
    ).then(
      (got) => {
        const lenses = known.get(explained) ?? new Map<string, AttentionWeights>();
        known.set(explained, lenses.set(key, got));
        if (!leaving.signal.aborted) setAnswer({ of: explained, key, got });
      },
      (error: unknown) => {
        if (!leaving.signal.aborted) setAnswer({ of: explained, key, got: kindly(error) });
      },
    );
    return () => leaving.abort();
    // eslint-disable-next-line react-hooks/exhaustive-deps -- `explained` stands for the take's music
  }, [explained, index, layer, head, key]);

  if (take === null || explained === null || index === null) return { state: "idle" };
  const before = known.get(explained)?.get(key);
  if (before) return { state: "told", attention: before };
  const got = answer?.of === explained && answer.key === key ? answer.got : null;
  if (got === null || "weights" in got) return { state: "asking" };
  return { state: "failed", problem: got };
}

/** Note ids with how strongly each was looked at, the strongest 1: the lines of the roll. */
export function attendedIds(attention: AttentionWeights, explained: Explained): ReadonlyMap<number, number> {
  const strongest = Math.max(0, ...attention.weights.map(({ weight }) => weight));
  const found = new Map<number, number>();
  if (strongest <= 0) return found;
  for (const { note, weight } of attention.weights) {
    const id = explained.ids.get(note);
    if (id !== undefined && weight > 0) found.set(id, weight / strongest);
  }
  return found;
}

/** The most attended notes, with their part of the attention that all notes got. */
export function mostAttended(attention: AttentionWeights, explained: Explained, count: number): { id: number; share: number }[] {
  const whole = attention.weights.reduce((sum, { weight }) => sum + weight, 0);
  if (whole <= 0) return [];
  return attention.weights
    .flatMap(({ note, weight }) => {
      const id = explained.ids.get(note);
      return id === undefined || weight <= 0 ? [] : [{ id, share: weight / whole }];
    })
    .sort((a, b) => b.share - a.share)
    .slice(0, count);
}
