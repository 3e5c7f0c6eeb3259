import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { AuthConfig } from "../../src/types.js";
import "../../src/auth/lease.js"; // loaded where there are no Web Locks: reading files takes time of the real clock
import "../../src/testing/loaded.js";
import { Browser, Tab, json, jwt, outcome, settle } from "../world.js";

const key = "holdfast:tokens";
const refresh = "/api/auth/refresh";

beforeEach(() => void vi.useFakeTimers({ now: 1_800_000_000_000 }));
afterEach(() => void vi.useRealTimers());

function two(config = {}, without: any[] = [], deps = {}): [Tab, Tab] {
  const browser = new Browser();
  return [new Tab(browser, config, without, deps).follow(), new Tab(browser, config, without, deps).follow()];
}

test.each([
  ["that is no JSON", "{"],
  ["of nothing", "null"],
  ["that is cut off", '{"version":1,"access":"a'],
  ["of a newer version", '{"version":2,"access":"a"}'],
  ["without a token", '{"version":1}'],
])("L14 a text %s: signed out with an error, and kept aside", async (_, text) => {
  const browser = new Browser();
  browser.kept.set(key, text);
  const tab = new Tab(browser);
  expect(tab.auth.isAuthenticated()).toBe(false); // before anybody listens
  tab.follow();
  await settle();
  expect(tab.since()).toEqual(["error"]);
  expect([...browser.kept]).toEqual([[key + ":bad", text]]);
  tab.auth.setTokens(browser.server.grant("ann"));
  expect(tab.auth.isAuthenticated()).toBe(true);
});

test("L15 storage that is full: an error, memory goes on, and it is written when that works again", async () => {
  const tab = two()[0];
  tab.local.writes = new Error("full");
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  await tab.auth.refresh();
  expect(tab.since()).toEqual(["error", "sign-in", "refresh"]);
  expect(await tab.auth.getAccessToken()).toBe("ann-2");
  tab.local.writes = undefined;
  await vi.advanceTimersByTimeAsync(31_000);
  expect(JSON.parse(tab.browser.kept.get(key)!).access).toBe("ann-2");
});

test("L15 storage that is blocked: an error, and memory goes on", async () => {
  const tab = new Tab(new Browser());
  Object.defineProperty(tab.platform, "localStorage", {
    get: () => {
      throw new Error("SecurityError");
    },
  });
  tab.follow();
  await settle();
  expect(tab.since()).toEqual(["error"]);
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  await tab.auth.refresh();
  expect(await tab.auth.getAccessToken()).toBe("ann-2");
});

test("L16 a tab is killed between the server's rotation and the write: the next one refreshes inside the grace", async () => {
  const a = new Tab(new Browser()).follow();
  const { server } = a.browser;
  a.auth.setTokens(server.grant("ann"));
  server.routes[refresh] = (_req, n) => {
    if (n === 1) a.browser.kill(a);
    return json(server.grant("ann"));
  };
  void a.auth.refresh();
  await settle();
  expect(JSON.parse(a.browser.kept.get(key)!).access).toBe("ann-1");
  const next = new Tab(a.browser).follow();
  await settle();
  expect(await next.auth.getAccessToken()).not.toBe("ann-1");
  expect(server.requests.filter((r) => r.path === refresh).map((r) => JSON.parse(r.body).refreshToken)).toEqual([
    "r-ann-1",
    "r-ann-1",
  ]);
});

test("L16 a killed tab's lock is freed, and a tab that is there finishes its refresh", async () => {
  const [a, b] = two();
  const { server } = a.browser;
  a.auth.setTokens(server.grant("ann"));
  await settle();
  server.routes[refresh] = (_req, n) => {
    if (n === 1) a.browser.kill(a);
    return json(server.grant("ann"));
  };
  void a.auth.refresh();
  await settle();
  expect(server.count(refresh)).toBe(2);
  expect(await b.auth.getAccessToken()).toBe("ann-3");
});

