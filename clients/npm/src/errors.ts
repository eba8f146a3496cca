import type { components } from "./schema.js";

/** What the server says of an error: RFC 9457, with value, limit and remedy. */
export type ProblemDetails = components["schemas"]["ProblemDetails"];

/** Every error that this client makes; what ends a call by its `signal` is the signal's own reason instead. */
export class MidiFactoryError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The server was not reached, or the connection broke; `cause` is what fetch said. */
export class ConnectionFailed extends MidiFactoryError {}

/** The server's answer is an error. `message` is one line: the value, the limit and the remedy. */
export class ProblemError extends MidiFactoryError {
  readonly status: number;
  readonly title: string;
  /** Which setting is wrong. */
  readonly field: string | undefined;
  /** What was given. */
  readonly value: unknown;
  /** What is possible. */
  readonly limit: unknown;
  /** What to do instead. */
  readonly remedy: string | undefined;
  /** The settings that are wrong, where there are several. */
  readonly errors: readonly Record<string, unknown>[];
  /** The whole answer. */
  readonly problem: ProblemDetails;

  constructor(problem: ProblemDetails) {
    super(problem.detail);
    this.status = problem.status;
    this.title = problem.title;
    this.field = problem.name ?? undefined;
    this.value = problem.value ?? undefined;
    this.limit = problem.limit ?? undefined;
    this.remedy = problem.remedy ?? undefined;
    this.errors = problem.errors ?? [];
    this.problem = problem;
  }
}

/** 400: the request cannot be read. */
export class BadRequest extends ProblemError {}
/** 401: the server asks for a token, or for another one. */
export class Unauthorized extends ProblemError {}
/** 403: this server does not do that for everybody. */
export class Forbidden extends ProblemError {}
/** 404: there is no such thing; perhaps `baseUrl` is another server's. */
export class NotFound extends ProblemError {}
/** 406: no such form of answer. */
export class NotAcceptable extends ProblemError {}
/** 408: the request's body came too slowly. */
export class RequestTooSlow extends ProblemError {}
/** 409: it has been done already, such as a vote. */
export class Conflict extends ProblemError {}
/** 413: the request's body is larger than the server reads. */
export class TooLarge extends ProblemError {}
/** 422: a setting, a file or a wish that cannot be met. */
export class CannotBeDone extends ProblemError {}
/** 500: a mistake of the server. */
export class ServerMistake extends ProblemError {}
/** 503: the server is ending, or a model is not in service. */
export class NotInService extends ProblemError {}
/** 504: there was no answer within the server's limit of time. */
export class TookTooLong extends ProblemError {}

/** 429: too many requests wait. */
export class TooManyRequests extends ProblemError {
  /** When to come again, if the server said so. */
  readonly retryAfterSeconds: number | undefined;

  constructor(problem: ProblemDetails, retryAfterSeconds?: number) {
    super(problem);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

const CLASSES: Record<number, new (problem: ProblemDetails) => ProblemError> = {
  400: BadRequest,
  401: Unauthorized,
  403: Forbidden,
  404: NotFound,
  406: NotAcceptable,
  408: RequestTooSlow,
  409: Conflict,
  413: TooLarge,
  422: CannotBeDone,
  500: ServerMistake,
  503: NotInService,
  504: TookTooLong,
};

/** The error that a problem is thrown as. */
export function errorOf(problem: ProblemDetails, retryAfter: string | null = null): ProblemError {
  if (problem.status === 429) {
    const seconds = Number(retryAfter || NaN);
    return new TooManyRequests(problem, Number.isFinite(seconds) ? seconds : undefined);
  }
  return new (CLASSES[problem.status] ?? ProblemError)(problem);
}

/** The error of an answer that is none of the 200s; its body need not be a problem, since proxies answer too. */
export async function errorOfResponse(response: Response): Promise<ProblemError> {
  const text = await response.text().catch(() => "");
  let problem: ProblemDetails | undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null && "detail" in parsed && typeof parsed.detail === "string") {
      problem = { type: "about:blank", title: response.statusText, ...parsed, status: response.status } as ProblemDetails;
    }
  } catch {
    // no JSON
  }
  const plain = text.replace(/\s+/g, " ").trim().slice(0, 200);
  problem ??= {
    type: "about:blank",
    title: response.statusText,
    status: response.status,
    detail: `the server answered ${response.status} ${response.statusText}`.trim() + (plain ? `: ${plain}` : ""),
  };
  return errorOf(problem, response.headers.get("Retry-After"));
}
