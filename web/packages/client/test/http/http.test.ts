import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { sourceOf } from "../../src/auth/source.js";
import { HoldfastError } from "../../src/errors.js";
import { createHttp, type HttpDeps } from "../../src/http/own.js";
import "../../src/testing/loaded.js";
import { Browser, Server, Tab, json, outcome, settle } from "../world.js";

beforeEach(() => void vi.useFakeTimers({ now: 1_800_000_000_000 }));
afterEach(() => void vi.useRealTimers());

function world(deps: Partial<HttpDeps> = {}, platform = {}) {
  const server = new Server();
  const source = sourceOf("t");
  const http = createHttp({
    url: () => "https://rt.example",
    source: () => source,
    platform: { fetch: server.fetch, random: () => 0.5, ...platform },
    ...deps,
  });
  return { server, http, last: () => server.requests.at(-1)! };
}

function signedIn(): Tab {
  const tab = new Tab(new Browser()).follow();
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  return tab;
}

test.each([
  ["get", 200],
  ["put", 10],
  ["post", 10],
  ["delete", 10],
] as const)("L01 many calls (%s, %i) get 401 at once: one refresh, each is made again once", async (method, n) => {
  const tab = signedIn();
  const { server } = tab.browser;
  server.routes["/me"] = (req) =>
    req.headers.get("Authorization") === "Bearer ann-1" ? json({ code: "TOKEN_EXPIRED" }, 401) : json("ann");
  const all = await Promise.all(Array.from({ length: n }, () => tab.http[method]("/me")));
  expect(new Set(all)).toEqual(new Set(["ann"]));
  expect([server.count("/api/auth/refresh"), server.count("/me")]).toEqual([1, 2 * n]);
});

test("L02 a 401 for a token that has been replaced meanwhile: no refresh, a retry", async () => {
  const tab = signedIn();
  const { server } = tab.browser;
  server.routes["/me"] = async (req) => {
    if (req.headers.get("Authorization") === "Bearer ann-2") return json("ann");
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return json({ code: "TOKEN_EXPIRED" }, 401);
  };
  const got = tab.http.get("/me");
  await settle();
  await tab.auth.refresh();
  await vi.advanceTimersByTimeAsync(1000);
  expect(await got).toBe("ann");
  expect([server.count("/api/auth/refresh"), server.count("/me")]).toEqual([1, 2]);
});

test("L03 the refresh after a 401 fails in passing: the caller gets that error", async () => {
  const tab = signedIn();
  tab.browser.server.routes["/me"] = () => json({ code: "TOKEN_EXPIRED" }, 401);
  tab.browser.server.routes["/api/auth/refresh"] = () => json({}, 429, { "Retry-After": "7" });
  await expect(tab.http.get("/me")).rejects.toMatchObject({ code: "RATE_LIMITED", final: false, retryAfter: 7 });
  await expect(tab.http.fetch("/me")).rejects.toMatchObject({ code: "RATE_LIMITED" });
});

test("L11 each call is made again once, and then the server's reason stands", async () => {
  const tab = signedIn();
  const { server } = tab.browser;
  server.routes["/me"] = () => json({ code: "UNAUTHENTICATED" }, 401);
  for (let i = 0; i < 5; i++)
    await expect(tab.http.get("/me")).rejects.toMatchObject({ code: "UNAUTHENTICATED", status: 401, final: true });
  expect([server.count("/api/auth/refresh"), server.count("/me")]).toEqual([3, 8]);
  expect((await tab.http.fetch("/me")).status).toBe(401);
});

test("L12 a fixed token that has expired is a final error; a function is asked again", async () => {
  const { http, server } = world();
  server.routes["/me"] = () => json({ error: "Unauthorized: token expired", code: "TOKEN_EXPIRED" }, 401);
  await expect(http.get("/me")).rejects.toMatchObject({
    code: "TOKEN_EXPIRED",
    status: 401,
    final: true,
    message: "Unauthorized: token expired",
  });
  expect(server.count("/me")).toBe(1);
  let n = 0;
  const source = sourceOf(async () => `t${n++}`);
  const b = world({ source: () => source });
  b.server.routes["/me"] = (req) =>
    req.headers.get("Authorization") === "Bearer t0" ? json({ code: "TOKEN_EXPIRED" }, 401) : json(1);
  expect(await b.http.get("/me")).toBe(1);
  expect(b.server.count("/me")).toBe(2);
});

