import type { Scene } from "./scene";
import type { Theme } from "./theme";
import type { Viewport } from "./viewport";

/** What each painter gets. */
export interface Pen {
  readonly context: CanvasRenderingContext2D;
  readonly view: Viewport;
  readonly scene: Scene;
  readonly theme: Theme;
}

/** Paints within the grid only. */
export function onGrid(pen: Pen, paint: () => void): void {
  const { context, view } = pen;
  context.save();
  context.beginPath();
  context.rect(view.keysWidth, view.rulerHeight, view.width, view.height);
  context.clip();
  paint();
  context.restore();
}

/** A line of one pixel between pixels would be two grey ones. */
export const crisp = (at: number) => Math.round(at) + 0.5;

export function fill(pen: Pen, colour: string, alpha: number, x: number, y: number, width: number, height: number): void {
  pen.context.globalAlpha = alpha;
  pen.context.fillStyle = colour;
  pen.context.fillRect(x, y, width, height);
  pen.context.globalAlpha = 1;
}

/** Vertical lines, in one stroke. */
export function verticals(pen: Pen, colour: string, alpha: number, xs: readonly number[], top: number, bottom: number): void {
  const { context } = pen;
  context.globalAlpha = alpha;
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  for (const x of xs) {
    context.moveTo(crisp(x), top);
    context.lineTo(crisp(x), bottom);
  }
  context.stroke();
  context.globalAlpha = 1;
}
