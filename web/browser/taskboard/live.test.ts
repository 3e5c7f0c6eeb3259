import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { line } from "./line.js";
import { watched } from "./redrawn.js";
import { live, stage, type Person } from "./stage.js";

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

/** How often the token was renewed on the present connection, as the panel says. It goes on while one looks. */
const renewals = async (page: Page) =>
  Math.max(0, ...(await panel(page).locator(".happening-why").allTextContents()).map((why) => Number(/after (\d+) renewal/.exec(why)?.[1] ?? 0)));

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
    await expect.poll(() => renewals(page)).toBeGreaterThanOrEqual(n);
    wanted.push(`card ${n} of ${times}`);
    await ada.call("POST", `/api/boards/${made.id}/cards`, { list: lists[0]!.id, title: wanted.at(-1) });
  }
  await expect.poll(() => wanted.filter((title) => seen.text.includes(title))).toEqual(wanted);
  expect(seen.connections).toBe(1);
  const [renewed, ...first] = (await titles(page)).slice(-3);
  expect(first).toEqual(["Connected", "Signed in as Ada"]);
  expect(Number(/^The token was renewed \((\d+) times in a row\)$/.exec(renewed!)?.[1])).toBeGreaterThanOrEqual(times);
  await light(page).click();
  const facts = () => page.getByRole("dialog", { name: "Connection" }).locator("dl").innerText();
  await expect.poll(async () => Number(/(\d+) times on this connection/.exec(await facts())?.[1])).toBeGreaterThanOrEqual(times);
}, 400_000);

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
    way.hold(); // or an attempt of its own may take the button away
    await dialog.getByRole("button", { name: "Try now" }).click();
    way.mend();
    await word(page, "Live");
    await entry(page, "3 events recovered, none lost").waitFor();
    const came = () => missed.map((title) => seen.text.split(`"title":"${title}"`).length - 1);
    await expect.poll(came).toEqual([1, 1, 1]);
    expect((await titles(page)).find((title) => title.startsWith("Reconnected"))).toMatch(/^Reconnected after [\d.]+ s: 3 events recovered, none lost$/);
    // What matters is said, and once.
    await expect.poll(() => panel(page).getByRole("status").textContent()).toContain("3 events recovered");
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
  await live(page);
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
  await page.getByRole("textbox", { name: "New card in To do" }).fill("In a tunnel");
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
  await expect.poll(() => people.getByRole("listitem").allTextContents()).toEqual([expect.stringContaining("Bob"), expect.stringMatching(/Ada.*you$/)]);
  await page.keyboard.press("Escape");
  // It is out of sight before the page has heard that it is closed, and drawn it so.
  await people.waitFor({ state: "hidden" });
  await page.getByRole("button", { name: "2 people are here. Who?", expanded: false }).waitFor();

  const pointer = page.locator(".pointer", { hasText: "Bob" });
  // The layer of the pointers itself is added once, when the board is shown.
  const redrawn = await watched(page, "main", ".pointers");
  const place = async () => {
    const box = await page.locator(".pointer svg").boundingBox();
    return box && [Math.round(box.x), Math.round(box.y)];
  };
  // The pages are of one size, and scrolled alike. A pointer that rests is taken away after a while: it comes again.
  const points = (x: number, y: number) =>
    expect.poll(async () => (await his.mouse.move(x - 1, y), await his.mouse.move(x, y), place()), { interval: 200 }).toEqual([x, y]);
  await points(310, 300);
  expect(await pointer.count()).toBe(1);
  await points(200, 400);
  expect(await page.evaluate(() => document.elementFromPoint(200, 400)?.closest(".pointers"))).toBe(null);
  await his.mouse.move(200, 10);
  await pointer.waitFor({ state: "detached" });
  expect(await redrawn()).toEqual([]);

  await his.getByRole("button", { name: "Add a card" }).first().click();
  const typing = page.getByText("Bob is typing").waitFor(); // which is over after a while
  await his.getByRole("textbox", { name: "New card in To do" }).pressSequentially("Buy");
  await typing;

  await ada.share(made.id, bob, "viewer");
  await entry(his, "You may only look at this board now").waitFor();
});
