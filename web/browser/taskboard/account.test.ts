// The account's pages, by keyboard alone. axe looks at each as it goes.
import type { BrowserContext, Page } from "playwright-core";
import { expect, test } from "vitest";
import { accessible } from "./axe.js";
import { choose, press, reach, totp, type } from "./keys.js";
import { password, stage } from "./stage.js";

const board = stage();

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const field = (page: Page, label: string) => page.getByLabel(label, { exact: true });
const heading = (page: Page, name: string) => page.getByRole("heading", { name, exact: true, level: 1 });
const alert = (page: Page) => page.getByRole("alert").filter({ hasText: /./ });

async function visit(context: BrowserContext, hash = ""): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${board.url}/${hash}`);
  return page;
}

/** Fills in the way in. */
async function signIn(page: Page, email: string, word = password): Promise<void> {
  await type(field(page, "E-mail"), email);
  await type(field(page, "Password"), word);
  await page.keyboard.press("Enter");
}

const inside = (page: Page) => page.getByRole("button", { name: /^Account of/ }).waitFor();

/** Counts the sockets of a page that are open. */
function sockets(page: Page): () => number {
  let open = 0;
  page.on("websocket", (socket) => {
    open++;
    socket.on("close", () => open--);
  });
  return () => open;
}

test("one signs up, and in; what is wrong is said, and where", async () => {
  const page = await visit(await board.stranger());
  await heading(page, "Make an account").waitFor();
  await accessible(page, "sign-up");
  await press(button(page, "Make the account"));
  expect(await field(page, "Name").getAttribute("aria-invalid")).toBe("true");
  await reach(field(page, "Name")); // it is there already
  await accessible(page, "sign-up, not filled in");
  await type(field(page, "Name"), "Grace");
  await signIn(page, "grace@example.com", "short");
  await page.getByText("Use at least 8 characters.").waitFor();
  await signIn(page, "grace@example.com");
  await inside(page);

  await choose(page, "Sign out");
  // Who was here before is asked to sign in.
  await heading(page, "Sign in").waitFor();
  await accessible(page, "sign-in");
  await signIn(page, "grace@example.com", "something else");
  await page.getByText("don’t belong together").waitFor();
  await accessible(page, "sign-in, refused");
  // An account that is there is found by its address, and what was typed stays.
  await press(button(page, "Make an account"));
  await type(field(page, "Name"), "Grace");
  await signIn(page, "grace@example.com");
  await press(button(page, "Sign in instead"));
  expect(await field(page, "E-mail").inputValue()).toBe("grace@example.com");
  await press(page.locator("form").getByRole("button", { name: "Sign in", exact: true }));
  await inside(page);
  await page.reload();
  await inside(page);
});

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
    await expect.poll(() => alert(page).count()).toBe(1);
  }
  const left = () => alert(page).locator("[aria-hidden]").textContent();
  const first = await left();
  expect(first).toMatch(/again in \d+ s/);
  expect(await send.isDisabled()).toBe(true);
  await accessible(page, "sign-in, too many tries");
  await page.clock.runFor(2000);
  expect(await left()).not.toBe(first);
  await page.clock.runFor(60_000);
  expect(await alert(page).count()).toBe(0);
  expect(await send.isDisabled()).toBe(false);
});

test("a second step: set up, asked for at the next sign-in, by code and by recovery code", async () => {
  const { email, context } = await board.person("Hedy");
  const page = await visit(context, "#/security");
  await press(button(page, "Set it up"));
  const code = field(page, "Code");
  await accessible(page, "security, with a QR code");
  const secret = (await page.locator(".secret").textContent())!.replaceAll(" ", "");
  await type(code, "000000");
  await press(button(page, "Switch it on"));
  await page.getByText("This code is wrong").waitFor();
  await type(code, totp(secret));
  await press(button(page, "Switch it on"));
  const list = page.getByRole("list", { name: "Recovery codes" });
  await list.waitFor();
  const recovery = await list.getByRole("listitem").allTextContents();
  expect(recovery.length).toBe(10);
  await accessible(page, "security, with recovery codes");
  const saved = page.waitForEvent("download");
  await press(button(page, "Download"));
  expect((await saved).suggestedFilename()).toBe("taskboard-recovery-codes.txt");
  await press(button(page, "I have kept them"));
  expect(await page.getByText(recovery[0]!).count()).toBe(0);
  await button(page, "Switch it off").waitFor();

  await choose(page, "Sign out");
  await signIn(page, email);
  await heading(page, "One more step").waitFor();
  await accessible(page, "second step");
  await page.keyboard.type("000000"); // the field has the focus, and six digits are all of it
  await page.getByText("This code is wrong").waitFor();
  await type(field(page, "Code"), totp(secret, 1)); // each is good once
  await inside(page);

  await choose(page, "Sign out");
  await signIn(page, email);
  await press(button(page, "Use a recovery code"));
  await type(field(page, "Recovery code"), recovery[3]!);
  await page.keyboard.press("Enter");
  await inside(page);

  await choose(page, "Security");
  await press(button(page, "New recovery codes"));
  await type(field(page, "Code, or a recovery code"), recovery[4]!);
  await page.keyboard.press("Enter");
  await press(button(page, "I have kept them"));
  await press(button(page, "Switch it off"));
  await type(field(page, "Code, or a recovery code"), recovery[5]!);
  await page.keyboard.press("Enter");
  await page.getByText("This code is wrong").waitFor(); // the old ones are void
});
