import { midiBytes } from "midifactory";
import type { Piece as PieceTold } from "midifactory";
import type { Take } from "../takes/take";
import { DRUMS } from "./piece";
import type { Metre, Note, Piece, Tempo, Track } from "./piece";
import { chunksOf, fileOf } from "./chunks";
import type { MidiEvent } from "./chunks";

export { MidiUnreadable } from "./chunks";

/** Of the files that are written here: what the usual resolutions divide. */
export const TICKS_PER_BEAT = 960;

const [NOTE_OFF, NOTE_ON, PROGRAM] = [0x80, 0x90, 0xc0];
const META = 0xff;
const [TRACK_NAME, SET_TEMPO, TIME_SIGNATURE] = [0x03, 0x51, 0x58];
const SLOWEST_MICROSECONDS = 0xffffff;
const DRUM_CHANNEL = 9;
const DEFAULT_TEMPO: Tempo = { onsetBeats: 0, bpm: 120 };
const DEFAULT_METRE: Metre = { onsetBeats: 0, beatsPerBar: 4, text: "4/4" };

/** The music that the server told of. */
export function pieceOf(told: Pick<PieceTold, "notes" | "tracks" | "tempos" | "metres">): Piece {
  return {
    notes: told.notes.map((note, id) => ({
      id,
      track: note.track,
      pitch: note.pitch,
      velocity: note.velocity,
      onsetBeats: note.onset_beats,
      durationBeats: note.duration_beats,
    })),
    tracks: told.tracks.map(({ name, program }) => ({ name, program })),
    tempos: fromTheBegin(told.tempos.map(({ onset_beats, bpm }) => ({ onsetBeats: onset_beats, bpm })), DEFAULT_TEMPO),
    metres: fromTheBegin(told.metres.map(({ onset_beats, metre }) => metreOf(onset_beats, metre)), DEFAULT_METRE),
  };
}

/** The file of a take: the one that the server (or the user) gave, else one of its notes. */
export function midiOf(take: Pick<Take, "midi" | "piece">): Uint8Array<ArrayBuffer> {
  return take.midi ?? writeMidi(take.piece);
}

/** The file and the piece in an answer of the server. */
export function told(piece: PieceTold): { piece: Piece; midi: Uint8Array<ArrayBuffer> } {
  return { piece: pieceOf(piece), midi: midiBytes(piece) };
}

/** The number by which the server knows each track in a file of the piece, from 1; null for one without notes, which a file's reader drops. */
export function serverTracks(piece: Pick<Piece, "notes" | "tracks">): (number | null)[] {
  const sounding = new Set(piece.notes.map((note) => note.track));
  let number = 0;
  return piece.tracks.map((_, track) => (sounding.has(track) ? ++number : null));
}

/**
 * The music of a MIDI file; throws MidiUnreadable. Tracks are numbered as the server numbers them: by chunk, channel and
 * program, without those that have no note.
 */
export function readMidi(bytes: Uint8Array): Piece {
  const { ticksPerBeat, tracks } = chunksOf(bytes);
  const found = new Map<number, Found>();
  const tempos: Tempo[] = [];
  const metres: Metre[] = [];
  tracks.forEach((events, chunk) => {
    for (const { tick, kind, data } of events) {
      if (kind === SET_TEMPO) tempos.push(...tempoIn(data, tick / ticksPerBeat));
      else if (kind === TIME_SIGNATURE) metres.push(...metreIn(data, tick / ticksPerBeat));
    }
    readNotes(events, chunk, ticksPerBeat, found);
  });
  return assembled(found, tempos, metres);
}

