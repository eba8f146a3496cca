import { useEffect } from "react";
import { useServer } from "../server/connection";
import { askVotes, useComparing } from "../compare/comparing";
import { Listening } from "../compare/listening";
import { ResultsTable } from "../compare/results-table";
import { PairSettings } from "../compare/settings";
import { ProblemNote, Section } from "../understand/parts";
import "../understand/understand.css";
import "../compare/compare.css";

/** Two models, heard without knowing which is which. */
export function Compare() {
  const models = useServer((server) => server.models);
  const styles = useServer((server) => server.styles);
  const { pair, verdict, results, file, problem } = useComparing();
  useEffect(() => {
    const leaving = new AbortController();
    void askVotes(leaving.signal);
    return () => leaving.abort();
  }, []);
  return (
    <div className="compare">
      {models.length === 0 ? <p className="hint">Waiting for the server…</p> : null}
      {models.length === 1 ? <OneModel name={models[0]?.name ?? ""} /> : null}
      {models.length > 1 ? (
        <>
          {pair === null ? <p className="panel-lead">Two models, the same wish. Hear A and B without knowing whose they are, and say which is better.</p> : <Listening key={pair.id} pair={pair} verdict={verdict} />}
          {problem === null ? null : <ProblemNote problem={problem} />}
          <PairSettings models={models} styles={styles} />
        </>
      ) : null}
      {problem === null || models.length > 1 ? null : <ProblemNote problem={problem} />}
      {results === null ? null : <Section title="Votes so far"><ResultsTable results={results} file={file} /></Section>}
    </div>
  );
}

function OneModel({ name }: { readonly name: string }) {
  return (
    <div className="c-one">
      <p>To compare, the server needs two models. It serves one, {name}. Start it with two checkpoints, each with a name of your choice:</p>
      <pre tabIndex={0}><code>midifactory serve "checkpoint=[a=PATH,b=PATH]"</code></pre>
      <p className="hint">PATH is a run's folder, a checkpoint file, or box for the model that comes with the program.</p>
    </div>
  );
}
