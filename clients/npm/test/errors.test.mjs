// What only a server in trouble answers, from a fetch that plays one.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as midifactory from "../dist/index.js";

const { Client, MidiFactoryError, ProblemError } = midifactory;

function answering(body, status, headers = {}) {
  return new Client({ fetch: async () => new Response(body, { status, headers }) });
}

const problem = (status, more = {}) => JSON.stringify({ type: "about:blank", title: "T", status, detail: "D", ...more });

test("each status has its class", async () => {
  const classes = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 406: "NotAcceptable",
    408: "RequestTooSlow", 413: "TooLarge", 422: "CannotBeDone", 429: "TooManyRequests", 500: "ServerMistake",
    503: "NotInService", 504: "TookTooLong", 418: "ProblemError",
  };
  for (const [status, name] of Object.entries(classes)) {
    const error = await answering(problem(Number(status)), Number(status)).health().then(assert.fail, (error) => error);
    assert.equal(error.constructor, midifactory[name]);
    assert.equal(error.name, name);
    assert.equal(error.status, Number(status));
    assert.ok(error instanceof ProblemError && error instanceof MidiFactoryError && error instanceof Error);
  }
});

test("too many requests say when to come again", async () => {
  const text = problem(429, { name: "queue", value: 80, limit: 80, remedy: "try again in 6 seconds" });
  const error = await answering(text, 429, { "Retry-After": "6" }).generate().then(assert.fail, (error) => error);
  assert.equal(error.retryAfterSeconds, 6);
  assert.deepEqual([error.field, error.value, error.limit, error.remedy], ["queue", 80, 80, "try again in 6 seconds"]);
  const silent = await answering(text, 429).generate().then(assert.fail, (error) => error);
  assert.equal(silent.retryAfterSeconds, undefined);
});

test("a proxy's page is an error too", async () => {
  const error = await answering("<h1>Bad\nGateway</h1>", 502).models().then(assert.fail, (error) => error);
  assert.equal(error.constructor, ProblemError);
  assert.equal(error.status, 502);
  assert.match(error.message, /502.*<h1>Bad Gateway<\/h1>/);
});

test("a stream that breaks off, or goes wrong on the way, throws", async () => {
  const start = 'event: start\ndata: {"model":"m","seed":1,"said":[]}\n\n';
  const all = async (body) => {
    const seen = [];
    try {
      for await (const { event } of answering(body, 200).stream()) seen.push(event);
    } catch (error) {
      return [seen, error];
    }
    return [seen, undefined];
  };
  const [before, cut] = await all(start);
  assert.deepEqual(before, ["start"]);
  assert.ok(cut instanceof midifactory.ConnectionFailed);
  const [, late] = await all(`${start}event: problem\ndata: ${problem(504)}\n\n`);
  assert.ok(late instanceof midifactory.TookTooLong);
});

test("no server: an error that says so, with what fetch said", async () => {
  const error = await new Client({ baseUrl: "http://127.0.0.1:1/" }).health().then(assert.fail, (error) => error);
  assert.ok(error instanceof midifactory.ConnectionFailed);
  assert.ok(error.cause instanceof TypeError);
});

test("a seed that JavaScript cannot hold is refused", async () => {
  const error = await answering("{}", 200).generate({ seed: 2 ** 53 }).then(assert.fail, (error) => error);
  assert.match(error.message, /^seed=9007199254740992: /);
});

test("the token is sent, to the address without its last slash", async () => {
  const seen = [];
  const fetch = async (url, { headers }) => {
    seen.push([url, headers.Authorization]);
    return Response.json({ models: [] });
  };
  await new Client({ baseUrl: "https://music.example/api/", token: "secret", fetch }).models();
  await new Client({ baseUrl: "", fetch }).models();
  assert.deepEqual(seen, [["https://music.example/api/v1/models", "Bearer secret"], ["/v1/models", undefined]]);
});
