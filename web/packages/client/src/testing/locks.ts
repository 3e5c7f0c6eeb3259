import type { Locks } from "../platform.js";

interface Waiting {
  owner: object;
  grant: () => void;
  refuse: (e: unknown) => void;
}

/** The locks of a profile: each is held by one at a time, in the order of asking. */
export class LockTable {
  readonly #held = new Map<string, object>(); // owner by name
  readonly #waiting = new Map<string, Waiting[]>();

  /** `navigator.locks` of a tab, as far as clients use it: exclusive locks. Those of a tab that is dead never come. */
  of(owner: { dead: boolean }): Locks {
    return {
      request: async (name: string, options: any, run?: any) => {
        const callback = run ?? options;
        const { signal, ifAvailable } = run ? options : ({} as { signal?: AbortSignal; ifAvailable?: boolean });
        signal?.throwIfAborted();
        await null;
        signal?.throwIfAborted();
        if (owner.dead) return new Promise(() => {});
        if (this.#held.has(name)) {
          if (ifAvailable) return callback(null);
          await this.#wait(name, owner, signal);
        } else {
          this.#held.set(name, owner);
        }
        try {
          return await callback({ name, mode: "exclusive" });
        } finally {
          if (this.#held.get(name) === owner) this.#release(name);
        }
      },
    };
  }

  #wait(name: string, owner: object, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const queue = this.#waiting.get(name) ?? [];
      this.#waiting.set(name, queue);
      const abort = () => {
        queue.splice(queue.indexOf(entry), 1);
        reject(signal!.reason);
      };
      const entry = {
        owner,
        grant: () => {
          signal?.removeEventListener("abort", abort);
          resolve();
        },
        refuse: reject,
      };
      queue.push(entry);
      signal?.addEventListener("abort", abort);
    });
  }

  #release(name: string): void {
    this.#held.delete(name);
    const next = this.#waiting.get(name)?.shift();
    if (!next) return;
    this.#held.set(name, next.owner);
    next.grant();
  }

  /** Whether somebody holds a lock. */
  held(name: string): boolean {
    return this.#held.has(name);
  }

  /** Frees what a tab that is gone holds, and takes it out of the queues. */
  free(owner: object): void {
    for (const queue of this.#waiting.values()) {
      for (let i = queue.length - 1; i >= 0; i--) if (queue[i]!.owner === owner) queue.splice(i, 1);
    }
    for (const [name, by] of [...this.#held]) if (by === owner) this.#release(name);
  }
}
