import { base64, blobOf } from "./bytes.js";
import { ConnectionFailed, MidiFactoryError, errorOf, errorOfResponse } from "./errors.js";
import type { ProblemDetails } from "./errors.js";
import { serverSentEvents } from "./events.js";
import type {
  AnalyzeSettings,
  Analysis,
  AttentionSettings,
  AttentionWeights,
  BlindPair,
  BlindSettings,
  CallOptions,
  Choice,
  ClientOptions,
  ContinueSettings,
  ExplainSettings,
  Explanation,
  FileForm,
  GenerateSettings,
  Health,
  InfillSettings,
  MidiInput,
  Model,
  Pieces,
  RenderedFile,
  StreamEvent,
  Style,
  Voted,
  Votes,
} from "./types.js";

const JSON_TYPE = "application/json";
const ACCEPT: Record<FileForm, string> = { midi: "audio/midi", wav: "audio/wav", png: "image/png" };

type AsNotes = CallOptions & { as?: "notes" | undefined };
type AsFile = CallOptions & { as: FileForm };
type AsAny = CallOptions & { as?: "notes" | FileForm | undefined };

/** A MIDI AI Factory server, as `midifactory serve` starts it. */
export class Client {
  readonly baseUrl: string;
  readonly #token: string | undefined;
  readonly #fetch: typeof globalThis.fetch;

  constructor({ baseUrl = "http://127.0.0.1:8000", token, fetch }: ClientOptions = {}) {
    this.baseUrl = baseUrl.replace(/\/+$/, "");
    this.#token = token;
    this.#fetch = fetch ?? ((...given) => globalThis.fetch(...given));
  }

  /** Compose pieces as notes, or one piece as a MIDI file, sound or a picture. */
  generate(settings?: GenerateSettings, options?: AsNotes): Promise<Pieces>;
  generate(settings: GenerateSettings, options: AsFile): Promise<RenderedFile>;
  async generate(settings: GenerateSettings = {}, options: AsAny = {}): Promise<Pieces | RenderedFile> {
    return this.#pieces("/v1/generate", await requestOf(settings), options);
  }

  /** Let a MIDI file go on, after its last bar or from a bar; what stands before is not touched. */
  continue(file: MidiInput, settings?: ContinueSettings, options?: AsNotes): Promise<Pieces>;
  continue(file: MidiInput, settings: ContinueSettings, options: AsFile): Promise<RenderedFile>;
  async continue(file: MidiInput, settings: ContinueSettings = {}, options: AsAny = {}): Promise<Pieces | RenderedFile> {
    return this.#pieces("/v1/continue", formOf(file, settings), options);
  }

  /** Fill bars or tracks of a MIDI file anew, with a model that was trained for it; all else stays as it is. */
  infill(file: MidiInput, settings?: InfillSettings, options?: AsNotes): Promise<Pieces>;
  infill(file: MidiInput, settings: InfillSettings, options: AsFile): Promise<RenderedFile>;
  async infill(file: MidiInput, settings: InfillSettings = {}, options: AsAny = {}): Promise<Pieces | RenderedFile> {
    return this.#pieces("/v1/infill", formOf(file, settings), options);
  }

  /**
   * Compose, and have each note as soon as the model has told it: `start`, `note` after `note`, and `end` with the
   * summary and the file. The request begins with the first `next()`. Leaving the loop, or the signal, closes the
   * connection, at which the server stops to compose.
   */
  async *stream(settings: GenerateSettings = {}, { signal }: CallOptions = {}): AsyncGenerator<StreamEvent, void> {
    const stop = new AbortController();
    const pass = () => stop.abort(signal?.reason);
    if (signal?.aborted) pass();
    else signal?.addEventListener("abort", pass);
    try {
      const body = await requestOf(settings);
      const response = await this.#send("POST", "/v1/stream", body, "text/event-stream", stop.signal);
      if (response.body === null) throw new ConnectionFailed("the stream has no body");
      for await (const { event, data } of serverSentEvents(response.body)) {
        if (event === "problem") throw errorOf(JSON.parse(data) as ProblemDetails);
        if (event !== "start" && event !== "note" && event !== "end") continue; // of a later server
        yield { ...JSON.parse(data), event } as StreamEvent;
        if (event === "end") return;
      }
      throw new ConnectionFailed("the stream ended before the piece did; was the server stopped?");
    } catch (error) {
      throw readable(error, stop.signal);
    } finally {
      signal?.removeEventListener("abort", pass);
      stop.abort();
    }
  }

  /** Describe a MIDI file: key, tempo, attributes, statistics, tracks; with a model also how original it is. */
  async analyze(file: MidiInput, settings: AnalyzeSettings = {}, options: CallOptions = {}): Promise<Analysis> {
    return this.#json("POST", "/v1/analyze", formOf(file, settings), options);
  }

  /** How likely a model finds each note of a MIDI file, given all before it, and what else it weighed. */
  async explain(file: MidiInput, settings: ExplainSettings = {}, options: CallOptions = {}): Promise<Explanation> {
    return this.#json("POST", "/v1/explain", formOf(file, settings), options);
  }

  /** Which notes a transformer looked at when it chose a note, by its place in the answer of `explain`. */
  async attention(file: MidiInput, settings: AttentionSettings, options: CallOptions = {}): Promise<AttentionWeights> {
    return this.#json("POST", "/v1/attention", formOf(file, settings), options);
  }

