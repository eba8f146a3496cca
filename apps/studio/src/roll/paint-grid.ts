import { barIndex } from "../music/bars";
import { isBlackKey, pitchName } from "./names";
import { crisp, fill, onGrid, type Pen, verticals } from "./pen";
import { GRID_BEATS } from "./snap";
import { gridHeight, gridWidth, lastBeats, rowAt, xOf, yOf } from "./viewport";

/** Closer lines would be a grey. */
const LEAST_LINE_PX = 9;

export function paintGrid(pen: Pen): void {
  const { view, theme } = pen;
  fill(pen, theme.paper, 1, 0, 0, view.width, view.height);
  onGrid(pen, () => {
    paintRows(pen);
    paintBeats(pen);
  });
}

function paintRows(pen: Pen): void {
  const { view, scene, theme } = pen;
  const last = Math.min(scene.rows.pitches.length - 1, rowAt(view, view.height));
  for (let row = Math.max(0, rowAt(view, view.rulerHeight)); row <= last; row++) {
    const pitch = scene.rows.pitches[row] ?? 0;
    const shaded = scene.rows.lanes ? row % 2 === 1 : isBlackKey(pitch);
    const y = yOf(view, row);
    if (shaded) fill(pen, theme.ink, theme.dark ? 0.055 : 0.04, view.keysWidth, y, gridWidth(view), view.rowPx);
    const octave = scene.rows.lanes || pitch % 12 === 0;
    if (octave) fill(pen, theme.line, 0.8, view.keysWidth, crisp(y + view.rowPx) - 0.5, gridWidth(view), 1);
  }
  const bottom = yOf(view, scene.rows.pitches.length);
  fill(pen, theme.raised, 1, view.keysWidth, bottom, gridWidth(view), Math.max(0, view.height - bottom));
}

function paintBeats(pen: Pen): void {
  const { view, scene, theme } = pen;
  const lines: { bars: number[]; beats: number[]; cells: number[] } = { bars: [], beats: [], cells: [] };
  const through = lastBeats(view);
  for (let at = barIndex(scene.bars, view.scrollBeats); at < scene.bars.length; at++) {
    const bar = scene.bars[at];
    if (!bar || bar.onsetBeats > through) break;
    if (bar.beats * view.beatPx >= LEAST_LINE_PX || at % 4 === 0) lines.bars.push(xOf(view, bar.onsetBeats));
    if (bar.unitBeats * view.beatPx >= LEAST_LINE_PX) lines.beats.push(...steps(pen, bar.onsetBeats, bar.beats, bar.unitBeats));
    if (GRID_BEATS * view.beatPx >= LEAST_LINE_PX) lines.cells.push(...steps(pen, bar.onsetBeats, bar.beats, GRID_BEATS));
  }
  const bottom = Math.min(view.height, yOf(view, scene.rows.pitches.length));
  verticals(pen, theme.line, 0.35, lines.cells, view.rulerHeight, bottom);
  verticals(pen, theme.line, 0.75, lines.beats, view.rulerHeight, bottom);
  verticals(pen, theme.inkFaint, 0.6, lines.bars, view.rulerHeight, bottom);
  fill(pen, theme.raised, 1, view.keysWidth, view.rulerHeight, Math.max(0, xOf(view, 0) - view.keysWidth), gridHeight(view));
  const end = xOf(view, scene.extent.beats);
  fill(pen, theme.raised, 1, end + 1, view.rulerHeight, Math.max(0, view.width - end), gridHeight(view));
}

function steps(pen: Pen, onsetBeats: number, beats: number, step: number): number[] {
  const xs: number[] = [];
  for (let beat = step; beat < beats - 1e-6; beat += step) xs.push(xOf(pen.view, onsetBeats + beat));
  return xs;
}

/** The ruler and the keys, which lie above all that scrolls. */
export function paintFrame(pen: Pen): void {
  const { view, theme } = pen;
  fill(pen, theme.raised, 1, 0, 0, view.width, view.rulerHeight);
  paintRulerMarks(pen);
  paintBarNumbers(pen);
  fill(pen, theme.line, 1, 0, view.rulerHeight - 1, view.width, 1);
  paintKeys(pen);
  fill(pen, theme.raised, 1, 0, 0, view.keysWidth, view.rulerHeight - 1);
  fill(pen, theme.line, 1, view.keysWidth - 1, 0, 1, view.height);
}

