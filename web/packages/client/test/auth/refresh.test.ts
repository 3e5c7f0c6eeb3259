import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HoldfastError } from "../../src/errors.js";
import "../../src/testing/loaded.js";
import { Browser, Tab, json, jwt, outcome, settle } from "../world.js";

const patience = 20_000; // ms: a bound for machines that are busy

const refresh = "/api/auth/refresh";
const signOut = "/api/auth/sign-out";

beforeEach(() => void vi.useFakeTimers({ now: 1_800_000_000_000 }));
afterEach(() => void vi.useRealTimers());

function one(config = {}, without: any[] = []): Tab {
  return new Tab(new Browser(), config, without).follow();
}

/** Answers that wait for `go`. */
function gate(tab: Tab, answer: () => Response): () => void {
  let go!: () => void;
  const opened = new Promise<void>((resolve) => (go = resolve));
  tab.browser.server.routes[refresh] = async () => {
    const res = answer(); // made before the wait: the server has rotated
    await opened;
    return res;
  };
  return go;
}

test("nothing happens at construction", () => {
  const browser = new Browser();
  const platform: any = new Proxy({}, { get: () => expect.fail("looked"), has: () => expect.fail("looked") });
  const tab = new Tab(browser, { inactivityTimeout: 1000 });
  new (tab.auth.constructor as any)({}, { platform });
  expect(tab.listened).toEqual([]);
  expect(browser.channels.size).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

test("close ends timers, listeners and channels; the next use begins them again", async () => {
  const tab = one({ inactivityTimeout: 60_000 });
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  await settle();
  expect(tab.listened).toContain("scroll");
  tab.auth.close();
  await settle();
  expect([tab.listened, tab.browser.channels.size, vi.getTimerCount()]).toEqual([[], 0, 0]);
  expect(await tab.auth.getAccessToken()).toBe("ann-1");
  await settle();
  expect(tab.browser.channels.size).toBe(1);
  tab.auth.close();
});

test("L01 10,000 callers of a refused token: one refresh", async () => {
  const tab = one();
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  const e = new HoldfastError("TOKEN_EXPIRED", "expired");
  await Promise.all(Array.from({ length: 10_000 }, () => tab.auth.refused("ann-1", e)));
  expect(tab.browser.server.count(refresh)).toBe(1);
  expect(await tab.auth.getAccessToken()).toBe("ann-2");
  expect(tab.since()).toEqual(["sign-in", "refresh"]);
});

test("L02 a token that has been replaced is refused: no refresh", async () => {
  const tab = one();
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  await tab.auth.refused("old", new HoldfastError("TOKEN_EXPIRED", "expired"));
  expect(tab.browser.server.count(refresh)).toBe(0);
});

test("L03 a refresh that fails in passing: still signed in, backoff, Retry-After", async () => {
  const tab = one();
  const { server } = tab.browser;
  tab.auth.setTokens(server.grant("ann"));
  server.routes[refresh] = () => json({}, 503, { "Retry-After": "90" });
  await vi.advanceTimersByTimeAsync(870_000);
  expect(server.count(refresh)).toBe(1);
  expect(tab.since()).toEqual(["sign-in", "error"]);
  expect(await tab.auth.getAccessToken()).toBe("ann-1"); // it is good for 30 s more
  await vi.advanceTimersByTimeAsync(40_000);
  await expect(tab.auth.getAccessToken()).rejects.toMatchObject({ code: "INTERNAL", final: false, retryAfter: 90 });
  await vi.advanceTimersByTimeAsync(49_000);
  expect(server.count(refresh)).toBe(1);
  server.routes[refresh] = () => json(server.grant("ann"));
  await vi.advanceTimersByTimeAsync(1000);
  expect(tab.since()).toEqual(["refresh"]);
  expect(tab.auth.isAuthenticated()).toBe(true);
});

test("L03 a refresh may fail however often", async () => {
  const tab = one();
  const { server } = tab.browser;
  tab.auth.setTokens(server.grant("ann"));
  server.routes[refresh] = () => Promise.reject(new TypeError("no network"));
  await vi.advanceTimersByTimeAsync(2 * 3_600_000);
  expect(server.count(refresh)).toBeGreaterThan(150);
  expect(server.count(refresh)).toBeLessThan(240); // one in 30 s on average
  server.routes[refresh] = () => json(server.grant("ann"));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await tab.auth.getAccessToken()).toBe("ann-2");
});

test("L03 a refresh without an answer ends after 30 s", async () => {
  const tab = one();
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  tab.browser.server.routes[refresh] = () => new Promise(() => {});
  const got = outcome(tab.auth.refresh());
  await vi.advanceTimersByTimeAsync(30_000);
  expect(got.error).toMatchObject({ code: "TIMEOUT", final: false });
  expect(tab.auth.isAuthenticated()).toBe(true);
});

test.each([
  ["UNAUTHENTICATED", () => json({ code: "UNAUTHENTICATED" }, 401)],
  ["SESSION_REVOKED", () => json({ code: "SESSION_REVOKED" }, 401)],
  ["REFRESH_REUSED", () => json({ code: "REFRESH_REUSED" }, 401)],
  ["FORBIDDEN", () => json({ code: "FORBIDDEN" }, 403)],
  ["UNAUTHENTICATED", () => new Response("bad", { status: 400 })],
  ["UNAUTHENTICATED", () => new Response("no", { status: 401 })],
])("L04 a refresh refused with %s: signed out once", async (code, answer) => {
  const onUnauthorized = vi.fn();
  const tab = one({ onUnauthorized });
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  tab.browser.server.routes[refresh] = answer;
  await expect(tab.auth.refresh()).rejects.toMatchObject({ code, final: true });
  expect(tab.since()).toEqual(["sign-in", "refresh-failed", "sign-out"]);
  expect(onUnauthorized).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ code }));
  expect(tab.browser.kept.has("holdfast:tokens")).toBe(false);
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(tab.browser.server.count(refresh)).toBe(1);
});

