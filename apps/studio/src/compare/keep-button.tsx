import { useState } from "react";
import { Button } from "react-aria-components";
import { useTakes } from "../takes/store";
import type { Heard } from "./comparing";

/** A piece of a pair as a take. Its seed is the server's: it is kept as music, not as a wish. */
export function KeepButton({ heard, name, letter }: { readonly heard: Heard; readonly name: string; readonly letter: string }) {
  const add = useTakes((takes) => takes.add);
  const [kept, setKept] = useState(false);
  const keep = () => {
    add({ name, piece: heard.piece, midi: heard.midi, asked: null, originality: null, said: [], newBeats: null, parent: null });
    setKept(true);
  };
  return <Button className="quiet-button" isDisabled={kept} onPress={keep} aria-label={kept ? `${letter} is among your takes` : `Keep ${letter} as a take`}>{kept ? "Kept" : "Keep"}</Button>;
}
