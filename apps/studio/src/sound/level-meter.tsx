import { useCallback } from "react";
import type { Player } from "./player";
import { useFrames } from "./use-frames";

const FLOOR_DECIBELS = -48;
const STEPS = 24;

/** Shows that there is sound, also to those who cannot hear it now. */
export function LevelMeter({ player, active }: { readonly player: Player; readonly active: boolean }) {
  const read = useCallback(() => {
    const decibels = 20 * Math.log10(Math.max(player.levelNow(), 1e-6));
    return Math.max(0, Math.round((1 - decibels / FLOOR_DECIBELS) * STEPS)) / STEPS;
  }, [player]);
  const share = useFrames(read, active);
  return (
    <div className="level-meter" aria-hidden>
      <div className="level-meter-bar" style={{ transform: `scaleX(${String(active ? Math.min(1, share) : 0)})` }} />
    </div>
  );
}
