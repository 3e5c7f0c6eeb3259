import type { HoldfastError } from "./errors.js";
import type { Platform } from "./platform.js";

/** Takes a subscription back. Calling it again does nothing. */
export type Unsubscribe = () => void;

/** What the server says of a user. */
export interface User {
  id: string;
  name?: string;
  email?: string;
  roles?: string[];
}

/** What a sign-in or a refresh brings. Times are epoch milliseconds and, in `expiresIn`, seconds. */
export interface Tokens {
  accessToken: string;
  /** Absent: the one from before is kept. */
  refreshToken?: string;
  sessionId?: string;
  /** Counts from now, and goes before `expiresAt`, which a wrong clock spoils. */
  expiresIn?: number;
  expiresAt?: number;
  user?: Partial<User>;
}

/** Where something happened: in this tab, or in another one with the same storage. */
export type Source = "self" | "remote";

/** What an AuthManager tells. Each happens at most once for one cause. */
export interface AuthEvents {
  "sign-in": { user: User | undefined; source: Source };
  "sign-out": { source: Source; error?: HoldfastError };
  refresh: { accessToken: string; source: Source };
  /** The server refuses the refresh for good; a `sign-out` follows. */
  "refresh-failed": { error: HoldfastError; source: Source };
  /** Nothing is cleared: the application decides. */
  "inactivity-timeout": { source: Source };
  /** A refresh that will be tried again; storage that can't be read or written; a sign-out that the server did not hear of. */
  error: { error: Error; source: Source };
}

/** Gets new tokens in place of old ones. It throws a HoldfastError whose `final` says whether the session is over. */
export type RefreshFn = (refreshToken: string | undefined, signal: AbortSignal) => Promise<Tokens>;

/** Options of an AuthManager: how a session is kept, renewed and shared by tabs. */
export interface AuthConfig {
  /** Default `localStorage`. */
  storage?: "localStorage" | "sessionStorage" | "memory";
  /** The key in the storage. Default `holdfast:tokens`. */
  tokenKey?: string;
  /** Path or URL of the refresh. Default `/api/auth/refresh`. */
  refreshEndpoint?: string;
  /** Goes before `refreshEndpoint`. */
  refreshFn?: RefreshFn;
  /** Path or URL that `clear` tells of the sign-out. Default `/api/auth/sign-out`; false: none is told. */
  signOutEndpoint?: string | false;
  /**
   * The refresh token is an HttpOnly cookie, which scripts don't see: a refresh
   * is tried without one, and where there is no session yet, too. The access
   * token is kept in memory alone.
   */
  cookie?: boolean;
  /** Milliseconds without activity until `inactivity-timeout`. Default 0: never. */
  inactivityTimeout?: number;
  /** Default true. */
  crossTabSync?: boolean;
  /** Default: made of `tokenKey`. */
  channelName?: string;
  /** How many milliseconds before its end a token is refreshed. Default 30,000; never before 80 % of its lifetime. */
  tokenExpiryBuffer?: number;
  /** Called once when the server has ended the session. */
  onUnauthorized?: (error: HoldfastError) => void;
}

/** A token, or a function that knows the present one; null: nobody is signed in. */
export type AuthToken = string | (() => string | null | Promise<string | null>);

/** What HTTP calls and sockets need of whoever knows the token. AuthManager is one. */
export interface TokenSource {
  /**
   * The token to use now, refreshed first where it has ended. Null: there is
   * none, and none can be had. A signal that aborts frees this caller alone.
   */
  getAccessToken(signal?: AbortSignal): Promise<string | null>;
  /**
   * The server has refused this token with this error. Resolves when there is
   * another one to try with; rejects with what the caller should be told.
   */
  refused(token: string, error: HoldfastError, signal?: AbortSignal): Promise<void>;
  /** The user is active. */
  touch?(): void;
  /** The user whose token it is, where the source knows. */
  getUser?(): User | undefined;
  /** Changes that a socket follows: another token, another user, a sign-out. */
  on?<K extends keyof AuthEvents>(event: K, handler: (payload: AuthEvents[K]) => void): Unsubscribe;
}

