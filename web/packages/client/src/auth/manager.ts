import type { OwnCall } from "../http/own.js";
import type { Platform } from "../platform.js";
import type { AuthConfig, AuthEvents, TokenSource, Tokens, Unsubscribe, User } from "../types.js";
import { manage } from "./manage.js";

/** What an AuthManager shows of itself. A new object at each change, so that it can be a snapshot. */
export interface AuthSnapshot {
  readonly isAuthenticated: boolean;
  readonly user: User | undefined;
  readonly sessionId: string | undefined;
  /** With `cookie`: whether there is a session is being found out. */
  readonly pending: boolean;
}

/** What an AuthManager is placed in. All of it has defaults. */
export interface AuthSurroundings {
  platform?: Platform | undefined;
  /** Makes the calls to the server. Default: to the page's origin, with CSRF where `cookie` is set. */
  own?: OwnCall | undefined;
}

/**
 * Owns the life of a session: keeps it in a storage, renews it before it ends
 * or when the server has refused it, and follows what other tabs do. Tabs with
 * one storage refresh once for all of them.
 *
 * Nothing happens at construction. Timers, listeners and channels begin with
 * `on`, `subscribe`, `getAccessToken` or `setTokens`, and end with `close`.
 */
export class AuthManager {
  constructor(config: AuthConfig = {}, surroundings: AuthSurroundings = {}) {
    // Variables of a function get short names when an application is minified, which properties don't.
    Object.assign(this, manage(config, surroundings));
  }
}

export interface AuthManager extends TokenSource {
  /** Signs in, or replaces the tokens of whoever is signed in. The refresh token is kept where the same user has no new one. */
  setTokens(tokens: Tokens): void;

  /**
   * Signs out: here at once, whatever else fails; then with the server. Rejects
   * where the server did not hear of it.
   */
  clear(): Promise<void>;

  /**
   * Renews the session now, or joins the refresh under way; pauses after
   * failures don't count. Rejects with SIGNED_OUT where there is none, or none any more.
   */
  refresh(signal?: AbortSignal): Promise<void>;

  /** There is a session, though its token may have to be renewed. */
  isAuthenticated(): boolean;

  getUser(): User | undefined;

  /** The public id of the login session. */
  getSessionId(): string | undefined;

  /** Whether the user has the role, or one of them. */
  hasRole(role: string | readonly string[]): boolean;

  /** Whether the access token permits an action. It is for showing a button or not: the server decides. */
  can(action: string): boolean;

  /** Whether the access token permits to join a room. One that says nothing of rooms leaves that to the server: true. */
  canJoin(room: string): boolean;

  /** The user is active, which puts `inactivity-timeout` off, in other tabs as well. */
  touch(): void;

  on<K extends keyof AuthEvents>(event: K, handler: (payload: AuthEvents[K]) => void): Unsubscribe;

  /** Calls a listener at each change of `getSnapshot()`. */
  subscribe(listener: () => void): Unsubscribe;

  /** The same object until something changes. */
  getSnapshot(): AuthSnapshot;

  /**
   * Ends timers, listeners and channels, until the manager is used again. The
   * storage keeps the session, and what a refresh under way brings.
   */
  close(): void;
}
