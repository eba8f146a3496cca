import { errorOfResponse } from "../../../../clients/npm/src/errors";
import { ConnectionFailed } from "midifactory";
import { expect, test } from "vitest";
import { problem } from "./fake-server";
import { kindly, wrongFields } from "./problems";
import { Stopped } from "./work";

const thrown = (status: number, detail: string, more: object = {}, headers: Record<string, string> = {}) => errorOfResponse(problem(status, detail, more, headers));

test("a full server says when to come again", async () => {
  const seconds = await thrown(429, "16 pieces are composed and 64 wait", {}, { "Retry-After": "7" });
  expect(kindly(seconds).todo).toContain("7 seconds");
  expect(kindly(await thrown(429, "full")).todo).toContain("in a moment");
  expect(kindly(await thrown(429, "full", {}, { "Retry-After": "1" })).todo).toMatch(/1 second\b/);
});

test("a wish that cannot be met names the field, the limit and the remedy", async () => {
  const error = await thrown(422, "chords=H: no such chord; write it as C, F#m", { name: "chords", value: "H", limit: "no such chord", remedy: "write it as C, F#m" });
  expect(kindly(error)).toEqual({ what: "Chords “H”: no such chord.", todo: "Write it as C, F#m." });
  expect(wrongFields(error)).toEqual(["chords"]);
});

test("every wrong field is known, settings of settings by their first name", async () => {
  const error = await thrown(422, "2 fields", { errors: [{ name: "bars" }, { name: "conditions.mood" }, { name: "bars" }, {}] });
  expect(wrongFields(error)).toEqual(["bars", "conditions"]);
  expect(wrongFields(new Error("no"))).toEqual([]);
});

test("time, token and connection have words of their own and something to do", async () => {
  for (const status of [401, 403, 404, 413, 500, 503, 504]) {
    const { what, todo } = kindly(await thrown(status, "raw words of the server"));
    expect(what).not.toContain("raw");
    expect(todo).not.toBe("");
  }
  expect(kindly(new ConnectionFailed("x")).todo).toContain("takes are safe");
});

test("what the server's owner has not switched on is told with the owner's remedy", async () => {
  const error = await thrown(403, "votes: this server takes none; start it with votes=FILE.jsonl", { remedy: "start it with votes=FILE.jsonl" });
  expect(kindly(error)).toEqual({ what: "Votes: this server takes none.", todo: "Start it with votes=FILE.jsonl." });
});

test("what the user stopped is no problem, and unknown things have a sentence", () => {
  expect(kindly(new Stopped())).toEqual({ what: "Stopped.", todo: "" });
  expect(kindly("what").what).toBe("Something went wrong.");
});
