import { MidiUnreadable, readMidi } from "../music/midi";
import { endBeats } from "../music/piece";
import type { NewTake } from "./store";

/** What the server takes, too. */
export const FILE_LIMITS = { megabytes: 2, notes: 20_000 } as const;
/** A day of music at 35 beats a minute: a stray note behind it is a mistake, and so many bars cannot be drawn. */
const MOST_BEATS = 50_000;

/** A file of the user's as a take; throws MidiUnreadable. */
export async function takeOfFile(file: File): Promise<NewTake> {
  if (file.size > FILE_LIMITS.megabytes * 2 ** 20) {
    throw new MidiUnreadable(`${file.name} has ${(file.size / 2 ** 20).toFixed(1)} MB.`, `MIDI files of up to ${FILE_LIMITS.megabytes} MB can be opened.`);
  }
  const midi = new Uint8Array(await file.arrayBuffer());
  const piece = readMidi(midi);
  if (piece.notes.length === 0) throw new MidiUnreadable("There are no notes in this file.", "Choose one with music in it.");
  if (piece.notes.length > FILE_LIMITS.notes) {
    const count = piece.notes.length.toLocaleString("en");
    throw new MidiUnreadable(`This file has ${count} notes.`, `Files of up to ${FILE_LIMITS.notes.toLocaleString("en")} notes can be opened: take a part of it.`);
  }
  if (endBeats(piece) > MOST_BEATS) throw new MidiUnreadable("The music in this file goes on for days.", "It may have a stray note far behind its end: remove that in another program.");
  const name = file.name.replace(/\.[^.]*$/, "").trim() || "MIDI file";
  return { name, piece, midi, asked: null, originality: null, said: [], newBeats: null, parent: null };
}

/** A file name that every system takes, from a take's name. */
export function fileName(name: string, ending: "mid" | "wav" | "png"): string {
  const safe = name
    .normalize("NFC")
    .replaceAll("♯", "#")
    .replaceAll("♭", "b")
    .replace(/[^\p{L}\p{N} #._()-]+/gu, " ")
    .replace(/\s+/g, " ")
    .slice(0, 80)
    .replace(/^[. ]+|[. ]+$/g, "");
  // Windows keeps these names for itself, whatever follows the dot.
  const usable = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i.test(safe) ? `${safe} take` : safe;
  return `${usable || "take"}.${ending}`;
}

const TYPES = { mid: "audio/midi", wav: "audio/wav", png: "image/png" } as const;

/** Hands bytes to the browser as a file to keep. */
export function download(name: string, ending: "mid" | "wav" | "png", bytes: Uint8Array<ArrayBuffer>): void {
  const address = URL.createObjectURL(new Blob([bytes], { type: TYPES[ending] }));
  const link = document.createElement("a");
  link.href = address;
  link.download = fileName(name, ending);
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // some browsers read it only after a question to the user
}
