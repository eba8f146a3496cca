import { useEffect } from "react";
import { generate } from "../panels/make/making";
import { player } from "../sound/the-player";
import { useView } from "../takes/view";
import { redo, undo } from "./takes-list";
import type { Tool } from "../roll/roll";

const TYPING = "input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable=true]";
const PRESSED_BY_SPACE = "button, a, summary, input, [role=slider], [role=option], [role=tab], [role=switch]";
const TOOLS: Readonly<Record<string, Tool>> = { "1": "select", "2": "draw", "3": "erase" };

export function isTyping(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest(TYPING) !== null;
}

/** Where keys mean something else, as in a vote: `data-keys` lists them. */
function hasItsOwn(key: string, target: EventTarget | null): boolean {
  const own = target instanceof Element ? target.closest<HTMLElement>("[data-keys]") : null;
  return own?.dataset["keys"]?.split(" ").includes(key) ?? false;
}

/** A control that was reached by keyboard keeps its space bar; one that was clicked gives it to the music. */
function keepsSpace(target: EventTarget | null): boolean {
  if (!(target instanceof Element)) return false;
  const control = target.closest(PRESSED_BY_SPACE);
  return control !== null && control.matches(":focus-visible");
}

/** The roll goes to its first note, sliders to their least, tabs and lists to their first. */
function hasOwnHome(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest("input, [role=application], [role=tablist], [role=listbox], [role=menu], [role=radiogroup]") !== null;
}

/** Of bars and notes; null where there are none, or where Escape means something nearer: the roll's own, a list that is open. */
function letGo(target: EventTarget | null): (() => void) | null {
  const { selection, chosen, set } = useView.getState();
  if (selection === null && chosen.size === 0) return null;
  if (document.querySelector(".popover") !== null || (target instanceof Element && target.closest("[role=application]") !== null)) return null;
  return () => set({ selection: null, chosen: new Set() });
}

export function playOrPause(): void {
  if (player.state === "playing") player.pause();
  else player.play().catch(() => undefined); // the transport shows the player's trouble
}

/** What a key does wherever one stands; null: nothing. */
function actionOf(event: KeyboardEvent, showShortcuts: () => void): (() => void) | null {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "enter") return () => void generate();
    if (isTyping(event.target)) return null;
    if (key === "z") return event.shiftKey ? redo : undo;
    return key === "y" ? redo : null;
  }
  if (isTyping(event.target) || event.altKey || hasItsOwn(key, event.target)) return null;
  if (key === " ") return keepsSpace(event.target) ? null : playOrPause;
  if (key === "?") return showShortcuts;
  if (key === "home") return hasOwnHome(event.target) ? null : () => player.seek(0);
  if (key === "escape") return letGo(event.target);
  const tool = TOOLS[key];
  return tool === undefined ? null : () => useView.getState().set({ tool });
}

/** Before the controls see it: a clicked button would take the space bar for itself. */
export function useKeys(showShortcuts: () => void): void {
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (document.querySelector("[role=dialog]") !== null) return;
      const action = actionOf(event, showShortcuts);
      if (action === null) return;
      event.preventDefault();
      event.stopPropagation();
      if (!event.repeat) action();
    };
    window.addEventListener("keydown", pressed, true);
    return () => window.removeEventListener("keydown", pressed, true);
  }, [showShortcuts]);
}
