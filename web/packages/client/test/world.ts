import { vi } from "vitest";
import { createHttp, type Http, type HttpDeps } from "../src/http/own.js";
import { AuthManager } from "../src/auth/manager.js";
import type { Channel, Locks, Platform } from "../src/platform.js";
import type { AuthConfig } from "../src/types.js";

/** A JWT that nobody has signed. */
export function jwt(claims: object): string {
  const part = (o: object) => Buffer.from(JSON.stringify(o)).toString("base64url");
  return `${part({ alg: "none" })}.${part(claims)}.x`;
}

export function json(body: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } });
}

/** Lets what is under way go on, without time passing. */
export async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

type Handler = (req: Request, n: number) => Response | Promise<Response>;

/** A server: handlers by path; what has none is 404. */
export class Server {
  readonly requests: {
    method: string;
    path: string;
    headers: Headers;
    body: string;
    credentials: string;
    redirect: string;
  }[] = [];
  readonly routes: Record<string, Handler> = {};
  tokens = 0;

  constructor() {
    this.routes["/api/auth/refresh"] = () => json(this.grant("ann"));
    this.routes["/api/auth/sign-out"] = () => json({});
  }

  grant(
    user: string,
    expiresIn: number | undefined = 900,
  ): { accessToken: string; refreshToken: string; sessionId: string; expiresIn: number; user: { id: string } } {
    const n = ++this.tokens;
    return {
      accessToken: `${user}-${n}`,
      refreshToken: `r-${user}-${n}`,
      sessionId: `s-${user}`,
      expiresIn,
      user: { id: user },
    };
  }

  count(path: string): number {
    return this.requests.filter((r) => r.path === path).length;
  }

  readonly fetch = async (input: RequestInfo | URL): Promise<Response> => {
    const req = input as Request;
    const path = new URL(req.url).pathname;
    const { method, headers, credentials, redirect } = req;
    this.requests.push({ method, path, headers, credentials, redirect, body: await req.clone().text() });
    const route = this.routes[path];
    return route ? route(req, this.count(path)) : json({ error: "Not found", code: "NOT_FOUND" }, 404);
  };
}

class Shelf implements Storage {
  /** What its process has heard of so far, while it hears nothing. */
  stale: Map<string, string> | undefined;
  readonly #kept: Map<string, string>;
  readonly #changed: (key: string, value: string | null) => void;
  /** What each use throws: storage that is blocked, or full where only `writes`. */
  broken: Error | undefined;
  writes: Error | undefined;
  [name: string]: any;

