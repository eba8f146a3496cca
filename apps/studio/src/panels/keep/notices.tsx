import { Archive, Link2 } from "lucide-react";
import { useEffect, useState } from "react";
import { Button } from "react-aria-components";
import { withServer } from "../../server/connection";
import { kindly } from "../../server/problems";
import { isStopped } from "../../server/work";
import { ModelGone, isTakeLink, perform, readLink } from "../../takes/link";
import { useTakes } from "../../takes/store";
import type { Asked } from "../../takes/take";
import { DroppedFiles } from "../change/open-file";

/** What the page has to say of takes, whatever panel is shown. */
export function Notices() {
  return (
    <>
      <DroppedFiles />
      <TakesTrouble />
      <OpenedLink />
    </>
  );
}

function TakesTrouble() {
  const { trouble, dismissTrouble } = useTakes();
  if (trouble === null) return null;
  return (
    <div className="banner" role="status">
      <Archive aria-hidden size={18} />
      <p>{trouble}</p>
      <Button className="quiet-button" onPress={dismissTrouble}>I see</Button>
    </div>
  );
}

type Opened = { readonly asked: Asked | null };

/** A take's link in the address: asked first, since making it is work for the server. */
function OpenedLink() {
  const [opened, setOpened] = useState<Opened | null>(null);
  useEffect(() => {
    let gone = false;
    const read = () => {
      const { hash } = location;
      if (!isTakeLink(hash)) setOpened(null);
      else void readLink(hash).then((asked) => gone || setOpened({ asked }));
    };
    read();
    window.addEventListener("hashchange", read);
    return () => {
      gone = true;
      window.removeEventListener("hashchange", read);
    };
  }, []);
  if (opened === null) return null;
  // Not again at a reload: what was made is a take by then.
  const done = () => {
    history.replaceState(null, "", location.pathname + location.search);
    setOpened(null);
  };
  return opened.asked ? <Offer asked={opened.asked} done={done} /> : <Damaged done={done} />;
}

function Damaged({ done }: { done: () => void }) {
  return (
    <div className="banner" role="alert">
      <Link2 aria-hidden size={18} />
      <p>This link to a piece is damaged; perhaps a part of it was cut off. Copy it once more, as a whole.</p>
      <Button className="quiet-button" onPress={done}>I see</Button>
    </div>
  );
}

const WORDS: Record<Asked["kind"], string> = { generate: "a piece", continue: "a continuation", infill: "a piece with bars made anew" };

function Offer({ asked, done }: { asked: Asked; done: () => void }) {
  const [state, setState] = useState<{ said: string | null; instead: boolean; busy: boolean }>({ said: null, instead: false, busy: false });
  const make = async (withAnyModel: boolean) => {
    setState({ ...state, busy: true });
    try {
      const take = await withServer("Making the linked piece", (signal) => perform(asked, signal, { withAnyModel }));
      useTakes.getState().add(take);
      done();
    } catch (error) {
      setState(problemOf(error));
    }
  };
  return (
    <div className="banner" role="status">
      <Link2 aria-hidden size={18} />
      <p>{state.said ?? `This link makes ${WORDS[asked.kind]} with the model ${asked.model} and the seed ${asked.seed}.`}</p>
      <Button className="quiet-button" isDisabled={state.busy} onPress={() => void make(state.instead)}>{state.instead ? "Make it all the same" : "Make it"}</Button>
      <Button className="quiet-button" onPress={done}>No, thanks</Button>
    </div>
  );
}

function problemOf(error: unknown): { said: string | null; instead: boolean; busy: boolean } {
  if (error instanceof ModelGone && error.present) {
    return { said: `${error.message} With the present one, ${error.present.name}, the notes will be others.`, instead: true, busy: false };
  }
  if (isStopped(error)) return { said: null, instead: false, busy: false };
  const { what, todo } = kindly(error);
  return { said: `${what} ${todo}`.trim(), instead: false, busy: false };
}
