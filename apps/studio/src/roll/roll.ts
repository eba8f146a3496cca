import type { Ref } from "react";
import type { Note, Piece, Selection } from "../music/piece";
import type { Rect } from "./viewport";

export type Tool = "select" | "draw" | "erase";

/** What the user did to notes by hand. */
export type RollEdit =
  | { readonly kind: "add"; readonly track: number; readonly pitch: number; readonly onsetBeats: number; readonly durationBeats: number }
  | { readonly kind: "delete"; readonly notes: readonly number[] }
  | { readonly kind: "move"; readonly notes: readonly number[]; readonly byBeats: number; readonly bySemitones: number }
  | { readonly kind: "resize"; readonly notes: readonly number[]; readonly byBeats: number };

export interface RollProps {
  piece: Piece;
  /** While a stream is coming: the end up to which bars are drawn though they are empty yet. */
  expectedBeats?: number;
  /** Read at every frame; null hides the playhead. */
  positionBeats: () => number | null;
  playing: boolean;
  tool: Tool;
  /** The track that is drawn into. */
  drawTrack: number;
  /** Tracks that are drawn faintly. */
  faint?: ReadonlySet<number>;
  selection: Selection | null;
  onSelection: (selection: Selection | null) => void;
  /** Notes that are chosen one by one. */
  chosen: ReadonlySet<number>;
  onChosen: (notes: ReadonlySet<number>) => void;
  onEdit: (edit: RollEdit) => void;
  onSeek: (beats: number) => void;
  /** A colour from 0 (calm) to 1 for a note, in place of its track's; null draws it grey. */
  heat?: ((note: Note) => number | null) | null;
  /** How strongly each note was attended to, by id, 0 to 1: drawn as lines from the chosen note. */
  attention?: { readonly from: number; readonly to: ReadonlyMap<number, number> } | null;
  /** What was made anew, marked. */
  newBeats?: readonly [number, number] | null;
  /** The note below the pointer or the keyboard's cursor; where it stands, in pixels of the page. */
  onHover?: (note: Note | null, at: { x: number; y: number } | null) => void;
  /** One note at once: a key was pressed, a note was drawn or taken in hand. */
  onSound?: (pitch: number, track: number) => void;
  /** For screen readers: what this roll shows. */
  label: string;
  /** What the page may ask of the roll. */
  ref?: Ref<RollHandle>;
  /** What a frame cost, for measurements. */
  onFrame?: (frame: FrameTold) => void;
}

export interface RollHandle {
  /** More than 1 shows less music, larger; about the middle. */
  zoom(factor: number): void;
  /** The whole piece in the width. */
  fit(): void;
  /** Scrolls to a time, if it is not seen. */
  reveal(beats: number): void;
  /** Where a note stands, in pixels of the page, such as for a card beside it. */
  placeOf(note: number): Rect | null;
}

/** How many notes were painted (0 where the painted ones stayed), and how long the page was at it. */
export interface FrameTold {
  readonly notesDrawn: number;
  readonly paintedMs: number;
}

export { Roll } from "./piano-roll";
