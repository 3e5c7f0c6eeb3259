import { Emitter, safely } from "../emitter.js";
import { createSocket } from "../socket/socket.js";
import type { ConnectionState as CoreState, RealtimeSocket, Room, SocketConfig } from "../types.js";
import { sourceOf, type RefreshManager } from "./refresh.js";
import type { TokenManager } from "./token.js";
import type { ConnectionState, DisconnectReason, RealtimeClientConfig, Socket, SocketEventHandler } from "./types.js";

type Handler = (...args: any[]) => void;

/** Events that socket.io-client makes itself. */
const own = /^(connect|disconnect|connect_error)$/;

const addressOf = ({ socketUrl }: RealtimeClientConfig) => new URL(socketUrl, globalThis.location?.href);

function socketConfig(config: RealtimeClientConfig): SocketConfig {
  const { socketOptions: o = {}, offlineQueue } = config;
  const { pathname } = addressOf(config);
  const transports = o.transports?.filter((t) => t === "websocket" || t === "polling") as SocketConfig["transports"];
  const { auth } = o;
  return {
    ...(pathname !== "/" && { namespace: pathname }),
    ...(o.path && { path: o.path }),
    ...(o.query && { query: Object.fromEntries(Object.entries(o.query).map(([k, v]) => [k, String(v)])) }),
    transports: transports?.length ? transports : ["websocket"],
    ...(auth && {
      auth: () => (typeof auth === "function" ? new Promise<any>((resolve) => auth(resolve)) : auth),
    }),
    connectTimeout: o.timeout ?? 20_000,
    minBackoff: o.reconnectionDelay ?? 1000,
    maxBackoff: o.reconnectionDelayMax ?? 30_000,
    ackTimeout: config.ackTimeoutMs ?? 15_000,
    ...(offlineQueue?.enabled && {
      queue: {
        name: offlineQueue.storageKey ?? "realtime-offline-queue",
        maxItems: offlineQueue.maxItems ?? 200,
        dropOldest: true,
      },
    }),
  };
}

/** The realtime connection. */
export class SocketManager {
  readonly #config: RealtimeClientConfig;
  readonly #tokens: TokenManager;
  readonly #refresh: RefreshManager;
  readonly #states = new Emitter<Record<string, any>>();
  readonly #handlers = new Map<string, Map<Handler, { call: Handler; off: () => void }>>();
  readonly #rooms = new Map<string, { count: number; hold?: Room | undefined }>();
  readonly #onUnauthorized: (() => void) | undefined;
  #core: RealtimeSocket | undefined;
  #last: CoreState | undefined;
  #face: Socket | null = null;
  #state: ConnectionState = { connected: false, connecting: false };
  #waiting: [event: string, payload: unknown][] = [];

  constructor(config: RealtimeClientConfig, tokenManager: TokenManager, refreshManager: RefreshManager, onUnauthorized?: () => void) {
    this.#config = config;
    this.#tokens = tokenManager;
    this.#refresh = refreshManager;
    this.#onUnauthorized = onUnauthorized;
  }

  getConnectionState(): ConnectionState {
    return this.#state;
  }

  subscribeToState(listener: (state: ConnectionState) => void): () => void {
    return this.#states.on("state", listener);
  }

  isConnected(): boolean {
    return this.#state.connected;
  }

  isConnecting(): boolean {
    return this.#state.connecting;
  }

  /** Null before `connect` and after `disconnect`. */
  getSocket(): Socket | null {
    return this.#face;
  }

  /** Not needed: the socket follows the TokenManager, and presents new tokens on its connection where the server takes them so. */
  updateAuthToken(_token: string | null): void {}

