import type { Note } from "../music/piece";

const BUCKET_BEATS = 8;

/** Finds the notes that sound in a stretch of time, at a cost of those found and not of all. */
export class NoteIndex {
  /** By onset; of one onset, the lower track and pitch first. */
  readonly sorted: readonly Note[];
  readonly #byId = new Map<number, Note>();
  /** For each bucket, the notes that began before it and still sound in it, by onset. */
  readonly #carried: Note[][] = [];

  constructor(notes: readonly Note[]) {
    this.sorted = [...notes].sort((a, b) => a.onsetBeats - b.onsetBeats || a.track - b.track || a.pitch - b.pitch || a.id - b.id);
    for (const note of this.sorted) {
      this.#byId.set(note.id, note);
      const last = Math.floor((note.onsetBeats + note.durationBeats) / BUCKET_BEATS);
      for (let bucket = Math.floor(note.onsetBeats / BUCKET_BEATS) + 1; bucket <= last; bucket++) (this.#carried[bucket] ??= []).push(note);
    }
  }

  get(id: number): Note | undefined {
    return this.#byId.get(id);
  }

  /** Those whose sounding overlaps [fromBeats, toBeats), in the order of `sorted`. */
  between(fromBeats: number, toBeats: number): Note[] {
    const bucket = Math.max(0, Math.floor(fromBeats / BUCKET_BEATS));
    const found = (this.#carried[bucket] ?? []).filter((note) => sounds(note, fromBeats, toBeats));
    for (let at = this.firstFrom(bucket * BUCKET_BEATS); at < this.sorted.length; at++) {
      const note = this.sorted[at];
      if (!note || note.onsetBeats >= toBeats) break;
      if (sounds(note, fromBeats, toBeats)) found.push(note);
    }
    return found;
  }

  /** The place in `sorted` of the first note at or after a time. */
  firstFrom(beats: number): number {
    let low = 0;
    let high = this.sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.sorted[middle]?.onsetBeats ?? Infinity) < beats) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export const sounds = (note: Note, fromBeats: number, toBeats: number) =>
  note.onsetBeats < toBeats && note.onsetBeats + note.durationBeats > fromBeats;

/** Tracks lie upon each other as they are numbered, faint ones below; what is drawn last is hit first. Within a track the order stays. */
export function inDrawnOrder(notes: readonly Note[], faint: ReadonlySet<number>): Note[] {
  const tracks = new Map<number, Note[]>();
  for (const note of notes) {
    const track = tracks.get(note.track);
    if (track) track.push(note);
    else tracks.set(note.track, [note]);
  }
  const order = [...tracks.keys()].sort((a, b) => Number(faint.has(b)) - Number(faint.has(a)) || a - b);
  return order.flatMap((track) => tracks.get(track) ?? []);
}
