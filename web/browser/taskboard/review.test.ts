// What a first-time user, somebody without a mouse and somebody with bad luck meet.
import type { Page } from "playwright-core";
import { beforeAll, expect, test } from "vitest";
import { focused as focusedOn } from "./keys.js";
import { networkOf, password, stage, type Person } from "./stage.js";

const board = stage();
let ada: Person;
let bob: Person;

beforeAll(async () => {
  [ada, bob] = [await board.person("Ada"), await board.person("Bob")];
});

const link = (page: Page, title: string) => page.locator(`.card-link:text-is("${title}")`);

/** The name of what has the focus. */
const focus = (page: Page) =>
  page.evaluate(() => {
    const element = document.activeElement!;
    return element === document.body ? "nothing" : (element.getAttribute("aria-label") ?? element.textContent);
  });

const focused = (page: Page, name: string) => expect.poll(() => focus(page)).toContain(name);

const role = (of: string, who: Person, role: string) => ada.call("PATCH", `/api/boards/${of}/members/${who.id}`, { role });

test("a line that is closed by its keys gives the focus back, and what is taken back takes it", async () => {
  const { board: b } = await ada.board("Lines", ["One"]);
  const page = await ada.open(`#/b/${b.id}`);
  await link(page, "One").focus();
  await page.keyboard.press("n");
  await page.getByLabel("New card in To do").waitFor();
  await page.keyboard.press("Escape");
  await focused(page, "Add a card to To do");
  await page.getByRole("button", { name: "Add a list" }).press("Enter");
  await page.getByRole("button", { name: "Close" }).press("Enter");
  await focused(page, "Add a list");
  for (const key of ["Escape", "Enter"]) {
    await page.getByRole("button", { name: "More for the list To do" }).press("Enter");
    await page.getByRole("menuitem", { name: "Rename" }).press("Enter");
    await page.keyboard.press(key);
    await focused(page, "More for the list To do");
  }
  for (const [name, is] of [["card", "One"], ["list", "More for the list To do"]] as const) {
    if (name === "card") await link(page, "One").press("Delete");
    else {
      await page.getByRole("button", { name: is }).press("Enter");
      await page.getByRole("menuitem", { name: "Delete with its cards" }).press("Enter");
    }
    await page.getByRole("button", { name: "Undo" }).press("Enter");
    await focused(page, is);
  }
});

test("the way back leads from a card that was closed to where one was before its board", async () => {
  const { board: b } = await ada.board("Ways", ["One"]);
  const page = await ada.open();
  await page.getByRole("link", { name: "Ways" }).click();
  for (let times = 0; times < 2; times++) {
    await link(page, "One").click();
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
  }
  await page.goBack();
  await page.getByRole("heading", { name: "Your boards" }).waitFor();
  // Who came by the card's own address stays in the page.
  await page.goto(`${board.url}/#/b/${b.id}`);
  const [card] = (await ada.state(b.id)).cards;
  const other = await ada.open(`#/b/${b.id}/${card!.id}`);
  await other.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await link(other, "One").waitFor();
  await expect.poll(() => other.url()).toBe(`${board.url}/#/b/${b.id}`);
});

test("a text that is marked beyond a dialog's edge leaves it open", async () => {
  const { board: b } = await ada.board("Marks", ["One"]);
  const page = await ada.open(`#/b/${b.id}`);
  await link(page, "One").click();
  const { x, y } = (await page.getByLabel("Title").boundingBox())!;
  await page.mouse.move(x + 60, y + 8);
  await page.mouse.down();
  await page.mouse.move(20, y + 8, { steps: 3 });
  await page.mouse.up();
  // The click beside it, which comes after that one, closes it.
  expect(await page.getByRole("dialog").count()).toBe(1);
  await page.mouse.click(20, y + 8);
  await page.getByRole("dialog").waitFor({ state: "detached" });
});

test("what was written as the right or the card went is told with the refusal; a viewer keeps no field", async () => {
  const { board: b, cards } = await ada.board("Lost", ["One", "Two"]);
  await ada.share(b.id, bob, "editor");
  const page = await bob.open(`#/b/${b.id}`);
  await page.getByRole("button", { name: "More for the list Done" }).click();
  await page.getByRole("menuitem", { name: "Rename" }).click();
  await page.getByLabel("Name of the list Done").waitFor();
  await role(b.id, bob, "viewer");
  await page.getByText("View only").waitFor();
  await page.getByLabel("Name of the list Done").waitFor({ state: "detached" });
  await role(b.id, bob, "editor");
  await link(page, "One").click();
  await page.getByLabel("Text").fill("Many words of Bob");
  await role(b.id, bob, "viewer");
  await page.locator(".toast", { hasText: "Many words of Bob" }).waitFor();
  await page.keyboard.press("Escape");
  await role(b.id, bob, "editor");
  await link(page, "Two").click();
  await page.getByLabel("Text").fill("Other words of Bob");
  await ada.call("DELETE", `/api/boards/${b.id}/cards/${cards.find(({ title }) => title === "Two")!.id}`);
  await page.locator(".toast", { hasText: "Other words of Bob" }).waitFor();
});

test("the keys of a card work with capitals, too", async () => {
  const { board: b } = await ada.board("Capitals", ["One"]);
  const page = await ada.open(`#/b/${b.id}`);
  await link(page, "One").focus();
  await page.keyboard.press("D");
  await page.getByRole("checkbox", { name: "Done: One", checked: true }).waitFor();
});

