import { endBeats } from "./piece";
import type { Metre, Piece } from "./piece";

export interface BarLine {
  /** From 1. */
  readonly number: number;
  readonly onsetBeats: number;
  /** Its length. */
  readonly beats: number;
  /** What the metre counts, in quarter notes: 0.5 in 6/8. */
  readonly unitBeats: number;
}

// Beats are ticks divided by a resolution: what differs by less than this is the same place.
const SAME = 1e-6;

const COMMON_TIME: Metre = { onsetBeats: 0, beatsPerBar: 4, text: "4/4" };

/** Bars without end. A metre takes effect where it stands and begins a bar there, also within one, as the server counts them. */
function* allBars(metres: readonly Metre[]): Generator<BarLine, never> {
  const known = inOrder(metres);
  let number = 1;
  for (let at = 0; ; at++) {
    const metre = known[at] ?? COMMON_TIME;
    const untilBeats = known[at + 1]?.onsetBeats ?? Infinity;
    for (let bar = 0; ; bar++) {
      const onsetBeats = metre.onsetBeats + bar * metre.beatsPerBar;
      if (onsetBeats >= untilBeats - SAME) break;
      yield { number: number++, onsetBeats, beats: Math.min(metre.beatsPerBar, untilBeats - onsetBeats), unitBeats: unitOf(metre) };
    }
  }
}

/** From 0 on, and none without a length: an endless loop would be the price of a hand-made file. */
function inOrder(metres: readonly Metre[]): Metre[] {
  const known = metres.filter((metre) => metre.beatsPerBar > 0).sort((one, other) => one.onsetBeats - other.onsetBeats);
  return (known[0]?.onsetBeats ?? 1) > 0 ? [COMMON_TIME, ...known] : known;
}

function unitOf(metre: Metre): number {
  const denominator = Number(metre.text.split("/")[1]);
  return denominator > 0 ? 4 / denominator : 1;
}

/** The bars that begin before `throughBeats`, at least one. */
export function barLines(metres: readonly Metre[], throughBeats: number): BarLine[] {
  const bars: BarLine[] = [];
  for (const bar of allBars(metres)) {
    if (bar.number > 1 && bar.onsetBeats >= throughBeats - SAME) break;
    bars.push(bar);
  }
  return bars;
}

/** The lines of those bars: where each begins, then where the last one ends. */
export function barBeats(piece: Pick<Piece, "metres">, throughBeats: number): number[] {
  const bars = barLines(piece.metres, throughBeats);
  const last = bars.at(-1);
  return [...bars.map((bar) => bar.onsetBeats), ...(last ? [endOf(last)] : [])];
}

/** How many bars a piece fills, the last one counted whole. */
export function barCount(piece: Piece): number {
  return barLines(piece.metres, endBeats(piece)).length;
}

/** The number of the bar, from 1, that sounds at a place. */
export function barAt(piece: Pick<Piece, "metres">, beats: number): number {
  return barOf(barLines(piece.metres, beats + 2 * SAME), beats).number;
}

/** The bar that holds the time: the first one before all, the last one after all. */
export function barOf(bars: readonly BarLine[], beats: number): BarLine {
  return bars[barIndex(bars, beats)] ?? { number: 1, onsetBeats: 0, beats: 4, unitBeats: 1 };
}

export function barIndex(bars: readonly BarLine[], beats: number): number {
  let low = 0;
  let high = bars.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((bars[middle]?.onsetBeats ?? 0) <= beats + SAME) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** From where to where bars reach; bars that are not there are cut off, null if none is left. */
export function spanOf(bars: readonly BarLine[], firstBar: number, lastBar: number): readonly [number, number] | null {
  const first = bars[firstBar - 1];
  const last = bars[Math.min(lastBar, bars.length) - 1];
  return first && last ? [first.onsetBeats, endOf(last)] : null;
}

/** Where bars begin and end, from 1, the last one included; the bars may stand behind the end of the piece. */
export function spanOfBars(piece: Pick<Piece, "metres">, firstBar: number, lastBar: number): [number, number] {
  let [begin, end] = [0, 0];
  for (const bar of allBars(piece.metres)) {
    if (bar.number === firstBar) begin = bar.onsetBeats;
    end = endOf(bar);
    if (bar.number >= lastBar) break;
  }
  return [begin, end];
}

const endOf = (bar: BarLine) => bar.onsetBeats + bar.beats;
