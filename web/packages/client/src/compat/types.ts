/** Methods of calls. */
export type HttpMethod = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** Whatever JSON can say. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };

/** Headers of a call, by name. */
export type HeadersMap = Record<string, string>;

/** Those that are null or undefined are left out. */
export type QueryParams = Record<string, string | number | boolean | null | undefined>;

/** One call. */
export type HttpRequestOptions<TBody = unknown> = {
  path: string;
  /** Default GET. */
  method?: HttpMethod;
  /** Sent as JSON. */
  body?: TBody;
  headers?: HeadersMap;
  query?: QueryParams;
  signal?: AbortSignal;
  /** Goes before `withCredentials` of the client. */
  credentials?: RequestCredentials;
  /** False: a 401 is an error at once. Default true. */
  retryOnAuth?: boolean;
};

/** How a token is renewed. */
export type RefreshConfig = {
  /** Default false: nothing is refreshed. */
  enabled?: boolean;
  /** URL that answers `{"accessToken": …}` to whom its cookies know. */
  endpoint: string;
  /** Default POST. */
  method?: "POST" | "GET";
  onRefreshSuccess?: (tokens: { accessToken?: string | null }) => void;
  onRefreshFailure?: () => void;
  onRefreshStart?: () => void;
  onRefreshEnd?: () => void;
  /** How many answers in a row that are no token and no refusal end the session. Default 3. A network that is down is none. */
  maxRetries?: number;
};

/** An event that waits to be sent. */
export type OfflineQueueItem = {
  id: string;
  event: string;
  payload: unknown;
  namespace?: string;
  createdAt: number;
  attempts: number;
};

/** A new object at each change. */
export type ConnectionState = { connected: boolean; connecting: boolean };

/** How a CSRF token is got and sent. */
export type CsrfConfig = {
  /** Default false. */
  enabled?: boolean;
  /** Default `csrf-token`. */
  cookieName?: string;
  /** Default `X-CSRF-Token`. */
  headerName?: string;
  /** Path or URL that is got when there is no token: it brings one by header, as `csrfToken` of its body, or by cookie. */
  fetchEndpoint?: string;
};

/** Why a connection ended, in the words of socket.io-client. */
export type DisconnectReason =
  | "io server disconnect"
  | "io client disconnect"
  | "ping timeout"
  | "transport close"
  | "transport error"
  | "parse error";

/** The part of socket.io-client's Socket that this package has. */
export interface Socket {
  /** Undefined without a connection, and with servers other than Holdfast. */
  readonly id: string | undefined;
  readonly connected: boolean;
  readonly disconnected: boolean;
  /** It connects again by itself. */
  readonly active: boolean;
  on(event: string, handler: (...args: any[]) => void): this;
  once(event: string, handler: (...args: any[]) => void): this;
  off(event: string, handler?: (...args: any[]) => void): this;
  /** A function after the payload is called with the ack. */
  emit(event: string, payload?: unknown, ack?: (answer: any) => void): this;
  connect(): this;
  disconnect(): this;
}

/** Those of socket.io-client's options that mean something here; others are let pass. */
export interface SocketOptions {
  path?: string;
  query?: Record<string, any>;
  transports?: readonly unknown[];
  auth?: Record<string, any> | ((cb: (data: object) => void) => void);
  /** Default 1000 ms. */
  reconnectionDelay?: number;
  /** Default 30,000 ms. */
  reconnectionDelayMax?: number;
  /** Of one attempt to connect. Default 20,000 ms. */
  timeout?: number;
  [other: string]: any;
}

/** Options of createRealtimeClient. */
export type RealtimeClientConfig = {
  /** Paths of calls are taken from here as links of a page are: one that begins with a slash begins at the host. */
  apiBaseUrl: string;
  /** The server's address; a path in it is the namespace. */
  socketUrl: string;
  /** Default true. */
  withCredentials?: boolean;
  /** False: the socket never connects. */
  enabled?: boolean;
  /** Without effect, as in the package before. See RealtimeProvider. */
  autoConnect?: boolean;
  socketOptions?: SocketOptions;
  getAccessToken?: () => Promise<string | null> | string | null;
  setAccessToken?: (token: string | null) => void;
  /** Keeps the access token in sessionStorage. */
  persistToken?: boolean;
  refresh?: RefreshConfig;
  csrf?: CsrfConfig;
  /** Called once when the session has ended. */
  onUnauthorized?: () => void;
  onSocketConnect?: (socket: Socket) => void;
  onSocketDisconnect?: (reason: DisconnectReason) => void;
  onSocketError?: (error: Error) => void;
  /** In IndexedDB, each item sent by one tab, once, and only as the user who emitted it. */
  offlineQueue?: {
    enabled?: boolean;
    /** Default `realtime-offline-queue`. */
    storageKey?: string;
    /** Default 200. The oldest are dropped. */
    maxItems?: number;
  };
  rooms?: {
    /** Default true. */
    autoRejoin?: boolean;
  };
  /** Default 15,000. */
  ackTimeoutMs?: number;
  /** Without effect, as in the package before: `socketUrl` names it. */
  namespace?: string;
  /** Logs what happens, but no tokens. */
  debug?: boolean;
};

/** An ack as servers send it. */
export type AckResponse<T = unknown> = {
  ok: boolean;
  data?: T;
  error?: { message: string; code?: string; details?: unknown };
};

/** Is called with an ack. */
export type AckCallback<T = unknown> = (response: AckResponse<T>) => void;

/** Is called with the first argument of an event. */
export type SocketEventHandler<T = unknown> = (payload: T) => void;

/** Where a TokenManager keeps the token. */
export interface TokenManagerConfig {
  getAccessToken?: RealtimeClientConfig["getAccessToken"];
  setAccessToken?: RealtimeClientConfig["setAccessToken"];
  persistToken?: boolean;
}
