// Each row of the table of docs/browser.md: what goes wrong, and that the cure
// helps. What a browser alone shows is in browser/trouble.test.ts.
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createRealtimeClient, type RealtimeClientConfig } from "../../src/index.js";
import type { WebSocketConstructor } from "../../src/platform.js";
import { createTestPlatform, createTestServer, type TestPlatform, type TestServer, type TestServerConfig } from "../../src/testing/index.js";
import "../../src/testing/loaded.js";
import { outcome, settle } from "../world.js";

let server: TestServer;
let browser: TestPlatform;
const open: { close(): void }[] = [];

/** A server, and a browser with a page of this origin. */
function world(config: TestServerConfig = {}, origin?: string) {
  server = createTestServer(config);
  browser = createTestPlatform({ server, ...(origin && { origin }) });
}

/** A client in a tab of its own. */
function client(config: Parameters<typeof createRealtimeClient>[0] & RealtimeClientConfig = {}, platform = browser.tab()) {
  const made = createRealtimeClient({ url: server.url, platform, ...config } as RealtimeClientConfig);
  open.push(made);
  return { ...made, auth: made.auth! };
}

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => "none",
    (e) => e.code,
  );
const minutes = (n: number) => vi.advanceTimersByTimeAsync(n * 60_000);
const ann = { email: "ann", password: "x" };
const signIn = "/api/auth/sign-in";

beforeEach(() => {
  vi.useFakeTimers();
  world();
});
afterEach(() => {
  for (const one of open.splice(0)) one.close();
  server.stop();
  vi.useRealTimers();
});

