import { create } from "zustand";
import { say } from "../../frame/saying";
import { MidiUnreadable } from "../../music/midi";
import type { Kindly } from "../../server/problems";
import { takeOfFile } from "../../takes/files";
import { useTakes } from "../../takes/store";
import type { NewTake } from "../../takes/store";

/** What was wrong with the files that were opened last. */
export const useOpening = create<{ readonly problem: Kindly | null }>(() => ({ problem: null }));

/** Each file becomes a take; those that cannot be read are told. */
export async function openFiles(files: readonly File[]): Promise<void> {
  const takes: NewTake[] = [];
  let problem: Kindly | null = null;
  for (const file of files) {
    try {
      takes.push(await takeOfFile(file));
    } catch (error) {
      if (error instanceof MidiUnreadable) problem = { what: `${file.name}: ${error.message}`, todo: error.todo };
      else problem = { what: `${file.name} could not be read.`, todo: "Choose it again." };
    }
  }
  useOpening.setState({ problem });
  if (takes.length) useTakes.getState().addAll(takes, takes.length === 1 ? `open ${takes[0]?.name ?? ""}` : `open ${takes.length} files`);
  say(problem ? `${problem.what} ${problem.todo}` : `${takes.map((take) => take.name).join(", ")} opened.`);
}
