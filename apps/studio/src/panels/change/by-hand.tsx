import { Button, Group } from "react-aria-components";
import { TEMPO_BPM, notesOf, tempoBpm, transposed, withProgram, withTempo } from "../../music/edits";
import { FAMILIES, instrumentName, trackName } from "../../music/instruments";
import { DRUMS } from "../../music/piece";
import { useTakes } from "../../takes/store";
import type { Take } from "../../takes/take";
import { useView } from "../../takes/view";
import { NumberRow } from "../../ui/fields";
import { Folded } from "../../ui/folded";

const STEPS = [
  { by: -12, text: "−12", name: "An octave down" },
  { by: -1, text: "−1", name: "A semitone down" },
  { by: 1, text: "+1", name: "A semitone up" },
  { by: 12, text: "+12", name: "An octave up" },
] as const;

/** What needs no model: at once, and undone like everything else. */
export function ByHand({ take }: { take: Take }) {
  const change = useTakes((state) => state.change);
  const { piece } = take;
  return (
    <section className="change-part" aria-labelledby="hand-title">
      <h2 id="hand-title">By hand, without the model</h2>
      <Transpose take={take} />
      <NumberRow
        label="Tempo (beats a minute)"
        value={Math.round(tempoBpm(piece) * 100) / 100}
        min={TEMPO_BPM.least}
        max={TEMPO_BPM.most}
        {...(piece.tempos.length > 1 ? { hint: "Where the music begins; later changes keep their proportion." } : {})}
        onChange={(bpm) => {
          if (bpm !== null) change(take.id, "change the tempo", withTempo(piece, bpm));
        }}
      />
      <Instruments take={take} />
      <p className="hint">Draw and erase notes with the tools above the roll.</p>
    </section>
  );
}

function Instruments({ take: { id, piece } }: { take: Take }) {
  const change = useTakes((state) => state.change);
  const names = piece.tracks.map((_, index) => trackName(piece, index));
  return (
    <Folded title={names.length === 1 ? "Instrument" : "Instruments"} said={names.join(", ")}>
      <ul className="instruments-list">
        {piece.tracks.map((track, index) => (
          <li key={index}>
            <label>
              <span>Instrument of {names[index]}</span>
              <select
                value={track.program}
                onChange={(event) => change(id, `change an instrument to ${instrumentName(Number(event.target.value))}`, withProgram(piece, index, Number(event.target.value)))}
              >
                <Programs />
              </select>
            </label>
          </li>
        ))}
      </ul>
    </Folded>
  );
}

function Transpose({ take }: { take: Take }) {
  const change = useTakes((state) => state.change);
  const selection = useView((view) => view.selection);
  const where = selection ? (selection.firstBar === selection.lastBar ? `bar ${selection.firstBar}` : `bars ${selection.firstBar} to ${selection.lastBar}`) : "all";
  const notes = selection ? notesOf(take.piece, selection) : take.piece.notes;
  return (
    <div className="field">
      <span id="transpose-label" className="field-label">Transpose {where} (semitones)</span>
      <Group className="transpose" aria-labelledby="transpose-label">
        {STEPS.map(({ by, text, name }) => (
          <Button key={by} aria-label={name} onPress={() => change(take.id, `transpose ${where} by ${text}`, transposed(take.piece, by, notes))}>{text}</Button>
        ))}
      </Group>
    </div>
  );
}

function Programs() {
  return (
    <>
      <option value={DRUMS}>{instrumentName(DRUMS)}</option>
      {FAMILIES.map((family, number) => (
        <optgroup key={family.name} label={family.name}>
          {family.instruments.map((name, index) => <option key={name} value={number * 8 + index}>{name}</option>)}
        </optgroup>
      ))}
    </>
  );
}
