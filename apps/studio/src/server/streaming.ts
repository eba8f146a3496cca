import { midiBytes } from "midifactory";
import type { Client, GenerateSettings, StreamEvent } from "midifactory";
import { instrumentName } from "../music/instruments";
import type { Note, Piece, Track } from "../music/piece";

type StreamNote = Extract<StreamEvent, { event: "note" }>;
type StreamEnd = Extract<StreamEvent, { event: "end" }>;

export interface Streamed {
  readonly end: StreamEnd;
  readonly midi: Uint8Array<ArrayBuffer>;
}

/** Tempo and metre before the server has told the piece's own. */
export interface Guess {
  readonly tempoBpm: number;
  readonly metre: string;
}

export function beatsPerBar(metre: string): number {
  const [above = 4, below = 4] = metre.split("/").map(Number);
  return (above * 4) / below || 4;
}

export function emptyPiece({ tempoBpm, metre }: Guess): Piece {
  return {
    notes: [],
    tracks: [],
    tempos: [{ onsetBeats: 0, bpm: tempoBpm }],
    metres: [{ onsetBeats: 0, beatsPerBar: beatsPerBar(metre), text: metre }],
  };
}

/** Gathers notes as they come into pieces that share what has not changed. */
export class Growing {
  readonly #notes: Note[] = [];
  readonly #tracks: Track[] = [];
  readonly #empty: Piece;

  constructor(guess: Guess) {
    this.#empty = emptyPiece(guess);
  }

  add(told: StreamNote): void {
    this.#notes.push({
      id: this.#notes.length,
      track: this.#trackOf(told.program),
      pitch: told.pitch,
      velocity: told.velocity,
      onsetBeats: told.onset_beats,
      durationBeats: told.duration_beats,
    });
  }

  piece(): Piece {
    return { ...this.#empty, notes: [...this.#notes], tracks: [...this.#tracks] };
  }

  /** How far the music has come: nothing before the last onset comes any more. */
  beats(): number {
    return this.#notes.reduce((latest, note) => Math.max(latest, note.onsetBeats), 0);
  }

  #trackOf(program: number): number {
    const at = this.#tracks.findIndex((track) => track.program === program);
    if (at >= 0) return at;
    this.#tracks.push({ program, name: instrumentName(program) });
    return this.#tracks.length - 1;
  }
}

/** More often the eye does not see it, and each time the whole piece is drawn. */
const SHOW_EVERY_MS = 60;

/** Composes one piece; `show` has it as it grows. */
export async function streamPiece(
  client: Pick<Client, "stream">,
  settings: GenerateSettings,
  guess: Guess,
  signal: AbortSignal,
  show: (piece: Piece, beats: number) => void,
): Promise<Streamed> {
  const growing = new Growing(guess);
  let shownAt = -Infinity;
  for await (const event of client.stream(settings, { signal })) {
    if (event.event === "note") {
      growing.add(event);
      if (performance.now() - shownAt < SHOW_EVERY_MS) continue;
      show(growing.piece(), growing.beats());
      shownAt = performance.now();
    } else if (event.event === "end") {
      const [piece] = event.pieces;
      if (piece === undefined) throw new Error("the server sent no piece");
      return { end: event, midi: midiBytes(piece) };
    }
  }
  throw new Error("the music ended before its end was told");
}
