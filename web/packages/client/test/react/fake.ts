import { HoldfastError } from "../../src/errors.js";
import type { AuthState, AuthStore, ClientLike } from "../../src/react/index.js";
import type { ConnectionState, PresenceEvent, Present, Room, Tokens, User } from "../../src/types.js";

type Handler = (...args: any[]) => void;

/** Handlers by name, with `emit`. */
class Bus {
  readonly handlers = new Map<string, Set<Handler>>();
  on(name: string, handler: Handler): () => void {
    const set = this.handlers.get(name) ?? new Set();
    this.handlers.set(name, set.add(handler));
    return () => void set.delete(handler);
  }
  emit(name: string, ...args: unknown[]): void {
    for (const handler of [...(this.handlers.get(name) ?? [])]) handler(...args);
  }
  count(name: string): number {
    return this.handlers.get(name)?.size ?? 0;
  }
}

/** As the client's promises of joins: nobody has to look at one. */
const handled = <T>(promise: Promise<T>): Promise<T> => (promise.catch(() => {}), promise);

/** A room as the client's are: one on the wire, however many hold it. `wire` is what the server would see. */
export class FakeRoom {
  readonly bus = new Bus();
  holds = 0;
  /** The socket has stopped for this: who waits for a join is told so, and the room stays. */
  stopped: HoldfastError | undefined;
  present: readonly Present[] = [];
  constructor(
    readonly name: string,
    readonly wire: string[],
    readonly refuse: HoldfastError | undefined,
  ) {}

  hold(): Room<any> {
    if (this.holds++ === 0) this.wire.push(`join ${this.name}`);
    const offs: (() => void)[] = [];
    const on = (name: string) => (handler: Handler) => {
      const off = this.bus.on(name, handler);
      offs.push(off);
      return off;
    };
    let held = true;
    const room = this;
    return {
      name: this.name,
      joined: handled(
        (this.refuse ?? this.stopped) ? Promise.reject(this.refuse ?? this.stopped) : Promise.resolve({ epoch: "e", offset: 0 }),
      ),
      position: undefined,
      on: (event: string, handler: Handler) => on(`event ${event}`)(handler),
      onAny: on("any"),
      onReset: on("reset"),
      onLeft: (handler: Handler) => {
        if (this.refuse) queueMicrotask(() => held && handler(this.refuse));
        return on("left")(handler);
      },
      onPresence: on("presence"),
      get present() {
        return room.present;
      },
      onTyping: on("typing"),
      onSignal: (event: string, handler: Handler) => on(`signal ${event}`)(handler),
      publish: async () => ({ epoch: "e", offset: 1 }),
      signal: (event: string, data: unknown, key?: string) =>
        void this.wire.push(`signal ${event} ${JSON.stringify(data)} ${key ?? "-"}`),
      typing: () => void this.wire.push(`typing ${this.name}`),
      setPresence: async () => {},
      presence: async () => [],
      leave: () => {
        if (!held) return;
        held = false;
        offs.forEach((off) => off());
        if (--this.holds === 0) this.wire.push(`leave ${this.name}`);
      },
    };
  }

  /** The client's rooms end, as after a change of user or of rights. */
  expel(error: HoldfastError): void {
    this.holds = 0;
    this.present = [];
    const left = [...(this.bus.handlers.get("left") ?? [])];
    this.bus.handlers.clear();
    for (const handler of left) handler(error);
  }

  /** Somebody comes, goes or changes. */
  people(event: PresenceEvent, present: readonly Present[]): void {
    this.present = present;
    this.bus.emit("presence", event);
  }
}

/** Keeps nothing and calls nobody. Its snapshots are as an AuthManager's: new at each change. */
export class FakeAuth implements AuthStore {
  readonly bus = new Bus();
  readonly calls: string[] = [];
  rights: string[] = [];
  /** Whose session a cookie is; null: nobody's. Undefined: cookies are not used. */
  ambient: User | null | undefined;
  #snapshot: AuthState;

  constructor(user?: User, ambient?: User | null) {
    this.ambient = ambient;
    this.#snapshot = this.#of(user, ambient !== undefined && !user);
  }
  #of(user: User | undefined, pending = false): AuthState {
    return { isAuthenticated: !!user, user, sessionId: undefined, pending };
  }

  on(event: string, handler: Handler): () => void {
    return this.bus.on(event, handler);
  }
  subscribe(listener: () => void): () => void {
    return this.bus.on("change", listener);
  }
  getSnapshot(): AuthState {
    return this.#snapshot;
  }
  async getAccessToken(): Promise<string | null> {
    this.calls.push("getAccessToken");
    await Promise.resolve();
    if (this.#snapshot.pending) this.sign(this.ambient ?? undefined);
    return this.#snapshot.user ? "token" : null;
  }
  hasRole(role: string | readonly string[]): boolean {
    return [role].flat().some((one) => this.#snapshot.user?.roles?.includes(one as string));
  }
  can(action: string): boolean {
    return this.rights.includes(action);
  }
  setTokens(tokens: Tokens): void {
    this.sign(tokens.user as User);
  }
  async refresh(): Promise<void> {
    this.#snapshot = { ...this.#snapshot };
    this.bus.emit("change");
  }
  async clear(): Promise<void> {
    this.sign(undefined);
  }
  sign(user: User | undefined): void {
    this.#snapshot = this.#of(user);
    this.bus.emit(user ? "sign-in" : "sign-out", {});
    this.bus.emit("change");
  }
}

/** A client without network. `wire` is what would have gone out. */
export function fakeClient(auth?: FakeAuth) {
  const wire: string[] = [];
  const rooms = new Map<string, FakeRoom>();
  const refused = new Map<string, HoldfastError>();
  const bus = new Bus();
  let state: ConnectionState = { state: "disconnected", connected: false, connecting: false, final: false };
  const set = (next: ConnectionState["state"]) => {
    state = { state: next, connected: next === "connected", connecting: next === "connecting", final: false };
    bus.emit("state");
  };
  const room = (name: string) => {
    if (!rooms.has(name)) rooms.set(name, new FakeRoom(name, wire, refused.get(name)));
    return rooms.get(name)!;
  };
  const socket = {
    connect: async () => {
      if (state.state === "connected") return;
      wire.push("connect");
      set("connected");
    },
    close: () => {
      wire.push("close");
      set("closed");
    },
    get state() {
      return state;
    },
    subscribe: (listener: Handler) => bus.on("state", listener),
    on: (event: string, handler: Handler) => bus.on(`event ${event}`, handler),
    emit: async (event: string, data: unknown) => void wire.push(`emit ${event} ${JSON.stringify(data)}`),
    emitAck: async (event: string, data: unknown) => (wire.push(`ack ${event} ${JSON.stringify(data)}`), "answer"),
    join: (name: string) => room(name).hold(),
  };
  const client = { http: { name: "http" }, socket, auth, close: () => socket.close() };
  return { client: client as unknown as ClientLike, wire, bus, room, refused, set };
}
