"use client";
import { createContext, createElement, useContext, useEffect, useRef, useSyncExternalStore, type ReactElement, type ReactNode } from "react";
import { useLatest } from "../react/latest.js";
import type { RealtimeClient } from "./client.js";
import type { HttpClient } from "./http.js";
import type { ConnectionState, Socket, SocketEventHandler } from "./types.js";

const Context = /* @__PURE__ */ createContext<RealtimeClient | null>(null);

/** A RealtimeProvider has a client, or what to make one of. */
export type RealtimeProviderProps = {
  client: RealtimeClient;
  children: ReactNode;
  /** Default true. The client disconnects when the provider goes. */
  autoConnect?: boolean;
};

/** Gives a client to the hooks below it. */
export function RealtimeProvider({ client, children, autoConnect = true }: RealtimeProviderProps): ReactElement {
  const shown = useRef<RealtimeClient>(null);
  useEffect(() => {
    void client.http.prefetchCsrf();
    if (!autoConnect) return;
    shown.current = client;
    void client.connect();
    return () => {
      shown.current = null;
      // StrictMode takes a component away and brings it back at once: the connection stays.
      queueMicrotask(() => shown.current !== client && void client.disconnect());
    };
  }, [autoConnect, client]);
  return createElement(Context.Provider, { value: client }, children);
}

/** What useSocketClient gives. */
export type UseSocketClientResult = {
  socket: Socket | null;
  connected: boolean;
  connecting: boolean;
  emit: (event: string, payload?: unknown) => void;
  emitAck: <T = unknown>(event: string, payload?: unknown, timeoutMs?: number) => Promise<T>;
  on: <T = unknown>(event: string, handler: SocketEventHandler<T>) => () => void;
  once: <T = unknown>(event: string, handler: SocketEventHandler<T>) => void;
  off: <T = unknown>(event: string, handler: SocketEventHandler<T>) => void;
  joinRoom: (room: string) => void;
  leaveRoom: (room: string) => void;
  getRooms: () => Set<string>;
};

/** The client of the provider above. */
export function useRealtimeClient(): RealtimeClient {
  const client = useContext(Context);
  if (!client) throw new Error("useRealtimeClient must be used inside RealtimeProvider");
  return client;
}

/** The HTTP client of the provider above. */
export function useHttpClient(): HttpClient {
  return useRealtimeClient().http;
}

const away: ConnectionState = { connected: false, connecting: false };

/** On a server: not connected. */
export function useConnectionState(): ConnectionState {
  const client = useRealtimeClient();
  return useSyncExternalStore(client.subscribeToState, client.getConnectionState, () => away);
}

/** The socket of the provider above, and its state. */
export function useSocketClient(): UseSocketClientResult {
  const client = useRealtimeClient();
  const { connected, connecting } = useConnectionState();
  const { emit, emitAck, on, once, off, joinRoom, leaveRoom, getRooms } = client;
  return { socket: client.getSocket(), connected, connecting, emit, emitAck, on, once, off, joinRoom, leaveRoom, getRooms };
}

/** The newest handler is called for each event of this name. */
export function useSocketEvent<TPayload = unknown>(event: string, handler: (payload: TPayload) => void): void {
  const client = useRealtimeClient();
  const latest = useLatest(handler);
  useEffect(() => client.on<TPayload>(event, (payload) => latest.current(payload)), [client, event, latest]);
}

/** The same, for events of this room alone where the server says of which room an event is. The room is joined while the component is shown. */
export function useRoomEvent<TPayload = unknown>(room: string, event: string, handler: (payload: TPayload) => void): void {
  const client = useRealtimeClient();
  const latest = useLatest(handler);
  useEffect(() => {
    client.joinRoom(room);
    const listener = (payload: TPayload, meta?: { room?: string }) => {
      if (!meta?.room || meta.room === room) latest.current(payload);
    };
    const off = client.on<TPayload>(event, listener);
    return () => {
      off();
      queueMicrotask(() => client.leaveRoom(room));
    };
  }, [client, event, room, latest]);
}
