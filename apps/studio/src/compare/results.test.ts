import { expect, test } from "vitest";
import { conclusion, shareText, votesOf } from "./results";

const result = (first: number, second: number, neither = 0, interval: [number, number, number] | null = null) => ({
  models: ["bach", "games"],
  sha256: ["1", "2"],
  wins_first_model: first,
  wins_second_model: second,
  neither,
  share: interval?.[0] ?? null,
  low: interval?.[1] ?? null,
  high: interval?.[2] ?? null,
});

test("few votes whose interval contains one half say nothing yet", () => {
  // Wilson's interval of 4 in 7
  expect(conclusion(result(4, 3, 2, [4 / 7, 0.25, 0.842]))).toBe("With 7 votes nothing can be said yet: the interval contains one half.");
});

test("one vote is told in the singular", () => {
  expect(conclusion(result(1, 0, 0, [1, 0.207, 1]))).toContain("With 1 vote nothing");
});

test("an interval above one half is for the first model, one below for the second", () => {
  expect(conclusion(result(18, 2, 0, [0.9, 0.699, 0.972]))).toContain("bach is preferred to games");
  expect(conclusion(result(2, 18, 0, [0.1, 0.028, 0.301]))).toContain("games is preferred to bach");
});

test("an end of the interval at one half itself decides nothing", () => {
  expect(conclusion(result(9, 3, 0, [0.75, 0.5, 0.9]))).toContain("nothing can be said");
});

test("many undecided votes are an answer, too", () => {
  expect(conclusion(result(20, 20, 0, [0.5, 0.352, 0.648]))).toContain("neither is clearly preferred");
});

test("votes for no difference alone give no share", () => {
  expect(conclusion(result(0, 0, 3))).toBe("3 votes found no difference, none chose one of the two: nothing can be said yet.");
  expect(shareText(result(0, 0, 3))).toBe("not known yet");
  expect(votesOf(result(1, 2, 3))).toBe(6);
});

test("a share is told with its interval", () => {
  expect(shareText(result(4, 3, 0, [4 / 7, 0.25, 0.842]))).toBe("57 % (25 % to 84 %)");
});