/** How a CSRF token is got and sent (docs/protocol.md §3). The defaults are those of a Holdfast server. */
export interface CsrfConfig {
  /** Where a token is got. Default `/api/auth/csrf`. */
  endpoint?: string;
  /** Default `X-CSRF-Token`. */
  headerName?: string;
  /** Default `csrf-token`. */
  cookieName?: string;
}

/** Options of HTTP calls. */
export interface HttpConfig {
  /** Goes before the paths of calls. Default: `url` of the client. */
  baseUrl?: string;
  /** Milliseconds for one call, its retries included. Default 30,000. */
  timeout?: number;
  /** How often an idempotent call is made again that is answered 503 with Retry-After. Default 3. */
  retries?: number;
  /** Go with each call to trusted origins. */
  headers?: Record<string, string>;
  /** Other origins that may have the token, cookies and headers. */
  trustedOrigins?: string[];
  /** Sees, and may change, each request before it goes out. */
  onRequest?: (request: Request) => Request | void | Promise<Request | void>;
  /** Sees each answer. */
  onResponse?: (response: Response, request: Request) => void | Promise<void>;
}

/** Data by event name: `interface Events { "todo:created": Todo }`. Without one, all events are `any`. */
export type EventMap = Record<string, any>;

/** Options of the offline queue. */
export interface QueueConfig {
  /** `indexedDB` is shared by tabs and outlives them. Default `indexedDB`, or memory where there is none. */
  storage?: "indexedDB" | "memory";
  /** Its database. Default `holdfast`. */
  name?: string;
  /** Default 200. */
  maxItems?: number;
  /** Of all items, as JSON. Default 1,048,576. */
  maxBytes?: number;
  /** A full queue drops its oldest items, each told to `onDropped`, instead of refusing new ones. */
  dropOldest?: boolean;
  onDropped?: (item: QueueItem) => void;
}

/** An event that waits to be sent. */
export interface QueueItem {
  /** A ULID, under which the server applies it once. */
  id: string;
  /** Whose it is: the user's id. */
  user: string;
  namespace: string;
  event: string;
  args: unknown[];
  /** Epoch milliseconds. */
  createdAt: number;
}

/** An item that the server has refused for good. */
export interface DeadItem {
  item: QueueItem;
  error: HoldfastError;
}

/** Options of the connection. */
export interface SocketConfig {
  /** The server's address. Default: `url` of the client. */
  url?: string;
  /** Default `/socket.io/`. */
  path?: string;
  namespace?: string;
  /** Goes into the handshake's URL. URLs end up in logs: no secrets. */
  query?: Record<string, string>;
  /**
   * Default `["websocket", "polling"]`. The next one is tried when a WebSocket
   * could not be opened twice in a row, or polling fails; what works is kept.
   * After a polling connection of over a minute a WebSocket is tried once
   * again, as the network may be another one. The code of polling is loaded
   * when it is needed.
   */
  transports?: ("websocket" | "polling")[];
  /** What CONNECT carries. Default `{ token }`. */
  auth?: (token: string | null) => Record<string, unknown> | undefined | Promise<Record<string, unknown> | undefined>;
  /** Milliseconds for one attempt. Default 20,000. */
  connectTimeout?: number;
  /** Milliseconds until an ack that did not come is an error. Default 30,000. */
  ackTimeout?: number;
  /** Milliseconds of the random wait before the first attempt after a failure, doubled up to `maxBackoff`. Default 1,000. */
  minBackoff?: number;
  /** Default 30,000. */
  maxBackoff?: number;
  /** Keeps what can't be sent. Default: off. */
  queue?: boolean | QueueConfig;
  /** Sees, and may change or drop (by returning null), what is sent and received. */
  onSend?: (event: string, args: unknown[]) => unknown[] | null | void;
  onReceive?: (event: string, args: unknown[]) => unknown[] | null | void;
}

