import type { Page } from "playwright-core";
import { beforeAll, describe, expect, test } from "vitest";
import { accessible, violations } from "./axe.js";
import { focused } from "./keys.js";
import { live, networkOf, stage, type Network, type Person } from "./stage.js";

const board = stage();
let ada: Person;
let bob: Person;
let eve: Person;
let network: Network; // Bob's

beforeAll(async () => {
  [ada, bob, eve] = [await board.person("Ada"), await board.person("Bob"), await board.person("Eve")];
  network = await networkOf(bob.context);
});

const at = (id: string, card = "") => `#/b/${id}${card && `/${card}`}`;

const list = (page: Page, title: string) => page.locator("[data-list]").filter({ has: page.locator(`h2:text-is("${title}")`) });

const cardOf = (page: Page, title: string) => page.locator("[data-card]").filter({ has: page.locator(`.card-link:text-is("${title}")`) });

/** Waits until a list has exactly these cards, in this order. */
async function shows(page: Page, title: string, ...cards: string[]): Promise<void> {
  await expect
    .poll(() => list(page, title).locator(".card-link").allTextContents())
    .toEqual(cards);
}

const pendings = (page: Page) => page.locator(".pending").count();

const settled = (page: Page) => expect.poll(() => pendings(page)).toBe(0);

/** Adds cards by the line in a list. */
async function add(page: Page, title: string, ...cards: string[]): Promise<void> {
  await list(page, title).getByRole("button", { name: "Add a card" }).click();
  const line = page.getByRole("textbox", { name: `New card in ${title}` });
  for (const card of cards) {
    await focused(line);
    await page.keyboard.type(card);
    await page.keyboard.press("Enter");
    await expect.poll(() => line.inputValue()).toBe("");
  }
  await page.keyboard.press("Escape");
  await line.waitFor({ state: "detached" });
}

describe("two people", () => {
  test("see each other's changes within a second", async () => {
    const { board: b } = await ada.board("Together", ["One"]);
    await ada.share(b.id, bob, "editor");
    const [a, c] = [await ada.open(at(b.id)), await bob.open(at(b.id))];
    await shows(a, "To do", "One");
    await shows(c, "To do", "One");
    const times: number[] = [];
    const timed = async (act: () => Promise<void>, seen: () => Promise<void>) => {
      await act();
      const began = performance.now();
      await seen();
      times.push(performance.now() - began);
    };
    await timed(() => add(a, "To do", "Two"), () => shows(c, "To do", "One", "Two"));
    await timed(() => add(c, "Doing", "Three"), () => shows(a, "Doing", "Three"));
    await timed(
      () => cardOf(a, "One").getByRole("checkbox").click(),
      () => cardOf(c, "One").and(c.locator("[data-done]")).waitFor(),
    );
    await timed(async () => {
      await cardOf(c, "Two").locator(".card-link").click();
      await c.getByLabel("Title").fill("Zwei");
      await c.keyboard.press("Escape");
    }, () => shows(a, "To do", "One", "Zwei"));
    await timed(async () => {
      await cardOf(a, "Three").locator(".card-link").focus();
      await a.keyboard.press("Delete");
    }, () => shows(c, "Doing"));
    await timed(() => a.getByRole("button", { name: "Undo" }).click(), () => shows(c, "Doing", "Three"));
    expect(Math.min(...times)).toBeLessThan(1000); // the others may have been held up by other programs
    expect((await ada.state(b.id)).cards.map(({ title }) => title).sort()).toEqual(["One", "Three", "Zwei"]);
  });

  test("lists are made, renamed, moved and deleted for both", async () => {
    const { board: b } = await ada.board("Lists", ["One"]);
    await ada.share(b.id, bob, "editor");
    const [a, c] = [await ada.open(at(b.id)), await bob.open(at(b.id))];
    const names = (page: Page, ...titles: string[]) =>
      expect.poll(() => page.locator("[data-list] h2").allTextContents()).toEqual(titles);
    await a.getByRole("button", { name: "Add a list" }).click();
    await focused(a.getByRole("textbox", { name: "New list" }));
    await a.keyboard.type("Later\n");
    await a.keyboard.press("Escape");
    await names(c, "To do", "Doing", "Done", "Later");
    await c.getByRole("button", { name: "More for the list Later" }).click();
    await c.getByRole("menuitem", { name: "Rename" }).click();
    await focused(c.getByRole("textbox", { name: "Name of the list Later" }));
    await c.keyboard.type("Much later\n");
    await names(a, "To do", "Doing", "Done", "Much later");
    await a.getByRole("button", { name: "Move the list Much later" }).focus();
    for (const key of ["Space", "ArrowLeft", "ArrowLeft", "ArrowLeft", "Space"]) await a.keyboard.press(key);
    await names(c, "Much later", "To do", "Doing", "Done");
    await c.getByRole("button", { name: "More for the list To do" }).click();
    await c.getByRole("menuitem", { name: /Delete/ }).click();
    await names(a, "Much later", "Doing", "Done");
    await c.getByRole("button", { name: "Undo" }).click();
    await names(a, "Much later", "To do", "Doing", "Done");
    await shows(a, "To do", "One");
  });
});

