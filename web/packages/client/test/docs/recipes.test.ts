// The recipes of docs/browser.md, with their own code. The one for
// socket.io-client plays against the real server: `go` has to be there.
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { createTestPlatform, createTestServer, paths, type TestServer } from "../../src/testing/index.js";
import { build, mint, remove, start, type Running } from "../real/holdfast.js";
import { load } from "./recipe.js";

const patience = 20_000; // ms: a bound for machines that are busy

const exchange = "/api/realtime/token";
let server: TestServer | undefined;
const open: { close(): void }[] = [];

afterEach(() => {
  for (const one of open.splice(0)) one.close();
  server?.stop();
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
});

/** A server, and the cookies of somebody who has signed in there, in a page of this origin. */
async function visit(url: string, origin = url) {
  server = createTestServer({ url, allowedOrigins: [origin] });
  const browser = createTestPlatform({ server, origin });
  const tab = browser.tab();
  const signedIn = await tab.fetch(`${url}${paths.signIn}`, {
    method: "POST",
    credentials: "include",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ email: "ann", password: "x" }),
  });
  expect(signedIn.status).toBe(200);
  return { server, tab, cookie: browser.cookies.header("/") };
}

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => "none",
    (e) => e.code,
  );

describe("Better Auth", () => {
  const [rt, app] = ["https://rt.example.com", "https://app.example.com"];

  test("the AuthManager exchanges the cookie, once for all calls, and tells nobody of a sign-out", async () => {
    const { server, tab } = await visit(rt, app);
    vi.stubGlobal("fetch", tab.fetch);
    vi.stubGlobal("WebSocket", tab.WebSocket);
    const [{ client, signedIn, signedOut }] = await load("better-auth", ["src/realtime.ts"]);
    open.push(client);
    await signedIn();
    expect(await Promise.all([client.http.get("/app/me"), client.http.post("/app/echo", 1)])).toEqual(["ann", 1]);
    await client.socket.connect();
    expect(client.socket.session.user.id).toBe("ann");
    expect(server.requests(exchange)).toBe(1);
    await signedOut();
    expect(client.auth.isAuthenticated()).toBe(false);
    expect(client.socket.state.connected).toBe(false);
    expect(server.signOuts + server.requests(paths.csrf)).toBe(0);
  });

  test("without the cookie nobody is signed in", async () => {
    const { tab } = await visit(rt, app);
    vi.stubGlobal("fetch", (input: RequestInfo, init?: RequestInit) => tab.fetch(new Request(input, { ...init, credentials: "omit" })));
    for (const file of ["src/realtime.ts", "src/own.ts"]) {
      const [{ client }] = await load("better-auth", [file]);
      open.push(client);
      expect(await code(client.http.get("/app/me"))).toBe("SIGNED_OUT");
    }
  });

  test("a function gets a token for each call, and another one after a refusal", async () => {
    const { server, tab } = await visit(rt, app);
    vi.stubGlobal("fetch", tab.fetch);
    const [{ client }] = await load("better-auth", ["src/own.ts"]);
    open.push(client);
    expect(await client.http.get("/app/me")).toBe("ann");
    expect(server.requests(exchange)).toBe(1);
    server.fail("/app/me", { code: "TOKEN_EXPIRED", times: 1 });
    expect(await client.http.get("/app/me")).toBe("ann");
    expect(server.requests("/app/me")).toBe(3);
  });
});

test("React Native: a session outlives the app, and it connects when it is shown again", async () => {
  server = createTestServer({ url: "https://rt.example.com" });
  vi.stubGlobal("fetch", server.fetch);
  vi.stubGlobal("WebSocket", server.WebSocket);
  const kept = new Map<string, string>();
  const shown = new Set<(state: string) => void>();
  vi.stubGlobal("device", {
    getItem: async (key: string) => kept.get(key) ?? null,
    setItem: async (key: string, value: string) => void kept.set(key, value),
    removeItem: async (key: string) => void kept.delete(key),
    AppState: { addEventListener: (_: string, fn: (state: string) => void) => (shown.add(fn), { remove: () => shown.delete(fn) }) },
  });
  const standIns = {
    "react-native-url-polyfill/auto": "",
    "react-native": "export const { AppState } = device;",
    "@react-native-async-storage/async-storage": "export default device;",
  };
  const app = async () => {
    const [recipe] = await load("react-native", ["src/realtime.ts"], standIns);
    const client = await recipe.open(server!.url);
    open.push(client);
    return client;
  };
  const first = await app();
  first.auth.setTokens(await first.http.post(paths.signIn, { email: "ann", password: "x" }, { anonymous: true }));
  await vi.waitFor(() => expect(kept.get("holdfast:tokens")).toContain("ann"), patience);
  first.close();
  expect(shown.size).toBe(0);

  const second = await app();
  expect(second.auth.getUser().id).toBe("ann");
  await second.socket.connect();
  expect(shown.size).toBe(2); // the AuthManager and the socket
  await second.auth.refresh();
  const token = await second.auth.getAccessToken();
  await vi.waitFor(() => expect(JSON.parse(kept.get("holdfast:tokens")!).access).toBe(token), patience);
  server.stop(); // so that it stays away until it is told to come back
  await vi.waitFor(() => expect(second.socket.state.state).toBe("connecting"), patience);
  server.start();
  const { connections } = server;
  for (const fn of shown) fn("background");
  expect(server.connections).toBe(connections);
  for (const fn of shown) fn("active");
  await vi.waitFor(() => expect(second.socket.state.connected).toBe(true), patience);
  await second.auth.clear();
  await vi.waitFor(() => expect(kept.has("holdfast:tokens")).toBe(false), patience);
});

