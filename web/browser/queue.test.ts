import type { BrowserContext, Page } from "playwright-core";
import type { Tokens } from "@holdfast/client";
import { describe, expect, test } from "vitest";
import { noLocks, signIn, tab, until, world } from "./world.js";

const w = world();
const nothing = () => {};

declare global {
  /** Milliseconds of the client's clock before the machine's. */
  var ahead: number;
  var sent: number;
}

/** Opens a tab whose socket has a queue. It is signed in when another of the profile is, or by a session. */
async function open(profile: BrowserContext, session?: Tokens): Promise<Page> {
  const page = await tab(profile, w.stage.trouble);
  await page.evaluate(() => {
    // The clock can be set forward, so that a lease ends sooner.
    window.ahead = 0;
    const now = () => Date.now() + window.ahead;
    start({ socket: { queue: true, minBackoff: 50, maxBackoff: 200, transports: ["websocket"] }, platform: { now } });
    client.socket.subscribeQueue(() => {});
  });
  if (session) await page.evaluate((session) => client.auth!.setTokens(session), session);
  return page;
}

/** Counts the events that a page sends. */
const counting = () => {
  const { send } = WebSocket.prototype;
  window.sent = 0;
  WebSocket.prototype.send = function (data) {
    if (/^42\d*\["add"/.test(String(data))) window.sent++;
    send.call(this, data);
  };
};

async function profileOf(user: string, without: () => void): Promise<[BrowserContext, Page]> {
  const profile = await w.profile(without, counting);
  return [profile, await open(profile, await signIn(w.stage, user))];
}

const connect = (page: Page) => page.evaluate(() => client.socket.connect());
const add = (page: Page, ...what: unknown[]) =>
  page.evaluate(async (what) => {
    for (const one of what) await client.socket.emit("add", one);
  }, what);
const waiting = (page: Page) => page.evaluate(() => client.socket.queued.map((item) => item.args[0]));
const empty = (page: Page) => until(page, () => client.socket.queued.length === 0);
const disconnected = (page: Page) => until(page, () => !client.socket.state.connected);
const kept = (page: Page, n: number) => until(page, (n) => client.socket.queued.length === n, n);

/** What the application has been given since. */
async function added(since: number): Promise<any[]> {
  return (await w.stage.state()).added.slice(since);
}

const count = async () => (await w.stage.state()).added.length;

for (const [how, without] of [["with Web Locks", nothing], ["with a lease, as there are no Web Locks", noLocks]] as const)
  describe(how, () => {
    test("L67 two tabs share a queue: each item is sent once, in order", async () => {
      const [profile, one] = await profileOf("u1", without);
      const two = await open(profile);
      const pages = [one, two];
      await Promise.all(pages.map(connect));
      const before = await count();
      await w.stage.do("stop");
      await Promise.all(pages.map(disconnected));
      for (let i = 0; i < 5; i++) {
        await add(one, `one ${2 * i}`, `one ${2 * i + 1}`);
        await Promise.all([add(one, `both, one ${i}`), add(two, `both, two ${i}`)]);
        await add(two, `two ${i}`);
      }
      await Promise.all(pages.map((page) => kept(page, 25)));
      const queue = await waiting(one);
      expect(await waiting(two)).toEqual(queue);
      expect(new Set(queue).size).toBe(25);
      await w.stage.do("start");
      await Promise.all(pages.map(empty));
      expect(await added(before)).toEqual(queue);
      const sent = await Promise.all(pages.map((page) => page.evaluate(() => window.sent)));
      expect(sent[0]! + sent[1]!).toBe(25);
      expect(await Promise.all(pages.map((page) => page.evaluate(() => client.socket.dead)))).toEqual([[], []]);
    });

    for (const end of ["closed", "crashed"])
      test(`L67 L63 a tab is ${end} while it sends: the other goes on, and nothing has effect twice`, async () => {
        const [profile, one] = await profileOf("u1", without);
        await connect(one);
        const before = await count();
        // Only this tab is there, so that it leads.
        await add(one, "first");
        await until(one, () => client.socket.queued.length === 0);
        const two = await open(profile);
        await connect(two);
        await w.stage.do("hold");
        await add(two, "second", "third");
        // It is sent, and its ack does not come: the first tab waits for it, and holds the lane.
        await expect.poll(() => added(before)).toEqual(["first", "second"]);
        expect(await waiting(two)).toEqual(["second", "third"]);
        if (end === "closed") await one.close();
        else {
          const crashed = one.waitForEvent("crash");
          one.goto("chrome://crash").catch(() => {});
          await crashed;
        }
        if (without === noLocks) await two.evaluate(() => void (window.ahead = 11_000));
        await w.stage.do("heal");
        await empty(two);
        expect(await added(before)).toEqual(["first", "second", "third"]);
      });
  });

test("L60 L63 what is emitted offline is there after a reload, and after a crash, and is sent once", async () => {
  const [profile, page] = await profileOf("u1", nothing);
  await connect(page);
  const before = await count();
  await w.stage.do("fail", { path: "sockets", status: 503 });
  await w.stage.do("close", { status: 1001 });
  await disconnected(page);
  await add(page, "one", "two");
  await page.reload();
  await page.close();
  const again = await open(profile);
  await kept(again, 2);
  expect(await waiting(again)).toEqual(["one", "two"]);
  await add(again, "three");
  const crashed = again.waitForEvent("crash");
  again.goto("chrome://crash").catch(() => {});
  await crashed;
  const last = await open(profile);
  await kept(last, 3);
  expect(await waiting(last)).toEqual(["one", "two", "three"]);
  await w.stage.do("heal");
  await connect(last);
  await empty(last);
  expect(await added(before)).toEqual(["one", "two", "three"]);
});

test("L67 what one user emits is not sent by another", async () => {
  const [, page] = await profileOf("ada", nothing);
  await connect(page);
  const before = await count();
  await w.stage.do("stop");
  await disconnected(page);
  await add(page, "ada's");
  await w.stage.do("start");
  await page.evaluate((bob) => client.auth!.setTokens(bob), await signIn(w.stage, "bob"));
  await connect(page);
  await add(page, "bob's");
  await until(page, () => client.socket.queued.length === 1);
  expect(await added(before)).toEqual(["bob's"]);
  await page.evaluate((ada) => client.auth!.setTokens(ada), await signIn(w.stage, "ada"));
  await empty(page);
  expect(await added(before)).toEqual(["bob's", "ada's"]);
});
