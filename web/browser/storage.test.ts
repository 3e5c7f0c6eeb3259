import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import { arguments_, signIn, tab, until, world } from "./world.js";

const w = world();

declare global {
  function make(version: number, table: boolean): Promise<void>;
}

const noLocalStorage = () =>
  Object.defineProperty(globalThis, "localStorage", {
    get() {
      throw new DOMException("Access is denied", "SecurityError");
    },
  });
const begin = (page: Page) => page.evaluate(() => start({ auth: {}, socket: { queue: true, minBackoff: 50, maxBackoff: 200 } }));
const errors = (page: Page) => page.evaluate(() => told.filter((t) => t.name === "error").map((t) => t.message));

/** Signs in, calls, connects and sends by the queue: all as if nothing were wrong. */
async function works(page: Page): Promise<void> {
  const before = (await w.stage.state()).added.length;
  await page.evaluate((session) => client.auth!.setTokens(session), await signIn(w.stage, "u1"));
  expect(await page.evaluate(() => client.http.get("/app/me"))).toEqual({ user: "u1" });
  await page.evaluate(() => client.auth!.refresh());
  await page.evaluate(() => client.socket.emit("add", "before"));
  expect(await page.evaluate(() => client.socket.queued.map((i) => i.args[0]))).toEqual(["before"]);
  await page.evaluate(() => client.socket.connect());
  expect(await page.evaluate(() => client.socket.emitAck("add", "after"))).toBe(before + 2);
  expect((await w.stage.state()).added.slice(before)).toEqual(["before", "after"]);
  expect(await page.evaluate(() => [heard("sign-in", "self"), heard("refresh", "self"), heard("sign-out")])).toEqual([1, 1, 0]);
}

test("L15 localStorage is full: an error event, memory goes on, and what is held is kept when there is space", async () => {
  const page = await tab(await w.profile(), w.stage.trouble);
  const filled = await page.evaluate(() => {
    let stored = 0;
    for (let size = 1 << 20; size >= 1; size >>= 1)
      for (let more = true; more; )
        try {
          localStorage.setItem(`fill ${size} ${stored}`, "x".repeat(size));
          stored += size;
        } catch {
          more = false;
        }
    return stored;
  });
  expect(filled).toBeGreaterThan(1 << 20);
  await page.clock.install();
  await begin(page);
  await works(page);
  expect(await errors(page)).toEqual([expect.stringMatching(/quota/i)]);
  expect(await page.evaluate(() => localStorage.getItem("holdfast:tokens"))).toBe(null);
  const held = await page.evaluate(() => {
    localStorage.clear();
    return client.auth!.getAccessToken();
  });
  await page.clock.fastForward(31_000);
  await until(page, () => localStorage.getItem("holdfast:tokens"));
  expect(await page.evaluate(() => JSON.parse(localStorage.getItem("holdfast:tokens")!).access)).toBe(held);
});

test("L15 reading localStorage throws: an error event, and memory goes on", async () => {
  const page = await tab(await w.profile(noLocalStorage), w.stage.trouble);
  await begin(page);
  await works(page);
  expect(await errors(page)).toEqual(["Access is denied"]);
});

