import { Pause, Play } from "lucide-react";
import { useEffect, useRef, useSyncExternalStore } from "react";
import type { KeyboardEvent } from "react";
import { Button } from "react-aria-components";
import { Roll } from "../roll/roll";
import type { RollHandle } from "../roll/roll";
import { player } from "../sound/the-player";
import { currentOf, useTakes } from "../takes/store";
import { useView } from "../takes/view";
import { useComparing, vote, type Choice, type Pair, type Side, type Verdict } from "./comparing";
import { KeepButton } from "./keep-button";

export const LETTERS: Readonly<Record<Side, string>> = { first: "A", second: "B" };
const SIDES: readonly Side[] = ["first", "second"];
const KEYS: Readonly<Record<string, Choice>> = { "1": "first", "2": "second", "0": "neither" };
const NONE: ReadonlySet<number> = new Set();
const nothing = () => undefined;
const hearing = (listener: () => void) => player.subscribe(listener);

/** Both pieces to be heard, and the vote. */
export function Listening({ pair, verdict }: { readonly pair: Pair; readonly verdict: Verdict | null }) {
  const [loaded, listen] = useListening(pair);
  const section = useRef<HTMLElement>(null);
  useEffect(() => section.current?.focus(), [pair.id]); // so that the keys work at once
  const press = (event: KeyboardEvent) => {
    const choice = KEYS[event.key];
    if (choice === undefined || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    void vote(choice);
  };
  return (
    <section ref={section} className="c-listening" aria-label="The pair" tabIndex={-1} {...(verdict === null ? { onKeyDown: press, "data-keys": "1 2 0" } : {})}>
      {SIDES.map((side) => <OneSide key={side} side={side} pair={pair} verdict={verdict} loaded={loaded === side} listen={() => listen(side)} />)}
      {verdict === null ? <Ballot /> : <Reveal verdict={verdict} />}
    </section>
  );
}

/** Which side the player has, and a function that plays (or pauses) one: the position stays when sides change. */
function useListening(pair: Pair): [Side | null, (side: Side) => void] {
  const heard = useView(({ borrowed }) => borrowed?.piece);
  const loaded = SIDES.find((side) => pair[side].piece === heard) ?? null;
  const current = useTakes((takes) => currentOf(takes)?.piece);
  // The page loads a take that is chosen or changed.
  useEffect(() => useView.getState().set({ borrowed: null }), [current]);
  useEffect(() => () => {
    if (useView.getState().borrowed !== null) giveBack();
  }, []);
  const listen = (side: Side) => {
    if (loaded === side && player.state === "playing") return player.pause();
    const { piece } = pair[side];
    if (loaded !== side) player.load(piece);
    useView.getState().set({ borrowed: { name: `${LETTERS[side]} of the pair`, piece } });
    player.play().catch(nothing); // the transport shows the player's trouble
  };
  return [loaded, listen];
}

/** The one player plays the current take again. */
function giveBack(): void {
  player.stop();
  useView.getState().set({ borrowed: null });
  const take = currentOf(useTakes.getState());
  if (take !== null) player.load(take.piece);
}

function OneSide({ side, pair, verdict, loaded, listen }: {
  readonly side: Side;
  readonly pair: Pair;
  readonly verdict: Verdict | null;
  /** Whether the player has this one. */
  readonly loaded: boolean;
  readonly listen: () => void;
}) {
  const playing = useSyncExternalStore(hearing, () => player.state === "playing") && loaded;
  const letter = LETTERS[side];
  const { piece } = pair[side];
  const roll = useRef<RollHandle>(null);
  useEffect(() => roll.current?.fit(), []); // each is seen as a whole
  return (
    <div className="c-side" data-loaded={loaded || undefined}>
      <div className="c-side-head">
        <strong className="c-letter">{letter}</strong>
        <span className="c-model">{verdict?.[side]}</span>
        {verdict === null ? null : <KeepButton heard={pair[side]} name={`${verdict[side]} (${letter} of a pair)`} letter={letter} />}
        <Button className="quiet-button" aria-label={playing ? `Pause ${letter}` : `Play ${letter}`} onPress={listen}>
          {playing ? <Pause aria-hidden size={15} /> : <Play aria-hidden size={15} />} {playing ? "Pause" : "Play"}
        </Button>
      </div>
      <div className="c-roll">
        <Roll
          ref={roll} piece={piece} label={`Notes of ${letter}`} tool="select" drawTrack={0} selection={null} chosen={NONE} playing={playing}
          positionBeats={() => (loaded ? player.positionBeats() : null)} onSelection={nothing} onChosen={nothing} onEdit={nothing}
          onSeek={(beats) => player.seek(beats)}
        />
      </div>
    </div>
  );
}

function Ballot() {
  const voting = useComparing(({ state }) => state !== "ready");
  const options: readonly { choice: Choice; name: string; key: string }[] = [
    { choice: "first", name: "A is better", key: "1" },
    { choice: "second", name: "B is better", key: "2" },
    { choice: "neither", name: "No difference", key: "0" },
  ];
  return (
    <div className="c-ballot" role="group" aria-label="Your vote">
      {options.map(({ choice, name, key }) => (
        <Button key={choice} className="c-vote outlined-wide" isDisabled={voting} aria-keyshortcuts={key} onPress={() => void vote(choice)}>
          {name} <kbd aria-hidden>{key}</kbd>
        </Button>
      ))}
    </div>
  );
}

function Reveal({ verdict }: { readonly verdict: Verdict }) {
  const { choice, first, second } = verdict;
  const yours = choice === "neither" ? "You heard no difference." : `You chose ${LETTERS[choice]}, by ${verdict[choice]}.`;
  return <p className="c-reveal" role="status">{yours} A is by <strong>{first}</strong>, B by <strong>{second}</strong>.</p>;
}