/** A MIDI file of a piece: a track for each of its own, drums on channel 10. */
export function writeMidi(piece: Piece): Uint8Array<ArrayBuffer> {
  const channels = channelsOf(piece.tracks);
  const notes = piece.tracks.map((): Note[] => []);
  for (const note of piece.notes) notes[note.track]?.push(note);
  const tracks = piece.tracks.map(({ name, program }, index): MidiEvent[] => {
    const channel = channels[index] ?? 0;
    return [
      meta(0, TRACK_NAME, new TextEncoder().encode(name)),
      key(0, PROGRAM | channel, program === DRUMS ? 0 : program),
      ...eventsOf(notes[index] ?? []).map(({ on, tick, pitch, velocity }) => key(tick, (on ? NOTE_ON : NOTE_OFF) | channel, pitch, velocity)),
    ];
  });
  return fileOf({ ticksPerBeat: TICKS_PER_BEAT, tracks: [conductor(piece), ...tracks] });
}

/** Tempos and metres stand in a track of their own. */
function conductor(piece: Piece): MidiEvent[] {
  const tempos = fromTheBegin(piece.tempos, DEFAULT_TEMPO).map(({ onsetBeats, bpm }) => {
    const microseconds = Math.min(SLOWEST_MICROSECONDS, Math.max(1, Math.round(6e7 / bpm)));
    return meta(ticks(onsetBeats), SET_TEMPO, [microseconds >> 16, (microseconds >> 8) & 255, microseconds & 255]);
  });
  const metres = fromTheBegin(piece.metres, DEFAULT_METRE).map((metre) => meta(ticks(metre.onsetBeats), TIME_SIGNATURE, [...signatureOf(metre), 24, 8]));
  return [...tempos, ...metres];
}

function meta(tick: number, kind: number, data: ArrayLike<number>): MidiEvent {
  return { tick, status: META, kind, data: Uint8Array.from(data) };
}

function key(tick: number, status: number, ...data: number[]): MidiEvent {
  return { tick, status, kind: null, data: Uint8Array.from(data) };
}

/** What a chunk plays on one channel with one program. */
interface Found {
  readonly order: readonly [chunk: number, channel: number, program: number];
  readonly name: string;
  readonly notes: Omit<Note, "id" | "track">[];
}

function readNotes(events: readonly MidiEvent[], chunk: number, division: number, found: Map<number, Found>): void {
  const name = nameIn(events);
  const programs = new Array<number>(16).fill(0);
  const open = new Map<number, Sounding>();
  for (const { tick, status, data } of events) {
    const [kind, channel] = [status & 0xf0, status & 0x0f];
    const [first = 0, second = 0] = data;
    if (kind === PROGRAM) programs[channel] = first & 127;
    if (kind !== NOTE_ON && kind !== NOTE_OFF) continue;
    const key = channel * 128 + (first & 127);
    const sounding = open.get(key) ?? { begun: [], ended: 0 };
    open.set(key, sounding);
    if (kind === NOTE_ON && second > 0) {
      sounding.begun.push({ tick, velocity: second & 127, program: channel === DRUM_CHANNEL ? 0 : (programs[channel] ?? 0) });
      continue;
    }
    const begun = sounding.begun[sounding.ended];
    if (!begun) continue;
    sounding.ended++;
    const place = (chunk * 16 + channel) * 128 + begun.program;
    const part = found.get(place) ?? { order: [chunk, channel, begun.program] as const, name, notes: [] };
    found.set(place, part);
    part.notes.push({
      pitch: first & 127,
      velocity: begun.velocity,
      onsetBeats: begun.tick / division,
      durationBeats: Math.max(1, tick - begun.tick) / division,
    });
  }
}

/** Of one key: of those that sound at once, the oldest one ends first. */
interface Sounding {
  readonly begun: { readonly tick: number; readonly velocity: number; readonly program: number }[];
  ended: number;
}

function assembled(found: Map<number, Found>, tempos: Tempo[], metres: Metre[]): Piece {
  const parts = [...found.entries()].sort(([one], [other]) => one - other).map(([, part]) => part);
  const tracks: Track[] = parts.map(({ name, order: [, channel, program] }) => ({ name, program: channel === DRUM_CHANNEL ? DRUMS : program }));
  const notes = parts
    .flatMap((part, track) => part.notes.map((note) => ({ ...note, track })))
    .sort((one, other) => one.onsetBeats - other.onsetBeats || one.track - other.track || one.pitch - other.pitch)
    .map((note, id) => ({ id, ...note }));
  return { notes, tracks, tempos: fromTheBegin(tempos, DEFAULT_TEMPO), metres: fromTheBegin(metres, DEFAULT_METRE) };
}

