/** What is offered, in a musician's words. */
export interface Choice {
  readonly id: string;
  readonly name: string;
  readonly hint: string;
}

const STYLES: Readonly<Record<string, Omit<Choice, "id">>> = {
  free: { name: "Free", hint: "The model begins by itself." },
  chords: { name: "Chords", hint: "One chord a bar, over and over." },
  arpeggio: { name: "Arpeggio", hint: "Begins with a broken chord." },
  melody: { name: "Melody", hint: "One voice alone." },
  harmonise: { name: "Harmonise", hint: "A scale, a chord under each note." },
  bass: { name: "Bass line", hint: "One low voice that follows the chords." },
  drums: { name: "Drums", hint: "A beat, alone." },
};

/** The styles of the server; those of its owner keep their own description. */
export function styleChoices(styles: readonly { name: string; description: string }[], programs: readonly number[]): Choice[] {
  const order = Object.keys(STYLES);
  const rank = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  return styles
    .filter(({ name }) => name !== "drums" || programs.includes(-1))
    .map(({ name, description }) => ({ id: name, ...(STYLES[name] ?? { name: name.charAt(0).toUpperCase() + name.slice(1), hint: description }) }))
    .sort((a, b) => rank(a.id) - rank(b.id));
}

const TONICS = ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];
const MINOR_TONICS = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"];

export const KEYS: readonly string[] = [...TONICS.map((tonic) => `${tonic} major`), ...MINOR_TONICS.map((tonic) => `${tonic} minor`)];

/** A key as it is printed. */
export function printedKey(key: string): string {
  return key.replace(/^([A-G])b/, "$1♭").replace(/^([A-G])#/, "$1♯");
}

export const METRES: readonly string[] = ["4/4", "3/4", "2/4", "6/8", "12/8", "2/2", "5/4", "7/8"];

/** Conditions that have a field of their own. */
export const FIXED_FIELDS: ReadonlySet<string> = new Set(["bars", "key", "density", "polyphony", "tempo_bpm"]);

/** How a temperature feels. */
export function temper(temperature: number): string {
  if (temperature < 0.6) return "careful";
  if (temperature < 0.85) return "calm";
  if (temperature < 1.05) return "balanced";
  return temperature < 1.25 ? "bold" : "wild";
}
