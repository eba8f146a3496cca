/** A server of fetch alone, for tests: answers by path, and can be away. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
  readonly token: string | null;
}

export type Answer = (asked: Asked, signal: AbortSignal | null) => Response | Promise<Response>;

export class FakeServer {
  away = false;
  token: string | null = null;
  readonly asked: Asked[] = [];
  readonly answers = new Map<string, Answer>([
    ["/v1/health", () => json({ status: "ok", midifactory: "0", models: ["box"] })],
    ["/v1/models", () => json({ models: [BOX] })],
    ["/v1/styles", () => json({ styles: [{ name: "free", description: "The model starts by itself.", settings: {} }] })],
  ]);

  readonly fetch = async (input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(String(input));
    const asked = {
      method: init.method ?? "GET",
      path: url.pathname,
      body: typeof init.body === "string" ? (JSON.parse(init.body) as unknown) : null,
      token: new Headers(init.headers).get("Authorization"),
    };
    this.asked.push(asked);
    if (this.away) throw new TypeError("fetch failed");
    if (this.token !== null && url.pathname !== "/v1/health" && asked.token !== `Bearer ${this.token}`) return problem(401, "a token is needed");
    const answer = this.answers.get(url.pathname);
    return answer ? answer(asked, init.signal ?? null) : problem(404, "there is no such thing");
  };

  count(path: string): number {
    return this.asked.filter((asked) => asked.path === path).length;
  }
}

export const BOX = {
  name: "box", sha256: "abc", model: "Transformer", parameters: 916608, corpus: "bach_chorales", tokenizer: "remi", window_tokens: 767, infills: true,
  continues: true, grammar: true, originality: true, conditions: {}, programs: [43, 42, 41, 40], tempo_bpm: 80, metre: "4/4",
};

export function json(told: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(told), { status, headers: { "Content-Type": "application/json", ...headers } });
}

export function problem(status: number, detail: string, more: object = {}, headers: Record<string, string> = {}): Response {
  return json({ type: "about:blank", title: "", status, detail, ...more }, status, headers);
}

/** A stream of server-sent events; `then` may hold it open or break it. */
export function events(told: readonly (readonly [event: string, data: unknown])[], then: (controller: ReadableStreamDefaultController<Uint8Array>) => void = (controller) => controller.close()): Response {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const [event, data] of told) controller.enqueue(encoder.encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`));
      then(controller);
    },
  });
  return new Response(body, { status: 200, headers: { "Content-Type": "text/event-stream" } });
}

export function note(onset: number, pitch = 60, program = 40) {
  return ["note", { sample: 1, program, pitch, velocity: 80, onset_beats: onset, duration_beats: 1, onset_seconds: onset, duration_seconds: 1 }] as const;
}
