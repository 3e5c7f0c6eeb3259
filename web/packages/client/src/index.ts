import { AuthManager } from "./auth/manager.js";
import { sourceOf } from "./auth/source.js";
import { local } from "./errors.js";
import { createHttp } from "./http/own.js";
import { createSocket } from "./socket/socket.js";
import type {
  AuthConfig,
  AuthToken,
  EventMap,
  HttpClient,
  RealtimeClientConfig,
  RealtimeSocket,
  TokenSource,
} from "./types.js";

export { AuthManager } from "./auth/manager.js";
export type { AuthSnapshot, AuthSurroundings } from "./auth/manager.js";
export { HoldfastError } from "./errors.js";
export type { ErrorCode } from "./errors.js";
export type { OwnCall } from "./http/own.js";
export type { Code, Action } from "./codes.js";
export type * from "./platform.js";
export type * from "./types.js";

/** HTTP, realtime and the session behind them, of one server. */
export interface RealtimeClient<E extends EventMap = EventMap, A = AuthManager | undefined> {
  readonly http: HttpClient;
  readonly socket: RealtimeSocket<E>;
  /** Undefined where the application owns the token (`authToken`), or there is none (`auth: false`). */
  readonly auth: A;
  /** Ends the socket and the AuthManager for good. Who is signed in stays so. */
  close(): void;
}

/**
 * Makes a client. Nothing happens yet: no call, timer, listener or look at a
 * storage before the first use, so that one may be made while a page is
 * rendered on a server, where each request needs one of its own.
 */
export function createRealtimeClient<E extends EventMap = EventMap>(
  config: RealtimeClientConfig & ({ authToken: AuthToken } | { auth: false }),
): RealtimeClient<E, undefined>;
export function createRealtimeClient<E extends EventMap = EventMap>(
  config?: RealtimeClientConfig & { authToken?: never; auth?: AuthConfig },
): RealtimeClient<E, AuthManager>;
export function createRealtimeClient<E extends EventMap = EventMap>(config: RealtimeClientConfig): RealtimeClient<E>;
export function createRealtimeClient<E extends EventMap = EventMap>(
  config: RealtimeClientConfig = {},
): RealtimeClient<E> {
  const { auth, authToken, csrf, http, platform, withCredentials = false } = config;
  const url = () => {
    try {
      return new URL(config.url ?? "/", globalThis.location?.href).href;
    } catch {
      throw local("INVALID_ARGUMENT", "`url` must be the server's address"); // there is no page to take it from
    }
  };
  const cookie = auth === false || (!authToken && auth?.cookie);
  let source: TokenSource | undefined;
  // The manager makes its calls through the client that asks it for tokens; its own calls carry none.
  const calls = createHttp({
    url,
    config: http,
    csrf: csrf ?? cookie,
    withCredentials,
    platform,
    source: () => source,
  });
  const manager = authToken || auth === false ? undefined : new AuthManager(auth, { platform, own: calls.own });
  source = authToken ? sourceOf(authToken) : manager;
  const socket = createSocket({ url, config: config.socket ?? {}, source, platform: platform ?? {}, withCredentials });
  // Once it is connected, which this must not hold up: a page that is open for long may not find that code later.
  socket.subscribe(() => void (socket.state.connected && calls.load().catch(() => {})));
  return {
    http: calls,
    socket: socket as RealtimeSocket<E>,
    auth: manager,
    close() {
      socket.close();
      manager?.close();
    },
  };
}
