import { expect, test } from "vitest";
import { signIn, tab, until, world } from "./world.js";

const w = world();

test("React in StrictMode: one connection, and a hook shows an event within a second of its publish", async () => {
  const { stage } = w;
  const page = await tab(await w.profile(), stage.trouble, "react.html");
  const before = (await stage.state()).connections;
  // It is signed in before it is shown, as after a reload.
  await page.evaluate((session) => {
    const auth = new hf.AuthManager();
    auth.setTokens(session);
    auth.close();
    show();
  }, await signIn(stage, "u1"));
  const shows = (text: string) => until(page, (text) => document.querySelector("#board")?.textContent === text, text);
  await shows("u1 connected none");
  // The room is joined soon after: the event that shows it is not one of those that count.
  await expect
    .poll(async () => {
      await stage.do("publish", { room: "board", event: "card", data: { title: "there" } });
      return page.evaluate(() => got.length);
    })
    .toBeGreaterThan(0);
  const late: number[] = [];
  for (const title of ["one", "two", "three"]) {
    const published = Date.now();
    await stage.do("publish", { room: "board", event: "card", data: { title } });
    await shows(`u1 connected ${title}`);
    late.push(Date.now() - published);
  }
  // Other programs may hold up one of them.
  expect(Math.min(...late)).toBeLessThan(1000);
  expect(await page.evaluate(() => got.filter((title) => title !== "there"))).toEqual(["one", "two", "three"]);
  expect((await stage.state()).connections - before).toBe(1);
});
