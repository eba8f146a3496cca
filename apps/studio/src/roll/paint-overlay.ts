import type { Note } from "../music/piece";
import { crisp, fill, onGrid, type Pen } from "./pen";
import { lookOf, paintBars, paintChosen } from "./paint-notes";
import { type Rect, rectOf, xOf } from "./viewport";

/** What changes often and is cheap to draw anew: the playhead, what is under the pointer, what is being done. */
export interface Overlay {
  readonly positionBeats: number | null;
  readonly hovered: Note | null;
  /** Where the keyboard's cursor stands; null while the roll is not focused. */
  readonly cursor: Pick<Note, "pitch" | "onsetBeats" | "durationBeats"> | null;
  readonly band: Rect | null;
  /** Notes as they will be when the drag ends. */
  readonly ghosts: readonly Note[];
  /** Notes that will be gone when the drag ends. */
  readonly erased: ReadonlySet<number>;
}

export function paintOverlay(pen: Pen, overlay: Overlay): void {
  pen.context.clearRect(0, 0, pen.view.width, pen.view.height);
  onGrid(pen, () => {
    if (overlay.positionBeats !== null && pen.scene.playing) paintSounding(pen, overlay.positionBeats);
    if (overlay.hovered) paintRing(pen, overlay.hovered, pen.theme.ink, 1.5);
    paintBars(pen, overlay.ghosts, false);
    paintChosen(pen, overlay.ghosts);
    paintErased(pen, overlay.erased);
    if (overlay.cursor) paintRing(pen, overlay.cursor, pen.theme.accent, 2.5);
    if (overlay.band) paintBand(pen, overlay.band);
  });
  if (overlay.positionBeats !== null) paintPlayhead(pen, overlay.positionBeats);
}

/** What sounds now glows. */
function paintSounding(pen: Pen, beats: number): void {
  const { context, scene, theme, view } = pen;
  for (const note of scene.index.between(beats, beats + 1e-6)) {
    if (scene.faint.has(note.track)) continue;
    const rect = rectOf(view, scene.rows, note);
    context.fillStyle = lookOf(note, scene, theme).colour;
    context.globalAlpha = 0.3;
    context.beginPath();
    context.roundRect(rect.x - 4, rect.y - 4, rect.width + 8, rect.height + 8, 7);
    context.fill();
    context.fillStyle = theme.dark ? "#ffffff" : theme.paper;
    context.globalAlpha = 0.45;
    context.beginPath();
    context.roundRect(rect.x, rect.y, rect.width, rect.height, 3.5);
    context.fill();
  }
  context.globalAlpha = 1;
}

function paintRing(pen: Pen, note: Pick<Note, "pitch" | "onsetBeats" | "durationBeats">, colour: string, width: number): void {
  const rect = rectOf(pen.view, pen.scene.rows, note);
  const { context } = pen;
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.beginPath();
  context.roundRect(rect.x - 3, rect.y - 3, rect.width + 6, rect.height + 6, 5);
  context.stroke();
}

function paintErased(pen: Pen, erased: ReadonlySet<number>): void {
  for (const id of erased) {
    const note = pen.scene.index.get(id);
    if (note) paintRing(pen, note, pen.theme.danger, 2);
  }
}

function paintBand(pen: Pen, band: Rect): void {
  const { context, theme } = pen;
  fill(pen, theme.accent, 0.15, band.x, band.y, band.width, band.height);
  context.strokeStyle = theme.accent;
  context.lineWidth = 1;
  context.strokeRect(crisp(band.x), crisp(band.y), band.width, band.height);
}

function paintPlayhead(pen: Pen, beats: number): void {
  const { context, view, theme } = pen;
  const x = xOf(view, beats);
  if (x < view.keysWidth - 1 || x > view.width) return;
  fill(pen, theme.danger, 1, x - 1, view.rulerHeight - 6, 2, view.height);
  context.fillStyle = theme.danger;
  context.beginPath();
  context.moveTo(x - 6, view.rulerHeight - 13);
  context.lineTo(x + 6, view.rulerHeight - 13);
  context.lineTo(x + 6, view.rulerHeight - 8);
  context.lineTo(x, view.rulerHeight - 1);
  context.lineTo(x - 6, view.rulerHeight - 8);
  context.closePath();
  context.fill();
}
