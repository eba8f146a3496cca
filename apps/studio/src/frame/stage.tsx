import { Eraser, MousePointer2, Pencil } from "lucide-react";
import type { ReactNode } from "react";
import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { ToggleButton, ToggleButtonGroup } from "react-aria-components";
import { endBeats } from "../music/piece";
import type { Piece } from "../music/piece";
import { barBeats } from "../music/bars";
import { applyEdit } from "../music/edits";
import { trackName } from "../music/instruments";
import { Roll } from "../roll/roll";
import type { RollEdit, RollHandle, Tool } from "../roll/roll";
import { player } from "../sound/the-player";
import { Transport } from "../sound/transport";
import type { Take } from "../takes/take";
import { currentOf, useTakes } from "../takes/store";
import { useView } from "../takes/view";
import { Welcome } from "./welcome";
import "./stage.css";

const NOTHING: Piece = { notes: [], tracks: [], tempos: [{ onsetBeats: 0, bpm: 120 }], metres: [{ onsetBeats: 0, beatsPerBar: 4, text: "4/4" }] };

const listening = (listener: () => void) => player.subscribe(listener);
const SOUNDED_VELOCITY = 80;
/** Below this notes are too narrow to be read: a long piece is scrolled instead. */
const NARROWEST_BEAT_PX = 14;

/** What is on the roll: the music that is coming, else the current take's. */
export function useShown(): Piece {
  const growing = useView(({ growing }) => growing);
  const current = useTakes(currentOf);
  return growing ?? current?.piece ?? NOTHING;
}

export function Stage() {
  const shown = useShown();
  const current = useTakes(currentOf);
  const growing = useView(({ growing }) => growing);
  const ready = useTakes(({ ready }) => ready);
  const selection = useView(({ selection }) => selection);
  const bars = useMemo(() => barBeats(shown, endBeats(shown)), [shown]);
  // What comes is loaded by the one who receives it.
  useEffect(() => {
    if (growing === null) player.load(current?.piece ?? NOTHING);
  }, [growing, current?.piece]);
  return (
    <section className="stage" aria-label="The music">
      <div className="stage-head">
        <h2 className="stage-title">{growing ? "A new take is coming" : (current?.name ?? "No music yet")}</h2>
        <Tools piece={shown} />
      </div>
      <div className="roll-frame">
        <TheRoll piece={shown} take={current} />
        {ready && !current && !growing ? <Welcome /> : null}
      </div>
      <div className="dock"><Transport player={player} piece={shown} barBeats={bars} selection={selection} /></div>
    </section>
  );
}

function TheRoll({ piece, take }: { piece: Piece; take: Take | null }) {
  const view = useView();
  const { change } = useTakes();
  const playing = useSyncExternalStore(listening, () => player.state === "playing");
  const [faint, setFaint] = useState<ReadonlySet<number>>(new Set());
  useEffect(() => player.subscribe(() => setFaint((before) => silentTracks(piece, before))), [piece]);
  const roll = useRef<RollHandle>(null);
  const coming = view.growing !== null;
  const through = view.expectedBeats ?? endBeats(take?.piece ?? NOTHING);
  // Each piece is first seen as a whole; edits of it leave the view where it is.
  const asPiece = coming ? "coming" : take?.id;
  const throughNow = useRef(through);
  useEffect(() => {
    throughNow.current = through;
  });
  useEffect(() => {
    const width = document.querySelector(".roll-frame")?.clientWidth ?? 0;
    if (throughNow.current > 0 && throughNow.current * NARROWEST_BEAT_PX <= width) roll.current?.fit();
  }, [asPiece]);
  const edit = (what: RollEdit) => {
    if (take === null || view.growing !== null) return;
    change(take.id, said(what), applyEdit(take.piece, what));
  };
  return (
    <Roll
      ref={roll}
      piece={piece}
      {...(view.expectedBeats === undefined ? {} : { expectedBeats: view.expectedBeats })}
      positionBeats={() => (player.state === "silent" ? null : player.positionBeats())}
      playing={playing}
      tool={view.growing ? "select" : view.tool}
      drawTrack={Math.min(view.drawTrack, Math.max(0, piece.tracks.length - 1))}
      faint={faint}
      selection={view.selection}
      onSelection={(selection) => view.set({ selection })}
      chosen={view.chosen}
      onChosen={(chosen) => view.set({ chosen })}
      onEdit={edit}
      onSeek={(beats) => player.seek(beats)}
      heat={view.heat}
      attention={view.attention ?? null}
      newBeats={view.growing ? null : (take?.newBeats ?? null)}
      onSound={(pitch, track) => player.sound(pitch, piece.tracks[track]?.program ?? 0, SOUNDED_VELOCITY)}
      onHover={(hovered, hoveredAt) => view.set({ hovered, hoveredAt })}
      label={view.growing ? "The piece that is coming" : `Notes of ${take?.name ?? "an empty piece"}`}
    />
  );
}

/** Muted, or not solo where another is; the same set again where nothing changed. */
function silentTracks(piece: Piece, before: ReadonlySet<number>): ReadonlySet<number> {
  const numbers = piece.tracks.map((_, track) => track);
  const anySolo = numbers.some((track) => player.isSolo(track));
  const silent = numbers.filter((track) => player.isMuted(track) || (anySolo && !player.isSolo(track)));
  return silent.length === before.size && silent.every((track) => before.has(track)) ? before : new Set(silent);
}

function said(edit: RollEdit): string {
  if (edit.kind === "add") return "draw a note";
  const many = edit.notes.length === 1 ? "a note" : `${edit.notes.length} notes`;
  return { delete: `erase ${many}`, move: `move ${many}`, resize: `change the length of ${many}` }[edit.kind];
}

const TOOLS: readonly { id: Tool; name: string; icon: ReactNode }[] = [
  { id: "select", name: "Select", icon: <MousePointer2 aria-hidden size={17} /> },
  { id: "draw", name: "Draw", icon: <Pencil aria-hidden size={17} /> },
  { id: "erase", name: "Erase", icon: <Eraser aria-hidden size={17} /> },
];

function Tools({ piece }: { piece: Piece }) {
  const { tool, drawTrack, set } = useView();
  return (
    <div className="tools">
      {tool === "draw" && piece.tracks.length > 1 ? (
        <label className="draw-track">into <select value={drawTrack} onChange={(event) => set({ drawTrack: Number(event.target.value) })}>
          {piece.tracks.map((_, track) => <option key={track} value={track}>{trackName(piece, track)}</option>)}
        </select></label>
      ) : null}
      <ToggleButtonGroup
        className="segments"
        aria-label="What the pointer does"
        selectionMode="single"
        disallowEmptySelection
        selectedKeys={[tool]}
        onSelectionChange={(keys) => {
          const chosen = TOOLS.find(({ id }) => keys.has(id));
          if (chosen) set({ tool: chosen.id });
        }}
      >
        {TOOLS.map(({ id, name, icon }) => <ToggleButton key={id} id={id} className="segment" aria-label={name}>{icon}<span className="segment-name">{name}</span></ToggleButton>)}
      </ToggleButtonGroup>
    </div>
  );
}
