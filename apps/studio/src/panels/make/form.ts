import type { GenerateSettings, Model } from "midifactory";
import { create } from "zustand";
import { beatsPerBar } from "../../server/streaming";
import { FIXED_FIELDS } from "./wishes";

/** What the user has set; null (or empty) leaves it to the server, whose defaults hold. */
export interface Form {
  readonly model: string | null;
  readonly style: string;
  readonly key: string | null;
  readonly chords: string;
  readonly instruments: readonly number[];
  readonly bars: number;
  readonly tempoBpm: number | null;
  readonly metre: string | null;
  readonly temperature: number | null;
  readonly seed: number;
  /** Whether each take gets a seed of its own. */
  readonly newSeed: boolean;
  /** Whether the music is played as it comes. */
  readonly playAtOnce: boolean;
  readonly topP: number | null;
  readonly topK: number | null;
  readonly maxCopyBeats: number | null;
  readonly density: number | null;
  readonly polyphony: number | null;
  readonly lowestPitch: number | null;
  readonly highestPitch: number | null;
  readonly guidance: number | null;
  /** By the names of the model's conditions. */
  readonly conditions: Readonly<Record<string, string>>;
}

export const LOWEST_PITCH = 21;
export const HIGHEST_PITCH = 108;

/** Drawn once here; the field shows it. */
export function drawSeed(): number {
  const [drawn = 0] = crypto.getRandomValues(new Uint32Array(1));
  return drawn % 1_000_000;
}

export const BEGIN: Form = {
  model: null,
  style: "free",
  key: null,
  chords: "",
  instruments: [],
  bars: 8,
  tempoBpm: null,
  metre: null,
  temperature: null,
  seed: drawSeed(),
  newSeed: true,
  playAtOnce: true,
  topP: null,
  topK: null,
  maxCopyBeats: null,
  density: null,
  polyphony: null,
  lowestPitch: null,
  highestPitch: null,
  guidance: null,
  conditions: {},
};

interface FormStore {
  readonly form: Form;
  change(part: Partial<Form>): void;
}

export const useForm = create<FormStore>((set) => ({
  form: BEGIN,
  change: (part) => set(({ form }) => ({ form: { ...form, ...part } })),
}));

/** Styles that take chords to begin with; with the others chords are held through the whole piece. */
const STYLES_OF_CHORDS = new Set(["chords", "bass", "harmonise"]);

export function chordsBegin(style: string): boolean {
  return STYLES_OF_CHORDS.has(style);
}

/** The request: only what was set, so that the server's own defaults hold for the rest. */
export function requestOf(form: Form, model: Model | undefined): GenerateSettings {
  const request: GenerateSettings = { bars: form.bars, seed: form.seed };
  if (form.model !== null) request.model = form.model;
  if (form.style !== "free") request.style = form.style;
  if (form.key !== null) request.key = form.key;
  const chords = form.chords.trim();
  if (chords !== "") request[chordsBegin(form.style) ? "chords" : "harmony"] = chords;
  if (form.instruments.length > 0) request.instruments = [...form.instruments];
  if (form.tempoBpm !== null) request.tempo_bpm = form.tempoBpm;
  if (form.metre !== null) request.metre = form.metre;
  if (form.temperature !== null) request.temperature = form.temperature;
  return { ...request, ...furtherOf(form, model) };
}

function furtherOf(form: Form, model: Model | undefined): GenerateSettings {
  const request: GenerateSettings = {};
  if (form.topP !== null) request.top_p = form.topP;
  if (form.topK !== null) request.top_k = form.topK;
  if (form.maxCopyBeats !== null) request.max_copy_beats = form.maxCopyBeats;
  if (form.density !== null) request.density = form.density;
  if (form.polyphony !== null) request.polyphony = form.polyphony;
  if (form.lowestPitch !== null || form.highestPitch !== null) {
    request.pitch_range = [form.lowestPitch ?? LOWEST_PITCH, form.highestPitch ?? HIGHEST_PITCH];
  }
  if (form.guidance !== null) request.guidance = form.guidance;
  const conditions = conditionsOf(form, model);
  if (Object.keys(conditions).length > 0) request.conditions = conditions;
  return request;
}

/** Of another model's conditions, which are still in the form, nothing is sent. */
function conditionsOf(form: Form, model: Model | undefined): Record<string, string | number> {
  const known = Object.keys(model?.conditions ?? {}).filter((name) => !FIXED_FIELDS.has(name));
  return Object.fromEntries(known.flatMap((name) => {
    const asked = form.conditions[name]?.trim() ?? "";
    return asked === "" ? [] : [[name, /^-?\d+(\.\d+)?$/.test(asked) ? Number(asked) : asked]];
  }));
}

/** Metre and end, as far as they are known before the music comes. */
export function expectedBeats(form: Pick<Form, "bars" | "metre">, model: Pick<Model, "metre"> | undefined): number {
  return form.bars * beatsPerBar(form.metre ?? model?.metre ?? "4/4");
}

/** The share of the piece that has come, 0 to 1. */
export function progressOf(beats: number, expected: number): number {
  return expected <= 0 ? 0 : Math.min(1, Math.max(0, beats / expected));
}

/** Which of the served models the form asks. */
export function modelOf(form: Pick<Form, "model">, models: readonly Model[]): Model | undefined {
  return form.model === null ? models[0] : models.find(({ name }) => name === form.model);
}
