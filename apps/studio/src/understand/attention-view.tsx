import { useEffect } from "react";
import { Button } from "react-aria-components";
import { trackName } from "../music/instruments";
import type { Note, Piece } from "../music/piece";
import type { BarLine } from "../music/bars";
import { placeName } from "../roll/names";
import type { Take } from "../takes/take";
import { useView } from "../takes/view";
import { SelectField } from "../ui/fields";
import { attendedIds, mostAttended, useAttention, type Attending } from "./attending";
import type { Explained } from "./explaining";
import { ChanceBar, ProblemNote, SwitchRow, Waiting } from "./parts";
import { useUnderstandSettings } from "./settings";
import { percentText } from "./surprise";
import { noteName } from "./words";

const NAMED = 5;
const MEAN = "mean";

interface Props {
  readonly take: Take;
  readonly bars: readonly BarLine[];
  readonly explained: Explained;
  /** The chosen note. */
  readonly note: Note | null;
  readonly onJump: (note: Note) => void;
}

/** What the model looked at when it told the chosen note: lines in the roll, and the same in words. */
export function AttentionView({ take, bars, explained, note, onJump }: Props) {
  const settings = useUnderstandSettings();
  const { lines, set } = settings;
  const index = note === null ? null : (explained.indexes.get(note.id) ?? null);
  const attending = useAttention(take, explained, lines ? index : null, settings);
  useLines(note, explained, attending);
  return (
    <>
      <SwitchRow on={lines} onChange={(on) => set({ lines: on })}>Show what the model looked at</SwitchRow>
      {lines && note === null ? <p className="hint">Choose a note in the roll.</p> : null}
      {lines && note !== null && index === null ? <p className="hint">The model was not asked about this note.</p> : null}
      {attending.state === "asking" ? <Waiting>Looking</Waiting> : null}
      {attending.state === "failed" ? <ProblemNote problem={attending.problem} /> : null}
      {attending.state === "told" && note !== null ? (
        <>
          <Lenses layers={attending.attention.layers} heads={attending.attention.heads} />
          <Named piece={take.piece} bars={bars} note={note} onJump={onJump} shares={mostAttended(attending.attention, explained, NAMED)} />
          <p className="hint">{seenText(attending.attention.window_notes)}</p>
        </>
      ) : null}
    </>
  );
}

function seenText(notes: number): string {
  if (notes === 0) return "It is the first note that the model saw.";
  return notes === 1 ? "It saw 1 note before this one." : `It saw ${notes} notes before this one.`;
}

/** Draws them in the roll as long as this is shown. */
function useLines(note: Note | null, explained: Explained, attending: Attending): void {
  const attention = attending.state === "told" ? attending.attention : null;
  const from = note?.id ?? null;
  useEffect(() => {
    if (attention === null || from === null) return;
    useView.getState().set({ attention: { from, to: attendedIds(attention, explained) } });
    return () => useView.getState().set({ attention: null });
  }, [attention, explained, from]);
}

function Lenses({ layers, heads }: { readonly layers: number; readonly heads: number }) {
  const { layer, head, set } = useUnderstandSettings();
  const numbered = (word: string, count: number) => [
    { id: MEAN, name: "Mean of all" },
    ...Array.from({ length: count }, (_, place) => ({ id: String(place), name: `${word} ${place + 1}` })),
  ];
  const chosen = (value: string) => (value === MEAN ? null : Number(value));
  return (
    <div className="u-pair">
      <p className="hint u-lens">The model reads in layers, one after the other; in each, several heads look at different notes.</p>
      <SelectField label="Layer" options={numbered("Layer", layers)} value={layer === null ? MEAN : String(layer)} onChange={(value) => set({ layer: chosen(value) })} />
      <SelectField label="Head" options={numbered("Head", heads)} value={head === null ? MEAN : String(head)} onChange={(value) => set({ head: chosen(value) })} />
    </div>
  );
}

function Named({ piece, bars, note, shares, onJump }: {
  readonly piece: Piece;
  readonly bars: readonly BarLine[];
  readonly note: Note;
  readonly shares: readonly { readonly id: number; readonly share: number }[];
  readonly onJump: (note: Note) => void;
}) {
  const programOf = ({ track }: Note) => piece.tracks[track]?.program ?? 0;
  const rows = shares.flatMap(({ id, share }) => {
    const other = piece.notes.find((one) => one.id === id);
    return other ? [{ other, share }] : [];
  });
  if (rows.length === 0) return <p className="hint">It looked at no other note.</p>;
  return (
    <>
      <p>For {noteName(note.pitch, programOf(note))} it looked most at:</p>
      <ol className="u-notes" aria-label="Notes it looked at most">
        {rows.map(({ other, share }) => (
          <li key={other.id}>
            <Button className="u-row" onPress={() => onJump(other)}>
              <span className="u-note-name">{noteName(other.pitch, programOf(other))}</span>
              <span className="u-note-place">{placeName(bars, other.onsetBeats)}, {trackName(piece, other.track)}</span>
              <ChanceBar share={share} />
              <span className="u-note-chance">{percentText(share)}</span>
            </Button>
          </li>
        ))}
      </ol>
    </>
  );
}
