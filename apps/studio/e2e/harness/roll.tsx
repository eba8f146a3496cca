import { createRef, useState } from "react";
import { createRoot } from "react-dom/client";
import { DRUMS, type Note, type Piece, type Selection } from "../../src/music/piece";
import { HeatLegend } from "../../src/roll/heat-legend";
import { Roll } from "../../src/roll/roll";
import type { RollEdit, RollHandle, Tool } from "../../src/roll/roll";

/** What the tests read and set, by the page's address: ?notes=10000&theme=dark&tool=draw&heat=1&attention=1&new=1&growing=1&drums=1&faint=1 */
const asked = new URLSearchParams(location.search);
const COUNT = Number(asked.get("notes") ?? 0);
const handle = createRef<RollHandle>();

interface Lab {
  edits: RollEdit[];
  sought: number[];
  frames: { notesDrawn: number; paintedMs: number }[];
  chosen: number[];
  selection: Selection | null;
  play(playing: boolean): void;
  placeOf(id: number): { x: number; y: number; width: number; height: number } | null;
  zoom(factor: number): void;
  fit(): void;
  notes: readonly Note[];
}

declare global {
  interface Window {
    lab: Lab;
  }
}

const TRACKS = [
  { name: "Piano", program: 0 }, { name: "Strings", program: 48 }, { name: "Bass", program: 33 }, { name: "Flute", program: 73 }, { name: "Drums", program: DRUMS },
];

/** A small phrase in four voices, over a walking bass and a beat. */
function phrase(): Note[] {
  const notes: Omit<Note, "id">[] = [];
  const chords = [[60, 64, 67], [57, 60, 64], [53, 57, 60], [55, 59, 62]];
  const tune = [76, 74, 72, 74, 76, 79, 77, 76];
  for (let bar = 0; bar < 16; bar++) {
    const chord = chords[bar % 4] ?? [];
    for (const [at, pitch] of chord.entries()) notes.push({ track: 0, pitch, velocity: 60 + 10 * at, onsetBeats: bar * 4, durationBeats: 2 }, { track: 0, pitch: pitch + (at === 2 ? 2 : 0), velocity: 50, onsetBeats: bar * 4 + 2, durationBeats: 1.5 });
    notes.push({ track: 1, pitch: (chord[0] ?? 60) + 24, velocity: 45, onsetBeats: bar * 4, durationBeats: 4 });
    for (let beat = 0; beat < 4; beat++) notes.push({ track: 2, pitch: (chord[0] ?? 60) - 24 + ([0, 4, 7, 9][beat] ?? 0), velocity: 90, onsetBeats: bar * 4 + beat, durationBeats: 0.9 });
    for (let eighth = 0; eighth < 8; eighth++) notes.push({ track: 3, pitch: tune[(eighth + bar) % 8] ?? 72, velocity: 40 + ((eighth * 37 + bar * 11) % 80), onsetBeats: bar * 4 + eighth / 2, durationBeats: 0.45 });
    for (let eighth = 0; eighth < 8; eighth++) notes.push({ track: 4, pitch: 42, velocity: eighth % 2 ? 50 : 90, onsetBeats: bar * 4 + eighth / 2, durationBeats: 0.2 });
    notes.push({ track: 4, pitch: 36, velocity: 110, onsetBeats: bar * 4, durationBeats: 0.25 }, { track: 4, pitch: 38, velocity: 100, onsetBeats: bar * 4 + 2, durationBeats: 0.25 });
  }
  return notes.map((note, id) => ({ ...note, id }));
}

/** As dense as the densest files: about nine notes a beat. */
function many(count: number): Note[] {
  return Array.from({ length: count }, (_, id) => ({
    id, track: id % 5, pitch: 30 + ((id * 7919) % 66), velocity: 30 + ((id * 31) % 97), onsetBeats: Math.floor(id / 9) + (id % 4) / 4, durationBeats: 0.2 + ((id * 13) % 8) / 4,
  }));
}

function pieceAsked(): Piece {
  const all = COUNT ? many(COUNT) : phrase();
  const notes = asked.has("drums") ? all.filter((note) => note.track === 4).map((note) => ({ ...note, track: 0 })) : all;
  return {
    notes: asked.has("growing") ? notes.filter((note) => note.onsetBeats < 18) : notes,
    tracks: asked.has("drums") ? [{ name: "Drums", program: DRUMS }] : TRACKS,
    tempos: [{ onsetBeats: 0, bpm: 120 }],
    metres: [{ onsetBeats: 0, beatsPerBar: 4, text: "4/4" }],
  };
}

function edited(piece: Piece, edit: RollEdit): Piece {
  if (edit.kind === "add") return { ...piece, notes: [...piece.notes, { ...edit, velocity: 90, id: 1 + Math.max(...piece.notes.map((note) => note.id)) }] };
  const meant = new Set(edit.notes);
  if (edit.kind === "delete") return { ...piece, notes: piece.notes.filter((note) => !meant.has(note.id)) };
  return {
    ...piece,
    notes: piece.notes.map((note) => {
      if (!meant.has(note.id)) return note;
      if (edit.kind === "resize") return { ...note, durationBeats: note.durationBeats + edit.byBeats };
      return { ...note, onsetBeats: note.onsetBeats + edit.byBeats, pitch: note.pitch + edit.bySemitones };
    }),
  };
}

let startedMs: number | null = asked.has("at") ? 0 : null;
const position = () => (asked.has("at") ? Number(asked.get("at")) : startedMs === null ? null : (performance.now() - startedMs) / 500);
const heat = (note: Note) => ((note.id * 7) % 23) / 22;
const attention = { from: 40, to: new Map(Array.from({ length: 30 }, (_, at) => [at + 3, 1 / (1 + at * 0.4)] as const)) };

function LabPage() {
  const [piece, setPiece] = useState(pieceAsked);
  const [selection, setSelection] = useState<Selection | null>(null);
  const [chosen, setChosen] = useState<ReadonlySet<number>>(new Set());
  const [playing, setPlaying] = useState(asked.has("at"));
  Object.assign(window.lab, {
    chosen: [...chosen], selection, notes: piece.notes,
    play: (on: boolean) => {
      startedMs = on ? performance.now() : null;
      setPlaying(on);
    },
  });
  return (
    <>
      <div className="stage">
        <Roll
          ref={handle} label="The lab's roll" piece={piece} positionBeats={position} playing={playing} tool={(asked.get("tool") ?? "select") as Tool} drawTrack={0}
          selection={selection} onSelection={setSelection} chosen={chosen} onChosen={setChosen}
          onEdit={(edit) => {
            window.lab.edits.push(edit);
            setPiece(edited(piece, edit));
          }}
          onSeek={(beats) => window.lab.sought.push(beats)} onFrame={(frame) => window.lab.frames.push(frame)}
          {...(asked.has("heat") && { heat })} {...(asked.has("attention") && { attention })} {...(asked.has("new") && { newBeats: [8, 16] as const })}
          {...(asked.has("growing") && { expectedBeats: 64 })} {...(asked.has("faint") && { faint: new Set([1, 4]) })}
        />
      </div>
      {asked.has("heat") && <HeatLegend low="expected" high="surprising" />}
    </>
  );
}

window.lab = {
  edits: [], sought: [], frames: [], chosen: [], selection: null, notes: [], play: () => undefined,
  placeOf: (id) => handle.current?.placeOf(id) ?? null, zoom: (factor) => handle.current?.zoom(factor), fit: () => handle.current?.fit(),
};
document.documentElement.dataset.theme = asked.get("theme") ?? "light";
const root = document.getElementById("root");
if (root) createRoot(root).render(<LabPage />);