test("L12 nobody is signed in: nothing goes out, unless the call is anonymous", async () => {
  const source = sourceOf(() => null);
  const { http, server, last } = world({ source: () => source });
  await expect(http.get("/me")).rejects.toMatchObject({ code: "SIGNED_OUT", final: true });
  expect(server.requests).toEqual([]);
  server.routes["/open"] = () => json({ code: "UNAUTHENTICATED" }, 401);
  await expect(http.get("/open", { anonymous: true })).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  expect(last().headers.has("Authorization")).toBe(false);
  expect(server.count("/open")).toBe(1);
});

test("L20 PERMISSION_VERSION_STALE: refresh, retry", async () => {
  const tab = signedIn();
  tab.browser.server.routes["/me"] = (_req, n) =>
    n === 1 ? json({ code: "PERMISSION_VERSION_STALE" }, 401) : json("ann");
  expect(await tab.http.get("/me")).toBe("ann");
  expect(tab.since()).toEqual(["sign-in", "refresh"]);
});

test("L30 nothing of ours goes to another origin", async () => {
  const { http, last } = world({
    csrf: true,
    withCredentials: true,
    config: { headers: { "X-App": "1" }, trustedOrigins: ["https://files.example"] },
    source: undefined,
  });
  await http.post("https://evil.example/x", 1).catch(() => {});
  expect([last().credentials, last().headers.get("X-App"), last().headers.get("X-CSRF-Token")]).toEqual([
    "omit",
    null,
    null,
  ]);
  const b = world({ config: { headers: { "X-App": "1" }, trustedOrigins: ["https://files.example"] } });
  for (const url of [
    "https://evil.example/x",
    "http://rt.example/x",
    "https://rt.example:8443/x",
    "HTTPS://EVIL.example/x",
  ]) {
    await b.http.get(url).catch(() => {});
    expect([b.last().headers.get("Authorization"), b.last().headers.get("X-App"), b.last().credentials]).toEqual([
      null,
      null,
      "omit",
    ]);
  }
  await b.http.get("https://files.example/x").catch(() => {});
  expect([b.last().headers.get("Authorization"), b.last().headers.get("X-App")]).toEqual(["Bearer t", "1"]);
  await b.http.get("//evil.example/x").catch(() => {}); // a path, though it does not look like one
  expect(b.last().path).toBe("/evil.example/x");
});

test("L30 what a hook turns to another origin is outside as well", async () => {
  const { http, last } = world({
    config: { onRequest: (req) => new Request("https://evil.example/x", { headers: req.headers }) },
  });
  await http.get("/me").catch(() => {});
  expect([last().path, last().headers.get("Authorization"), last().credentials]).toEqual(["/x", null, "omit"]);
});

test("L30 a request is redirected only where the browser takes all of ours away", async () => {
  const a = world();
  await a.http.get("/x").catch(() => {});
  expect(a.last().redirect).toBe("follow");
  const b = world({ config: { headers: { "X-App": "1" } } });
  await b.http.get("/x").catch(() => {});
  expect(b.last().redirect).toBe("manual");
  const c = world({ source: undefined, csrf: true });
  c.server.routes["/api/auth/csrf"] = () => json({ csrfToken: "c" });
  await c.http.post("/x").catch(() => {});
  expect(c.last().redirect).toBe("manual");
});

