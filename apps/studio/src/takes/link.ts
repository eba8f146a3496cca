import type { Asked } from "./take";

export { ModelGone, perform } from "./asking";

const BEGIN = "#take=";
const [PLAIN, DEFLATED] = ["j", "z"];
/** Of the address: longer ones are cut by mail programs and chats. */
const LONGEST = 8 * 1024;
/** A small link must not become a large document. */
const MOST_BYTES = 256 * 1024;

/** Whether an address' hash means to be a take's. */
export function isTakeLink(hash: string): boolean {
  return hash.startsWith(BEGIN);
}

/** An address at which this music is made again; null where it would be too long, or nothing was asked. */
export async function linkOf(take: { readonly asked: Asked | null }): Promise<string | null> {
  if (!take.asked) return null;
  const plain = new TextEncoder().encode(JSON.stringify(await plainOf(take.asked)));
  const short = await piped(plain, new CompressionStream("deflate-raw"), MOST_BYTES);
  const told = short.length < plain.length ? DEFLATED + toText(short) : PLAIN + toText(plain);
  const link = `${location.href.split("#", 1)[0] ?? ""}${BEGIN}${told}`;
  return link.length < LONGEST ? link : null;
}

/** What a link asks for; null for what is no link of a take's, or a damaged one. */
export async function readLink(hash: string): Promise<Asked | null> {
  if (!isTakeLink(hash) || hash.length > LONGEST) return null;
  try {
    const form = hash.charAt(BEGIN.length);
    const bytes = toBytes(hash.slice(BEGIN.length + 1));
    if (form !== PLAIN && form !== DEFLATED) return null;
    const plain = form === DEFLATED ? await piped(bytes, new DecompressionStream("deflate-raw"), MOST_BYTES) : bytes;
    return askedIn(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(plain)));
  } catch {
    return null;
  }
}

async function plainOf(asked: Asked): Promise<object> {
  const { kind, model, sha256, seed } = asked;
  const common = { kind, model, sha256, seed };
  if (asked.kind !== "generate") return { ...common, settings: asked.settings, of: toText(asked.of.midi) };
  const { prompt, ...settings } = asked.settings;
  if (prompt === undefined || prompt === null) return { ...common, settings };
  return { ...common, settings: { ...settings, prompt: typeof prompt === "string" ? prompt : await inBase64(prompt) } };
}

async function inBase64(prompt: Uint8Array | ArrayBuffer | Blob): Promise<string> {
  return btoa(letters(prompt instanceof Blob ? new Uint8Array(await prompt.arrayBuffer()) : new Uint8Array(prompt)));
}

function askedIn(value: unknown): Asked | null {
  if (!isObject(value) || !isObject(value.settings)) return null;
  const { kind, model, sha256, seed, settings, of } = value;
  if (typeof model !== "string" || typeof sha256 !== "string" || typeof seed !== "number") return null;
  if (!Number.isSafeInteger(seed) || seed < 0 || sha256.length > 64 || model.length > 200) return null;
  if (kind === "generate") return { kind, model, sha256, seed, settings };
  if (kind !== "continue" && kind !== "infill") return null;
  return typeof of === "string" ? { kind, model, sha256, seed, settings, of: { midi: toBytes(of) } } : null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

async function piped(bytes: Uint8Array<ArrayBuffer>, through: CompressionStream | DecompressionStream, most: number): Promise<Uint8Array<ArrayBuffer>> {
  const writer = through.writable.getWriter();
  const written = writer.write(bytes).then(() => writer.close());
  written.catch(() => undefined); // the reader tells of it, too
  const reader = through.readable.getReader();
  const parts: number[] = [];
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    for (const byte of part.value as Uint8Array) parts.push(byte);
    if (parts.length > most) {
      await reader.cancel();
      throw new RangeError("too long");
    }
  }
  return Uint8Array.from(parts);
}

function letters(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** base64url, which an address holds as it is. */
function toText(bytes: Uint8Array): string {
  return btoa(letters(bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function toBytes(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
}
