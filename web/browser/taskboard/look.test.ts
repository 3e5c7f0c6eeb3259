import { expect, test } from "vitest";
import { accessible } from "./axe.js";
import { line } from "./line.js";
import { stage } from "./stage.js";

// Tokens that live long: nothing changes while a page is looked at.
const board = stage();

test("the terminal's page has the server's address and the board's id, and copies commands", async () => {
  const ada = await board.person("Ada");
  const { board: made } = await ada.board("Release");
  await ada.context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const page = await ada.open("#/terminal");
  await page.getByText(`BOARD=${made.id}`).waitFor();
  const said = page.getByRole("status").filter({ hasText: "Copied" }).waitFor({ state: "attached" }); // for a while
  await page.getByRole("button", { name: "Copy: Listen with curl" }).click();
  await said;
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(
    `curl -N "${board.url}/events?room=board-$BOARD" -H "Authorization: Bearer $TOKEN"`,
  );
});

test("on a phone of 360 px the light's reasons are in sight", async () => {
  const ada = await board.person("Ada", { viewport: { width: 360, height: 640 } });
  const page = await ada.open();
  await page.getByRole("button", { name: "Connection: Live. Why?" }).click();
  const { x, width } = (await page.getByRole("dialog", { name: "Connection" }).boundingBox())!;
  expect([x >= 0, x + width <= 360]).toEqual([true, true]);
});

test("the panel stays folded, and on a phone it begins so", async () => {
  const ada = await board.person("Ada", { viewport: { width: 390, height: 844 } });
  const page = await ada.open();
  const head = page.getByRole("button", { name: /^What just happened/ });
  expect(await head.getAttribute("aria-expanded")).toBe("false");
  await head.click();
  await page.getByText("Connected", { exact: true }).waitFor();
  await page.reload();
  expect(await head.getAttribute("aria-expanded")).toBe("true");
  await head.press("Escape");
  await expect.poll(() => head.getAttribute("aria-expanded")).toBe("false");
});

test("a panel has what is in it before it is seen", async () => {
  const ada = await board.person("Ada");
  const page = await ada.open();
  const opener = page.getByRole("button", { name: "Connection: Live. Why?" });
  const first = await opener.evaluate(async (button: HTMLButtonElement) => {
    button.click();
    await Promise.resolve(); // no task comes between
    return button.popoverTargetElement!.textContent;
  });
  expect(first).toContain("Connected for");
});

test("axe finds nothing: with the panel, the light's reasons, who is here, offline, and the terminal's page", async () => {
  const [ada, bob] = await Promise.all([board.person("Ada"), board.person("Bob")]);
  const { board: made } = await ada.board("Release", ["one"]);
  await ada.share(made.id, bob, "editor");
  const way = await line(board.url);
  try {
    await bob.open(`#/b/${made.id}`);
    const page = await ada.context.newPage();
    await page.goto(`${way.url}/#/b/${made.id}`);
    await page.getByRole("button", { name: "2 people are here. Who?" }).click();
    await accessible(page, "who is here");
    await page.keyboard.press("Escape");
    way.cut();
    await page.getByRole("button", { name: "Connection: Offline. Why?" }).click();
    await page.getByRole("button", { name: "Try now" }).waitFor();
    await accessible(page, "offline");
    await page.keyboard.press("Escape");
    await page.setViewportSize({ width: 390, height: 844 });
    await page.getByRole("button", { name: /^What just happened/ }).click();
    await accessible(page, "the panel");
    way.mend();
    await page.goto(`${way.url}/#/terminal`);
    await page.getByText(`BOARD=${made.id}`).waitFor();
    await accessible(page, "the terminal's page");
  } finally {
    await way.close();
  }
});