test.each([
  [undefined, "/todos", "https://rt.example/todos"],
  ["https://api.example/api/v1/", "/todos", "https://api.example/api/v1/todos"],
  ["/api/v1/", "/todos", "https://rt.example/api/v1/todos"],
  ["/api/v1", "todos?a=1", "https://rt.example/api/v1/todos?a=1"],
  ["/api/v1", "", "https://rt.example/api/v1"],
  ["/api/v1", "https://rt.example/x", "https://rt.example/x"],
])("L31 base %s and path %s make %s", async (baseUrl, path, want) => {
  const urls: string[] = [];
  const fetch = async (input: any) => (urls.push(input.url), json(1));
  const { http } = world({ config: baseUrl ? { baseUrl } : {} }, { fetch });
  await http.get(path);
  expect(urls).toEqual([want]);
});

test("L31 a query", async () => {
  const urls: string[] = [];
  const { http } = world({}, { fetch: async (input: any) => (urls.push(input.url), json(1)) });
  await http.get("/t?x=1", { query: { a: "ä b", n: 0, yes: true, no: null, un: undefined } });
  expect(urls).toEqual(["https://rt.example/t?x=1&a=%C3%A4+b&n=0&yes=true"]);
});

test("L32 a body is sent again whole; a stream is not, and the error says so", async () => {
  const tab = signedIn();
  const { server } = tab.browser;
  server.routes["/echo"] = async (req, n) =>
    n === 1 ? json({ code: "TOKEN_EXPIRED", error: "" }, 401) : new Response(await req.text());
  expect(await tab.http.post("/echo", { text: "hello" })).toBe('{"text":"hello"}');
  server.routes["/once"] = () => json({ code: "TOKEN_EXPIRED" }, 401);
  const stream = () => new Blob(["hello"]).stream();
  await expect(tab.http.post("/once", stream())).rejects.toThrow(/not sent again: its body is a stream/);
  expect(server.count("/once")).toBe(1);
  expect(await tab.auth.getAccessToken()).toBe("ann-3"); // renewed all the same
  expect((await tab.http.fetch("/once", { method: "POST", body: stream() })).status).toBe(401);
  expect(server.count("/once")).toBe(2);
});

test.each<[string, () => BodyInit, RegExp, string]>([
  ["FormData", () => Object.assign(new FormData()), /^multipart\/form-data/, ""],
  ["URLSearchParams", () => new URLSearchParams({ a: "1" }), /^application\/x-www-form-urlencoded/, "a=1"],
  ["Blob", () => new Blob(["b"], { type: "text/x" }), /^text\/x$/, "b"],
  ["ArrayBuffer", () => new TextEncoder().encode("b").buffer as ArrayBuffer, /^$/, "b"],
  ["a view", () => new TextEncoder().encode("b"), /^$/, "b"],
])("a body of %s goes as it is", async (_, body, type, text) => {
  const { http, last } = world();
  await http.put("/x", body()).catch(() => {});
  expect(last().headers.get("Content-Type") ?? "").toMatch(type);
  if (text) expect(last().body).toBe(text);
});

test.each([
  [{ a: 1 }, '{"a":1}'],
  ["text", '"text"'],
  [0, "0"],
  [false, "false"],
  [undefined, ""],
])("the body %j goes as JSON", async (body, text) => {
  const { http, last } = world();
  await http.patch("/x", body).catch(() => {});
  expect([last().method, last().body, last().headers.get("Content-Type")]).toEqual([
    "PATCH",
    text,
    (text && "application/json") || null,
  ]);
});

function guarded(by: string) {
  const w = world({ source: undefined, csrf: true }, { cookie: () => "a=b; csrf-token=c1; c=d" });
  let good = "c1";
  w.server.routes["/api/auth/csrf"] = () =>
    by === "header"
      ? json({ csrfToken: "wrong" }, 200, { "X-CSRF-Token": good })
      : json(by === "body" ? { csrfToken: good } : {});
  w.server.routes["/echo"] = async (req) =>
    req.headers.get("X-CSRF-Token") === good
      ? json(JSON.parse(await req.text()))
      : json({ code: "CSRF_MISMATCH" }, 403);
  return { ...w, renew: (token: string) => (good = token) };
}

