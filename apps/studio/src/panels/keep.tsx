import { AudioLines, Copy, Download, FileMusic, Image as ImageIcon } from "lucide-react";
import { useState } from "react";
import { Button, Input, Label, ProgressBar, TextField } from "react-aria-components";
import { currentOf, useTakes } from "../takes/store";
import type { Take } from "../takes/take";
import { useView } from "../takes/view";
import { NothingYet } from "../ui/nothing-yet";
import { copyLink, keepAs, useKeeping } from "./keep/keeping";
import type { Form, Linked } from "./keep/keeping";
import "./change/change.css";
import "./keep/keep.css";

/** Take the music along: files, and a link that makes it again. */
export function Keep() {
  const take = useTakes(currentOf);
  const growing = useView((view) => view.growing !== null);
  if (!take || growing) {
    return <NothingYet coming={growing}>{growing ? "New music is coming; when it is here, you can download it." : "Here you download your music, or copy a link to it. Make a piece first."}</NothingYet>;
  }
  return (
    <div className="keep">
      <Files take={take} />
      <Link key={take.id + String(take.asked?.seed)} take={take} />
      <p className="hint">Your takes stay in this browser, also after a reload. If you clear the browser's data, they are gone: download what you love.</p>
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
            <Icon aria-hidden size={22} className="download-form" />
            <span className="download-text"><span className="download-name">{name}</span><span className="hint">{busy === id ? "Making it…" : about}</span></span>
            <Download aria-hidden size={18} />
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
      <p className="hint">It holds all settings and the seed, the number that all chance came from: whoever opens it at this server gets the same notes.</p>
      <Button className="outlined-wide" onPress={() => void copyLink(take).then(setLinked)}><Copy aria-hidden size={16} /> Copy link</Button>
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
