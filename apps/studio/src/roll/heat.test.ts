import { describe, expect, it } from "vitest";
import { heatRgb, type Rgb } from "./heat";
import { trackColour } from "./track-colours";

const linear = (value: number) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
const luminance = ([r, g, b]: Rgb) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const contrast = (a: Rgb, b: Rgb) => (Math.max(luminance(a), luminance(b)) + 0.05) / (Math.min(luminance(a), luminance(b)) + 0.05);

/** CIE L*a*b*, which is not how the scale is made. */
function lab([r, g, b]: Rgb): Rgb {
  const [R, G, B] = [linear(r), linear(g), linear(b)];
  const f = (t: number) => (t > 216 / 24389 ? Math.cbrt(t) : (24389 / 27 * t + 16) / 116);
  const x = f((0.4124 * R + 0.3576 * G + 0.1805 * B) / 0.9505);
  const y = f(0.2126 * R + 0.7152 * G + 0.0722 * B);
  const z = f((0.0193 * R + 0.1192 * G + 0.9505 * B) / 1.089);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

const apart = (a: Rgb, b: Rgb) => Math.hypot(...lab(a).map((value, at) => value - (lab(b)[at] ?? 0)));
const hex = (colour: string): Rgb => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) as unknown as Rgb;

describe.each([["light", false, [255, 255, 255]], ["dark", true, [20, 24, 29]]] as const)("heat on %s paper", (_, dark, paper) => {
  const scale = Array.from({ length: 21 }, (_, at) => heatRgb(at / 20, dark));

  it("goes in steps that look alike", () => {
    const steps = scale.slice(1).map((colour, at) => apart(colour, scale[at] ?? colour));
    expect(Math.max(...steps) / Math.min(...steps)).toBeLessThan(2.2);
    expect(Math.min(...steps)).toBeGreaterThan(2);
  });

  it("stands out more, the hotter it is", () => {
    const contrasts = scale.map((colour) => contrast(colour, paper));
    expect(contrasts).toEqual([...contrasts].sort((a, b) => a - b));
    expect(contrasts[0]).toBeGreaterThan(1.9);
    expect(contrasts.at(-1)).toBeGreaterThan(7);
  });

  it("holds colours that a screen has", () => {
    for (const colour of scale) for (const part of colour) expect(part).toSatisfy((value: number) => value > 0 && value < 255);
  });

  it("keeps values outside of the scale at its ends", () => {
    expect([heatRgb(-3, dark), heatRgb(9, dark)]).toEqual([scale[0], scale.at(-1)]);
  });

  it("and tracks are seen on it, each apart from the others", () => {
    const colours = Array.from({ length: 8 }, (_, track) => hex(trackColour(track, dark)));
    for (const [at, colour] of colours.entries()) {
      expect(contrast(colour, paper)).toBeGreaterThan(dark ? 4.5 : 2);
      for (const other of colours.slice(at + 1)) expect(apart(colour, other)).toBeGreaterThan(15);
    }
    expect(trackColour(8, dark)).toBe(trackColour(0, dark));
  });
});
