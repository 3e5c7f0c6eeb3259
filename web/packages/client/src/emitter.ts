import type { Unsubscribe } from "./types.js";

/** Runs a user's callback. What it throws is reported as uncaught, and stops nobody else. */
export function safely<A extends unknown[]>(fn: (...args: A) => unknown, ...args: A): void {
  try {
    fn(...args);
  } catch (e) {
    report(e);
  }
}

/** Reports an error that nobody waits for, as an uncaught one. */
export function report(e: unknown): void {
  queueMicrotask(() => {
    throw e;
  });
}

/** Handlers by event name. */
export class Emitter<M> {
  readonly #handlers = new Map<keyof M, Set<{ fn: (...args: any[]) => unknown; once: boolean | undefined }>>();

  /** A handler that is added twice is called twice. */
  on<K extends keyof M>(event: K, fn: (payload: M[K], ...more: any[]) => unknown, once?: boolean): Unsubscribe {
    const all = this.#handlers.get(event) ?? new Set();
    this.#handlers.set(event, all);
    const entry = { fn, once };
    all.add(entry);
    return () => void all.delete(entry);
  }

  /** Takes a handler of an event back; without one all of them. */
  off(event: keyof M, fn?: (...args: any[]) => unknown): void {
    const all = this.#handlers.get(event);
    for (const entry of all ?? []) if (!fn || entry.fn === fn) all!.delete(entry);
  }

  /** Calls the handlers in their order, but not those that an earlier one has taken back. */
  emit<K extends keyof M>(event: K, ...args: [payload: M[K], ...more: unknown[]]): void {
    const all = this.#handlers.get(event);
    if (!all?.size) return; // most have none, and events come by thousands
    for (const entry of [...all]) {
      if (!all.has(entry)) continue;
      if (entry.once) all.delete(entry);
      safely(entry.fn, ...args);
    }
  }

  /** Takes all handlers back. */
  clear(): void {
    this.#handlers.forEach((all) => all.clear());
  }
}
