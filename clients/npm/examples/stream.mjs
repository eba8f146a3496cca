// Notes as the model tells them; Ctrl-C stops the server's work too.  node stream.mjs
import { Client, TooManyRequests } from "midifactory";

const client = new Client({ baseUrl: process.env.MIDIFACTORY_URL, token: process.env.MIDIFACTORY_TOKEN });
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());

try {
  for await (const event of client.stream({ style: "chords", bars: 4, seed: 7 }, { signal: stop.signal })) {
    if (event.event === "note") console.log(event.onset_seconds.toFixed(2), event.program, event.pitch);
    if (event.event === "end") console.log(`${event.pieces[0].notes} notes, ${event.tokens} tokens`);
  }
} catch (error) {
  if (error instanceof TooManyRequests) console.error(`busy; again in ${error.retryAfterSeconds} seconds`);
  else if (!stop.signal.aborted) throw error;
}
