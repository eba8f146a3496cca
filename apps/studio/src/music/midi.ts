import { BasicMIDI, MIDIBuilder } from "spessasynth_core";
import { midiBytes } from "midifactory";
import type { Piece as PieceTold } from "midifactory";
import type { Take } from "../takes/take";
import { DRUMS } from "./piece";
import type { Metre, Note, Piece, Tempo, Track } from "./piece";
import { MidiUnreadable, tidied } from "./chunks";

export { MidiUnreadable } from "./chunks";

/** Of the files that are written here: what the usual resolutions divide. */
export const TICKS_PER_BEAT = 960;

const [NOTE_OFF, NOTE_ON, PROGRAM] = [0x80, 0x90, 0xc0];
const [TRACK_NAME, SET_TEMPO, TIME_SIGNATURE] = [0x03, 0x51, 0x58] as const;
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
export function serverTracks(piece: Piece): (number | null)[] {
  const sounding = new Set(piece.notes.map((note) => note.track));
  let number = 0;
  return piece.tracks.map((_, track) => (sounding.has(track) ? ++number : null));
}

/**
 * The music of a MIDI file; throws MidiUnreadable. Tracks are numbered as the server numbers them: by chunk, channel and
 * program, without those that have no note.
 */
export function readMidi(bytes: Uint8Array): Piece {
  const tidy = tidied(bytes);
  let midi: BasicMIDI;
  try {
    midi = BasicMIDI.fromArrayBuffer(tidy);
  } catch {
    throw new MidiUnreadable("This MIDI file is damaged.", "Export it anew from the program it came from.");
  }
  const found = new Map<number, Found>();
  const tempos: Tempo[] = [];
  const metres: Metre[] = [];
  midi.tracks.forEach((track, chunk) => {
    for (const event of track.events) {
      const onsetBeats = event.ticks / midi.timeDivision;
      if (event.statusByte === SET_TEMPO) tempos.push(...tempoIn(event.data, onsetBeats));
      else if (event.statusByte === TIME_SIGNATURE) metres.push(...metreIn(event.data, onsetBeats));
    }
    readNotes(track.events, chunk, midi.timeDivision, found);
  });
  return assembled(found, tempos, metres);
}

/** A MIDI file of a piece: a track for each of its own, drums on channel 10. */
export function writeMidi(piece: Piece): Uint8Array<ArrayBuffer> {
  const [first = DEFAULT_TEMPO, ...others] = fromTheBegin(piece.tempos, DEFAULT_TEMPO);
  const midi = new MIDIBuilder({ timeDivision: TICKS_PER_BEAT, initialTempo: exact(first.bpm), format: 1, name: "" });
  for (const tempo of others) midi.setTempo(ticks(tempo.onsetBeats), exact(tempo.bpm));
  for (const metre of fromTheBegin(piece.metres, DEFAULT_METRE)) {
    const [numerator, power] = signatureOf(metre);
    midi.addEvent(ticks(metre.onsetBeats), 0, TIME_SIGNATURE, [numerator, power, 24, 8]);
  }
  const channels = channelsOf(piece.tracks);
  piece.tracks.forEach((track, index) => {
    const channel = channels[index] ?? 0;
    midi.addTrack(track.name);
    midi.programChange(0, index + 1, channel, track.program === DRUMS ? 0 : track.program);
    for (const event of eventsOf(piece.notes.filter((note) => note.track === index))) {
      if (event.on) midi.noteOn(event.tick, index + 1, channel, event.pitch, event.velocity);
      else midi.noteOff(event.tick, index + 1, channel, event.pitch);
    }
  });
  for (const track of midi.tracks) track.events.sort((one, other) => one.ticks - other.ticks); // stable: off before on
  return new Uint8Array(midi.writeMIDI());
}

/** What a chunk plays on one channel with one program. */
interface Found {
  readonly order: readonly [chunk: number, channel: number, program: number];
  readonly name: string;
  readonly notes: Omit<Note, "id" | "track">[];
}

type Events = BasicMIDI["tracks"][number]["events"];

function readNotes(events: Events, chunk: number, division: number, found: Map<number, Found>): void {
  const name = nameIn(events);
  const programs = new Array<number>(16).fill(0);
  const open = new Map<number, { tick: number; velocity: number; program: number }[]>();
  for (const { ticks: tick, statusByte, data } of events) {
    const [kind, channel] = [statusByte & 0xf0, statusByte & 0x0f];
    const [first = 0, second = 0] = data;
    if (kind === PROGRAM) programs[channel] = first & 127;
    if (kind !== NOTE_ON && kind !== NOTE_OFF) continue;
    const key = channel * 128 + (first & 127);
    const program = channel === DRUM_CHANNEL ? 0 : (programs[channel] ?? 0);
    if (kind === NOTE_ON && second > 0) {
      open.set(key, [...(open.get(key) ?? []), { tick, velocity: second & 127, program }]);
      continue;
    }
    const begun = open.get(key)?.shift(); // of two that sound, the older one ends first
    if (!begun) continue;
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

function nameIn(events: Events): string {
  const data = events.find((event) => event.statusByte === TRACK_NAME)?.data;
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

/** A tempo that the builder, which cuts off fractions of a microsecond, writes as the nearest one there is. */
function exact(bpm: number): number {
  const microseconds = Math.min(0xffffff, Math.max(1, Math.round(6e7 / bpm)));
  return 6e7 / (microseconds + 0.5);
}
