import { Button } from "react-aria-components";
import { trackName } from "../music/instruments";
import type { Note, Piece } from "../music/piece";
import type { BarLine } from "../music/bars";
import { placeName } from "../roll/names";
import type { Explained } from "./explaining";
import { chanceText } from "./surprise";
import { noteName } from "./words";

const SHOWN = 8;

export interface Surprising {
  readonly note: Note;
  readonly nats: number;
}

/** The notes that the model expected least, the oddest first. */
export function mostSurprising(piece: Piece, { told, indexes }: Explained, count = SHOWN): Surprising[] {
  return piece.notes
    .flatMap((note) => {
      const nats = told.notes[indexes.get(note.id) ?? -1]?.nats;
      return nats === undefined ? [] : [{ note, nats }];
    })
    .sort((a, b) => b.nats - a.nats || a.note.onsetBeats - b.note.onsetBeats)
    .slice(0, count);
}

export function SurprisingNotes({ piece, bars, explained, chosen, onJump }: {
  readonly piece: Piece;
  readonly bars: readonly BarLine[];
  readonly explained: Explained;
  readonly chosen: number | null;
  readonly onJump: (note: Note) => void;
}) {
  return (
    <ol className="u-notes">
      {mostSurprising(piece, explained).map(({ note, nats }) => (
        <li key={note.id}>
          <Button className="u-row" aria-current={note.id === chosen ? "true" : undefined} onPress={() => onJump(note)}>
            <span className="u-note-name">{noteName(note.pitch, piece.tracks[note.track]?.program ?? 0)}</span>
            <span className="u-note-place">{placeName(bars, note.onsetBeats)}, {trackName(piece, note.track)}</span>
            <span className="u-note-chance">{chanceText(nats)}</span>
          </Button>
        </li>
      ))}
    </ol>
  );
}
