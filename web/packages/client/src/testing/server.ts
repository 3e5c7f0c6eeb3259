import type { Code } from "../codes.js";
import type { WebSocketConstructor } from "../platform.js";
import type { Position, Tokens, User } from "../types.js";
import { Connection, type EventHandler, type Remembered, type World } from "./connection.js";
import type { CookieJar } from "./cookies.js";
import { Engine } from "./engine.js";
import { covers, Cut, Faults, jsonAnswer, refusalAnswer, type Answer, type Failure, type LoggedRequest } from "./faults.js";
import { fetchFor, type Caps } from "./fetch.js";
import { caller, guarded, handshakeToken, ownCall, unsafe, type Calls, type TestRequest } from "./http.js";
import { Hub } from "./hub.js";
import { Issuer, type Claims, type Session } from "./issuer.js";
import { Refusal, toRefusal } from "./refusal.js";
import { Link, TestSocket } from "./websocket.js";

/** A route of the application's: what it returns is answered as JSON, what it throws is refused. */
export type RouteHandler = (request: TestRequest & {
  /** The body as JSON; undefined for none. */
  json: any;
  /** Throws, and so answers 401, unless somebody is signed in. */
  user(): User;
}) => unknown;

/** What a TestServer is like. All of it has defaults. */
export interface TestServerConfig {
  /** Default `http://holdfast.test`. */
  url?: string;
  /** Milliseconds that access tokens are good. Default 15 min. */
  lifetime?: number;
  /** What the token of a user says. Default: all rooms, nothing else. */
  claims?: (user: string) => Claims;
  /** Everybody's. Default: any will do. */
  password?: string;
  /** Tokens are texts without claims. */
  opaque?: boolean;
  /** Answers don't say when a token expires. */
  noExpiry?: boolean;
  /** Refresh tokens are not rotated, and answers to a refresh have none. */
  keepRefresh?: boolean;
  /** Calls that change something and have no Authorization header need a CSRF token, which comes in this way alone. */
  csrf?: "header" | "body" | "cookie";
  /** To its sockets it is a Socket.IO server without `auth:` events. */
  plain?: boolean;
  /** Namespaces beside `/`. */
  namespaces?: string[];
  /** Origins, beside its own, whose pages may call. */
  allowedOrigins?: string[];
  /** So many users of a room are told of each other; over it, presence is paused. Default 500. */
  presenceLimit?: number;
  /** False: transport=polling is refused. */
  polling?: boolean;
  /** Milliseconds. Default 25,000 and 20,000. */
  pingInterval?: number;
  pingTimeout?: number;
  /** Epoch milliseconds. Default: `Date.now`, which fake timers set. */
  now?: () => number;
}

/** Paths, for the methods that take one; `any` is all. */
export const paths = {
  any: "", signIn: "/api/auth/sign-in", signOut: "/api/auth/sign-out", refresh: "/api/auth/refresh", csrf: "/api/auth/csrf",
  sockets: "/socket.io/",
} as const;

/**
 * A Holdfast server in memory that can be told to misbehave. `fetch` and
 * `WebSocket` reach it, whatever else is there. It settles by microtasks and
 * `setTimeout` alone, so that fake timers drive it.
 *
 * It is an implementation of docs/protocol.md of its own, for tests: tokens
 * look like JWTs and are not signed, ids are counted and no secrets, and the
 * limits of a real server are absent. `/app/me`, `/app/echo` and the events
 * `add`, `echo` and `refuse` are a small application to begin with.
 */
export class TestServer {
  readonly url: string;
  /** As the global `fetch`, without cookies. */
  readonly fetch: typeof fetch;
  readonly WebSocket: WebSocketConstructor;
  /** Payloads of the event `add` that had an effect. */
  readonly added: unknown[] = [];

  readonly #config: TestServerConfig;
  readonly #now: () => number;
  readonly #issuer: Issuer;
  readonly #hub: Hub;
  readonly #faults: Faults;
  readonly #calls: Calls;
  readonly #world: World;
  readonly #routes: [path: string, handler: RouteHandler][] = [];
  readonly #events = new Map<string, EventHandler>();
  readonly #links = new Set<Link>();
  readonly #connections = new Map<string, Connection>();
  #dropAcks = 0;

