// The account's pages, by keyboard alone. axe looks at each as it goes.
import type { BrowserContext, Page } from "playwright-core";
import { afterEach, expect, test } from "vitest";
import { accessible } from "./axe.js";
import { choose, focused, press, reach, totp, type } from "./keys.js";
import { password, stage } from "./stage.js";

const board = stage();
// What an address may try is counted by the server that runs: each test has one of its own, over the same data.
afterEach(() => board.kill());

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const field = (page: Page, label: string) => page.getByLabel(label, { exact: true });
const heading = (page: Page, name: string) => page.getByRole("heading", { name, exact: true, level: 1 });

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
  await expect.poll(() => field(page, "Name").getAttribute("aria-invalid")).toBe("true");
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
  await heading(page, "Sign in").waitFor();
  expect(await field(page, "E-mail").inputValue()).toBe("grace@example.com");
  await press(page.locator("form").getByRole("button", { name: "Sign in", exact: true }));
  await inside(page);
  await page.reload();
  await inside(page);
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
  await button(page, "Switch it off").waitFor();
  expect(await page.getByText(recovery[0]!).count()).toBe(0);

  await choose(page, "Sign out");
  await signIn(page, email);
  await heading(page, "One more step").waitFor();
  await accessible(page, "second step");
  await focused(field(page, "Code"));
  await page.keyboard.type("000000"); // six digits are all of it
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

test("a passkey is added, signs in by the button and from the form, unlocks, and is removed", async () => {
  const { context } = await board.person("Katherine");
  // A virtual authenticator takes what the browser only offers at once: that is asked for below.
  await context.addInitScript(() => {
    if ("PublicKeyCredential" in window) PublicKeyCredential.isConditionalMediationAvailable = async () => "offer" in sessionStorage;
  });
  await context.clock.install();
  const page = await visit(context, "#/security");
  const device = await context.newCDPSession(page);
  await device.send("WebAuthn.enable");
  const { authenticatorId } = await device.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true },
  });
  await press(button(page, "Add a passkey"));
  await type(field(page, "Name of the passkey"), "My finger");
  await accessible(page, "security, adding a passkey");
  await page.keyboard.press("Enter");
  await button(page, "Remove My finger").waitFor();
  expect((await device.send("WebAuthn.getCredentials", { authenticatorId })).credentials.length).toBe(1);

  // Whoever says no hears of it, and nothing is broken.
  await choose(page, "Sign out");
  await device.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  await press(button(page, "Sign in with a passkey"));
  await page.getByText("No passkey was used.").waitFor();
  await device.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });
  await press(button(page, "Sign in with a passkey"));
  await inside(page);
  await page.getByText("last used").waitFor();

  await page.clock.fastForward("15:01");
  await heading(page, "Locked").waitFor();
  await press(button(page, "Unlock with a passkey"));
  await heading(page, "Locked").waitFor({ state: "detached" });

  await page.evaluate(() => sessionStorage.setItem("offer", ""));
  const verified = page.waitForResponse(/passkeys\/verify/);
  await choose(page, "Sign out");
  expect((await verified).status()).toBe(200);
  await inside(page);
  await page.evaluate(() => sessionStorage.removeItem("offer"));

  await press(button(page, "Remove My finger"));
  await page.getByText("“My finger” is removed.").waitFor();
  await choose(page, "Sign out");
  await press(button(page, "Sign in with a passkey"));
  await page.getByText("This passkey belongs to no account here.").waitFor();
});

test("the password is changed, which ends the other sessions", async () => {
  const ada = await board.person("Ada");
  const other = await (await board.again(ada)).open();
  await inside(other);
  const page = await ada.open("#/security");
  await press(button(page, "Change the password"));
  await type(field(page, "Present password"), "not this one");
  await type(field(page, "New password"), "a longer horse battery");
  await accessible(page, "security, changing the password");
  await page.keyboard.press("Enter");
  await page.getByText("The present password is wrong.").waitFor();
  await type(field(page, "Present password"), password);
  await page.keyboard.press("Enter");
  await page.getByText("It is changed").waitFor();
  await heading(other, "Sign in").waitFor();
  await inside(page);
});

