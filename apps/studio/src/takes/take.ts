import type { ContinueSettings, GenerateSettings, InfillSettings, Piece as PieceTold } from "midifactory";
import type { Piece } from "../music/piece";

/** What was asked of the server: with the same model it gives the same music again. */
export type Asked = { readonly model: string; readonly sha256: string; readonly seed: number } & (
  | { readonly kind: "generate"; readonly settings: GenerateSettings }
  | { readonly kind: "continue"; readonly settings: ContinueSettings; readonly of: Source }
  | { readonly kind: "infill"; readonly settings: InfillSettings; readonly of: Source }
);

/** The music that was continued or filled in, as a MIDI file. */
export interface Source {
  readonly midi: Uint8Array<ArrayBuffer>;
}

export interface Take {
  readonly id: string;
  readonly name: string;
  readonly createdAt: number;
  readonly piece: Piece;
  /** The file as the server (or the user) gave it; null after an edit by hand, which makes a new file of the piece. */
  readonly midi: Uint8Array<ArrayBuffer> | null;
  /** null: a file of the user's, or music changed by hand. */
  readonly asked: Asked | null;
  readonly originality: PieceTold["originality"];
  /** What the server had to say of the settings. */
  readonly said: readonly string[];
  /** What was made anew in it. */
  readonly newBeats: readonly [number, number] | null;
  /** The take that it was made of. */
  readonly parent: string | null;
}
