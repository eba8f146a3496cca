import type { Metre } from "../music/piece";

export interface BarLine {
  /** From 1. */
  readonly number: number;
  readonly onsetBeats: number;
  /** Its length. */
  readonly beats: number;
  /** What the metre counts, in quarter notes: 0.5 in 6/8. */
  readonly unitBeats: number;
}

const COMMON: Metre = { onsetBeats: 0, beatsPerBar: 4, text: "4/4" };

/** The bars that begin before `throughBeats`, at least one. A new metre begins a new bar, also within one. */
export function barLines(metres: readonly Metre[], throughBeats: number): BarLine[] {
  const bars: BarLine[] = [];
  let metre = metres[0] ?? COMMON;
  let next = 1;
  let onsetBeats = 0;
  do {
    for (let later = metres[next]; later && later.onsetBeats <= onsetBeats + 1e-6; later = metres[++next]) metre = later;
    const changeBeats = metres[next]?.onsetBeats ?? Infinity;
    const beats = Math.min(Math.max(metre.beatsPerBar, 0.25), changeBeats - onsetBeats);
    bars.push({ number: bars.length + 1, onsetBeats, beats, unitBeats: unitOf(metre) });
    onsetBeats += beats;
  } while (onsetBeats < throughBeats - 1e-6);
  return bars;
}

function unitOf(metre: Metre): number {
  const denominator = Number(metre.text.split("/")[1]);
  return denominator > 0 ? 4 / denominator : 1;
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
    if ((bars[middle]?.onsetBeats ?? 0) <= beats + 1e-6) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** From where to where bars reach; bars that are not there are cut off, null if none is left. */
export function spanOf(bars: readonly BarLine[], firstBar: number, lastBar: number): readonly [number, number] | null {
  const first = bars[firstBar - 1];
  const last = bars[Math.min(lastBar, bars.length) - 1];
  return first && last ? [first.onsetBeats, last.onsetBeats + last.beats] : null;
}
