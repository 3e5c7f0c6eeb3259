import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createRealtimeClient } from "../../src/index.js";
import { json, outcome, Server } from "../world.js";

const immediate = setImmediate; // taken before it is faked

// The code of calls as a page gets it: late, and not at the first try.
let load: () => Promise<void>;
let loads: number;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 });
  loads = 0;
  vi.resetModules();
  vi.doMock("../../src/http/http.js", async (original) => {
    loads++;
    await load();
    return original();
  });
});
afterEach(() => {
  vi.doUnmock("../../src/http/http.js");
  vi.useRealTimers();
});

/** Until it is so, whatever files are read meanwhile. */
const until = async (so: () => boolean) => {
  while (!so()) {
    await new Promise((resolve) => immediate(resolve));
    await vi.advanceTimersByTimeAsync(0);
  }
};

function client(cookie = false) {
  const server = new Server();
  server.routes["/me"] = (req) => json(req.headers.get("Authorization"));
  server.routes["/api/auth/csrf"] = () => json({ csrfToken: "c" });
  const platform = { fetch: server.fetch, random: () => 0.5 };
  const made = createRealtimeClient({ url: "https://rt.example", auth: { storage: "memory", cookie }, platform });
  return { server, ...made };
}

test("calls whose code can't be loaded: an error that may be tried again, and then is", async () => {
  load = async () => {
    throw new Error("a deployment took it away");
  };
  const { server, http, auth } = client();
  auth.setTokens(server.grant("ann"));
  const first = outcome(http.get("/me"));
  await until(() => first.done);
  expect(first.error).toMatchObject({ code: "NETWORK", final: false, message: expect.stringContaining("can't be loaded") });
  expect(server.requests).toEqual([]);
  load = async () => {};
  const [second, third] = [outcome(http.get("/me")), outcome(http.post("/me", {}))];
  await until(() => second.done && third.done);
  expect([second.value, third.value]).toEqual(["Bearer ann-1", "Bearer ann-1"]);
  expect(loads).toBe(2); // once for both
  auth.close();
});

test("a page stays signed in, and signs out, without the code of calls", async () => {
  load = async () => {
    throw new Error("a deployment took it away");
  };
  const { server, auth } = client();
  auth.setTokens(server.grant("ann"));
  await vi.advanceTimersByTimeAsync(900_000);
  expect(await auth.getAccessToken()).toBe("ann-2");
  await auth.clear();
  expect(server.requests.map((r) => r.path)).toEqual(["/api/auth/refresh", "/api/auth/sign-out"]);
  expect(server.requests[0]).toMatchObject({ redirect: "manual", body: '{"refreshToken":"r-ann-1"}' });
  expect(loads).toBe(0);
});

test("where a cookie has the session, a load that fails is a refresh that is tried again", async () => {
  let offline = true;
  load = async () => {
    if (offline) throw new Error("offline");
  };
  const { server, auth } = client(true);
  const told: unknown[] = [];
  auth.on("error", ({ error }) => told.push((error as any).code));
  await until(() => told.length > 0);
  expect([auth.isAuthenticated(), auth.getSnapshot().pending]).toEqual([false, true]);
  offline = false;
  await vi.advanceTimersByTimeAsync(1000);
  await until(() => auth.isAuthenticated());
  expect(told).toEqual(["NETWORK"]);
  expect(server.count("/api/auth/refresh")).toBe(1);
  auth.close();
});

test("L35 a load that does not end holds nobody up who gives up, nor longer than a call may take", async () => {
  load = () => new Promise(() => {});
  const { http } = client();
  const ctl = new AbortController();
  const [given, patient] = [outcome(http.post("/me", {}, { signal: ctl.signal })), outcome(http.fetch("/me"))];
  await until(() => loads > 0);
  ctl.abort();
  await vi.advanceTimersByTimeAsync(30_000);
  expect([given.error.code, patient.error.code]).toEqual(["CANCELED", "TIMEOUT"]);
  expect(vi.getTimerCount()).toBe(0);
});
