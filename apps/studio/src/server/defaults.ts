import type { ContinueSettings, GenerateSettings, InfillSettings } from "midifactory";
import { client } from "./connection";

interface Settings {
  readonly generate: GenerateSettings;
  readonly continue: ContinueSettings;
  readonly infill: InfillSettings;
}

const SCHEMAS = { generate: "GenerateRequest", continue: "ContinueRequest", infill: "InfillRequest" } as const;
/** Which model and which seed is told in each take, and what the page never sends needs no default. */
const OTHERS = new Set(["model", "seed", "num_samples", "prompt"]);

/**
 * What the server takes for settings that a request leaves out. Its owner may change that at any start, so a take that is
 * to be made again has to know; empty where the server does not tell.
 */
export async function defaultsOf<K extends keyof Settings>(kind: K, signal: AbortSignal): Promise<Settings[K]> {
  try {
    const response = await fetch(new URL("openapi.json", client().baseUrl), { signal, cache: "no-store" });
    const document = (await response.json()) as { components: { schemas: Record<string, { properties: Record<string, { default?: unknown }> }> } };
    const properties = Object.entries(document.components.schemas[SCHEMAS[kind]]?.properties ?? {});
    return Object.fromEntries(properties.flatMap(([name, told]) => ("default" in told && !OTHERS.has(name) ? [[name, told.default]] : [])));
  } catch {
    signal.throwIfAborted();
    return {}; // where the server is away, the request itself says so
  }
}
