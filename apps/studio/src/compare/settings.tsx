import type { Model, Style } from "midifactory";
import { useState } from "react";
import { Button } from "react-aria-components";
import { styleChoices, temper } from "../panels/make/wishes";
import { NumberRow, SelectField, SliderRow } from "../ui/fields";
import { makePair, useComparing } from "./comparing";

const USUAL_BARS = 8;
const USUAL_TEMPERATURE = 0.95;
const MOST_BARS = 32;

/** Which two models are heard, and what both are asked. */
export function PairSettings({ models, styles }: { readonly models: readonly Model[]; readonly styles: readonly Style[] }) {
  const composing = useComparing(({ state }) => state === "composing");
  // While a pair waits for a vote, the vote is what matters.
  const waiting = useComparing(({ pair, verdict }) => pair !== null && verdict === null);
  const [one, setOne] = useState<string | null>(null);
  const [other, setOther] = useState<string | null>(null);
  const [bars, setBars] = useState(USUAL_BARS);
  const [style, setStyle] = useState("free");
  const [temperature, setTemperature] = useState<number | null>(null);
  const first = models.find(({ name }) => name === one) ?? models[0];
  const others = models.filter((model) => model !== first);
  const second = others.find(({ name }) => name === other) ?? others[0];
  if (first === undefined || second === undefined) return null;
  const offered = styleChoices(styles.length > 0 ? styles : [{ name: "free", description: "" }], first.programs.filter((program) => second.programs.includes(program)));
  const shown = temperature ?? USUAL_TEMPERATURE;
  return (
    <div className="c-settings">
      <div className="u-pair">
        <SelectField label="One model" options={models.map(optionOf)} value={first.name} onChange={setOne} />
        <SelectField label="The other" options={others.map(optionOf)} value={second.name} onChange={setOther} />
        <NumberRow label="Length in bars" value={bars} min={1} max={MOST_BARS} onChange={(value) => setBars(value ?? USUAL_BARS)} />
        <SelectField label="Style" options={offered} value={style} onChange={setStyle} />
      </div>
      <SliderRow
        label="Temperature" value={shown} min={0.3} max={1.5} step={0.05} ends={["careful", "bold"]} onChange={setTemperature}
        said={temperature === null ? "usual" : `${shown.toFixed(2)} · ${temper(shown)}`}
      />
      <Button className={waiting ? "outlined-wide" : "wide-button"} isDisabled={composing} onPress={() => void makePair({ models: [first.name, second.name], bars, style, temperature })}>
        {composing ? "Composing a pair…" : "Make a pair"}
      </Button>
    </div>
  );
}

const optionOf = ({ name, corpus }: Model) => ({ id: name, name, hint: corpus });
