import { expect, test } from "vitest";
import { DRUMS } from "../music/piece";
import { averageLine, choicesOf, noteName, partName, partValue } from "./words";

test("the average is told as a chance", () => {
  expect(averageLine(null)).toBe("The model can tell none of these notes.");
  expect(averageLine(Math.log(6))).toContain("On average the model gave each note a chance of 1 in 6");
});

test("the note stands among what was weighed, by its probability, and once", () => {
  const alternatives = [{ pitch: 62, probability: 0.5 }, { pitch: 60, probability: 0.2 }, { pitch: 64, probability: 0.1 }];
  expect(choicesOf({ pitch: 60, probability: 0.2, alternatives })).toEqual([
    { pitch: 62, probability: 0.5, taken: false },
    { pitch: 60, probability: 0.2, taken: true },
    { pitch: 64, probability: 0.1, taken: false },
  ]);
});

test("drums have their names", () => {
  expect(noteName(60, 0)).toBe("C4");
  expect(noteName(38, DRUMS)).toBe("Snare");
});

test("parts speak as musicians do", () => {
  expect(partName("Velocity")).toBe("Loudness");
  expect(partName("MicroTiming")).toBe("Micro timing");
  expect(partValue("Duration", "0.4.8")).toBe("an eighth");
  expect(partValue("Duration", "1.4.8")).toBe("a dotted quarter");
  expect(partValue("Pitch", "61")).toBe("C♯4");
  expect(partValue("Velocity", "87")).toBe("87");
  expect(partValue("Family", "strings")).toBe("strings");
  expect(partValue("Program", "40")).toBe("Violin");
  expect(partValue("Program", "-1")).toBe("Drums");
});

test("a merged token tells all that it says", () => {
  expect(partName("Pitch+Velocity")).toBe("Pitch and loudness");
  expect(partValue("Pitch+Velocity+Duration", "60+87+1.0.8")).toBe("C4, 87, a quarter");
});
