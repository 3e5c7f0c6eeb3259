import type { StorageLike } from "../platform.js";
import { readSession, type Session } from "./session.js";

/** What a storage keeps under a key: a session, for this tab and maybe others. */
export class Kept {
  /** Undefined: nothing is kept. */
  storage: StorageLike | undefined;
  /** The last write has failed. */
  dirty = false;
  readonly #key: string;
  readonly #fail: (error: unknown) => void;
  #seen: string | null = null; // what it was last known to keep

  constructor(key: string, fail: (error: unknown) => void) {
    this.#key = key;
    this.#fail = fail;
  }

  /** Gives what is kept, if that is news, to `take`. Throws where it can't be read; garbage is put aside, and told of. */
  read(take: (session: Session | undefined) => void): void {
    const { storage } = this;
    const key = this.#key;
    const text = storage?.getItem(key) ?? null;
    if (text === this.#seen) return;
    const session = text === null ? undefined : readSession(text);
    this.#seen = session ? text : null;
    take(session);
    if (session || text === null) return;
    this.#fail(new Error(`${key} held no session; it is now ${key}:bad`));
    storage!.removeItem(key);
    storage!.setItem(key + ":bad", text);
  }

  /** Keeps a session, or nothing. A failure is told of once; memory goes on. */
  write(session: Session | undefined): void {
    const { storage } = this;
    const text = session ? JSON.stringify(session) : null;
    try {
      if (text) storage?.setItem(this.#key, text);
      else storage?.removeItem(this.#key);
      if (storage) this.#seen = text;
      this.dirty = false;
    } catch (e) {
      if (!this.dirty) this.#fail(e);
      this.dirty = true;
    }
  }
}
