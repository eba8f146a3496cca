import type { Take } from "./take";

/** What became of one take: null before it was there, or when it is gone. */
export interface Change {
  readonly id: string;
  readonly before: Take | null;
  readonly after: Take | null;
}

/** Something that the user did, which can be taken back as a whole. */
export interface Step {
  /** Such as "delete 3 notes". */
  readonly what: string;
  readonly changes: readonly Change[];
  readonly currentBefore: string | null;
  readonly currentAfter: string | null;
}

export interface History {
  readonly done: readonly Step[];
  readonly undone: readonly Step[];
}

export const MOST_STEPS = 200;
export const EMPTY: History = { done: [], undone: [] };

export function recorded(history: History, step: Step): History {
  return { done: [...history.done, step].slice(-MOST_STEPS), undone: [] };
}

export function inverse(step: Step): Step {
  return {
    what: step.what,
    changes: step.changes.map(({ id, before, after }) => ({ id, before: after, after: before })),
    currentBefore: step.currentAfter,
    currentAfter: step.currentBefore,
  };
}

/** The takes after changes, in the order in which they were made. */
export function applied(takes: readonly Take[], changes: readonly Pick<Change, "id" | "after">[]): readonly Take[] {
  const byId = new Map(takes.map((take) => [take.id, take]));
  for (const { id, after } of changes) {
    if (after) byId.set(id, after);
    else byId.delete(id);
  }
  return [...byId.values()].sort((one, other) => one.createdAt - other.createdAt || (one.id < other.id ? -1 : 1));
}
