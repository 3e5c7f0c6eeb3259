import type { BrowserContext, Page } from "playwright-core";
import { expect, test } from "vitest";
import { tab, until, world, type Seen } from "./world.js";

const w = world();
const password = "correct horse battery";

/** A page of a server with accounts, whose sessions are cookies. */
async function open(profile: BrowserContext): Promise<Page> {
  const page = await tab(profile, w.stage.accounts);
  await page.evaluate(() => start({ auth: { cookie: true, onUnauthorized: (e) => got.push(e.code) } }));
  return page;
}

const sign = (page: Page, way: "up" | "in", email: string) =>
  page.evaluate(
    async ([way, email, password]) =>
      client.auth!.setTokens(await client.http.post(`/api/auth/sign-${way}`, { email, password }, { anonymous: true })),
    [way, email, password] as const,
  );

const seen = async (): Promise<Seen[]> => (await w.stage.do("recorded")).requests;

const since = async (before: number) => (await seen()).slice(before).map((r) => `${r.path} ${r.status} ${r.code}`);

test("cookies: sign-up, CSRF, refresh, socket and sign-out, with no token that a script could keep", async () => {
  const profile = await w.profile();
  const page = await open(profile);
  expect(await page.evaluate(() => client.auth!.getAccessToken())).toBe(null);
  await sign(page, "up", "ada@example.com");
  const { id } = (await page.evaluate(() => client.auth!.getUser()))!;
  expect(await page.evaluate(() => client.http.get("/app/me"))).toEqual({ user: id });

  const cookies = await profile.cookies(w.stage.accounts + "/api/auth/");
  const hidden = cookies.filter((c) => c.httpOnly).map((c) => c.name).sort();
  expect(hidden).toEqual(expect.arrayContaining(["refresh", "session"]));
  expect(cookies.map((c) => c.sameSite)).toEqual(cookies.map(() => "Lax"));
  const readable = await page.evaluate(() => document.cookie + Object.entries({ ...localStorage }) + Object.entries({ ...sessionStorage }));
  expect(readable).toMatch(/^csrf-token=/);
  expect(readable).not.toContain(await page.evaluate(() => client.auth!.getAccessToken()));
  for (const c of cookies.filter((c) => c.httpOnly)) expect(readable).not.toContain(c.value);

  // The refresh is by cookie, which rotates; the one before is of no use any more.
  const cookie = async () => (await profile.cookies(w.stage.accounts + "/api/auth/")).find((c) => c.name === "refresh")!.value;
  const old = await cookie();
  await page.evaluate(() => client.auth!.refresh());
  expect(await cookie()).not.toBe(old);

  // So is a page signed in that has been loaded anew.
  await page.reload();
  const before = (await seen()).length;
  await page.evaluate(() => start({ auth: { cookie: true } }));
  expect(await page.evaluate(() => client.auth!.getAccessToken())).toMatch(/^ey/);
  const calls = await since(before);
  expect(calls).toEqual(["/api/auth/csrf 200 ", "/api/auth/refresh 200 "]);
  expect(await page.evaluate(() => client.auth!.getUser()?.id)).toBe(id);

  // A socket by the cookie alone.
  const by = await page.evaluate(async () => {
    const { socket, close } = hf.createRealtimeClient({ auth: false, socket: { auth: () => undefined } });
    await socket.connect();
    const echo = await socket.emitAck("echo", "hello");
    const user = socket.session!.user.id;
    close();
    return [user, echo];
  });
  expect(by).toEqual([id, "hello"]);

  await page.evaluate(() => client.socket.connect());
  await page.evaluate(() => client.auth!.clear());
  await until(page, () => client.socket.state.final);
  expect(await page.evaluate(() => client.auth!.isAuthenticated())).toBe(false);
  expect(await page.evaluate(() => fetch("/api/auth/session").then((r) => r.json()))).toBe(null);
  expect((await profile.cookies(w.stage.accounts + "/api/auth/")).filter((c) => ["session", "refresh"].includes(c.name))).toEqual([]);
});

test("L18 cookies: another tab follows sign-in and sign-out, and gets a CSRF token for each session", async () => {
  const profile = await w.profile();
  const [here, early] = [await open(profile), await open(profile)];
  await sign(here, "up", "bob@example.com");
  await until(early, () => heard("sign-in", "remote"));
  // A tab that is opened now gets a CSRF token of the session, not one of a visitor.
  const there = await open(profile);
  await there.evaluate(() => client.auth!.refresh());
  expect(await there.evaluate(() => client.http.get("/app/me"))).toEqual(await here.evaluate(() => client.http.get("/app/me")));
  await here.evaluate(() => client.auth!.clear());
  await until(there, () => heard("sign-out", "remote"));
  expect(await there.evaluate(() => client.auth!.getAccessToken())).toBe(null);
  // The CSRF token that a tab has is of no use for another session: it gets a good one with the refusal.
  await sign(here, "in", "bob@example.com");
  await until(there, () => heard("sign-in", "remote"));
  const before = (await seen()).length;
  await there.evaluate(() => client.auth!.refresh());
  expect(await since(before)).toEqual(["/api/auth/refresh 403 CSRF_MISMATCH", "/api/auth/refresh 200 "]);
});

test("cookies: a session that another device ends is signed out at once", async () => {
  const page = await open(await w.profile());
  await sign(page, "up", "eve@example.com");
  await page.evaluate(() => client.socket.connect());
  const device = await open(await w.profile());
  await sign(device, "in", "eve@example.com");
  const [session, own] = await Promise.all([page, device].map((p) => p.evaluate(() => client.auth!.getSessionId())));
  const { sessions } = await device.evaluate(() => client.http.get("/api/auth/sessions"));
  expect(sessions.map((s: any) => s.id).sort()).toEqual([session, own].sort());
  await device.evaluate((id) => client.http.delete(`/api/auth/sessions/${id}`), session);
  await until(page, () => heard("sign-out"));
  expect(await page.evaluate(() => told.filter((t) => t.name === "sign-out").map((t) => [t.source, t.code]))).toEqual([
    ["self", "SESSION_REVOKED"],
  ]);
  await expect
    .poll(() => page.evaluate(() => [got, client.socket.state.final, client.auth!.isAuthenticated()]))
    .toEqual([["SESSION_REVOKED"], true, false]);
  expect(await device.evaluate(() => client.http.get("/app/me"))).toHaveProperty("user");
});
