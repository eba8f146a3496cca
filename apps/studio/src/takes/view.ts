import { create } from "zustand";
import type { Note, Piece, Selection } from "../music/piece";
import type { RollProps, Tool } from "../roll/roll";

/** What is looked at and how: nothing of it is kept. */
export interface View {
  readonly selection: Selection | null;
  readonly chosen: ReadonlySet<number>;
  readonly tool: Tool;
  /** The track that is drawn into. */
  readonly drawTrack: number;
  readonly heat: ((note: Note) => number | null) | null;
  readonly attention: RollProps["attention"];
  readonly hovered: Note | null;
  /** Where the hovered note stands, in pixels of the page. */
  readonly hoveredAt: { readonly x: number; readonly y: number } | null;
  /** A piece that is coming from the server; it is shown in place of the take. */
  readonly growing: Piece | null;
  /** The end that it will have. */
  readonly expectedBeats: number | undefined;
  /** Music that is no take and is heard all the same, such as one of a pair: it is shown while the player has it. */
  readonly borrowed: { readonly name: string; readonly piece: Piece } | null;
  readonly panel: PanelName;
  set(part: Partial<Omit<View, "set">>): void;
}

export type PanelName = "make" | "change" | "keep" | "understand" | "compare";

export const useView = create<View>((set) => ({
  selection: null,
  chosen: new Set(),
  tool: "select",
  drawTrack: 0,
  heat: null,
  attention: null,
  hovered: null,
  hoveredAt: null,
  growing: null,
  borrowed: null,
  expectedBeats: undefined,
  panel: "make",
  set,
}));
