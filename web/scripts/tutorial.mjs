// Looks at the page of docs/tutorial.md in Chromium, for the test in
// examples/tutorial, which does the rest of what is written there. Takes lines
// {"see","url","board"}, and answers each by {} or {"error"}. HOLDFAST_PICTURES
// names a folder for pictures.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const options = { executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: process.getuid?.() === 0 ? ["--no-sandbox"] : [] };
const password = "correct horse battery";
const browser = await chromium.launch(options);
const thrown = [];
const people = {};

/** Two windows, of which one is private: two profiles. */
async function window_(name) {
  const context = await browser.newContext();
  context.setDefaultTimeout(30_000);
  context.on("weberror", (event) => thrown.push(event.error().message));
  return (people[name] = await context.newPage());
}

async function signIn(page, email) {
  await page.fill("[name=email]", email);
  await page.fill("[name=password]", password);
  await page.click("text=Sign in");
}

const add = async (page, title) => {
  await page.fill("[name=title]", title);
  await page.click("text=Add");
  // React empties the form a moment later, with what is typed by then.
  await page.waitForFunction(() => document.querySelector("#root [name=title]")?.value === "");
};
const item = (page, title) => page.locator("li", { hasText: title });
const list = (page, name) => page.getByRole("region", { name, exact: true });
const state = (page, text) => page.locator("#state", { hasText: new RegExp(`^${text}$`) }).waitFor();

function must(is, what) {
  if (!is) throw new Error(what);
}

/** The connection that the page says it has. */
async function connectionOf(page) {
  const line = page.locator("#token", { hasText: /on connection \S/ });
  return /connection (\S+)/.exec(await line.textContent())[1];
}

let connection;

const seen = {
  async plain(url) {
    for (const name of ["ada", "bob"]) {
      const page = await window_(name);
      await page.goto(url);
      await signIn(page, `${name}@example.com`);
      await page.getByRole("heading", { name: "Release" }).waitFor();
      await item(page, "Write it down").waitFor();
    }
    await people.ada.fill("[name=title]", "From the page");
    await people.ada.click("text=Add");
    await item(people.bob, "From the page").waitFor();
  },

  async react() {
    const { ada, bob } = people;
    for (const page of [ada, bob]) {
      await page.reload();
      await item(list(page, "todo"), "From the page").waitFor();
      await state(page, "connected");
    }
    await item(ada, "From the page").getByRole("button", { name: "doing" }).click();
    await item(list(bob, "doing"), "From the page").waitFor();
    await add(bob, "A mistake");
    await item(ada, "A mistake").getByRole("button", { name: "delete" }).click();
    await item(bob, "A mistake").waitFor({ state: "detached" });
    await bob.click("text=Boards");
    await bob.click("text=Release");
    await item(list(bob, "doing"), "From the page").waitFor();
  },

  async queue() {
    for (const page of Object.values(people)) {
      await page.reload();
      await state(page, "connected");
      await page.getByRole("heading", { name: "Release" }).waitFor();
    }
  },

  // The server is stopped.
  async offline() {
    const { ada } = people;
    for (const title of ["One", "Two", "Three"]) await add(ada, title);
    await ada.getByText("3 to be sent").waitFor();
    must((await ada.locator("li.pending").count()) === 3, "three cards are pending");
  },

  async online() {
    const { ada, bob } = people;
    for (const page of [ada, bob]) {
      await page.evaluate(() => dispatchEvent(new Event("online"))); // saves the pause between two attempts
      for (const title of ["One", "Two", "Three"]) await item(list(page, "todo"), title).waitFor();
      await page.locator("li.pending").first().waitFor({ state: "detached" });
      const titles = await list(page, "todo").locator("li").allTextContents();
      must(titles.filter((title) => /^(One|Two|Three)/.test(title)).length === 3, `each is there once: ${titles}`);
    }
  },

  async who() {
    const { ada, bob } = people;
    for (const page of [ada, bob]) {
      await page.reload();
      await page.locator("#who", { hasText: /Ada/ }).waitFor();
      await page.locator("#who", { hasText: /bob/ }).waitFor();
    }
    await ada.locator("[name=title]").pressSequentially("Hm");
    await bob.locator("#who em", { hasText: "Ada typing" }).waitFor();
  },

  // Tokens are good for 5 s.
  async renewed() {
    const { ada, bob } = people;
    for (const page of [ada, bob]) {
      await page.reload();
      await state(page, "connected");
    }
    connection = await connectionOf(ada);
  },

  async ended() {
    const { ada, bob } = people;
    await bob.getByText("You are not on this board").waitFor();
    await state(bob, "connected");
    await bob.click("text=Sign out");
    await signIn(bob, "ada@example.com");
    await bob.getByRole("heading", { name: "Release" }).waitFor();
    await ada.click("text=Devices");
    await ada.locator("footer li", { hasText: "Mozilla" }).getByRole("button", { name: "End" }).first().click();
    await bob.locator("[name=email]").waitFor();
    await state(ada, "connected");
    await ada.locator("#token", { hasText: /renewed [1-9]/ }).waitFor();
    must((await connectionOf(ada)) === connection, "the connection stays the same");
  },

  async bot() {
    const { ada } = people;
    await item(ada, "Ship it").getByRole("button", { name: "done" }).click();
    await item(list(ada, "todo"), "Review: Ship it").waitFor();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { see, url, board } = JSON.parse(line);
  let answer = {};
  try {
    await seen[see](`${url}/#${board}`);
    must(thrown.length === 0, `thrown in a page: ${thrown}`);
  } catch (error) {
    const shown = await Promise.all(Object.entries(people).map(async ([name, page]) => `${name} sees: ${await page.locator("body").innerText().catch(() => "")}`));
    answer = { error: `${error.stack}\n${shown.join("\n")}` };
  }
  if (process.env.HOLDFAST_PICTURES) for (const [name, page] of Object.entries(people)) await page.screenshot({ path: `${process.env.HOLDFAST_PICTURES}/${see}-${name}.png` });
  console.log(JSON.stringify(answer));
}
await browser.close();
