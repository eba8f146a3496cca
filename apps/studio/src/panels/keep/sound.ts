import { ProblemError } from "midifactory";
import { withServer } from "../../server/connection";
import { renderToWav } from "../../sound/render-wav";
import { ModelGone, soundOf } from "../../takes/asking";
import type { Take } from "../../takes/take";

/**
 * The take as sound: as the server renders what it made, else (changed by hand, a file of the user's, a model that is gone,
 * longer than the server renders) by the page's own instruments.
 */
export async function wavOf(take: Take, onProgress: (share: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  const { asked } = take;
  if (asked && take.midi) {
    try {
      return await withServer(`Making the sound of ${take.name}`, (signal) => soundOf(asked, signal));
    } catch (error) {
      if (!(error instanceof ModelGone) && !(error instanceof ProblemError && error.status === 422)) throw error;
    }
  }
  return renderToWav(take.piece, onProgress);
}
