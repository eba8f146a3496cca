import type { Note, Piece } from "../music/piece";
import { identity, prepare, type Prepared } from "./prepared";
import { beatsOf, secondsOf, type Segment, Timeline } from "./timeline";
import type { NoteSink } from "./voices";

const LEAD_SECONDS = 0.03;
/** A timer this late is made up for; later than this, the page was frozen, and the music goes on where it was. */
const LATE_SECONDS = 0.1;
/** How much of a growing piece must be there to go on after waiting, lest it stops at every note. */
const ENOUGH_SECONDS = 1;
const SHORTEST_LOOP_BEATS = 1 / 16;

export type Loop = readonly [number, number];
export type Progress = "halted" | "going" | "waiting" | "ended";

interface Sounding {
  readonly key: string;
  readonly channel: number;
  readonly pitch: number;
  readonly onSeconds: number;
  readonly endBeats: number;
}

interface Limit {
  readonly beats: number;
  readonly then: "wrap" | "end" | "wait";
}

const NOTHING: Prepared = prepare({ notes: [], tracks: [], tempos: [], metres: [] });

/** Hands the notes of a piece to the voices a little ahead of time. Everything up to the horizon is handed over, and stands. */
export class Scheduler {
  readonly #voices: NoteSink;
  readonly #now: () => number;
  readonly #timeline = new Timeline();
  readonly #sounding = new Map<string, Sounding>();
  #piece = NOTHING;
  #growing = false;
  #loop: Loop | null = null;
  #audible: (track: number) => boolean = () => true;
  #haltedBeats = 0;
  #horizonSeconds = 0;
  #next = 0;
  /** Where a growing piece ended, while it is waited for. */
  #waitingBeats: number | null = null;

  constructor(voices: NoteSink, now: () => number) {
    this.#voices = voices;
    this.#now = now;
  }

  get running(): boolean {
    return this.#timeline.tail !== null;
  }

  positionBeats(atSeconds = this.#now()): number {
    return this.#timeline.beatsAt(Math.min(atSeconds, this.#horizonSeconds)) ?? this.#haltedBeats;
  }

