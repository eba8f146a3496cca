import { expect, test } from "vitest";
import { heatColour } from "./heat";
import { inkUpon } from "./ink-upon";
import { trackColour } from "./track-colours";

/** WCAG's contrast, written out once more, of opaque colours. */
function contrast(one: readonly number[], other: readonly number[]): number {
  const [high = 0, low = 0] = [one, other]
    .map((rgb) => rgb.map((part) => part / 255).map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)))
    .map(([red = 0, green = 0, blue = 0]) => 0.2126 * red + 0.7152 * green + 0.0722 * blue)
    .sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

function rgbOf(colour: string): number[] {
  const hex = /^#(..)(..)(..)$/.exec(colour);
  return hex ? hex.slice(1).map((part) => Number.parseInt(part, 16)) : (colour.match(/\d+/g) ?? []).map(Number);
}

const TRACKS = Array.from({ length: 8 }, (_, track) => track);
const HEATS = Array.from({ length: 25 }, (_, step) => step / 24);

test.each([true, false])("names are read upon every colour of a note (dark: %s)", (dark) => {
  for (const colour of [...TRACKS.map((track) => trackColour(track, dark)), ...HEATS.map((heat) => heatColour(heat, dark))]) {
    expect(contrast(rgbOf(colour), rgbOf(inkUpon(colour, 1, dark))), colour).toBeGreaterThanOrEqual(4.5);
  }
});