test.each([
  ["by Web Locks", []],
  ["by a lease, without them", ["locks"]],
  ["by a lease, without BroadcastChannel too", ["locks", "BroadcastChannel"]],
])("L17 two tabs see the token expiring: one refresh %s, and the other adopts it", async (_, without) => {
  const [a, b] = two({}, without);
  const { server } = a.browser;
  server.routes[refresh] = async () => {
    await new Promise((resolve) => setTimeout(resolve, 300));
    return json(server.grant("ann"));
  };
  a.auth.setTokens(server.grant("ann"));
  await vi.advanceTimersByTimeAsync(880_000);
  expect(server.count(refresh)).toBe(1);
  expect([await a.auth.getAccessToken(), await b.auth.getAccessToken()]).toEqual(["ann-2", "ann-2"]);
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(server.count(refresh)).toBeLessThan(7);
  expect([a, b].flatMap((t) => t.since()).filter((e) => !/^(sign-in|refresh)( remote)?$/.test(e))).toEqual([]);
});

describe.each([
  ["by storage and a channel", {}, []],
  ["by storage events", {}, ["BroadcastChannel"]],
  ["by a channel alone", { storage: "sessionStorage" }, []],
  ["by a channel alone, with a cookie", { cookie: true }, []],
])("L17 new tokens reach another tab late, %s: it refreshes no second time", (_, config, without) => {
  async function late() {
    const a = new Tab(new Browser(), config as AuthConfig, without as any, { csrf: false }).follow();
    const b = new Tab(a.browser, config as AuthConfig, without as any, { csrf: false });
    const { server } = a.browser;
    a.auth.setTokens(server.grant("ann"));
    if ("storage" in config) b.session.setItem(key, a.session.getItem(key)!); // as where a tab is duplicated
    b.follow();
    await vi.advanceTimersByTimeAsync(60_000);
    const before = server.count(refresh);
    return { a, b, refreshes: () => server.count(refresh) - before, arrive: a.browser.deafen(b) };
  }

  test("it waits already", async () => {
    const { a, b, refreshes, arrive } = await late();
    const done = Promise.all([a.auth.refresh(), b.auth.refresh()]);
    await vi.advanceTimersByTimeAsync(3000);
    arrive();
    await done;
    expect(refreshes()).toBe(1);
    expect(await b.auth.getAccessToken()).toBe(await a.auth.getAccessToken());
  });

  test("it begins when the first is done, which may begin again", async () => {
    const { a, b, refreshes, arrive } = await late();
    await a.auth.refresh();
    await vi.advanceTimersByTimeAsync(1000);
    const done = b.auth.refresh();
    await vi.advanceTimersByTimeAsync(1000);
    await a.auth.refresh();
    await vi.advanceTimersByTimeAsync(1000);
    arrive();
    await done;
    expect(refreshes()).toBe(2);
    expect(await b.auth.getAccessToken()).toBe(await a.auth.getAccessToken());
  });

  test("it does not wait for ever, nor with the new tokens", async () => {
    const { a, b, refreshes } = await late();
    await a.auth.refresh();
    const done = outcome(b.auth.refresh());
    await vi.advanceTimersByTimeAsync(4000);
    expect(done.done).toBe(false);
    await vi.advanceTimersByTimeAsync(1000);
    expect([done.done, refreshes()]).toEqual([true, 2]);
    await b.auth.refresh();
    expect(refreshes()).toBe(3);
  });
});

test("L17 a lease that nobody gives back ends", async () => {
  const a = new Tab(new Browser(), {}, ["locks"]).follow();
  a.auth.setTokens(a.browser.server.grant("ann"));
  a.browser.kept.set(key + ":lock", `0.123 ${Date.now() + 10_000}`);
  const done = a.auth.refresh();
  await vi.advanceTimersByTimeAsync(9000);
  expect(a.browser.server.count(refresh)).toBe(0);
  await vi.advanceTimersByTimeAsync(1500);
  await done;
  await vi.advanceTimersByTimeAsync(200);
  expect(a.browser.kept.has(key + ":lock")).toBe(false);
});

