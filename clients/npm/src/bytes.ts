import type { MidiInput, Piece } from "./types.js";

/** The MIDI file of a piece, from its base64. */
export function midiBytes(piece: Pick<Piece, "midi">): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(piece.midi), (letter) => letter.charCodeAt(0));
}

/** Bytes in base64. */
export async function base64(input: MidiInput): Promise<string> {
  const bytes = input instanceof Blob ? new Uint8Array(await input.arrayBuffer()) : new Uint8Array(input);
  let text = "";
  const part = 0x8000; // more arguments than this are too many for some engines
  for (let at = 0; at < bytes.length; at += part) text += String.fromCharCode(...bytes.subarray(at, at + part));
  return btoa(text);
}

/** What a form sends as a file. */
export function blobOf(input: MidiInput): Blob {
  return input instanceof Blob ? input : new Blob([input as BlobPart], { type: "audio/midi" });
}
