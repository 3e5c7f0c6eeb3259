import type { QueueItem } from "../types.js";

/** What a queue holds. */
export interface QueueState {
  /** Oldest first; `bytes` is what each counts for. */
  items: (QueueItem & { bytes: number })[];
  /** Oldest first, 100 at most. */
  dead: { item: QueueItem; code: string; message: string }[];
  /** Who sends a lane until when, in epoch milliseconds, where there are no Web Locks. */
  leases: Record<string, { by: string; until: number }>;
}

/** Where a queue is kept. Tabs that have the same one see each other's changes. */
export interface QueueStore {
  /**
   * Lets `fn` look at the state, and change it. Resolves when that is as safe
   * as the store makes it, with the state and what `fn` has returned. One change at a time.
   */
  change<T>(fn: (state: QueueState) => T): Promise<[QueueState, T]>;
}

const fresh = (): QueueState => ({ items: [], dead: [], leases: {} });

const list = (v: unknown): any[] => (Array.isArray(v) ? v : []);

/** What is stored, as far as it makes sense: other scripts may write there, too. */
const sound = (s: any): QueueState => ({
  items: list(s?.items).filter((i) => typeof i?.event === "string" && Array.isArray(i.args) && Number.isFinite(i.bytes)),
  dead: list(s?.dead).filter((d) => d?.item),
  leases: Object(s?.leases),
});

/** A store that ends with the page. */
export function memoryStore(state: QueueState = fresh()): QueueStore {
  return {
    async change(fn) {
      state = { items: [...state.items], dead: [...state.dead], leases: {} };
      return [state, fn(state)];
    },
  };
}

/** Opens a store in IndexedDB. Rejects where that fails, or is blocked for 7 s: a device may be slow. */
export function idbStore(factory: IDBFactory, name: string): Promise<QueueStore> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("IndexedDB does not answer")), 7000);
    const open = factory.open(name, 1);
    open.onupgradeneeded = () => open.result.createObjectStore("q");
    open.onerror = () => {
      clearTimeout(late);
      reject(open.error);
    };
    open.onsuccess = () => {
      clearTimeout(late);
      const db = open.result;
      db.onversionchange = () => db.close(); // somebody deletes it
      resolve({
        change: (fn) =>
          new Promise((done, fail) => {
            const tx = db.transaction("q", "readwrite", { durability: "strict" });
            const store = tx.objectStore("q");
            const got = store.get("state");
            let out: [QueueState, any];
            got.onsuccess = () => {
              const state = sound(got.result);
              const before = JSON.stringify([state.items.map((i) => i.id), state.dead.length, state.leases]);
              out = [state, fn(state)];
              if (before !== JSON.stringify([state.items.map((i) => i.id), state.dead.length, state.leases]))
                store.put(state, "state");
            };
            tx.oncomplete = () => done(out);
            tx.onabort = () => fail(tx.error);
          }),
      });
    };
  });
}
