import type { Model } from "midifactory";
import { useEffect, useMemo, useRef } from "react";
import { endBeats } from "../music/piece";
import type { Note, Piece } from "../music/piece";
import { barLines } from "../music/bars";
import { HeatLegend } from "../roll/heat-legend";
import { useServer } from "../server/connection";
import { player } from "../sound/the-player";
import { currentOf, useTakes } from "../takes/store";
import type { Take } from "../takes/take";
import { useView } from "../takes/view";
import { SelectField } from "../ui/fields";
import { NothingYet } from "../ui/nothing-yet";
import { AttentionView } from "../understand/attention-view";
import { useExplanation, type Explained } from "../understand/explaining";
import { NoteCard } from "../understand/note-card";
import { OriginalityLine } from "../understand/originality-line";
import { ProblemNote, Section, SwitchRow, Waiting } from "../understand/parts";
import { useUnderstandSettings } from "../understand/settings";
import { chanceText, heatOf } from "../understand/surprise";
import { SurprisingNotes } from "../understand/surprising";
import { averageLine } from "../understand/words";
import "../understand/understand.css";

/** What a model thinks of the current take, note by note. */
export function Understand() {
  const take = useTakes(currentOf);
  const growing = useView((view) => view.growing !== null);
  const models = useServer((server) => server.models);
  const wished = useUnderstandSettings((settings) => settings.model);
  const named = (name: string | null | undefined) => models.find((model) => model.name === name);
  const model = named(wished) ?? named(take?.asked?.model) ?? models[0];

  if (growing) return <NothingYet coming>The music is still coming. When it is there, the model can be asked about each note.</NothingYet>;
  if (take === null) return <NothingYet coming={false}>Make a piece or drop a MIDI file first. Then this shows what the model thinks of each of its notes.</NothingYet>;
  if (model === undefined) return <p className="hint">Waiting for the server…</p>;
  return (
    <div className="understand">
      {models.length > 1 ? <ModelChoice models={models} model={model} /> : null}
      <Explanation take={take} model={model} />
      <Section title="How original it is"><OriginalityLine take={take} model={model} /></Section>
    </div>
  );
}

function ModelChoice({ models, model }: { readonly models: readonly Model[]; readonly model: Model }) {
  const set = useUnderstandSettings((settings) => settings.set);
  const options = models.map(({ name, corpus }) => ({ id: name, name, hint: corpus }));
  return <SelectField label="Which model is asked" options={options} value={model.name} onChange={(name) => set({ model: name })} />;
}

function Explanation({ take, model }: { readonly take: Take; readonly model: Model }) {
  const explaining = useExplanation(take, model);
  if (explaining.state === "told") return <Told take={take} explained={explaining.explained} />;
  if (explaining.state === "failed") return <ProblemNote problem={explaining.problem} again={explaining.again} />;
  return <Waiting>{`Asking ${model.name} about each note`}</Waiting>;
}

function Told({ take, explained }: { readonly take: Take; readonly explained: Explained }) {
  const { piece } = take;
  const bars = useMemo(() => barLines(piece.metres, endBeats(piece)), [piece]);
  const { shown, chosen } = useNotes(piece);
  const jump = (note: Note) => {
    player.seek(note.onsetBeats);
    useView.getState().set({ chosen: new Set([note.id]) });
  };
  const told = shown === null ? undefined : explained.told.notes[explained.indexes.get(shown.id) ?? -1];
  return (
    <>
      <p className="u-average">{averageLine(explained.told.nats_per_note)}</p>
      {explained.told.skipped.map((reason) => <p key={reason} className="hint">Left out: {reason}.</p>)}
      <Colours piece={piece} explained={explained} />
      <Section title="A note">
        {shown === null ? <p className="hint">Point at a note in the roll, or choose one: here stands what else the model weighed.</p> : <NoteCard piece={piece} bars={bars} note={shown} told={told ?? null} />}
      </Section>
      <Section title="What it looked at">
        <AttentionView take={take} bars={bars} explained={explained} note={chosen} onJump={jump} />
      </Section>
      <Section title="The most surprising notes">
        <SurprisingNotes piece={piece} bars={bars} explained={explained} chosen={chosen?.id ?? null} onJump={jump} />
      </Section>
    </>
  );
}

/** The note below the pointer, else the chosen one, else the last one pointed at: the way to the card crosses the roll. */
function useNotes(piece: Piece): { shown: Note | null; chosen: Note | null } {
  const hovered = useView((view) => view.hovered);
  const ids = useView((view) => view.chosen);
  const last = useRef<Note | null>(null);
  const inPiece = (note: Note | null) => (note === null ? null : (piece.notes.find((one) => one.id === note.id) ?? null));
  const under = inPiece(hovered);
  const chosen = piece.notes.find((note) => ids.has(note.id)) ?? null;
  useEffect(() => {
    if (under !== null) last.current = under;
  }, [under]);
  return { shown: under ?? chosen ?? inPiece(last.current), chosen };
}

/** Colours the roll as long as this is shown. */
function Colours({ piece, explained }: { readonly piece: Piece; readonly explained: Explained }) {
  const { colours, set } = useUnderstandSettings();
  useEffect(() => {
    if (!colours) return;
    const heat = (note: Note) => {
      const told = explained.told.notes[explained.indexes.get(note.id) ?? -1];
      return told === undefined ? null : heatOf(told.nats, explained.scale);
    };
    useView.getState().set({ heat });
    return () => useView.getState().set({ heat: null });
  }, [colours, explained]);
  const unknown = piece.notes.length - explained.indexes.size;
  return (
    <div className="u-colours">
      <SwitchRow on={colours} onChange={(on) => set({ colours: on })}>Colour by surprise</SwitchRow>
      {colours ? (
        <>
          <HeatLegend low={`expected: ${chanceText(explained.scale.lowNats)}`} high={`surprising: ${chanceText(explained.scale.highNats)}`} />
          {unknown > 0 ? <p className="hint">Grey: the model was not asked about {unknown === 1 ? "this note" : `these ${unknown} notes`}.</p> : null}
        </>
      ) : null}
    </div>
  );
}
