import { Eraser, MousePointer2, Pencil } from "lucide-react";
import type { ReactNode, RefObject } from "react";
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
const NONE: ReadonlySet<number> = new Set();
const SOUNDED_VELOCITY = 80;
/** Below this notes are too narrow to be read: a long piece is scrolled instead. */
const NARROWEST_BEAT_PX = 9;

/** What is on the roll: the music that is coming, else what the player has borrowed, else the current take's. */
export function useShown(): Piece {
  const growing = useView(({ growing }) => growing);
  const borrowed = useView(({ borrowed }) => borrowed);
  const current = useTakes(currentOf);
  return growing ?? borrowed?.piece ?? current?.piece ?? NOTHING;
}

export function Stage() {
  const shown = useShown();
  const current = useTakes(currentOf);
  const { growing, borrowed, selection } = useView();
  const ready = useTakes(({ ready }) => ready);
  const bars = useMemo(() => barBeats(shown, endBeats(shown)), [shown]);
  // What comes is loaded by the one who receives it.
  useEffect(() => {
    if (growing === null) player.load(current?.piece ?? NOTHING);
  }, [growing, current?.piece]);
  const stage = useRef<HTMLElement>(null);
  useComingIntoSight(stage);
  const take = growing || borrowed ? null : current;
  const empty = shown.notes.length === 0 && growing === null && current === null;
  return (
    <section ref={stage} className="stage" aria-label="The music">
      <div className="stage-head">
        <h2 className="stage-title">{growing ? "A new take is coming" : (borrowed?.name ?? current?.name ?? "No music yet")}</h2>
        <Tools piece={shown} usable={take !== null} />
      </div>
      <div className="roll-frame">
        <TheRoll piece={shown} take={take} />
        {ready && empty ? <Welcome /> : null}
      </div>
      <div className="dock"><Transport player={player} piece={shown} barBeats={bars} selection={borrowed ? null : selection} /></div>
    </section>
  );
}

/** On a phone the panels stand below the roll: music that begins or has come scrolls it back into sight. */
function useComingIntoSight(stage: RefObject<HTMLElement | null>): void {
  const coming = useView(({ growing }) => growing !== null);
  const many = useTakes(({ takes, ready }) => (ready ? takes.length : null));
  const before = useRef({ coming, many });
  useEffect(() => {
    const more = before.current.many !== null && many !== null && many > before.current.many;
    const begins = coming && !before.current.coming;
    before.current = { coming, many };
    if ((begins || more) && (stage.current?.getBoundingClientRect().top ?? 0) < 0) stage.current?.scrollIntoView();
  }, [stage, coming, many]);
}

function TheRoll({ piece, take }: { piece: Piece; take: Take | null }) {
  const view = useView();
  const { change } = useTakes();
  const playing = useSyncExternalStore(listening, () => player.state === "playing");
  const [faint, setFaint] = useState<ReadonlySet<number>>(new Set());
  useEffect(() => player.subscribe(() => setFaint((before) => silentTracks(piece, before))), [piece]);
  const roll = useRef<RollHandle>(null);
  const coming = view.growing !== null;
  const through = view.expectedBeats ?? endBeats(piece);
  // Each piece is first seen as a whole; edits of it leave the view where it is.
  const asPiece = coming ? "coming" : (view.borrowed?.piece ?? take?.id);
  const throughNow = useRef(through);
  useEffect(() => {
    throughNow.current = through;
  });
  useEffect(() => {
    const width = document.querySelector(".roll-frame")?.clientWidth ?? 0;
    if (throughNow.current > 0 && throughNow.current * NARROWEST_BEAT_PX <= width) roll.current?.fit();
  }, [asPiece]);
  const edit = (what: RollEdit) => {
    if (take === null) return;
    change(take.id, said(what), applyEdit(take.piece, what));
  };
  return (
    <Roll
      ref={roll}
      piece={piece}
      {...(view.expectedBeats === undefined ? {} : { expectedBeats: view.expectedBeats })}
      positionBeats={() => (player.state === "silent" ? null : player.positionBeats())}
      playing={playing}
      tool={take === null ? "select" : view.tool}
      drawTrack={Math.min(view.drawTrack, Math.max(0, piece.tracks.length - 1))}
      faint={faint}
      selection={view.borrowed ? null : view.selection}
      onSelection={(selection) => {
        if (view.borrowed === null) view.set({ selection });
      }}
      chosen={view.borrowed ? NONE : view.chosen}
      onChosen={(chosen) => {
        if (view.borrowed === null) view.set({ chosen });
      }}
      onEdit={edit}
      onSeek={(beats) => player.seek(beats)}
      heat={view.heat}
      attention={view.attention ?? null}
      newBeats={take?.newBeats ?? null}
      onSound={(pitch, track) => player.sound(pitch, piece.tracks[track]?.program ?? 0, SOUNDED_VELOCITY)}
      onHover={(hovered, hoveredAt) => view.set({ hovered, hoveredAt })}
      label={view.growing ? "The piece that is coming" : view.borrowed ? `The piece that is heard: ${view.borrowed.name}` : `Notes of ${take?.name ?? "an empty piece"}`}
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

/** usable: whether there is music that may be changed by hand. */
function Tools({ piece, usable }: { piece: Piece; usable: boolean }) {
  const { tool, drawTrack, set } = useView();
  return (
    <div className="tools">
      {usable && tool === "draw" && piece.tracks.length > 1 ? (
        <label className="draw-track">into <select value={drawTrack} onChange={(event) => set({ drawTrack: Number(event.target.value) })}>
          {piece.tracks.map((_, track) => <option key={track} value={track}>{trackName(piece, track)}</option>)}
        </select></label>
      ) : null}
      <ToggleButtonGroup
        className="segments"
        aria-label="What the pointer does"
        selectionMode="single"
        disallowEmptySelection
        isDisabled={!usable}
        selectedKeys={[usable ? tool : "select"]}
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
