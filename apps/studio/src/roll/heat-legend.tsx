import { useEffect, useState } from "react";
import { heatColour } from "./heat";
import { onThemeChange, readTheme } from "./theme";
import "./roll.css";

const STOPS = 12;

export interface HeatLegendProps {
  /** What the calm end means, such as "expected". */
  low: string;
  high: string;
}

/** What the colours of `heat` say. */
export function HeatLegend({ low, high }: HeatLegendProps) {
  const [probe, setProbe] = useState<HTMLElement | null>(null);
  const [dark, setDark] = useState(false);
  useEffect(() => {
    if (!probe) return;
    const look = () => setDark(readTheme(probe).dark);
    look();
    return onThemeChange(look);
  }, [probe]);
  const stops = Array.from({ length: STOPS + 1 }, (_, stop) => heatColour(stop / STOPS, dark));
  return (
    <p className="heat-legend">
      <span ref={setProbe} className="roll-theme" aria-hidden="true" />
      <span>{low}</span>
      <span className="heat-legend-scale" role="img" aria-label={`Colours from ${low} to ${high}`} style={{ background: `linear-gradient(90deg, ${stops.join(", ")})` }} />
      <span>{high}</span>
    </p>
  );
}
