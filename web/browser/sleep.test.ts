import { expect, test } from "vitest";
import { signIn, tab, until, world } from "./world.js";

const w = world();

declare global {
  /** How long the page slept, in milliseconds. */
  var gap: number;
}

test("L13 the machine sleeps over the token's end: a fresh token before any request or reconnect", async () => {
  const profile = await w.profile();
  const page = await tab(profile, w.stage.trouble);
  const watch = await tab(profile, w.stage.trouble);
  const cdp = await profile.newCDPSession(page);
  await cdp.send("Debugger.enable");
  const session = await signIn(w.stage, "u1");
  await page.evaluate((session) => {
    start({ auth: { crossTabSync: false, storage: "sessionStorage" }, socket: { minBackoff: 50, maxBackoff: 200 } });
    client.auth!.setTokens(session);
    return client.socket.connect();
  }, session);
  // It falls asleep with a token of three seconds that it has just got: its scripts stop, and its clock goes on.
  const asleep = new Promise((resolve) => cdp.once("Debugger.paused", resolve));
  await page.evaluate((session) => {
    setTimeout(() => {
      client.auth!.setTokens({ ...session, expiresIn: 3 });
      const before = Date.now();
      debugger;
      window.gap = Date.now() - before;
      // Whoever opens the lid clicks at once.
      client.http.get("/app/me").then((me) => got.push(me.user), (e) => got.push(e.code));
    });
  }, session);
  await asleep;
  const before = await w.stage.state();
  const end = await watch.evaluate(() => Date.now() + 3000);
  await w.stage.do("expire");
  await w.stage.do("close", { status: 1001 }); // as servers do with who does not answer
  await until(watch, (end) => Date.now() > end, end);
  expect((await w.stage.state()).requests.slice(before.requests.length)).toEqual([]);
  await cdp.send("Debugger.disable"); // which wakes it
  await until(page, () => got.length && heard("connected") === 2);
  expect(await page.evaluate(() => got)).toEqual(["u1"]);
  expect(await page.evaluate(() => window.gap)).toBeGreaterThanOrEqual(3000);
  const woken = (await w.stage.state()).requests.slice(before.requests.length);
  expect(woken[0]!.path).toBe("/api/auth/refresh");
  expect(woken.map((r) => `${r.path} ${r.status}`).sort()).toEqual(["/api/auth/refresh 200", "/app/me 200", "/socket.io/ 101"]);
  expect(await page.evaluate(() => heard("sign-out") + heard("error"))).toBe(0);
});

test("the network goes and comes back: it reconnects on `online`, however long its wait would be", async () => {
  const profile = await w.profile();
  const page = await tab(profile, w.stage.trouble);
  await page.evaluate((session) => {
    // The wait after the first failure is 10 minutes.
    const [minBackoff, maxBackoff] = [600_001, 600_001];
    start({ auth: {}, socket: { minBackoff, maxBackoff }, platform: { random: () => 0.99 } });
    client.auth!.setTokens(session);
    return client.socket.connect();
  }, await signIn(w.stage, "u1"));
  await profile.setOffline(true);
  await w.stage.do("close", { status: 1001 });
  await until(page, () => heard("connecting") === 2);
  expect(await page.evaluate(() => [navigator.onLine, client.socket.state.connected])).toEqual([false, false]);
  await profile.setOffline(false);
  await until(page, () => heard("connected") === 2);
  expect(await page.evaluate(() => client.http.get("/app/me"))).toEqual({ user: "u1" });
});
