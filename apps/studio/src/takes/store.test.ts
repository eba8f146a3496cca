import { beforeEach, describe, expect, test } from "vitest";
import { applyEdit, transposed } from "../music/edits";
import { seeded, whole } from "../music/testing";
import { MOST_STEPS } from "./history";
import { createTakes, currentOf } from "./store";
import { newTake } from "./testing";

let store = createTakes();
const now = () => store.getState();
const names = () => now().takes.map((take) => take.name);

beforeEach(() => {
  store = createTakes();
});

test("a new take is the current one, and has a name of its own", () => {
  now().add(newTake("Melody"));
  now().add(newTake("Melody"));
  const ids = now().addAll([newTake("Infill 1"), newTake("Infill 2")], "add 2 variants");
  expect(names()).toEqual(["Melody", "Melody (2)", "Infill 1", "Infill 2"]);
  expect(currentOf(now())?.name).toBe("Infill 1");
  expect(new Set(now().takes.map((take) => take.id)).size).toBe(4);
  expect(ids).toEqual(now().takes.slice(2).map((take) => take.id));
});

describe("an edit by hand", () => {
  test("makes the server's file and settings void, and undo brings them back", () => {
    const id = now().add(newTake("Melody"));
    const before = currentOf(now());
    now().change(id, "delete 2 notes", applyEdit(before?.piece ?? fail(), { kind: "delete", notes: [0, 1] }));
    expect(currentOf(now())).toMatchObject({ midi: null, asked: null, originality: null });
    expect(currentOf(now())?.piece.notes).toHaveLength(1);
    expect(now().undoable).toBe("delete 2 notes");
    now().undo();
    expect(currentOf(now())).toBe(before);
    expect(now().redoable).toBe("delete 2 notes");
    now().redo();
    expect(currentOf(now())?.piece.notes).toHaveLength(1);
  });

  test("that changes nothing is none", () => {
    const id = now().add(newTake("Melody"));
    now().change(id, "move a note", currentOf(now())?.piece ?? fail());
    expect(now().undoable).toBe("add Melody");
    expect(currentOf(now())?.midi).not.toBeNull();
  });
});

test("what is done after an undo has no redo", () => {
  now().add(newTake("One"));
  now().add(newTake("Two"));
  now().undo();
  expect(now().redoable).toBe("add Two");
  now().add(newTake("Three"));
  expect(now().redoable).toBeNull();
  expect(names()).toEqual(["One", "Three"]);
});

test("removing shows the neighbour, and undo puts the take back in its place", () => {
  const [first = "", second = ""] = now().addAll([newTake("One"), newTake("Two"), newTake("Three")]);
  now().choose(second);
  now().remove(second);
  expect(currentOf(now())?.name).toBe("Three");
  now().undo();
  expect(names()).toEqual(["One", "Two", "Three"]);
  expect(now().currentId).toBe(second);
  now().remove(first);
  expect(now().currentId).toBe(second);
});

test("renaming is undone; an empty name is no name", () => {
  const id = now().add(newTake("One"));
  now().rename(id, "   ");
  now().rename(id, "  Waltz ");
  expect(names()).toEqual(["Waltz"]);
  expect(now().undoable).toBe("rename One");
  now().undo();
  expect(names()).toEqual(["One"]);
});

test("any walk of steps is walked back to nothing, and forth again", () => {
  for (let seed = 0; seed < 20; seed++) {
    store = createTakes();
    const random = seeded(seed);
    for (let step = 0; step < 30; step++) {
      const take = now().takes[whole(random, 0, now().takes.length - 1)];
      const kind = take ? whole(random, 0, 4) : 0;
      if (kind === 0 || !take) now().add(newTake("Take"));
      else if (kind === 1) now().remove(take.id);
      else if (kind === 2) now().rename(take.id, `Name ${step}`);
      else if (kind === 3) now().change(take.id, "transpose", transposed(take.piece, 1));
      else now().choose(take.id);
    }
    const end = now().takes;
    while (now().undoable) now().undo();
    expect(now().takes).toEqual([]);
    expect(now().currentId).toBeNull();
    while (now().redoable) now().redo();
    expect(now().takes, `seed ${seed}`).toEqual(end);
  }
});

test("the history is bounded", () => {
  const id = now().add(newTake("One"));
  for (let step = 0; step < MOST_STEPS + 20; step++) now().rename(id, `Name ${step}`);
  let steps = 0;
  for (; now().undoable; steps++) now().undo();
  expect(steps).toBe(MOST_STEPS);
});

function fail(): never {
  throw new Error("there is no take");
}
