import type { Note } from "../music/piece";
import { barOf } from "../music/bars";
import type { Stage } from "./drags";
import { actOf, type BarStep, type KeyAct, steppedBars, type Stroke, walked } from "./keys";
import { trackName } from "../music/instruments";
import { drumName, noteSpoken, pitchSpoken, placeName } from "./names";
import { allowedMove, allowedResize, cellOf, GRID_BEATS } from "./snap";
import { gridWidth } from "./viewport";

type Place = Pick<Note, "pitch" | "onsetBeats" | "durationBeats">;

/** The roll by keys: a cursor that walks over the notes, or with the draw tool over empty places. What happens is said. */
export class Keyboard {
  readonly #stage: Stage;
  readonly #say: (text: string) => void;
  #noteId: number | null = null;
  #place: Place | null = null;

  constructor(stage: Stage, say: (text: string) => void) {
    this.#stage = stage;
    this.#say = say;
  }

  /** Whether the key was meant for the roll. */
  press(stroke: Stroke): boolean {
    const act = actOf(stroke, this.#stage.props().tool);
    if (!act) return false;
    this.#perform(act);
    this.showCursor();
    return true;
  }

  showCursor(): void {
    const drawing = this.#stage.props().tool === "draw";
    this.#stage.surface.over({ cursor: drawing ? this.#placeNow() : this.#noteNow() });
  }

  /** The music changed below it. */
  refresh(): void {
    if (this.#stage.surface.overlay.cursor) this.showCursor();
  }

  hideCursor(): void {
    this.#stage.surface.over({ cursor: null });
    this.#stage.props().onHover?.(null, null);
  }

  /** The pointer took a note: the cursor goes on from it. */
  standOn(note: Note): void {
    this.#noteId = note.id;
    this.#place = { pitch: note.pitch, onsetBeats: cellOf(note.onsetBeats), durationBeats: GRID_BEATS };
  }

  #noteNow(): Note | null {
    return this.#noteId === null ? null : (this.#stage.surface.scene.index.get(this.#noteId) ?? null);
  }

  #placeNow(): Place {
    const { view, scene } = this.#stage.surface;
    const pitch = scene.rows.pitches[Math.floor((scene.sounding[0] + scene.sounding[1]) / 2)] ?? 60;
    this.#place ??= { pitch, onsetBeats: cellOf(view.scrollBeats + gridWidth(view) / view.beatPx / 8), durationBeats: GRID_BEATS };
    return this.#place;
  }