  constructor(config: TestServerConfig = {}) {
    const { lifetime = 900_000, opaque = false, noExpiry = false, keepRefresh = false, claims = () => ({}) } = config;
    this.#config = config;
    this.url = config.url ?? "http://holdfast.test";
    const now = (this.#now = config.now ?? (() => Date.now()));
    const issuer = (this.#issuer = new Issuer({ lifetime, opaque, noExpiry, keepRefresh, claims }, now));
    const hub = (this.#hub = new Hub(now, config.presenceLimit ?? 500));
    this.#faults = new Faults(now);
    this.#calls = { issuer, hub, password: config.password, csrf: config.csrf, over: (s) => this.#over(s) };
    this.#world = {
      issuer, hub, now,
      namespaces: config.namespaces ?? [],
      handler: (event) => this.#events.get(event),
      acks: new Map<string, Remembered>(),
      gone: (c) => this.#connections.delete(c.id),
    };
    this.fetch = fetchFor(this);
    this.WebSocket = this.webSocketFor();
    this.#application();
  }

  #application(): void {
    this.on("add", (data) => this.added.push(data));
    this.on("echo", (data) => data);
    this.on("refuse", (code: Code) => {
      throw new Refusal(code);
    });
    this.handle("/app/me", (r) => r.user().id);
    this.handle("/app/echo", (r) => r.user() && r.json);
  }

  /** Handles an event of the sockets, in place of what did so before. */
  on(event: string, handler: EventHandler): void {
    this.#events.set(event, handler);
  }

  /** Adds a route, in place of one with the same path: a path, or a folder that ends in a slash. */
  handle(path: string, handler: RouteHandler): void {
    this.#routes.unshift([path, handler]);
  }

  /** A session of anybody, as a sign-in form would get it. */
  signIn(user: string): Tokens {
    return this.#issuer.signIn(user).tokens;
  }

  /** A token of a user that belongs to no session. `lifetime` in milliseconds. */
  issue(user: string, lifetime?: number): string {
    return this.#issuer.mint(user, undefined, lifetime);
  }

  /** Which token a text is, counted from 1 in the order in which they were made; 0 for none of this server's. */
  serial(token: string | null | undefined): number {
    return this.#issuer.access.get(token ?? "")?.serial ?? 0;
  }

  /** Publishes into a room, as a backend does. */
  publish(room: string, event: string, data?: unknown, id?: string): Position {
    return this.#hub.publish(room, event, data, { id });
  }

  /** Sends an event to every connection. */
  emit(event: string, ...args: unknown[]): void {
    for (const c of this.#connections.values()) c.send(event, args);
  }

  // What goes wrong.

  /** Answers requests for a path with a failure. Of several of a path the first that is not used up counts. */
  fail(path: string, failure: Failure): void {
    this.#faults.fail(path, failure);
  }

  /** Requests for a path wait before anything is done about them, until `heal`. */
  slow(path: string, ms: number): void {
    this.#faults.add("slow", path, { delay: ms });
  }

  /** Does what requests for a path ask for, and waits before it answers, until `heal`. */
  slowReplies(path: string, ms: number): void {
    this.#faults.add("slowAfter", path, { delay: ms });
  }

  /** Cuts the next n requests for a path before anything is done about them. */
  dropRequests(path: string, n = 1): void {
    this.#faults.add("dropBefore", path, { left: n });
  }

  /** Does what the next n requests for a path ask for, and cuts them instead of answering. */
  dropReplies(path: string, n = 1): void {
    this.#faults.add("dropAfter", path, { left: n });
  }

  /** Does what the next n events ask for, and cuts their sockets instead of sending the ack. */
  dropAcks(n = 1): void {
    this.#dropAcks = n;
  }

  /** The tokens of the next n refreshes are refused. */
  refuseFresh(n = 1): void {
    this.#issuer.fresh = n;
  }

  /** The next n credentials are refused, of calls and of connections. */
  refuse(code: Code, n = 1): void {
    this.#issuer.refusal = code;
    this.#issuer.refusals = n;
  }

  /** Every token so far counts as expired at its next use; open connections stay. */
  expire(): void {
    this.#issuer.expire();
  }

  /** Ends all of the above but `expire`. */
  heal(): void {
    this.#faults.heal();
    this.#dropAcks = this.#issuer.fresh = this.#issuer.refusals = 0;
  }

  /** Ends all sessions of a user, and their connections. Throws where there is none. */
  revoke(user: string): void {
    this.#revoke((s) => s.user === user);
  }

  /** Ends one session. */
  revokeSession(id: string): void {
    this.#revoke((s) => s.id === id);
  }

  #revoke(matches: (s: Session) => boolean): void {
    const sessions = this.#issuer.end("SESSION_REVOKED", matches);
    if (sessions.length === 0) throw new Error("there is no such session");
    this.#over(sessions);
  }

  #over(sessions: Session[]): void {
    for (const c of [...this.#connections.values()]) {
      if (c.identity?.session && sessions.includes(c.identity.session)) c.end(new Refusal("SESSION_REVOKED"));
    }
  }

  /** The user's permissions have changed: his tokens are stale, and open connections have 30 s for a refresh. */
  bump(user: string): void {
    this.#issuer.versions.set(user, (this.#issuer.versions.get(user) ?? 0) + 1);
    for (const c of this.#connections.values()) if (c.identity?.user.id === user) c.stale();
  }

  /** Sets the clock wrong, as far as others see it. In milliseconds. */
  skew(ms: number): void {
    this.#issuer.skew = ms;
  }

  /** Makes a new CSRF token: the old one is a mismatch. */
  forgetCSRF(): void {
    this.#issuer.csrf = this.#issuer.unique("csrf-");
  }

  /** A close frame on every WebSocket, which the server knows nothing of; returns how many there were. */
  close(status: number, reason = ""): number {
    return this.#each((l) => l.close(status, reason));
  }

  /** Ends every connection as the server does: `auth:closing`, and the close that goes with it. Returns how many. */
  end(code: Code): number {
    const all = [...this.#connections.values()].filter((c) => c.admitted);
    for (const c of all) c.end(new Refusal(code));
    return all.length;
  }

  /** Every WebSocket is `cut`, also in the middle of a frame, or `silent`: open, and nothing comes through. Returns how many. */
  vanish(how: "cut" | "midFrame" | "silent" = "cut"): number {
    return this.#each((l) => {
      if (how === "silent") l.mute = l.silent = true;
      else l.cut(); // a WebSocket shows no frame that is not whole
    });
  }

  #each(run: (l: Link) => void): number {
    const all = [...this.#links].filter((l) => l.open);
    all.forEach(run);
    return all.length;
  }

  /** Ends as a crash does: nobody listens, and connections are cut without a word. No timer is left. */
  stop(o: { wipe?: boolean } = {}): void {
    this.#faults.stop();
    for (const c of [...this.#connections.values()]) c.engine.crash();
    this.#each((l) => l.cut());
    this.#hub.empty();
    if (o.wipe) this.#hub.wipe();
  }

  /** Comes back. Sessions were kept, and the rooms' history unless `stop` has wiped it. */
  start(): void {
    this.#faults.stopped = false;
  }

  // What came in.

  get log(): readonly LoggedRequest[] {
    return this.#faults.log;
  }

  /** How many requests for a path came in, answered or not. */
  requests(path: string): number {
    return this.#faults.count((r) => covers(path, r.path));
  }

  get refreshes(): number {
    return this.requests(paths.refresh);
  }

  get signOuts(): number {
    return this.requests(paths.signOut);
  }

  /** How many connections were asked for, admitted or not. */
  get connections(): number {
    return this.#faults.count((r) => r.handshake);
  }

  /** How many are open and admitted. */
  get connected(): number {
    return [...this.#connections.values()].filter((c) => c.admitted).length;
  }

  // The network.

  /** @internal Serves one call; throws Cut where it is not answered. */
  serve(request: TestRequest): Promise<Answer> {
    const { method, url, signal } = request;
    const handshake = this.#isHandshake(url);
    return this.#faults.around({ method, path: url.pathname, handshake, signal }, async () => {
      const answer = await this.#answer(request, handshake);
      answer.headers["Date"] = new Date(this.#now() + this.#issuer.skew).toUTCString();
      return answer;
    });
  }

  #isHandshake(url: URL): boolean {
    return url.pathname.replace(/\/$/, "") === "/socket.io" && !url.searchParams.has("sid");
  }

  async #answer(r: TestRequest, handshake: boolean): Promise<Answer> {
    try {
      const origin = r.headers.get("Origin");
      if (origin && (unsafe(r) || covers(paths.sockets, r.url.pathname)) && !this.#allowed(origin)) throw new Refusal("ORIGIN_NOT_ALLOWED");
      if (guarded(this.#calls, r, handshake)) throw new Refusal("CSRF_MISMATCH");
      if (covers(paths.sockets, r.url.pathname)) return await this.#poll(r);
      return ownCall(this.#calls, r) ?? (await this.#route(r));
    } catch (e) {
      if (e instanceof Cut) throw e;
      const refusal = toRefusal(e);
      const answer = refusalAnswer(refusal, r.headers.has("Authorization"), this.#issuer.unique("r_"));
      if (refusal.code === "CSRF_MISMATCH" && this.#config.csrf === undefined) {
        answer.headers["X-CSRF-Token"] = this.#issuer.csrf;
        answer.cookies = [`csrf-token=${this.#issuer.csrf}; Path=/; SameSite=Lax`];
      }
      return answer;
    }
  }

  #allowed(origin: string): boolean {
    return origin === new URL(this.url).origin || (this.#config.allowedOrigins ?? []).includes(origin);
  }

  async #route(r: TestRequest): Promise<Answer> {
    const route = this.#routes.find(([path]) => path !== "" && covers(path, r.url.pathname));
    if (!route) throw new Refusal("NOT_FOUND", "There is nothing at this path");
    let json: unknown;
    try {
      json = r.body === "" ? undefined : JSON.parse(r.body);
    } catch {
      // the route may want it as it is
    }
    const result = await route[1]({ ...r, json, user: () => caller(this.#issuer, r).user });
    return jsonAnswer(result ?? null);
  }

  /** Engine.IO over polling. */
  async #poll(r: TestRequest): Promise<Answer> {
    const query = r.url.searchParams;
    if (this.#config.polling === false || query.get("transport") !== "polling") throw new Refusal("INVALID_ARGUMENT");
    const text = (body: string) => ({ status: 200, headers: { "Content-Type": "text/plain; charset=UTF-8" }, body, cookies: [] });
    const sid = query.get("sid");
    if (sid === null) return text(this.#open(r).start());
    const engine = this.#connections.get(sid)?.engine;
    if (!engine) throw new Refusal("INVALID_ARGUMENT", "Session ID unknown");
    if (r.method !== "POST") return text(await engine.poll(r.signal));
    engine.payload(r.body);
    return text("ok");
  }

  #open(r: TestRequest, link?: Link): Engine {
    const { pingInterval = 25_000, pingTimeout = 20_000 } = this.#config;
    const engine = new Engine(this.#issuer.unique("e_"), { pingInterval, pingTimeout, maxPayload: 1_000_000 }, link);
    this.#connections.set(engine.sid, new Connection(this.#world, engine, () => handshakeToken(this.#issuer, r)));
    return engine;
  }

  /** @internal The WebSocket of a page: with its cookies and origin. */
  webSocketFor(page?: { jar: CookieJar; origin: string; caps?: Caps }): WebSocketConstructor {
    const dial = (link: Link, url: URL) => {
      page?.caps?.links.add(link);
      return this.#dial(link, url, page);
    };
    return class extends TestSocket {
      constructor(url: string | URL) {
        super(url, dial);
      }
    };
  }

  async #dial(link: Link, url: URL, page?: { jar: CookieJar; origin: string; caps?: Caps }): Promise<() => void> {
    await null;
    if (page?.caps?.dead) throw new Error("the tab is closed");
    const headers = new Headers();
    const cookies = page?.jar.header(url.pathname);
    if (page) headers.set("Origin", page.origin);
    if (cookies) headers.set("Cookie", cookies);
    const request: TestRequest = { method: "GET", url, headers, body: "" };
    const sid = url.searchParams.get("sid");
    let start = () => {};
    const handshake = this.#isHandshake(url);
    const answer = await this.#faults.around({ method: "GET", path: url.pathname, handshake }, async () => {
      const polled = sid === null ? undefined : this.#connections.get(sid)?.engine;
      const known = covers(paths.sockets, url.pathname) && url.searchParams.get("transport") === "websocket" && (sid === null || polled);
      if (!known || (page && !this.#allowed(page.origin))) return { ...jsonAnswer(null), status: 400 };
      link.filter = (f) => this.#filter(f);
      this.#links.add(link);
      start = () => (polled ? polled.upgrade(link) : void this.#open(request, link).start());
      return { ...jsonAnswer(null), status: 101 };
    });
    if (answer.status !== 101) throw new Error("the handshake was refused");
    return start;
  }

  /** What the server sends: acks that get lost, and what a plain Socket.IO server does not know. */
  #filter(f: unknown): "pass" | "drop" | "cut" {
    if (typeof f !== "string") return "pass";
    if (/^4[36]/.test(f) && this.#dropAcks !== 0) {
      this.#dropAcks--;
      return "cut";
    }
    return this.#config.plain && /^42(\/[^,]*,)?\d*\["auth:/.test(f) ? "drop" : "pass";
  }
}

/** Makes a server for a test: see TestServer. Call its `stop` at the test's end. */
export function createTestServer(config?: TestServerConfig): TestServer {
  return new TestServer(config);
}