  load(piece: Piece, growing: boolean): void {
    const tail = this.#timeline.tail;
    const channelsBefore = this.#piece.channels;
    this.#piece = prepare(piece);
    this.#growing = growing;
    if (!tail) return;
    for (let track = this.#piece.channels; track < channelsBefore; track++) this.#silence(track);
    this.#dropVanished();
    const horizon = this.#horizonSeconds;
    this.#next = this.#firstNote((note) => secondsOf(tail, note.onsetBeats) >= horizon);
    if (tail.tempo.equals(this.#piece.tempo)) return;
    const beats = this.#waitingBeats ?? beatsOf(tail, horizon);
    this.#timeline.add(horizon, beats, this.#piece.tempo, beats);
  }

  /** `leadSeconds`: from now to the first note, so that it is in time, too. From behind the end it goes back to the begin. */
  start(leadSeconds = LEAD_SECONDS): void {
    const at = this.#withinLoop(this.positionBeats());
    const over = !this.#growing && this.#loop === null && at >= this.#piece.endBeats;
    this.#startAt(over ? 0 : at, leadSeconds);
  }

  halt(atBeats = this.positionBeats()): void {
    this.#silenceAll();
    this.#timeline.clear();
    this.#haltedBeats = atBeats;
  }

  seek(beats: number): void {
    if (this.running) this.#startAt(Math.max(0, beats));
    else this.#haltedBeats = Math.max(0, beats);
  }

  setLoop(loop: Loop | null): void {
    this.#loop = loop && loop[1] - loop[0] >= SHORTEST_LOOP_BEATS ? loop : null;
    const tail = this.#timeline.tail;
    if (!tail) return;
    const now = this.#now();
    const at = this.positionBeats(now);
    const to = this.#withinLoop(at);
    const past = this.#loop !== null && beatsOf(tail, this.#horizonSeconds) > this.#loop[1];
    if (to !== at || past || this.#timeline.jumpsAfter(now)) this.#startAt(to);
  }

  /** A track that is not heard any more is silent at once; one that is heard again begins with its next note. */
  setAudible(audible: (track: number) => boolean): void {
    const before = this.#audible;
    this.#audible = audible;
    if (!this.running) return;
    for (let track = 0; track < this.#piece.channels; track++) {
      if (before(track) && !audible(track)) this.#silence(track);
    }
  }

  /** Hands over what begins within the next `aheadSeconds`. */
  advance(aheadSeconds: number): Progress {
    const now = this.#now();
    this.#timeline.forgetBefore(now);
    if (!this.#catchUp(now)) return this.running ? "waiting" : "halted";
    for (let tail = this.#timeline.tail; tail; tail = this.#timeline.tail) {
      const limit = this.#limit(tail);
      const limitSeconds = secondsOf(tail, limit.beats);
      const until = now + aheadSeconds;
      if (until < limitSeconds) {
        this.#handOver(tail, (note, seconds) => seconds < until && note.onsetBeats < limit.beats, until);
        this.#horizonSeconds = Math.max(this.#horizonSeconds, until);
        return "going";
      }
      this.#handOver(tail, (note) => note.onsetBeats < limit.beats, limitSeconds);
      this.#horizonSeconds = Math.max(this.#horizonSeconds, limitSeconds);
      if (limit.then !== "wrap") return this.#atLimit(limit, limitSeconds, now);
      this.#wrap(limitSeconds);
    }
    return "halted";
  }

  #atLimit(limit: Limit, limitSeconds: number, now: number): Progress {
    if (limit.then === "end") {
      this.#releaseAll(limitSeconds);
      return now >= limitSeconds ? "ended" : "going";
    }
    if (now < limitSeconds) return "going";
    // An organ must not hold its chord until the next note comes.
    this.#releaseAll(now);
    this.#waitingBeats = limit.beats;
    return "waiting";
  }

  /** Brings the plan to the present after waiting, or after the page was frozen; false while there is nothing to play. */
  #catchUp(now: number): boolean {
    const tail = this.#timeline.tail;
    if (!tail) return false;
    const waited = this.#waitingBeats;
    if (waited !== null) {
      const known = this.#piece.tempo.secondsAt(this.#limit(tail).beats) - this.#piece.tempo.secondsAt(waited);
      if (this.#growing && known < ENOUGH_SECONDS) return false;
    } else if (now <= this.#horizonSeconds + LATE_SECONDS) return true;
    const beats = waited ?? beatsOf(tail, this.#horizonSeconds);
    if (waited !== null) this.#next = this.#firstNote((note) => note.onsetBeats >= waited);
    this.#waitingBeats = null;
    this.#horizonSeconds = now + LEAD_SECONDS;
    this.#timeline.add(this.#horizonSeconds, beats, this.#piece.tempo, beats);
    return true;
  }

  #limit(tail: Segment): Limit {
    const loopEnd = this.#loop && tail.startBeats < this.#loop[1] ? this.#loop[1] : Infinity;
    if (this.#growing) {
      // Notes come in the order of their onsets: up to the last onset nothing is missing.
      const known = this.#piece.lastOnsetBeats;
      return loopEnd <= known ? { beats: loopEnd, then: "wrap" } : { beats: known, then: "wait" };
    }
    return loopEnd < Infinity ? { beats: loopEnd, then: "wrap" } : { beats: this.#piece.endBeats, then: "end" };
  }

  #wrap(seconds: number): void {
    this.#releaseAll(seconds);
    const [from, to] = this.#loop ?? [0, 0];
    this.#timeline.add(seconds, from, this.#piece.tempo, to);
    this.#next = this.#firstNote((note) => note.onsetBeats >= from);
  }

  #startAt(beats: number, leadSeconds = LEAD_SECONDS): void {
    this.#silenceAll();
    this.#timeline.clear();
    this.#waitingBeats = null;
    this.#horizonSeconds = this.#now() + leadSeconds;
    this.#timeline.add(this.#horizonSeconds, beats, this.#piece.tempo, beats);
    this.#next = this.#firstNote((note) => note.onsetBeats >= beats);
  }

  /** The notes that are `due`, and the ends before `untilSeconds`, in the order of time. */
  #handOver(tail: Segment, due: (note: Note, seconds: number) => boolean, untilSeconds: number): void {
    for (;;) {
      const note = this.#piece.notes[this.#next];
      if (!note) break;
      const seconds = Math.max(secondsOf(tail, note.onsetBeats), tail.startSeconds);
      if (!due(note, seconds)) break;
      this.#next++;
      this.#releaseDue(tail, (end) => end <= seconds);
      if (this.#audible(note.track)) this.#begin(note, seconds);
    }
    this.#releaseDue(tail, (end) => end < untilSeconds);
  }

  #begin(note: Note, seconds: number): void {
    const place = `${String(note.track)}/${String(note.pitch)}`;
    const same = this.#sounding.get(place);
    if (same) this.#voices.noteOff(same.channel, same.pitch, seconds);
    this.#voices.noteOn(note.track, note.pitch, note.velocity, seconds);
    const endBeats = note.onsetBeats + note.durationBeats;
    this.#sounding.set(place, { key: identity(note), channel: note.track, pitch: note.pitch, onSeconds: seconds, endBeats });
  }

  #releaseDue(tail: Segment, due: (endSeconds: number) => boolean): void {
    const ends = [...this.#sounding]
      .map(([place, one]) => ({ place, one, seconds: Math.max(secondsOf(tail, one.endBeats), one.onSeconds) }))
      .filter((end) => due(end.seconds))
      .sort((a, b) => a.seconds - b.seconds);
    for (const { place, one, seconds } of ends) {
      this.#voices.noteOff(one.channel, one.pitch, Math.max(seconds, this.#now()));
      this.#sounding.delete(place);
    }
  }

  #releaseAll(seconds: number): void {
    for (const one of this.#sounding.values()) this.#voices.noteOff(one.channel, one.pitch, Math.max(seconds, one.onSeconds));
    this.#sounding.clear();
  }

  #dropVanished(): void {
    const now = this.#now();
    for (const [place, one] of this.#sounding) {
      const note = this.#piece.find(one.key);
      if (note) this.#sounding.set(place, { ...one, endBeats: note.onsetBeats + note.durationBeats });
      else {
        this.#voices.noteOff(one.channel, one.pitch, Math.max(now, one.onSeconds));
        this.#sounding.delete(place);
      }
    }
  }

  #silenceAll(): void {
    for (let track = 0; track < this.#piece.channels; track++) this.#silence(track);
  }

  #silence(track: number): void {
    this.#voices.silence(track);
    for (const [place, one] of this.#sounding) if (one.channel === track) this.#sounding.delete(place);
  }

  #withinLoop(beats: number): number {
    return this.#loop && (beats < this.#loop[0] || beats >= this.#loop[1]) ? this.#loop[0] : beats;
  }

  #firstNote(fits: (note: Note) => boolean): number {
    const index = this.#piece.notes.findIndex(fits);
    return index < 0 ? this.#piece.notes.length : index;
  }
}
