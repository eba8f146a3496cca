import { create } from "zustand";

export type Theme = "system" | "light" | "dark";

const KEY = "midifactory.theme";

function kept(): Theme {
  const theme = localStorage.getItem(KEY);
  return theme === "light" || theme === "dark" ? theme : "system";
}

export const useTheme = create<{ theme: Theme }>(() => ({ theme: kept() }));

/** On <html>, where the style sheet and the roll's canvas look; without it the system's choice holds. */
export function applyTheme(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
}

export function chooseTheme(theme: Theme): void {
  localStorage.setItem(KEY, theme);
  applyTheme(theme);
  useTheme.setState({ theme });
}