function paintRulerMarks(pen: Pen): void {
  const { view, scene, theme, context } = pen;
  const { selection, bars } = scene;
  const first = selection && bars[selection.firstBar - 1];
  const last = selection && bars[Math.min(selection.lastBar, bars.length) - 1];
  if (!first || !last) return;
  const x = xOf(view, first.onsetBeats);
  const width = xOf(view, last.onsetBeats + last.beats) - x;
  context.fillStyle = theme.accent;
  context.beginPath();
  context.roundRect(x + 1, 3, Math.max(2, width - 1), view.rulerHeight - 7, 5);
  context.fill();
}

/** Every bar, every second, fourth ... so that numbers stand apart. */
function paintBarNumbers(pen: Pen): void {
  const { view, scene, theme, context } = pen;
  context.font = `500 11px ${theme.font}`;
  context.textAlign = "left";
  context.textBaseline = "middle";
  let every = 1;
  const typical = scene.bars[0]?.beats ?? 4;
  while (every * typical * view.beatPx < 34) every *= 2;
  const through = lastBeats(view);
  for (let at = barIndex(scene.bars, view.scrollBeats); at < scene.bars.length; at++) {
    const bar = scene.bars[at];
    if (!bar || bar.onsetBeats > through) break;
    if (at % every !== 0) continue;
    const x = xOf(view, bar.onsetBeats);
    const { selection } = scene;
    const within = selection && bar.number >= selection.firstBar && bar.number <= selection.lastBar;
    if (!within) fill(pen, theme.inkFaint, 0.6, crisp(x) - 0.5, view.rulerHeight - 8, 1, 7);
    context.fillStyle = within ? theme.accentInk : theme.inkFaint;
    context.fillText(String(bar.number), x + 6, view.rulerHeight / 2);
  }
}

function paintKeys(pen: Pen): void {
  const { view, scene, theme } = pen;
  const white = theme.dark ? "#d5d7db" : "#ffffff";
  const black = theme.dark ? "#1b1d21" : "#3b3f46";
  fill(pen, scene.rows.lanes ? theme.raised : white, 1, 0, view.rulerHeight, view.keysWidth, view.height);
  const last = Math.min(scene.rows.pitches.length - 1, rowAt(view, view.height));
  for (let row = Math.max(0, rowAt(view, view.rulerHeight)); row <= last; row++) {
    if (scene.rows.lanes) paintLaneName(pen, row);
    else paintKey(pen, row, black);
  }
  const bottom = yOf(view, scene.rows.pitches.length);
  fill(pen, theme.raised, 1, 0, bottom, view.keysWidth, Math.max(0, view.height - bottom));
}

function paintKey(pen: Pen, row: number, black: string): void {
  const { view, scene, context, theme } = pen;
  const pitch = scene.rows.pitches[row] ?? 0;
  const y = yOf(view, row);
  if (isBlackKey(pitch)) {
    fill(pen, black, 1, 0, y + 0.5, (view.keysWidth - 1) * 0.6, view.rowPx - 1);
    return;
  }
  // White keys meet in the middle of the black one between them, E and F, B and C at their edges.
  if (pitch % 12 === 0 || pitch % 12 === 5) fill(pen, "#9a9ea6", 0.9, 0, y + view.rowPx - 0.5, view.keysWidth, 1);
  if (isBlackKey(pitch - 1)) fill(pen, "#9a9ea6", 0.45, view.keysWidth * 0.6, y + view.rowPx * 1.5, view.keysWidth * 0.4, 1);
  if (pitch % 12 !== 0) return;
  context.font = `600 ${Math.min(11, Math.max(8, view.rowPx - 1))}px ${theme.font}`;
  context.fillStyle = "#3b3f46";
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.fillText(pitchName(pitch), view.keysWidth - 5, y + view.rowPx / 2 + 0.5);
}

function paintLaneName(pen: Pen, row: number): void {
  const { view, scene, context, theme } = pen;
  const y = yOf(view, row);
  fill(pen, theme.line, 0.8, 0, crisp(y + view.rowPx) - 0.5, view.keysWidth, 1);
  if (view.rowPx < 9) return;
  context.font = `500 ${Math.min(12, view.rowPx - 1)}px ${theme.font}`;
  context.fillStyle = theme.ink;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.fillText(scene.rows.nameOf(row), view.keysWidth - 8, y + view.rowPx / 2 + 0.5, view.keysWidth - 12);
}
