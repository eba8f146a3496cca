import type { ExplainedNote } from "midifactory";
import { instrumentName } from "../music/instruments";
import { DRUMS } from "../music/piece";
import { drumName, lengthName, pitchName } from "../roll/names";
import { chanceText } from "./surprise";

/** The average over all notes: of nats it is the geometric mean of the chances, which one odd note does not rule. */
export function averageLine(natsPerNote: number | null): string {
  if (natsPerNote === null) return "The model can tell none of these notes.";
  const chance = `On average the model gave each note a chance of ${chanceText(natsPerNote)}`;
  return `${chance}: of its pitch, its place and all else together.`;
}

export function noteName(pitch: number, program: number): string {
  return program === DRUMS ? drumName(pitch) : pitchName(pitch);
}

export interface Choice {
  readonly pitch: number;
  readonly probability: number;
  /** Whether it is what stands there. */
  readonly taken: boolean;
}

/** The note's own pitch among the others that were weighed, the likeliest first, each once. */
export function choicesOf(note: Pick<ExplainedNote, "pitch" | "probability" | "alternatives">): Choice[] {
  const others = new Map(note.alternatives.map(({ pitch, probability }) => [pitch, probability]));
  others.delete(note.pitch);
  const all = [
    { pitch: note.pitch, probability: note.probability, taken: true },
    ...[...others].map(([pitch, probability]) => ({ pitch, probability, taken: false })),
  ];
  return all.sort((a, b) => b.probability - a.probability);
}

const PARTS: Readonly<Record<string, string>> = {
  Pitch: "Pitch",
  PitchDrum: "Drum",
  NoteOn: "Pitch",
  DrumOn: "Drum",
  Velocity: "Loudness",
  Duration: "Length",
  DurationDrum: "Length",
  Position: "Place in the bar",
  Bar: "New bar",
  TimeShift: "Time since what was before",
  Rest: "Rest before it",
  Program: "Instrument",
  Tempo: "Tempo",
};

/** A part of a note, as musicians call it: "Loudness", "Pitch and loudness" of a merged token. */
export function partName(type: string): string {
  const [first = "", ...others] = type.split("+").map(typeName);
  return [first, ...others.map((name) => name.toLowerCase())].join(" and ");
}

/** Unknown ones keep the tokenizer's name, with its words apart. */
function typeName(type: string): string {
  return PARTS[type] ?? type.replace(/([a-z])([A-Z])/g, (_, before: string, after: string) => `${before} ${after.toLowerCase()}`);
}

/** What a part says, in a musician's words. */
export function partValue(type: string, value: string): string {
  const values = value.split("+");
  return type.split("+").map((each, place) => valueText(each, values[place] ?? "")).filter((text) => text !== "").join(", ");
}

/** Lengths such as 1.2.8 (beats, and so many of 8 parts) as written lengths, pitches by name. */
function valueText(type: string, value: string): string {
  const length = /^(\d+)\.(\d+)\.(\d+)$/.exec(value);
  if (length) return lengthName(Number(length[1]) + Number(length[2]) / Number(length[3]));
  const number = Number(value);
  if (value === "" || !Number.isInteger(number)) return value;
  if (type === "Pitch" || type === "NoteOn") return pitchName(number);
  if (type === "PitchDrum" || type === "DrumOn") return drumName(number);
  if (type === "Program") return instrumentName(number);
  return value;
}

/** Told at the top of the card already. */
export const isPitchPart = (type: string) => ["Pitch", "PitchDrum", "NoteOn", "DrumOn"].includes(type);
