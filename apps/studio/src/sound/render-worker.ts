import type { Piece } from "../music/piece";
import { renderWav } from "./render";

export interface RenderAsked {
  readonly piece: Piece;
  readonly soundFont: ArrayBuffer;
}

export type RenderTold =
  | { readonly kind: "progress"; readonly share: number }
  | { readonly kind: "done"; readonly wav: Uint8Array<ArrayBuffer> }
  | { readonly kind: "failed"; readonly message: string };

const tell = (told: RenderTold, transfer: Transferable[] = []) => self.postMessage(told, { transfer });

self.onmessage = async ({ data }: MessageEvent<RenderAsked>) => {
  try {
    const wav = await renderWav(data.piece, data.soundFont, (share) => tell({ kind: "progress", share }));
    tell({ kind: "done", wav }, [wav.buffer]);
  } catch (error) {
    tell({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  }
};
