import { expect, test } from "vitest";
import { BOX } from "../../server/fake-server";
import { BEGIN, drawSeed, expectedBeats, modelOf, progressOf, requestOf } from "./form";
import { styleChoices } from "./wishes";

test("only what was set is sent, so that the server's defaults hold", () => {
  expect(requestOf({ ...BEGIN, seed: 7 }, BOX)).toEqual({ bars: 8, seed: 7 });
});

test("every wish has its place in the request", () => {
  const form = {
    ...BEGIN, model: "box", seed: 7, bars: 4, style: "chords", key: "D minor", chords: " Dm Gm ", instruments: [40, 43], tempoBpm: 96, metre: "3/4", temperature: 1.1, topP: 0.9,
    topK: 20, maxCopyBeats: 8, density: 2, polyphony: 4, lowestPitch: 48, guidance: 2, conditions: { mood: "sad", energy: "0.5", empty: " ", unknown: "x", bars: "9" },
  };
  expect(requestOf(form, { ...BOX, conditions: { mood: "sad, glad", energy: "a number", empty: "", bars: "a number" } })).toEqual({
    model: "box", seed: 7, bars: 4, style: "chords", key: "D minor", chords: "Dm Gm", instruments: [40, 43], tempo_bpm: 96, metre: "3/4", temperature: 1.1, top_p: 0.9,
    top_k: 20, max_copy_beats: 8, density: 2, polyphony: 4, pitch_range: [48, 108], guidance: 2, conditions: { mood: "sad", energy: 0.5 },
  });
});

test("chords of a style that has none are held through the piece", () => {
  expect(requestOf({ ...BEGIN, chords: "C G" }, BOX)).toMatchObject({ harmony: "C G" });
  expect(requestOf({ ...BEGIN, chords: "C G", style: "bass" }, BOX)).not.toHaveProperty("harmony");
});

test("zero is a wish as well", () => {
  expect(requestOf({ ...BEGIN, topK: 0, guidance: 0 }, BOX)).toMatchObject({ top_k: 0, guidance: 0 });
});

test("progress is the share of the beats that have come", () => {
  expect(expectedBeats({ bars: 8, metre: null }, BOX)).toBe(32);
  expect(expectedBeats({ bars: 8, metre: "6/8" }, BOX)).toBe(24);
  expect([0, 8, 40].map((beats) => progressOf(beats, 32))).toEqual([0, 0.25, 1]);
  expect(progressOf(3, 0)).toBe(0);
});

test("the first model is asked where none was chosen", () => {
  const other = { ...BOX, name: "games" };
  expect(modelOf({ model: null }, [BOX, other])?.name).toBe("box");
  expect(modelOf({ model: "games" }, [BOX, other])?.name).toBe("games");
});

test("drums are offered where the model knows them, a style of one's own with its description", () => {
  const styles = [{ name: "mine", description: "My way." }, { name: "drums", description: "" }, { name: "free", description: "" }];
  expect(styleChoices(styles, BOX.programs).map(({ id }) => id)).toEqual(["free", "mine"]);
  expect(styleChoices(styles, [0, -1]).map(({ id }) => id)).toEqual(["free", "drums", "mine"]);
  expect(styleChoices(styles, [])[1]).toEqual({ id: "mine", name: "Mine", hint: "My way." });
});

test("seeds are whole numbers that a person can type", () => {
  for (const seed of Array.from({ length: 50 }, drawSeed)) {
    expect(Number.isInteger(seed) && seed >= 0 && seed < 1_000_000).toBe(true);
  }
});
