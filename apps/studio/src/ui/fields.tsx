import { Check, ChevronDown, Minus, Plus } from "lucide-react";
import {
  Button, FieldError, Group, Input, Label, ListBox, ListBoxItem, NumberField, Popover, Select, SelectValue, Slider, SliderOutput,
  SliderThumb, SliderTrack, Text, TextField,
} from "react-aria-components";
import "./fields.css";

export interface Option {
  readonly id: string;
  readonly name: string;
  readonly hint?: string;
}

interface FieldProps {
  readonly label: string;
  readonly hint?: string | undefined;
  readonly wrong?: boolean | undefined;
}

function Hint({ text }: { text: string | undefined }) {
  return text === undefined ? null : <Text slot="description" className="hint">{text}</Text>;
}

/** "" is the choice that leaves it open. */
export function SelectField({ label, hint, wrong, options, value, onChange }: FieldProps & {
  options: readonly Option[];
  value: string;
  onChange: (value: string) => void;
}) {
  return (
    <Select className="field" selectedKey={value} isInvalid={wrong ?? false} onSelectionChange={(key) => onChange(key === null ? "" : String(key))}>
      <Label>{label}</Label>
      <Button className="select-button">
        <SelectValue>{({ selectedText, defaultChildren }) => selectedText ?? defaultChildren}</SelectValue>
        <ChevronDown aria-hidden size={16} />
      </Button>
      <Hint text={hint} />
      <FieldError className="field-error">The server could not take this.</FieldError>
      <Popover className="popover select-popover" offset={4}>
        <ListBox className="options" items={options}>
          {(option) => (
            <ListBoxItem className="option" id={option.id} textValue={option.name}>
              <span className="option-name"><Text slot="label">{option.name}</Text>{option.hint ? <Text slot="description">{option.hint}</Text> : null}</span>
              <Check aria-hidden className="option-check" size={16} />
            </ListBoxItem>
          )}
        </ListBox>
      </Popover>
    </Select>
  );
}

/** null: not set; the placeholder says what then holds. */
export function NumberRow({ label, hint, wrong, value, onChange, placeholder, min, max, step = 1 }: FieldProps & {
  value: number | null;
  onChange: (value: number | null) => void;
  placeholder?: string;
  min: number;
  max: number;
  step?: number;
}) {
  return (
    <NumberField
      className="field"
      value={value ?? NaN}
      minValue={min}
      maxValue={max}
      step={step}
      isInvalid={wrong ?? false}
      formatOptions={{ useGrouping: false, maximumFractionDigits: 3 }}
      onChange={(changed) => onChange(Number.isNaN(changed) ? null : changed)}
    >
      <Label>{label}</Label>
      <Group className="number-group">
        <Button slot="decrement"><Minus aria-hidden size={14} /></Button>
        <Input placeholder={placeholder ?? ""} />
        <Button slot="increment"><Plus aria-hidden size={14} /></Button>
      </Group>
      <Hint text={hint} />
      <FieldError className="field-error">The server could not take this.</FieldError>
    </NumberField>
  );
}

export function TextRow({ label, hint, wrong, value, onChange, placeholder, type = "text" }: FieldProps & {
  value: string;
  onChange: (value: string) => void;
  placeholder?: string;
  type?: "text" | "password";
}) {
  return (
    <TextField className="field" type={type} value={value} onChange={onChange} isInvalid={wrong ?? false}>
      <Label>{label}</Label>
      <Input placeholder={placeholder ?? ""} spellCheck="false" autoComplete="off" />
      <Hint text={hint} />
      <FieldError className="field-error">The server could not take this.</FieldError>
    </TextField>
  );
}

export function SliderRow({ label, value, onChange, min, max, step, said, ends }: {
  label: string;
  value: number;
  onChange: (value: number) => void;
  min: number;
  max: number;
  step: number;
  /** What stands at the right of the label. */
  said: string;
  ends: readonly [string, string];
}) {
  return (
    <Slider className="field slider" value={value} onChange={(changed) => onChange(Array.isArray(changed) ? (changed[0] ?? min) : changed)} minValue={min} maxValue={max} step={step}>
      <Label>{label}</Label>
      <SliderOutput className="slider-said">{said}</SliderOutput>
      <SliderTrack className="slider-track">
        {({ state }) => (
          <>
            <div className="slider-rail"><div className="slider-fill" style={{ width: `${state.getThumbPercent(0) * 100}%` }} /></div>
            <SliderThumb className="slider-thumb" />
          </>
        )}
      </SliderTrack>
      <div className="slider-ends" aria-hidden><span>{ends[0]}</span><span>{ends[1]}</span></div>
    </Slider>
  );
}
