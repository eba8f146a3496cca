import { Plus } from "lucide-react";
import { Button, Menu, MenuItem, MenuTrigger, Popover, SubmenuTrigger, ToggleButton, ToggleButtonGroup, Label } from "react-aria-components";
import { FAMILIES, instrumentName } from "../../music/instruments";
import { DRUMS } from "../../music/piece";
import { useServer } from "../../server/connection";
import { modelOf, useForm } from "./form";
import { useMaking } from "./making";

/** More than this of a model's own are offered by the menu alone. */
const MOST_OFFERED = 10;

/** Those that the model has learned stand first, of most notes; any other can be asked for, but it knows no music for it. */
export function InstrumentChoice() {
  const { form, change } = useForm();
  const wrong = useMaking(({ wrong }) => wrong.includes("instruments"));
  const model = useServer(({ models }) => modelOf(form, models));
  const learned = inScoreOrder((model?.programs ?? []).slice(0, MOST_OFFERED));
  const others = form.instruments.filter((program) => !learned.includes(program));
  const add = (program: number) => change({ instruments: [...new Set([...form.instruments, program])] });
  return (
    <div className="field instruments" data-invalid={wrong || undefined}>
      <div className="instruments-head">
        <Label id="instruments-label">Instruments</Label>
        <MoreInstruments add={add} />
      </div>
      <ToggleButtonGroup
        className="chips"
        aria-labelledby="instruments-label"
        selectionMode="multiple"
        selectedKeys={form.instruments.map(String)}
        onSelectionChange={(keys) => change({ instruments: [...keys].map(Number) })}
      >
        {[...learned, ...others].map((program) => <ToggleButton key={program} id={String(program)} className="chip">{instrumentName(program)}</ToggleButton>)}
      </ToggleButtonGroup>
      <span className="hint">{hintOf(form.instruments.length, others.length)}</span>
    </div>
  );
}

/** As General MIDI numbers them, from piano on; drums last. */
function inScoreOrder(programs: readonly number[]): readonly number[] {
  return [...programs].sort((a, b) => (a === DRUMS ? 1 : b === DRUMS ? -1 : a - b));
}

function hintOf(chosen: number, others: number): string {
  if (others > 0) return "This model has learned no music for what you added; it may sound odd.";
  return chosen === 0 ? "None chosen: the model takes those it likes." : "Each of these plays, and nothing else.";
}

function MoreInstruments({ add }: { add: (program: number) => void }) {
  return (
    <MenuTrigger>
      <Button className="add-instrument"><Plus aria-hidden size={14} />Another</Button>
      <Popover className="popover">
        <Menu className="options" onAction={(key) => add(Number(key))}>
          <MenuItem className="option" id={String(DRUMS)}>Drums</MenuItem>
          {FAMILIES.map(({ name, instruments }, family) => (
            <SubmenuTrigger key={name}>
              <MenuItem className="option" id={`family-${family}`}>{name}</MenuItem>
              <Popover className="popover">
                <Menu className="options" onAction={(key) => add(Number(key))}>
                  {instruments.map((instrument, number) => <MenuItem key={instrument} className="option" id={String(family * 8 + number)}>{instrument}</MenuItem>)}
                </Menu>
              </Popover>
            </SubmenuTrigger>
          ))}
        </Menu>
      </Popover>
    </MenuTrigger>
  );
}
