import { currentOf, useTakes } from "../takes/store";
import { useView } from "../takes/view";
import { ByHand } from "./change/by-hand";
import { OpenFile } from "./change/open-file";
import { WithModel } from "./change/with-model";
import { NothingYet } from "../ui/nothing-yet";
import "./change/change.css";

/** Work on music that is there: a file of the user's, or a take. */
export function Change() {
  const take = useTakes(currentOf);
  const growing = useView((view) => view.growing !== null);
  return (
    <div className="change">
      {take && !growing ? (
        <>
          <WithModel take={take} />
          <ByHand take={take} />
        </>
      ) : (
        <NothingYet coming={growing}>{growing ? "New music is coming; when it is here, you can change it." : "Here you change music. Make a piece first, or open one of yours."}</NothingYet>
      )}
      <OpenFile />
    </div>
  );
}
