import { create } from "zustand";
import { readMidi } from "../../music/midi";
import type { Piece } from "../../music/piece";
import { client, useServer, withServer } from "../../server/connection";
import { defaultsOf } from "../../server/defaults";
import { kindly, wrongFields } from "../../server/problems";
import type { Kindly } from "../../server/problems";
import { emptyPiece, streamPiece } from "../../server/streaming";
import type { Guess } from "../../server/streaming";
import { isStopped } from "../../server/work";
import { player } from "../../sound/the-player";
import { say } from "../../frame/saying";
import type { Take } from "../../takes/take";
import { useTakes } from "../../takes/store";
import { useView } from "../../takes/view";
import { drawSeed, expectedBeats, modelOf, progressOf, requestOf, useForm } from "./form";
import type { Form } from "./form";
import { printedKey, styleChoices } from "./wishes";

interface Making {
  readonly running: boolean;
  /** 0 to 1. */
  readonly progress: number;
  readonly problem: Kindly | null;
  /** Settings that the server refused, by their names in a request. */
  readonly wrong: readonly string[];
}

export const useMaking = create<Making>(() => ({ running: false, progress: 0, problem: null, wrong: [] }));

let ending: AbortController | null = null;

export function stopMaking(): void {
  ending?.abort();
}

/** Composes what the form asks for, shows and plays it as it comes, and keeps it as a take. Called within a gesture, for the sound. */
export async function generate(): Promise<void> {
  if (useMaking.getState().running) return;
  if (useForm.getState().form.newSeed) useForm.getState().change({ seed: drawSeed() });
  const { form } = useForm.getState();
  ending = new AbortController();
  useMaking.setState({ running: true, progress: 0, problem: null, wrong: [] });
  say("Composing.");
  try {
    const take = await compose(form, ending.signal);
    useTakes.getState().add(take);
    say(`${take.name} is ready: ${take.piece.notes.length} notes.`);
  } catch (error) {
    told(error, form);
  } finally {
    useView.getState().set({ growing: null, expectedBeats: undefined });
    useMaking.setState({ running: false });
    ending = null;
  }
}

function told(error: unknown, form: Form): void {
  player.stop();
  if (isStopped(error)) {
    keepWhatCame(form);
    return;
  }
  const problem = kindly(error);
  useMaking.setState({ problem, wrong: wrongFields(error) });
  say(`${problem.what} ${problem.todo}`);
}

/** The notes that were there when it was stopped; the same wish would give more of them, so it is no wish's music. */
function keepWhatCame(form: Form): void {
  const { growing } = useView.getState();
  if (growing === null || growing.notes.length === 0) {
    say("Stopped.");
    return;
  }
  const name = `Stopped: ${nameOf(form)}`;
  useTakes.getState().add({ name, piece: growing, midi: null, asked: null, originality: null, said: [], newBeats: null, parent: null });
  say(`Stopped. What had come is kept as ${name}.`);
}

async function compose(form: Form, signal: AbortSignal): Promise<Omit<Take, "id" | "createdAt">> {
  const known = modelOf(form, useServer.getState().models);
  const guess: Guess = { tempoBpm: form.tempoBpm ?? known?.tempo_bpm ?? 120, metre: form.metre ?? known?.metre ?? "4/4" };
  const expected = expectedBeats(form, known);
  begin(form, guess, expected);
  const show = (piece: Piece, beats: number) => {
    useView.getState().set({ growing: piece });
    useMaking.setState({ progress: progressOf(beats, expected) });
    if (form.playAtOnce) player.load(piece, true);
  };
  const { settings, model, end, midi } = await withServer(
    "Composing",
    async (work) => {
      // Asked now: the server may have come back with another model of that name, and with other defaults.
      const [models, defaults] = await Promise.all([client().models({ signal: work }), defaultsOf("generate", work)]);
      const model = modelOf(form, models);
      const settings = { ...defaults, ...requestOf(form, model), ...(model ? { model: model.name } : {}) };
      return { settings, model, ...(await streamPiece(client(), settings, guess, work, show)) };
    },
    { signal, quiet: true },
  );
  const [told] = end.pieces;
  return {
    name: nameOf(form),
    piece: readMidi(midi),
    midi,
    asked: { kind: "generate", model: end.model, sha256: model?.sha256 ?? "", seed: end.seed, settings: { ...settings, seed: end.seed } },
    originality: told?.originality ?? null,
    said: end.said,
    newBeats: null,
    parent: null,
  };
}

/** The gesture starts the sound; it waits at the end of what there is, so that the first note is heard as soon as it has come. */
function begin(form: Form, guess: Guess, expected: number): void {
  const nothing = emptyPiece(guess);
  useView.getState().set({ growing: nothing, expectedBeats: expected, borrowed: null, selection: null, chosen: new Set(), heat: null, attention: null });
  if (!form.playAtOnce) return;
  player.stop();
  player.load(nothing, true);
  player.play().catch(() => undefined); // the transport shows the player's trouble
}

/** Such as "3 · Chords in D minor". */
export function nameOf(form: Pick<Form, "style" | "key">): string {
  const [style] = styleChoices([{ name: form.style, description: "" }], [-1]);
  const number = useTakes.getState().takes.length + 1;
  return `${number} · ${style?.name ?? form.style}${form.key === null ? "" : ` in ${printedKey(form.key)}`}`;
}