const rows: Record<string, () => Promise<void>> = {
  async "401: every call fails"() {
    const fixed = client({ authToken: server.issue("ann", 60_000) });
    expect(await fixed.http.get("/app/me")).toBe("ann");
    await minutes(2);
    expect(await code(fixed.http.get("/app/me"))).toBe("TOKEN_EXPIRED");
    const cured = client({ authToken: () => server.issue("ann", 60_000) });
    expect(await cured.http.get("/app/me")).toBe("ann");
  },

  async "401: only calls to another host"() {
    const elsewhere = "http://api.holdfast.test/app/me";
    const authToken = server.issue("ann");
    const stays = client({ authToken });
    expect(await stays.http.get("/app/me")).toBe("ann");
    expect(await code(stays.http.get(elsewhere))).toBe("UNAUTHENTICATED");
    const cured = client({ authToken, http: { trustedOrigins: ["http://api.holdfast.test"] } });
    expect(await cured.http.get(elsewhere)).toBe("ann");
  },

  async "401: a cookie session"() {
    const origin = "http://app.holdfast.test";
    world({ allowedOrigins: [origin] }, origin);
    const stays = client({ auth: false });
    expect(await stays.http.post(signIn, ann)).toMatchObject({ sessionId: expect.any(String) });
    expect(await code(stays.http.get("/app/me"))).toBe("UNAUTHENTICATED");
    const cured = client({ auth: false, withCredentials: true });
    await cured.http.post(signIn, ann);
    expect(await cured.http.get("/app/me")).toBe("ann");
  },

  async "401: a sign-in rejects"() {
    const { http } = client();
    expect(await code(http.post(signIn, ann))).toBe("SIGNED_OUT");
    expect(server.requests(signIn)).toBe(0);
    expect(await http.post(signIn, { ...ann, mode: "token" }, { anonymous: true })).toHaveProperty("refreshToken");
  },

  async "403 CSRF: each POST"() {
    const without = client({ auth: false, csrf: false });
    await without.http.post(signIn, ann);
    expect(await without.http.get("/app/me")).toBe("ann");
    expect(await code(without.http.post("/app/echo", 1))).toBe("CSRF_MISMATCH");
    const cured = client({ auth: false });
    await cured.http.post(signIn, ann);
    expect(await cured.http.post("/app/echo", 1)).toBe(1);
  },

  async "socket refused: `connect` rejects"() {
    const authToken = server.issue("ann");
    expect(await code(client({ authToken, socket: { namespace: "/todos" } }).socket.connect())).toBe("NOT_FOUND");
    expect(await code(client({ authToken }).socket.connect())).toBe("none");
  },

  async "socket refused: `UNAUTHENTICATED`"() {
    const tab = browser.tab();
    // A server that wants its token as "jwt".
    const Plain = tab.WebSocket;
    const wants = class extends (Plain as any) {
      send(data: string) {
        super.send(data.replace(/^40(\{.*\})$/, (_, auth) => `40${JSON.stringify({ token: JSON.parse(auth).jwt })}`));
      }
    } as unknown as WebSocketConstructor;
    const platform = { fetch: tab.fetch, WebSocket: wants };
    const authToken = () => server.issue("ann");
    const usual = client({ authToken }, platform as never);
    expect(await usual.http.get("/app/me")).toBe("ann");
    const refused = outcome(usual.socket.connect());
    await minutes(1);
    expect(refused.error?.code).toBe("UNAUTHENTICATED");
    const cured = client({ authToken, socket: { auth: (jwt) => ({ jwt }) } }, platform as never);
    expect(await code(cured.socket.connect())).toBe("none");
  },

  async "signed out too often: after a quarter"() {
    for (const [mode, auth, after] of [
      [undefined, {}, "TOKEN_EXPIRED"],
      ["token", {}, "none"],
      [undefined, { cookie: true }, "none"],
    ] as const) {
      world();
      const page = client({ auth });
      page.auth.setTokens(await page.http.post(signIn, { ...ann, mode }, { anonymous: true }));
      expect(await page.http.get("/app/me")).toBe("ann");
      await minutes(16);
      expect(await code(page.http.get("/app/me"))).toBe(after);
    }
  },

  async "signed out too often: `REFRESH_REUSED`"() {
    for (const [other, ended] of [["two", "REFRESH_REUSED"], ["one", undefined]] as const) {
      world();
      const tokens = server.signIn("ann");
      const [first, second] = [client({ auth: { tokenKey: "one" } }), client({ auth: { tokenKey: other } })];
      let why: string | undefined;
      second.auth.on("sign-out", ({ error }) => (why = error?.code));
      first.auth.setTokens(tokens);
      if (other === "two") second.auth.setTokens(tokens);
      await first.auth.refresh();
      await minutes(1); // the server's grace is over
      await second.auth.refresh().catch(() => {});
      expect(why).toBe(ended);
      expect(second.auth.isAuthenticated()).toBe(!ended);
    }
  },

  async "signed out too often: whenever"() {
    const { auth, http } = client();
    const load = (mayClear: (error: any) => boolean) => http.get("/app/me").catch((e) => (mayClear(e) ? auth.clear().catch(() => {}) : undefined));
    auth.setTokens(server.signIn("ann"));
    server.stop();
    await load((e) => e.final);
    expect(auth.isAuthenticated()).toBe(true);
    await load(() => true);
    expect(auth.isAuthenticated()).toBe(false);
  },

  async "several refreshes in tabs"() {
    for (const [storage, refreshes] of [["sessionStorage", 2], ["memory", 2], ["localStorage", 1]] as const) {
      world();
      const tabs = [client({ auth: { storage } }), client({ auth: { storage } })];
      for (const { auth } of refreshes === 2 ? tabs : tabs.slice(0, 1)) auth.setTokens(server.signIn("ann"));
      await settle();
      expect(tabs.map(({ auth }) => auth.isAuthenticated())).toEqual([true, true]);
      tabs.forEach(({ auth }) => auth.on("refresh", () => {})); // both are in use
      await minutes(14.9);
      expect(server.refreshes).toBe(refreshes);
    }
  },

  async "nothing arrives: `state` stays"() {
    const { socket } = client({ authToken: server.issue("ann") });
    const heard: unknown[] = [];
    const room = socket.join("board");
    room.on("card", (data) => heard.push(data));
    await minutes(1);
    expect(socket.state.state).toBe("disconnected");
    await socket.connect();
    await room.joined;
    server.publish("board", "card", 1);
    await settle();
    expect(heard).toEqual([1]);
  },

  async "nothing arrives: connected, and"() {
    const { socket } = client({ authToken: server.issue("ann") });
    const heard: unknown[] = [];
    socket.on("card", (data) => heard.push(data));
    await socket.connect();
    server.publish("board", "card", 1);
    await settle();
    expect(heard).toEqual([]);
    await socket.join("board").joined;
    server.publish("board", "card", 2);
    await settle();
    expect(heard).toEqual([2]);
  },

  async "nothing arrives: `joined` rejects"() {
    world({ claims: () => ({ rooms: ["board-*"] }) });
    const { socket } = client({ authToken: server.issue("ann") });
    await socket.connect();
    expect(await code(socket.join("lobby").joined)).toBe("FORBIDDEN");
    expect(await code(socket.join("board-7").joined)).toBe("none");
  },

  async "nothing is sent: `NOT_CONNECTED`"() {
    const authToken = server.issue("ann");
    const { socket } = client({ authToken });
    expect(await code(socket.emit("add", 1))).toBe("NOT_CONNECTED");
    await socket.connect();
    await socket.emit("add", 2);
    const queued = client({ authToken, socket: { queue: true } });
    await queued.socket.emit("add", 3);
    await queued.socket.connect();
    await vi.waitFor(() => expect(server.added).toEqual([2, 3]), 20_000);
  },
};

// Reproduced in Chromium.
const elsewhere = ["ORIGIN_NOT_ALLOWED: in the server's log"];

test("docs/browser.md and these tests have the same rows", () => {
  const text = readFileSync(new URL("../../../../../docs/browser.md", import.meta.url), "utf8");
  const table = text.split("| symptom | why | what helps |\n|---|---|---|\n")[1]!.split("\n\n")[0]!.trim().split("\n");
  const names = [...Object.keys(rows), ...elsewhere];
  expect(table.filter((line) => !names.some((name) => line.startsWith(`| ${name}`)))).toEqual([]);
  expect(names.filter((name) => !table.some((line) => line.startsWith(`| ${name}`)))).toEqual([]);
});

describe("troubleshooting", () => {
  for (const [name, row] of Object.entries(rows)) test(name, row);
});
