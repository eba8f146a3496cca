import { Dices, FastForward, Wand2 } from "lucide-react";
import type { Model } from "midifactory";
import { Button, Checkbox, CheckboxGroup, Group, Input, Label, NumberField } from "react-aria-components";
import { barCount } from "../../music/bars";
import { serverTracks } from "../../music/midi";
import { trackName } from "../../music/instruments";
import type { Piece, Selection } from "../../music/piece";
import { useServer } from "../../server/connection";
import { canDo } from "../../takes/asking";
import type { Take } from "../../takes/take";
import { useView } from "../../takes/view";
import { NumberRow, SelectField, SliderRow } from "../../ui/fields";
import { Folded } from "../../ui/folded";
import { drawSeed } from "../make/form";
import { BeforeAfter } from "./before-after";
import { continueTake, infillTake, useVarying } from "./variants";
import { MOST_BARS, MOST_VARIANTS, useWishes } from "./wishes";

/** What the model does with a take that is there. */
export function WithModel({ take }: { take: Take }) {
  const models = useServer((server) => server.models);
  const wanted = useWishes((wishes) => wishes.model);
  const { problem } = useVarying();
  return (
    <>
      <Infill take={take} model={modelFor(models, "infill", wanted)} />
      <BeforeAfter current={take} />
      {problem ? <div className="problem" role="alert"><strong>{problem.what}</strong> {problem.todo}</div> : null}
      <Continue take={take} model={modelFor(models, "continue", wanted)} />
      <How models={models} />
    </>
  );
}

function modelFor(models: readonly Model[], kind: "continue" | "infill", wanted: string | null): Model | undefined {
  const able = models.filter((model) => canDo(model, kind));
  return able.find((model) => model.name === wanted) ?? able[0];
}

function Infill({ take, model }: { take: Take; model: Model | undefined }) {
  const selection = useView((view) => view.selection);
  const running = useVarying((varying) => varying.running);
  const known = useServer((server) => server.models.length > 0);
  const bars = barCount(take.piece);
  const beyond = selection !== null && selection.firstBar > bars;
  const nothing = selection?.tracks?.length === 0;
  return (
    <section className="change-part" aria-labelledby="infill-title">
      <h2 id="infill-title">Compose bars anew</h2>
      <Place piece={take.piece} selection={selection} bars={bars} />
      {known && !model ? <p className="hint">No model at this server was trained to fill in.</p> : null}
      <Button className="wide-button" isDisabled={!model || !selection || beyond || nothing || running !== null} onPress={() => void (model && selection && infillTake(take, model, selection))}>
        <Wand2 aria-hidden size={18} /> {running === "infill" ? "Filling in…" : selection ? `Infill ${spanText(selection, bars)}` : "Infill"}
      </Button>
    </section>
  );
}

function spanText({ firstBar, lastBar }: Selection, bars: number): string {
  const last = Math.min(lastBar, bars);
  return firstBar >= last ? `bar ${firstBar}` : `bars ${firstBar} to ${last}`;
}

/** The place in numbers, for those who cannot drag over the roll. */
function Place({ piece, selection, bars }: { piece: Piece; selection: Selection | null; bars: number }) {
  const set = useView((view) => view.set);
  const { firstBar, lastBar, tracks } = selection ?? { firstBar: 1, lastBar: Math.min(2, bars), tracks: null };
  const choose = (part: Partial<Selection>) => set({ selection: { firstBar, lastBar: Math.min(lastBar, bars), tracks, ...part } });
  const numbers = serverTracks(piece);
  const sounding = piece.tracks.map((_, track) => track).filter((track) => numbers[track] !== null);
  if (!selection) {
    return (
      <>
        <p className="hint">Drag over bars in the roll; the model fills them with new music that fits its surroundings.</p>
        <Button onPress={() => choose({})}>Choose bars by number</Button>
      </>
    );
  }
  return (
    <>
      <div className="pair">
        <NumberRow label="From bar" value={Math.min(firstBar, bars)} min={1} max={bars} onChange={(bar) => choose({ firstBar: bar ?? 1, lastBar: Math.min(bars, Math.max(bar ?? 1, lastBar)) })} />
        <NumberRow label="To bar" value={Math.min(lastBar, bars)} min={1} max={bars} onChange={(bar) => choose({ lastBar: bar ?? bars, firstBar: Math.min(bar ?? bars, firstBar) })} />
      </div>
      {sounding.length > 1 ? (
        <CheckboxGroup
          className="field"
          value={(tracks ?? sounding).map(String)}
          onChange={(chosen) => choose({ tracks: chosen.length === sounding.length ? null : chosen.map(Number).sort((one, other) => one - other) })}
        >
          <Label>Tracks</Label>
          <div className="track-boxes">
            {sounding.map((track) => (
              <Checkbox key={track} value={String(track)} className="track-box"><span className="box" aria-hidden />{trackName(piece, track)}</Checkbox>
            ))}
          </div>
        </CheckboxGroup>
      ) : null}
    </>
  );
}

function Continue({ take, model }: { take: Take; model: Model | undefined }) {
  const { bars, set } = useWishes();
  const running = useVarying((varying) => varying.running);
  const known = useServer((server) => server.models.length > 0);
  return (
    <section className="change-part" aria-labelledby="continue-title">
      <h2 id="continue-title">Let it go on</h2>
      <div className="continue-row">
        <NumberRow label="By how many bars" value={bars} min={1} max={MOST_BARS} onChange={(wanted) => set({ bars: wanted ?? 4 })} />
        <Button isDisabled={!model || take.piece.notes.length === 0 || running !== null} onPress={() => void (model && continueTake(take, model))}>
          <FastForward aria-hidden size={18} /> {running === "continue" ? "Continuing…" : "Continue it"}
        </Button>
      </div>
      {known && !model ? <p className="hint">No model at this server can continue music.</p> : null}
    </section>
  );
}

function How({ models }: { models: readonly Model[] }) {
  const { model, variants, temperature, seed, set } = useWishes();
  const able = models.filter((one) => canDo(one, "infill") || canDo(one, "continue"));
  return (
    <Folded title="How the model does it" said={`${variants} ${variants === 1 ? "variant" : "variants"}`}>
      {able.length > 1 ? <SelectField label="Model" options={able.map(({ name, corpus }) => ({ id: name, name, hint: corpus }))} value={model ?? able[0]?.name ?? ""} onChange={(name) => set({ model: name })} /> : null}
      <NumberRow label="Variants" hint="Each becomes a take of its own, to hear them side by side." value={variants} min={1} max={MOST_VARIANTS} onChange={(wanted) => set({ variants: wanted ?? 1 })} />
      <SliderRow label="Temperature" value={temperature} min={0.3} max={1.5} step={0.05} said={temperature.toFixed(2)} ends={["careful", "bold"]} onChange={(wanted) => set({ temperature: wanted })} />
      <div className="seed">
        <NumberField className="field" value={seed} minValue={0} maxValue={Number.MAX_SAFE_INTEGER - MOST_VARIANTS} formatOptions={{ useGrouping: false }} onChange={(wanted) => set({ seed: Number.isNaN(wanted) ? drawSeed() : wanted })}>
          <Label>Seed</Label>
          <Group className="number-group"><Input /></Group>
        </NumberField>
        <Button className="icon-button outlined" aria-label="Throw the dice for another seed" onPress={() => set({ seed: drawSeed() })}><Dices aria-hidden size={18} /></Button>
      </div>
    </Folded>
  );
}
