import type { components } from "./schema.js";

type Schemas = components["schemas"];

/** A MIDI file: its bytes, or what a browser's file input gives. */
export type MidiInput = Uint8Array | ArrayBuffer | Blob;

/** The settings of `generate` and `stream`; `prompt` may be a file's bytes as well as base64. */
export type GenerateSettings = Omit<Schemas["GenerateRequest"], "prompt"> & { prompt?: MidiInput | string | null };
/** The settings of `continue`. */
export type ContinueSettings = Schemas["ContinueRequest"];
/** The settings of `infill`. */
export type InfillSettings = Schemas["InfillRequest"];
/** The settings of `analyze`. */
export type AnalyzeSettings = Schemas["AnalyzeRequest"];

/** The settings of `explain`. */
export type ExplainSettings = Schemas["ExplainRequest"];
/** The settings of `attention`. */
export type AttentionSettings = Schemas["AttentionRequest"];
/** What both models of `blind` are asked: no model and no seed, which would tell whose a piece is. */
export type BlindSettings = Omit<Schemas["BlindSettings"], "prompt"> & { prompt?: MidiInput | string | null };

/** What was composed, with notes in beats and seconds. */
export type Pieces = Schemas["Pieces"];
export type Piece = Schemas["Piece"];
export type Note = Schemas["Note"];
export type Analysis = Schemas["Analysis"];
export type Health = Schemas["Health"];
export type Model = Schemas["Model"];
export type Style = Schemas["Style"];

/** Each note of a file with its surprise in nats, its probability and the alternatives. */
export type Explanation = Schemas["Explanation"];
export type ExplainedNote = Schemas["ExplainedNote"];
/** How much of a model's attention each earlier note got. */
export type AttentionWeights = Schemas["AttentionTold"];

/** Two pieces of two models; only a vote tells whose they are. */
export type BlindPair = Schemas["BlindPair"];
export type Choice = Schemas["VoteRequest"]["choice"];
export type Voted = Schemas["Voted"];
export type Votes = Schemas["VotesTold"];
export type VoteResult = Schemas["VoteResult"];

/** The summary at a stream's end: as the answer of `generate`, with the number of each piece's notes in their place. */
export type StreamSummary = Schemas["StreamEnd"];
/** What a stream yields: `start`, then a `note` for each, then `end`. */
export type StreamEvent =
  | ({ event: "start" } & Schemas["StreamStart"])
  | ({ event: "note" } & Schemas["StreamNote"])
  | ({ event: "end" } & StreamSummary);

/** A form of a piece that is a file. */
export type FileForm = "midi" | "wav" | "png";

/** A piece as a file. */
export interface RenderedFile {
  bytes: Uint8Array<ArrayBuffer>;
  /** The media type, such as audio/midi. */
  type: string;
  /** Asked for again, with the same settings and model, it gives the same piece. */
  seed: number;
  model: string;
}

export interface CallOptions {
  /** Ends the call; the server then stops its work at once. `AbortSignal.timeout(60_000)` is a limit of time. */
  signal?: AbortSignal | undefined;
}

export interface ClientOptions {
  /** Where the server is, "" for the page's own; http://127.0.0.1:8000 without it. */
  baseUrl?: string | undefined;
  /** What a server that needs a token is shown. */
  token?: string | undefined;
  /** Used in place of the global fetch. */
  fetch?: typeof globalThis.fetch | undefined;
}
