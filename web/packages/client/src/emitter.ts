import type { Unsubscribe } from "./types.js";

/** Runs a user's callback. What it throws is reported as uncaught, and stops nobody else. */
export function safely(fn: () => unknown): void {
  try {
    fn();
  } catch (e) {
    queueMicrotask(() => {
      throw e;
    });
  }
}

/** Handlers by event name. */
export class Emitter<M> {
  readonly #handlers = new Map<keyof M, Set<{ fn: (payload: never) => unknown }>>();

  /** A handler that is added twice is called twice. */
  on<K extends keyof M>(event: K, fn: (payload: M[K]) => unknown): Unsubscribe {
    const all = this.#handlers.get(event) ?? new Set();
    this.#handlers.set(event, all);
    const entry = { fn };
    all.add(entry);
    return () => void all.delete(entry);
  }

  /** Calls the handlers in their order, but not those that an earlier one has taken back. */
  emit<K extends keyof M>(event: K, payload: M[K]): void {
    const all = this.#handlers.get(event);
    for (const entry of [...(all ?? [])]) {
      if (all!.has(entry)) safely(() => (entry.fn as (payload: M[K]) => unknown)(payload));
    }
  }

  /** Takes all handlers back. */
  clear(): void {
    this.#handlers.forEach((all) => all.clear());
  }
}
