import { vi } from "vitest";
import { writeMidi } from "../music/midi";
import { pieceWith } from "../music/testing";
import { useServer } from "../server/connection";

export const SHA = "a".repeat(64);

export interface Call {
  readonly path: string;
  readonly settings: Record<string, unknown>;
  readonly accept: string | null;
}

/** What the stand-in answers; a test may exchange any of it. */
export interface StandIn {
  models: { name: string; sha256: string; infills: boolean; continues: boolean; corpus: string }[];
  calls: Call[];
  /** Answers in place of the music. */
  answer: ((call: Call) => Response) | null;
}

/** A server in place of the page's: it answers every wish with two notes, the seed among them as a pitch. */
export function standIn(): StandIn {
  const server: StandIn = { models: [{ name: "box", sha256: SHA, infills: true, continues: true, corpus: "chorales" }], calls: [], answer: null };
  useServer.setState({ state: "here", models: server.models as never, styles: [] });
  vi.stubGlobal("fetch", async (input: string, init?: RequestInit) => {
    const path = new URL(input).pathname;
    if (path === "/v1/models") return Response.json({ models: server.models });
    const body = init?.body;
    const settings = JSON.parse(typeof body === "string" ? body : String((body as FormData).get("settings"))) as Record<string, unknown>;
    const call = { path, settings, accept: new Headers(init?.headers).get("Accept") };
    server.calls.push(call);
    if (server.answer) return server.answer(call);
    return call.accept === "audio/wav" ? new Response(new Uint8Array([1, 2, 3])) : Response.json(answerOf(settings));
  });
  return server;
}

function answerOf(settings: Record<string, unknown>): object {
  const pitch = Number(settings.seed) % 128;
  const note = (onset_beats: number) => ({ program: 0, track: 0, pitch, velocity: 90, onset_beats, duration_beats: 1, onset_seconds: 0, duration_seconds: 1 });
  const midi = writeMidi(pieceWith([[0, pitch, 0, 1], [0, pitch, 4, 1]], [0]));
  const piece = {
    sample: 1, bars: 2, seconds: 1, truncated: false, notes: [note(0), note(4)], tracks: [{ name: "Piano", program: 0 }],
    tempos: [{ onset_beats: 0, bpm: 100 }], metres: [{ onset_beats: 0, metre: "4/4" }], prompt_end_beats: 0, new_beats: [0, 4], originality: null,
    midi: Buffer.from(midi).toString("base64"),
  };
  return { model: settings.model, seed: settings.seed, tokens: 1, said: [], pieces: [piece] };
}
