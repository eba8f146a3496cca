import type { Explanation, Model } from "midifactory";
import { useEffect, useState } from "react";
import { midiOf } from "../music/midi";
import type { Piece } from "../music/piece";
import { client, withServer } from "../server/connection";
import { kindly, type Kindly } from "../server/problems";
import type { Take } from "../takes/take";
import { idsByIndex, matchNotes } from "./matching";
import { surpriseScale, type SurpriseScale } from "./surprise";

/** What a model said of a piece, and which note of the piece each of its sentences is about. */
export interface Explained {
  readonly told: Explanation;
  /** Index in `told.notes` by the note's id. */
  readonly indexes: ReadonlyMap<number, number>;
  /** The note's id by that index. */
  readonly ids: ReadonlyMap<number, number>;
  readonly scale: SurpriseScale;
}

export type Explaining =
  | { readonly state: "idle" | "asking" }
  | { readonly state: "told"; readonly explained: Explained }
  | { readonly state: "failed"; readonly problem: Kindly; readonly again: () => void };

// A piece is never changed in place, so what was said of it holds; undo finds it here again.
const known = new WeakMap<Piece, Map<string, Explained>>();
// A note that is dragged makes a piece at every step, and React asks twice while developing: only what stays is asked.
const SETTLE_MS = 300;

const keyOf = (model: Model) => `${model.name}@${model.sha256}`;

export function explainedOf(told: Explanation, piece: Piece): Explained {
  const indexes = matchNotes(piece, told.notes);
  return { told, indexes, ids: idsByIndex(indexes), scale: surpriseScale(told.notes.map(({ nats }) => nats)) };
}

/** Asks once for each piece and model; stops asking when either changes. */
export function useExplanation(take: Take | null, model: Model | null): Explaining {
  const [attempt, setAttempt] = useState(0);
  const [answer, setAnswer] = useState<{ readonly piece: Piece; readonly key: string; readonly got: Explained | Kindly } | null>(null);
  const key = model === null ? null : keyOf(model);
  const name = model?.name;

  useEffect(() => {
    if (take === null || key === null || name === undefined || known.get(take.piece)?.has(key)) return;
    const { piece } = take;
    const leaving = new AbortController();
    const timer = setTimeout(() => {
      explain(take, name, leaving.signal).then(
        (got) => {
          const models = known.get(piece) ?? new Map<string, Explained>();
          known.set(piece, models.set(key, got));
          if (!leaving.signal.aborted) setAnswer({ piece, key, got });
        },
        (error: unknown) => {
          if (!leaving.signal.aborted) setAnswer({ piece, key, got: kindly(error) });
        },
      );
    }, SETTLE_MS);
    return () => {
      clearTimeout(timer);
      leaving.abort();
    };
    // A take's name and the like change without its music.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [take?.piece, key, name, attempt]);

  if (take === null || key === null) return { state: "idle" };
  const before = known.get(take.piece)?.get(key);
  if (before) return { state: "told", explained: before };
  const got = answer?.piece === take.piece && answer.key === key ? answer.got : null;
  if (got === null || "told" in got) return { state: "asking" };
  return {
    state: "failed",
    problem: got,
    again: () => {
      setAnswer(null);
      setAttempt((count) => count + 1);
    },
  };
}

async function explain(take: Take, model: string, leaving: AbortSignal): Promise<Explained> {
  const told = await withServer(
    "Asking the model about each note",
    (signal) => client().explain(midiOf(take), { model, alternatives: 5 }, { signal }),
    { signal: leaving },
  );
  return explainedOf(told, take.piece);
}