  /** Begins to connect. What becomes of it, the state and the events tell. */
  async connect(): Promise<Socket | null> {
    if (this.#config.enabled === false) return null;
    const core = this.#open();
    this.#face ??= this.#makeFace();
    this.#log("connecting");
    core.connect().catch(() => {}); // connect_error tells
    return this.#face;
  }

  async disconnect(): Promise<void> {
    this.#face = null;
    this.#waiting = [];
    for (const room of this.#rooms.values()) room.hold = undefined; // they are joined again with the next connection
    this.#core?.close();
  }

  /** Counts: a room is left when it was left as often as joined. */
  joinRoom(room: string): void {
    const entry = this.#rooms.get(room) ?? { count: 0 };
    entry.count++;
    this.#rooms.set(room, entry);
    this.#join(room);
  }

  leaveRoom(room: string): void {
    const entry = this.#rooms.get(room);
    if (!entry || --entry.count > 0) return;
    this.#rooms.delete(room);
    entry.hold?.leave();
  }

  getRooms(): Set<string> {
    return new Set(this.#rooms.keys());
  }

  on<TPayload = unknown>(event: string, handler: SocketEventHandler<TPayload>): () => void {
    this.#add(event, handler as Handler, handler as Handler);
    return () => this.off(event, handler);
  }

  off<TPayload = unknown>(event: string, handler: SocketEventHandler<TPayload>): void {
    const all = this.#handlers.get(event);
    all?.get(handler)?.off();
    all?.delete(handler);
  }

  once<TPayload = unknown>(event: string, handler: SocketEventHandler<TPayload>): void {
    this.#add(event, handler as Handler, (...args) => {
      this.off(event, handler);
      (handler as Handler)(...args);
    });
  }

  /** Without a connection it is queued where there is a queue, else kept in memory; throws before the first `connect`. */
  emit(event: string, payload?: unknown): void {
    const { connected } = this.#state;
    const queue = this.#config.offlineQueue?.enabled;
    if (!connected && !queue) {
      if (!this.#face) throw new Error("Socket is not initialized");
      if (this.#waiting.push([event, payload]) > 200) this.#waiting.shift();
      return;
    }
    // Other servers than Holdfast may not acknowledge, and what is queued waits for that.
    const past = connected && (!queue || !this.#core!.session);
    this.#log(past ? "emitting" : "queueing", event);
    this.#open()
      .emit(event, payload, past ? { volatile: true } : {})
      .catch((error) => this.#config.onSocketError && safely(() => this.#config.onSocketError!(error)));
  }

  async emitWithAck<TResponse = unknown>(event: string, payload?: unknown, timeoutMs?: number): Promise<TResponse> {
    if (!this.#face) {
      if (!this.#config.offlineQueue?.enabled) throw new Error("Socket not initialized");
      this.emit(event, payload);
      throw new Error("Socket offline, event queued instead of ack");
    }
    const timeout = timeoutMs ?? this.#config.ackTimeoutMs ?? 15_000;
    const began = Date.now();
    if (!this.#state.connected) await this.#connected(timeout, `Ack timeout for event ${event}`);
    const answer: any = await this.#core!.emitAck(event, payload, { volatile: true, timeout: Math.max(1, timeout - Date.now() + began) });
    if (answer?.ok === undefined || typeof answer !== "object") return answer;
    if (!answer.ok) throw new Error(answer.error?.message || "Ack error");
    return answer.data;
  }

  /** Not needed: the queue is sent whenever there is a connection. */
  async flushOfflineQueue(): Promise<void> {}

  #add(event: string, handler: Handler, call: Handler): void {
    const all = this.#handlers.get(event) ?? new Map();
    this.#handlers.set(event, all);
    if (!all.has(handler)) all.set(handler, { call, off: own.test(event) ? () => {} : this.#open().on(event, call) });
  }

  #open(): RealtimeSocket {
    if (this.#core) return this.#core;
    const core = createSocket({
      url: () => addressOf(this.#config).origin,
      config: socketConfig(this.#config),
      source: sourceOf(this.#tokens, this.#refresh),
      platform: {},
      withCredentials: this.#config.withCredentials ?? true,
    }) as RealtimeSocket;
    core.subscribe(() => this.#changed(core.state));
    return (this.#core = core);
  }

  #changed(now: CoreState): void {
    const before = this.#last;
    this.#last = now;
    const { connected, connecting, error } = now;
    this.#log(now.state, error?.code ?? "");
    if (this.#state.connected !== connected || this.#state.connecting !== connecting) {
      this.#state = { connected, connecting };
      this.#states.emit("state", this.#state);
    }
    const { onSocketConnect, onSocketDisconnect, onSocketError } = this.#config;
    if (connected && !before?.connected) {
      for (const room of this.#rooms.keys()) this.#join(room);
      if (onSocketConnect && this.#face) safely(() => onSocketConnect(this.#face!));
      this.#tell("connect");
      for (const [event, payload] of this.#waiting.splice(0)) this.emit(event, payload);
    } else if (before?.connected && !connected) {
      if (this.#config.rooms?.autoRejoin === false) for (const room of this.#rooms.values()) room.hold = void room.hold?.leave();
      const reason: DisconnectReason =
        now.state === "closed" || error?.code === "SIGNED_OUT" ? "io client disconnect" : now.final ? "io server disconnect" : "transport close";
      if (onSocketDisconnect) safely(() => onSocketDisconnect(reason));
      this.#tell("disconnect", reason);
    } else if (error && error !== before?.error && now.state !== "closed") {
      if (onSocketError) safely(() => onSocketError(error));
      this.#tell("connect_error", error);
    }
    // Where nothing can be refreshed, nobody else has told it.
    const over = now.final && /^(UNAUTHENTICATED|TOKEN_EXPIRED|SESSION_REVOKED)$/.test(error?.code ?? "");
    if (over && !this.#refresh.enabled) safely(() => this.#onUnauthorized?.());
  }

  #tell(event: string, ...args: unknown[]): void {
    for (const { call } of [...(this.#handlers.get(event)?.values() ?? [])]) safely(() => call(...args));
  }

  /** A hold for a room that is wanted and has none. A server may refuse it, or not know how to answer: it is asked anew with each connection. */
  #join(name: string): void {
    const entry = this.#rooms.get(name)!;
    if (entry.hold || !this.#state.connected) return;
    const hold = (entry.hold = this.#open().join(name));
    hold.onLeft(({ code, message }) => {
      if (entry.hold === hold) entry.hold = undefined;
      this.#tell("room:error", { room: name, code, message }); // as servers tell those who join without an ack
    });
  }

  #connected(ms: number, message: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        off();
      };
      const timer = setTimeout(() => (done(), reject(new Error(message))), ms);
      const off = this.subscribeToState(({ connected }) => connected && (done(), resolve()));
    });
  }

  #log(...what: unknown[]): void {
    if (this.#config.debug) console.log("[RealtimeClient]", ...what);
  }

  #makeFace(): Socket {
    const core = () => this.#core!;
    const face: Socket = {
      get id() {
        return core().session?.connection;
      },
      get connected() {
        return core().state.connected;
      },
      get disconnected() {
        return !core().state.connected;
      },
      get active() {
        return !core().state.final && core().state.state !== "disconnected";
      },
      on: (event, handler) => (this.on(event, handler), face),
      once: (event, handler) => (this.once(event, handler), face),
      off: (event, handler) => {
        for (const one of handler ? [handler] : [...(this.#handlers.get(event)?.keys() ?? [])]) this.off(event, one);
        return face;
      },
      emit: (event, payload, ack) => {
        if (ack) core().emitAck(event, payload, { volatile: true }).then(ack, () => {});
        else this.emit(event, payload);
        return face;
      },
      connect: () => (void this.connect(), face),
      disconnect: () => (void this.disconnect(), face),
    };
    return face;
  }
}
