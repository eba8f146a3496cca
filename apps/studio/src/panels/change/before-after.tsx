import { ToggleButton, ToggleButtonGroup } from "react-aria-components";
import { useTakes } from "../../takes/store";
import type { Take } from "../../takes/take";

/** A take and what was made of it: that of the current take's parent, else its own. */
export function familyOf(takes: readonly Take[], current: Take): readonly Take[] {
  const root = takes.find((take) => take.id === current.parent) ?? current;
  const made = takes.filter((take) => take.parent === root.id);
  return made.length ? [root, ...made] : [];
}

/** Hear them one after another: the music goes on from where it is, in the other take. */
export function BeforeAfter({ current }: { current: Take }) {
  const { takes, choose } = useTakes();
  const family = familyOf(takes, current);
  if (family.length === 0) return null;
  return (
    <section className="change-family" aria-labelledby="before-title">
      <h2 id="before-title">Before and after</h2>
      <ToggleButtonGroup
        className="segments family"
        aria-labelledby="before-title"
        selectionMode="single"
        disallowEmptySelection
        selectedKeys={[current.id]}
        onSelectionChange={(keys) => {
          const chosen = family.find((take) => keys.has(take.id));
          if (chosen) choose(chosen.id);
        }}
      >
        {family.map((take, index) => (
          <ToggleButton key={take.id} id={take.id} className="segment">{index === 0 ? `Before: ${take.name}` : take.name}</ToggleButton>
        ))}
      </ToggleButtonGroup>
      <p className="hint">Switch while it plays: the music goes on at the same place.</p>
    </section>
  );
}
