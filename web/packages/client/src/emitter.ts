import type { Unsubscribe } from "./types.js";

type Handler = (...args: any[]) => unknown;

/** Calls a function of the user's. What it throws is reported as uncaught, and stops nobody else. */
export function safely(fn: Handler, ...args: unknown[]): void {
  try {
    fn(...args);
  } catch (e) {
    queueMicrotask(() => {
      throw e;
    });
  }
}

/** Handlers by key, called in the order in which they were added. */
export class Handlers {
  #map = new Map<string, Set<{ fn: Handler; once: boolean | undefined }>>();

  add(key: string, fn: Handler, once?: boolean): Unsubscribe {
    const h = { fn, once };
    let set = this.#map.get(key);
    if (!set) this.#map.set(key, (set = new Set()));
    set.add(h);
    return () => void set.delete(h);
  }

  /** Without `fn`: all of that key. */
  off(key: string, fn?: Handler): void {
    for (const h of this.#map.get(key) ?? []) if (!fn || h.fn === fn) this.#map.get(key)!.delete(h);
  }

  /** Takes all out, also those that are being called. */
  clear(): void {
    for (const key of this.#map.keys()) this.off(key);
  }

  /** One that is taken out meanwhile is not called, nor is one that is added. */
  call(key: string, ...args: unknown[]): void {
    const set = this.#map.get(key);
    for (const h of [...(set ?? [])]) {
      if (!set!.has(h)) continue;
      if (h.once) set!.delete(h);
      safely(h.fn, ...args);
    }
  }
}
