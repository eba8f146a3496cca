import { create } from "zustand";
import type { Piece } from "../music/piece";
import { EMPTY, applied, inverse, recorded } from "./history";
import type { Change, History, Step } from "./history";
import { keepTakes } from "./storage";
import type { Take } from "./take";

export type NewTake = Omit<Take, "id" | "createdAt">;

export interface Takes {
  /** In the order in which they were made. */
  readonly takes: readonly Take[];
  readonly currentId: string | null;
  /** Whether the takes of earlier visits are there. */
  readonly ready: boolean;
  /** Why takes may be lost, for the page to show; null while all is well. */
  readonly trouble: string | null;
  /** What undo would take back, such as "delete 3 notes". */
  readonly undoable: string | null;
  readonly redoable: string | null;
  readonly history: History;
  /** The new take becomes the current one; its id. */
  add(take: NewTake): string;
  /** Several in one step, such as variants; the first one becomes the current one. Their ids. */
  addAll(takes: readonly NewTake[], what?: string): string[];
  choose(id: string): void;
  rename(id: string, name: string): void;
  remove(id: string): void;
  /** An edit by hand: the file that the server gave and what was asked of it are no longer this music's. */
  change(id: string, what: string, piece: Piece): void;
  undo(): void;
  redo(): void;
  dismissTrouble(): void;
}

const LONGEST_NAME = 80;

/** A store of its own, not kept anywhere; the page has one, `useTakes`. */
export function createTakes() {
  return create<Takes>()((set, get) => {
    function does(what: string, changes: readonly Change[], currentAfter: string | null): void {
      const { takes, currentId, history } = get();
      const step: Step = { what, changes, currentBefore: currentId, currentAfter };
      set({ takes: applied(takes, changes), currentId: currentAfter, ...said(recorded(history, step)) });
    }

    function goes(step: Step, history: History): void {
      const takes = applied(get().takes, step.changes);
      const wanted = step.currentAfter;
      const currentId = takes.some((take) => take.id === wanted) ? wanted : (takes.at(-1)?.id ?? null);
      set({ takes, currentId, ...said(history) });
    }

    function edit(id: string, what: string, change: (take: Take) => Take): void {
      const before = get().takes.find((take) => take.id === id);
      if (before) does(what, [{ id, before, after: change(before) }], get().currentId);
    }

    return {
      takes: [],
      currentId: null,
      ready: false,
      trouble: null,
      ...said(EMPTY),
      add: (take) => get().addAll([take], `add ${take.name}`)[0] ?? "",
      addAll: (given, what) => {
        const first = given[0];
        if (!first) return [];
        // Later than all others, so that the order of making is the order of times.
        const now = Math.max(Date.now(), (get().takes.at(-1)?.createdAt ?? 0) + 1);
        const names = new Set(get().takes.map((take) => take.name));
        const changes = given.map((take, index) => {
          const name = unlike(names, take.name);
          names.add(name);
          const id = newId();
          return { id, before: null, after: { ...take, name, id, createdAt: now + index } };
        });
        const ids = changes.map((change) => change.id);
        does(what ?? `add ${given.length} takes`, changes, ids[0] ?? null);
        return ids;
      },
      choose: (id) => {
        if (get().takes.some((take) => take.id === id)) set({ currentId: id });
      },
      rename: (id, name) => {
        const wanted = name.trim().slice(0, LONGEST_NAME);
        const old = get().takes.find((take) => take.id === id)?.name;
        if (old !== undefined && wanted && wanted !== old) edit(id, `rename ${old}`, (take) => ({ ...take, name: wanted }));
      },
      remove: (id) => {
        const { takes, currentId } = get();
        const at = takes.findIndex((take) => take.id === id);
        const before = takes[at];
        if (!before) return;
        const next = currentId === id ? ((takes[at + 1] ?? takes[at - 1])?.id ?? null) : currentId;
        does(`remove ${before.name}`, [{ id, before, after: null }], next);
      },
      change: (id, what, piece) => {
        if (get().takes.some((take) => take.id === id && take.piece !== piece)) {
          edit(id, what, (take) => ({ ...take, piece, midi: null, asked: null, originality: null }));
        }
      },
      undo: () => {
        const { done, undone } = get().history;
        const step = done.at(-1);
        if (step) goes(inverse(step), { done: done.slice(0, -1), undone: [...undone, step] });
      },
      redo: () => {
        const { done, undone } = get().history;
        const step = undone.at(-1);
        if (step) goes(step, { done: [...done, step], undone: undone.slice(0, -1) });
      },
      dismissTrouble: () => set({ trouble: null }),
    };
  });
}

/** The take that is shown and heard. */
export function currentOf({ takes, currentId }: Pick<Takes, "takes" | "currentId">): Take | null {
  return takes.find((take) => take.id === currentId) ?? null;
}

function said(history: History): Pick<Takes, "history" | "undoable" | "redoable"> {
  return { history, undoable: history.done.at(-1)?.what ?? null, redoable: history.undone.at(-1)?.what ?? null };
}

/** The name, with a number where another take has it. */
function unlike(names: ReadonlySet<string>, name: string): string {
  const wanted = name.trim().slice(0, LONGEST_NAME) || "Take";
  if (!names.has(wanted)) return wanted;
  let number = 2;
  while (names.has(`${wanted} (${number})`)) number++;
  return `${wanted} (${number})`;
}

/** Unlike that of any other tab's takes; `randomUUID` is there on secure pages only. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const useTakes = createTakes();
keepTakes(useTakes);
