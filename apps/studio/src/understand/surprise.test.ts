import { expect, test } from "vitest";
import { chanceText, heatOf, percentText, percentile, surpriseScale } from "./surprise";

test("percentiles lie between the sorted values", () => {
  expect(percentile([3, 1, 2], 0.5)).toBe(2);
  expect(percentile([10, 0], 0.25)).toBe(2.5);
  expect(percentile([7], 0.95)).toBe(7);
  expect(percentile([], 0.5)).toBe(0);
});

test("one odd note leaves the colours of the others", () => {
  const nats = Array.from({ length: 100 }, (_, i) => i / 100);
  const calm = surpriseScale(nats);
  const odd = surpriseScale([...nats, 1000]);
  expect(heatOf(0.5, odd)).toBeCloseTo(heatOf(0.5, calm), 1);
  expect(heatOf(1000, odd)).toBe(1);
  expect(heatOf(0, odd)).toBe(0);
});

test("the heat rises with the nats", () => {
  const scale = surpriseScale([0, 1, 2, 3, 4]);
  const heats = [0, 1, 2, 3, 4].map((nats) => heatOf(nats, scale));
  expect(heats).toEqual([...heats].sort((a, b) => a - b));
  expect(heats[2]).toBeCloseTo(0.5);
});

test("notes that are all alike are not surprising", () => {
  expect(heatOf(2, surpriseScale([2, 2, 2]))).toBe(0);
});

test.each([
  [0, "1 in 1"],
  [Math.log(1.25), "1 in 1.3"],
  [Math.log(6), "1 in 6"],
  [Math.log(14.2), "1 in 14"],
  [Math.log(2980), "1 in 3,000"],
  [Math.log(3_400_000), "1 in 3.4 million"],
  [30, "less than 1 in a billion"],
])("%f nats are a chance of %s", (nats, text) => {
  expect(chanceText(nats)).toBe(text);
});

test.each([
  [1, "100 %"],
  [0.374, "37 %"],
  [0.0042, "0.42 %"],
  [0.00001, "under 0.1 %"],
  [0, "0 %"],
])("%f is read as %s", (probability, text) => {
  expect(percentText(probability)).toBe(text);
});