test("L15 the user's settings block storage: an error event, and memory goes on", async () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-profile-"));
  try {
    mkdirSync(join(folder, "Default"));
    // "Don't allow sites to save data on your device".
    const blocked = { profile: { default_content_setting_values: { cookies: 2 } } };
    writeFileSync(join(folder, "Default", "Preferences"), JSON.stringify(blocked));
    const profile = await chromium.launchPersistentContext(folder, { executablePath: inject("chromium"), args: arguments_ });
    try {
      const uncaught: string[] = [];
      profile.on("weberror", (e) => uncaught.push(e.error().message));
      const page = await tab(profile, w.stage.trouble);
      expect(await page.evaluate(() => Object.prototype.hasOwnProperty.call(globalThis, "localStorage"))).toBe(true);
      expect(
        await page.evaluate(() => {
          try {
            return localStorage.length;
          } catch (e: any) {
            return e.name;
          }
        }),
      ).toBe("SecurityError");
      await begin(page);
      await works(page);
      expect(await errors(page)).toEqual([expect.stringContaining("denied")]);
      await expect.poll(() => uncaught.length).toBeGreaterThan(0);
      expect(uncaught).toHaveLength(1); // the queue has no place either, which is reported once
    } finally {
      await profile.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

for (const [what, text] of [
  ["garbage", "}{ garbage"],
  ["cut short", '{"version":1,"access":"ey'],
  ["of a newer version", '{"version":2,"access":"eyJ","tokens":[]}'],
] as const)
  test(`L14 what is kept is ${what}: signed out with an error event, and it is put aside`, async () => {
    const page = await tab(await w.profile(), w.stage.trouble);
    await page.evaluate((text) => localStorage.setItem("holdfast:tokens", text), text);
    await begin(page);
    expect(await page.evaluate(() => client.auth!.getAccessToken())).toBe(null);
    await until(page, () => heard("error"));
    expect(await page.evaluate(() => ["", ":bad"].map((end) => localStorage.getItem("holdfast:tokens" + end)))).toEqual([null, text]);
    expect(await errors(page)).toEqual([expect.stringContaining("holdfast:tokens:bad")]);
    await works(page);
    expect(await page.evaluate(() => heard("error"))).toBe(1);
  });

// What spoils the database of the queue before the client is there.
const spoilt: [what: string, spoil: (page: Page) => Promise<unknown>][] = [
  ["a database of a newer version is there", (page) => page.evaluate(() => make(2, true))],
  ["a database without its table is there", (page) => page.evaluate(() => make(1, false))],
  [
    "the disk is full",
    async (page) => {
      const cdp = await page.context().newCDPSession(page);
      await cdp.send("Storage.overrideQuotaForOrigin", { origin: w.stage.trouble, quotaSize: 1 });
    },
  ],
];
test.each([["garbage", "garbage"], ["half of what it should", { items: "none" }]] as const)(
  "L14 the queue's database holds %s: that is passed over, and what is kept next is there after a reload",
  async (_, state) => {
    const page = await tab(await w.profile(), w.stage.trouble);
    await page.evaluate(
      (state) =>
        new Promise<void>((resolve, reject) => {
          const open = indexedDB.open("holdfast", 1);
          open.onupgradeneeded = () => open.result.createObjectStore("q").put(state, "state");
          open.onerror = () => reject(open.error);
          open.onsuccess = () => (open.result.close(), resolve());
        }),
      state,
    );
    await begin(page);
    await works(page);
    await page.evaluate(() => (client.socket.close(), client.socket.emit("add", "kept")));
    await page.reload();
    await begin(page);
    await page.evaluate(() => client.socket.subscribeQueue(() => {}));
    await until(page, () => client.socket.queued.length === 1);
    expect(await page.evaluate(() => client.socket.queued.map((i) => i.args[0]))).toEqual(["kept"]);
  },
);

for (const [what, spoil] of spoilt)
  test(`L15 IndexedDB fails, as ${what}: the queue is in memory, and the failure is reported`, async () => {
    const profile = await w.browser.newContext();
    const uncaught: string[] = [];
    profile.on("weberror", (e) => uncaught.push(e.error().message));
    try {
      const page = await tab(profile, w.stage.trouble);
      await page.evaluate(() => {
        window.make = (version, table) =>
          new Promise<void>((resolve, reject) => {
            const open = indexedDB.open("holdfast", version);
            open.onupgradeneeded = () => table && open.result.createObjectStore("q");
            open.onerror = () => reject(open.error);
            open.onsuccess = () => (open.result.close(), resolve());
          });
      });
      await spoil(page);
      await begin(page);
      await works(page);
      await expect.poll(() => uncaught.length).toBeGreaterThan(0);
      expect(uncaught.length).toBeLessThan(3);
    } finally {
      await profile.close();
    }
  });
