import { Switch } from "react-aria-components";
import { useServer } from "../../server/connection";
import { NumberRow, TextRow } from "../../ui/fields";
import { Folded } from "../../ui/folded";
import { HIGHEST_PITCH, LOWEST_PITCH, modelOf, useForm } from "./form";
import { useMaking } from "./making";
import { FIXED_FIELDS } from "./wishes";

/** What one seldom needs, folded away. */
export function More() {
  const { form, change } = useForm();
  return (
    <div className="more">
      <Folded title="More wishes">
        <Texture />
        <Choosing />
        <Conditions />
        <Switch className="switch" isSelected={form.playAtOnce} onChange={(playAtOnce) => change({ playAtOnce })}><span className="switch-track"><span className="switch-thumb" /></span>Play while it is composed</Switch>
      </Folded>
    </div>
  );
}

function Texture() {
  const { form, change } = useForm();
  const { wrong } = useMaking();
  return (
    <div className="pair">
      <NumberRow label="Density" hint="Notes that begin in a beat" value={form.density} min={0.25} max={16} step={0.25} placeholder="free" wrong={wrong.includes("density")} onChange={(density) => change({ density })} />
      <NumberRow label="Voices at once" hint="At most so many notes sound" value={form.polyphony} min={1} max={16} placeholder="free" wrong={wrong.includes("polyphony")} onChange={(polyphony) => change({ polyphony })} />
      <NumberRow label="Lowest pitch" hint="MIDI: 60 is middle C" value={form.lowestPitch} min={LOWEST_PITCH} max={form.highestPitch ?? HIGHEST_PITCH} placeholder="free" wrong={wrong.includes("pitch_range")} onChange={(lowestPitch) => change({ lowestPitch })} />
      <NumberRow label="Highest pitch" value={form.highestPitch} min={form.lowestPitch ?? LOWEST_PITCH} max={HIGHEST_PITCH} placeholder="free" wrong={wrong.includes("pitch_range")} onChange={(highestPitch) => change({ highestPitch })} />
    </div>
  );
}

function Choosing() {
  const { form, change } = useForm();
  const { wrong } = useMaking();
  const knows = useServer(({ models }) => modelOf(form, models));
  return (
    <div className="pair">
      <NumberRow label="Top p" hint="Only the likeliest, up to this share" value={form.topP} min={0.05} max={1} step={0.01} placeholder="usual" wrong={wrong.includes("top_p")} onChange={(topP) => change({ topP })} />
      <NumberRow label="Top k" hint="Only so many of the likeliest" value={form.topK} min={0} max={500} placeholder="all" wrong={wrong.includes("top_k")} onChange={(topK) => change({ topK })} />
      {knows?.originality ? (
        <NumberRow label="Copy at most" hint="Beats in a row out of the training music" value={form.maxCopyBeats} min={2} max={64} step={1} placeholder="any" wrong={wrong.includes("max_copy_beats")} onChange={(maxCopyBeats) => change({ maxCopyBeats })} />
      ) : null}
    </div>
  );
}

/** What this model was told in training, and may be told now. */
function Conditions() {
  const { form, change } = useForm();
  const { wrong } = useMaking();
  const model = useServer(({ models }) => modelOf(form, models));
  const known = Object.entries(model?.conditions ?? {}).filter(([name]) => !FIXED_FIELDS.has(name));
  if (Object.keys(model?.conditions ?? {}).length === 0) return null;
  return (
    <>
      {known.map(([name, values]) => (
        <TextRow key={name} label={wordsOf(name)} hint={values} value={form.conditions[name] ?? ""} wrong={wrong.includes("conditions")} onChange={(value) => change({ conditions: { ...form.conditions, [name]: value } })} />
      ))}
      <NumberRow label="Guidance" hint="How strongly these are followed: 1 as it learned, 2 more" value={form.guidance} min={0} max={5} step={0.25} placeholder="1" wrong={wrong.includes("guidance")} onChange={(guidance) => change({ guidance })} />
    </>
  );
}

function wordsOf(name: string): string {
  const words = name.replace(/_/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
