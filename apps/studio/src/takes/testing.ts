import { writeMidi } from "../music/midi";
import { pieceWith } from "../music/testing";
import type { NewTake } from "./store";

/** A take as the server's answer makes it. */
export function newTake(name: string, more: Partial<NewTake> = {}): NewTake {
  const piece = pieceWith([[0, 60, 0, 1], [0, 64, 1, 1], [1, 40, 4, 4]]);
  return {
    name,
    piece,
    midi: writeMidi(piece),
    asked: { kind: "generate", model: "box", sha256: "a".repeat(64), seed: 7, settings: { bars: 2, temperature: 0.9 } },
    originality: { notes: 3 },
    said: [],
    newBeats: null,
    parent: null,
    ...more,
  };
}
