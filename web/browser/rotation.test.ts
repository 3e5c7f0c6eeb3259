import { expect, test } from "vitest";
import { signIn, tab, until, world } from "./world.js";

const w = world("5s");

// A connection whose token was never renewed would end after 10 s: 5 s, and as long for the server's patience.
const wanted = process.env["HOLDFAST_LONG"] ? 12 : 3;

test("L40 tokens of 5 s: they are renewed in place, nothing is lost, and it is one connection", async () => {
  const { stage } = w;
  const profile = await w.profile();
  const page = await tab(profile, stage.trouble);
  const watch = await tab(profile, stage.trouble);
  const before = await stage.state();
  await page.evaluate(async (session) => {
    start({ auth: {} });
    client.auth!.setTokens(session);
    await client.socket.connect();
    const room = client.socket.join("board");
    room.on("card", (n) => got.push(n));
    room.onReset(() => got.push("reset"));
    await room.joined;
    // Something is always under way.
    void (async () => {
      for (;;) await client.socket.emitAck("add", told.length).catch((e) => got.push(e.code));
    })();
  }, await signIn(stage, "u1"));
  const sent: number[] = [];
  const publish = async () => {
    sent.push(sent.length);
    await stage.do("publish", { room: "board", event: "card", data: sent.length - 1 });
    // The next one when a page that has nothing to do with it has drawn twice: some 30 a second.
    await watch.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  };
  while ((await page.evaluate(() => heard("refresh"))) < wanted || sent.length <= 50) await publish();
  await until(page, (n) => got.length >= n, sent.length);
  expect(await page.evaluate(() => got)).toEqual(sent);
  const events = await page.evaluate(() => told);
  expect((await stage.state()).connections - before.connections).toBe(1);
  const renewals = events.length - 3;
  expect(events.map((t) => t.name)).toEqual(["sign-in", "connecting", "connected", ...Array(renewals).fill("refresh")]);
  expect(renewals).toBeGreaterThanOrEqual(wanted);
  const count = async () => (await stage.state()).refreshes - before.refreshes - (await page.evaluate(() => heard("refresh")));
  await expect.poll(count).toBe(0); // but while one is under way
  // The connection has outlived its first token and the server's patience, so the new ones have reached the server.
  expect(await page.evaluate(() => client.socket.session!.expiresAt - Date.now())).toBeGreaterThan(0);
});
