import type { Piece } from "../music/piece";
import type { RenderAsked, RenderTold } from "./render-worker";
import { soundFont } from "./soundfont";

/** The piece as a WAV file, made in a worker: the page stays alive. For takes that the server does not have, such as those changed by hand. */
export async function renderToWav(piece: Piece, onProgress: (share: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  const bank = await soundFont();
  const worker = new Worker(new URL("./render-worker.ts", import.meta.url), { type: "module" });
  try {
    return await new Promise<Uint8Array<ArrayBuffer>>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<RenderTold>) => {
        if (data.kind === "progress") onProgress(data.share);
        else if (data.kind === "done") resolve(data.wav);
        else reject(new Error(data.message));
      };
      worker.onerror = (event) => reject(new Error(`The sound could not be made: ${event.message}`));
      const asked: RenderAsked = { piece, soundFont: bank };
      worker.postMessage(asked);
    });
  } finally {
    worker.terminate();
  }
}
