import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium, type Browser, type BrowserContext, type BrowserContextOptions, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, inject } from "vitest";
import type { BoardState, Change, Role } from "../../taskboard/src/types.js";
import { arguments_, patience } from "../world.js";

export const password = "correct horse battery";

/** Somebody with an account, and a browser of their own that is signed in. */
export interface Person {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly context: BrowserContext;
  /** Calls the server past the browser. Rejects where the answer is not 2xx. */
  call: <T = any>(method: string, path: string, body?: object) => Promise<T>;
  /** Opens the page, at a place such as `#/b/…`. It is closed after the test. */
  open: (hash?: string) => Promise<Page>;
  /** Makes a board, with cards by list; the lists are To do, Doing and Done. */
  board: (title: string, ...cards: string[][]) => Promise<BoardState>;
  state: (board: string) => Promise<BoardState>;
  share: (board: string, other: Person, role: Role) => Promise<Change>;
}

/** A task board that runs, and a browser. */
export interface Stage {
  readonly url: string;
  readonly browser: Browser;
  /** The process of the server. */
  readonly pid: number;
  /** Makes an account. Its browser lives as long as the test file. */
  person: (name: string, options?: BrowserContextOptions) => Promise<Person>;
  /** Another browser of the same person, with a session of its own. */
  again: (person: Person, options?: BrowserContextOptions) => Promise<Person>;
  /** A browser in which nobody is signed in. */
  stranger: (options?: BrowserContextOptions) => Promise<BrowserContext>;
  /** Ends the server at once. */
  kill: () => Promise<void>;
  /** Starts it again, at the same place with the same data. */
  start: () => Promise<void>;
}

/** Opens a task board and a browser for the tests of a file. `flags` are those of the program. */
export function stage(...flags: string[]): Stage {
  let server: ChildProcess | undefined;
  let url = "";
  let browser: Browser;
  let count = 0;
  let thrown: Error[] = [];
  const data = mkdtempSync(join(tmpdir(), "holdfast-board-"));
  const contexts: BrowserContext[] = [];

  const run = async (addr: string) => {
    const child = spawn(inject("taskboard"), ["-addr", addr, "-data", data, "-page", inject("taskboardPage"), ...flags], {
      stdio: ["ignore", "pipe", process.env["HOLDFAST_VERBOSE"] ? "inherit" : "ignore"],
    });
    server = child;
    return new Promise<string | undefined>((resolve) => {
      child.on("close", () => resolve(undefined));
      createInterface({ input: child.stdout! }).on("line", (line) => {
        const found = /http:\S+/.exec(line);
        if (found) resolve(found[0]);
      });
    });
  };
  const start = async () => {
    const addr = url ? new URL(url).host : "localhost:0";
    // While it was not there another program may have been given its port, for a while.
    for (let tries = 0; tries < (url ? 50 : 1); tries++) {
      const found = await run(addr);
      if (found) return void (url = found);
    }
    server = undefined;
    throw new Error("the task board has ended");
  };
  const kill = async () => {
    const child = server;
    server = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGKILL");
    await ended;
  };
  const stranger = async (options: BrowserContextOptions = {}) => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(patience);
    context.on("weberror", (e) => thrown.push(e.error()));
    contexts.push(context);
    return context;
  };
  const enter = async (path: string, name: string, email: string, options?: BrowserContextOptions): Promise<Person> => {
    const context = await stranger(options);
    const ask = () => context.request.post(url + path, { data: { email, name, password, mode: "cookie" }, headers: { Origin: url } });
    let answer = await ask();
    // All people come from one address, and a test that tries too often leaves little for those who come after it.
    for (let tries = 0; answer.status() === 429 && tries < 10; tries++) {
      const { retryAfter } = await answer.json();
      await new Promise((passed) => setTimeout(passed, retryAfter * 1000));
      answer = await ask();
    }
    if (!answer.ok()) throw new Error(`${path}: ${await answer.text()}`);
    const { user, accessToken } = await answer.json();
    let token: string = accessToken;
    const send = (method: string, path: string, body?: object) =>
      fetch(url + path, {
        method,
        headers: { Authorization: `Bearer ${token}`, ...(body && { "Content-Type": "application/json" }) },
        ...(body && { body: JSON.stringify(body) }),
      });
    const call = async <T,>(method: string, path: string, body?: object): Promise<T> => {
      let response = await send(method, path, body);
      if (response.status === 401) {
        const again = await send("POST", "/api/auth/sign-in", { email, password, mode: "token" });
        token = (await again.json()).accessToken;
        response = await send(method, path, body);
      }
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
      return response.json();
    };
    const state = (board: string) => call<BoardState>("GET", `/api/boards/${board}`);
    return {
      id: user.id, name, email, context, call, state,
      async open(hash = "") {
        const page = await context.newPage();
        await page.goto(`${url}/${hash}`);
        return page;
      },
      async board(title, ...cards) {
        const { id } = await call<{ id: string }>("POST", "/api/boards", { title });
        const { lists } = await state(id);
        for (const [at, titles] of cards.entries())
          for (const title of titles) await call("POST", `/api/boards/${id}/cards`, { list: lists[at]!.id, title });
        return state(id);
      },
      share: (board, other, role) => call("POST", `/api/boards/${board}/members`, { email: other.email, role }),
    };
  };

  beforeAll(async () => {
    await start();
    browser = await chromium.launch({ executablePath: inject("chromium"), args: arguments_ });
  });
  afterEach(async () => {
    await Promise.all(contexts.flatMap((c) => [c.setOffline(false), ...c.pages().map((p) => p.close())]));
    const uncaught = thrown;
    thrown = [];
    if (!server) {
      url = ""; // it need not be where it was
      await start();
    }
    expect(uncaught, "uncaught errors in pages").toEqual([]);
  });
  afterAll(async () => {
    await browser?.close();
    await kill();
    rmSync(data, { recursive: true, force: true });
  });
  return {
    get url() {
      return url;
    },
    get browser() {
      return browser;
    },
    get pid() {
      return server!.pid!;
    },
    person: (name, options) => enter("/api/auth/sign-up", name, `${name.toLowerCase()}${++count}@example.com`, options),
    again: ({ name, email }, options) => enter("/api/auth/sign-in", name, email, options),
    stranger,
    kill,
    start,
  };
}

/** Has a page connect again at once: its next attempt may be half a minute away, and one that runs may be in vain. */
export const live = (page: Page) =>
  expect
    .poll(
      async () => {
        await page.evaluate(() => void dispatchEvent(new Event("online")));
        return page.getByRole("button", { name: "Connection: Live. Why?" }).count();
      },
      { interval: 500 },
    )
    .toBe(1);

/** The network of a browser, which a test takes away. */
export interface Network {
  /** Everything: calls fail and the connection ends. `socket`: the realtime connection alone. */
  cut: (what: "everything" | "socket") => Promise<void>;
  mend: () => Promise<void>;
}

/** Takes a browser's network in hand. What an offline browser has open stays open, so connections are ended here. */
export async function networkOf(context: BrowserContext): Promise<Network> {
  let up = true;
  const open = new Set<{ close: () => Promise<void> }>();
  await context.routeWebSocket(/\/socket\.io\//, (ws) => {
    if (!up) return void ws.close();
    ws.connectToServer();
    open.add(ws);
  });
  await context.route(/\/socket\.io\//, (route) => (up ? route.fallback() : route.abort()));
  return {
    async cut(what) {
      up = false;
      await context.setOffline(what === "everything");
      await Promise.all([...open].map((ws) => ws.close()));
      open.clear();
    },
    async mend() {
      up = true;
      await context.setOffline(false);
    },
  };
}
