import type { ReactNode } from "react";
import { Button, ProgressBar, Switch } from "react-aria-components";
import type { Kindly } from "../server/problems";

/** Work whose end nobody knows. */
export function Waiting({ children }: { readonly children: string }) {
  return (
    <ProgressBar isIndeterminate aria-label={children} className="u-waiting">
      <span>{children}…</span>
      <span className="u-waiting-rail" aria-hidden><span className="u-waiting-run" /></span>
    </ProgressBar>
  );
}

export function ProblemNote({ problem, again }: { readonly problem: Kindly; readonly again?: (() => void) | undefined }) {
  return (
    <div role="alert" className="u-problem">
      <p><strong>{problem.what}</strong> {problem.todo}</p>
      {again ? <Button className="quiet-button" onPress={again}>Try again</Button> : null}
    </div>
  );
}

/** A probability as a bar; its number stands beside it in words. */
export function ChanceBar({ share, strong = false }: { readonly share: number; readonly strong?: boolean }) {
  return (
    <span className="u-bar" aria-hidden>
      <span className={strong ? "u-bar-fill u-strong" : "u-bar-fill"} style={{ width: `${Math.max(1, 100 * Math.min(1, share))}%` }} />
    </span>
  );
}

export function Section({ title, children }: { readonly title: string; readonly children: ReactNode }) {
  return (
    <section className="u-section" aria-label={title}>
      <h3>{title}</h3>
      {children}
    </section>
  );
}

export function SwitchRow({ children, on, onChange }: { readonly children: string; readonly on: boolean; readonly onChange: (on: boolean) => void }) {
  return (
    <Switch className="switch" isSelected={on} onChange={onChange}>
      <span className="switch-track"><span className="switch-thumb" /></span>
      {children}
    </Switch>
  );
}
