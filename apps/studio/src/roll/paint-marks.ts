import type { Note } from "../music/piece";
import { spanOf } from "../music/bars";
import { fill, onGrid, type Pen, verticals } from "./pen";
import { gridHeight, type Rect, rectOf, xOf } from "./viewport";

/** More lines than this would be a cloud. */
const MOST_LINES = 40;

/** Bands below the notes. */
export function paintBands(pen: Pen): void {
  onGrid(pen, () => {
    paintNew(pen);
    paintExpected(pen);
    paintSelection(pen);
  });
}

function paintSelection(pen: Pen): void {
  const { view, scene, theme } = pen;
  const span = scene.selection && spanOf(scene.bars, scene.selection.firstBar, scene.selection.lastBar);
  if (!span) return;
  const [left, right] = [xOf(view, span[0]), xOf(view, span[1])];
  fill(pen, theme.accent, theme.dark ? 0.16 : 0.11, left, view.rulerHeight, right - left, gridHeight(view));
  verticals(pen, theme.accent, 0.9, [left, right], view.rulerHeight, view.height);
}

/** What was made anew: a tint between dashed lines, with a bracket above. */
function paintNew(pen: Pen): void {
  const { view, scene, theme, context } = pen;
  if (!scene.newBeats) return;
  const [left, right] = [xOf(view, scene.newBeats[0]), xOf(view, scene.newBeats[1])];
  fill(pen, theme.accent, 0.06, left, view.rulerHeight, right - left, gridHeight(view));
  context.save();
  context.setLineDash([3, 4]);
  verticals(pen, theme.accent, 0.9, [left, right], view.rulerHeight, view.height);
  context.restore();
  fill(pen, theme.accent, 0.9, left, view.rulerHeight, right - left, 3);
  paintTag(pen, "new", Math.max(left, view.keysWidth) + 5, right);
}

function paintTag(pen: Pen, text: string, x: number, right: number): void {
  const { context, theme, view } = pen;
  context.font = `600 10px ${theme.font}`;
  const width = context.measureText(text).width + 10;
  if (x + width > right) return;
  context.fillStyle = theme.accent;
  context.beginPath();
  context.roundRect(x, view.rulerHeight + 7, width, 15, 7.5);
  context.fill();
  context.fillStyle = theme.accentInk;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(text, x + 5, view.rulerHeight + 15);
}

/** While music comes in: hatched where there is none yet, and a soft edge where it grows. */
function paintExpected(pen: Pen): void {
  const { view, scene, theme, context } = pen;
  const from = scene.endBeats;
  const to = scene.expectedBeats ?? 0;
  if (to <= from) return;
  const left = Math.max(view.keysWidth, xOf(view, from));
  const right = Math.min(view.width, xOf(view, to));
  if (right <= left) return;
  context.save();
  context.beginPath();
  context.rect(left, view.rulerHeight, right - left, gridHeight(view));
  context.clip();
  context.globalAlpha = 0.5;
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  context.beginPath();
  // The hatching is fixed to the music, so that it does not swim while scrolling.
  const shift = (xOf(view, 0) % 14) - gridHeight(view);
  for (let x = left - (left % 14) + shift; x < right; x += 14) {
    context.moveTo(x, view.height);
    context.lineTo(x + gridHeight(view), view.rulerHeight);
  }
  context.stroke();
  context.restore();
  const edge = context.createLinearGradient(left - 28, 0, left, 0);
  edge.addColorStop(0, "transparent");
  edge.addColorStop(1, theme.accent);
  context.globalAlpha = 0.3;
  context.fillStyle = edge;
  context.fillRect(left - 28, view.rulerHeight, 28, gridHeight(view));
  context.globalAlpha = 1;
  verticals(pen, theme.accent, 0.9, [left], view.rulerHeight, view.height);
}

/** Lines from a note to those it attended to, upon the notes. */
export function paintAttention(pen: Pen): void {
  const { scene, view, theme, context } = pen;
  const from = scene.attention && scene.index.get(scene.attention.from);
  if (!scene.attention || !from) return;
  const start = centre(rectOf(view, scene.rows, from));
  context.strokeStyle = theme.accent;
  context.lineCap = "round";
  for (const [note, weight] of strongest(pen, scene.attention.to)) {
    const rect = rectOf(view, scene.rows, note);
    const end = centre(rect);
    const rise = Math.min(120, 14 + Math.abs(start.x - end.x) * 0.22);
    context.globalAlpha = 0.15 + 0.75 * weight;
    context.lineWidth = 0.75 + 3.5 * weight;
    context.beginPath();
    context.moveTo(start.x, start.y);
    context.quadraticCurveTo((start.x + end.x) / 2, Math.min(start.y, end.y) - rise, end.x, end.y);
    context.stroke();
    context.beginPath();
    context.roundRect(rect.x - 2, rect.y - 2, rect.width + 4, rect.height + 4, 5);
    context.stroke();
  }
  context.globalAlpha = 1;
}

/** The weakest first, so that the strongest lie on top. */
function strongest(pen: Pen, weights: ReadonlyMap<number, number>): (readonly [Note, number])[] {
  const links: (readonly [Note, number])[] = [];
  for (const [id, weight] of [...weights].sort((a, b) => b[1] - a[1]).slice(0, MOST_LINES)) {
    const note = pen.scene.index.get(id);
    if (note && weight > 0.02) links.push([note, Math.min(1, weight)]);
  }
  return links.reverse();
}

const centre = (rect: Rect) => ({ x: rect.x + Math.min(rect.width / 2, 12), y: rect.y + rect.height / 2 });
