import { fileURLToPath } from "node:url";
import { runInNewContext } from "node:vm";
import { build } from "esbuild";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createRealtimeClient } from "../src/index.js";
import "../src/testing/loaded.js";
import { Browser, Server, Tab, json, settle } from "./world.js";

beforeEach(() => void vi.useFakeTimers({ now: 1_800_000_000_000 }));
afterEach(() => void vi.useRealTimers());

/** An object that can't be used at all: each use throws. */
const untouchable: any = new Proxy(() => {}, {
  get: (_, name) => fail(`read ${String(name)}`),
  has: (_, name) => fail(`asked for ${String(name)}`),
  apply: () => fail("called"),
  construct: () => fail("made"),
  set: () => fail("changed"),
});
function fail(what: string): never {
  throw new Error(`The surroundings were ${what}`);
}

describe("no effect at import and at construction", () => {
  const names = "fetch WebSocket localStorage sessionStorage BroadcastChannel indexedDB document location setTimeout setInterval queueMicrotask addEventListener crypto console".split(" ");
  let uses: string[] = [];
  const saved = names.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const);
  const watch = () => {
    uses = [];
    for (const name of names) Object.defineProperty(globalThis, name, { configurable: true, get: () => void uses.push(name) });
  };
  const restore = () => {
    for (const [name, old] of saved) {
      if (old) Object.defineProperty(globalThis, name, old);
      else delete (globalThis as any)[name];
    }
  };
  afterEach(restore);

  it.each(["index", "react/index", "compat/index", "testing/index", "queue/queue", "socket/polling"])("import %s", async (entry) => {
    const { outputFiles } = await build({
      entryPoints: [fileURLToPath(new URL(`../src/${entry}.ts`, import.meta.url))],
      ...{ bundle: true, write: false, format: "cjs", external: ["react"] },
    });
    // A place that has the language's own things alone.
    const module = { exports: {} };
    runInNewContext(outputFiles[0]!.text, { module, require: () => ({ createContext: () => 1 }) });
    expect(Object.keys(module.exports).length).toBeGreaterThan(0);
  });

  it.each([
    ["tokens", {}],
    ["a cookie", { auth: { cookie: true }, csrf: true }],
    ["no token", { auth: false as const }],
    ["a token of the application", { authToken: () => fail("asked") }],
    ["a queue", { socket: { queue: true }, http: { baseUrl: "/api" }, auth: { inactivityTimeout: 1, refreshFn: () => fail("asked") } }],
  ])("a client with %s", (_, config) => {
    watch();
    try {
      createRealtimeClient({ ...config, platform: untouchable } as any).socket.on("x", () => {});
    } finally {
      restore();
    }
    expect([uses, vi.getTimerCount()]).toEqual([[], 0]);
  });

  it("two clients have nothing in common", async () => {
    const make = (name: string) => {
      const server = new Server();
      server.routes["/me"] = (req) => json(req.headers.get("Authorization"));
      const client = createRealtimeClient({ url: `https://${name}.example`, platform: { fetch: server.fetch } });
      client.auth.setTokens(server.grant(name));
      return client;
    };
    const [ann, bob] = [make("ann"), make("bob")];
    expect(await Promise.all([ann.http.get("/me"), bob.http.get("/me")])).toEqual(["Bearer ann-1", "Bearer bob-1"]);
    await ann.auth.clear();
    expect([ann.auth.isAuthenticated(), bob.auth.isAuthenticated()]).toEqual([false, true]);
    for (const client of [ann, bob]) client.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("forged", () => {
  it("a session in the storage that has no shape is none", () => {
    for (const more of [{ refresh: {} }, { user: "x" }, { receivedAt: "x" }, { receivedAt: undefined }, { lifetimeMs: "9" }, { version: 2 }]) {
      const tab = new Tab(new Browser()).follow();
      tab.browser.kept.set("holdfast:tokens", JSON.stringify({ version: 1, access: "a", receivedAt: 5, ...more }));
      const next = new Tab(tab.browser);
      expect([more, next.auth.isAuthenticated(), tab.browser.kept.has("holdfast:tokens:bad")]).toEqual([more, false, true]);
    }
  });

  it("messages of another script are no session, and throw nothing", async () => {
    const browser = new Browser();
    const a = new Tab(browser, { storage: "memory", cookie: true }).follow();
    a.auth.setTokens(browser.server.grant("ann"));
    const script = new (new Tab(browser).platform.BroadcastChannel!)("holdfast:tokens");
    for (const m of [null, 5, "x", [], {}, { kind: "look", session: {} }, { kind: "look", session: { version: 1, access: 5 } }, { kind: "active", at: "x" }]) script.postMessage(m);
    await settle();
    expect([a.since(), await a.auth.getAccessToken()]).toEqual([["sign-in"], "ann-1"]);
    const b = new Tab(browser, { channelName: "none" }, ["BroadcastChannel"]).follow();
    for (const newValue of ["{", "null", "5", '"x"'])
      b.events.dispatchEvent(Object.assign(new Event("storage"), { key: "holdfast:tokens:note", newValue }));
    await settle();
    expect(b.since()).toEqual([]);
  });

  it("roles that are no list are one role, or none", () => {
    const tab = new Tab(new Browser());
    for (const [roles, role, has] of [["administrator", "admin", false], ["admin", "admin", true], [5, "admin", false], [null, "admin", false], [undefined, undefined, false]] as any[]) {
      tab.auth.setTokens({ accessToken: "a", user: { id: "ann", roles } });
      expect([roles, tab.auth.hasRole(role)]).toEqual([roles, has]);
    }
  });
});

describe("where tokens go", () => {
  it.each(["\n@evil.example/x", "\n.evil.example/x", "\t//evil.example", "\\\\evil.example", "/\\evil.example", "@evil.example", "https:/evil.example", "https:evil.example", " https://evil.example", "//evil.example", "///evil.example", "javascript:x"])("path %j stays at the server", async (path) => {
    const urls: URL[] = [];
    const { http, auth } = createRealtimeClient({ url: "https://rt.example", platform: { fetch: async (r: any) => (urls.push(new URL(r.url)), json(1)) } });
    auth.setTokens({ accessToken: "a" });
    await http.get(path);
    expect(urls.map((url) => [url.host, url.username])).toEqual([["rt.example", ""]]);
  });

  it("the client's own calls are not redirected: one carries the refresh token in its body", async () => {
    const tab = new Tab(new Browser()).follow();
    const { server } = tab.browser;
    tab.auth.setTokens(server.grant("ann"));
    await tab.auth.refresh();
    await tab.auth.clear();
    expect(server.requests.map((r) => [r.path, r.redirect])).toEqual([["/api/auth/refresh", "manual"], ["/api/auth/sign-out", "manual"]]);
  });
});

describe("close leaves no timer and no listener", () => {
  const uses: Record<string, (tab: Tab) => unknown> = {
    "a session": () => {},
    inactivity: (tab) => tab.auth.touch(),
    "a refresh that failed": (tab) => {
      tab.browser.server.routes["/api/auth/refresh"] = () => json({}, 503);
      return tab.auth.refresh().catch(() => {});
    },
    "a refresh": (tab) => tab.auth.refresh(),
    "a storage that is full": (tab) => {
      tab.local.writes = new Error("full");
      tab.auth.setTokens(tab.browser.server.grant("ann"));
    },
    "a sign-out": (tab) => tab.auth.clear(),
    "calls that were aborted": async (tab) => {
      tab.browser.server.routes["/busy"] = () => json({ code: "GOING_AWAY" }, 503, { "Retry-After": "20" });
      tab.browser.server.routes["/never"] = () => new Promise(() => {});
      const ctl = new AbortController();
      const calls = ["/busy", "/never"].map((path) => tab.http.get(path, { signal: ctl.signal }).catch(() => {}));
      await vi.advanceTimersByTimeAsync(50);
      ctl.abort();
      await Promise.all(calls);
    },
  };
  it.each(Object.keys(uses))("%s", async (name) => {
    const tab = new Tab(new Browser(), { inactivityTimeout: 60_000 }).follow();
    tab.auth.setTokens(tab.browser.server.grant("ann"));
    await uses[name]!(tab);
    tab.auth.close();
    await vi.advanceTimersByTimeAsync(5000); // the name of a session that is replaced is kept for so long
    expect([vi.getTimerCount(), tab.listened, tab.browser.channels.size]).toEqual([0, [], 0]);
  });
});
