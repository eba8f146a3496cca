import { IDBFactory } from "fake-indexeddb";
import { openDB } from "idb";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { transposed } from "../music/edits";
import { createTakes } from "./store";
import { keepTakes } from "./storage";
import type { Keeping } from "./storage";
import type { Take } from "./take";
import { newTake } from "./testing";
import "fake-indexeddb/auto";

let name = "";
let count = 0;
const tabs: Keeping[] = [];

/** The page in a tab: its store, and how it is kept. */
async function open() {
  const store = createTakes();
  const keeping = keepTakes(store, name);
  tabs.push(keeping);
  await keeping.loaded;
  return { store, keeping, names: () => store.getState().takes.map((take) => take.name) };
}

beforeEach(() => {
  vi.stubGlobal("indexedDB", new IDBFactory());
  name = `takes-${count++}`;
});

afterEach(() => {
  for (const tab of tabs.splice(0)) tab.end();
  vi.unstubAllGlobals();
});

test("takes, their files and the current one survive a reload", async () => {
  const page = await open();
  const first = page.store.getState().add(newTake("One"));
  page.store.getState().add(newTake("Two", { parent: first }));
  page.store.getState().choose(first);
  await page.keeping.flush();
  const { takes } = page.store.getState();
  const again = await open();
  expect(again.store.getState().ready).toBe(true);
  // jsdom's arrays and the database's are of different realms: their bytes are compared.
  const plain = (of: readonly Take[]) => of.map((take) => ({ ...take, midi: [...(take.midi ?? [])] }));
  expect(plain(again.store.getState().takes)).toEqual(plain(takes));
  expect(again.store.getState().currentId).toBe(first);
  expect(again.store.getState().undoable, "what was loaded is no step").toBeNull();
});

test("what was undone or removed is gone after a reload, what was changed is changed", async () => {
  const page = await open();
  const [one = "", two = ""] = page.store.getState().addAll([newTake("One"), newTake("Two")]);
  page.store.getState().add(newTake("Three"));
  await page.keeping.flush();
  page.store.getState().undo();
  page.store.getState().remove(one);
  const piece = transposed(newTake("").piece, 2);
  page.store.getState().change(two, "transpose", piece);
  await page.keeping.flush();
  const again = await open();
  expect(again.names()).toEqual(["Two"]);
  expect(again.store.getState().takes[0]).toMatchObject({ piece, midi: null, asked: null });
});

test("leaving the page saves at once", async () => {
  const page = await open();
  page.store.getState().add(newTake("One"));
  dispatchEvent(new Event("pagehide"));
  await page.keeping.flush();
  expect((await open()).names()).toEqual(["One"]);
});

test("two tabs keep both their takes, and see each other's", async () => {
  const [left, right] = [await open(), await open()];
  left.store.getState().add(newTake("Left"));
  right.store.getState().add(newTake("Right"));
  await Promise.all([left.keeping.flush(), right.keeping.flush()]);
  await vi.waitFor(() => {
    expect(left.names().sort()).toEqual(["Left", "Right"]);
    expect(right.names().sort()).toEqual(["Left", "Right"]);
  });
  const id = left.store.getState().takes.find((take) => take.name === "Right")?.id ?? "";
  left.store.getState().remove(id);
  await left.keeping.flush();
  await vi.waitFor(() => expect(right.names()).toEqual(["Left"]));
  expect((await open()).names()).toEqual(["Left"]);
});

describe("where takes cannot be kept", () => {
  test("without a database the page goes on and says so once", async () => {
    vi.stubGlobal("indexedDB", undefined);
    const page = await open();
    expect(page.store.getState()).toMatchObject({ ready: true, trouble: expect.stringContaining("Download") });
    page.store.getState().dismissTrouble();
    page.store.getState().add(newTake("One"));
    await page.keeping.flush();
    expect(page.names()).toEqual(["One"]);
    expect(page.store.getState().trouble).toBeNull();
  });

  test("a full disk is told, and what waits is saved when there is room again", async () => {
    const page = await open();
    const put = vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(() => {
      throw new DOMException("full", "QuotaExceededError");
    });
    page.store.getState().add(newTake("One"));
    await page.keeping.flush();
    expect(page.store.getState().trouble).toContain("no room");
    put.mockRestore();
    page.store.getState().add(newTake("Two"));
    await page.keeping.flush();
    expect(page.store.getState().trouble).toBeNull();
    expect((await open()).names()).toEqual(["One", "Two"]);
  });

  test("what fails a second time is told a second time", async () => {
    const page = await open();
    const failing = async () => {
      const put = vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(() => {
        throw new DOMException("full", "QuotaExceededError");
      });
      page.store.getState().add(newTake("More"));
      await page.keeping.flush();
      put.mockRestore();
      return page.store.getState().trouble;
    };
    expect(await failing()).toContain("no room");
    page.store.getState().add(newTake("Fits"));
    await page.keeping.flush();
    expect(page.store.getState().trouble).toBeNull();
    expect(await failing()).toContain("no room");
  });

  test("a database that the browser closed meanwhile is opened anew", async () => {
    const page = await open();
    const closed = vi.spyOn(IDBDatabase.prototype, "transaction").mockImplementationOnce(() => {
      throw new DOMException("The database connection is closing.", "InvalidStateError");
    });
    page.store.getState().add(newTake("One"));
    await page.keeping.flush();
    expect(closed).toHaveBeenCalledTimes(2);
    closed.mockRestore();
    expect(page.store.getState().trouble).toBeNull();
    expect((await open()).names()).toEqual(["One"]);
  });

  test("what cannot be read is told and left as it is", async () => {
    const page = await open();
    page.store.getState().add(newTake("One"));
    await page.keeping.flush();
    const db = await openDB(name);
    await db.put("takes", { version: 99, take: { music: "of a later page" } }, "later");
    await db.put("takes", "broken", "broken");
    const again = await open();
    expect(again.names()).toEqual(["One"]);
    expect(again.store.getState().trouble).toContain("2 takes");
    again.store.getState().add(newTake("Two"));
    await again.keeping.flush();
    expect(await db.get("takes", "broken")).toBe("broken");
    expect(await db.get("takes", "later")).toMatchObject({ version: 99 });
    db.close();
  });
});
