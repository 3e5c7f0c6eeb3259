import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { line } from "./line.js";
import { stage, type Person } from "./stage.js";

// Tokens of five seconds: whoever watches sees all that Holdfast does about them.
const board = stage("-dev-token-lifetime", "5s");

const long = !!process.env["HOLDFAST_LONG"];

const light = (page: Page) => page.getByRole("button", { name: /^Connection: / });
const word = (page: Page, text: string) => page.getByRole("button", { name: `Connection: ${text}. Why?` }).waitFor();
const panel = (page: Page) => page.getByRole("complementary", { name: "What just happened" });
const entry = (page: Page, title: string | RegExp) => panel(page).getByRole("listitem").filter({ hasText: title });

/** What the entries are called, the newest first. */
const titles = async (page: Page) =>
  (await panel(page).locator(".happening-title").allTextContents()).map((title) => title.replaceAll("\u00a0", " "));

/** What has come over the page's connections, and how many there were. */
function wires(page: Page) {
  const seen = { connections: 0, text: "" };
  page.on("websocket", (socket) => {
    seen.connections++;
    socket.on("framereceived", ({ payload }) => void (seen.text += payload));
  });
  // A line that is cut for long may be one that lets no WebSocket through: then it is polled.
  page.on("requestfinished", (request) => {
    if (request.method() !== "GET" || !request.url().includes("transport=polling")) return;
    request.response().then(async (response) => void (seen.text += await response?.text()), () => {});
  });
  return seen;
}

/** Opens a page at a board, and watches what comes. */
async function opened(person: Person, url: string, id: string) {
  const page = await person.context.newPage();
  const seen = wires(page);
  await page.goto(`${url}/#/b/${id}`);
  await word(page, "Live");
  return { page, seen };
}

test(`tokens of 5 s for ${long ? "a minute" : "two refreshes"}: no reconnect, nothing lost, and the panel tells`, async () => {
  const ada = await board.person("Ada");
  const { board: made, lists } = await ada.board("Release");
  const { page, seen } = await opened(ada, board.url, made.id);
  const times = long ? 19 : 2; // one each three to four seconds
  const wanted: string[] = [];
  for (let n = 1; n <= times; n++) {
    const renewed = n === 1 ? "The token was renewed" : `(${n} times in a row)`;
    await entry(page, renewed).filter({ hasText: `after ${n} renewal` }).waitFor();
    wanted.push(`card ${n} of ${times}`);
    await ada.call("POST", `/api/boards/${made.id}/cards`, { list: lists[0]!.id, title: wanted.at(-1) });
  }
  await expect.poll(() => wanted.filter((title) => seen.text.includes(title))).toEqual(wanted);
  expect(seen.connections).toBe(1);
  expect((await titles(page)).slice(-3)).toEqual([
    times > 1 ? `The token was renewed (${times} times in a row)` : "The token was renewed", "Connected", "Signed in as Ada",
  ]);
  await light(page).click();
  await page.getByRole("dialog", { name: "Connection" }).getByText(`${times} times on this connection`).waitFor();
}, 100_000);

test("a line that is cut: the light says why, and what was missed is counted when it is back", async () => {
  const [ada, bob] = await Promise.all([board.person("Ada"), board.person("Bob")]);
  const { board: made, lists } = await ada.board("Release");
  await ada.share(made.id, bob, "editor");
  const way = await line(board.url);
  try {
    const { page, seen } = await opened(ada, way.url, made.id);
    const write = (title: string) => bob.call("POST", `/api/boards/${made.id}/cards`, { list: lists[0]!.id, title });
    await write("seen");
    await expect.poll(() => seen.text).toContain("seen");
    way.cut();
    await word(page, "Offline");
    await entry(page, "The connection was lost").waitFor();
    await light(page).click();
    const dialog = page.getByRole("dialog", { name: "Connection" });
    await dialog.getByText("The server can't be reached.").waitFor();
    await dialog.getByText("Attempts so far").waitFor();
    const missed = ["one", "two", "three"];
    for (const title of missed) await write(title);
    way.mend();
    await dialog.getByRole("button", { name: "Try now" }).click();
    await word(page, "Live");
    await entry(page, "3 events recovered, none lost").waitFor();
    const came = () => missed.map((title) => seen.text.split(`"title":"${title}"`).length - 1);
    await expect.poll(came).toEqual([1, 1, 1]);
    expect((await titles(page)).find((title) => title.startsWith("Reconnected"))).toMatch(/^Reconnected after [\d.]+ s: 3 events recovered, none lost$/);
    // What matters is said, and once.
    expect(await panel(page).getByRole("status").textContent()).toContain("3 events recovered");
  } finally {
    await way.close();
  }
});

