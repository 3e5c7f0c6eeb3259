import { HttpClient } from "./http.js";
import { RefreshManager } from "./refresh.js";
import { SocketManager } from "./socket.js";
import { TokenManager } from "./token.js";
import type { ConnectionState, RealtimeClientConfig, Socket, SocketEventHandler } from "./types.js";

/** HTTP, socket and token of one server. */
export type RealtimeClient = {
  http: HttpClient;
  socket: SocketManager;
  token: TokenManager;
  refresh: RefreshManager;
  connect: () => Promise<Socket | null>;
  disconnect: () => Promise<void>;
  getSocket: () => Socket | null;
  on: <T = unknown>(event: string, handler: SocketEventHandler<T>) => () => void;
  once: <T = unknown>(event: string, handler: SocketEventHandler<T>) => void;
  off: <T = unknown>(event: string, handler: SocketEventHandler<T>) => void;
  emit: (event: string, payload?: unknown) => void;
  emitAck: <T = unknown>(event: string, payload?: unknown, timeoutMs?: number) => Promise<T>;
  joinRoom: (room: string) => void;
  leaveRoom: (room: string) => void;
  getRooms: () => Set<string>;
  isConnected: () => boolean;
  isConnecting: () => boolean;
  setAccessToken: (token: string | null) => void;
  getAccessToken: () => Promise<string | null>;
  subscribeToState: (listener: (state: ConnectionState) => void) => () => void;
  getConnectionState: () => ConnectionState;
};

/** What calls are made with. A token that is about to end is refreshed. */
function parts(config: RealtimeClientConfig): { token: TokenManager; refresh: RefreshManager; http: HttpClient } {
  const token = new TokenManager(config);
  const refresh = new RefreshManager(config.refresh, token, config.onUnauthorized);
  token.onTokenExpiring(() => void refresh.refreshAccessToken());
  const http = new HttpClient(config.apiBaseUrl, token, refresh, config.onUnauthorized, config.withCredentials ?? true, config.csrf);
  return { token, refresh, http };
}

/** Makes a client. A token that is set connects the socket, and one that is cleared disconnects it. */
export function createRealtimeClient(config: RealtimeClientConfig): RealtimeClient {
  const { token, refresh, http } = parts(config);
  const socket = new SocketManager(config, token, refresh, config.onUnauthorized);
  token.onTokenChange((now) => void (now ? socket.connect() : socket.disconnect()));
  return {
    http,
    socket,
    token,
    refresh,
    connect: () => socket.connect(),
    disconnect: () => socket.disconnect(),
    getSocket: () => socket.getSocket(),
    on: (event, handler) => socket.on(event, handler),
    once: (event, handler) => socket.once(event, handler),
    off: (event, handler) => socket.off(event, handler),
    emit: (event, payload) => socket.emit(event, payload),
    emitAck: (event, payload, timeoutMs) => socket.emitWithAck(event, payload, timeoutMs),
    joinRoom: (room) => socket.joinRoom(room),
    leaveRoom: (room) => socket.leaveRoom(room),
    getRooms: () => socket.getRooms(),
    isConnected: () => socket.isConnected(),
    isConnecting: () => socket.isConnecting(),
    setAccessToken: (now) => token.setAccessToken(now),
    getAccessToken: () => token.getAccessToken(),
    subscribeToState: (listener) => socket.subscribeToState(listener),
    getConnectionState: () => socket.getConnectionState(),
  };
}

const state: { http?: HttpClient } = {};

/** Makes what `http` calls. On a server, where requests share `http`, use createRealtimeClient for each instead. */
export function initializeHttp(config: RealtimeClientConfig): HttpClient {
  return (state.http = parts(config).http);
}

function ready(): HttpClient {
  if (!state.http) throw new Error("`http` is used before initializeHttp(config)");
  return state.http;
}

/** Calls without a client at hand. Rejects before initializeHttp. */
export const http = {
  prefetchCsrf: async () => ready().prefetchCsrf(),
  request: async (options) => ready().request(options),
  get: async (path, options) => ready().get(path, options),
  post: async (path, body, options) => ready().post(path, body, options),
  put: async (path, body, options) => ready().put(path, body, options),
  patch: async (path, body, options) => ready().patch(path, body, options),
  delete: async (path, options) => ready().delete(path, options),
} as Pick<HttpClient, keyof HttpClient> as HttpClient;
