import type { Note, Piece, Selection } from "../music/piece";

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
  /** For screen readers: what this roll shows. */
  label: string;
}