test.each([
  ["a channel", []],
  ["storage events alone", ["BroadcastChannel"]],
])("L18 sign-in, refresh and sign-out elsewhere, by %s", async (_, without) => {
  const [a, b] = two({}, without);
  a.auth.setTokens(a.browser.server.grant("ann"));
  await settle();
  expect([a.since(), b.since()]).toEqual([["sign-in"], ["sign-in remote"]]);
  expect(b.auth.getUser()).toEqual({ id: "ann" });
  const changed = vi.fn();
  a.auth.subscribe(changed);
  await b.auth.refresh();
  await settle();
  expect([a.since(), b.since()]).toEqual([["refresh remote"], ["refresh"]]);
  expect(await a.auth.getAccessToken()).toBe("ann-2");
  b.auth.setTokens(b.browser.server.grant("bob"));
  await settle();
  expect([a.since(), b.since()]).toEqual([["sign-in remote"], ["sign-in"]]);
  await b.auth.clear();
  await settle();
  expect([a.since(), b.since()]).toEqual([["sign-out remote"], ["sign-out"]]);
  expect(changed).toHaveBeenCalledTimes(3);
  expect(a.auth.getSnapshot()).toEqual({
    isAuthenticated: false,
    user: undefined,
    sessionId: undefined,
    pending: false,
  });
});

test("L18 a sign-out with an already empty store signs out too", async () => {
  const [a, b] = two();
  b.local.writes = new Error("full");
  b.auth.setTokens(b.browser.server.grant("ann"));
  await settle();
  expect(a.auth.isAuthenticated()).toBe(false);
  b.since();
  await a.auth.clear();
  await settle();
  expect(b.since()).toEqual(["sign-out remote"]);
});

test("L18 without crossTabSync nothing is listened to, and a refresh still adopts", async () => {
  const browser = new Browser();
  const a = new Tab(browser, { crossTabSync: false }).follow();
  a.auth.setTokens(browser.server.grant("ann"));
  const b = new Tab(browser, { crossTabSync: false }).follow();
  await a.auth.refresh();
  await settle();
  expect(b.since()).toEqual([]);
  expect(browser.channels.size).toBe(0);
  const done = b.auth.refresh();
  await vi.advanceTimersByTimeAsync(200);
  await done;
  expect(b.since()).toEqual(["refresh remote"]);
  expect(browser.server.count(refresh)).toBe(1);
});

test("L18 tabs whose sessionStorage was copied follow each other's refresh; others don't", async () => {
  const [a, b] = two({ storage: "sessionStorage" });
  const c = new Tab(a.browser, { storage: "sessionStorage" }).follow();
  const grant = a.browser.server.grant("ann");
  a.auth.setTokens(grant);
  b.auth.setTokens(grant);
  c.auth.setTokens(a.browser.server.grant("cat"));
  [a, b, c].forEach((t) => t.since());
  await a.auth.refresh();
  await settle();
  expect([a.since(), b.since(), c.since()]).toEqual([["refresh"], ["refresh remote"], []]);
  expect(JSON.parse(b.session.getItem(key)!).access).toBe("ann-3");
  await b.auth.clear();
  await settle();
  expect([a.since(), c.since()]).toEqual([["sign-out remote"], []]);
  expect(a.session.getItem(key)).toBe(null);
});

test.each([
  ["touch", (a: Tab) => a.auth.touch()],
  ["touch elsewhere", (_: Tab, b: Tab) => b.auth.touch()],
  ["a request", (a: Tab) => void a.http.get("/x").catch(() => {})],
  ["a request elsewhere", (_: Tab, b: Tab) => void b.http.get("/x").catch(() => {})],
  ...["mousemove", "keydown", "click", "touchstart", "scroll"].map((name): [string, (a: Tab) => void] => [
    name,
    (a) => void a.events.dispatchEvent(new Event(name)),
  ]),
])("L19 %s is activity", async (_, act) => {
  const [a, b] = two({ inactivityTimeout: 600_000 });
  a.auth.setTokens(a.browser.server.grant("ann", 86_400));
  await settle();
  [a, b].forEach((t) => t.since());
  await vi.advanceTimersByTimeAsync(540_000);
  act(a, b);
  await vi.advanceTimersByTimeAsync(599_000);
  expect([a.since(), b.since()]).toEqual([[], []]);
  await vi.advanceTimersByTimeAsync(1000);
  expect([a.since(), b.since()]).toEqual([["inactivity-timeout"], ["inactivity-timeout"]]);
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect([a.since(), b.since()]).toEqual([[], []]); // once
  expect(a.auth.isAuthenticated()).toBe(true);
  a.auth.touch();
  await vi.advanceTimersByTimeAsync(600_000);
  expect(a.since()).toEqual(["inactivity-timeout"]);
});

