import { Check, Pencil, Redo2, Trash2, Undo2 } from "lucide-react";
import { useState } from "react";
import { Button, Form, Input, TextField } from "react-aria-components";
import { endBeats } from "../music/piece";
import type { Take } from "../takes/take";
import { useTakes } from "../takes/store";
import { say } from "./saying";
import "./takes-list.css";

export function undo(): void {
  const { undoable, undo: back } = useTakes.getState();
  if (undoable === null) return;
  back();
  say(`Undone: ${undoable}`);
}

export function redo(): void {
  const { redoable, redo: again } = useTakes.getState();
  if (redoable === null) return;
  again();
  say(`Done again: ${redoable}`);
}

export function TakesList() {
  const { takes, currentId } = useTakes();
  const newestFirst = [...takes].sort((a, b) => b.createdAt - a.createdAt);
  return (
    <section className="takes" aria-labelledby="takes-title">
      <div className="takes-head">
        <h2 id="takes-title">Takes</h2>
        <UndoButtons />
      </div>
      {takes.length === 0 ? <p className="hint">Each piece you make is kept here, in this browser.</p> : (
        <ul>{newestFirst.map((take) => <TakeRow key={take.id} take={take} current={take.id === currentId} />)}</ul>
      )}
    </section>
  );
}

function UndoButtons() {
  const { undoable, redoable } = useTakes();
  return (
    <div className="undo-buttons">
      <Button className="icon-button" isDisabled={undoable === null} onPress={undo} aria-label={undoable === null ? "Undo" : `Undo: ${undoable}`}><Undo2 aria-hidden size={18} /></Button>
      <Button className="icon-button" isDisabled={redoable === null} onPress={redo} aria-label={redoable === null ? "Redo" : `Redo: ${redoable}`}><Redo2 aria-hidden size={18} /></Button>
    </div>
  );
}

function TakeRow({ take, current }: { take: Take; current: boolean }) {
  const { choose, remove } = useTakes();
  const [naming, setNaming] = useState(false);
  if (naming) return <li className="take" data-current={current || undefined}><Rename take={take} done={() => setNaming(false)} /></li>;
  return (
    <li className="take" data-current={current || undefined}>
      <Button className="take-choose" aria-pressed={current} onPress={() => choose(take.id)}>
        <Thumbnail take={take} />
        <span className="take-text"><span className="take-name">{take.name}</span><span className="take-about">{about(take)}</span></span>
      </Button>
      <Button className="icon-button take-tool" aria-label={`Rename ${take.name}`} onPress={() => setNaming(true)}><Pencil aria-hidden size={15} /></Button>
      <Button className="icon-button take-tool" aria-label={`Remove ${take.name}`} onPress={() => remove(take.id)}><Trash2 aria-hidden size={15} /></Button>
    </li>
  );
}

function Rename({ take, done }: { take: Take; done: () => void }) {
  const rename = useTakes(({ rename }) => rename);
  const [name, setName] = useState(take.name);
  const keep = () => {
    if (name.trim() !== "" && name.trim() !== take.name) rename(take.id, name.trim());
    done();
  };
  return (
    <Form className="take-rename" onSubmit={(event) => { event.preventDefault(); keep(); }}>
      <TextField aria-label="Name of the take" value={name} onChange={setName} autoFocus onKeyDown={(event) => { if (event.key === "Escape") done(); else event.continuePropagation(); }}>
        <Input />
      </TextField>
      <Button type="submit" className="icon-button" aria-label="Keep this name"><Check aria-hidden size={18} /></Button>
    </Form>
  );
}

function about({ piece, asked }: Take): string {
  const beats = piece.metres[0]?.beatsPerBar ?? 4;
  const bars = Math.max(1, Math.ceil(endBeats(piece) / beats - 1e-6));
  return `${bars} ${bars === 1 ? "bar" : "bars"}, ${asked === null ? `${piece.notes.length} notes` : `seed ${asked.seed}`}`;
}

const WIDE = 44;
const HIGH = 28;

/** The take's shape at a glance. */
function Thumbnail({ take: { piece } }: { take: Take }) {
  const pitches = piece.notes.map(({ pitch }) => pitch);
  const lowest = Math.min(127, ...pitches);
  const span = Math.max(12, Math.max(0, ...pitches) - lowest);
  const end = Math.max(1, endBeats(piece));
  const shown = piece.notes.slice(0, 400);
  const path = shown.map(({ onsetBeats, durationBeats, pitch }) => {
    const y = HIGH - 3 - ((pitch - lowest) / span) * (HIGH - 6);
    return `M${((onsetBeats / end) * WIDE).toFixed(1)} ${y.toFixed(1)}h${Math.max(0.8, (durationBeats / end) * WIDE - 0.4).toFixed(1)}`;
  }).join("");
  return <svg className="thumbnail" viewBox={`0 0 ${WIDE} ${HIGH}`} width={WIDE} height={HIGH} aria-hidden><path d={path} fill="none" stroke="currentColor" strokeWidth="1.6" /></svg>;
}
