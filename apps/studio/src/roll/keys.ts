import type { Note, Selection } from "../music/piece";
import type { NoteIndex } from "./note-index";
import type { Tool } from "./roll";
import { GRID_BEATS } from "./snap";

export type Step = "next" | "previous" | "up" | "down" | "first" | "last";
export type BarStep = "more" | "less" | "later" | "earlier";

export type KeyAct =
  | { readonly kind: "walk"; readonly step: Step }
  | { readonly kind: "place"; readonly byBeats: number; readonly bySemitones: number }
  | { readonly kind: "choose"; readonly add: boolean }
  | { readonly kind: "draw" | "delete" | "clear" | "all" | "fit" }
  | { readonly kind: "move"; readonly byBeats: number; readonly bySemitones: number }
  | { readonly kind: "resize"; readonly byBeats: number }
  | { readonly kind: "bars"; readonly step: BarStep }
  | { readonly kind: "zoom"; readonly factor: number };

export interface Stroke {
  readonly key: string;
  readonly shiftKey: boolean;
  readonly altKey: boolean;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
}

const ARROWS: Record<string, readonly [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const STEPS: Record<string, Step> = { ArrowLeft: "previous", ArrowRight: "next", ArrowUp: "up", ArrowDown: "down", Home: "first", End: "last" };
const OTHERS: Record<string, KeyAct> = {
  Delete: { kind: "delete" }, Backspace: { kind: "delete" }, Escape: { kind: "clear" },
  "+": { kind: "zoom", factor: 1.3 }, "=": { kind: "zoom", factor: 1.3 }, "-": { kind: "zoom", factor: 1 / 1.3 }, "0": { kind: "fit" },
};

/** What a key means on the roll; null leaves it to the page. */
export function actOf(stroke: Stroke, tool: Tool): KeyAct | null {
  const { key } = stroke;
  if (stroke.ctrlKey || stroke.metaKey) return key.toLowerCase() === "a" ? { kind: "all" } : null;
  const arrow = ARROWS[key];
  if (arrow && stroke.altKey) return altArrow(arrow, stroke.shiftKey);
  if (stroke.altKey) return null;
  if (arrow && stroke.shiftKey) return { kind: "move", byBeats: arrow[0] * GRID_BEATS, bySemitones: arrow[1] };
  if (arrow && tool === "draw") return { kind: "place", byBeats: arrow[0] * GRID_BEATS, bySemitones: arrow[1] };
  if (key === "Enter") return tool === "draw" ? { kind: "draw" } : tool === "erase" ? { kind: "delete" } : { kind: "choose", add: stroke.shiftKey };
  const step = STEPS[key];
  return step ? { kind: "walk", step } : (OTHERS[key] ?? null);
}

/** Left and right change the chosen bars, up and down the length of the chosen notes. */
function altArrow([right, up]: readonly [number, number], shift: boolean): KeyAct {
  if (up !== 0) return { kind: "resize", byBeats: up * GRID_BEATS };
  if (shift) return { kind: "bars", step: right > 0 ? "later" : "earlier" };
  return { kind: "bars", step: right > 0 ? "more" : "less" };
}

/** Further than this in time, a note above or below is not meant while there are nearer ones: a semitone is as far as a sixteenth. */
const BEATS_PER_SEMITONE = 0.25;

/** Null where there is none. */
export function walked(index: NoteIndex, from: Note | null, step: Step): Note | null {
  const notes = index.sorted;
  if (step === "first") return notes[0] ?? null;
  if (step === "last") return notes.at(-1) ?? null;
  if (!from) return notes[0] ?? null;
  if (step === "next" || step === "previous") return notes[notes.indexOf(from) + (step === "next" ? 1 : -1)] ?? null;
  return nearest(notes, from, step === "up" ? 1 : -1);
}

function nearest(notes: readonly Note[], from: Note, direction: 1 | -1): Note | null {
  let best: Note | null = null;
  let least = Infinity;
  for (const note of notes) {
    const semitones = (note.pitch - from.pitch) * direction;
    const distance = Math.abs(note.onsetBeats - from.onsetBeats) + semitones * BEATS_PER_SEMITONE;
    if (semitones <= 0 || distance >= least) continue;
    best = note;
    least = distance;
  }
  return best;
}

/** `cursorBar` is chosen where nothing was. Taking away the last bar chooses nothing. */
export function steppedBars(selection: Selection | null, step: BarStep, cursorBar: number, bars: number): Selection | null {
  if (!selection) return step === "less" ? null : { firstBar: cursorBar, lastBar: cursorBar, tracks: null };
  const { firstBar, lastBar } = selection;
  if (step === "more") return { ...selection, lastBar: Math.min(bars, lastBar + 1) };
  if (step === "less") return lastBar > firstBar ? { ...selection, lastBar: lastBar - 1 } : null;
  const by = step === "later" ? Math.min(1, bars - lastBar) : Math.max(-1, 1 - firstBar);
  return { ...selection, firstBar: firstBar + by, lastBar: lastBar + by };
}
