import type { Tempo } from "../music/piece";

const BPM_WHERE_NONE_STANDS = 120;

interface Stretch {
  readonly startBeats: number;
  readonly startSeconds: number;
  readonly secondsPerBeat: number;
}

/** Beats to seconds of a piece and back, over its changes of tempo. */
export class TempoMap {
  readonly #stretches: readonly Stretch[];

  constructor(tempos: readonly Tempo[]) {
    const sorted = tempos.filter((tempo) => tempo.bpm > 0).sort((a, b) => a.onsetBeats - b.onsetBeats);
    const first = { startBeats: 0, startSeconds: 0, secondsPerBeat: 60 / (sorted[0]?.bpm ?? BPM_WHERE_NONE_STANDS) };
    const stretches: Stretch[] = [first];
    let last: Stretch = first;
    for (const tempo of sorted.slice(1)) {
      const startSeconds = last.startSeconds + (tempo.onsetBeats - last.startBeats) * last.secondsPerBeat;
      last = { startBeats: tempo.onsetBeats, startSeconds, secondsPerBeat: 60 / tempo.bpm };
      stretches.push(last);
    }
    this.#stretches = stretches;
  }

  secondsAt(beats: number): number {
    const from = this.#last((stretch) => stretch.startBeats <= beats);
    return from.startSeconds + (beats - from.startBeats) * from.secondsPerBeat;
  }

  beatsAt(seconds: number): number {
    const from = this.#last((stretch) => stretch.startSeconds <= seconds);
    return from.startBeats + (seconds - from.startSeconds) / from.secondsPerBeat;
  }

  equals(other: TempoMap): boolean {
    const mine = this.#stretches;
    const theirs = other.#stretches;
    return mine.length === theirs.length
      && mine.every((stretch, i) => stretch.startBeats === theirs[i]?.startBeats && stretch.secondsPerBeat === theirs[i].secondsPerBeat);
  }

  #last(fits: (stretch: Stretch) => boolean): Stretch {
    const found = this.#stretches.findLast(fits) ?? this.#stretches[0];
    // The constructor always makes a first one; the compiler cannot know.
    if (!found) throw new Error("a tempo map without a tempo");
    return found;
  }
}
