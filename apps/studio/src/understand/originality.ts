/** The server's report on what of a piece stands in its training pieces, as sentences. */

interface Copy {
  readonly notes: number;
  readonly beats: number;
  readonly piece: string;
  readonly bar: number;
  readonly pieceBar: number;
  readonly transposition: number;
}

type Report = Readonly<Record<string, unknown>>;

const numberOf = (report: Report, name: string): number => (typeof report[name] === "number" ? report[name] : 0);
const textOf = (report: Report, name: string): string => (typeof report[name] === "string" ? report[name] : "");

function copyOf(told: unknown): Copy | null {
  if (typeof told !== "object" || told === null) return null;
  const copy = told as Report;
  const notes = numberOf(copy, "notes");
  if (notes < 2) return null; // one note alone is nobody's
  return {
    notes,
    beats: numberOf(copy, "beats"),
    piece: textOf(copy, "piece"),
    bar: numberOf(copy, "bar"),
    pieceBar: numberOf(copy, "piece_bar"),
    transposition: numberOf(copy, "transposition"),
  };
}

const round = (value: number) => String(Math.round(10 * value) / 10);
const counted = (value: number, one: string) => `${round(value)} ${one}${round(value) === "1" ? "" : "s"}`;

function moved({ transposition }: Copy): string {
  if (transposition === 0) return "";
  return ` (there ${counted(Math.abs(transposition), "semitone")} ${transposition > 0 ? "lower" : "higher"})`;
}

function runText(copy: Copy): string {
  const length = `${counted(copy.notes, "note")}, ${counted(copy.beats, "beat")}`;
  return `${length}, in ${copy.piece}${moved(copy)}: bar ${copy.bar} here, bar ${copy.pieceBar} there.`;
}

/** Sentences of the report, the plainest first; none for a report that says nothing. */
export function originalityLines(report: Report | null): readonly string[] {
  if (report === null) return [];
  if (numberOf(report, "notes") === 0) return ["There are no notes to compare with the training pieces."];
  const exact = copyOf(report["exact"]);
  const transposed = copyOf(report["transposed"]);
  const lines = [
    exact ? `The longest run also in the training pieces: ${runText(exact)}` : "No run of two notes stands so in the training pieces.",
  ];
  if (transposed && transposed.notes > (exact?.notes ?? 0)) lines.push(`In another key: ${runText(transposed)}`);
  lines.push(shareLine(numberOf(report, "ngrams_transposed")));
  const nearest = textOf(report, "nearest");
  const share = numberOf(report, "nearest_share");
  if (nearest !== "" && share > 0) lines.push(`The training piece most like it: ${nearest}, which has ${percent(share).toLowerCase()} of its phrases.`);
  return lines;
}

function shareLine(share: number): string {
  if (share === 0) return "None of its phrases of 8 notes stands there, in any key.";
  return `${percent(share)} of its phrases of 8 notes stand there, in that key or another.`;
}

function percent(share: number): string {
  return share < 0.01 ? "Less than 1 %" : `${Math.round(100 * share)} %`;
}
