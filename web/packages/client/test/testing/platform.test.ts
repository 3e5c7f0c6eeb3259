import { expect, test } from "vitest";
import { createTestPlatform, createTestServer } from "../../src/testing/index.js";

const soon = () => new Promise<void>((resolve) => setTimeout(resolve));

test("a storage is one for all tabs, and the others hear of changes", async () => {
  const browser = createTestPlatform();
  const [a, b] = [browser.tab(), browser.tab()];
  const heard: unknown[] = [];
  for (const [name, tab] of [["a", a], ["b", b]] as const)
    tab.events.addEventListener("storage", (e: any) => heard.push([name, e.key, e.oldValue, e.newValue]));
  a.localStorage.setItem("k", "1");
  a.localStorage.setItem("k", "1");
  b.localStorage.removeItem("k");
  b.localStorage.removeItem("k");
  a.sessionStorage.setItem("k", "own");
  await soon();
  expect(heard).toEqual([["b", "k", null, "1"], ["a", "k", "1", null]]);
  expect([b.localStorage.getItem("k"), b.sessionStorage.getItem("k"), a.sessionStorage.length]).toEqual([null, null, 1]);
  a.localStorage.setItem("x", "1");
  expect([b.localStorage.key(0), b.localStorage.length]).toEqual(["x", 1]);
  b.localStorage.clear();
  await soon();
  expect(heard.at(-1)).toEqual(["a", null, null, null]);
});

test("a storage is full, or blocked", () => {
  const browser = createTestPlatform();
  const tab = browser.tab();
  browser.storage.quota = 10;
  tab.localStorage.setItem("key", "1234567");
  expect(() => tab.localStorage.setItem("key", "12345678")).toThrow(expect.objectContaining({ name: "QuotaExceededError" }));
  expect(() => tab.localStorage.setItem("b", "")).toThrow(expect.objectContaining({ name: "QuotaExceededError" }));
  expect(tab.localStorage.getItem("key")).toBe("1234567");
  browser.storage.blocked = true;
  expect(() => tab.localStorage).toThrow(expect.objectContaining({ name: "SecurityError" }));
  expect(() => tab.sessionStorage).toThrow(expect.objectContaining({ name: "SecurityError" }));
});

test("channels reach the other tabs, by name, with copies", async () => {
  const browser = createTestPlatform();
  const [a, b] = [browser.tab(), browser.tab()];
  const open = (tab: typeof a, name: string) => new tab.BroadcastChannel!(name);
  const [one, two, other, same] = [open(a, "c"), open(b, "c"), open(b, "d"), open(a, "c")];
  const heard: unknown[] = [];
  const message = { n: 1 };
  one.onmessage = () => heard.push("one");
  two.onmessage = ({ data }) => heard.push(["two", data, data === message]);
  other.onmessage = () => heard.push("other");
  same.onmessage = () => heard.push("same");
  one.postMessage(message);
  await soon();
  expect(heard).toEqual(["same", ["two", { n: 1 }, false]]);
  two.close();
  one.postMessage(message);
  await soon();
  expect(heard).toHaveLength(3);
  expect(() => two.postMessage(1)).toThrow("closed");
});

test("a lock is held by one at a time, in the order of asking", async () => {
  const browser = createTestPlatform();
  const [a, b] = [browser.tab(), browser.tab()];
  const log: string[] = [];
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const first = a.locks!.request("l", {}, async () => {
    log.push("a");
    await held;
    return 1;
  });
  const second = b.locks!.request("l", {}, async () => void log.push("b"));
  expect(await b.locks!.request("l", { ifAvailable: true }, async (lock) => lock)).toBe(null);
  const leaver = new AbortController();
  const third = b.locks!.request("l", { signal: leaver.signal }, async () => void log.push("never"));
  await soon();
  leaver.abort(new Error("left"));
  await expect(third).rejects.toThrow("left");
  expect([log, browser.locked("l")]).toEqual([["a"], true]);
  release();
  expect(await first).toBe(1);
  await second;
  expect([log, browser.locked("l")]).toEqual([["a", "b"], false]);
  await expect(a.locks!.request("l", {}, () => Promise.reject(new Error("failed")))).rejects.toThrow("failed");
  expect(browser.locked("l")).toBe(false);
});

test("a killed tab frees its locks, and hears and writes nothing more", async () => {
  const server = createTestServer();
  const browser = createTestPlatform({ server });
  const [a, b] = [browser.tab(), browser.tab()];
  const socket = new a.WebSocket(server.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket");
  let closed: number | undefined;
  socket.onclose = ({ code }) => (closed = code);
  const log: string[] = [];
  void a.locks!.request("l", {}, () => new Promise(() => {}));
  const waits = b.locks!.request("l", {}, async () => void log.push("b has it"));
  a.events.addEventListener("storage", () => log.push("storage"));
  const channel = new a.BroadcastChannel!("c");
  channel.onmessage = () => log.push("message");
  await soon();
  a.kill();
  await waits;
  b.localStorage.setItem("k", "1");
  a.localStorage.setItem("k", "2");
  new b.BroadcastChannel!("c").postMessage(1);
  channel.postMessage(1);
  void a.locks!.request("l", {}, async () => void log.push("a dead tab's lock"));
  void a.fetch("/healthz").finally(() => log.push("answered"));
  await soon();
  expect([log, b.localStorage.getItem("k"), closed, server.requests("/healthz")]).toEqual([["b has it"], "1", 1006, 0]);
  server.stop();
});

test("a profile may lack locks and channels", () => {
  const tab = createTestPlatform({ locks: false, broadcast: false }).tab();
  expect(["locks" in tab, "BroadcastChannel" in tab, "fetch" in tab]).toEqual([false, false, false]);
});
