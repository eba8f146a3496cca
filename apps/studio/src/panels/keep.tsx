import { AudioLines, Copy, FileMusic, Image as ImageIcon } from "lucide-react";
import { useState } from "react";
import { Button, Input, Label, ProgressBar, TextField } from "react-aria-components";
import { currentOf, useTakes } from "../takes/store";
import type { Take } from "../takes/take";
import { useView } from "../takes/view";
import { copyLink, keepAs, useKeeping } from "./keep/keeping";
import type { Form, Linked } from "./keep/keeping";
import "./change/change.css";
import "./keep/keep.css";

/** Take the music along: files, and a link that makes it again. */
export function Keep() {
  const take = useTakes(currentOf);
  const growing = useView((view) => view.growing !== null);
  if (!take || growing) {
    return <p className="hint">{growing ? "New music is coming; when it is here, you can download it." : "Make a piece first; here you download it, or copy a link to it."}</p>;
  }
  return (
    <div className="keep">
      <Files take={take} />
      <Link key={take.id + String(take.asked?.seed)} take={take} />
      <p className="hint">Your takes stay in this browser, also after a reload. Whoever clears the browser's data clears them, too.</p>
    </div>
  );
}

const FORMS: readonly { id: Form; name: string; about: string; icon: typeof Copy }[] = [
  { id: "mid", name: "MIDI", about: "for notation and music programs", icon: FileMusic },
  { id: "wav", name: "WAV", about: "to listen to", icon: AudioLines },
  { id: "png", name: "PNG", about: "a picture of the notes", icon: ImageIcon },
];

function Files({ take }: { take: Take }) {
  const { busy, share, problem } = useKeeping();
  const empty = take.piece.notes.length === 0;
  return (
    <section className="keep-part" aria-labelledby="files-title">
      <h2 id="files-title">Download {take.name}</h2>
      <div className="downloads">
        {FORMS.map(({ id, name, about, icon: Icon }) => (
          <Button key={id} className="download" isDisabled={busy !== null || (empty && id !== "mid")} onPress={() => void keepAs(take, id)} aria-label={`Download ${name}, ${about}`}>
            <Icon aria-hidden size={20} />
            <span className="download-name">{busy === id ? "Making…" : name}</span>
            <span className="hint">{about}</span>
          </Button>
        ))}
      </div>
      {busy === "wav" && share !== null ? (
        <ProgressBar className="sound-progress" value={share * 100} aria-label="Making the sound">
          {({ percentage }) => <div className="sound-rail"><div className="sound-fill" style={{ width: `${percentage ?? 0}%` }} /></div>}
        </ProgressBar>
      ) : null}
      {problem ? <div className="problem" role="alert"><strong>{problem.what}</strong> {problem.todo}</div> : null}
    </section>
  );
}

function Link({ take }: { take: Take }) {
  const [linked, setLinked] = useState<Linked | null>(null);
  return (
    <section className="keep-part" aria-labelledby="link-title">
      <h2 id="link-title">A link to this music</h2>
      <p className="hint">It holds all settings and the seed: whoever opens it at this server gets the same notes.</p>
      <Button onPress={() => void copyLink(take).then(setLinked)}><Copy aria-hidden size={16} /> Copy link</Button>
      <LinkSaid linked={linked} />
    </section>
  );
}

function LinkSaid({ linked }: { linked: Linked | null }) {
  if (linked === null) return null;
  if (linked.link === null) return <p role="status">{linked.why}</p>;
  return (
    <TextField className="field" value={linked.link} isReadOnly>
      <Label>{linked.copied ? "Copied. This is the link:" : "This is the link; copy it from here:"}</Label>
      <Input onFocus={(event) => event.currentTarget.select()} />
    </TextField>
  );
}
