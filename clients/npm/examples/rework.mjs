// What a MIDI file is like, how it could go on, and its second bar anew.  node rework.mjs song.mid
import { readFile, writeFile } from "node:fs/promises";
import { CannotBeDone, Client } from "midifactory";

const client = new Client({ baseUrl: process.env.MIDIFACTORY_URL, token: process.env.MIDIFACTORY_TOKEN });
const song = await readFile(process.argv[2]);

const { key, tempo_estimated_bpm, tracks } = await client.analyze(song);
console.log(`${key}, ${tempo_estimated_bpm} beats a minute: ${tracks.map(({ instrument }) => instrument).join(", ")}`);

const longer = await client.continue(song, { bars: 2, seed: 7 }, { as: "midi" });
await writeFile("longer.mid", longer.bytes);

try {
  const filled = await client.infill(song, { bars: 2, seed: 7 }, { as: "midi" });
  await writeFile("filled.mid", filled.bytes);
} catch (error) {
  if (!(error instanceof CannotBeDone)) throw error; // this model was not trained to fill in, or the file has no such bar
  console.error(error.message);
}