test("L19 the last sign of activity counts in other tabs, though not each is told", async () => {
  const [a, b] = two({ inactivityTimeout: 600_000 });
  a.auth.setTokens(a.browser.server.grant("ann", 86_400));
  for (let i = 0; i < 59; i++) {
    await vi.advanceTimersByTimeAsync(1000);
    a.events.dispatchEvent(new Event("mousemove"));
  }
  await vi.advanceTimersByTimeAsync(599_000);
  expect([a, b].flatMap((t) => t.since()).filter((e) => e === "inactivity-timeout")).toEqual([]);
  await vi.advanceTimersByTimeAsync(1000);
  expect([a, b].flatMap((t) => t.since())).toEqual(["inactivity-timeout", "inactivity-timeout"]);
});

test("L19 without inactivityTimeout the user's input is not listened to", async () => {
  const [a] = two();
  await settle();
  expect(a.listened.sort()).toEqual(["online", "pageshow", "storage", "visibilitychange"]);
});

test("cookie mode: the token is in memory alone; a session is got by the cookie, with CSRF, once over all tabs", async () => {
  const [a, b] = two({ cookie: true });
  const { server } = a.browser;
  const csrf = { "X-CSRF-Token": "c1" };
  server.routes["/api/auth/csrf"] = () => json({}, 200, csrf);
  server.routes[refresh] = (req) =>
    req.headers.get("X-CSRF-Token") === "c1"
      ? json({ ...server.grant("ann"), refreshToken: undefined })
      : json({ code: "CSRF_MISMATCH" }, 403);
  await settle();
  expect(server.count(refresh)).toBe(1);
  expect(server.requests.find((r) => r.path === refresh)).toMatchObject({ body: "", credentials: "same-origin" });
  expect([a.since(), b.since()]).toEqual([["sign-in"], ["sign-in remote"]]);
  expect(a.browser.kept.size).toBe(0);
  await vi.advanceTimersByTimeAsync(870_000);
  expect(server.count(refresh)).toBe(2);
  expect(await b.auth.getAccessToken()).toBe("ann-2");
  await b.auth.clear();
  await settle();
  const out = server.requests.find((r) => r.path === "/api/auth/sign-out")!;
  expect([out.headers.get("X-CSRF-Token"), out.headers.get("Authorization"), out.body]).toEqual(["c1", null, ""]);
  expect(a.auth.isAuthenticated()).toBe(false);
  expect(await a.auth.getAccessToken()).toBe(null);
  expect(server.count(refresh)).toBe(2);
});

test("cookie mode: nobody is signed in: found out once, and no call for a sign-in", async () => {
  const onUnauthorized = vi.fn();
  const tab = new Tab(new Browser(), { cookie: true, onUnauthorized }, [], { csrf: false });
  tab.browser.server.routes[refresh] = () => json({ code: "UNAUTHENTICATED" }, 401);
  expect(tab.auth.getSnapshot().pending).toBe(true);
  tab.follow();
  expect(await tab.auth.getAccessToken()).toBe(null);
  expect(tab.auth.getSnapshot()).toMatchObject({ pending: false, isAuthenticated: false });
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(tab.since()).toEqual([]);
  expect(onUnauthorized).not.toHaveBeenCalled();
  expect(tab.browser.server.count(refresh)).toBe(1);
  await expect(tab.auth.refresh()).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
});

test("a snapshot is the same object until something changes", async () => {
  const tab = two()[0];
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  const before = tab.auth.getSnapshot();
  expect(tab.auth.getSnapshot()).toBe(before);
  expect(before).toEqual({ isAuthenticated: true, user: { id: "ann" }, sessionId: "s-ann", pending: false });
  await tab.auth.refresh();
  expect(tab.auth.getSnapshot()).not.toBe(before);
});

