import type { Note } from "../music/piece";
import { NotesLayer, onPixels } from "./notes-layer";
import { paintAttention, paintBands } from "./paint-marks";
import { paintFrame, paintGrid } from "./paint-grid";
import { type Overlay, paintOverlay } from "./paint-overlay";
import { onGrid, type Pen } from "./pen";
import type { FrameTold } from "./roll";
import type { Scene } from "./scene";
import { onThemeChange, readTheme, reducedMotion, type Theme } from "./theme";
import { clamped, followed, gridHeight, gridWidth, MAX_BEAT_PX, type Rect, rectOf, revealed, scrolled, type Viewport, withRowsFitted, yOf, zoomedBeats, zoomedRows } from "./viewport";

/** After scrolling by hand, the view is the user's for so long. */
const HANDS_OFF_MS = 3000;
const GLIDE_MS = 260;
const OPENING_BEATS = 32;

/** More than three could not be told from three, and would cost. */
const densityOf = () => Math.min(3, window.devicePixelRatio || 1);
const contextOf = (canvas: HTMLCanvasElement) => canvas.getContext("2d");

/** Two canvases, painted once a frame and only where something changed: the music below, what moves above. */
export class Surface {
  view: Viewport = { width: 0, height: 0, keysWidth: 44, rulerHeight: 28, scrollBeats: 0, scrollRows: 0, beatPx: 0, rowPx: 14 };
  scene: Scene;
  overlay: Overlay = { positionBeats: null, hovered: null, cursor: null, band: null, ghosts: [], erased: new Set() };
  /** Notes that a drag shows elsewhere. */
  #hidden: ReadonlySet<number> = new Set();
  #theme: Theme;
  /** Pixels of the screen in one of the page's. */
  #ratio = 1;
  readonly #notes = new NotesLayer();
  #stale = true;
  #overlayStale = true;
  #frame = 0;
  #byHandMs = -Infinity;
  /** Whether the user has chosen which rows are seen, since they were last fitted. */
  #rowsByHand = false;
  #glide: { readonly from: number; readonly to: number; readonly startMs: number } | null = null;
  #opened = false;
  readonly #below: HTMLCanvasElement;
  readonly #above: HTMLCanvasElement;
  readonly #probe: Element;
  readonly #position: () => number | null;
  readonly #told: (frame: FrameTold) => void;
  readonly #ends: (() => void)[] = [];

