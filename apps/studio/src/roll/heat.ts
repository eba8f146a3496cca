/**
 * Colours from calm to surprising: a helix of OKLab with even steps of lightness and hue, so that equal distances of the value look equal.
 * It runs away from the paper: darker on light, lighter on dark.
 */
const CHROMA = 0.115;
const LIGHT = { fromLightness: 0.74, toLightness: 0.4, fromHue: 225, toHue: 385 };
const DARK = { fromLightness: 0.52, toLightness: 0.87, fromHue: 262, toHue: 440 };

export type Rgb = readonly [number, number, number];

export function heatRgb(value: number, dark: boolean): Rgb {
  const at = Math.max(0, Math.min(1, value));
  const scale = dark ? DARK : LIGHT;
  const lightness = scale.fromLightness + (scale.toLightness - scale.fromLightness) * at;
  const hue = ((scale.fromHue + (scale.toHue - scale.fromHue) * at) * Math.PI) / 180;
  return rgbOf(lightness, CHROMA * Math.cos(hue), CHROMA * Math.sin(hue));
}

export function heatColour(value: number, dark: boolean): string {
  return `rgb(${heatRgb(value, dark).map(Math.round).join(" ")})`;
}

/** Björn Ottosson's OKLab to sRGB, 0 to 255. */
function rgbOf(lightness: number, a: number, b: number): Rgb {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    encoded(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    encoded(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    encoded(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

function encoded(linear: number): number {
  const value = Math.max(0, Math.min(1, linear));
  return 255 * (value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055);
}