test("L33 CSRF_MISMATCH: one new CSRF token, one retry", async () => {
  const { http, server, renew } = guarded("header");
  expect(await Promise.all([http.post("/echo", 1), http.post("/echo", 2)])).toEqual([1, 2]);
  expect(server.count("/api/auth/csrf")).toBe(1);
  renew("c2");
  expect(await http.post("/echo", 1)).toBe(1);
  expect(server.count("/api/auth/csrf")).toBe(2);
  server.routes["/echo"] = () => json({ code: "CSRF_MISMATCH" }, 403);
  await expect(http.post("/echo", 1)).rejects.toMatchObject({ code: "CSRF_MISMATCH", status: 403 });
  expect(server.count("/api/auth/csrf")).toBe(3);
  expect(server.count("/echo")).toBe(6);
});

test("L33 the refusal brings the new token: it is not asked for", async () => {
  const { http, server } = guarded("header");
  await http.post("/echo", 1);
  server.routes["/echo"] = (req) =>
    req.headers.get("X-CSRF-Token") === "c9"
      ? json("ok")
      : json({ code: "CSRF_MISMATCH" }, 403, { "X-CSRF-Token": "c9" });
  expect(await http.post("/echo", 1)).toBe("ok");
  expect(server.count("/api/auth/csrf")).toBe(1);
});

test.each(["header", "body", "cookie"])("L34 the CSRF token comes by %s", async (by) => {
  const { http, server } = guarded(by);
  expect(await http.post("/echo", 1)).toBe(1);
  expect(server.count("/api/auth/csrf")).toBe(1);
});

test("L34 a call that reads, or carries a token, needs none", async () => {
  const { http, server } = guarded("header");
  await http.get("/x").catch(() => {});
  const b = world({ csrf: true });
  await b.http.post("/x").catch(() => {});
  expect([server.count("/api/auth/csrf"), b.server.count("/api/auth/csrf")]).toEqual([0, 0]);
});

test("L35 a caller's time ends during a shared refresh: he returns at once, it goes on for the others", async () => {
  const tab = signedIn();
  const { server } = tab.browser;
  server.routes["/me"] = (req) =>
    req.headers.get("Authorization") === "Bearer ann-1" ? json({ code: "TOKEN_EXPIRED" }, 401) : json("ann");
  server.routes["/api/auth/refresh"] = async () => {
    await new Promise((resolve) => setTimeout(resolve, 5000));
    return json(server.grant("ann"));
  };
  const short = outcome(tab.http.get("/me", { timeout: 1000 }));
  const left = new AbortController();
  const leaves = outcome(tab.http.get("/me", { signal: left.signal }));
  const long = outcome(tab.http.get("/me"));
  await vi.advanceTimersByTimeAsync(1000);
  expect(short.error).toMatchObject({ code: "TIMEOUT", final: false });
  left.abort();
  await settle();
  expect(leaves.error).toMatchObject({ code: "CANCELED" });
  await vi.advanceTimersByTimeAsync(4000);
  expect(long.value).toBe("ann");
  expect(server.count("/api/auth/refresh")).toBe(1);
});

test("L35 a call that is not answered ends after its time, and leaves no timer", async () => {
  const { http, server } = world({}, {});
  server.routes["/hang"] = () => new Promise(() => {});
  const got = outcome(http.get("/hang"));
  const done = new AbortController();
  done.abort();
  await expect(http.get("/hang", { signal: done.signal })).rejects.toMatchObject({ code: "CANCELED" });
  await vi.advanceTimersByTimeAsync(29_999);
  expect(got.done).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(got.error).toMatchObject({ code: "TIMEOUT" });
  expect(vi.getTimerCount()).toBe(0);
});

test.each([
  ["NOT_FOUND", 404, true],
  ["RATE_LIMITED", 429, false],
  ["INTERNAL", 500, false],
  ["FORBIDDEN", 403, true],
])("L36 %s is a typed error", async (code, status, final) => {
  const { http, server } = world();
  server.routes["/x"] = () =>
    json({ error: "A sentence", code, requestId: "q1", retryAfter: 7, details: { a: 1 } }, status);
  const e = await http.get("/x").catch((e: unknown) => e);
  expect(e).toBeInstanceOf(HoldfastError);
  expect(e).toMatchObject({
    code,
    status,
    final,
    message: "A sentence",
    requestId: "q1",
    retryAfter: 7,
    details: { a: 1 },
  });
});

