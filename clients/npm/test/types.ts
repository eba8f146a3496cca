// Compiled, never run: what the types allow, and what they refuse.
import { Client, CannotBeDone, TooManyRequests, midiBytes } from "../src/index.js";
import type { Note, Piece, RenderedFile, StreamEvent } from "../src/index.js";

export async function used(client: Client, file: File): Promise<void> {
  const { pieces, seed } = await client.generate({ style: { name: "chords", chords: "C G" }, density: "high", seed: 7 });
  const notes: Note[] = pieces.flatMap((piece: Piece) => piece.notes);
  const bytes: Uint8Array = pieces[0] ? midiBytes(pieces[0]) : new Uint8Array();
  const sound: RenderedFile = await client.generate({ seed, prompt: bytes }, { as: "wav" });
  await client.infill(file, { bars: "2-3", tracks: ["bass", 2] }, { as: "midi", signal: AbortSignal.timeout(1000) });
  new Blob([sound.bytes]);
  for await (const event of client.stream()) {
    const told: StreamEvent = event;
    if (told.event === "note") notes.push({ ...told, track: 0 });
    else if (told.event === "end") told.pieces[0]?.notes.toFixed();
    else told.said.join();
  }

  const { first } = await client.blind(["one", "other"], { bars: 4, prompt: bytes });
  notes.push(...first.notes);

  // @ts-expect-error a seed would tell whose a piece is
  await client.blind(["one", "other"], { seed: 7 });
  // @ts-expect-error two are compared
  await client.blind(["one"]);
  // @ts-expect-error of which note is not said
  await client.attention(file, {});
  // @ts-expect-error there is no such setting
  await client.generate({ bar: 4 });
  // @ts-expect-error nor such a word
  await client.generate({ density: "loud" });
  // @ts-expect-error nor such a form
  await client.generate({}, { as: "mp3" });
  // @ts-expect-error a file has no notes to read
  (await client.generate({}, { as: "midi" })).pieces;
  // @ts-expect-error infill has no chords
  await client.infill(file, { chords: "C" });
}

export function seconds(error: unknown): number {
  if (error instanceof TooManyRequests) return error.retryAfterSeconds ?? 1;
  if (error instanceof CannotBeDone) throw new Error(error.remedy ?? error.message);
  return 0;
}
