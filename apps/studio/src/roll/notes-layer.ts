import { paintNotes } from "./paint-notes";
import type { Pen } from "./pen";
import { beatsAt, lastBeats, type Rect, type Viewport, xOf, yOf } from "./viewport";

/** So many notes are painted anew in a frame; the others stay as they were, moved and scaled, until their turn comes. */
const NOTES_A_FRAME = 800;
/** What is scaled by more than this is too coarse to stand in. */
const MOST_SCALED = 3;

/** Where the old picture lies in the new one, in pixels of the screen. */
interface Move {
  readonly x: number;
  readonly y: number;
  readonly scaleX: number;
  readonly scaleY: number;
}

interface Painted {
  readonly pen: Pen;
  readonly hidden: ReadonlySet<number>;
}

/**
 * The notes on a canvas of their own, of the size of what is seen. Scrolling moves what is painted and paints only the strips
 * that come into view; another zoom or look scales it and paints it anew from left to right, over as many frames as it needs.
 */
export class NotesLayer {
  #canvas = document.createElement("canvas");
  /** Takes the moved picture: a canvas drawn onto itself is copied twice. */
  #spare = document.createElement("canvas");
  #painted: Painted | null = null;
  /** Where repainting goes on, and how much is left of it: a round through all that is seen, wherever that is scrolled to. */
  #nextBeats = 0;
  #leftBeats = 0;

  /** The sharp picture takes more frames. */
  get unfinished(): boolean {
    return this.#leftBeats > 0;
  }