  /** A piece by each of two models, in an order that the server draws and does not tell; `vote` does. */
  async blind(models: readonly [string, string], settings: BlindSettings = {}, options: CallOptions = {}): Promise<BlindPair> {
    const body = `{"models":${JSON.stringify(models)},"settings":${await requestOf(settings)}}`;
    return this.#json("POST", "/v1/blind", body, options);
  }

  /** Say which piece of a pair is better: once, within an hour. The answer tells whose they were. */
  async vote(pair: string, choice: Choice, options: CallOptions = {}): Promise<Voted> {
    return this.#json("POST", "/v1/votes", JSON.stringify({ pair, choice }), options);
  }

  /** What all votes say, with 95 % intervals, and where the server keeps them. */
  async votes(options: CallOptions = {}): Promise<Votes> {
    return this.#json("GET", "/v1/votes", undefined, options);
  }

  /** The models, what they were trained on, and what each may be asked for. */
  async models(options: CallOptions = {}): Promise<Model[]> {
    return (await this.#json<{ models: Model[] }>("GET", "/v1/models", undefined, options)).models;
  }

  /** The styles, with the settings that each has. */
  async styles(options: CallOptions = {}): Promise<Style[]> {
    return (await this.#json<{ styles: Style[] }>("GET", "/v1/styles", undefined, options)).styles;
  }

  /** Whether all models are in service; throws NotInService where one is not. */
  async health(options: CallOptions = {}): Promise<Health> {
    return this.#json("GET", "/v1/health", undefined, options);
  }

  /** Counts and times, as Prometheus reads them. */
  async metrics({ signal }: CallOptions = {}): Promise<string> {
    return this.#read("GET", "/v1/metrics", undefined, "text/plain", signal, (response) => response.text());
  }

  /** Load a model's checkpoint, or all, anew; what runs is finished with the old one. */
  async reload(model?: string, options: CallOptions = {}): Promise<Model[]> {
    const path = "/v1/reload" + (model === undefined ? "" : `?model=${encodeURIComponent(model)}`);
    return (await this.#json<{ models: Model[] }>("POST", path, undefined, options)).models;
  }

  async #pieces(path: string, body: BodyInit, { as, signal }: AsAny): Promise<Pieces | RenderedFile> {
    if (as === undefined || as === "notes") return this.#json("POST", path, body, { signal });
    const accept = ACCEPT[as];
    if (accept === undefined) throw new MidiFactoryError(`as=${as}: there are notes, midi, wav, png`);
    return this.#read("POST", path, body, accept, signal, async (response) => ({
      bytes: new Uint8Array(await response.arrayBuffer()),
      type: response.headers.get("Content-Type") ?? accept,
      seed: Number(response.headers.get("Midifactory-Seed") ?? NaN),
      model: response.headers.get("Midifactory-Model") ?? "",
    }));
  }

  async #json<T>(method: string, path: string, body: BodyInit | undefined, { signal }: CallOptions): Promise<T> {
    return this.#read(method, path, body, JSON_TYPE, signal, (response) => response.json() as Promise<T>);
  }

  async #read<T>(
    method: string,
    path: string,
    body: BodyInit | undefined,
    accept: string,
    signal: AbortSignal | undefined,
    read: (response: Response) => Promise<T>,
  ): Promise<T> {
    try {
      return await read(await this.#send(method, path, body, accept, signal));
    } catch (error) {
      throw readable(error, signal);
    }
  }

  async #send(
    method: string,
    path: string,
    body: BodyInit | undefined,
    accept: string,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    const headers: Record<string, string> = { Accept: accept };
    if (typeof body === "string") headers["Content-Type"] = JSON_TYPE; // a form sets its own, with the boundary
    if (this.#token !== undefined) headers["Authorization"] = `Bearer ${this.#token}`;
    const response = await this.#fetch(this.baseUrl + path, {
      method,
      headers,
      body: body ?? null,
      signal: signal ?? null,
      cache: "no-store",
    });
    if (!response.ok) throw await errorOfResponse(response);
    return response;
  }
}

/** A mistake of fetch as one of this client, with the address' side of it in words; all others as they are. */
function readable(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  if (error instanceof MidiFactoryError) return error;
  if (error instanceof TypeError || error instanceof SyntaxError) {
    const cause = error.cause instanceof Error && error.cause.message ? ` (${error.cause.message})` : "";
    return new ConnectionFailed(`${error.message}${cause}; is the server running at baseUrl?`, { cause: error });
  }
  return error;
}

async function requestOf(settings: GenerateSettings): Promise<string> {
  const { prompt, ...others } = settings;
  const given = prompt === undefined || prompt === null || typeof prompt === "string" ? prompt : await base64(prompt);
  return written({ ...others, ...(given === undefined ? {} : { prompt: given }) });
}

function formOf(file: MidiInput, settings: object): FormData {
  const form = new FormData();
  form.append("file", blobOf(file), "file.mid");
  form.append("settings", written(settings));
  return form;
}

function written(settings: { seed?: unknown }): string {
  const { seed } = settings;
  if (seed !== undefined && seed !== null && !Number.isSafeInteger(seed)) {
    throw new MidiFactoryError(`seed=${seed}: JavaScript has whole numbers up to 2^53 - 1; take a smaller one`);
  }
  return JSON.stringify(settings);
}
