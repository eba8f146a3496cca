import { ConnectionFailed, MidiFactoryError, ProblemError, TooLarge, TooManyRequests } from "midifactory";
import { isStopped } from "./work";

/** What went wrong, and what to do: a sentence each. */
export interface Kindly {
  readonly what: string;
  /** Empty where there is nothing to do. */
  readonly todo: string;
}

const BY_STATUS: Readonly<Record<number, Kindly>> = {
  401: { what: "The server asks for a token.", todo: "Type the token at the top of the page; it is forgotten when you close the tab." },
  403: { what: "The server does not do that for everybody.", todo: "Ask whoever runs it." },
  404: { what: "The server does not know how to do that.", todo: "It may be an older one than this page: load the page anew." },
  408: { what: "Your file came too slowly.", todo: "Look at your connection, then try again." },
  500: { what: "Something broke in the server.", todo: "Try again; if it stays, the server's log says more." },
  503: { what: "The model is not ready just now.", todo: "Wait a moment, then try again." },
  504: { what: "It took longer than the server allows.", todo: "Ask for fewer bars, or fewer takes to choose from." },
};

/** An error as a friend would tell it. */
export function kindly(error: unknown): Kindly {
  if (isStopped(error)) return { what: "Stopped.", todo: "" };
  if (error instanceof TooManyRequests) return busy(error.retryAfterSeconds);
  if (error instanceof TooLarge) return { what: "This file is larger than the server reads.", todo: "Take a shorter piece." };
  // Where the server itself has a remedy, as for votes that it does not take or has no room for, it knows better.
  if (error instanceof ProblemError) return ((error.status === 403 || error.status === 503) && error.remedy ? null : BY_STATUS[error.status]) ?? ofDetail(error);
  if (error instanceof ConnectionFailed) {
    return { what: "The connection to the server broke.", todo: "Your takes are safe. Try again in a moment." };
  }
  if (error instanceof MidiFactoryError || error instanceof Error) return { what: sentence(error.message), todo: "" };
  return { what: "Something went wrong.", todo: "Try again." };
}

function busy(seconds: number | undefined): Kindly {
  const when = seconds === undefined ? "in a moment" : `in ${Math.ceil(seconds)} ${Math.ceil(seconds) === 1 ? "second" : "seconds"}`;
  return { what: "Many others are making music just now.", todo: `Try again ${when}.` };
}

/** 422 and its like: the server's own line tells the value, the limit and the remedy. */
function ofDetail(error: ProblemError): Kindly {
  const { limit, remedy, field, value } = error;
  if (field === undefined || typeof limit !== "string") return { what: sentence(remedy ? error.message.replace(`; ${remedy}`, "") : error.message), todo: remedy ? sentence(remedy) : "" };
  const given = typeof value === "string" || typeof value === "number" ? ` “${value}”` : "";
  return { what: sentence(`${wordsOf(field)}${given}: ${limit}`), todo: remedy ? sentence(remedy) : "" };
}

/** The settings that the server found wrong, by their names in a request. */
export function wrongFields(error: unknown): readonly string[] {
  if (!(error instanceof ProblemError)) return [];
  const names = error.errors.flatMap((each) => (typeof each["name"] === "string" ? [each["name"]] : []));
  return [...new Set(error.field === undefined ? names : [error.field, ...names])].map((name) => name.split(".")[0] ?? name);
}

function wordsOf(field: string): string {
  return field.replace(/_/g, " ");
}

function sentence(text: string): string {
  const trimmed = text.trim();
  const begun = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
