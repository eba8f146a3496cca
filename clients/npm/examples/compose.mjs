// A piece over chords, as a file and as notes.  node compose.mjs
import { writeFile } from "node:fs/promises";
import { Client, midiBytes } from "midifactory";

const client = new Client({ baseUrl: process.env.MIDIFACTORY_URL, token: process.env.MIDIFACTORY_TOKEN });

const { pieces, seed } = await client.generate({ style: "chords", chords: "C G Am F", tempo_bpm: 100, bars: 4 });
for (const piece of pieces) {
  console.log(`seed ${seed}: ${piece.notes.length} notes, ${piece.bars} bars, ${piece.seconds.toFixed(1)} seconds`);
  await writeFile("piece.mid", midiBytes(piece));
}