test("a session that is ended on another device: its page is the sign-in page at once, and its socket is closed", async () => {
  const ada = await board.person("Ada");
  const phone = await board.again(ada);
  const there = await phone.context.newPage();
  const open = sockets(there);
  await there.goto(board.url);
  await expect.poll(open).toBe(1);
  await board.again(ada);

  const page = await ada.open("#/devices");
  const sessions = page.getByRole("list", { name: "Sessions" }).getByRole("listitem");
  await expect.poll(() => sessions.count()).toBe(3);
  await expect.poll(() => sessions.filter({ hasText: "This device" }).count()).toBe(1);
  await accessible(page, "devices");
  const used = (await phone.call("GET", "/api/auth/sessions")).sessions;
  expect(used.filter((s: { current: boolean }) => s.current).length).toBe(1);
  await press(button(page, "End all others"));
  await there.getByText("This session was ended from another device.").waitFor();
  await expect.poll(open).toBe(0);
  await accessible(there, "sign-in, after the session was ended");
  await page.getByText("You are signed in nowhere else.").or(page.getByText("2 sessions are ended.")).waitFor();
  await expect.poll(() => sessions.count()).toBe(1);
  await signIn(there, ada.email);
  await inside(there);
  await expect.poll(open).toBe(1);
});

test("who signs out in one tab is out in all of them", async () => {
  const ada = await board.person("Ada");
  const [one, two] = [await ada.open(), await ada.open("#/devices")];
  await Promise.all([inside(one), inside(two)]);
  const told = one.waitForResponse(/\/api\/auth\/sign-out$/);
  await choose(one, "Sign out");
  await heading(two, "Sign in").waitFor();
  await told; // or the reload would end that call
  await one.reload();
  await heading(one, "Sign in").waitFor();
});

test("a sign-out that the server did not hear of is told again", async () => {
  const ada = await board.person("Ada");
  const page = await ada.open();
  await inside(page);
  await ada.context.setOffline(true);
  await choose(page, "Sign out");
  await page.getByText("the server could not be told").waitFor();
  await ada.context.setOffline(false);
  await press(button(page, "Tell it again"));
  await page.getByText("You are signed out.").waitFor();
  await page.reload();
  await heading(page, "Sign in").waitFor();
  expect((await (await ada.context.request.get(`${board.url}/api/auth/session`)).json())).toBe(null);
});

test("an idle page locks in all tabs, without a connection, over a reload; the password unlocks it, and what was typed is there", async () => {
  const ada = await board.person("Ada");
  const { context } = ada;
  const setting = await visit(context, "#/security");
  await setting.getByLabel("Lock the page").selectOption("5");
  await button(setting, "Load it anew").waitFor();
  await accessible(setting, "security");
  await setting.close();

  await context.clock.install();
  const [page, other] = [await context.newPage(), await context.newPage()];
  const open = [sockets(page), sockets(other)] as const;
  const { board: plan, lists, cards } = await ada.board("Plan", ["One"]);
  await page.goto(`${board.url}/#/b/${plan.id}/${cards[0]!.id}`);
  await other.goto(board.url);
  for (const count of open) await expect.poll(count).toBe(1);
  await type(field(page, "Text"), "half a thought");

  for (const tab of [page, other]) await tab.clock.fastForward("05:01");
  for (const tab of [page, other]) await heading(tab, "Locked").waitFor();
  for (const count of open) await expect.poll(count).toBe(0);
  expect(await page.getByText("For 5 minutes nobody has touched this page").count()).toBe(1);
  expect(await page.getByText("One").or(page.getByText("half a thought")).filter({ visible: true }).count()).toBe(0);
  await accessible(page, "lock");
  await other.reload();
  await heading(other, "Locked").waitFor();

  const unlock = page.locator(".lock").getByLabel("Password", { exact: true });
  await focused(unlock);
  await page.keyboard.type("no idea");
  await page.keyboard.press("Enter");
  await page.getByText("This is not your password.").waitFor();
  await type(unlock, password);
  await page.keyboard.press("Enter");
  await unlock.waitFor({ state: "detached" });
  await heading(other, "Locked").waitFor({ state: "detached" });
  for (const count of open) await expect.poll(count).toBe(1);
  // What was typed is there, the card can be written on, and the board is live.
  expect(await field(page, "Text").inputValue()).toBe("half a thought");
  expect(await page.getByText("has changed this card meanwhile").count()).toBe(0);
  await focused(field(page, "Text")); // as before
  await page.keyboard.press("End");
  await page.keyboard.type(", and the rest");
  await page.keyboard.press("Escape");
  await expect.poll(async () => (await ada.state(plan.id)).cards[0]!.text).toBe("half a thought, and the rest");
  await ada.call("POST", `/api/boards/${plan.id}/cards`, { list: lists[0]!.id, title: "Two" });
  await page.getByText("Two").first().waitFor();
  // It was a proof, and no other session.
  expect((await ada.call("GET", "/api/auth/sessions")).sessions.length).toBe(1);
});

