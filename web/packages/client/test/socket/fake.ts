import { vi } from "vitest";
import type { Platform, WebSocketLike } from "../../src/platform.js";
import { HoldfastError } from "../../src/errors.js";
import type { AuthEvents, SocketConfig, TokenSource, Unsubscribe, User } from "../../src/types.js";
import { createSocket } from "../../src/socket/socket.js";
import "../../src/socket/rooms.js"; // loaded by the first join: reading files takes time of the real clock
import { decoder, encode, type Packet } from "../../src/socket/parser.js";

/** One connection at the fake server, from the server's side. */
export class Peer {
  auth: any;
  closed = false;
  got: any[][] = [];
  readonly url: URL;
  #decode = decoder();
  #server: Server;
  readonly ws: FakeWebSocket;

  constructor(server: Server, ws: FakeWebSocket, url: string) {
    this.#server = server;
    this.ws = ws;
    this.url = new URL(url);
  }

  raw(frame: string | ArrayBuffer): void {
    queueMicrotask(() => this.ws.readyState === 1 && this.ws.onmessage?.({ data: frame }));
  }

  send(type: number, data?: unknown, id?: number): void {
    for (const f of encode(type, this.#server.ns, id, data)) this.raw(f as string);
  }

  emit(...args: unknown[]): void {
    this.send(2, args);
  }

  close(code: number, reason = ""): void {
    queueMicrotask(() => this.ws.end(code, reason));
  }

  take(frame: string | ArrayBuffer): void {
    if (this.#server.silent) return;
    let p: Packet | undefined;
    if (typeof frame === "string") {
      if (frame[0] !== "4") return;
      p = this.#decode(frame.slice(1));
    } else p = this.#decode(frame);
    if (!p) return;
    const s = this.#server;
    if (p.type === 0) {
      this.auth = p.data;
      s.auths.push(p.data);
      if (s.hang) return;
      const refused = s.refusals.shift();
      if (refused) return this.send(4, refused);
      s.peers.push(this);
      this.send(0, { sid: "s" });
      if (s.session) this.emit("auth:session", { ...s.session, user: s.userOf(this.auth) });
    } else if (p.type === 1) this.closed = true;
    else if (p.type === 2) {
      const args = p.data as any[];
      this.got.push(args);
      s.events.push(args);
      const answer = s.answer(args, this);
      if (p.id !== undefined && answer !== undefined) this.send(3, [answer], p.id);
    } else if (p.type === 3) s.acks.push([p.id, ...p.data]);
  }
}

class FakeWebSocket implements WebSocketLike {
  binaryType = "";
  readyState = 0;
  bufferedAmount = 0;
  onopen: any = null;
  onmessage: any = null;
  onclose: any = null;
  onerror: any = null;
  peer!: Peer;
  send(data: any): void {
    if (this.readyState === 1) this.peer.take(data instanceof Uint8Array ? data.slice().buffer : data);
  }
  close(code = 1005): void {
    this.peer.closed = true;
    this.end(code, "");
  }
  end(code: number, reason: string): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({ code, reason, wasClean: code !== 1006 });
  }
}

/** A server of which each test says how it behaves. */
export class Server {
  ns = "/";
  up = true;
  /** Nothing that is said reaches it, and nothing comes. */
  silent = false;
  /** It does not answer CONNECT. */
  hang = false;
  session: any = { connection: "c1", expiresAt: 0, features: ["refresh", "id", "since"] };
  attempts = 0;
  /** Of those let in. */
  peers: Peer[] = [];
  auths: any[] = [];
  events: any[][] = [];
  acks: any[][] = [];
  refusals: any[] = [];
  answers: Record<string, (data: any, args: any[], peer: Peer) => unknown> = {};
  handshake = { sid: "x", upgrades: [], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1e6 };

  userOf(auth: any): User {
    return { id: String(auth?.token ?? "").split("-")[0] || "nobody" };
  }

  get peer(): Peer {
    return this.peers.at(-1)!;
  }

  named(event: string): any[] {
    return this.events.filter((e) => e[0] === event).map((e) => e[1]);
  }

  answer([event, data, ...rest]: any[], peer: Peer): unknown {
    const own = this.answers[event];
    if (own) return own(data, [data, ...rest], peer);
    switch (event) {
      case "room:join":
        return ok({ room: data.room, epoch: "e", offset: 0, ...(data.since && { recovered: true }), presence: [] });
      case "auth:refresh":
        return ok({ expiresAt: 5, expiresIn: 5 });
      case "echo":
        return ok(data);
    }
    return ok({});
  }

  get WebSocket() {
    // eslint-disable-next-line @typescript-eslint/no-this-alias
    const server = this;
    return class extends FakeWebSocket {
      constructor(url: string) {
        super();
        server.attempts++;
        this.peer = new Peer(server, this, url);
        queueMicrotask(() => {
          if (this.readyState) return;
          if (!server.up) return this.end(1006, "");
          this.readyState = 1;
          this.onopen?.({});
          if (!server.silent) this.peer.raw("0" + JSON.stringify(server.handshake));
        });
      }
    };
  }
}

export const ok = (data: unknown) => ({ ok: true, data });
export const no = (code: string, more = {}) => ({ ok: false, error: { code, message: `refused: ${code}`, ...more } });

/** A token source whose session a test changes. Tokens are `USER-N`. */
export class Session implements TokenSource {
  user: User | undefined;
  n = 1;
  dead = false;
  refusals: [string, string][] = [];
  touched = 0;
  #handlers: [string, (e: any) => void][] = [];
  constructor(user?: string) {
    if (user) this.user = { id: user };
  }
  get token(): string | null {
    return this.user ? `${this.user.id}-${this.n}` : null;
  }
  async getAccessToken(): Promise<string | null> {
    return this.token;
  }
  async refused(token: string, error: HoldfastError): Promise<void> {
    this.refusals.push([token, error.code]);
    if (error.code === "SESSION_REVOKED") {
      this.signOut();
      throw error;
    }
    if (token === this.token) this.n++;
  }
  getUser(): User | undefined {
    return this.user;
  }
  touch(): void {
    this.touched++;
  }
  on(event: any, handler: any): Unsubscribe {
    const e: [string, any] = [event, handler];
    this.#handlers.push(e);
    return () => (this.#handlers = this.#handlers.filter((x) => x !== e));
  }
  tell<K extends keyof AuthEvents>(event: K, payload: AuthEvents[K]): void {
    for (const [name, fn] of this.#handlers) if (name === event) fn(payload);
  }
  rotate(): void {
    this.n++;
    this.tell("refresh", { accessToken: this.token!, source: "self" });
  }
  signIn(user: string): void {
    this.user = { id: user };
    this.n++;
    this.tell("sign-in", { user: this.user, source: "self" });
  }
  signOut(): void {
    this.user = undefined;
    this.tell("sign-out", { source: "self" });
  }
  get listeners(): number {
    return this.#handlers.length;
  }
}

/** Lets everything settle that needs no time. */
export const settle = () => vi.advanceTimersByTimeAsync(0);
export const advance = (ms: number) => vi.advanceTimersByTimeAsync(ms);

export function client(config: SocketConfig = {}, more: { source?: TokenSource | undefined; platform?: Platform } = {}) {
  const server = new Server();
  const source = "source" in more ? more.source : new Session("ann");
  const window = new EventTarget();
  const random = { value: 0.5 };
  const platform: Platform = { WebSocket: server.WebSocket, events: window, random: () => random.value, ...more.platform };
  const socket = createSocket<any>({
    url: () => "https://rt.example.com/app/",
    config: { transports: ["websocket"], ...config },
    source,
    platform,
    withCredentials: false,
  });
  const changes: string[] = [];
  let last = "";
  socket.subscribe(() => {
    const s = socket.state;
    const text = (s.final && s.state === "disconnected" ? "stopped" : s.state) + (s.error ? " " + s.error.code : "");
    if (text !== last) changes.push((last = text));
  });
  return { server, socket, session: source as Session, window, random, changes, platform };
}
