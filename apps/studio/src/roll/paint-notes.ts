import type { Note } from "../music/piece";
import { heatColour } from "./heat";
import { inkUpon } from "./ink-upon";
import { pitchName } from "./names";
import { inDrawnOrder } from "./note-index";
import { fill, type Pen } from "./pen";
import { isSelected, type Scene } from "./scene";
import type { Theme } from "./theme";
import { trackColour } from "./track-colours";
import { beatsAt, gridWidth, type Rect, rectOf, type Viewport } from "./viewport";

/** Heat and velocity are drawn in this many steps, so that notes of one look are painted in one go. */
const STEPS = 24;
const stepped = (value: number) => Math.round(value * STEPS) / STEPS;
const FAINT_ALPHA = 0.18;
/** With more notes than this in view, each is a few pixels. */
const DENSE = 1500;
/** So far a note's ring reaches beyond it, and a short note beyond its end. */
const MARGIN_PX = 4;

export interface Look {
  readonly colour: string;
  readonly alpha: number;
}

export function lookOf(note: Note, scene: Scene, theme: Theme): Look {
  const faint = scene.faint.has(note.track);
  const alpha = faint ? FAINT_ALPHA : stepped(0.5 + 0.5 * Math.min(1, note.velocity / 110));
  if (!scene.heat) return { colour: trackColour(note.track, theme.dark), alpha };
  const heat = scene.heat(note);
  if (heat === null) return { colour: theme.inkFaint, alpha: alpha * 0.5 };
  return { colour: heatColour(stepped(heat), theme.dark), alpha: faint ? alpha : Math.max(alpha, 0.85) };
}

/** The notes that are seen in a part of the canvas and not hidden, as they lie upon each other. */
export function notesIn(scene: Scene, view: Viewport, part: Rect, hidden: ReadonlySet<number>): Note[] {
  const top = view.scrollRows + (part.y - MARGIN_PX - view.rulerHeight) / view.rowPx - 1;
  const bottom = view.scrollRows + (part.y + part.height + MARGIN_PX - view.rulerHeight) / view.rowPx;
  const inTime = scene.index.between(beatsAt(view, part.x - MARGIN_PX), beatsAt(view, part.x + part.width + MARGIN_PX));
  const found = inTime.filter((note) => {
    const row = scene.rows.rowOf(note.pitch);
    return row > top && row < bottom && !hidden.has(note.id);
  });
  return inDrawnOrder(found, scene.faint);
}

/** All that belongs to notes and does not move by itself; gives how many were drawn. */
export function paintNotes(pen: Pen, hidden: ReadonlySet<number>, part: Rect): number {
  const notes = notesIn(pen.scene, pen.view, part, hidden);
  paintBars(pen, notes, isDense(pen));
  paintChosen(pen, notes.filter((note) => pen.scene.chosen.has(note.id)));
  paintSelectedTracks(pen, notes);
  return notes.length;
}

/** By the piece and the zoom, so that scrolling does not change how notes look. */
function isDense({ scene, view }: Pen): boolean {
  const shown = gridWidth(view) / view.beatPx / Math.max(1, scene.endBeats);
  return scene.index.sorted.length * Math.min(1, shown) > DENSE;
}

/** Of one look at a time; looks in the order of the notes that lie lowest. */
export function paintBars(pen: Pen, notes: readonly Note[], dense: boolean): void {
  const groups = new Map<string, { look: Look; rects: Rect[] }>();
  for (const note of notes) {
    const look = lookOf(note, pen.scene, pen.theme);
    const key = `${look.colour}${look.alpha}`;
    const group = groups.get(key) ?? { look, rects: [] };
    if (group.rects.length === 0) groups.set(key, group);
    group.rects.push(rectOf(pen.view, pen.scene.rows, note));
  }
  const paint = dense || pen.view.rowPx < 6 ? paintBlocks : paintLook;
  for (const { look, rects } of groups.values()) paint(pen, look, rects);
  if (pen.view.rowPx >= 13 && !pen.scene.rows.lanes) for (const note of notes) paintName(pen, note);
}

function paintLook(pen: Pen, look: Look, rects: readonly Rect[]): void {
  const { context } = pen;
  context.beginPath();
  for (const rect of rects) context.roundRect(rect.x, rect.y, rect.width, rect.height, Math.min(3.5, rect.height / 2, rect.width / 2));
  context.fillStyle = look.colour;
  context.globalAlpha = look.alpha;
  context.fill();
  // An edge in full colour keeps soft notes seen, and the paler colours apart from light paper.
  context.globalAlpha = Math.min(1, look.alpha + 0.15);
  context.strokeStyle = look.colour;
  context.lineWidth = 1;
  context.stroke();
  context.globalAlpha = 1;
}

/** On whole pixels of the screen and without a path: many times as fast, where nobody would see a rounded corner. */
function paintBlocks(pen: Pen, look: Look, rects: readonly Rect[]): void {
  const { context } = pen;
  const ratio = context.getTransform().a;
  // Halves are frequent: without the little more, their last bit would decide where they go.
  const whole = (at: number) => Math.round(at * ratio + 1e-4) / ratio;
  context.fillStyle = look.colour;
  context.globalAlpha = look.alpha;
  for (const rect of rects) {
    const [x, y] = [whole(rect.x), whole(rect.y)];
    context.fillRect(x, y, Math.max(2, whole(rect.x + rect.width) - x), Math.max(2, whole(rect.y + rect.height) - y));
  }
  context.globalAlpha = 1;
}

function paintName(pen: Pen, note: Note): void {
  const { context, theme, view, scene } = pen;
  const rect = rectOf(view, scene.rows, note);
  if (rect.width < 30 || scene.faint.has(note.track) || scene.piece.tracks[note.track]?.program === -1) return;
  context.font = `600 ${Math.min(11, view.rowPx - 4)}px ${theme.font}`;
  const { colour, alpha } = lookOf(note, scene, theme);
  context.fillStyle = inkUpon(colour, alpha, theme.dark);
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(pitchName(note.pitch), rect.x + 5, rect.y + rect.height / 2 + 0.5);
}

/** A ring in ink with a gap of paper: seen upon every colour. */
export function paintChosen(pen: Pen, notes: readonly Note[]): void {
  const { context, theme } = pen;
  for (const [grow, width, colour] of [[1.5, 4, theme.paper], [2, 2, theme.ink]] as const) {
    context.beginPath();
    for (const note of notes) {
      const { x, y, width: wide, height } = rectOf(pen.view, pen.scene.rows, note);
      context.roundRect(x - grow, y - grow, wide + 2 * grow, height + 2 * grow, 4);
    }
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke();
  }
}

/** Where only some tracks are meant, their notes in the chosen bars are underlined. */
function paintSelectedTracks(pen: Pen, notes: readonly Note[]): void {
  const { scene, view, theme } = pen;
  if (!scene.selection?.tracks) return;
  for (const note of notes) {
    if (!isSelected(scene, note)) continue;
    const rect = rectOf(view, scene.rows, note);
    fill(pen, theme.accent, 1, rect.x, rect.y + rect.height - 1, rect.width, 2);
  }
}
