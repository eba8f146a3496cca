import { openDB } from "idb";
import type { DBSchema, IDBPDatabase } from "idb";
import type { StoreApi } from "zustand";
import { applied } from "./history";
import type { Takes } from "./store";
import type { Take } from "./take";

interface Stored extends DBSchema {
  takes: { key: string; value: unknown };
  view: { key: string; value: unknown };
}

const NAME = "midifactory-studio";
/** Of what stands in a record. A record of another version is left alone. */
const VERSION = 1;
const SAVE_AFTER_MS = 300;
const CURRENT = "current";
const NOT_KEPT = "This browser does not keep your takes: it has no room, or the window is private. Download what you want to keep.";

type Store = Pick<StoreApi<Takes>, "getState" | "setState" | "subscribe">;

export interface Keeping {
  /** When the takes of earlier visits are there, or it is known that there can be none. */
  readonly loaded: Promise<void>;
  /** Save at once what waits. */
  flush(): Promise<void>;
  end(): void;
}

/**
 * Keep the takes of a store in IndexedDB: each take is a record of its own, written when it changes, so that two tabs do
 * not overwrite each other's. Tabs tell each other what they wrote. Where nothing can be kept, the page goes on and says so.
 */
export function keepTakes(store: Store, name = NAME): Keeping {
  const waiting = new Map<string, Take | null>();
  const channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel(name);
  let database = open(name);
  let saving: ReadonlySet<string> = new Set();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let working: Promise<void> = Promise.resolve();
  let merging = false; // what another tab wrote is not written again
  let currentSaved: string | null = null;
  let told = false;

  async function save(): Promise<void> {
    const changes = [...waiting];
    const { currentId } = store.getState();
    if (changes.length === 0 && currentId === currentSaved) return;
    waiting.clear();
    saving = new Set(changes.map(([id]) => id));
    try {
      await written(changes, currentId);
      currentSaved = currentId;
      told = false;
      channel?.postMessage(changes.map(([id]) => id));
      store.setState((state) => (state.trouble === NOT_KEPT ? { trouble: null } : state));
    } catch {
      for (const [id, take] of changes) if (!waiting.has(id)) waiting.set(id, take); // tried again with the next change
      store.setState((state) => (told ? state : { trouble: NOT_KEPT }));
      told = true;
    } finally {
      saving = new Set();
    }
  }

  /** Some browsers close the database of a page that sleeps: then it is opened anew. */
  async function written(changes: readonly (readonly [string, Take | null])[], currentId: string | null): Promise<void> {
    try {
      await write(await database, changes, currentId);
    } catch {
      void database.then((db) => db.close(), () => undefined);
      database = open(name);
      await write(await database, changes, currentId);
    }
  }

  function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    working = working.then(save);
    return working;
  }

  const unsubscribe = store.subscribe((state, before) => {
    if (merging || (state.takes === before.takes && state.currentId === before.currentId)) return;
    const old = new Map(before.takes.map((take) => [take.id, take]));
    for (const take of state.takes) {
      if (old.get(take.id) !== take) waiting.set(take.id, take);
      old.delete(take.id);
    }
    for (const id of old.keys()) waiting.set(id, null);
    timer ??= setTimeout(() => void flush(), SAVE_AFTER_MS);
  });

  function merge(found: ReadonlyMap<string, Take | null>, more: Partial<Takes> = {}): void {
    merging = true;
    store.setState((state) => {
      const changes = [...found].filter(([id]) => !waiting.has(id) && !saving.has(id)).map(([id, after]) => ({ id, after }));
      const takes = applied(state.takes, changes);
      const wanted = state.currentId ?? more.currentId;
      const currentId = takes.some((take) => take.id === wanted) ? (wanted ?? null) : (takes.at(-1)?.id ?? null);
      return { ...more, takes, currentId };
    });
    merging = false;
  }

  async function load(): Promise<void> {
    try {
      const { takes, unreadable, current } = await read(await database);
      currentSaved = current;
      const trouble = unreadable === 0 ? {} : { trouble: unreadableSaid(unreadable) };
      merge(new Map(takes.map((take) => [take.id, take])), { ready: true, currentId: current, ...trouble });
    } catch {
      told = true;
      store.setState({ ready: true, trouble: NOT_KEPT });
    }
  }

  async function hear(ids: unknown): Promise<void> {
    if (!Array.isArray(ids)) return;
    try {
      const db = await database;
      const found = new Map<string, Take | null>();
      for (const id of ids.map(String)) {
        const record = await db.get("takes", id);
        const take = takeIn(record);
        if (take || record === undefined) found.set(id, take);
      }
      merge(found);
    } catch {
      // The other tab has its takes; they are read at the next visit.
    }
  }

  const leave = () => void flush();
  channel?.addEventListener("message", (event: MessageEvent) => void hear(event.data));
  addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", leave);

  return {
    loaded: load(),
    flush,
    end: () => {
      unsubscribe();
      clearTimeout(timer);
      channel?.close();
      removeEventListener("pagehide", leave);
      document.removeEventListener("visibilitychange", leave);
      void database.then((db) => db.close(), () => undefined);
    },
  };
}

async function open(name: string): Promise<IDBPDatabase<Stored>> {
  const database = await openDB<Stored>(name, 1, {
    upgrade: (fresh) => {
      fresh.createObjectStore("takes");
      fresh.createObjectStore("view");
    },
    // A later page in another tab may bring another form of the database.
    blocking: () => database.close(),
  });
  return database;
}

async function write(db: IDBPDatabase<Stored>, changes: readonly (readonly [string, Take | null])[], currentId: string | null): Promise<void> {
  const transaction = db.transaction(["takes", "view"], "readwrite");
  const takes = transaction.objectStore("takes");
  const writes = changes.map(([id, take]) => (take ? takes.put({ version: VERSION, take }, id) : takes.delete(id)));
  await Promise.all([...writes, transaction.objectStore("view").put(currentId, CURRENT), transaction.done]);
}

async function read(db: IDBPDatabase<Stored>): Promise<{ takes: Take[]; unreadable: number; current: string | null }> {
  const records = await db.getAll("takes");
  const takes = records.map(takeIn).filter((take) => take !== null);
  const current = await db.get("view", CURRENT);
  return { takes, unreadable: records.length - takes.length, current: typeof current === "string" ? current : null };
}

function unreadableSaid(count: number): string {
  const those = count === 1 ? "One take of an earlier visit" : `${count} takes of earlier visits`;
  return `${those} cannot be read by this version of the page. Nothing was deleted: what this browser stored is left as it is.`;
}

/** The take in a record, null for what is none. */
function takeIn(record: unknown): Take | null {
  if (!isObject(record) || record.version !== VERSION || !isObject(record.take)) return null;
  const { id, name, createdAt, piece, midi } = record.take;
  const whole =
    typeof id === "string" &&
    typeof name === "string" &&
    typeof createdAt === "number" &&
    (midi === null || ArrayBuffer.isView(midi)) &&
    isObject(piece) &&
    [piece.notes, piece.tracks, piece.tempos, piece.metres].every((list) => Array.isArray(list) && list.every(isObject));
  return whole ? (record.take as unknown as Take) : null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
