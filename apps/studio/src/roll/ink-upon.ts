// Pure black: with anything softer some colours in the middle leave less than 4.5 to 1 to either.
const DARK_INK = "#000000";
const LIGHT_INK = "#ffffff";
/** Upon lighter colours dark letters have more contrast than white ones. */
const EVEN_LUMINANCE = 0.179;

const known = new Map<string, string>();

/** The colour in which a name is read upon a note: of "#rrggbb" or "rgb(r g b)", which lets some of the paper through. */
export function inkUpon(colour: string, alpha: number, darkPaper: boolean): string {
  const key = `${colour} ${alpha} ${darkPaper}`;
  const before = known.get(key);
  if (before !== undefined) return before;
  const paper = darkPaper ? 17 : 246;
  const [red, green, blue] = partsOf(colour).map((part) => linear((part * alpha + paper * (1 - alpha)) / 255));
  const luminance = 0.2126 * (red ?? 0) + 0.7152 * (green ?? 0) + 0.0722 * (blue ?? 0);
  const ink = luminance > EVEN_LUMINANCE ? DARK_INK : LIGHT_INK;
  known.set(key, ink);
  return ink;
}

function partsOf(colour: string): number[] {
  if (colour.startsWith("#")) return [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
  return (colour.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
}

/** sRGB's curve, as in WCAG. */
const linear = (part: number) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
