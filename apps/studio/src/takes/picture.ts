import { barBeats } from "../music/bars";
import { trackName } from "../music/instruments";
import { endBeats } from "../music/piece";
import type { Piece } from "../music/piece";
import { trackColour } from "../roll/track-colours";

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly colour: string;
}

interface Text {
  readonly x: number;
  readonly y: number;
  readonly text: string;
  readonly size: number;
  readonly colour: string;
}

/** What is to be painted, from the back to the front, in pixels of a page at its usual size. */
export interface Scene {
  readonly width: number;
  readonly height: number;
  readonly boxes: readonly Box[];
  readonly texts: readonly Text[];
}

const [PAPER, ROW, LINE, INK, FAINT] = ["#ffffff", "#f1efe9", "#cfcabc", "#16202b", "#58626e"];
const MARGIN = 32;
const HEAD = 64;
const [LEAST_WIDTH, MOST_WIDTH] = [900, 6000];
const BEAT = 30;
const SEMITONE = 7;
const LEGEND_LINE = 22;
/** For screens with fine pixels, and for print. */
const SCALE = 2;

/** A piano roll with title, bars and tracks; each track's number stands before its first note, too, for those who do not tell colours apart. */
export function sceneOf(piece: Piece, title: string): Scene {
  const lines = barBeats(piece, endBeats(piece));
  const beats = lines.at(-1) ?? 4;
  const beat = Math.min(MOST_WIDTH / beats, Math.max(BEAT, LEAST_WIDTH / beats));
  const [lowest, highest] = range(piece);
  const rollHeight = (highest - lowest + 1) * SEMITONE;
  const x = (at: number) => MARGIN + at * beat;
  const y = (pitch: number) => HEAD + (highest - pitch) * SEMITONE;
  const width = 2 * MARGIN + beats * beat;
  const legend = legendOf(piece, HEAD + rollHeight + 30, width);
  const texts: Text[] = [{ x: MARGIN, y: 30, text: title, size: 20, colour: INK }];
  const boxes: Box[] = [{ x: 0, y: 0, width, height: legend.bottom, colour: PAPER }];
  for (let pitch = lowest; pitch <= highest; pitch++) {
    if ([1, 3, 6, 8, 10].includes(pitch % 12)) boxes.push({ x: MARGIN, y: y(pitch), width: beats * beat, height: SEMITONE, colour: ROW });
  }
  const every = Math.ceil(34 / (beat * ((lines[1] ?? 4) - (lines[0] ?? 0)))); // bars whose numbers do not touch
  lines.forEach((line, index) => {
    boxes.push({ x: x(line), y: HEAD, width: 1, height: rollHeight, colour: LINE });
    if (index % every === 0 && index < lines.length - 1) texts.push({ x: x(line) + 3, y: HEAD - 6, text: String(index + 1), size: 11, colour: FAINT });
  });
  const numbered = new Set<number>();
  for (const note of [...piece.notes].sort((one, other) => one.onsetBeats - other.onsetBeats)) {
    const left = x(note.onsetBeats);
    boxes.push({ x: left, y: y(note.pitch) + 0.5, width: Math.max(1.5, note.durationBeats * beat - 1), height: SEMITONE - 1, colour: trackColour(note.track, false) });
    if (!numbered.has(note.track)) texts.push({ x: left - 9, y: y(note.pitch) + SEMITONE, text: String(note.track + 1), size: 11, colour: INK });
    numbered.add(note.track);
  }
  return { width, height: legend.bottom, boxes: [...boxes, ...legend.boxes], texts: [...texts, ...legend.texts] };
}

export function paint(scene: Scene, context: CanvasRenderingContext2D): void {
  for (const { x, y, width, height, colour } of scene.boxes) {
    context.fillStyle = colour;
    context.fillRect(x, y, width, height);
  }
  for (const { x, y, text, size, colour } of scene.texts) {
    context.fillStyle = colour;
    context.font = `${size}px system-ui, sans-serif`;
    context.fillText(text, x, y);
  }
}

/** A picture of the piece as a PNG file. */
export async function pictureOf(piece: Piece, title: string): Promise<Uint8Array<ArrayBuffer>> {
  const scene = sceneOf(piece, title);
  const canvas = document.createElement("canvas");
  canvas.width = Math.ceil(scene.width * SCALE);
  canvas.height = Math.ceil(scene.height * SCALE);
  const context = canvas.getContext("2d");
  const blob = context
    ? await new Promise<Blob | null>((resolve) => {
        context.scale(SCALE, SCALE);
        paint(scene, context);
        canvas.toBlob(resolve, "image/png");
      })
    : null;
  if (!blob) throw new Error("This browser could not draw the picture.");
  return new Uint8Array(await blob.arrayBuffer());
}

function range(piece: Piece): [lowest: number, highest: number] {
  const lowest = piece.notes.reduce((least, note) => Math.min(least, note.pitch), 127);
  const highest = piece.notes.reduce((most, note) => Math.max(most, note.pitch), 0);
  return lowest > highest ? [48, 72] : [Math.max(0, lowest - 3), Math.min(127, Math.max(highest, lowest + 18) + 3)];
}

function legendOf(piece: Piece, top: number, width: number): { boxes: Box[]; texts: Text[]; bottom: number } {
  const boxes: Box[] = [];
  const texts: Text[] = [];
  let [x, y] = [MARGIN, top];
  piece.tracks.forEach((_, track) => {
    const text = `${track + 1} ${trackName(piece, track)}`;
    const room = 40 + text.length * 8;
    if (x > MARGIN && x + room > width - MARGIN) [x, y] = [MARGIN, y + LEGEND_LINE];
    boxes.push({ x, y: y - 10, width: 14, height: 12, colour: trackColour(track, false) });
    texts.push({ x: x + 20, y, text, size: 13, colour: INK });
    x += room;
  });
  return { boxes, texts, bottom: y + MARGIN };
}
