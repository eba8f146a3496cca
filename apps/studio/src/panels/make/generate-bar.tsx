import { Sparkles, Square } from "lucide-react";
import { Button, ProgressBar } from "react-aria-components";
import { useServer } from "../../server/connection";
import { generate, stopMaking, useMaking } from "./making";

/** The one button that matters; while the music comes, how far it is. */
export function GenerateBar() {
  const { running, problem } = useMaking();
  const ready = useServer(({ models }) => models.length > 0);
  return (
    <div className="generate-bar">
      {problem === null ? null : (
        <div className="problem" role="alert"><strong>{problem.what}</strong> {problem.todo}</div>
      )}
      {running ? <Running /> : (
        <Button className="generate" isDisabled={!ready} onPress={() => void generate()}>
          <Sparkles aria-hidden size={20} /> Generate <kbd>Ctrl + Enter</kbd>
        </Button>
      )}
    </div>
  );
}

function Running() {
  const progress = useMaking(({ progress }) => progress);
  const away = useServer(({ state }) => state !== "here");
  const label = away ? "Waiting for the server" : progress === 0 ? "Listening for the first notes" : "Composing";
  return (
    <div className="running">
      <ProgressBar className="progress" value={progress * 100} aria-label="The music that has come">
        {({ percentage, valueText }) => (
          <>
            <div className="progress-said"><span>{label}…</span><span>{valueText}</span></div>
            <div className="progress-rail"><div className="progress-fill" style={{ width: `${percentage ?? 0}%` }} /></div>
          </>
        )}
      </ProgressBar>
      <Button className="icon-button outlined stop" aria-label="Stop composing" onPress={stopMaking}><Square aria-hidden size={16} fill="currentColor" /></Button>
    </div>
  );
}