  #perform(act: KeyAct): void {
    const { surface, props } = this.#stage;
    switch (act.kind) {
      case "walk": return this.#walk(walked(surface.scene.index, this.#noteNow(), act.step));
      case "place": return this.#movePlace(act.byBeats, act.bySemitones);
      case "choose": return this.#choose(act.add);
      case "draw": return this.#draw();
      case "move": return this.#edit((notes) => ({ kind: "move", ...allowedMove(notes, act.byBeats, act.bySemitones) }));
      case "resize": return this.#edit((notes) => ({ kind: "resize", byBeats: allowedResize(notes, act.byBeats) }));
      case "delete": return this.#delete();
      case "bars": return this.#bars(act.step);
      case "zoom": return surface.zoomAt(act.factor, surface.overlay.cursor ? surface.rect(surface.overlay.cursor).x : surface.view.width / 2);
      case "fit": return surface.fit();
      case "all":
        props().onChosen(new Set(surface.scene.index.sorted.filter((note) => !surface.scene.faint.has(note.track)).map((note) => note.id)));
        return this.#say("All notes chosen");
      case "clear":
        props().onChosen(new Set());
        props().onSelection(null);
        return this.#say("Nothing chosen");
    }
  }

  #walk(note: Note | null): void {
    const { surface, props } = this.#stage;
    if (!note) return this.#say(surface.scene.index.sorted.length === 0 ? "No notes yet" : "No further note");
    this.standOn(note);
    surface.reveal(note);
    const box = surface.pageRect(note);
    props().onHover?.(note, { x: box.x + box.width / 2, y: box.y + box.height / 2 });
    props().onSound?.(note.pitch, note.track);
    this.#say(noteSpoken(note, surface.scene.piece, surface.scene.bars, props().chosen.has(note.id)));
  }

  #movePlace(byBeats: number, bySemitones: number): void {
    const { surface, props } = this.#stage;
    const before = this.#placeNow();
    const pitches = surface.scene.rows.pitches;
    const row = surface.scene.rows.rowOf(before.pitch) - bySemitones;
    const pitch = pitches[Math.max(0, Math.min(pitches.length - 1, row))] ?? before.pitch;
    this.#place = { ...before, pitch, onsetBeats: Math.max(0, before.onsetBeats + byBeats) };
    surface.reveal(this.#place);
    if (bySemitones !== 0) props().onSound?.(pitch, props().drawTrack);
    this.#say(this.#placeSpoken());
  }

  #placeSpoken(): string {
    const { scene } = this.#stage.surface;
    const { pitch, onsetBeats } = this.#placeNow();
    return `${scene.rows.lanes ? drumName(pitch) : pitchSpoken(pitch)}, ${placeName(scene.bars, onsetBeats)}`;
  }

  #choose(add: boolean): void {
    const { props } = this.#stage;
    const note = this.#noteNow();
    if (!note) return this.#say("No note under the cursor");
    const { chosen } = props();
    const ids = new Set(add ? chosen : []);
    if (chosen.has(note.id)) ids.delete(note.id);
    else ids.add(note.id);
    props().onChosen(ids);
    this.#say(chosen.has(note.id) ? "Not chosen any more" : `Chosen, ${ids.size} ${ids.size === 1 ? "note" : "notes"}`);
  }

  #draw(): void {
    const { surface, props } = this.#stage;
    const { pitch, onsetBeats } = this.#placeNow();
    const track = props().drawTrack;
    props().onEdit({ kind: "add", track, pitch, onsetBeats, durationBeats: GRID_BEATS });
    props().onSound?.(pitch, track);
    this.#say(`Added to ${trackName(surface.scene.piece, track)}: ${this.#placeSpoken()}`);
  }

  /** The chosen notes, or the one under the cursor. */
  #meant(): Note[] {
    const { surface, props } = this.#stage;
    const chosen = [...props().chosen].flatMap((id) => surface.scene.index.get(id) ?? []);
    const note = this.#noteNow();
    return chosen.length > 0 ? chosen : note ? [note] : [];
  }

  #edit(edit: (notes: readonly Note[]) => { kind: "move"; byBeats: number; bySemitones: number } | { kind: "resize"; byBeats: number }): void {
    const notes = this.#meant();
    if (notes.length === 0) return this.#say("Choose a note first");
    const done = edit(notes);
    if (done.byBeats === 0 && (done.kind === "resize" || done.bySemitones === 0)) return this.#say("No further");
    this.#stage.props().onEdit({ ...done, notes: notes.map((note) => note.id) });
    const first = notes[0];
    if (!first) return;
    const after = done.kind === "move"
      ? { ...first, onsetBeats: first.onsetBeats + done.byBeats, pitch: first.pitch + done.bySemitones }
      : { ...first, durationBeats: first.durationBeats + done.byBeats };
    if (done.kind === "move" && done.bySemitones !== 0) this.#stage.props().onSound?.(after.pitch, after.track);
    const { piece, bars } = this.#stage.surface.scene;
    this.#say(noteSpoken(after, piece, bars, true));
  }

  #delete(): void {
    const { surface, props } = this.#stage;
    const notes = this.#meant();
    if (notes.length === 0) return this.#say("Choose a note first");
    const gone = new Set(notes.map((note) => note.id));
    // The cursor goes on from the note before.
    if (this.#noteId !== null && gone.has(this.#noteId)) {
      const { sorted } = surface.scene.index;
      const at = sorted.findIndex((note) => note.id === this.#noteId);
      this.#noteId = (sorted.slice(0, at).findLast((note) => !gone.has(note.id)) ?? sorted.slice(at).find((note) => !gone.has(note.id)))?.id ?? null;
    }
    props().onEdit({ kind: "delete", notes: [...gone] });
    props().onChosen(new Set());
    this.#say(`Deleted ${gone.size} ${gone.size === 1 ? "note" : "notes"}`);
  }

  #bars(step: BarStep): void {
    const { surface, props } = this.#stage;
    const { bars } = surface.scene;
    const at = surface.overlay.cursor?.onsetBeats ?? surface.view.scrollBeats;
    const selection = steppedBars(props().selection, step, barOf(bars, at).number, bars.length);
    props().onSelection(selection);
    if (!selection) return this.#say("No bars chosen");
    const { firstBar, lastBar } = selection;
    surface.revealBeats(bars[lastBar - 1]?.onsetBeats ?? 0);
    this.#say(firstBar === lastBar ? `Bar ${firstBar} chosen` : `Bars ${firstBar} to ${lastBar} chosen`);
  }
}