test("a server that is killed and started again: it has no history, and the panel says so", async () => {
  const ada = await board.person("Ada");
  const { board: made } = await ada.board("Release");
  const { page } = await opened(ada, board.url, made.id);
  await board.kill();
  await entry(page, "The connection was lost").waitFor();
  await board.start();
  await page.evaluate(() => dispatchEvent(new Event("online"))); // its next attempt may be half a minute away
  await entry(page, /Reconnected after .*board read anew/).waitFor();
  await word(page, "Live");
});

test("no network: the light says so at once, an edit waits, and is applied once", async () => {
  const ada = await board.person("Ada");
  const { board: made } = await ada.board("Release");
  const { page } = await opened(ada, board.url, made.id);
  // An open WebSocket stays open then; it takes long until it is missed.
  await ada.context.setOffline(true);
  await word(page, "Offline");
  await light(page).click();
  await page.getByText("This device has no network. What you change waits here").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Add a card" }).first().click();
  await page.keyboard.type("In a tunnel");
  await page.keyboard.press("Enter");
  await entry(page, "1 edit waits for the network").waitFor();
  await ada.context.setOffline(false);
  await word(page, "Live");
  await entry(page, "1 edit sent, applied once").waitFor();
  expect((await ada.state(made.id)).cards.map(({ title }) => title)).toEqual(["In a tunnel"]);
});

test("who is here, who is typing and where others point is seen by the second person; a pointer redraws nothing else; a right that changes is told", async () => {
  const [ada, bob] = await Promise.all([board.person("Ada"), board.person("Bob")]);
  const { board: made } = await ada.board("Release", ["one"]);
  await ada.share(made.id, bob, "editor");
  const { page } = await opened(ada, board.url, made.id);
  const { page: his } = await opened(bob, board.url, made.id);
  await page.getByRole("button", { name: "2 people are here. Who?" }).click();
  const people = page.getByRole("dialog", { name: "People here" });
  expect(await people.getByRole("listitem").allTextContents()).toEqual([expect.stringContaining("Bob"), expect.stringMatching(/Ada.*you$/)]);
  await page.keyboard.press("Escape");
  await people.waitFor({ state: "hidden" });

  const pointer = page.locator(".pointer", { hasText: "Bob" });
  // What changes of the page besides the pointers is counted.
  await page.evaluate(() => {
    const elsewhere = (change: MutationRecord) => !(change.target as Element).closest(".pointers") && !(change.target as Element).matches(".pointers");
    const counted = ((globalThis as any).redrawn = { changes: 0 });
    new MutationObserver((all) => void (counted.changes += all.filter(elsewhere).length)).observe(document.querySelector("main")!, {
      subtree: true, childList: true, attributes: true, characterData: true,
    });
  });
  const place = async () => {
    const box = await page.locator(".pointer svg").boundingBox();
    return box && [Math.round(box.x), Math.round(box.y)];
  };
  await his.mouse.move(300, 300);
  await his.mouse.move(310, 300);
  await pointer.waitFor({ state: "attached" });
  // The pages are of one size, and scrolled alike.
  await expect.poll(place).toEqual([310, 300]);
  await his.mouse.move(200, 400);
  await expect.poll(place).toEqual([200, 400]);
  expect(await page.evaluate(() => document.elementFromPoint(200, 400)?.closest(".pointers"))).toBe(null);
  await his.mouse.move(200, 10);
  await pointer.waitFor({ state: "detached" });
  // The layer of the pointers itself is added once, when the board is shown.
  expect(await page.evaluate(() => (globalThis as any).redrawn.changes)).toBe(0);

  await his.getByRole("button", { name: "Add a card" }).first().click();
  await his.keyboard.type("Buy");
  await page.getByText("Bob is typing").waitFor();

  await ada.share(made.id, bob, "viewer");
  await entry(his, "You may only look at this board now").waitFor();
});
