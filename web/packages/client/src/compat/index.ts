export { createRealtimeClient, http, initializeHttp, type RealtimeClient } from "./client.js";
export { HttpClient } from "./http.js";
export {
  RealtimeProvider,
  useConnectionState,
  useHttpClient,
  useRealtimeClient,
  useRoomEvent,
  useSocketClient,
  useSocketEvent,
  type RealtimeProviderProps,
  type UseSocketClientResult,
} from "./react.js";
export { createRefreshManager, RefreshManager } from "./refresh.js";
export { SocketManager } from "./socket.js";
export { createTokenManager, TokenManager } from "./token.js";
export type {
  AckCallback,
  AckResponse,
  ConnectionState,
  CsrfConfig,
  DisconnectReason,
  HeadersMap,
  HttpMethod,
  HttpRequestOptions,
  JsonValue,
  OfflineQueueItem,
  QueryParams,
  RealtimeClientConfig,
  RefreshConfig,
  Socket,
  SocketEventHandler,
  SocketOptions,
  TokenManagerConfig,
} from "./types.js";
