import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { CannotBeDone, Client, Conflict, NotFound, midiBytes } from "../dist/index.js";
import { startServer } from "./server.mjs";

let server;
let client;
before(async () => {
  server = await startServer("checkpoint=[one=box,other=box]");
  client = new Client({ baseUrl: server.url });
});
after(async () => {
  if (server) assert.equal(await server.stop(), 0);
});

/** A gauge or counter of the server. */
async function measured(name) {
  const lines = (await client.metrics()).split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  assert.ok(lines.length, `${name} is not measured`);
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

async function until(holds, seconds) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 20))) {
    if (await holds()) return true;
  }
  return false;
}

const failing = (promise) => promise.then(() => assert.fail("it did not fail"), (error) => error);
const key = ({ program, pitch, velocity, onset_beats, duration_beats }) =>
  [program, pitch, velocity, onset_beats.toFixed(3), duration_beats.toFixed(3)].join(" ");
const ofMidi = (bytes) => new TextDecoder("latin1").decode(bytes.subarray(0, 4));

test("a seed gives the same bytes again, as a file and in the notes' answer", async () => {
  const settings = { style: "chords", chords: "C G Am F", bars: 2, seed: 7 };
  const first = await client.generate(settings, { as: "midi" });
  const second = await client.generate(settings, { as: "midi" });
  assert.equal(ofMidi(first.bytes), "MThd");
  assert.deepEqual(first, second);
  assert.equal(first.type, "audio/midi");
  const told = await client.generate(settings);
  assert.equal(told.seed, 7);
  assert.equal(first.seed, 7);
  assert.equal(first.model, told.model);
  assert.deepEqual(midiBytes(told.pieces[0]), first.bytes);
  assert.ok(told.pieces[0].notes.length > 0);
});

test("without a seed there is one, which gives the piece again", async () => {
  const first = await client.generate({ bars: 1 });
  const again = await client.generate({ bars: 1, seed: first.seed });
  assert.equal(again.pieces[0].midi, first.pieces[0].midi);
});

test("sound and picture", async () => {
  const settings = { style: "chords", bars: 1, seed: 7 };
  const sound = await client.generate(settings, { as: "wav" });
  assert.equal(ofMidi(sound.bytes), "RIFF");
  const picture = await client.generate(settings, { as: "png" });
  assert.deepEqual([...picture.bytes.subarray(1, 4)].map((code) => String.fromCharCode(code)).join(""), "PNG");
});

test("the notes of a stream are those of its file, and of generate", async () => {
  const settings = { style: "chords", bars: 2, seed: 3 };
  const seen = [];
  for await (const event of client.stream(settings)) seen.push(event);
  assert.equal(seen[0].event, "start");
  assert.equal(seen[0].seed, 3);
  const end = seen.at(-1);
  assert.equal(end.event, "end");
  const notes = seen.slice(1, -1);
  assert.ok(notes.every(({ event, sample }) => event === "note" && sample === 1));
  const [piece] = (await client.generate(settings)).pieces;
  assert.equal(end.pieces[0].notes, piece.notes.length);
  assert.equal(end.pieces[0].midi, piece.midi);
  assert.deepEqual(notes.map(key).sort(), piece.notes.map(key).sort());
});

test("a stream that is aborted throws the signal's reason, and the server stops to compose", async () => {
  const stop = new AbortController();
  const reason = new Error("enough");
  const error = await failing(
    (async () => {
      for await (const { event } of client.stream({ tokens: 8000 }, { signal: stop.signal })) {
        if (event !== "note") continue;
        assert.equal(await measured("midifactory_rows_running"), 1);
        stop.abort(reason);
      }
    })(),
  );
  assert.equal(error, reason);
  assert.ok(await until(async () => (await measured("midifactory_rows_running")) === 0, 5), "its row still runs");
});

test("leaving the loop of a stream does the same", async () => {
  for await (const { event } of client.stream({ tokens: 8000 })) if (event === "note") break;
  assert.ok(await until(async () => (await measured("midifactory_rows_running")) === 0, 5), "its row still runs");
});

test("a request can be aborted, before and while it is answered", async () => {
  const early = await failing(client.generate({}, { signal: AbortSignal.abort() }));
  assert.equal(early.name, "AbortError");
  const late = await failing(client.generate({ tokens: 8000 }, { signal: AbortSignal.timeout(300) }));
  assert.equal(late.name, "TimeoutError");
  assert.ok(await until(async () => (await measured("midifactory_rows_running")) === 0, 5), "its row still runs");
});

test("a chord or a style that there is not: value, limit and remedy", async () => {
  for (const call of [(settings) => client.generate(settings), (settings) => client.stream(settings).next()]) {
    const error = await failing(call({ style: "chords", chords: "C Hb7" }));
    assert.ok(error instanceof CannotBeDone);
    assert.equal(error.status, 422);
    assert.match(error.message, /Hb7/);
  }
  const unknown = await failing(client.generate({ style: "chord" }));
  assert.deepEqual([unknown.field, unknown.value], ["style", "chord"]);
  assert.match(unknown.limit, /arpeggio/);
  assert.match(unknown.remedy, /take chords/);
  const several = await failing(client.generate({ bars: 0, top_p: 2 }));
  assert.equal(several.errors.length, 2);
});

