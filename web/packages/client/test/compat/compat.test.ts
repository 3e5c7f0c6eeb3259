import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  createRealtimeClient,
  createRefreshManager,
  createTokenManager,
  http,
  HttpClient,
  initializeHttp,
  RefreshManager,
  TokenManager,
} from "../../src/compat/index.js";

/** What fetch was asked, and what it answers to each path. */
let calls: { url: string; method: string; headers: Headers; redirect: string }[];
let answers: Record<string, (call: { headers: Headers }) => Response | Promise<Response>>;
const json = (status: number, body: unknown, headers = {}) =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } });

beforeEach(() => {
  calls = [];
  answers = {};
  vi.stubGlobal("fetch", async (input: string | Request, init?: RequestInit) => {
    const request = new Request(input, init);
    const { pathname } = new URL(request.url);
    calls.push({ url: request.url, method: request.method, headers: request.headers, redirect: request.redirect });
    const answer = answers[pathname];
    if (!answer) throw new TypeError("fetch failed");
    return answer(calls.at(-1)!);
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const base = "https://rt.example.com";
const endpoint = `${base}/token`;
const token = (exp: number, iat?: number) => `e.${btoa(JSON.stringify({ sub: "u1", exp, iat }))}.s`;

function parts(config = {}) {
  const unauthorized = vi.fn();
  const tokens = new TokenManager();
  const refresh = new RefreshManager({ enabled: true, endpoint, ...config }, tokens, unauthorized);
  return { unauthorized, tokens, refresh, client: new HttpClient(base, tokens, refresh, unauthorized) };
}

test("a refresh ends the session only where the endpoint refuses it", async () => {
  const told: string[] = [];
  const { tokens, refresh, unauthorized } = parts({
    onRefreshStart: () => told.push("start"),
    onRefreshFailure: () => told.push("failure"),
    onRefreshEnd: () => told.push("end"),
  });
  tokens.setAccessToken("old");
  expect(await refresh.refreshAccessToken()).toBeNull(); // the network is down
  for (const status of [429, 500, 503]) {
    answers["/token"] = () => json(status, {});
    for (let i = 0; i < 4; i++) expect(await refresh.refreshAccessToken()).toBeNull();
  }
  expect([tokens.getAccessTokenSync(), unauthorized.mock.calls.length]).toEqual(["old", 0]);
  answers["/token"] = () => json(401, {});
  expect(await refresh.refreshAccessToken()).toBeNull();
  expect([tokens.getAccessTokenSync(), unauthorized.mock.calls.length]).toEqual([null, 1]);
  expect(told.slice(0, 3)).toEqual(["start", "failure", "end"]);
});

test("answers without a token end it after maxRetries", async () => {
  const { tokens, refresh, unauthorized } = parts({ maxRetries: 2 });
  tokens.setAccessToken("old");
  answers["/token"] = () => json(200, {});
  await refresh.refreshAccessToken();
  expect([tokens.getAccessTokenSync(), unauthorized.mock.calls.length]).toEqual(["old", 0]);
  await refresh.refreshAccessToken();
  expect([tokens.getAccessTokenSync(), unauthorized.mock.calls.length]).toEqual([null, 1]);
});

test("a refresh that comes after a sign-out signs nobody in", async () => {
  const { tokens, refresh, unauthorized } = parts();
  tokens.setAccessToken("old");
  answers["/token"] = () => {
    tokens.clearAll();
    return json(200, { accessToken: "new" });
  };
  expect(await refresh.refreshAccessToken()).toBeNull();
  expect([tokens.getAccessTokenSync(), unauthorized.mock.calls.length]).toEqual([null, 0]);
  answers["/token"] = () => {
    tokens.setAccessToken("another's");
    return json(401, {});
  };
  expect(await refresh.refreshAccessToken()).toBe("another's");
  expect([tokens.getAccessTokenSync(), unauthorized.mock.calls.length]).toEqual(["another's", 0]);
});

test("ten calls that meet a 401 refresh once, and each is made again once", async () => {
  const { tokens, client } = parts();
  tokens.setAccessToken("old");
  answers["/token"] = () => json(200, { accessToken: "new" });
  answers["/todos"] = ({ headers }) => json(headers.get("Authorization") === "Bearer new" ? 200 : 401, { message: "expired" });
  await Promise.all(Array.from({ length: 10 }, () => client.post("/todos", { title: "x" })));
  const count = (path: string) => calls.filter((call) => call.url.endsWith(path)).length;
  expect([count("/token"), count("/todos")]).toEqual([1, 20]);
});

test("retryOnAuth false and no refresh: the 401 is an error at once", async () => {
  const { client, tokens } = parts();
  tokens.setAccessToken("old");
  answers["/todos"] = () => json(401, { message: "expired" });
  await expect(client.get("/todos", { retryOnAuth: false })).rejects.toMatchObject({ status: 401, message: "expired" });
  expect(calls.length).toBe(1);
  const unauthorized = vi.fn();
  const plain = new HttpClient(base, tokens, createRefreshManager(undefined, tokens), unauthorized);
  await expect(plain.get("/todos")).rejects.toMatchObject({ status: 401 });
  expect([calls.length, unauthorized.mock.calls.length]).toEqual([2, 1]);
});

test("neither token nor CSRF token goes to another origin", async () => {
  const tokens = createTokenManager();
  tokens.setAccessToken("secret");
  const client = new HttpClient(base, tokens, createRefreshManager(undefined, tokens), undefined, true, {
    enabled: true,
    fetchEndpoint: "/csrf",
  });
  answers["/csrf"] = () => json(200, { csrfToken: "guard" });
  answers["/todos"] = () => json(200, ["one"]);
  expect(await client.post("/todos", {}, { query: { a: 1, b: null } })).toEqual(["one"]);
  expect(await client.post("https://evil.example.com/todos", {})).toEqual(["one"]);
  const seen = calls.map(({ url, headers }) => [url, headers.get("Authorization"), headers.get("X-CSRF-Token")]);
  expect(seen).toEqual([
    [`${base}/csrf`, null, null],
    [`${base}/todos?a=1`, "Bearer secret", "guard"],
    ["https://evil.example.com/todos", null, null],
  ]);
});

test("a call with a CSRF token is not redirected: it would take that along", async () => {
  const { tokens, refresh } = parts();
  const client = new HttpClient(base, tokens, refresh, undefined, true, { enabled: true, fetchEndpoint: "/csrf" });
  answers["/csrf"] = () => json(200, { csrfToken: "guard" });
  answers["/todos"] = () => json(200, 1);
  await client.post("/todos", 1);
  await client.get("/todos");
  expect(calls.slice(1).map(({ redirect }) => redirect)).toEqual(["manual", "follow"]);
});

test("a CSRF token that is refused is got anew, once", async () => {
  const tokens = createTokenManager();
  let guards = 0;
  const client = new HttpClient(base, tokens, createRefreshManager(undefined, tokens), undefined, true, {
    enabled: true,
    fetchEndpoint: "/csrf",
  });
  answers["/csrf"] = () => json(200, { csrfToken: `g${++guards}` });
  answers["/todos"] = ({ headers }) =>
    headers.get("X-CSRF-Token") === "g2" ? json(200, "made") : json(403, { code: "CSRF_MISMATCH", message: "no" });
  expect(await client.put("/todos", 1)).toBe("made");
  answers["/todos"] = () => json(403, { code: "CSRF_MISMATCH", message: "no" });
  await expect(client.put("/todos", 1)).rejects.toMatchObject({ status: 403, code: "CSRF_MISMATCH" });
  expect(guards).toBe(3);
});

test("errors say what the server said; 204 is nothing, text is text; an abort is the caller's", async () => {
  const { client } = parts({ enabled: false });
  answers["/a"] = () => json(404, { error: "Not found" });
  await expect(client.get("/a")).rejects.toMatchObject({ status: 404, message: "Not found", payload: { error: "Not found" } });
  answers["/a"] = () => new Response("oops", { status: 500 });
  await expect(client.get("/a")).rejects.toMatchObject({ status: 500, message: "HTTP 500", payload: "oops" });
  answers["/a"] = () => new Response(null, { status: 204 });
  expect(await client.delete("/a")).toBeUndefined();
  answers["/a"] = () => new Response("plain");
  expect(await client.get("/a")).toBe("plain");
  const stop = new AbortController();
  stop.abort();
  await expect(client.get("/a", { signal: stop.signal })).rejects.toMatchObject({ name: "AbortError" });
});

test("http before initializeHttp says so, and nothing has happened at import", async () => {
  await expect(http.get("/a")).rejects.toThrow("initializeHttp");
  answers["/a"] = () => json(200, 1);
  expect(initializeHttp({ apiBaseUrl: base, socketUrl: base })).toBeInstanceOf(HttpClient);
  expect(await http.get("/a")).toBe(1);
});

test("a token is renewed ahead of its end by its own lifetime, whatever the clock says; a far one sets no timer", () => {
  vi.useFakeTimers({ now: 1_000_000_000_000 });
  vi.stubGlobal("document", { cookie: "" });
  const expiring = vi.fn();
  const tokens = createTokenManager();
  tokens.onTokenExpiring(expiring);
  tokens.setAccessToken(token(1_000_000_900 + 3600, 1_000_000_000 + 3600)); // good for 15 minutes; the clock is an hour behind
  vi.advanceTimersByTime(869_000);
  expect(expiring).toHaveBeenCalledTimes(0);
  vi.advanceTimersByTime(2_000);
  expect(expiring).toHaveBeenCalledTimes(1);
  tokens.setAccessToken(token(1_000_000_000 + 90 * 86_400)); // over what a timer can hold
  expect(vi.getTimerCount()).toBe(0);
  tokens.setAccessToken(token(1_000_000_000 - 3600)); // ended long ago, says a clock that is ahead
  vi.advanceTimersByTime(9_000);
  expect(expiring).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(1_000);
  expect(expiring).toHaveBeenCalledTimes(2);
  tokens.setAccessToken("no JWT");
  expect([vi.getTimerCount(), tokens.isTokenExpired()]).toEqual([0, true]);
});

test("who listens to tokens is told of each change, once, whoever else throws", async () => {
  const thrown: unknown[] = [];
  const keep = (error: unknown) => void thrown.push(error);
  const before = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException").on("uncaughtException", keep);
  const seen: unknown[] = [];
  const tokens = createTokenManager();
  tokens.onTokenChange(() => {
    throw new Error("mine");
  });
  const off = tokens.onTokenChange((now) => seen.push(now));
  tokens.setAccessToken(" a ");
  tokens.setAccessToken("a");
  tokens.clearAll();
  off();
  tokens.setAccessToken("b");
  expect(seen).toEqual(["a", null]);
  await new Promise((resolve) => setImmediate(resolve));
  process.removeListener("uncaughtException", keep);
  for (const listener of before) process.on("uncaughtException", listener);
  expect(thrown.length).toBe(3);
});

test("a client does nothing until it is used, and enabled false keeps the socket away", async () => {
  const WebSocket = vi.fn();
  vi.stubGlobal("WebSocket", WebSocket);
  const client = createRealtimeClient({ apiBaseUrl: base, socketUrl: base, enabled: false, getAccessToken: () => "t" });
  client.on("x", () => {});
  expect(() => client.emit("x")).toThrow("Socket is not initialized");
  await expect(client.emitAck("x")).rejects.toThrow("Socket not initialized");
  expect([await client.connect(), client.getSocket(), calls.length, WebSocket.mock.calls.length]).toEqual([null, null, 0, 0]);
  expect(client.getConnectionState()).toBe(client.getConnectionState());
});
