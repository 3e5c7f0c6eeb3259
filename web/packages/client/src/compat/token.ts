import { claims } from "../auth/session.js";
import { Emitter } from "../emitter.js";
import type { StorageLike } from "../platform.js";
import { part } from "../surroundings.js";
import type { RealtimeClientConfig, TokenManagerConfig } from "./types.js";

const key = "accessToken"; // in sessionStorage, as before
const longest = 2 ** 31 - 1; // a longer timer would fire at once

/** Keeps the access token, or asks the application for it, and tells when it changes and when it should be renewed. */
export class TokenManager {
  #token: string | null = null;
  #get: TokenManagerConfig["getAccessToken"];
  #set: TokenManagerConfig["setAccessToken"];
  #persist: boolean;
  #loaded = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #expiring: (() => void) | undefined;
  readonly #changes = new Emitter<Record<string, any>>();

  constructor(config: TokenManagerConfig = {}) {
    this.#get = config.getAccessToken;
    this.#set = config.setAccessToken;
    this.#persist = config.persistToken ?? false;
  }

  setGetter(getter?: RealtimeClientConfig["getAccessToken"]): void {
    this.#get = getter;
  }

  setSetter(setter?: RealtimeClientConfig["setAccessToken"]): void {
    this.#set = setter;
  }

  /** Called in a browser some time before the token ends: 30 s, or a fifth of its lifetime if that is less. */
  onTokenExpiring(cb: () => void): void {
    this.#expiring = cb;
  }

  /** Called at each change. Returns how to take it back. */
  onTokenChange(cb: (token: string | null) => void): () => void {
    return this.#changes.on("change", cb);
  }

  setAccessToken(token: string | null): void {
    const before = this.getAccessTokenSync();
    this.#keep(token?.trim() || null, true);
    try {
      const storage = this.#storage();
      if (this.#token) storage?.setItem(key, this.#token);
      else storage?.removeItem(key);
    } catch {
      // It is kept in memory.
    }
    this.#set?.(this.#token);
    if (this.#token !== before) this.#changes.emit("change", this.#token);
  }

  getAccessTokenSync(): string | null {
    if (!this.#loaded) {
      this.#loaded = true;
      try {
        const kept = this.#storage()?.getItem(key);
        if (kept) this.#keep(kept, false);
      } catch {
        // A storage that the user has blocked.
      }
    }
    return this.#token;
  }

  /** What the application's function says, else what is kept. */
  async getAccessToken(): Promise<string | null> {
    const before = this.getAccessTokenSync();
    const said = (this.#get && (await this.#get()))?.trim() || null;
    if (said && said !== this.#token && this.#token === before) this.setAccessToken(said);
    return said ?? this.#token;
  }

  /** Whether it ends within 10 s. A token that does not say when is taken for one that has ended. */
  isTokenExpired(): boolean {
    const exp = claims(this.getAccessTokenSync() ?? "")?.exp;
    return typeof exp !== "number" || Date.now() / 1000 + 10 > exp;
  }

  clearAll(): void {
    this.setAccessToken(null);
  }

  #storage(): StorageLike | undefined {
    return this.#persist ? part(undefined, "sessionStorage") : undefined;
  }

  /** `fresh`: it has just been made, as far as one can know. */
  #keep(token: string | null, fresh: boolean): void {
    clearTimeout(this.#timer);
    this.#loaded = true;
    this.#token = token;
    const { exp, iat } = claims(token ?? "");
    if (typeof exp !== "number" || !part(undefined, "events")) return;
    // Counted from now where the token says how long it lives: the clock may be wrong. Else a wrong
    // clock must not make one refresh follow the other.
    const counted = fresh && typeof iat === "number";
    const left = counted ? exp - iat : exp - Date.now() / 1000;
    const wait = Math.max(Math.max(left - 30, left * 0.8), counted ? 1 : 10) * 1000;
    if (wait < longest) this.#timer = setTimeout(() => this.#expiring?.(), wait);
  }
}

/** Makes a TokenManager. */
export function createTokenManager(config: TokenManagerConfig = {}): TokenManager {
  return new TokenManager(config);
}
