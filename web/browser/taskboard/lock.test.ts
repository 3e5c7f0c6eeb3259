// What the lock does to edits that wait for the network.
import { expect, test } from "vitest";
import { type } from "./keys.js";
import { networkOf, password, stage } from "./stage.js";

const board = stage();

test("edits that wait when the page locks are still there, also after a reload, and are applied once", async () => {
  const ada = await board.person("Ada");
  const { board: plan } = await ada.board("Plan", ["One"]);
  await ada.context.clock.install();
  const network = await networkOf(ada.context);
  const page = await ada.context.newPage();
  await page.goto(`${board.url}/#/b/${plan.id}`);
  const card = (title: string) => page.locator("[data-card]").filter({ hasText: title });
  await card("One").waitFor();
  await page.getByRole("button", { name: "Connection: Live. Why?" }).waitFor();
  await network.cut("socket");
  await page.keyboard.press("n");
  await page.keyboard.type("Two");
  await page.keyboard.press("Enter");
  await card("Two").filter({ hasText: "waiting for the network" }).waitFor();
  await page.clock.fastForward("15:01");
  await page.getByRole("heading", { name: "Locked" }).waitFor();
  await page.reload();
  await network.mend();
  await type(page.locator(".lock").getByLabel("Password", { exact: true }), password);
  await page.keyboard.press("Enter");
  await card("Two").waitFor();
  await expect.poll(async () => (await ada.state(plan.id)).cards.map(({ title }) => title)).toEqual(["One", "Two"]);
});
