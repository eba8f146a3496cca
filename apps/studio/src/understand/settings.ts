import { create } from "zustand";
import type { Lens } from "./attending";

interface UnderstandSettings extends Lens {
  readonly colours: boolean;
  readonly lines: boolean;
  /** null: the model that made the take, else the first one. */
  readonly model: string | null;
  set(part: Partial<Omit<UnderstandSettings, "set">>): void;
}

/** Kept while the page is open, so that a look at another panel loses nothing. */
export const useUnderstandSettings = create<UnderstandSettings>((set) => ({
  colours: true,
  lines: true,
  model: null,
  layer: null,
  head: null,
  set,
}));
