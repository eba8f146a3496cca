import { create } from "zustand";
import { drawSeed } from "../make/form";

/** What Change is asked to do; kept while other panels are looked at. */
export interface Wishes {
  readonly model: string | null;
  /** By which a take is continued. */
  readonly bars: number;
  readonly temperature: number;
  readonly variants: number;
  /** Of the first variant; the next ones have the numbers after it. */
  readonly seed: number;
  set(part: Partial<Omit<Wishes, "set">>): void;
}

export const MOST_BARS = 32;
export const MOST_VARIANTS = 4;
const USUAL_TEMPERATURE = 0.95;

export const useWishes = create<Wishes>((set) => ({
  model: null,
  bars: 4,
  temperature: USUAL_TEMPERATURE,
  variants: 2,
  seed: drawSeed(),
  set,
}));
