import type { Note } from "../music/piece";
import { bandDrag, barsDrag, CLICK_PX, type Drag, drawDrag, eraseDrag, moveDrag, panDrag, type Point, resizeDrag, type Stage } from "./drags";
import { noteAt, onRightEdge, zoneAt } from "./hit";
import { rowAt } from "./viewport";

const LONG_PRESS_MS = 420;
/** A wheel that counts in lines. */
const LINE_PX = 16;

/** What pointers and the wheel do on the canvas. */
export class Gestures {
  readonly #canvas: HTMLElement;
  readonly #stage: Stage;
  readonly #pointers = new Map<number, Point>();
  #drag: Drag | null = null;
  #pressTimer = 0;
  #downAt: Point = { x: 0, y: 0 };
  readonly #ends = new AbortController();

  constructor(canvas: HTMLElement, stage: Stage) {
    this.#canvas = canvas;
    this.#stage = stage;
    const { signal } = this.#ends;
    canvas.addEventListener("pointerdown", (event) => this.#down(event), { signal });
    canvas.addEventListener("pointermove", (event) => this.#move(event), { signal });
    canvas.addEventListener("pointerup", (event) => this.#up(event), { signal });
    canvas.addEventListener("pointercancel", (event) => this.#cancel(event), { signal });
    canvas.addEventListener("pointerleave", () => this.#hover(null, null), { signal });
    canvas.addEventListener("dblclick", (event) => this.#doubleClick(event), { signal });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault(), { signal });
    // The page must not scroll or zoom along.
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { signal, passive: false });
    // Wherever the focus is, and before anything else that Escape closes.
    window.addEventListener("keydown", (event) => this.#escape(event), { signal, capture: true });
  }

  end(): void {
    clearTimeout(this.#pressTimer);
    this.#ends.abort();
  }

  #escape(event: KeyboardEvent): void {
    if (event.key !== "Escape" || !this.#drag) return;
    event.preventDefault();
    event.stopPropagation();
    this.#cancelDrag();
  }

  #cancelDrag(): void {
    clearTimeout(this.#pressTimer);
    const drag = this.#drag;
    this.#drag = null;
    drag?.cancel();
  }

  #point(event: MouseEvent): Point {
    const box = this.#canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #noteAt(at: Point): Note | null {
    const { scene, view } = this.#stage.surface;
    return noteAt(scene.index, view, scene.rows, scene.faint, at.x, at.y);
  }

  #down(event: PointerEvent): void {
    const at = this.#point(event);
    this.#pointers.set(event.pointerId, at);
    this.#canvas.setPointerCapture(event.pointerId);
    if (this.#pointers.size === 2) {
      this.#cancelDrag();
      this.#drag = this.#pinch();
      return;
    }
    if (this.#pointers.size > 1 || event.button === 2) return;
    this.#downAt = at;
    this.#hover(null, null);
    this.#drag = event.pointerType === "touch" ? this.#touched(at) : this.#pressed(event, at);
  }

  #pressed(event: PointerEvent, at: Point): Drag | null {
    const { surface } = this.#stage;
    if (event.button === 1 || event.altKey) return panDrag(this.#stage, at, () => undefined);
    const zone = zoneAt(surface.view, at.x, at.y);
    if (zone === "ruler") return at.x < surface.view.keysWidth ? null : barsDrag(this.#stage, at, event.shiftKey);
    return zone === "keys" ? this.#playKey(at) : this.#onGrid(at, event.shiftKey || event.ctrlKey || event.metaKey);
  }

  #playKey(at: Point): null {
    const { surface, props } = this.#stage;
    const pitch = surface.scene.rows.pitchAt(rowAt(surface.view, at.y));
    if (pitch !== null) props().onSound?.(pitch, props().drawTrack);
    return null;
  }

  #onGrid(at: Point, add: boolean): Drag {
    const { surface, props } = this.#stage;
    const { tool } = props();
    if (tool === "erase") return eraseDrag(this.#stage, at);
    const note = this.#noteAt(at);
    if (!note || surface.scene.faint.has(note.track)) return tool === "draw" ? drawDrag(this.#stage, at) : bandDrag(this.#stage, at, add);
    const ids = this.#choose(note, add);
    return onRightEdge(surface.view, surface.scene.rows, note, at.x) ? resizeDrag(this.#stage, at, ids) : moveDrag(this.#stage, at, note, ids);
  }

  /** A note that is taken in hand is chosen; one that already is keeps the others with it. */
  #choose(note: Note, add: boolean): ReadonlySet<number> {
    const { chosen, onChosen, onSound } = this.#stage.props();
    onSound?.(note.pitch, note.track);
    if (chosen.has(note.id) && !add) return chosen;
    const ids = new Set(add ? chosen : []);
    if (!ids.delete(note.id)) ids.add(note.id);
    onChosen(ids);
    return ids;
  }

  /** One finger scrolls; a long press takes a note, or begins a rubber band; a tap chooses. Other tools work at once. */
  #touched(at: Point): Drag | null {
    const { surface, props } = this.#stage;
    const zone = zoneAt(surface.view, at.x, at.y);
    if (zone === "ruler") return at.x < surface.view.keysWidth ? null : barsDrag(this.#stage, at, false);
    if (zone === "keys") return panDrag(this.#stage, at, () => this.#playKey(at));
    if (props().tool !== "select") return this.#onGrid(at, false);
    this.#pressTimer = window.setTimeout(() => {
      this.#drag = this.#onGrid(at, false);
      navigator.vibrate?.(10);
    }, LONG_PRESS_MS);
    return panDrag(this.#stage, at, () => this.#onGrid(at, false).end());
  }

  #pinch(): Drag {
    const { surface } = this.#stage;
    const spread = () => {
      const [a, b] = [...this.#pointers.values()];
      return a && b ? { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, wide: Math.max(20, Math.hypot(a.x - b.x, a.y - b.y)) } : null;
    };
    let last = spread();
    return {
      move: () => {
        const now = spread();
        if (now && last) {
          surface.zoomAt(now.wide / last.wide, now.x);
          surface.scrollBy(last.x - now.x, last.y - now.y);
        }
        last = now;
      },
      end: () => undefined,
      cancel: () => undefined,
    };
  }

  #move(event: PointerEvent): void {
    const at = this.#point(event);
    if (this.#pointers.has(event.pointerId)) this.#pointers.set(event.pointerId, at);
    if (this.#drag) {
      if (Math.hypot(at.x - this.#downAt.x, at.y - this.#downAt.y) > 2 * CLICK_PX) clearTimeout(this.#pressTimer);
      this.#drag.move(at);
    } else if (event.pointerType !== "touch") this.#hover(at, event);
  }

  #up(event: PointerEvent): void {
    clearTimeout(this.#pressTimer);
    this.#pointers.delete(event.pointerId);
    const drag = this.#drag;
    this.#drag = null;
    drag?.end();
  }

  #cancel(event: PointerEvent): void {
    this.#pointers.delete(event.pointerId);
    this.#cancelDrag();
  }

  #doubleClick(event: MouseEvent): void {
    const { surface, props } = this.#stage;
    const at = this.#point(event);
    if (zoneAt(surface.view, at.x, at.y) === "ruler") props().onSelection(null);
  }

  #hover(at: Point | null, event: MouseEvent | null): void {
    const { surface, props } = this.#stage;
    const zone = at && zoneAt(surface.view, at.x, at.y);
    const note = at && zone === "grid" ? this.#noteAt(at) : null;
    this.#canvas.style.cursor = this.#cursorFor(zone, note, at);
    if (note === surface.overlay.hovered) return;
    surface.over({ hovered: note });
    props().onHover?.(note, note && event ? { x: event.clientX, y: event.clientY } : null);
  }

  #cursorFor(zone: ReturnType<typeof zoneAt> | null, note: Note | null, at: Point | null): string {
    const { surface, props } = this.#stage;
    if (zone !== "grid" || !at) return zone === "ruler" ? "text" : "pointer";
    const { tool } = props();
    if (tool === "erase") return "crosshair";
    if (!note || surface.scene.faint.has(note.track)) return tool === "draw" ? "crosshair" : "default";
    return onRightEdge(surface.view, surface.scene.rows, note, at.x) ? "ew-resize" : "grab";
  }

  #wheel(event: WheelEvent): void {
    event.preventDefault();
    const { surface } = this.#stage;
    const scale = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_PX : 1;
    const at = this.#point(event);
    const [byX, byY] = [event.deltaX * scale, event.deltaY * scale];
    // Pinching on a trackpad comes as the wheel with Ctrl.
    if (event.ctrlKey || event.metaKey) {
      const factor = Math.exp(-Math.max(-60, Math.min(60, byY)) * 0.009);
      if (event.shiftKey) surface.zoomRowsAt(factor, at.y);
      else surface.zoomAt(factor, at.x);
      return;
    }
    // Where all rows are seen, there is nothing below: a plain wheel goes through time.
    if (byX === 0 && (event.shiftKey || surface.rowsFit())) surface.scrollBy(byY, 0);
    else surface.scrollBy(byX, byY);
  }
}
