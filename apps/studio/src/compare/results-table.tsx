import { conclusion, nameOf, shareText, votesOf, type ResultTold } from "./results";

/** All votes so far, and what may be concluded of them. */
export function ResultsTable({ results, file }: { readonly results: readonly ResultTold[]; readonly file: string | null }) {
  if (results.length === 0) return <p className="hint">No votes yet. The first pair you vote on begins the table.</p>;
  return (
    <div className="c-results">
      {results.map((result) => <Result key={result.sha256.join()} result={result} />)}
      {file === null ? null : <p className="hint">The server keeps the votes in <code>{file}</code>.</p>}
    </div>
  );
}

function Result({ result }: { readonly result: ResultTold }) {
  const first = nameOf(result, 0);
  const second = nameOf(result, 1);
  return (
    <div className="c-result">
      <table>
        <caption>{first} and {second}</caption>
        <tbody>
          <tr><th scope="row">{first} better</th><td>{result.wins_first_model}</td></tr>
          <tr><th scope="row">{second} better</th><td>{result.wins_second_model}</td></tr>
          <tr><th scope="row">No difference</th><td>{result.neither}</td></tr>
          <tr><th scope="row">Votes</th><td>{votesOf(result)}</td></tr>
          <tr><th scope="row">Preferred {first} (95 % interval)</th><td>{shareText(result)}</td></tr>
        </tbody>
      </table>
      <IntervalBar result={result} />
      <p>{conclusion(result)}</p>
    </div>
  );
}

/** The share as a dot, its interval as a whisker, one half as a line; the table says the same in words. */
function IntervalBar({ result: { share, low, high } }: { readonly result: ResultTold }) {
  if (share === null || low === null || high === null) return null;
  const at = (part: number) => `${100 * part}%`;
  return (
    <div className="c-interval" aria-hidden>
      <span className="c-half" />
      <span className="c-whisker" style={{ left: at(low), width: at(high - low) }} />
      <span className="c-share" style={{ left: at(share) }} />
    </div>
  );
}
