import { Music2 } from "lucide-react";
import { Button } from "react-aria-components";
import { useView } from "../takes/view";
import "./nothing-yet.css";

/** A panel without music to work on: why, and the way to some; while music is coming there is nothing to do but wait. */
export function NothingYet({ coming, children }: { coming: boolean; children: string }) {
  const set = useView((view) => view.set);
  return (
    <div className="nothing-yet">
      <Music2 aria-hidden size={28} />
      <p>{children}</p>
      {coming ? null : <Button onPress={() => set({ panel: "make" })}>Make a piece</Button>}
    </div>
  );
}
