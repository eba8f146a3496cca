import { Volume2 } from "lucide-react";
import type { ExplainedNote } from "midifactory";
import { Button } from "react-aria-components";
import { trackName } from "../music/instruments";
import type { Note, Piece } from "../music/piece";
import type { BarLine } from "../music/bars";
import { lengthName, placeName } from "../roll/names";
import { player } from "../sound/the-player";
import { ChanceBar } from "./parts";
import { percentText } from "./surprise";
import { choicesOf, isPitchPart, noteName, partName, partValue } from "./words";

type Part = ExplainedNote["parts"][number];

/** What the model thought of one note. */
export function NoteCard({ piece, bars, note, told }: {
  readonly piece: Piece;
  readonly bars: readonly BarLine[];
  readonly note: Note;
  /** null: the model was not asked about this note. */
  readonly told: ExplainedNote | null;
}) {
  const program = piece.tracks[note.track]?.program ?? 0;
  const name = noteName(note.pitch, program);
  return (
    <article className="u-card" aria-label={`About the note ${name}`}>
      <header>
        <strong className="u-card-name">{name}</strong>
        <span>{placeName(bars, note.onsetBeats)}, {trackName(piece, note.track)}, {lengthName(note.durationBeats)}</span>
      </header>
      {told === null ? <p>The model cannot tell this note, so it has no opinion of it.</p> : <Opinion note={note} program={program} told={told} />}
    </article>
  );
}

function Opinion({ note, program, told }: { readonly note: Note; readonly program: number; readonly told: ExplainedNote }) {
  return (
    <>
      <p>The model gave this pitch a chance of <strong>{percentText(told.probability)}</strong>.</p>
      <ul className="u-choices" aria-label="What it weighed">
        {choicesOf(told).map(({ pitch, probability, taken }) => {
          const name = noteName(pitch, program);
          return (
            <li key={pitch} className={taken ? "u-choice u-taken" : "u-choice"}>
              <span className="u-note-name">{name}{taken ? <span className="u-faint"> this note</span> : null}</span>
              <ChanceBar share={probability} strong={taken} />
              <span className="u-percent">{percentText(probability)}</span>
              <Button className="icon-button" aria-label={`Hear ${name}`} onPress={() => player.sound(pitch, program, note.velocity)}>
                <Volume2 aria-hidden size={16} />
              </Button>
            </li>
          );
        })}
      </ul>
      {told.parts.filter(({ type }) => !isPitchPart(type)).map((part, place) => (
        <PartRow key={`${place} ${part.type}`} part={part} note={note} program={program} />
      ))}
    </>
  );
}

function PartRow({ part, note, program }: { readonly part: Part; readonly note: Note; readonly program: number }) {
  const { type, value, probability } = part;
  const others = part.alternatives.filter((other) => other.value !== value);
  return (
    <details className="u-part">
      <summary>{partName(type)}: {partValue(type, value)} <span className="u-percent">{percentText(probability)}</span></summary>
      {others.length === 0 ? <p className="u-faint">It weighed nothing else.</p> : null}
      <ul className="u-choices" aria-label={`${partName(type)}: what else it weighed`}>
        {others.map((other) => (
          <li key={other.value} className="u-choice">
            <span>{partValue(type, other.value)}</span>
            <ChanceBar share={other.probability} />
            <span className="u-percent">{percentText(other.probability)}</span>
            {type === "Velocity" && Number(other.value) > 0 ? (
              <Button className="icon-button" aria-label={`Hear it with loudness ${other.value}`} onPress={() => player.sound(note.pitch, program, Number(other.value))}>
                <Volume2 aria-hidden size={16} />
              </Button>
            ) : null}
          </li>
        ))}
      </ul>
    </details>
  );
}
