import { useEffect, useReducer } from "react";
import type { Player } from "./player";

/** Draws the component anew whenever the player's state changes. */
export function usePlayer(player: Player): void {
  const [, again] = useReducer((count: number) => count + 1, 0);
  useEffect(() => player.subscribe(again), [player]);
}
