import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { noChannels, noLocks, signIn, tab, until, world } from "./world.js";

const w = world();
const nothing = () => {};
const parts = () => [!!navigator.locks, "BroadcastChannel" in globalThis];

async function tabs(n: number, ...init: (() => void)[]): Promise<Page[]> {
  const profile = await w.profile(...init);
  const pages = await Promise.all(Array.from({ length: n }, () => tab(profile, w.stage.trouble)));
  for (const page of pages) {
    expect(await page.evaluate(parts)).toEqual([!init.includes(noLocks), !init.includes(noChannels)]);
    await page.evaluate(() => start({ auth: {} }));
  }
  return pages;
}

const everywhere = <R>(pages: Page[], run: () => R) => Promise.all(pages.map((page) => page.evaluate(run)));
const sum = (counts: number[]) => counts.reduce((a, b) => a + b, 0);

for (const [how, without] of [["with Web Locks", nothing], ["with a lease, as there are no Web Locks", noLocks]] as const)
  describe(how, () => {
    for (const n of [2, 3])
      test(`L17 ${n} tabs see the token expiring: one refresh`, async () => {
        const pages = await tabs(n, without);
        const session = await signIn(w.stage, "u1");
        const before = (await w.stage.state()).refreshes;
        await pages[0]!.evaluate((session) => client.auth!.setTokens({ ...session, expiresIn: 2 }), session);
        await Promise.all(pages.map((page) => until(page, () => heard("refresh"))));
        expect((await w.stage.state()).refreshes - before).toBe(1);
        expect(sum(await everywhere(pages, () => heard("refresh", "self")))).toBe(1);
        expect(sum(await everywhere(pages, () => heard("refresh", "remote")))).toBe(n - 1);

        // All have begun before the first has its answer.
        const refreshes = "**/api/auth/refresh";
        let all!: () => void;
        const begun = new Promise<void>((resolve) => (all = resolve));
        await pages[0]!.context().route(refreshes, (route) => begun.then(() => route.continue()));
        const ends = await Promise.all(pages.map((page) => page.evaluateHandle(() => ({ refresh: client.auth!.refresh() }))));
        all();
        await Promise.all(ends.map((end) => end.evaluate(({ refresh }) => refresh)));
        await pages[0]!.context().unroute(refreshes);
        expect((await w.stage.state()).refreshes - before).toBe(2);
        const tokens = await everywhere(pages, () => client.auth!.getAccessToken());
        expect(new Set(tokens).size).toBe(1);
        expect(tokens[0]).toMatch(/^ey/);
        expect(await everywhere(pages, () => heard("error") + heard("sign-out"))).toEqual(pages.map(() => 0));
      });

    test("L01 requests of two tabs get 401 at once: one refresh, each is made again", async () => {
      const pages = await tabs(2, without);
      const session = await signIn(w.stage, "u1");
      await pages[0]!.evaluate((session) => client.auth!.setTokens(session), session);
      await until(pages[1]!, () => heard("sign-in", "remote"));
      await w.stage.do("expire");
      const before = await w.stage.state();
      const users = await everywhere(pages, () =>
        Promise.all(Array.from({ length: 20 }, () => client.http.get("/app/me").then((me) => me.user))),
      );
      expect(users.flat()).toEqual(Array(40).fill("u1"));
      const after = await w.stage.state();
      expect(after.refreshes - before.refreshes).toBe(1);
      const calls = after.requests.slice(before.requests.length).filter((r) => r.path === "/app/me");
      expect(calls.filter((r) => r.status === 200)).toHaveLength(40);
      expect(calls.length).toBeLessThanOrEqual(80);
      expect(calls.length).toBeGreaterThan(40);
    });
  });

for (const [how, without] of [["by BroadcastChannel", nothing], ["by storage events, as there is no BroadcastChannel", noChannels]] as const)
  test(`L18 sign-in, refresh and sign-out reach another tab within a second, ${how}`, async () => {
    const pages = await tabs(2, without);
    const [here, there] = pages as [Page, Page];
    const rounds = 3;
    for (let i = 1; i <= rounds; i++) {
      const session = await signIn(w.stage, `u${i}`);
      await here.evaluate((session) => client.auth!.setTokens(session), session);
      await until(there, (i) => heard("sign-in", "remote") === i, i);
      expect(await there.evaluate(() => client.auth!.getUser()?.id)).toBe(`u${i}`);
      await here.evaluate(() => client.auth!.refresh());
      await until(there, (i) => heard("refresh", "remote") === i, i);
      await there.evaluate(() => client.socket.connect());
      await here.evaluate(() => client.auth!.clear());
      await until(there, (i) => heard("sign-out", "remote") === i, i);
      expect(await there.evaluate(() => client.auth!.isAuthenticated())).toBe(false);
      await until(there, () => client.socket.state.final && client.socket.state.error?.code === "SIGNED_OUT");
    }
    const [told, learned] = (await everywhere(pages, () => window.told.filter((t) => t.source))) as [any[], any[]];
    const names = Array(rounds).fill(["sign-in", "refresh", "sign-out"]).flat();
    expect(told.map((t) => `${t.name} ${t.source}`)).toEqual(names.map((name) => `${name} self`));
    expect(learned.map((t) => `${t.name} ${t.source}`)).toEqual(names.map((name) => `${name} remote`));
    // One of three may have been held up by other programs; a tab that looks now and then is late each time.
    for (const name of ["sign-in", "refresh", "sign-out"]) {
      const late = names.flatMap((n, i) => (n === name ? [learned[i].at - told[i].at] : []));
      expect(Math.min(...late)).toBeLessThan(1000);
    }
  });
