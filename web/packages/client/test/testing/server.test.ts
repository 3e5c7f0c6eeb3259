import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createTestPlatform, createTestServer, paths, Refusal, type TestServer, type TestServerConfig } from "../../src/testing/index.js";

let server: TestServer;

function start(config: TestServerConfig = {}): void {
  server = createTestServer(config);
}

beforeEach(() => {
  vi.useFakeTimers();
  start();
});
afterEach(() => {
  server.stop();
  vi.useRealTimers();
});

/** A call by a token: the status, and the body as JSON. */
async function call(path: string, init: RequestInit & { token?: string } = {}): Promise<[number, any]> {
  const { token, ...rest } = init;
  const headers = new Headers(init.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const response = await server.fetch(server.url + path, { ...rest, headers });
  const text = await response.text();
  return [response.status, text.startsWith("<") ? text : JSON.parse(text)];
}

const post = (body: unknown, more: RequestInit = {}) => ({
  method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, ...more,
});

/** What a promise has come to so far. */
function watch<T>(p: Promise<T>): () => T | string {
  let state: T | string = "pending";
  p.then((v) => (state = v), (e) => (state = String(e)));
  return () => state;
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe("calls", () => {
  test("a failure is answered so often, so long, or until heal", async () => {
    const token = server.signIn("ann").accessToken;
    server.fail("/app/", { code: "RATE_LIMITED", retryAfter: 1_500, times: 1 });
    expect(await call("/app/me", { token })).toEqual([429, { error: "Too many requests", code: "RATE_LIMITED", requestId: "r_test", retryAfter: 2 }]);
    expect(await call("/app/me", { token })).toEqual([200, "ann"]);
    server.fail("/app/me", { for: 1_000 });
    expect(await call("/app/me", { token })).toEqual([503, "<h1>Failed</h1>\n"]);
    await pass(1_000);
    expect(await call("/app/me", { token })).toEqual([200, "ann"]);
    server.fail(paths.any, { status: 500 });
    expect((await call("/healthz"))[0]).toBe(500);
    server.heal();
    expect((await call("/healthz"))[0]).toBe(200);
    expect(server.requests("/app/me")).toBe(4);
  });

  test("slow, and slow to answer: what was asked for is done before, or after, the wait", async () => {
    server.handle("/app/now", () => Date.now());
    const began = Date.now();
    server.slow("/app/now", 100);
    const first = watch(call("/app/now"));
    await pass(99);
    expect(first()).toBe("pending");
    await pass(1);
    expect(first()).toEqual([200, began + 100]);
    server.heal();
    server.slowReplies("/app/now", 100);
    const second = watch(call("/app/now"));
    await pass(100);
    expect(second()).toEqual([200, began + 100]);
  });

  test("dropped requests have no effect, dropped replies have had it", async () => {
    let n = 0;
    server.handle("/app/count", () => ++n);
    server.dropRequests("/app/count");
    await expect(call("/app/count")).rejects.toThrow(TypeError);
    server.dropReplies("/app/count");
    await expect(call("/app/count")).rejects.toThrow(TypeError);
    expect(await call("/app/count")).toEqual([200, 2]);
  });

  test("a caller who leaves is told so, and what has not begun is not done", async () => {
    let n = 0;
    server.handle("/app/count", () => ++n);
    server.slow("/app/count", 1_000);
    const caller = new AbortController();
    const left = watch(call("/app/count", { signal: caller.signal }));
    await pass(10);
    caller.abort(new Error("left"));
    await pass(2_000);
    expect([left(), n]).toEqual(["Error: left", 0]);
    await expect(() => server.fetch(server.url + "/app/count", { signal: caller.signal })).rejects.toThrow("left");
  });

  test("stop cuts what is under way, and nobody answers until start", async () => {
    server.slow("/healthz", 1_000);
    const cut = watch(call("/healthz"));
    await pass(10);
    server.stop();
    await pass(0);
    expect(cut()).toBe("TypeError: fetch failed");
    await expect(call("/healthz")).rejects.toThrow(TypeError);
    expect(server.requests("/healthz")).toBe(1);
    server.heal();
    server.start();
    expect((await call("/healthz"))[0]).toBe(200);
  });

  test("a handler's refusal is answered by its code, and any other error as INTERNAL", async () => {
    server.handle("/app/a", () => {
      throw new Refusal("CONFLICT", "taken", { details: { by: "bob" } });
    });
    server.handle("/app/b", () => {
      throw new Error("secret");
    });
    expect(await call("/app/a")).toMatchObject([409, { error: "taken", code: "CONFLICT", details: { by: "bob" } }]);
    expect(await call("/app/b")).toMatchObject([500, { error: "Internal error", code: "INTERNAL" }]);
  });
});

describe("tokens", () => {
  test("live as long as configured and 5 s", async () => {
    start({ lifetime: 60_000 });
    vi.setSystemTime(0);
    const token = server.signIn("ann").accessToken;
    await pass(64_999);
    expect((await call("/app/me", { token }))[0]).toBe(200);
    await pass(1);
    expect(await call("/app/me", { token })).toMatchObject([401, { code: "TOKEN_EXPIRED" }]);
  });

  test("are revoked, stale, refused and fresh as one asks", async () => {
    const { accessToken: token, refreshToken, sessionId } = server.signIn("ann");
    server.refuse("FORBIDDEN", 1);
    expect(await call("/app/me", { token })).toMatchObject([403, { code: "FORBIDDEN" }]);
    server.bump("ann");
    expect(await call("/app/me", { token })).toMatchObject([401, { code: "PERMISSION_VERSION_STALE" }]);
    server.refuseFresh(1);
    const [, bad] = await call(paths.refresh, post({ refreshToken }));
    expect(await call("/app/me", { token: bad.accessToken })).toMatchObject([401, { code: "UNAUTHENTICATED" }]);
    const [, good] = await call(paths.refresh, post({ refreshToken: bad.refreshToken }));
    expect((await call("/app/me", { token: good.accessToken }))[0]).toBe(200);
    server.revokeSession(sessionId!);
    expect(await call("/app/me", { token: good.accessToken })).toMatchObject([401, { code: "SESSION_REVOKED" }]);
    expect(await call(paths.refresh, post({ refreshToken: good.refreshToken }))).toMatchObject([401, { code: "SESSION_REVOKED" }]);
    expect(() => server.revoke("ann")).toThrow("no such session");
    expect([server.serial(token), server.serial(good.accessToken), server.serial("x")]).toEqual([1, 3, 0]);
  });

  test("a used refresh token is forgiven for 30 s", async () => {
    const { refreshToken } = server.signIn("ann");
    const [, first] = await call(paths.refresh, post({ refreshToken }));
    await pass(30_000);
    const [, again] = await call(paths.refresh, post({ refreshToken }));
    expect(again.refreshToken).toBe(first.refreshToken);
    await pass(1);
    expect(await call(paths.refresh, post({ refreshToken }))).toMatchObject([401, { code: "REFRESH_REUSED" }]);
  });

  test("say what the configuration wants of them", async () => {
    start({ opaque: true, noExpiry: true, keepRefresh: true, password: "right" });
    expect(await call(paths.signIn, post({ email: "ann", password: "wrong" }))).toMatchObject([400, { code: "INVALID_CREDENTIALS" }]);
    const [, tokens] = await call(paths.signIn, post({ email: "ann", password: "right" }));
    expect(Object.keys(tokens).sort()).toEqual(["accessToken", "refreshToken", "sessionId", "user"]);
    expect(tokens.accessToken).not.toContain(".");
    const [, next] = await call(paths.refresh, post({ refreshToken: tokens.refreshToken }));
    expect(Object.keys(next).sort()).toEqual(["accessToken", "sessionId"]);
  });
});

describe("cookies", () => {
  test("a page signs in, refreshes and signs out by cookies, with a CSRF token", async () => {
    const page = createTestPlatform({ server });
    const tab = page.tab();
    const ask = async (path: string, init?: RequestInit) => (await tab.fetch(path, init)).json();
    expect(await ask("/api/auth/session")).toBe(null);
    const signedIn = await ask(paths.signIn, post({ email: "ann" }));
    expect(signedIn).toMatchObject({ user: { id: "ann" }, expiresIn: 900 });
    expect(signedIn.refreshToken).toBe(undefined);
    expect(await ask("/api/auth/session")).toMatchObject({ session: { id: signedIn.sessionId }, user: { id: "ann" } });
    expect(page.cookies.visible).toMatch(/^csrf-token=[\w-]+$/);
    expect(await ask(paths.refresh, { method: "POST" })).toMatchObject({ code: "CSRF_MISMATCH" });
    const csrf = page.cookies.visible.split("=")[1]!;
    const safe = { "X-CSRF-Token": csrf };
    expect(await ask(paths.refresh, { method: "POST", headers: safe })).toMatchObject({ sessionId: signedIn.sessionId });
    expect(await ask("/app/echo", post({ a: 1 }))).toMatchObject({ code: "CSRF_MISMATCH" });
    expect(await ask("/app/me")).toBe("ann");
    expect(await ask("/api/realtime/token", { method: "POST" })).toMatchObject({ expiresIn: 900 });
    expect(await ask(paths.signOut, { method: "POST" })).toEqual({});
    expect(await ask("/api/auth/session")).toBe(null);
    expect(await ask("/api/realtime/token", { method: "POST" })).toMatchObject({ code: "UNAUTHENTICATED" });
  });

  test("a holder of a token is sent to the refresh", async () => {
    const token = server.signIn("ann").accessToken;
    expect(await call("/api/realtime/token", { method: "POST", token })).toMatchObject([403, { code: "FORBIDDEN" }]);
  });

  test("another origin's page is refused, and has no cookies but with credentials", async () => {
    const stranger = createTestPlatform({ server, origin: "https://evil.example" }).tab();
    expect(await (await stranger.fetch(server.url + "/app/echo", { method: "POST", body: "1" })).json()).toMatchObject({ code: "ORIGIN_NOT_ALLOWED" });
    const socket = new stranger.WebSocket(server.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket");
    const closed = new Promise<any>((resolve) => (socket.onclose = resolve));
    expect((await closed).code).toBe(1006);
    start({ allowedOrigins: ["https://app.example"] });
    const friend = createTestPlatform({ server, origin: "https://app.example" });
    friend.cookies.take(`session=${server.signIn("ann").accessToken}; Path=/; HttpOnly`);
    const { fetch } = friend.tab();
    expect((await fetch(server.url + "/app/me")).status).toBe(401);
    expect((await fetch(server.url + "/app/me", { credentials: "include" })).status).toBe(200);
  });

  test("config.csrf demands a token that comes in one way alone", async () => {
    for (const csrf of ["header", "body", "cookie"] as const) {
      start({ csrf });
      const response = await server.fetch(server.url + paths.csrf);
      const page = createTestPlatform({ server });
      await page.tab().fetch(paths.csrf);
      const ways = [response.headers.get("X-CSRF-Token"), (await response.json()).csrfToken, page.cookies.visible.split("=")[1]];
      expect(ways.filter(Boolean)).toHaveLength(1);
      const token = ways.find(Boolean)!;
      const echo = () => call("/app/echo", post(1, { headers: { "X-CSRF-Token": token } }));
      expect(await echo()).toMatchObject([401, {}]); // past the guard
      server.forgetCSRF();
      expect(await echo()).toMatchObject([403, { code: "CSRF_MISMATCH" }]);
    }
  });
});

describe("sockets", () => {
  /** A WebSocket of the server's, that is signed in, and what it hears. */
  async function open(token = server.signIn("ann").accessToken) {
    const socket = new server.WebSocket(server.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket");
    const heard: string[] = [];
    const line = { socket, heard, closed: undefined as any };
    socket.onmessage = ({ data }) => heard.push(data);
    socket.onclose = ({ code, reason, wasClean }) => (line.closed = [code, reason, wasClean]);
    await pass(0);
    socket.send(`40${JSON.stringify({ token })}`);
    await pass(0);
    return line;
  }

  test("vanish: cut, in the middle of a frame, or silent", async () => {
    for (const how of ["cut", "midFrame"] as const) {
      const { socket, ...line } = await open();
      let closed: unknown;
      socket.onclose = ({ code, wasClean }) => (closed = [code, wasClean]);
      expect(server.vanish(how)).toBe(1);
      await pass(0);
      expect([closed, server.connected, line.heard.length]).toEqual([[1006, false], 0, 3]);
    }
    const line = await open();
    expect(server.vanish("silent")).toBe(1);
    line.socket.send('420["echo",1]');
    await pass(3_600_000);
    expect([line.closed, line.heard.length, line.socket.readyState, server.connected]).toEqual([undefined, 3, 1, 0]);
    expect(line.socket.bufferedAmount).toBeGreaterThan(0);
  });

  test("heartbeats: every 25 s, and 20 s for the answer", async () => {
    const line = await open();
    await pass(25_000);
    expect(line.heard.at(-1)).toBe("2");
    line.socket.send("3");
    await pass(25_000 + 19_999);
    expect(line.closed).toBe(undefined);
    await pass(1);
    expect(line.closed).toEqual([1006, "", false]);
  });

  test("close sends any code, after which nothing of the server's comes", async () => {
    const line = await open();
    expect(server.close(4009, "SLOW_CONSUMER")).toBe(1);
    server.emit("late", 1);
    await pass(0);
    expect([line.closed, line.heard.length]).toEqual([[4009, "SLOW_CONSUMER", true], 3]);
  });

  test("a token that ends is announced, and ends the connection", async () => {
    vi.setSystemTime(0);
    const line = await open();
    const ping = setInterval(() => line.socket.send("3"), 10_000);
    await pass(869_999);
    expect(line.heard.some((f) => f.includes("auth:expiring"))).toBe(false);
    await pass(1);
    expect(line.heard.at(-1)).toBe('42["auth:expiring",{"expiresAt":900000,"expiresIn":30,"reason":"expiry"}]');
    await pass(34_999);
    expect(line.closed).toBe(undefined);
    await pass(1);
    expect(line.closed).toEqual([4002, "TOKEN_EXPIRED", true]);
    clearInterval(ping);
  });

  test("after a bump there are 30 s for a refresh", async () => {
    const line = await open();
    server.bump("ann");
    await pass(29_999);
    line.socket.send("3");
    expect(line.closed).toBe(undefined);
    await pass(1);
    expect(line.closed).toEqual([4002, "PERMISSION_VERSION_STALE", true]);
  });

  test("whoever sends no CONNECT is closed after 10 s", async () => {
    const socket = new server.WebSocket(server.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket");
    let closed: unknown;
    socket.onclose = ({ code }) => (closed = code);
    await pass(9_999);
    expect(closed).toBe(undefined);
    await pass(1);
    expect([closed, server.connections, server.connected]).toEqual([1001, 1, 0]);
  });

  test("plain: nothing of Holdfast's own is told", async () => {
    start({ plain: true });
    const line = await open();
    server.end("GOING_AWAY");
    await pass(0);
    expect(line.heard.some((f) => f.includes("auth:"))).toBe(false);
    expect(line.closed).toEqual([1001, "GOING_AWAY", true]);
  });

  test("a handshake meets the faults of its path", async () => {
    server.fail(paths.sockets, { status: 502, times: 1 });
    expect((await open()).closed).toEqual([1006, "", false]);
    expect([server.connections, server.log[0]]).toMatchObject([1, { status: 502, handshake: true }]);
  });

  test("history is lost by stop with wipe, and kept by stop", async () => {
    const { epoch } = server.publish("r", "e", 1);
    server.stop();
    server.start();
    expect(server.publish("r", "e", 2)).toEqual({ epoch, offset: 2 });
    server.stop({ wipe: true });
    server.start();
    const next = server.publish("r", "e", 3);
    expect([next.offset, next.epoch === epoch]).toEqual([1, false]);
  });

  test("stop leaves no timer behind", async () => {
    await open();
    server.slow("/healthz", 1_000);
    const cut = watch(call("/healthz"));
    await pass(0);
    server.stop();
    await pass(0);
    expect([cut(), vi.getTimerCount()]).toEqual(["TypeError: fetch failed", 0]);
  });
});