test.each([
  [404, "NOT_FOUND"],
  [418, "INVALID_ARGUMENT"],
  [502, "INTERNAL"],
  [503, "GOING_AWAY"],
  [304, "INTERNAL"],
])("L36 a proxy's %i is %s", async (status, code) => {
  const { http, server } = world({ config: { retries: 0 } });
  server.routes["/x"] = () =>
    new Response(status === 304 ? null : "<html>", {
      status,
      headers: { "X-Request-Id": "q", "Retry-After": new Date(Date.now() + 5000).toUTCString() },
    });
  await expect(http.get("/x?secret=1")).rejects.toMatchObject({
    code,
    status,
    requestId: "q",
    retryAfter: 5,
    message: `GET /x was answered ${status}`,
  });
});

test("L36 no answer is NETWORK", async () => {
  const { http } = world({}, { fetch: () => Promise.reject(new TypeError("Failed to fetch")) });
  await expect(http.get("/x")).rejects.toMatchObject({ code: "NETWORK", status: 0, final: false });
});

test("503 with Retry-After: idempotent calls are made again, as often as `retries` and the time allow", async () => {
  const { http, server } = world();
  const busy = () => json({ code: "GOING_AWAY" }, 503, { "Retry-After": "2" });
  server.routes["/x"] = (_req, n) => (n < 3 ? busy() : json("ok"));
  const got = outcome(http.get("/x"));
  await vi.advanceTimersByTimeAsync(2499);
  expect(server.count("/x")).toBe(1);
  await vi.advanceTimersByTimeAsync(1 + 3000);
  expect(got.value).toBe("ok");
  server.routes["/x"] = busy;
  await expect(http.post("/x")).rejects.toMatchObject({ code: "GOING_AWAY", retryAfter: 2 });
  expect(server.count("/x")).toBe(4);
  const put = outcome(http.put("/x", 1));
  await vi.advanceTimersByTimeAsync(20_000);
  expect([put.error.code, server.count("/x")]).toEqual(["GOING_AWAY", 8]);
  await expect(http.get("/x", { timeout: 2000 })).rejects.toMatchObject({ code: "GOING_AWAY" }); // no time for another
  server.routes["/x"] = () => json({}, 503);
  await expect(http.get("/x")).rejects.toMatchObject({ code: "GOING_AWAY" });
});

test("answers: JSON, text, nothing", async () => {
  const { http, server } = world();
  server.routes["/none"] = () => new Response(null, { status: 204 });
  server.routes["/text"] = () => new Response("12");
  server.routes["/bad"] = () => new Response("{", { headers: { "Content-Type": "application/json" } });
  expect([await http.delete("/none"), await http.get("/text")]).toEqual([undefined, "12"]);
  await expect(http.get("/bad")).rejects.toMatchObject({ code: "INTERNAL" });
});

test("hooks see each request and answer, and a caller's Authorization stays", async () => {
  const seen: string[] = [];
  const { http, server, last } = world({
    config: {
      onRequest: (req) => void req.headers.set("X-Trace", "1"),
      onResponse: (res, req) => void seen.push(`${req.method} ${res.status}`),
    },
  });
  server.routes["/x"] = () => json(1);
  await http.get("/x", { headers: { Authorization: "Bearer mine" } });
  expect([last().headers.get("X-Trace"), last().headers.get("Authorization"), seen]).toEqual([
    "1",
    "Bearer mine",
    ["GET 200"],
  ]);
});

test("the client's own calls go to its server, past base, hooks and tokens", async () => {
  const tab = new Tab(new Browser(), {}, [], {
    config: { baseUrl: "/api/v1", onRequest: () => expect.fail("hooked") },
  });
  tab.auth.setTokens(tab.browser.server.grant("ann"));
  await tab.auth.refresh();
  expect(tab.browser.server.requests.map((r) => [r.path, r.headers.get("Authorization")])).toEqual([
    ["/api/auth/refresh", null],
  ]);
});