test.each([
  ["a proxy's 403", () => new Response("<html>", { status: 403 })],
  ["a wrong path", () => json({ code: "NOT_FOUND" }, 404)],
  ["an answer without a token", () => json({})],
  ["a page", () => new Response("<html>")],
])("L03 %s signs nobody out", async (_, answer) => {
  const tab = one();
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  tab.browser.server.routes[refresh] = answer;
  await expect(tab.auth.refresh()).rejects.toMatchObject({ code: "INTERNAL", final: false });
  expect(tab.auth.isAuthenticated()).toBe(true);
});

test("L05 sign-out during a refresh: the late answer is dropped and taken back", async () => {
  const tab = one();
  const { server } = tab.browser;
  tab.auth.setTokens(server.grant("ann"));
  const go = gate(tab, () => json(server.grant("ann")));
  const late = outcome(tab.auth.refresh());
  await settle();
  await tab.auth.clear();
  await settle();
  expect(late.error).toMatchObject({ code: "SIGNED_OUT", final: true });
  go();
  await settle();
  expect(tab.auth.isAuthenticated()).toBe(false);
  expect(tab.browser.kept.size).toBe(0);
  const outs = server.requests.filter((r) => r.path === signOut).map((r) => r.headers.get("Authorization"));
  expect(outs).toEqual(["Bearer ann-1", "Bearer ann-2"]);
  expect(tab.since()).toEqual(["sign-in", "sign-out"]);
});

test("L06 sign-in as somebody else during a refresh: the late answer is dropped", async () => {
  const tab = one();
  const { server } = tab.browser;
  tab.auth.setTokens(server.grant("ann"));
  const go = gate(tab, () => json(server.grant("ann")));
  const late = tab.auth.refresh();
  await settle();
  tab.auth.setTokens(server.grant("bob"));
  await late; // there is another token to go on with
  go();
  await settle();
  expect(tab.auth.getUser()?.id).toBe("bob");
  expect(await tab.auth.getAccessToken()).toBe("bob-3");
  expect(JSON.parse(tab.browser.kept.get("holdfast:tokens")!).access).toBe("bob-3");
  expect(tab.since()).toEqual(["sign-in", "sign-in"]);
});

test("L07 no new refresh token: the old one is kept, by a refresh and by setTokens of the same user", async () => {
  const tab = one();
  const { server } = tab.browser;
  tab.auth.setTokens(server.grant("ann"));
  server.routes[refresh] = () => json({ ...server.grant("ann"), refreshToken: undefined });
  await tab.auth.refresh();
  tab.auth.setTokens({ accessToken: "ann-x", user: { id: "ann" } });
  await vi.advanceTimersByTimeAsync(1000);
  await tab.auth.refresh();
  expect(server.requests.filter((r) => r.path === refresh).map((r) => r.body)).toEqual(
    Array(2).fill('{"refreshToken":"r-ann-1"}'),
  );
  tab.auth.setTokens({ accessToken: "bob-x", user: { id: "bob" } });
  await expect(tab.auth.refresh()).rejects.toThrow("no refresh token");
});

test.each([
  [8, 8, 11],
  [2, 25, 60],
  [0.005, 25, 61],
])("L08 a lifetime of %s s: no loop", async (lifetime, least, most) => {
  const tab = one();
  const { server } = tab.browser;
  server.routes[refresh] = () => json(server.grant("ann", lifetime));
  tab.auth.setTokens(server.grant("ann", lifetime));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(server.count(refresh)).toBeGreaterThanOrEqual(least);
  expect(server.count(refresh)).toBeLessThanOrEqual(most);
});