test("a MIDI file goes on, is filled in and described", async (t) => {
  const song = (await client.generate({ style: "chords", bars: 4, seed: 1 }, { as: "midi" })).bytes;

  const [longer] = (await client.continue(song, { bars: 1, seed: 2 })).pieces;
  assert.ok(longer.prompt_end_beats > 0);
  assert.ok(longer.notes.some(({ onset_beats }) => onset_beats >= longer.prompt_end_beats));

  const prompted = await client.generate({ prompt: song, prompt_bars: 2, bars: 1, seed: 2 });
  assert.ok(prompted.pieces[0].prompt_end_beats > 0);

  const analysis = await client.analyze(new Blob([song]));
  assert.equal(analysis.tracks.reduce((sum, { notes }) => sum + notes, 0) > 0, true);
  assert.equal(analysis.originality, undefined);

  const wrong = await failing(client.analyze(new TextEncoder().encode("no MIDI")));
  assert.ok(wrong instanceof CannotBeDone);

  await t.test("infill", async () => {
    const [model] = await client.models();
    if (!model.infills) {
      const error = await failing(client.infill(song, { bars: "2-3", seed: 2 }));
      assert.ok(error instanceof CannotBeDone);
      return;
    }
    const filled = await client.infill(song, { bars: "2-3", seed: 2 });
    const [from, to] = filled.pieces[0].new_beats;
    assert.ok(from < to);
    assert.deepEqual(midiBytes(filled.pieces[0]), (await client.infill(song, { bars: "2-3", seed: 2 }, { as: "midi" })).bytes);
  });
});

test("a file's notes are explained, and where the model looked", async () => {
  const [piece] = (await client.generate({ bars: 2, seed: 5 })).pieces;
  const song = midiBytes(piece);
  const { notes, nats_per_note, skipped } = await client.explain(song, { alternatives: 3 });
  assert.deepEqual(skipped, []);
  const place = ({ program, pitch, onset_beats }) => [program, pitch, onset_beats.toFixed(3)].join(" ");
  assert.deepEqual(notes.map(place).sort(), piece.notes.map(place).sort());
  assert.ok(nats_per_note > 0);
  for (const { nats, probability, alternatives, parts } of notes) {
    assert.ok(Math.abs(nats - parts.reduce((sum, part) => sum + part.nats, 0)) < 1e-9);
    assert.equal(alternatives.length, 3);
    assert.ok(probability > 0 && probability <= alternatives[0].probability);
  }
  const last = notes.length - 1;
  const looked = await client.attention(song, { note: last, layer: 0, head: 0 });
  assert.equal(looked.weights.length, looked.window_notes);
  assert.ok(looked.weights.every(({ note, weight }) => note < last && weight >= 0));
  assert.equal((await failing(client.attention(song, { note: 9999 }))).field, "note");
});

test("two models are heard blind, and voted on once", async () => {
  const [one, other] = (await client.models()).map(({ name }) => name);
  const { pair, first, second } = await client.blind([one, other], { bars: 1 });
  assert.ok(first.notes.length > 0 && second.notes.length > 0);
  assert.equal(ofMidi(midiBytes(first)), "MThd");
  const voted = await client.vote(pair, "second");
  assert.deepEqual([voted.first, voted.second].sort(), [one, other].sort());
  const again = await failing(client.vote(pair, "first"));
  assert.ok(again instanceof Conflict);
  assert.ok((await failing(client.vote("no such pair", "first"))) instanceof NotFound);
  const { results, file } = await client.votes();
  assert.deepEqual(results, voted.results);
  assert.match(file, /votes\.jsonl$/);
  const [{ models, wins_first_model, share, low, high }] = results;
  assert.equal(share, models[0] === voted.second ? 1 : 0);
  assert.equal(wins_first_model, share);
  assert.ok(low >= 0 && low <= share && share <= high && high <= 1);
});

test("lists", async () => {
  assert.equal((await client.health()).status, "ok");
  const [model] = await client.models();
  assert.ok(model.parameters > 0);
  assert.ok((await client.styles()).some(({ name, settings }) => name === "chords" && "chords" in settings));
  const [again] = await client.reload(model.name);
  assert.equal(again.sha256, model.sha256);
});

test("the examples run", async () => {
  const folder = await mkdtemp(join(tmpdir(), "midifactory-examples-"));
  const run = (name, ...given) =>
    promisify(execFile)(process.execPath, [fileURLToPath(new URL(`../examples/${name}`, import.meta.url)), ...given], {
      cwd: folder,
      env: { ...process.env, MIDIFACTORY_URL: server.url },
    });
  try {
    await run("compose.mjs");
    assert.equal(ofMidi(await readFile(join(folder, "piece.mid"))), "MThd");
    assert.match((await run("stream.mjs")).stdout, /notes/);
    await writeFile(join(folder, "song.mid"), await readFile(join(folder, "piece.mid")));
    await run("rework.mjs", "song.mid");
    assert.equal(ofMidi(await readFile(join(folder, "longer.mid"))), "MThd");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
