import type { Model, Pieces } from "midifactory";
import { told } from "../music/midi";
import { endBeats } from "../music/piece";
import { client } from "../server/connection";
import type { NewTake } from "./store";
import type { Asked } from "./take";

/** The server does not have the model (any more) that made a take. */
export class ModelGone extends Error {
  readonly asked: Asked;
  /** What it could be made with instead, which gives other music. */
  readonly present: Model | null;

  constructor(asked: Asked, present: Model | null) {
    super(`The model that made this (${asked.model}) is not at this server${present ? "" : ", and no other one can do that"}.`);
    this.name = "ModelGone";
    this.asked = asked;
    this.present = present;
  }
}

export interface Performing {
  /** What is not told by the settings. */
  readonly name?: string;
  readonly parent?: string | null;
  /** Also with another model, where the one that was asked is gone. */
  readonly withAnyModel?: boolean;
}

/** Ask the server for what was asked before: with the same model it is the same music. Throws ModelGone. */
export async function perform(asked: Asked, signal: AbortSignal, how: Performing = {}): Promise<NewTake> {
  const model = await modelFor(asked, signal, how.withAnyModel ?? false);
  const same = { ...asked, model: model.name, sha256: model.sha256 };
  return takeOf(same, await ask(same, signal), how);
}

/** The sound of what was asked, as the server renders it. Throws ModelGone. */
export async function soundOf(asked: Asked, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const model = await modelFor(asked, signal, false);
  const { seed } = asked;
  const options = { signal, as: "wav" } as const;
  const more = { model: model.name, seed };
  switch (asked.kind) {
    case "generate":
      return (await client().generate({ ...asked.settings, ...more }, options)).bytes;
    case "continue":
      return (await client().continue(asked.of.midi, { ...asked.settings, ...more }, options)).bytes;
    case "infill":
      return (await client().infill(asked.of.midi, { ...asked.settings, ...more }, options)).bytes;
  }
}

/** Whether a model may be asked for this kind of work. */
export function canDo(model: Model, kind: Asked["kind"]): boolean {
  return kind === "infill" ? model.infills : kind === "continue" ? model.continues : true;
}

function ask(asked: Asked, signal: AbortSignal): Promise<Pieces> {
  const more = { model: asked.model, seed: asked.seed };
  switch (asked.kind) {
    case "generate":
      return client().generate({ ...asked.settings, ...more }, { signal });
    case "continue":
      return client().continue(asked.of.midi, { ...asked.settings, ...more }, { signal });
    case "infill":
      return client().infill(asked.of.midi, { ...asked.settings, ...more }, { signal });
  }
}

async function modelFor(asked: Asked, signal: AbortSignal, withAny: boolean): Promise<Model> {
  const models = await client().models({ signal });
  const same = models.find((model) => model.sha256 === asked.sha256 && model.name === asked.model) ?? models.find((model) => model.sha256 === asked.sha256);
  if (same) return same;
  const present = models.find((model) => model.name === asked.model && canDo(model, asked.kind)) ?? models.find((model) => canDo(model, asked.kind)) ?? null;
  if (withAny && present) return present;
  throw new ModelGone(asked, present);
}

const NAMES: Record<Asked["kind"], string> = { generate: "Generated", continue: "Continued", infill: "Infill" };

function takeOf(asked: Asked, { pieces: [answer], seed, said }: Pieces, { name, parent = null }: Performing): NewTake {
  if (!answer) throw new Error("The server sent no music. Try another seed.");
  const { piece, midi } = told(answer);
  const [begin, end] = answer.new_beats ?? [];
  const continued = answer.prompt_end_beats > 0 ? ([answer.prompt_end_beats, endBeats(piece)] as const) : null;
  return {
    name: name ?? `${NAMES[asked.kind]}, seed ${seed}`,
    piece,
    midi,
    asked: { ...asked, seed },
    originality: answer.originality,
    said,
    newBeats: begin !== undefined && end !== undefined ? [begin, end] : continued,
    parent,
  };
}
