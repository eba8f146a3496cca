import type { Model } from "midifactory";
import { useEffect, useState } from "react";
import { midiOf } from "../music/midi";
import type { Piece } from "../music/piece";
import { client, withServer } from "../server/connection";
import { kindly, type Kindly } from "../server/problems";
import type { Take } from "../takes/take";
import { originalityLines } from "./originality";
import { ProblemNote, Waiting } from "./parts";

type Report = Take["originality"];
interface Answer {
  readonly piece: Piece;
  readonly model: string;
  readonly report: Report;
  readonly problem: Kindly | null;
}

const known = new WeakMap<Piece, Map<string, Report>>();
// As for explanations: not every step of a note that is dragged is asked about.
const SETTLE_MS = 300;

/** How much of the take stands in what a model was trained on, in plain words. */
export function OriginalityLine({ take, model }: { readonly take: Take; readonly model: Model }) {
  const answer = useReport(take, model);
  if (answer === null) return <Waiting>Comparing with the training pieces</Waiting>;
  if (answer.problem) return <ProblemNote problem={answer.problem} />;
  const lines = originalityLines(answer.report);
  if (lines.length === 0) return <p className="hint">{model.name} keeps no list of its training pieces: nobody can compare.</p>;
  return <>{lines.map((line) => <p key={line}>{line}</p>)}</>;
}

/** Pieces of the server come with their report; of files and edited music it is asked for. */
function useReport(take: Take, { name, originality }: Model): Pick<Answer, "report" | "problem"> | null {
  const [answer, setAnswer] = useState<Answer | null>(null);
  const { piece } = take;
  const own = take.originality !== null && take.asked?.model === name ? take.originality : null;
  const asks = own === null && originality && !known.get(piece)?.has(name);

  useEffect(() => {
    if (!asks) return;
    const leaving = new AbortController();
    const timer = setTimeout(() => {
      withServer("Comparing with the training pieces", (signal) => client().analyze(midiOf(take), { model: name }, { signal }), { signal: leaving.signal, quiet: true }).then(
        ({ originality: report = null }) => {
          known.set(piece, (known.get(piece) ?? new Map<string, Report>()).set(name, report));
          if (!leaving.signal.aborted) setAnswer({ piece, model: name, report, problem: null });
        },
        (error: unknown) => {
          if (!leaving.signal.aborted) setAnswer({ piece, model: name, report: null, problem: kindly(error) });
        },
      );
    }, SETTLE_MS);
    return () => {
      clearTimeout(timer);
      leaving.abort();
    };
    // A take's name and the like change without its music.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [asks, piece, name]);

  if (!asks) return { report: own ?? known.get(piece)?.get(name) ?? null, problem: null };
  return answer?.piece === piece && answer.model === name ? answer : null;
}