test.each([
  ["30 days", { expiresIn: 2_592_000 }, 1],
  ["100 years", { expiresIn: 3_153_600_000 }, 0],
  ["no end", {}, 0],
])("L09 a lifetime of %s: no overflow", async (_, life, n) => {
  const tab = one();
  const { server } = tab.browser;
  server.routes[refresh] = () => json({ accessToken: "new", refreshToken: "r", user: { id: "ann" }, ...life });
  tab.auth.setTokens({ accessToken: "t", refreshToken: "r", user: { id: "ann" }, ...life });
  await vi.advanceTimersByTimeAsync(40 * 86_400_000);
  expect(server.count(refresh)).toBe(n);
});

test.each([600, -600, 315_360_000, -315_360_000])(
  "L10 the server's clock is %s s ahead: lifetimes are lengths",
  async (skew) => {
    const tab = one();
    const { server } = tab.browser;
    const grant = (how: number) => {
      const iat = Date.now() / 1000 + skew;
      const claims = { sub: "ann", exp: iat + 900 };
      if (how === 0) return json({ accessToken: jwt(claims), refreshToken: "r", expiresIn: 900 });
      if (how === 1) return json({ accessToken: jwt({ ...claims, iat }), refreshToken: "r" });
      return json({ accessToken: jwt(claims), refreshToken: "r" }, 200, { Date: new Date(iat * 1000).toUTCString() });
    };
    let n = 0;
    server.routes[refresh] = () => grant(n++ % 3);
    tab.auth.setTokens({ accessToken: "t", refreshToken: "r", user: { id: "ann" }, expiresIn: 900 });
    await vi.advanceTimersByTimeAsync(6 * 3_600_000);
    expect(server.count(refresh)).toBeGreaterThanOrEqual(23);
    expect(server.count(refresh)).toBeLessThanOrEqual(26);
  },
);

test("L10 this machine's clock is set back: the token is renewed, once", async () => {
  const tab = one();
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  vi.setSystemTime(Date.now() - 86_400_000);
  expect(await tab.auth.getAccessToken()).toBe("ann-2");
  expect(await tab.auth.getAccessToken()).toBe("ann-2");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(tab.browser.server.count(refresh)).toBe(1);
});

test("L11 fresh tokens are refused: 3 refreshes in 30 s, then the server's reason", async () => {
  const tab = one();
  const { server } = tab.browser;
  tab.auth.setTokens(server.grant("ann"));
  const e = new HoldfastError("UNAUTHENTICATED", "no", { status: 401 });
  for (let i = 0; i < 3; i++) await tab.auth.refused((await tab.auth.getAccessToken())!, e);
  for (let i = 0; i < 5; i++) await expect(tab.auth.refused("ann-4", e)).rejects.toBe(e);
  expect(server.count(refresh)).toBe(3);
  expect(tab.auth.isAuthenticated()).toBe(true);
  await vi.advanceTimersByTimeAsync(30_000);
  await tab.auth.refused("ann-4", e);
  expect(server.count(refresh)).toBe(4);
});

test("L11 tokens of a few seconds are refused, or about to end, many times in a minute: none of it counts", async () => {
  let n = 0;
  const tab = one({ refreshFn: async () => ({ accessToken: `t${++n}`, refreshToken: "r", expiresIn: 5 }) });
  tab.auth.setTokens({ accessToken: "t0", refreshToken: "r", user: { id: "ann" }, expiresIn: 5 });
  for (let i = 0; i < 30; i++) {
    const token = (await tab.auth.getAccessToken())!;
    await vi.advanceTimersByTimeAsync(3000);
    await tab.auth.refused(token, new HoldfastError("TOKEN_EXPIRED", "over"));
    expect(await tab.auth.getAccessToken()).not.toBe(token);
  }
});

test("L12 refreshFn: gets the refresh token and a signal; a final error ends the session, any other does not", async () => {
  const refreshFn = vi.fn(async (_token: string | undefined, _signal: AbortSignal) => ({
    accessToken: "new",
    expiresIn: 900,
  }));
  const tab = one({ refreshFn });
  tab.auth.setTokens({ accessToken: "t", refreshToken: "r", user: { id: "ann" } });
  await tab.auth.refresh();
  expect(refreshFn).toHaveBeenCalledExactlyOnceWith("r", expect.any(AbortSignal));
  expect(await tab.auth.getAccessToken()).toBe("new");
  refreshFn.mockRejectedValueOnce(new Error("some bug"));
  await expect(tab.auth.refresh()).rejects.toThrow("some bug");
  expect(tab.auth.getUser()).toEqual({ id: "ann" });
  refreshFn.mockRejectedValueOnce(new HoldfastError("SESSION_REVOKED", "over"));
  await expect(tab.auth.refresh()).rejects.toThrow("over");
  expect(tab.auth.isAuthenticated()).toBe(false);
});

