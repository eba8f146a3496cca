import type { Player } from "./player";
import { createPlayer } from "./spessa";

/** The one player of the page. */
export const player: Player = createPlayer();

// Ahead of the first "play", once the page has nothing else to do; Safari has no such moment to offer, and loads at the first play.
if ("requestIdleCallback" in globalThis) requestIdleCallback(() => player.prefetch());
