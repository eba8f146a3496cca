import { CircleHelp, Monitor, Moon, Sun } from "lucide-react";
import type { ReactNode } from "react";
import { Button, ToggleButton, ToggleButtonGroup } from "react-aria-components";
import { useServer } from "../server/connection";
import { chooseTheme, useTheme } from "./theme";
import type { Theme } from "./theme";
import "./header.css";

export function Header({ onShortcuts }: { onShortcuts: () => void }) {
  return (
    <header className="header">
      <Mark />
      <h1 className="brand">MIDI <span>AI</span> Factory</h1>
      <Connection />
      <ThemeSwitch />
      <Button className="icon-button" aria-label="Keyboard shortcuts" onPress={onShortcuts}><CircleHelp aria-hidden size={20} /></Button>
    </header>
  );
}

function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" width="30" height="30" aria-hidden>
      <rect width="32" height="32" rx="8" fill="#10263A" />
      <g fill="#56B4E9"><rect x="5" y="19" width="8" height="4" rx="2" /><rect x="12" y="13" width="8" height="4" rx="2" /><rect x="19" y="7" width="8" height="4" rx="2" fill="#E69F00" /><rect x="19" y="19" width="8" height="4" rx="2" /></g>
    </svg>
  );
}

function Connection() {
  const { state, models } = useServer();
  const said = state === "away" ? "Server away" : state === "locked" ? "Token needed" : models.length === 0 ? "Connecting" : "Ready";
  const [first] = models;
  const which = models.length > 1 ? `${models.length} models` : first?.name;
  return (
    <p className="connection" data-state={state === "here" && models.length === 0 ? "asking" : state}>
      <span className="connection-dot" aria-hidden /> {said}{state === "here" && which ? <span className="connection-model"> · {which}</span> : null}
    </p>
  );
}

const THEMES: readonly { id: Theme; name: string; icon: ReactNode }[] = [
  { id: "system", name: "As the system", icon: <Monitor aria-hidden size={16} /> },
  { id: "light", name: "Light", icon: <Sun aria-hidden size={16} /> },
  { id: "dark", name: "Dark", icon: <Moon aria-hidden size={16} /> },
];

function ThemeSwitch() {
  const theme = useTheme(({ theme }) => theme);
  return (
    <ToggleButtonGroup
      className="segments theme"
      aria-label="Colours"
      selectionMode="single"
      disallowEmptySelection
      selectedKeys={[theme]}
      onSelectionChange={(keys) => {
        const [chosen] = [...keys];
        chooseTheme(chosen === "light" || chosen === "dark" ? chosen : "system");
      }}
    >
      {THEMES.map(({ id, name, icon }) => <ToggleButton key={id} id={id} className="segment" aria-label={name}>{icon}</ToggleButton>)}
    </ToggleButtonGroup>
  );
}
