import { create } from "zustand";
import { say } from "../../frame/saying";
import { midiOf } from "../../music/midi";
import { kindly } from "../../server/problems";
import type { Kindly } from "../../server/problems";
import { isStopped } from "../../server/work";
import { download } from "../../takes/files";
import { linkOf } from "../../takes/link";
import { pictureOf } from "../../takes/picture";
import type { Take } from "../../takes/take";
import { wavOf } from "./sound";

export type Form = "mid" | "wav" | "png";

interface Keeping {
  readonly busy: Form | null;
  /** Of the sound that the page makes itself, 0 to 1; null while the server makes it. */
  readonly share: number | null;
  readonly problem: Kindly | null;
}

export const useKeeping = create<Keeping>(() => ({ busy: null, share: null, problem: null }));

/** A take as a file of the user's. */
export async function keepAs(take: Take, form: Form): Promise<void> {
  if (useKeeping.getState().busy) return;
  useKeeping.setState({ busy: form, share: null, problem: null });
  try {
    download(take.name, form, await bytesOf(take, form));
    say(`${take.name} is downloaded.`);
  } catch (error) {
    const problem = isStopped(error) ? null : kindly(error);
    useKeeping.setState({ problem });
    say(problem ? `${problem.what} ${problem.todo}` : "Stopped.");
  } finally {
    useKeeping.setState({ busy: null, share: null });
  }
}

async function bytesOf(take: Take, form: Form): Promise<Uint8Array<ArrayBuffer>> {
  if (form === "mid") return midiOf(take);
  if (form === "png") return pictureOf(take.piece, take.name);
  return wavOf(take, (share) => useKeeping.setState({ share }));
}

/** A link, or why there is none. */
export type Linked = { readonly link: string; readonly copied: boolean } | { readonly link: null; readonly why: string };

/** Makes a take's link and puts it into the clipboard where the browser allows that. */
export async function copyLink(take: Take): Promise<Linked> {
  const link = await linkOf(take);
  if (link === null) return { link, why: reason(take) };
  try {
    await navigator.clipboard.writeText(link);
    say("The link is copied.");
    return { link, copied: true };
  } catch {
    return { link, copied: false }; // only secure pages have a clipboard, and some users forbid it
  }
}

function reason(take: Take): string {
  if (take.asked) return "The file that this was made of is too large for a link. Download the MIDI file and send that.";
  return "A link asks the model for the same music again; music of your own hand it cannot hold. Download the MIDI file and send that.";
}
