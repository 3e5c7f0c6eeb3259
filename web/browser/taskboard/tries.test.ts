// Too many tries. They use up what one address may do, so that this test has a server of its own.
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { accessible } from "./axe.js";
import { press, type } from "./keys.js";
import { stage } from "./stage.js";

const board = stage();

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const field = (page: Page, label: string) => page.getByLabel(label, { exact: true });
const alert = (page: Page) => page.getByRole("alert").filter({ hasText: /./ });

test("after too many tries the seconds are counted down, and no network is told from a refusal", async () => {
  const context = await board.stranger();
  const page = await context.newPage();
  await page.clock.install();
  await page.goto(board.url);
  await press(button(page, "Sign in"));
  const send = page.locator("form").getByRole("button", { name: "Sign in", exact: true });
  await type(field(page, "E-mail"), "nobody@example.com");
  await type(field(page, "Password"), "wrong password");
  await context.setOffline(true);
  await press(send);
  await page.getByText("The server can’t be reached.").waitFor();
  await context.setOffline(false);
  for (let tries = 0; tries < 6 && !(await send.isDisabled()); tries++) {
    const answered = page.waitForResponse(/sign-in/);
    await page.keyboard.press("Enter");
    await answered;
    // What was said of the try before is still there for a moment; a button that works takes no other try.
    await expect.poll(() => send.getAttribute("aria-busy")).toBe("false");
    await expect.poll(() => alert(page).count()).toBe(1);
  }
  const left = () => alert(page).locator("[aria-hidden]").textContent();
  const first = await left();
  expect(first).toMatch(/again in \d+ s/);
  await expect.poll(() => send.isDisabled()).toBe(true);
  await accessible(page, "sign-in, too many tries");
  await page.clock.runFor(2000);
  await expect.poll(left).not.toBe(first);
  await page.clock.runFor(60_000);
  await expect.poll(() => alert(page).count()).toBe(0);
  await expect.poll(() => send.isDisabled()).toBe(false);
});