  constructor(parts: { below: HTMLCanvasElement; above: HTMLCanvasElement; probe: Element; scene: Scene; position: () => number | null; told: (frame: FrameTold) => void }) {
    this.#below = parts.below;
    this.#above = parts.above;
    this.#probe = parts.probe;
    this.#position = parts.position;
    this.#told = parts.told;
    this.scene = parts.scene;
    this.#theme = readTheme(parts.probe);
    this.#tellSize("ruler-height", this.view.rulerHeight);
    this.#tellSize("keys-width", this.view.keysWidth);
    const observer = new ResizeObserver(() => this.#resize());
    observer.observe(this.#above);
    this.#ends.push(() => observer.disconnect(), onThemeChange(() => this.#retheme()));
    this.#resize();
    this.#frame = requestAnimationFrame(this.#tick);
  }

  end(): void {
    cancelAnimationFrame(this.#frame);
    for (const end of this.#ends) end();
  }

  show(scene: Scene): void {
    const before = this.scene;
    if (scene === before) return;
    this.scene = scene;
    this.#stale = this.#overlayStale = true;
    if (scene.rows === before.rows) return;
    if (scene.rows.lanes !== before.rows.lanes || (before.piece.notes.length === 0 && scene.piece.notes.length > 0)) this.#fitRows();
    else if (this.#outgrown()) this.#fitRows();
    // A new row on top must not move the rows that are seen.
    else this.#setView({ ...this.view, scrollRows: this.view.scrollRows + (scene.rows.pitches[0] ?? 0) - (before.rows.pitches[0] ?? 0) });
  }

  scrollBy(byX: number, byY: number): void {
    this.#byHand();
    this.#rowsByHand ||= byY !== 0;
    this.#setView(scrolled(this.view, this.scene.extent, byX, byY));
  }

  zoomAt(factor: number, x: number): void {
    this.#byHand();
    this.#setView(zoomedBeats(this.view, this.scene.extent, factor, x));
  }

  zoomRowsAt(factor: number, y: number): void {
    this.#byHand();
    this.#rowsByHand = true;
    this.#setView(zoomedRows(this.view, this.scene.extent, factor, y));
  }

  /** The whole piece in the width. */
  fit(): void {
    this.#byHand();
    this.#setView({ ...this.view, scrollBeats: 0, beatPx: 0 });
    this.#fitRows();
  }

  reveal(note: Pick<Note, "pitch" | "onsetBeats" | "durationBeats">): void {
    this.#byHand();
    this.#setView(revealed(this.view, this.scene.extent, rectOf(this.view, this.scene.rows, note)));
  }

  revealBeats(beats: number): void {
    const to = followed(this.view, beats);
    if (to !== null) this.#setView({ ...this.view, scrollBeats: to });
  }

  over(part: Partial<Overlay>): void {
    this.overlay = { ...this.overlay, ...part };
    this.#overlayStale = true;
  }

  hide(notes: ReadonlySet<number>): void {
    if (notes.size === 0 && this.#hidden.size === 0) return;
    this.#hidden = notes;
    this.#stale = true;
  }

  /** Whether all rows are seen. */
  rowsFit(): boolean {
    return this.scene.extent.rows * this.view.rowPx <= gridHeight(this.view) + 1;
  }

  rect(note: Pick<Note, "pitch" | "onsetBeats" | "durationBeats">): Rect {
    return rectOf(this.view, this.scene.rows, note);
  }

  /** In pixels of the page. */
  pageRect(note: Pick<Note, "pitch" | "onsetBeats" | "durationBeats">): Rect {
    const box = this.#above.getBoundingClientRect();
    const rect = this.rect(note);
    return { ...rect, x: rect.x + box.left, y: rect.y + box.top };
  }

  #byHand(): void {
    this.#byHandMs = performance.now();
    this.#glide = null;
  }

  #setView(view: Viewport): void {
    const before = this.view.keysWidth;
    this.view = clamped({ ...view, keysWidth: this.#keysWidth() }, this.scene.extent);
    if (this.view.keysWidth !== before) this.#tellSize("keys-width", this.view.keysWidth);
    this.#stale = this.#overlayStale = true;
  }

  /** For what lies upon the canvas in the page. */
  #tellSize(name: string, px: number): void {
    this.#above.parentElement?.style.setProperty(`--roll-${name}`, `${px}px`);
  }

  #keysWidth(): number {
    if (this.scene.rows.lanes) return this.view.width < 500 ? 84 : 112;
    return this.view.width < 500 ? 36 : 48;
  }

  #fitRows(): void {
    this.#rowsByHand = false;
    this.#setView(this.view);
    this.#setView(withRowsFitted(this.view, this.scene.extent, this.scene.sounding));
  }

  /** Music that is coming went higher or lower than what is seen, and the user has not chosen what to see. */
  #outgrown(): boolean {
    const { sounding: [top, bottom], endBeats, expectedBeats = 0 } = this.scene;
    if (expectedBeats <= endBeats || this.#rowsByHand) return false;
    return yOf(this.view, top) < this.view.rulerHeight || yOf(this.view, bottom + 1) > this.view.height;
  }

  #retheme(): void {
    this.#theme = readTheme(this.#probe);
    this.#stale = this.#overlayStale = true;
  }

  #resize(): void {
    const { clientWidth: width, clientHeight: height } = this.#above;
    const ratio = densityOf();
    this.#ratio = ratio;
    for (const canvas of [this.#below, this.#above]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      contextOf(canvas)?.setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.view = { ...this.view, width, height };
    if (!this.#opened && width > 0) this.#open();
    this.#setView(this.view);
    this.#paint();
  }

  /** Eight bars on a wide page, as many as stay readable on a small one. */
  #open(): void {
    this.#opened = true;
    this.view = { ...this.view, scrollBeats: -Infinity, beatPx: Math.min(MAX_BEAT_PX, Math.max(22, gridWidth(this.view) / OPENING_BEATS)) };
    this.#fitRows();
  }

  readonly #tick = (nowMs: number): void => {
    this.#frame = requestAnimationFrame(this.#tick);
    // Moved to a screen of another density, or the page was zoomed.
    if (Math.abs(this.#above.width - this.#above.clientWidth * densityOf()) > 1) this.#resize();
    const positionBeats = this.#position();
    if (positionBeats !== this.overlay.positionBeats) this.over({ positionBeats });
    this.#follow(nowMs, positionBeats);
    this.#paint();
  };

  #follow(nowMs: number, positionBeats: number | null): void {
    if (this.#glide) this.#glideOn(nowMs);
    const { playing, endBeats, expectedBeats = 0 } = this.scene;
    const growingBeats = expectedBeats > endBeats ? endBeats : null;
    const aimBeats = playing ? positionBeats : growingBeats;
    if (this.#glide || aimBeats === null || nowMs - this.#byHandMs < HANDS_OFF_MS) return;
    const to = followed(this.view, aimBeats);
    if (to === null) return;
    if (reducedMotion()) this.#setView({ ...this.view, scrollBeats: to });
    else this.#glide = { from: this.view.scrollBeats, to, startMs: nowMs };
  }

  #glideOn(nowMs: number): void {
    if (!this.#glide) return;
    const { from, to, startMs } = this.#glide;
    const done = Math.min(1, Math.max(0, (nowMs - startMs) / GLIDE_MS));
    this.#setView({ ...this.view, scrollBeats: from + (to - from) * (1 - (1 - done) ** 3) });
    if (done === 1) this.#glide = null;
  }

  #paint(): void {
    if (this.view.width === 0 || (!this.#stale && !this.#overlayStale)) return;
    const begunMs = performance.now();
    const notesDrawn = this.#stale ? this.#paintBelow() : 0;
    const context = contextOf(this.#above);
    if (context) paintOverlay(this.#pen(context), this.overlay);
    this.#stale = this.#notes.unfinished;
    this.#overlayStale = false;
    this.#told({ notesDrawn, paintedMs: performance.now() - begunMs });
  }

  #paintBelow(): number {
    const context = contextOf(this.#below);
    if (!context) return 0;
    const pen = this.#pen(context);
    paintGrid(pen);
    paintBands(pen);
    let drawn = 0;
    onGrid(pen, () => {
      drawn = this.#notes.paint(pen, this.#hidden, this.#ratio);
      paintAttention(pen);
    });
    paintFrame(pen);
    return drawn;
  }

  #pen(context: CanvasRenderingContext2D): Pen {
    return { context, view: onPixels(this.view, this.#ratio), scene: this.scene, theme: this.#theme };
  }
}