/** Options of createRealtimeClient. All of them have defaults. */
export interface RealtimeClientConfig {
  /** The server's address, such as `https://rt.example.com`. Default: the page's origin. */
  url?: string;
  /** The token where the application owns its life. Goes before `auth`. */
  authToken?: AuthToken;
  /** Options of the AuthManager. False: no token at all, as with a session cookie. */
  auth?: AuthConfig | false;
  /** Cookies go with calls and handshakes to other origins of the same site (`credentials: "include"`). Default false. */
  withCredentials?: boolean;
  /** For servers that know users by a cookie. Default: off; true with `auth: false` or `auth.cookie`. */
  csrf?: boolean | CsrfConfig;
  http?: HttpConfig;
  socket?: SocketConfig;
  platform?: Platform;
}

/**
 * Where a connection stands:
 *
 * - `disconnected`: nobody has asked for a connection, or it has stopped for good (`ConnectionState.error` says why);
 * - `connecting`: an attempt runs, or waits for its time;
 * - `connected`: the server has let this client in;
 * - `closed`: `close` was called.
 */
export type SocketState = "disconnected" | "connecting" | "connected" | "closed";

/** A new object at each change, so that it can be a snapshot. */
export interface ConnectionState {
  readonly state: SocketState;
  readonly connected: boolean;
  readonly connecting: boolean;
  /** Why it is not connected. */
  readonly error?: HoldfastError;
  /** It won't try again by itself. */
  readonly final: boolean;
  /** What carries the connection, or the last attempt at one. Absent before the first `connect`. */
  readonly transport?: "websocket" | "polling";
  /** Epoch milliseconds of when the next attempt begins, unless something wakes it before; past while it runs. */
  readonly retryAt?: number;
}

/** Where a room's order stands. */
export interface Position {
  epoch: string;
  offset: number;
}

/** What comes beside an event's data. */
export interface EventMeta {
  /** Absent for events of no room. */
  room?: string;
  epoch?: string;
  offset?: number;
  id?: string;
  /** The publisher's user id. */
  from?: string;
}

/** Somebody who is in a room. */
export interface Present {
  id: string;
  name?: string;
  data?: any;
  /** How many connections; only in answers to `presence`. */
  connections?: number;
}

/** Who comes into a room, goes, or changes what others see; never this user's own doing. */
export type PresenceEvent =
  | { kind: "join" | "leave" | "update"; user: Present }
  /** All of them, after each connect. */
  | { kind: "sync"; users: Present[] }
  /** The room has too many members to be told of each. */
  | { kind: "paused" | "resumed" };

/** Options of a join. */
export interface JoinOptions {
  /** Where to go on from. Default: now, and after a reconnect where it stopped. */
  since?: Position;
  /** What others see of this user. */
  presence?: unknown;
}

/**
 * One holder's hold on a room. The room is left when its last holder leaves.
 * Handlers of a hold end with it.
 */
export interface Room<E extends EventMap = EventMap> {
  readonly name: string;
  /** Resolves when the room is joined for the first time; rejects when the server refuses. */
  readonly joined: Promise<Position>;
  readonly position: Position | undefined;
  on<K extends keyof E & string>(event: K, handler: (data: E[K], meta: EventMeta) => void): Unsubscribe;
  onAny(handler: (event: string, data: any, meta: EventMeta) => void): Unsubscribe;
  /** History was lost: what is known of the room is to be read anew. */
  onReset(handler: (position: Position) => void): Unsubscribe;
  /** The right was taken, the user has gone, or the join was refused. */
  onLeft(handler: (error: HoldfastError) => void): Unsubscribe;
  onPresence(handler: (event: PresenceEvent) => void): Unsubscribe;
  /** Who is there; asks for presence the first time. A new array at each change. */
  readonly present: readonly Present[];
  /** Begin (true) and end (false, 5 s after the last sign) of somebody's typing. */
  onTyping(handler: (user: Present, typing: boolean) => void): Unsubscribe;
  /** Cursors and the like: to those who are there now. */
  onSignal<T = any>(event: string, handler: (data: T, meta: { from: string; key?: string }) => void): Unsubscribe;
  publish<K extends keyof E & string>(event: K, data: E[K], options?: { id?: string; signal?: AbortSignal }): Promise<Position>;
  /** At most one every 100 ms goes out, the newest of each event and key. */
  signal(event: string, data: unknown, key?: string): void;
  /** May be called at each key: one message every 3 s goes out. */
  typing(): void;
  setPresence(data: unknown): Promise<void>;
  presence(signal?: AbortSignal): Promise<Present[]>;
  leave(): void;
}