test("TanStack Start: each request has a client, loads as its visitor, and renders", async () => {
  const { server, cookie } = await visit("http://127.0.0.1:8080");
  vi.stubGlobal("fetch", server.fetch);
  server.publish("board", "greeting", { text: "from the history" });
  vi.stubGlobal("request", { cookie });
  const [router, board] = await load("tanstack-start", ["src/router.tsx", "src/routes/board.tsx"], {
    "@tanstack/react-router":
      "export const createRouter = (o) => o, createFileRoute = () => (o) => ({ ...o, useLoaderData: () => request.loaded });",
    "@tanstack/react-start": "export const createIsomorphicFn = () => ({ server: (run) => ({ client: () => run }) });",
    "@tanstack/react-start/server": "export const getRequestHeader = (name) => request[name];",
    "./routeTree.gen": "export const routeTree = {};",
  });
  const visitors = [router.getRouter(), router.getRouter()];
  expect(visitors[0].context.client).not.toBe(visitors[1].context.client);
  const load_ = (visitor: any) => board.Route.loader({ context: visitor.context });
  const loaded = await load_(visitors[0]);
  vi.stubGlobal("request", { loaded });
  expect(await code(load_(visitors[1]))).toBe("UNAUTHENTICATED");
  const html = renderToString(createElement(visitors[0].Wrap, null, createElement(board.Route.component)));
  expect(html).toBe("<ul><li>from the history</li></ul>");
  expect(server.refreshes + server.connections).toBe(0);
});

test("Next: a page loads as its visitor, and renders below the client boundary", async () => {
  const { server, cookie } = await visit("http://127.0.0.1:8080");
  vi.stubGlobal("fetch", server.fetch);
  vi.stubEnv("HOLDFAST_URL", server.url);
  server.publish("board", "greeting", { text: "from the history" });
  vi.stubGlobal("request", { cookie });
  const [layout, page] = await load("nextjs-app-router", ["app/layout.tsx", "app/board/page.tsx"], {
    "next/headers": "export const cookies = async () => ({ toString: () => request.cookie });",
  });
  const html = renderToString(createElement(layout.default, null, await page.default()));
  expect(html).toContain("<body><ul><li>from the history</li></ul></body>");
  vi.stubGlobal("request", { cookie: "" });
  expect(await code(page.default())).toBe("UNAUTHENTICATED");
  expect(server.refreshes + server.connections).toBe(0);
});

describe("plain socket.io-client, at the real server", { timeout: 60_000 }, () => {
  const key = "a-key-of-the-backend-for-tests";
  let real: Running;
  beforeAll(async () => {
    build();
    real = await start(0, "--api-key", key);
  }, 300_000);
  afterAll(async () => {
    await real?.stop();
    remove();
  });

  const connect = async (tokens: (() => string)[], signedOut: (code: string) => void) => {
    const [recipe] = await load("plain-socketio-client", ["src/plain.ts"]);
    const given: string[] = [];
    const socket = recipe.connect(
      real.url,
      async () => {
        given.push((tokens.length > 1 ? tokens.shift()! : tokens[0]!)());
        return given.at(-1)!;
      },
      signedOut,
    );
    open.push(socket);
    return { socket, given };
  };
  const told = (socket: any, event: string) => new Promise<any>((resolve) => socket.once(event, resolve));
  const revoke = (user: string) =>
    fetch(`${real.url}/api/connections/close`, {
      method: "POST",
      headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
      body: JSON.stringify({ user }),
    });

  test("the token is renewed in place, and a revoked session stops", async () => {
    let ended!: (code: string) => void;
    const over = new Promise<string>((resolve) => (ended = resolve));
    const { socket, given } = await connect([() => mint("ann", 3), () => mint("ann", 3), () => mint("ann")], ended);
    const { connection } = await told(socket, "auth:session");
    let again = 0;
    socket.on("auth:session", () => again++);
    await told(socket, "auth:expiring");
    await told(socket, "auth:expiring"); // of the second token: the server has taken it
    expect(await socket.emitWithAck("room:join", { room: "board" })).toMatchObject({ ok: true });
    expect([typeof connection, again, given.length]).toEqual(["string", 0, 3]);
    expect((await revoke("ann")).status).toBe(200);
    expect(await over).toBe("SESSION_REVOKED");
    expect(socket.active).toBe(false);
  });

  test("an expired token is worth another try, a bad one is not", async () => {
    const codes: string[] = [];
    const first = await connect([() => mint("bob", -60), () => mint("bob")], (code) => codes.push(code));
    await told(first.socket, "auth:session");
    expect(first.given).toHaveLength(2);
    const second = await connect([() => "no token"], (code) => codes.push(code));
    await told(second.socket, "connect_error");
    expect(codes).toEqual(["UNAUTHENTICATED"]);
    expect(second.socket.active).toBe(false);
  });
});