  constructor(kept: Map<string, string>, changed: (key: string, value: string | null) => void) {
    this.#kept = kept;
    this.#changed = changed;
  }
  get length(): number {
    return this.#kept.size;
  }
  key(): null {
    return null;
  }
  clear(): void {
    this.#kept.clear();
  }
  getItem(key: string): string | null {
    if (this.broken) throw this.broken;
    return (this.stale ?? this.#kept).get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    if (this.broken ?? this.writes) throw this.broken ?? this.writes;
    this.stale?.set(key, value);
    if (this.#kept.get(key) === value) return;
    this.#kept.set(key, value);
    this.#changed(key, value);
  }
  removeItem(key: string): void {
    if (this.broken) throw this.broken;
    this.stale?.delete(key);
    if (this.#kept.delete(key)) this.#changed(key, null);
  }
}

/** The browser that tabs have in common. */
export class Browser {
  readonly kept = new Map<string, string>();
  readonly tabs: Tab[] = [];
  readonly server = new Server();
  channels = new Set<Channel & { name: string; tab: Tab }>();
  #queue: { name: string; give: () => void }[] = [];
  #owners = new Map<string, Tab>();

  lock(tab: Tab): Locks {
    return {
      request: async (name, { signal }, run) => {
        const wait = { name, give: () => {} };
        await new Promise<void>((resolve, reject) => {
          wait.give = resolve;
          signal?.addEventListener("abort", () => {
            if (!this.#queue.includes(wait)) return;
            this.#queue.splice(this.#queue.indexOf(wait), 1);
            reject(signal.reason);
          });
          this.#queue.push(wait);
          this.#next(name);
        });
        this.#owners.set(name, tab);
        try {
          return await run({ name });
        } finally {
          this.release(name, tab);
        }
      },
    };
  }

  #next(name: string): void {
    if (this.#owners.has(name)) return;
    const first = this.#queue.findIndex((w) => w.name === name);
    if (first < 0) return;
    this.#owners.set(name, undefined as unknown as Tab);
    this.#queue.splice(first, 1)[0]!.give();
  }

  release(name: string, tab: Tab): void {
    if (this.#owners.get(name) !== tab) return;
    this.#owners.delete(name);
    this.#next(name);
  }

  /**
   * Holds back what a tab hears of others, messages and what they write, as
   * between busy processes: the server's answers and locks come by other ways.
   * It comes when the function returned is called.
   */
  deafen(tab: Tab): () => void {
    tab.late = [];
    tab.local.stale = new Map(this.kept);
    return () => {
      const late = tab.late!.splice(0);
      tab.late = tab.local.stale = undefined;
      for (const give of late) give();
    };
  }

  /** As a tab that crashes: its locks are freed, and nothing of it is heard any more. */
  kill(tab: Tab): void {
    tab.dead = true;
    for (const [name, owner] of this.#owners) if (owner === tab) this.release(name, tab);
  }
}

/** A tab: what its page sees of the browser. */
export class Tab {
  readonly browser: Browser;
  readonly events = new EventTarget();
  readonly local: Shelf;
  readonly session: Shelf;
  readonly platform: Platform;
  /** What is listened for. */
  readonly listened: string[] = [];
  readonly told: string[] = [];
  dead = false;
  /** What is held back from it. */
  late: (() => void)[] | undefined;
  http!: Http;
  auth!: AuthManager;

  constructor(
    browser: Browser,
    config: AuthConfig = {},
    without: (keyof Platform)[] = [],
    deps: Partial<HttpDeps> = {},
  ) {
    this.browser = browser;
    browser.tabs.push(this);
    this.local = new Shelf(browser.kept, (key, newValue) => {
      for (const tab of browser.tabs) {
        if (tab === this || tab.dead) continue;
        tab.hear(() => tab.events.dispatchEvent(Object.assign(new Event("storage"), { key, newValue })));
      }
    });
    this.session = new Shelf(new Map(), () => {});
    const self = this;
    class FakeChannel implements Channel {
      readonly name: string;
      readonly tab = self;
      onmessage: Channel["onmessage"] = null;
      constructor(name: string) {
        this.name = name;
        browser.channels.add(this);
      }
      postMessage(data: unknown): void {
        if (self.dead) return;
        const copy = structuredClone(data);
        for (const c of browser.channels)
          if (c !== this && c.name === this.name) c.tab.hear(() => c.onmessage?.({ data: copy }));
      }
      close(): void {
        browser.channels.delete(this);
      }
    }
    const platform: Platform = {
      fetch: async (input) => {
        const res = await browser.server.fetch(input);
        return this.dead ? new Promise(() => {}) : res;
      },
      localStorage: this.local,
      sessionStorage: this.session,
      BroadcastChannel: FakeChannel,
      locks: browser.lock(this),
      events: {
        addEventListener: (name: string, fn: any, options: any) => {
          this.listened.push(name);
          this.events.addEventListener(name, fn, options);
        },
        removeEventListener: (name: string, fn: any, options: any) => {
          this.listened.splice(this.listened.indexOf(name), 1);
          this.events.removeEventListener(name, fn, options);
        },
      },
      random: () => 0.5,
    };
    for (const name of without) (platform as any)[name] = undefined;
    this.platform = platform;
    this.http = createHttp({
      url: () => "https://rt.example",
      platform,
      source: () => this.auth,
      csrf: config.cookie,
      ...deps,
    });
    this.auth = new AuthManager(config, { platform, own: this.http.own });
  }

  /** Brings it what another tab has told. */
  hear(give: () => void): void {
    if (this.late) this.late.push(give);
    else queueMicrotask(give);
  }

  /** Writes down what the manager tells, from now on. */
  follow(): this {
    for (const event of ["sign-in", "sign-out", "refresh", "refresh-failed", "inactivity-timeout", "error"] as const) {
      this.auth.on(
        event,
        ({ source }) => void (this.dead || this.told.push(source === "self" ? event : `${event} ${source}`)),
      );
    }
    return this;
  }

  /** What was told since the last look. */
  since(): string[] {
    return this.told.splice(0);
  }
}

/** What a promise has come to, without waiting for it. */
export function outcome<T>(promise: Promise<T>): { value?: T; error?: any; done: boolean } {
  const out: { value?: T; error?: any; done: boolean } = { done: false };
  promise.then(
    (value) => Object.assign(out, { value, done: true }),
    (error) => Object.assign(out, { error, done: true }),
  );
  return out;
}
