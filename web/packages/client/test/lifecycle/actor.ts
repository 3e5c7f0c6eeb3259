import { createRealtimeClient, HoldfastError } from "../../src/index.js";
import type { Room } from "../../src/types.js";
import { paths, type TestServer, type TestTab } from "../../src/testing/index.js";
import type { Config, Step } from "./scenario.js";

/** What came of something that was done. */
export interface Outcome {
  step: Step;
  began: number; // epoch ms
  done: boolean;
  took: number; // ms
  error?: unknown;
  data?: unknown;
}

/** The key in the storage where a client keeps its tokens. */
const tokenKey = "holdfast:tokens";

const withoutCode = ["NETWORK", "CONNECTION_LOST", "TIMEOUT"];

/** What the files call an error. */
export function errorName(e: unknown): string {
  if (e === undefined) return "";
  return e instanceof HoldfastError ? e.code : `an error of another kind: ${String(e)}`;
}

/** A client of a scenario. */
export class Actor {
  readonly name: string;
  readonly outcomes = new Map<string, Outcome[]>();
  silent: Outcome[] = [];
  events: string[] = [];
  changes: string[] = [];
  received: unknown[] = [];
  unauthorized = 0;
  readonly #server: TestServer;
  readonly #tab: TestTab;
  readonly #config: Config;
  readonly #client: ReturnType<typeof createRealtimeClient>;
  readonly #rooms = new Map<string, Room[]>();
  readonly #pending: (() => void)[] = [];

  constructor(name: string, config: Config, server: TestServer, tab: TestTab) {
    this.name = name;
    this.#config = config;
    this.#server = server;
    this.#tab = tab;
    const { source, user = "", buffer, idle, queue } = config;
    const common = { url: server.url, platform: tab, socket: queue ? { queue: { maxItems: queue } } : {} };
    if (source === "fixed") this.#client = createRealtimeClient({ ...common, authToken: server.signIn(user).accessToken });
    else if (source === "function") this.#client = createRealtimeClient({ ...common, authToken: () => server.signIn(user).accessToken });
    else if (source === "cookie") this.#client = createRealtimeClient({ ...common, auth: false });
    else
      this.#client = createRealtimeClient({
        ...common,
        auth: {
          ...(buffer !== undefined && { tokenExpiryBuffer: buffer }),
          ...(idle !== undefined && { inactivityTimeout: idle }),
          onUnauthorized: () => this.unauthorized++,
        },
      });
    if (!source || source === "manager") this.#follow();
    this.#listen();
  }

  /** Only for the files whose source is a manager. */
  get auth() {
    return this.#client.auth!;
  }

  get socket() {
    return this.#client.socket;
  }

  get managed(): boolean {
    return !this.#config.source || this.#config.source === "manager";
  }

  /** The number of the token that is kept. */
  get token(): number {
    return this.#server.serial(JSON.parse(this.#tab.localStorage.getItem(tokenKey) ?? "{}").access);
  }

  #follow(): void {
    const kinds = ["sign-in", "sign-out", "refresh", "refresh-failed", "inactivity-timeout", "error"] as const;
    for (const kind of kinds) {
      this.auth.on(kind, ({ source }) => void this.events.push(kind + (source === "remote" ? " remote" : "")));
    }
  }

  #listen(): void {
    let before = "";
    this.socket.subscribe(() => {
      const { state, final, error } = this.socket.state;
      // What the network did has no code, and whoever has closed it knows why.
      const reason = state === "closed" || !error || withoutCode.includes(error.code) ? "" : ` ${errorName(error)}`;
      // Here `connecting` begins with the wait for the attempt: one change tells of both.
      if (before === "connected" && state === "connecting") this.changes.push(`disconnected${reason}`, "connecting");
      else this.changes.push((state === "disconnected" && final ? "stopped" : state) + reason);
      before = state;
    });
    this.socket.onAny((event, args) => {
      if (event.startsWith("auth:")) return;
      const meta = args[1] as { room?: string } | undefined;
      this.received.push([meta?.room ?? "", event, args[0] ?? null]);
    });
  }

  close(): void {
    for (const cancel of this.#pending) cancel();
    this.socket.close();
    this.#tab.kill();
  }

  /** Begins what is to be done; it may take its time. */
  do(step: Step): void {
    const call = this.#call(step);
    if (step.as !== undefined) this.outcomes.delete(step.as);
    for (let i = 0; i < (step.times ?? 1); i++) void this.#begin(step, call);
  }

  async #begin(step: Step, call: (signal: AbortSignal) => unknown): Promise<void> {
    const outcome: Outcome = { step, began: Date.now(), done: false, took: 0 };
    if (step.as === undefined) this.silent.push(outcome);
    else this.outcomes.set(step.as, [...(this.outcomes.get(step.as) ?? []), outcome]);
    const caller = new AbortController();
    this.#pending.push(() => caller.abort());
    const late = new DOMException("the caller's time is over", "TimeoutError");
    const timer = step.timeout === undefined ? undefined : setTimeout(() => caller.abort(late), step.timeout);
    try {
      outcome.data = await call(caller.signal);
    } catch (e) {
      outcome.error = e ?? new Error("rejected without a reason");
    }
    clearTimeout(timer);
    outcome.took = Date.now() - outcome.began;
    outcome.done = true;
  }

  #call(s: Step): (signal: AbortSignal) => unknown {
    const { http, socket } = this.#client;
    const { auth } = this;
    const { room = "", event = "", data, path = "", user = "" } = s;
    switch (s.do) {
      case "signIn":
        return async (signal) => {
          const body = { email: user, password: "any", mode: "token" };
          await auth.setTokens(await http.post(paths.signIn, body, { signal, anonymous: true }));
        };
      case "signOut":
        return () => auth.clear();
      case "refresh":
        return async (signal) => void (await auth.refresh(signal));
      case "token":
        return async (signal) => this.#server.serial(await auth.getAccessToken(signal));
      case "touch":
        return () => auth.touch();
      case "request":
        return (signal) => {
          if (s.method === "POST") return http.post(path, data, { signal });
          if (s.method === "PUT") return http.put(path, data, { signal });
          if (s.method === undefined || s.method === "GET") return http.get(path, { signal });
          throw new Error(`unknown: method ${s.method}`);
        };
      case "connect":
        return (signal) => socket.connect(signal);
      case "close":
        return () => socket.close();
      case "emit":
        return (signal) => socket.emit(event, data, { signal });
      case "ask":
        return (signal) => socket.emitAck(event, data, { signal });
      case "publish":
        return (signal) => socket.publish(room, event, data, { signal });
      case "join":
        return () => this.#join(room);
      case "leave":
        return () => {
          const held = this.#rooms.get(room)?.shift();
          if (!held) throw new Error("the room is not held");
          held.leave();
        };
      default:
        throw new Error(`unknown: do ${s.do}`);
    }
  }

  /** Holds a room once more. What comes in it is heard by the socket already. */
  async #join(name: string): Promise<void> {
    const room = this.socket.join(name);
    room.onReset(() => this.received.push([name, "reset", null]));
    await room.joined;
    room.onLeft((e) => this.received.push([name, "left", errorName(e)])); // before that it was not there to leave
    this.#rooms.set(name, [...(this.#rooms.get(name) ?? []), room]);
  }

  /** Those without a name that went wrong, once. */
  failed(): string[] {
    const wrong = this.silent.filter((o) => o.error !== undefined);
    this.silent = this.silent.filter((o) => !o.done);
    return wrong.map((o) => `${this.name}: ${JSON.stringify(o.step)}: ${errorName(o.error)} (${String(o.error)})`);
  }
}
