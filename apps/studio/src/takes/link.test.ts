import { deflateRawSync } from "node:zlib";
import { expect, test } from "vitest";
import { writeMidi } from "../music/midi";
import { pick, pieceWith, randomPiece, seeded, whole } from "../music/testing";
import { isTakeLink, linkOf, readLink } from "./link";
import type { Asked } from "./take";

const hashOf = (link: string | null) => (link === null ? "" : new URL(link).hash);
const plain = (asked: Asked | null) => (asked && asked.kind !== "generate" ? { ...asked, of: [...asked.of.midi] } : asked);

function randomAsked(seed: number): Asked {
  const random = seeded(seed);
  const common = { model: pick(random, ["box", "модель", "a/b c#d"]), sha256: whole(random, 0, 2 ** 40).toString(16).padStart(64, "0"), seed: whole(random, 0, Number.MAX_SAFE_INTEGER) };
  const sampling = { temperature: random() * 2, top_p: pick(random, [1, 0.97, 1e-9]), ...(random() < 0.5 ? { max_copy_beats: null } : {}) };
  const of = { midi: writeMidi(pieceWith([[0, whole(random, 0, 127), random() * 9, 1], [1, 40, 2, 3]])) };
  const kind = pick<Asked["kind"]>(random, ["generate", "continue", "infill"]);
  if (kind === "continue") return { ...common, kind, settings: { ...sampling, bars: whole(random, 1, 64) }, of };
  if (kind === "infill") return { ...common, kind, settings: { ...sampling, bars: "3-4", tracks: ["1", "Flöte"] }, of };
  return { ...common, kind, settings: { ...sampling, key: "F# minor", harmony: "C G Am F", instruments: ["piano", -1], conditions: { style: "日本", mood: null } } };
}

test("a link's settings are those of the take", async () => {
  for (let seed = 0; seed < 200; seed++) {
    const asked = randomAsked(seed);
    const link = await linkOf({ asked });
    expect(link?.startsWith(`${location.origin}/#take=`)).toBe(true);
    expect(link).toMatch(/^[\x21-\x7e]+$/);
    expect(plain(await readLink(hashOf(link))), `seed ${seed}`).toEqual(plain(asked));
  }
});

test("a prompt's bytes go with it, in base64", async () => {
  const midi = writeMidi(pieceWith([[0, 60, 0, 1]]));
  const asked: Asked = { kind: "generate", model: "box", sha256: "", seed: 1, settings: { prompt: midi } };
  expect(await readLink(hashOf(await linkOf({ asked })))).toEqual({ ...asked, settings: { prompt: Buffer.from(midi).toString("base64") } });
});

test("there is no link to music that nothing was asked for, or with a large file", async () => {
  expect(await linkOf({ asked: null })).toBeNull();
  const midi = writeMidi({ ...randomPiece(1), notes: Array.from({ length: 20 }, (_, seed) => randomPiece(seed).notes).flat() });
  expect(midi.length).toBeGreaterThan(8192);
  expect(await linkOf({ asked: { kind: "continue", model: "box", sha256: "", seed: 1, settings: {}, of: { midi } } })).toBeNull();
});

test("an address that is no take's is none", async () => {
  expect(isTakeLink("#other")).toBe(false);
  expect(await readLink("")).toBeNull();
});

const deflated = (text: string) => `z${deflateRawSync(text).toString("base64url")}`;
const written = (value: unknown) => `j${Buffer.from(JSON.stringify(value)).toString("base64url")}`;
const good = { kind: "generate", model: "box", sha256: "ab", seed: 1, settings: {} };

test.each([
  ["nothing", ""],
  ["no base64", "j%%%"],
  ["no JSON", written(good).slice(0, 20)],
  ["no deflate", "zAAAA"],
  ["a cut deflate", deflated(JSON.stringify(good)).slice(0, 12)],
  ["another form", `q${written(good).slice(1)}`],
  ["a list", written([good])],
  ["null", written(null)],
  ["another kind", written({ ...good, kind: "reload" })],
  ["a seed that is no number", written({ ...good, seed: "1" })],
  ["a seed that JavaScript has not", written({ ...good, seed: 2 ** 60 })],
  ["settings that are none", written({ ...good, settings: [] })],
  ["a continuation of nothing", written({ ...good, kind: "continue" })],
  ["a file that is no base64", written({ ...good, kind: "continue", of: "ä" })],
  ["a small link that becomes megabytes", deflated(" ".repeat(4e6))],
  ["a very long link", `j${"A".repeat(1e6)}`],
])("%s is told to be no link, without a word thrown", async (_, text) => {
  expect(await readLink(`#take=${text}`)).toBeNull();
});

test("the same, well made, is one", async () => {
  expect(await readLink(`#take=${written(good)}`)).toEqual(good);
  expect(await readLink(`#take=${deflated(JSON.stringify(good))}`)).toEqual(good);
});

test("random hashes do not throw", async () => {
  const random = seeded(5);
  for (let count = 0; count < 300; count++) {
    const text = Array.from({ length: whole(random, 0, 60) }, () => String.fromCharCode(whole(random, 33, 400))).join("");
    const form = pick(random, ["", "j", "z"]);
    expect(await readLink(`#take=${form}${text}`)).toBeNull();
  }
});