/** In the order of time, one at a place (the last one said), and one at the begin. */
function fromTheBegin<T extends { readonly onsetBeats: number }>(events: readonly T[], standard: T): T[] {
  const byPlace = new Map([...events].sort((one, other) => one.onsetBeats - other.onsetBeats).map((event) => [event.onsetBeats, event]));
  return byPlace.has(0) ? [...byPlace.values()] : [standard, ...byPlace.values()];
}

function tempoIn(data: Uint8Array, onsetBeats: number): Tempo[] {
  const [high = 0, middle = 0, low = 0] = data;
  const microseconds = (high << 16) | (middle << 8) | low;
  return microseconds === 0 ? [] : [{ onsetBeats, bpm: Math.round(6e11 / microseconds) / 1e4 }];
}

function metreIn(data: Uint8Array, onsetBeats: number): Metre[] {
  const [numerator = 0, power = 0] = data;
  return numerator === 0 || power > 6 ? [] : [metreOf(onsetBeats, `${numerator}/${2 ** power}`)];
}

function metreOf(onsetBeats: number, text: string): Metre {
  const [numerator = 4, denominator = 4] = text.split("/").map(Number);
  return { onsetBeats, beatsPerBar: (4 * numerator) / denominator, text };
}

function signatureOf(metre: Metre): [numerator: number, power: number] {
  const [numerator = 4, denominator = 4] = metre.text.split("/").map(Number);
  return [numerator, Math.round(Math.log2(denominator))];
}

function nameIn(events: readonly MidiEvent[]): string {
  const data = events.find(({ kind }) => kind === TRACK_NAME)?.data;
  if (!data) return "";
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(data).replaceAll("\0", "");
  } catch {
    return new TextDecoder("latin1").decode(data).replaceAll("\0", "");
  }
}

/** Of each track; beyond 15 instruments they share, those of one program first. */
function channelsOf(tracks: readonly Track[]): number[] {
  const melodic = tracks.filter((track) => track.program !== DRUMS);
  const sharing = melodic.length > 15;
  const programs = [...new Set(melodic.map((track) => track.program))];
  let next = 0;
  return tracks.map((track) => {
    if (track.program === DRUMS) return DRUM_CHANNEL;
    const place = (sharing ? programs.indexOf(track.program) : next++) % 15;
    return place < DRUM_CHANNEL ? place : place + 1;
  });
}

interface KeyEvent {
  readonly on: boolean;
  readonly tick: number;
  readonly pitch: number;
  readonly velocity: number;
}

/** Keys of one track: where a key is struck that still sounds, the old note ends, since no reader could tell whose end comes first. */
function eventsOf(notes: readonly Note[]): KeyEvent[] {
  const events: KeyEvent[] = [];
  const nextOnset = new Map<number, number>(); // by pitch
  for (const { pitch, velocity, onsetBeats, durationBeats } of [...notes].sort((one, other) => other.onsetBeats - one.onsetBeats)) {
    const onset = ticks(onsetBeats);
    const limit = nextOnset.get(pitch) ?? Infinity;
    if (onset >= limit) continue;
    const end = Math.min(limit, Math.max(onset + 1, ticks(onsetBeats + durationBeats)));
    events.push({ on: true, tick: onset, pitch, velocity }, { on: false, tick: end, pitch, velocity: 0 });
    nextOnset.set(pitch, onset);
  }
  return events.sort((one, other) => one.tick - other.tick || Number(one.on) - Number(other.on));
}

function ticks(beats: number): number {
  return Math.round(beats * TICKS_PER_BEAT);
}