describe("moving", () => {
  test("by mouse: a card within its list, to another one and into an empty one; a list", async () => {
    const { board: b } = await ada.board("Mouse", ["One", "Two", "Three"], ["Four"]);
    const page = await ada.open(at(b.id));
    await shows(page, "Doing", "Four");
    const drag = async (from: ReturnType<typeof cardOf>, to: { x: number; y: number }) => {
      const box = (await from.boundingBox())!;
      await page.mouse.move(box.x + 60, box.y + 12);
      await page.mouse.down();
      await page.mouse.move(box.x + 70, box.y + 20);
      await page.mouse.move(to.x, to.y, { steps: 4 });
      await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
      await page.mouse.up();
    };
    const top = async (title: string) => {
      const { x, y } = (await cardOf(page, title).boundingBox())!;
      return { x: x + 40, y: y + 4 };
    };
    await drag(cardOf(page, "Three"), await top("One"));
    await shows(page, "To do", "Three", "One", "Two");
    await settled(page);
    await drag(cardOf(page, "One"), await top("Four"));
    await shows(page, "Doing", "One", "Four");
    await settled(page);
    const done = (await list(page, "Done").boundingBox())!;
    await drag(cardOf(page, "Two"), { x: done.x + 50, y: done.y + 60 });
    await shows(page, "Done", "Two");
    await settled(page);
    expect(page.url()).toContain(at(b.id)); // a drag opens no card
    expect(await page.locator("dialog").count()).toBe(0);
    const first = (await list(page, "To do").boundingBox())!;
    await drag(list(page, "Done").locator(".column-head"), { x: first.x + 10, y: first.y + 20 });
    await expect.poll(() => page.locator("[data-list] h2").allTextContents()).toEqual(["Done", "To do", "Doing"]);
    await settled(page);
    const state = await ada.state(b.id);
    expect(state.lists.map(({ title }) => title)).toEqual(["Done", "To do", "Doing"]);
  });

  test("by finger: a card that is held moves, one that is swiped scrolls", async () => {
    const { board: b } = await ada.board("Finger", ["One", "Two", "Three"]);
    const phone = await board.again(ada, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
    const page = await phone.open(at(b.id));
    await shows(page, "To do", "One", "Two", "Three");
    const cdp = await phone.context.newCDPSession(page);
    const touch = (type: "touchStart" | "touchMove" | "touchEnd" | "touchCancel", ...touchPoints: { x: number; y: number }[]) =>
      cdp.send("Input.dispatchTouchEvent", { type, touchPoints });
    const place = async (title: string) => {
      const { x, y } = (await cardOf(page, title).boundingBox())!;
      return { x: x + 120, y: y + 10 };
    };
    const from = await place("Three");
    await touch("touchStart", from);
    await page.locator("html[data-dragging]").waitFor();
    for (const part of [0.3, 0.7, 1]) await touch("touchMove", { x: from.x, y: from.y + ((await place("One")).y - 8 - from.y) * part });
    await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
    await touch("touchEnd");
    await shows(page, "To do", "Three", "One", "Two");
    await settled(page);
    const start = await place("One");
    // Where the machine is slow the finger rests too long before it moves, and has picked up: then it tries again.
    const swiped = async () => {
      await touch("touchStart", start);
      for (const by of [40, 120, 200]) await touch("touchMove", { x: start.x - by, y: start.y });
      const held = await page.locator("html[data-dragging]").count();
      await touch(held ? "touchCancel" : "touchEnd");
      return !held;
    };
    await expect.poll(swiped).toBe(true);
    await expect.poll(() => page.locator(".board").evaluate((e) => e.scrollLeft)).toBeGreaterThan(100);
    await shows(page, "To do", "Three", "One", "Two");
    expect(await page.locator("dialog").count()).toBe(0);
  });

  test("by keys: said aloud, with the focus kept, and taken back by Escape", async () => {
    const { board: b } = await ada.board("Keys", ["One", "Two"], ["Three"]);
    const page = await ada.open(at(b.id));
    await shows(page, "Doing", "Three");
    const said = (text: RegExp) => expect.poll(() => page.locator('[aria-live="assertive"]').textContent()).toMatch(text);
    const link = (title: string) => cardOf(page, title).locator(".card-link");
    await cardOf(page, "One").locator(".card-link").focus();
    await page.keyboard.press("ArrowDown");
    await focused(link("Two"));
    await page.keyboard.press("Space");
    await said(/Two is picked up, To do, position 2 of 2/);
    await page.keyboard.press("ArrowRight");
    await said(/Doing, position 2 of 2/);
    await page.keyboard.press("ArrowUp");
    await said(/Doing, position 1 of 2/);
    await page.keyboard.press("Space");
    await shows(page, "Doing", "Two", "Three");
    await said(/Two is put down/);
    await focused(link("Two"));
    await settled(page);
    await page.keyboard.press("Space");
    await said(/Two is picked up/);
    await page.keyboard.press("ArrowRight");
    await said(/Done, position 1 of 1/);
    await page.keyboard.press("Escape");
    await said(/Two is back/);
    await shows(page, "Doing", "Two", "Three");
    // The same by a menu and two choices.
    await page.keyboard.press("m");
    await page.getByLabel("List", { exact: true }).selectOption("Done");
    await page.getByRole("button", { name: "Move", exact: true }).click();
    await shows(page, "Done", "Two");
    await page.keyboard.press("?");
    await page.getByRole("heading", { name: "Keyboard" }).waitFor();
    await page.keyboard.press("Escape");
    await page.locator("dialog").waitFor({ state: "detached" });
    await page.keyboard.press("n");
    await focused(page.getByRole("textbox", { name: /^New card in/ }));
    await page.keyboard.type("Four\n");
    await page.keyboard.press("Escape");
    await expect.poll(() => page.locator(".card-link").allTextContents()).toContain("Four");
  });

  test("the focus stays on a card that somebody else moves, and goes to the next where it is deleted", async () => {
    const { board: b, lists, cards } = await ada.board("Focus", ["One", "Two"]);
    const page = await ada.open(at(b.id));
    await cardOf(page, "One").locator(".card-link").focus();
    const one = cards.find(({ title }) => title === "One")!.id;
    await ada.call("POST", `/api/boards/${b.id}/cards/${one}/move`, { list: lists[2]!.id });
    await shows(page, "Done", "One");
    await focused(cardOf(page, "One").locator(".card-link"));
    await ada.call("DELETE", `/api/boards/${b.id}/cards/${one}`);
    await shows(page, "Done");
    await focused(list(page, "Done").getByRole("button", { name: "Add a card" }));
  });
});

describe("without a connection", () => {
  test("edits wait and are shown as waiting, also after a reload; with the network back each is applied once", async () => {
    const { board: b } = await ada.board("Offline", ["One", "Two"]);
    await ada.share(b.id, bob, "editor");
    const page = await bob.open(at(b.id));
    await shows(page, "To do", "One", "Two");
    const before = (await bob.state(b.id)).board.rev;
    await network.cut("everything");
    await add(page, "Doing", "New");
    await cardOf(page, "New").getByRole("checkbox").click(); // of a card that the server has never seen
    await cardOf(page, "Two").locator(".card-link").focus();
    for (const key of ["Space", "ArrowRight", "Space"]) await page.keyboard.press(key);
    await shows(page, "Doing", "New", "Two");
    await expect.poll(() => pendings(page)).toBe(2);
    await accessible(page, "edits that wait");
    expect(await cardOf(page, "New").innerText()).toContain("waiting for the network");
    // The server is there again, but not the connection.
    await network.cut("socket");
    await page.reload();
    await shows(page, "Doing", "New", "Two");
    await expect.poll(() => pendings(page)).toBe(2);
    expect((await bob.state(b.id)).board.rev).toBe(before);
    await network.mend();
    await live(page);
    await settled(page);
    await shows(page, "Doing", "New", "Two");
    const state = await bob.state(b.id);
    expect(state.board.rev).toBe(before + 3);
    expect(state.cards.map(({ title, done, list }) => [title, done, state.lists.find(({ id }) => id === list)!.title])).toEqual(
      expect.arrayContaining([["New", true, "Doing"], ["Two", false, "Doing"], ["One", false, "To do"]]),
    );
  });

  test("a conflict shows both versions, over a reload, until one is chosen", async () => {
    const { board: b, cards } = await ada.board("Conflict", ["One", "Two"]);
    await ada.share(b.id, bob, "editor");
    const page = await bob.open(at(b.id));
    await shows(page, "To do", "One", "Two");
    await network.cut("everything");
    const edit = async (title: string, to: string) => {
      await cardOf(page, title).locator(".card-link").click();
      await page.getByLabel("Title").fill(to);
      await page.getByRole("button", { name: "Save" }).click();
    };
    await edit("One", "Mine");
    await edit("Mine", "Mine again");
    await edit("Two", "Mine, too");
    for (const [i, title] of ["Ada’s", "Ada’s, too"].entries())
      await ada.call("PATCH", `/api/boards/${b.id}/cards/${cards.find((c) => c.title === ["One", "Two"][i])!.id}`, { title });
    await network.mend();
    await live(page);
    const conflict = cardOf(page, "Ada’s").locator(".conflict");
    await conflict.getByText("Ada changed this while you were away").waitFor();
    await expect.poll(() => conflict.locator("dd").allTextContents()).toEqual(["Mine again", "Ada’s"]);
    await page.locator(".conflict").nth(1).waitFor();
    await settled(page);
    await accessible(page, "a conflict");
    await page.reload();
    await page.locator(".conflict").nth(1).waitFor();
    await cardOf(page, "Ada’s").getByRole("button", { name: "Keep mine" }).click();
    await cardOf(page, "Ada’s, too").getByRole("button", { name: "Keep Ada’s" }).click();
    await shows(page, "To do", "Mine again", "Ada’s, too");
    await expect.poll(() => page.locator(".conflict").count()).toBe(0);
    await settled(page);
    expect((await bob.state(b.id)).cards.map(({ title }) => title)).toEqual(["Mine again", "Ada’s, too"]);
    await page.reload();
    await shows(page, "To do", "Mine again", "Ada’s, too");
    expect(await page.locator(".conflict").count()).toBe(0);
  });

  test("the server is killed and comes again: nothing is lost", async () => {
    const { board: b } = await ada.board("Killed", ["One"]);
    await ada.share(b.id, eve, "editor");
    const [a, e] = [await ada.open(at(b.id)), await eve.open(at(b.id))];
    await shows(a, "To do", "One");
    await shows(e, "To do", "One");
    await board.kill();
    await add(a, "To do", "Two", "Three");
    await add(e, "Doing", "Four");
    await expect.poll(() => pendings(a)).toBe(2);
    await expect.poll(() => pendings(e)).toBe(1);
    await board.start();
    for (const page of [a, e]) await live(page);
    for (const page of [a, e]) {
      await shows(page, "To do", "One", "Two", "Three");
      await shows(page, "Doing", "Four");
      await settled(page);
    }
    expect((await ada.state(b.id)).cards).toHaveLength(4);
  });
});

describe("rights", () => {
  test("who may only look sees it all live, and nothing to change it with; a new role works at once", async () => {
    const { board: b } = await ada.board("Roles", ["One"]);
    await ada.share(b.id, eve, "viewer");
    const page = await eve.open(at(b.id));
    await shows(page, "To do", "One");
    await page.getByText("View only").waitFor();
    await expect.poll(() => page.getByRole("button", { name: /Add|More for|Move/ }).count()).toBe(0);
    expect(await page.getByRole("checkbox").count()).toBe(0);
    await page.keyboard.press("n");
    expect(await page.locator("[data-list] input").count()).toBe(0);
    await cardOf(page, "One").locator(".card-link").click();
    await page.getByRole("dialog", { name: "One" }).waitFor();
    expect(await page.locator("dialog input, dialog textarea").count()).toBe(0);
    await page.keyboard.press("Escape");
    await page.locator("dialog").waitFor({ state: "detached" });
    await ada.call("PATCH", `/api/boards/${b.id}/members/${eve.id}`, { role: "editor" });
    await page.getByRole("button", { name: "Add a list" }).waitFor();
    await add(page, "To do", "Two");
    await shows(page, "To do", "One", "Two");
    await settled(page);
    await ada.call("PATCH", `/api/boards/${b.id}/members/${eve.id}`, { role: "viewer" });
    await page.getByText("View only").waitFor();
  });

  test("a right that is taken, and a board that is deleted, are told of in the board's place", async () => {
    const { board: b } = await ada.board("Mine", ["One"]);
    await ada.share(b.id, eve, "editor");
    const page = await eve.open(at(b.id));
    await shows(page, "To do", "One");
    await ada.call("DELETE", `/api/boards/${b.id}/members/${eve.id}`);
    await page.getByRole("heading", { name: "You are not on “Mine” any more" }).waitFor();
    await page.getByText("Ada has taken your access").waitFor();
    await ada.share(b.id, eve, "viewer");
    await page.getByRole("button", { name: "Try again" }).click();
    await shows(page, "To do", "One");
    await ada.call("DELETE", `/api/boards/${b.id}`);
    await page.getByRole("heading", { name: "“Mine” was deleted" }).waitFor();
    await page.getByRole("link", { name: "All boards" }).click();
    await page.getByRole("heading", { name: "Your boards" }).waitFor();
    await page.goto(`${board.url}/${at("NOSUCHBOARD")}`);
    await page.getByRole("heading", { name: "This board is not here" }).waitFor();
  });
});

test("boards are made, renamed and deleted; the first visit invites", async () => {
  const zoe = await board.person("Zoe");
  const page = await zoe.open();
  await page.getByRole("heading", { name: "Make your first board" }).waitFor();
  await accessible(page, "the first visit");
  await page.getByLabel("New board").fill("Garden");
  await page.getByRole("button", { name: "Make it" }).click();
  await page.getByRole("heading", { name: "Garden" }).waitFor();
  await page.getByRole("link", { name: "All boards" }).click();
  await page.getByRole("link", { name: "Garden" }).waitFor();
  await accessible(page, "the boards");
  await page.getByRole("button", { name: "More for Garden" }).click();
  await page.getByRole("menuitem", { name: "Rename" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill("Orchard");
  await page.getByRole("button", { name: "Rename" }).click();
  await page.getByRole("link", { name: "Orchard" }).click();
  await page.getByRole("button", { name: "More for this board" }).click();
  await page.getByRole("menuitem", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Delete it" }).click();
  await page.getByRole("heading", { name: "Make your first board" }).waitFor();
});

test("what somebody else changes flashes, and can be read all the while, also where the theme changes meanwhile", async () => {
  const { board: b, cards } = await ada.board("Flash", ["One"]);
  await ada.share(b.id, bob, "editor");
  const page = await ada.open(at(b.id));
  await shows(page, "To do", "One");
  const flashes = () => page.evaluate(() => document.getAnimations().filter((a) => /^flash-/.test((a as CSSAnimation).animationName)).length);
  // It stands still as it begins.
  await page.evaluate(() => {
    const still = new CSSStyleSheet();
    still.replaceSync("* { animation-play-state: paused !important }");
    document.adoptedStyleSheets = [still];
  });
  for (const [i, [from, to]] of ([["light", "dark"], ["dark", "light"]] as const).entries()) {
    await page.emulateMedia({ colorScheme: from });
    await page.waitForFunction((name) => matchMedia(`(prefers-color-scheme: ${name})`).matches, from);
    await bob.call("PATCH", `/api/boards/${b.id}/cards/${cards[0]!.id}`, { title: `Once more ${i}` });
    await shows(page, "To do", `Once more ${i}`);
    await expect.poll(flashes).toBe(1);
    await page.emulateMedia({ colorScheme: to });
    await page.waitForFunction((name) => matchMedia(`(prefers-color-scheme: ${name})`).matches, to);
    expect(await violations(page, ["color-contrast"]), `${from}, then ${to}`).toEqual([]);
  }
});

test("axe finds nothing on a board, in whatever opens over it, and where it was", async () => {
  const { board: b, cards } = await ada.board("Axe", ["One", "Two"], ["Three"]);
  await ada.share(b.id, eve, "viewer");
  await ada.call("PATCH", `/api/boards/${b.id}/cards/${cards[0]!.id}`, { text: "Text", color: "red", done: true });
  const page = await ada.open(at(b.id));
  await cardOf(page, "Three").waitFor();
  await accessible(page, "a board");
  await page.getByRole("button", { name: "Add a list" }).click();
  await page.getByRole("textbox", { name: "New list" }).waitFor();
  await accessible(page, "a new list");
  await page.keyboard.press("Escape");
  await cardOf(page, "Two").locator(".card-link").focus();
  await page.keyboard.press("m");
  await page.getByRole("dialog", { name: "Move “Two”" }).waitFor();
  await accessible(page, "where to");
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
  await accessible(page, "the help");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Card" }).waitFor();
  await accessible(page, "a card");
  await page.keyboard.press("Escape");
  await cardOf(page, "Two").getByRole("button", { name: "More for Two" }).click();
  await page.getByRole("menu").waitFor();
  await accessible(page, "a menu");
  await page.keyboard.press("Escape");
  const viewer = await eve.open(at(b.id));
  await cardOf(viewer, "Three").waitFor();
  await accessible(viewer, "a viewer's board");
  await ada.call("DELETE", `/api/boards/${b.id}`);
  await viewer.getByRole("heading", { name: "“Axe” was deleted" }).waitFor();
  await accessible(viewer, "a board that was deleted");
});