test("where the user has chosen the colours, what is done and what is not can be told apart", async () => {
  const { board: b, cards } = await ada.board("Colours", ["One", "Two"]);
  await ada.call("PATCH", `/api/boards/${b.id}/cards/${cards[0]!.id}`, { done: true });
  const page = await ada.open(`#/b/${b.id}`);
  await page.emulateMedia({ forcedColors: "active" });
  await link(page, "Two").waitFor();
  const drawn = () => page.locator(".tick path").evaluateAll((paths) => paths.map((path) => getComputedStyle(path).visibility));
  await expect.poll(drawn).toEqual(["visible", "hidden"]);
});

test("a title is read in its own direction; at four times the size one still gets to the cards", async () => {
  const { board: b } = await ada.board("Sizes", ["One", "שלום (עולם)."]);
  const page = await ada.open(`#/b/${b.id}`);
  const direction = (title: string) => link(page, title).evaluate((element) => getComputedStyle(element).direction);
  expect([await direction("One"), await direction("שלום (עולם).")]).toEqual(["ltr", "rtl"]);
  await page.setViewportSize({ width: 320, height: 256 });
  await expect.poll(() => page.evaluate(() => innerHeight)).toBe(256);
  const room = await page.locator(".cards").first().evaluate((element) => element.clientHeight);
  expect(room).toBeGreaterThan(44);
});

/** Adds a card to the first list. */
async function add(page: Page, title: string): Promise<void> {
  await page.locator("[data-add]").first().click();
  await focusedOn(page.getByRole("textbox", { name: /^New card in/ }));
  await page.keyboard.type(title);
  await page.keyboard.press("Enter");
  await page.keyboard.press("Escape");
  await link(page, title).waitFor();
}

const titles = async (of: string) => (await ada.state(of)).cards.map(({ title }) => title);

test("who signs out with edits waiting is told; the next one neither sees nor sends them", async () => {
  const [dan, eli] = [await board.person("Dan"), await board.person("Eli")];
  const { board: b } = await ada.board("Shared", ["One"]);
  for (const one of [dan, eli]) await ada.share(b.id, one, "editor");
  const network = await networkOf(dan.context);
  const page = await dan.open(`#/b/${b.id}`);
  const enter = async (email: string) => {
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Password", { exact: true }).fill(password);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await link(page, "One").waitFor();
    await page.getByRole("button", { name: /^Connection: Live/ }).waitFor();
  };
  const leave = async () => {
    await page.getByRole("button", { name: /^Account of/ }).click();
    await page.getByRole("menuitem", { name: "Sign out" }).click();
  };
  await page.getByRole("button", { name: /^Connection: Live/ }).waitFor();
  await network.cut("socket");
  await add(page, "Of Dan alone");
  await leave();
  await page.getByText("One of your edits was not sent yet.").waitFor();
  await network.mend();
  await enter(eli.email);
  await page.getByRole("button", { name: /^Connection: Live/ }).click();
  await page.getByText("Waiting to be sent").locator("..").getByText("nothing").waitFor();
  await page.keyboard.press("Escape");
  await add(page, "Of Eli");
  await expect.poll(() => titles(b.id)).toEqual(["One", "Of Eli"]);
  expect(await link(page, "Of Dan alone").count()).toBe(0);
  await leave();
  await enter(dan.email);
  await expect.poll(() => titles(b.id)).toEqual(["One", "Of Dan alone", "Of Eli"]);
});

test("a server that does not answer at first is told of, and the page comes by itself", async () => {
  const { board: b } = await ada.board("Slow", ["One"]);
  const page = await (await ada.context.newPage());
  await page.route(/\/api\//, (route) => route.abort());
  await page.goto(`${board.url}/#/b/${b.id}`);
  await page.getByRole("heading", { name: "The server does not answer yet" }).waitFor();
  await page.unroute(/\/api\//);
  await link(page, "One").waitFor({ timeout: 200_000 }); // its next attempt may be a minute away by now
  await page.goto(`${board.url}/#/devices`);
  await expect.poll(() => page.title()).toBe("Devices – Task board");
  await page.goto(`${board.url}/#/b/${b.id}`);
  await page.getByRole("link", { name: "All boards" }).press("Enter");
  await page.getByRole("heading", { name: "Your boards" }).waitFor();
  await expect.poll(() => page.evaluate(() => document.activeElement!.id)).toBe("main");
});

test("a text that is being written is kept as the page goes out of sight, and the browser asks before it is lost", async () => {
  const { board: b } = await ada.board("Drafts", ["One"]);
  const page = await ada.open(`#/b/${b.id}`);
  await link(page, "One").click();
  await page.getByLabel("Text").fill("Half a sentence");
  const asked = page.waitForEvent("dialog");
  await page.evaluate(() => setTimeout(() => location.reload()));
  const dialog = await asked;
  expect(dialog.type()).toBe("beforeunload");
  await dialog.dismiss();
  await page.evaluate(() => {
    Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await expect.poll(async () => (await ada.state(b.id)).cards[0]!.text).toBe("Half a sentence");
  await page.reload(); // and nobody asks
  await page.getByLabel("Text").waitFor();
});

test("by finger: a card's menu opens", async () => {
  const finn = await board.person("Finn", { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });
  const { board: b } = await finn.board("Menus", ["One"]);
  const page = await finn.open(`#/b/${b.id}`);
  const button = page.getByRole("button", { name: "More for One" });
  const narrow = (name: string, role: "link" | "button") =>
    page.getByRole(role, { name, exact: true }).evaluate((element) => Math.min(element.clientWidth, element.clientHeight) < 42); // and its edges
  expect([await narrow("Task board", "link"), await narrow("Share", "button")]).toEqual([false, false]);
  const { x, y, width, height } = (await button.boundingBox())!;
  await page.touchscreen.tap(x + width / 2, y + height / 2);
  await page.getByRole("menuitem", { name: "Move to…" }).tap();
  await page.getByRole("dialog").waitFor();
});