test("the theme is kept, holds before the page's program runs, and other tabs follow", async () => {
  const { context } = await board.person("Ada", { colorScheme: "light" });
  const page = await visit(context);
  const scheme = (page: Page) => page.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
  await inside(page);
  expect(await scheme(page)).toBe("light dark");
  const other = await visit(context);
  await inside(other);
  await press(page.getByRole("button", { name: /^Account of/ }));
  await accessible(page, "the user's menu");
  const dark = page.getByRole("menuitemradio", { name: "Dark" });
  await page.keyboard.press("d");
  await focused(dark);
  await page.keyboard.press("Enter");
  await expect.poll(() => dark.getAttribute("aria-checked")).toBe("true");
  await page.keyboard.press("Escape");
  await page.getByRole("menu").waitFor({ state: "detached" });
  await focused(page.getByRole("button", { name: /^Account of/ }));
  await expect.poll(() => scheme(other)).toBe("dark");
  await page.route("**/app.js", (route) => route.abort());
  await page.reload();
  expect(await scheme(page)).toBe("dark");
});

test("a board is shared: by a link that outlasts the sign-up, with roles that change at once", async () => {
  const ada = await board.person("Ada");
  const { board: plan } = await ada.board("Plan", ["One"]);
  const page = await ada.open(`#/b/${plan.id}`);
  await press(button(page, "Share"));
  await accessible(page, "share");
  await press(button(page, "Make: link to edit"));
  const link = await field(page, "Link to edit").inputValue();
  await accessible(page, "share, with a link");

  const guest = await visit(await board.stranger());
  await guest.goto(link);
  await guest.getByText("You are invited to a board.").waitFor();
  await accessible(guest, "sign-up, invited");
  await type(field(guest, "Name"), "Mary");
  await signIn(guest, "mary@example.com");
  await heading(guest, "Plan").waitFor();
  const add = guest.getByRole("button", { name: /Add a card/ }).first();
  await add.waitFor();

  // She is there in the open dialog, and a viewer from one moment to the next.
  const role = field(page, "Role of Mary");
  await reach(role);
  await page.keyboard.press("ArrowDown");
  await add.waitFor({ state: "detached" });
  await press(button(page, "Remove Mary"));
  await role.waitFor({ state: "detached" });
  await heading(guest, "Plan").waitFor({ state: "detached" });
  await press(button(page, "End: link to edit"));
  await button(page, "Make: link to edit").waitFor();
  await guest.goto(link);
  await guest.getByText("This link does not lead to a board any more.").waitFor();
  await accessible(guest, "a link that has ended");

  await type(field(page, "E-mail of their account"), "mary@example.com");
  await page.keyboard.press("Enter");
  await role.waitFor();
  await guest.goto(`${board.url}/#/b/${plan.id}`);
  await press(button(guest, "Members"));
  await press(button(guest, "Leave"));
  await role.waitFor({ state: "detached" });
});