test("L13 sleep over the end: a fresh token before anything goes out", async () => {
  const tab = one();
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  vi.setSystemTime(Date.now() + 3_600_000); // no timer has fired
  expect(await tab.auth.getAccessToken()).toBe("ann-2");
});

test.each(["visibilitychange", "pageshow", "online"])("L13 %s looks at the clock", async (event) => {
  const tab = one();
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  vi.setSystemTime(Date.now() + 3_600_000);
  tab.events.dispatchEvent(new Event(event));
  await settle();
  expect(tab.browser.server.count(refresh)).toBe(1);
});

test("L20 PERMISSION_VERSION_STALE is no sign-out; SESSION_REVOKED is one, once, without a refresh", async () => {
  const onUnauthorized = vi.fn();
  const tab = one({ onUnauthorized });
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  await tab.auth.refused("ann-1", new HoldfastError("PERMISSION_VERSION_STALE", "stale"));
  expect(tab.since()).toEqual(["sign-in", "refresh"]);
  const over = new HoldfastError("SESSION_REVOKED", "over");
  await expect(tab.auth.refused("ann-2", over)).rejects.toBe(over);
  await expect(tab.auth.refused("ann-2", over)).rejects.toMatchObject({ code: "SIGNED_OUT" });
  expect(tab.since()).toEqual(["sign-out"]);
  expect(onUnauthorized).toHaveBeenCalledTimes(1);
  expect(tab.browser.server.count(refresh)).toBe(1);
});

test.each([
  ["503", () => json({}, 503), "INTERNAL"],
  ["no network", () => Promise.reject(new TypeError("x")), "NETWORK"],
])(
  "L21 the server does not hear of a sign-out (%s): signed out here, and the failure is told",
  async (_, answer, code) => {
    const tab = one();
    tab.auth.setTokens(tab.browser.server.grant("ann"));
    tab.browser.server.routes[signOut] = answer;
    await expect(tab.auth.clear()).rejects.toMatchObject({ code });
    expect(tab.auth.isAuthenticated()).toBe(false);
    expect(tab.since()).toEqual(["sign-in", "sign-out", "error"]);
  },
);

// Who signs out and goes to another page in one breath has signed out.
test.each([["token", {}], ["cookie, with its CSRF token", { cookie: true }]])("a sign-out outlives the page (%s)", async (_, config) => {
  const tab = one(config);
  tab.browser.server.routes["/api/auth/csrf"] = () => json({}, 200, { "X-CSRF-Token": "c1" });
  if (!("cookie" in config)) tab.auth.setTokens(tab.browser.server.grant("ann"));
  const kept: boolean[] = [];
  tab.browser.server.routes[signOut] = (req) => (kept.push(req.keepalive), json({}));
  await tab.auth.clear();
  expect(kept).toEqual([true]);
});

test("L22 two managers share nothing", async () => {
  const a = one();
  const b = one();
  a.auth.setTokens(a.browser.server.grant("ann"));
  expect(b.auth.isAuthenticated()).toBe(false);
  expect(b.since()).toEqual([]);
});

test("L35 a caller leaves during a shared refresh: he is free at once, and it goes on", async () => {
  const tab = one();
  const { server } = tab.browser;
  tab.auth.setTokens(server.grant("ann"));
  const go = gate(tab, () => json(server.grant("ann")));
  const short = new AbortController();
  const leaves = outcome(tab.auth.refresh(short.signal));
  const stays = outcome(tab.auth.refresh());
  await settle();
  short.abort();
  await settle();
  expect(leaves.error).toMatchObject({ code: "CANCELED" });
  go();
  await settle();
  expect(stays.done).toBe(true);
  expect(stays.error).toBeUndefined();
  expect(server.count(refresh)).toBe(1);
});

test("a handler that throws stops nobody", async () => {
  const thrown: unknown[] = [];
  const caught = (e: unknown) => void thrown.push(e);
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", caught);
  try {
    const tab = one();
    const seen = vi.fn();
    tab.auth.on("refresh", () => {
      throw new Error("mine");
    });
    tab.auth.on("refresh", seen);
    tab.auth.setTokens(tab.browser.server.grant("ann"));
    await tab.auth.refresh();
    expect(seen).toHaveBeenCalledTimes(1);
    await vi.waitFor(() => expect(thrown).toHaveLength(1), patience);
  } finally {
    process.off("uncaughtException", caught);
    listeners.forEach((l) => process.on("uncaughtException", l));
  }
});