  /** Puts the notes on a canvas whose view is on whole pixels; gives how many had to be painted. */
  paint(onto: Pen, hidden: ReadonlySet<number>, ratio: number): number {
    const { width, height } = onto.context.canvas;
    const whole = { x: 0, y: 0, width, height };
    const before = this.#painted;
    const move = before && this.#canvas.width === width && this.#canvas.height === height ? moved(before.pen, onto, ratio) : null;
    if (!move) Object.assign(this.#canvas, { width, height });
    else if (!isStill(move)) this.#shift(move);
    const context = this.#canvas.getContext("2d");
    if (!context) return 0;
    const now = { pen: { ...onto, context }, hidden };
    const strips = move ? exposed(whole, move) : [whole];
    let drawn = strips.reduce((sum, strip) => sum + repaint(now, strip, ratio), 0);
    if (!before || !move) this.#leftBeats = 0;
    else if (move.scaleX !== 1 || move.scaleY !== 1 || !sameLook(before, now)) this.#beginRound(onto.view);
    if (this.#leftBeats > 0) drawn += this.#goOn(now, whole, ratio);
    this.#painted = now;
    onto.context.save();
    onto.context.setTransform(1, 0, 0, 1, 0, 0);
    onto.context.drawImage(this.#canvas, 0, 0);
    onto.context.restore();
    return drawn;
  }

  #shift(move: Move): void {
    const { width, height } = this.#canvas;
    if (this.#spare.width !== width || this.#spare.height !== height) Object.assign(this.#spare, { width, height });
    const context = this.#spare.getContext("2d");
    if (!context) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.imageSmoothingEnabled = false;
    context.globalCompositeOperation = "copy";
    context.drawImage(this.#canvas, move.x, move.y, width * move.scaleX, height * move.scaleY);
    context.globalCompositeOperation = "source-over";
    [this.#canvas, this.#spare] = [this.#spare, this.#canvas];
  }

  /** From the left; where a round is not through, from where it is, so that no part waits for ever. */
  #beginRound(view: Viewport): void {
    if (this.#leftBeats <= 0) this.#nextBeats = beatsAt(view, 0);
    this.#leftBeats = lastBeats(view) - beatsAt(view, 0);
  }

  /** As much of the round as a frame may cost. */
  #goOn(now: Painted, whole: Rect, ratio: number): number {
    const { view, scene: { index } } = now.pen;
    const first = beatsAt(view, 0);
    if (this.#nextBeats < first || this.#nextBeats >= lastBeats(view)) this.#nextBeats = first;
    const from = this.#nextBeats;
    const through = index.sorted[index.firstFrom(from) + NOTES_A_FRAME]?.onsetBeats ?? Infinity;
    const left = Math.floor(xOf(view, from) * ratio);
    const right = Math.max(left + 8, Math.min(whole.width, Math.ceil(xOf(view, Math.min(through, from + this.#leftBeats)) * ratio)));
    this.#nextBeats = beatsAt(view, right / ratio);
    this.#leftBeats -= this.#nextBeats - from;
    return repaint(now, { ...whole, x: left, width: right - left }, ratio);
  }
}

const isStill = ({ x, y, scaleX, scaleY }: Move) => x === 0 && y === 0 && scaleX === 1 && scaleY === 1;

/** Null where nothing of the old picture may stay. */
function moved(before: Pen, now: Pen, ratio: number): Move | null {
  if (before.scene.rows !== now.scene.rows || before.view.keysWidth !== now.view.keysWidth) return null;
  const scaleX = now.view.beatPx / before.view.beatPx;
  const scaleY = now.view.rowPx / before.view.rowPx;
  if ([scaleX, 1 / scaleX, scaleY, 1 / scaleY].some((scale) => scale > MOST_SCALED)) return null;
  const x = (xOf(now.view, 0) - xOf(before.view, 0) * scaleX) * ratio;
  const y = (yOf(now.view, 0) - yOf(before.view, 0) * scaleY) * ratio;
  // Whole pixels by how views are rounded, but for the last bit.
  return { x: scaleX === 1 ? Math.round(x) : x, y: scaleY === 1 ? Math.round(y) : y, scaleX, scaleY };
}

const lookParts = ({ pen: { theme, scene }, hidden }: Painted) =>
  [theme, hidden, scene.chosen, scene.heat, scene.faint, scene.selection?.tracks ? scene.selection : null];

function sameLook(a: Painted, b: Painted): boolean {
  const parts = lookParts(b);
  return lookParts(a).every((part, at) => part === parts[at]);
}

/** What the moved picture does not cover, in whole pixels. */
export function exposed(whole: Rect, move: Move): Rect[] {
  const left = Math.min(whole.width, Math.max(0, Math.ceil(move.x)));
  const right = Math.max(left, Math.min(whole.width, Math.floor(move.x + whole.width * move.scaleX)));
  const top = Math.min(whole.height, Math.max(0, Math.ceil(move.y)));
  const bottom = Math.max(top, Math.min(whole.height, Math.floor(move.y + whole.height * move.scaleY)));
  return [
    { x: 0, y: 0, width: left, height: whole.height },
    { x: right, y: 0, width: whole.width - right, height: whole.height },
    { x: left, y: 0, width: right - left, height: top },
    { x: left, y: bottom, width: right - left, height: whole.height - bottom },
  ].filter((strip) => strip.width > 0 && strip.height > 0);
}

/** Paints a part of the screen's pixels anew. */
function repaint({ pen, hidden }: Painted, part: Rect, ratio: number): number {
  const { context } = pen;
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.beginPath();
  context.rect(part.x, part.y, part.width, part.height);
  context.clip();
  context.clearRect(part.x, part.y, part.width, part.height);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const drawn = paintNotes(pen, hidden, { x: part.x / ratio, y: part.y / ratio, width: part.width / ratio, height: part.height / ratio });
  context.restore();
  return drawn;
}

/** The view on whole pixels of the screen, so that what is painted can be moved without blurring. */
export function onPixels(view: Viewport, ratio: number): Viewport {
  const [beatPx, rowPx] = [view.beatPx * ratio, view.rowPx * ratio];
  return { ...view, scrollBeats: Math.round(view.scrollBeats * beatPx) / beatPx, scrollRows: Math.round(view.scrollRows * rowPx) / rowPx };
}
