import { currentOf, useTakes } from "../takes/store";
import { useView } from "../takes/view";
import { BeforeAfter } from "./change/before-after";
import { ByHand } from "./change/by-hand";
import { OpenFile } from "./change/open-file";
import { WithModel } from "./change/with-model";
import "./change/change.css";

/** Work on music that is there: a file of the user's, or a take. */
export function Change() {
  const take = useTakes(currentOf);
  const growing = useView((view) => view.growing !== null);
  return (
    <div className="change">
      {take && !growing ? (
        <>
          <BeforeAfter current={take} />
          <WithModel take={take} />
          <ByHand take={take} />
        </>
      ) : (
        <p className="hint">{growing ? "New music is coming; when it is here, you can change it." : "Make a piece first, or open one of yours."}</p>
      )}
      <OpenFile />
    </div>
  );
}
