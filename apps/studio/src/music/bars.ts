import { endBeats } from "./piece";
import type { Metre, Piece } from "./piece";

// Beats are ticks divided by a resolution: what differs by less than this is the same place.
const SAME = 1e-6;

const COMMON_TIME: Metre = { onsetBeats: 0, beatsPerBar: 4, text: "4/4" };

/**
 * The lines of the bars: where each bar begins that begins before `throughBeats`, then where the last one ends. At least
 * one bar. A metre takes effect where it stands and begins a bar there, as the server counts them.
 */
export function barBeats(piece: Pick<Piece, "metres">, throughBeats: number): number[] {
  const lines: number[] = [];
  const metres = inOrder(piece.metres);
  metres.forEach((metre, index) => {
    const until = metres[index + 1]?.onsetBeats ?? Infinity;
    for (let bar = 0; ; bar++) {
      const line = metre.onsetBeats + bar * metre.beatsPerBar;
      if (line >= until - SAME || (line > 0 && line >= throughBeats - SAME)) break;
      lines.push(line);
    }
  });
  const last = lines.at(-1) ?? 0;
  const metre = metres.findLast((one) => one.onsetBeats <= last + SAME) ?? COMMON_TIME;
  return [...lines, last + metre.beatsPerBar];
}

/** The number of the bar, from 1, that sounds at a place. */
export function barAt(piece: Pick<Piece, "metres">, beats: number): number {
  const lines = barBeats(piece, Math.max(0, beats) + 2 * SAME);
  return Math.max(1, lines.filter((line) => line <= beats + SAME).length);
}

/** How many bars a piece fills, the last one counted whole. */
export function barCount(piece: Piece): number {
  return barBeats(piece, endBeats(piece)).length - 1;
}

/** Where bars begin and end, from 1, the last one included; the bars may stand behind the end of the piece. */
export function spanOfBars(piece: Pick<Piece, "metres">, firstBar: number, lastBar: number): [number, number] {
  let lines = barBeats(piece, 0);
  while (lines.length <= lastBar) lines = barBeats(piece, (lines.at(-1) ?? 0) + 2 * SAME);
  return [lines[firstBar - 1] ?? 0, lines[lastBar] ?? 0];
}

/** From 0 on, and none without a length: an endless loop would be the price of a hand-made file. */
function inOrder(metres: readonly Metre[]): Metre[] {
  const known = metres.filter((metre) => metre.beatsPerBar > 0).sort((one, other) => one.onsetBeats - other.onsetBeats);
  return (known[0]?.onsetBeats ?? 1) > 0 ? [COMMON_TIME, ...known] : known;
}
