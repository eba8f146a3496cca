import { ConnectionFailed, TooManyRequests } from "midifactory";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ask, client, unlock, useServer, withServer } from "./connection";
import { FakeServer, json, problem } from "./fake-server";
import { isStopped, useWork } from "./work";

let server: FakeServer;

beforeEach(() => {
  vi.useFakeTimers();
  sessionStorage.clear();
  server = new FakeServer();
  vi.stubGlobal("fetch", server.fetch);
  useServer.setState({ state: "here", models: [], styles: [], tokenRefused: false });
  useWork.setState({ jobs: [] });
});

afterEach(() => {
  vi.clearAllTimers();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const settle = () => vi.advanceTimersByTimeAsync(0);

test("the page learns what is served", async () => {
  await ask();
  expect(useServer.getState()).toMatchObject({ state: "here", models: [{ name: "box" }], styles: [{ name: "free" }] });
});

test("a server that is away is asked again by itself, until it is back", async () => {
  server.away = true;
  await ask();
  expect(useServer.getState().state).toBe("away");
  await vi.advanceTimersByTimeAsync(20_000);
  expect(server.count("/v1/models")).toBeGreaterThan(3);
  server.away = false;
  await vi.advanceTimersByTimeAsync(5_000);
  expect(useServer.getState().state).toBe("here");
  const asked = server.asked.length;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(server.asked.length).toBe(asked);
});

test("work that the server's restart broke is done when it is back, with the same request", async () => {
  server.answers.set("/v1/generate", ({ body }) => json(body));
  await ask();
  server.away = true;
  const work = withServer("Composing", (signal) => client().generate({ seed: 5 }, { signal }));
  await settle();
  expect(useServer.getState().state).toBe("away");
  expect(useWork.getState().jobs).toMatchObject([{ label: "Composing", waiting: true }]);
  server.away = false;
  await vi.advanceTimersByTimeAsync(5_000);
  expect(await work).toEqual({ seed: 5 });
  expect(server.asked.filter(({ path }) => path === "/v1/generate").map(({ body }) => body)).toEqual([{ seed: 5 }, { seed: 5 }]);
  expect(useWork.getState().jobs).toEqual([]);
});

test("a request that breaks again and again though the server answers is given up", async () => {
  server.answers.set("/v1/generate", () => { throw new TypeError("broken"); });
  const work = withServer("Composing", () => client().generate({})).catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await work).toBeInstanceOf(Error);
  expect(server.count("/v1/generate")).toBe(5);
});

test("what counts is not sent again where it may have arrived", async () => {
  server.answers.set("/v1/votes", () => { throw new TypeError("broken"); });
  const vote = withServer("Voting", () => client().vote("p", "first"), { once: true }).catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await vote).toBeInstanceOf(ConnectionFailed);
  expect(server.count("/v1/votes")).toBe(1);
});

test("what counts is sent again where the server asked for a token first", async () => {
  server.token = "right";
  server.answers.set("/v1/votes", () => json({ first: "a", second: "b", results: [] }));
  const vote = withServer("Voting", () => client().vote("p", "first"), { once: true });
  await settle();
  await unlock("right");
  expect(await vote).toMatchObject({ first: "a" });
});

test("one model out of service leaves the page with the others", async () => {
  server.answers.set("/v1/health", () => problem(503, "model=old: it is not in service; start the server again"));
  await ask();
  expect(useServer.getState()).toMatchObject({ state: "here", models: [{ name: "box" }] });
});

test("a proxy that answers for a server is no server, and is asked again", async () => {
  server.answers.set("/v1/models", () => problem(500, "nothing here"));
  await ask();
  expect(useServer.getState().state).toBe("away");
  server.answers.set("/v1/models", () => json({ models: [] }));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(useServer.getState().state).toBe("here");
});

test("work that was ended before it began does not wait for the server", async () => {
  server.away = true;
  await ask();
  const work = withServer("Composing", () => client().generate({}), { signal: AbortSignal.abort() }).catch((error: unknown) => error);
  await settle();
  expect(isStopped(await work)).toBe(true);
});

test("what the server refuses is thrown at once", async () => {
  server.answers.set("/v1/generate", () => problem(429, "full", {}, { "Retry-After": "3" }));
  await expect(withServer("Composing", () => client().generate({}))).rejects.toBeInstanceOf(TooManyRequests);
  expect(useServer.getState().state).toBe("here");
});

test("stop ends work that waits for a server", async () => {
  server.away = true;
  const work = withServer("Composing", (signal) => client().generate({}, { signal })).catch((error: unknown) => error);
  await settle();
  useWork.getState().jobs[0]?.stop();
  expect(isStopped(await work)).toBe(true);
  expect(useWork.getState().jobs).toEqual([]);
});

test("a locked server is opened by its token, which lives as long as the tab", async () => {
  server.token = "right";
  await ask();
  expect(useServer.getState()).toMatchObject({ state: "locked", tokenRefused: false });
  await unlock("wrong");
  expect(useServer.getState()).toMatchObject({ state: "locked", tokenRefused: true });
  await unlock(" right ");
  expect(useServer.getState()).toMatchObject({ state: "here", models: [{ name: "box" }] });
  expect(localStorage.length).toBe(0);
});