test("user, session, roles and permissions are read from the token's claims", () => {
  const tab = two()[0];
  const permissions = {
    rooms: { "board-*": ["join"], "board-9": ["publish"] },
    actions: ["todo.write", "admin.*", "a.*.own"],
  };
  tab.auth.setTokens({
    accessToken: jwt({ sub: "u1", name: "Zoë", roles: "editor", sid: "s1", permissions }),
    user: { email: "z@example.com" },
  });
  expect(tab.auth.getUser()).toEqual({ id: "u1", name: "Zoë", roles: ["editor"], email: "z@example.com" });
  expect(tab.auth.getSessionId()).toBe("s1");
  expect([tab.auth.hasRole("editor"), tab.auth.hasRole(["admin", "editor"]), tab.auth.hasRole("edit")]).toEqual([
    true,
    true,
    false,
  ]);
  const can = ["todo.write", "todo.writes", "admin.users.delete", "admin", "a.b.own", "a.b.c.own", "a..own", ""].filter(
    (a) => tab.auth.can(a),
  );
  expect(can).toEqual(["todo.write", "admin.users.delete", "a.b.own"]);
  expect(["board-1", "board-9", "board-1:x", "other"].filter((r) => tab.auth.canJoin(r))).toEqual(["board-1"]);
  tab.auth.setTokens({ accessToken: "opaque" });
  expect([tab.auth.canJoin("any"), tab.auth.can("any"), tab.auth.getUser()]).toEqual([true, false, undefined]);
});

test.each([
  [["**"], "any:thing", true],
  [[], "any", false],
  [null, "any", false],
  [["board-*", "!board-9"], "board-9", false],
  [["team:*"], "team:red:chat", false],
  [["team:**"], "team:red:chat", true],
  [{ "a*": ["join", "publish"], "*a": ["join"] }, "a", true],
  [{ "a*": ["join"], "*a": [] }, "a", false], // a tie: what all grant
  [{ "a*": ["join"], "!*a": ["join"] }, "a", false],
  [{ "a.c": ["join"] }, "abc", false],
  ["nonsense", "any", false],
])("canJoin: %j and %s", (rooms, room, want) => {
  const tab = two()[0];
  tab.auth.setTokens({ accessToken: jwt({ sub: "u", permissions: { rooms } }) });
  expect(tab.auth.canJoin(room)).toBe(want);
});

test("L17 locks that are refused, or a storage that can't hold a lease: this tab refreshes on its own", async () => {
  const a = new Tab(new Browser()).follow();
  (a.platform as any).locks = { request: () => Promise.reject(new Error("SecurityError")) };
  a.auth.setTokens(a.browser.server.grant("ann"));
  await a.auth.refresh();
  const b = new Tab(new Browser(), {}, ["locks"]).follow();
  b.auth.setTokens(b.browser.server.grant("ann"));
  b.local.writes = new Error("full");
  await b.auth.refresh();
  expect([await a.auth.getAccessToken(), await b.auth.getAccessToken()]).toEqual(["ann-2", "ann-2"]);
});

test("L17 who no longer needs a lease gives it back", async () => {
  const a = new Tab(new Browser(), {}, ["locks"]).follow();
  a.auth.setTokens(a.browser.server.grant("ann"));
  void a.auth.refresh().catch(() => {});
  await settle();
  expect(a.browser.kept.has(key + ":lock")).toBe(true);
  await a.auth.clear();
  await settle();
  expect([...a.browser.kept.keys()]).toEqual([]);
  expect(a.browser.server.count(refresh)).toBe(0);
});

test("L17 a tab that can load no lease is on its own, until it can", async () => {
  let loads = 0;
  vi.resetModules();
  vi.doMock("../../src/auth/lease.js", () => {
    loads++;
    throw new Error("offline");
  });
  const a = new Tab(new Browser(), {}, ["locks"]).follow();
  a.auth.setTokens(a.browser.server.grant("ann"));
  await a.auth.refresh();
  await a.auth.refresh();
  vi.doUnmock("../../src/auth/lease.js");
  expect(a.browser.server.count(refresh)).toBe(2);
  expect(a.auth.isAuthenticated()).toBe(true);
  expect(loads).toBe(2);
});
