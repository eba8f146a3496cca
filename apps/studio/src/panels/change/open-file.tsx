import { FileMusic } from "lucide-react";
import { useEffect } from "react";
import { Button, DropZone, FileTrigger, Text } from "react-aria-components";
import { FILE_LIMITS } from "../../takes/files";
import { openFiles, useOpening } from "./opening";

const LIMITS = `Up to ${FILE_LIMITS.megabytes} MB and ${FILE_LIMITS.notes.toLocaleString("en")} notes. It stays on your computer until you ask the model for something.`;

export function OpenFile() {
  const { problem } = useOpening();
  return (
    <section className="change-part" aria-labelledby="open-title">
      <h2 id="open-title">A MIDI file of yours</h2>
      <DropZone className="drop-zone" aria-label="Drop MIDI files here" onDrop={(event) => void dropped(event.items)}>
        <FileMusic aria-hidden size={22} />
        <Text slot="label">Drop it anywhere, or</Text>
        <FileTrigger acceptedFileTypes={[".mid", ".midi", "audio/midi"]} allowsMultiple onSelect={(files) => void openFiles([...(files ?? [])])}>
          <Button>Choose a file</Button>
        </FileTrigger>
      </DropZone>
      <p className="hint">{LIMITS}</p>
      {problem ? <div className="problem" role="alert"><strong>{problem.what}</strong> {problem.todo}</div> : null}
    </section>
  );
}

async function dropped(items: readonly { kind: string; getFile?: () => Promise<File> }[]): Promise<void> {
  const files = await Promise.all(items.flatMap((item) => (item.kind === "file" && item.getFile ? [item.getFile()] : [])));
  if (files.length) await openFiles(files);
}

/** A file that is dropped beside the zone is opened, too: the browser would leave the page for it. */
export function DroppedFiles() {
  useEffect(() => {
    const over = (event: DragEvent) => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    };
    const drop = (event: DragEvent) => {
      if (event.defaultPrevented) return;
      const files = [...(event.dataTransfer?.files ?? [])];
      if (files.length === 0) return;
      event.preventDefault();
      void openFiles(files);
    };
    window.addEventListener("dragover", over);
    window.addEventListener("drop", drop);
    return () => {
      window.removeEventListener("dragover", over);
      window.removeEventListener("drop", drop);
    };
  }, []);
  return null;
}
