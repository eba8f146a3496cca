import { Dices } from "lucide-react";
import { Button, Label, NumberField, Group, Input, Switch } from "react-aria-components";
import { useServer } from "../server/connection";
import { SelectField, SliderRow, NumberRow, TextRow } from "../ui/fields";
import { drawSeed, chordsBegin, modelOf, useForm } from "./make/form";
import { GenerateBar } from "./make/generate-bar";
import { InstrumentChoice } from "./make/instruments";
import { useMaking } from "./make/making";
import { More } from "./make/more";
import { KEYS, METRES, printedKey, styleChoices, temper } from "./make/wishes";
import "./make/make.css";

/** What the server does without a wish. */
const USUAL_TEMPERATURE = 0.95;
export const MOST_BARS = 64;

export function Make() {
  return (
    <div className="make">
      <div className="make-fields">
        <Opening />
        <Measures />
        <InstrumentChoice />
        <Temper />
        <Seed />
        <More />
      </div>
      <GenerateBar />
    </div>
  );
}

function Opening() {
  const { form, change } = useForm();
  const { models, styles } = useServer();
  const { wrong } = useMaking();
  const model = modelOf(form, models);
  const offered = styleChoices(styles.length > 0 ? styles : [{ name: "free", description: "" }], model?.programs ?? []);
  const chordsHint = chordsBegin(form.style)
    ? "Letters, or Roman numerals of the key. Empty: I V vi IV."
    : "A chord for each bar, over and over. Empty: the model's own.";
  return (
    <>
      {models.length > 1 ? (
        <SelectField
          label="Model"
          options={models.map(({ name, corpus }) => ({ id: name, name, hint: corpus }))}
          value={model?.name ?? ""}
          wrong={wrong.includes("model")}
          onChange={(name) => change({ model: name, instruments: [], conditions: {} })}
        />
      ) : null}
      <SelectField label="Style" options={offered} value={form.style} wrong={wrong.includes("style")} onChange={(style) => change({ style })} hint={offered.find(({ id }) => id === form.style)?.hint} />
      <TextRow label="Chords" value={form.chords} placeholder="C G Am F" hint={chordsHint} wrong={wrong.includes("chords") || wrong.includes("harmony")} onChange={(chords) => change({ chords })} />
    </>
  );
}

function Measures() {
  const { form, change } = useForm();
  const models = useServer(({ models }) => models);
  const { wrong } = useMaking();
  const model = modelOf(form, models);
  const anyKey = { id: "", name: "Any key" };
  const usualMetre = { id: "", name: model === undefined ? "Usual" : `Usual (${model.metre})` };
  return (
    <div className="pair">
      <SelectField label="Key" options={[anyKey, ...KEYS.map((key) => ({ id: key, name: printedKey(key) }))]} value={form.key ?? ""} wrong={wrong.includes("key")} onChange={(key) => change({ key: key || null })} />
      <SelectField label="Metre" options={[usualMetre, ...METRES.map((metre) => ({ id: metre, name: metre }))]} value={form.metre ?? ""} wrong={wrong.includes("metre")} onChange={(metre) => change({ metre: metre || null })} />
      <NumberRow label="Length in bars" value={form.bars} min={1} max={MOST_BARS} wrong={wrong.includes("bars")} onChange={(bars) => change({ bars: bars ?? 8 })} />
      <NumberRow label="Tempo (bpm)" value={form.tempoBpm} min={20} max={300} placeholder={model === undefined ? "" : String(Math.round(model.tempo_bpm))} wrong={wrong.includes("tempo_bpm")} onChange={(tempoBpm) => change({ tempoBpm })} />
    </div>
  );
}

function Temper() {
  const { form, change } = useForm();
  const shown = form.temperature ?? USUAL_TEMPERATURE;
  const said = form.temperature === null ? "usual" : `${shown.toFixed(2)} · ${temper(shown)}`;
  return <SliderRow label="Temperature" value={shown} min={0.3} max={1.5} step={0.05} said={said} ends={["careful", "bold"]} onChange={(temperature) => change({ temperature })} />;
}

function Seed() {
  const { form, change } = useForm();
  return (
    <div className="seed">
      <NumberField className="field" value={form.seed} minValue={0} maxValue={Number.MAX_SAFE_INTEGER} formatOptions={{ useGrouping: false }} onChange={(seed) => change(Number.isNaN(seed) ? { seed: drawSeed() } : { seed, newSeed: false })}>
        <Label>Seed</Label>
        <Group className="number-group"><Input aria-describedby="seed-hint" /></Group>
      </NumberField>
      <Button className="icon-button outlined" aria-label="Throw the dice for another seed" onPress={() => change({ seed: drawSeed(), newSeed: false })}><Dices aria-hidden size={18} /></Button>
      <Switch className="switch" isSelected={form.newSeed} onChange={(newSeed) => change({ newSeed })}><span className="switch-track"><span className="switch-thumb" /></span>New each time</Switch>
      <p id="seed-hint" className="hint seed-hint">All chance comes from this number: the same one gives the same music again.</p>
    </div>
  );
}