/** Options of an emit. */
export interface EmitOptions {
  signal?: AbortSignal;
  /** Milliseconds; default `ackTimeout`. With a queue it counts from when the event is sent. */
  timeout?: number;
  /** Past the queue, and lost where there is no connection. */
  volatile?: boolean;
}

/** The realtime connection. Nothing happens before `connect`. */
export interface RealtimeSocket<E extends EventMap = EventMap> {
  /** Resolves when connected; rejects when it can't be for good. Called again: the same attempt. */
  connect(signal?: AbortSignal): Promise<void>;
  /** Nothing reconnects afterwards, until `connect`. */
  close(): void;
  readonly state: ConnectionState;
  /** Called at each change of `state`. */
  subscribe(listener: () => void): Unsubscribe;
  /** A handler that throws stops neither others nor the client: the error is reported as uncaught. */
  on<K extends keyof E & string>(event: K, handler: (data: E[K], meta: EventMeta) => void): Unsubscribe;
  once<K extends keyof E & string>(event: K, handler: (data: E[K], meta: EventMeta) => void): Unsubscribe;
  off<K extends keyof E & string>(event: K, handler?: (data: E[K], meta: EventMeta) => void): void;
  onAny(handler: (event: string, args: unknown[]) => void): Unsubscribe;
  /**
   * Answers an event that the server wants acknowledged, with what the handler
   * returns or the HoldfastError that it throws. A second one of a name replaces the first.
   */
  handle(event: string, handler: (data: any) => unknown): Unsubscribe;
  /** Without ack. Resolves when it is sent or, with a queue, kept. Rejects with NOT_CONNECTED without one. */
  emit(event: string, data?: unknown, options?: EmitOptions): Promise<void>;
  /** Resolves with the ack's `data`; rejects with the ack's error. A server that answers otherwise: its first argument. */
  emitAck<T = any>(event: string, data?: unknown, options?: EmitOptions): Promise<T>;
  join<R extends EventMap = E>(room: string, options?: JoinOptions): Room<R>;
  publish(room: string, event: string, data?: unknown, options?: { id?: string; signal?: AbortSignal }): Promise<Position>;
  /** What the server said of this connection; undefined at a plain Socket.IO server. */
  readonly session: { user: User; connection: string; expiresAt: number; features: string[] } | undefined;
  /** What waits in the queue, oldest first, and what is dead. Empty without a queue. */
  readonly queued: readonly QueueItem[];
  readonly dead: readonly DeadItem[];
  onDead(handler: (dead: DeadItem) => void): Unsubscribe;
  /** Called at each change of `queued` and `dead`. */
  subscribeQueue(listener: () => void): Unsubscribe;
}

/** Options of a call. */
export interface RequestOptions {
  query?: Record<string, string | number | boolean | null | undefined>;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  timeout?: number;
  /** No token goes with it, and a 401 is an answer as any other. */
  anonymous?: boolean;
}

/** HTTP calls. Answers that are not 2xx reject with a HoldfastError. */
export interface HttpClient {
  get<T = any>(path: string, options?: RequestOptions): Promise<T>;
  post<T = any>(path: string, body?: unknown, options?: RequestOptions): Promise<T>;
  put<T = any>(path: string, body?: unknown, options?: RequestOptions): Promise<T>;
  patch<T = any>(path: string, body?: unknown, options?: RequestOptions): Promise<T>;
  delete<T = any>(path: string, options?: RequestOptions): Promise<T>;
  /** As `fetch`, with token, CSRF and retries; any status is an answer. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
}
