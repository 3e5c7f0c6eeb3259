import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { outcome } from "../world.js";
import type { Browser, Tab } from "../world.js";

const immediate = setImmediate; // taken before it is faked

// The code for other tabs as a page gets it: late, and not at the first try.
let load: () => Promise<void>;
let loads: number;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 });
  loads = 0;
  vi.resetModules();
  vi.doMock("../../src/auth/tabs.js", async (original) => {
    loads++;
    await load();
    return original();
  });
});
afterEach(() => {
  vi.doUnmock("../../src/auth/tabs.js");
  vi.useRealTimers();
});

/** Until it is so, whatever files are read meanwhile. */
const until = async (so: () => boolean) => {
  while (!so()) {
    await new Promise((resolve) => immediate(resolve));
    await vi.advanceTimersByTimeAsync(0);
  }
};

// Both tabs, of modules that have not loaded it yet.
async function two(config = {}): Promise<[Tab, Tab, Browser]> {
  const world = await import("../world.js");
  const browser = new world.Browser();
  return [new world.Tab(browser, config), new world.Tab(browser, config), browser];
}

test("without the code for other tabs: an error, one refresh for all, and a tab that is seen again looks", async () => {
  load = async () => {
    throw new Error("a deployment took it away");
  };
  const [a, b, { server }] = await two();
  const told: unknown[] = [];
  for (const tab of [a, b]) {
    const before = told.length;
    tab.auth.on("error", ({ error }) => told.push((error as any).code));
    await until(() => told.length > before);
  }
  expect(told).toEqual(["NETWORK", "NETWORK"]);
  a.auth.setTokens(server.grant("ann"));
  expect(b.auth.isAuthenticated()).toBe(false);
  b.events.dispatchEvent(new Event("visibilitychange"));
  expect(b.auth.getUser()).toEqual({ id: "ann" });
  await vi.advanceTimersByTimeAsync(900_000);
  expect(server.count("/api/auth/refresh")).toBe(1);
  load = async () => {};
  const before = loads;
  for (const tab of [a, b]) tab.events.dispatchEvent(new Event("online"));
  await until(() => loads > before && b.listened.includes("storage") && a.listened.includes("storage"));
  const done = outcome(a.auth.clear());
  await until(() => done.done);
  expect(b.auth.isAuthenticated()).toBe(false);
  for (const tab of [a, b]) tab.auth.close();
});

test("what another tab has done while the code for other tabs was loaded is found then", async () => {
  let go!: () => void;
  load = () => new Promise((resolve) => (go = resolve));
  const [a, b, { server }] = await two();
  b.auth.on("sign-out", () => {});
  await until(() => go !== undefined);
  a.auth.setTokens(server.grant("ann"));
  expect(b.auth.isAuthenticated()).toBe(false);
  go();
  await until(() => b.auth.isAuthenticated());
  for (const tab of [a, b]) tab.auth.close();
  await vi.advanceTimersByTimeAsync(0);
  expect([a.listened, b.listened, vi.getTimerCount()]).toEqual([[], [], 0]);
});

test("closed while the code for other tabs is loaded: nothing stays open", async () => {
  let go!: () => void;
  load = () => new Promise((resolve) => (go = resolve));
  const [a, , browser] = await two();
  a.auth.on("sign-out", () => {});
  await until(() => go !== undefined);
  a.auth.close();
  go();
  for (let i = 0; i < 50; i++) await new Promise((resolve) => immediate(resolve));
  expect([a.listened, browser.channels.size]).toEqual([[], 0]);
});
