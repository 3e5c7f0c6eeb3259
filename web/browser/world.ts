import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, inject } from "vitest";
import type {} from "./pages/page.js";

/** A request that came to a server. */
export interface Seen {
  method: string;
  path: string;
  origin: string;
  cookie: boolean;
  status: number;
  code: string;
}

/** What has happened at the server that misbehaves. */
export interface State {
  added: any[];
  refreshes: number;
  signOuts: number;
  connections: number;
  requests: Seen[];
}

/** The servers (internal/browserstage says which). */
export interface Stage {
  trouble: string;
  accounts: string;
  other: string;
  /** Sends a command, and waits for its answer. */
  do: (command: string, more?: object) => Promise<any>;
  state: () => Promise<State>;
  close: () => Promise<void>;
}

/** What a test uses. Contexts, each a profile of its own, end with the test. */
export interface World {
  readonly stage: Stage;
  readonly browser: Browser;
  /** A new profile. `init` runs in each page before its own code. */
  profile: (...init: (() => void)[]) => Promise<BrowserContext>;
  /** Adds a profile that was made elsewhere. */
  adopt: (context: BrowserContext) => BrowserContext;
}

export const arguments_ = ["--no-sandbox", "--disable-dev-shm-usage"];

/** How long something in a page may take on a machine that is slow and busy, in milliseconds. */
export const patience = 60_000;

async function openStage(lifetime: string): Promise<Stage> {
  const child = spawn(inject("stage"), ["-pages", inject("pages"), "-lifetime", lifetime], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  const waiting: ((line: any) => void)[] = [];
  const answer = () => new Promise<any>((resolve) => waiting.push(resolve));
  const first = answer();
  createInterface({ input: child.stdout }).on("line", (line) => waiting.shift()!(JSON.parse(line)));
  void ended.then(() => waiting.forEach((tell) => tell({ ok: false, error: "browserstage has ended" })));
  const say = async (command: string, more: object = {}) => {
    const line = answer();
    child.stdin.write(`${JSON.stringify({ do: command, ...more })}\n`);
    const { ok, error, ...rest } = await line;
    if (!ok) throw new Error(`${command}: ${error}`);
    return rest;
  };
  return {
    ...(await first),
    do: say,
    state: () => say("state"),
    close: () => (child.stdin.end(), ended),
  };
}

/** Opens servers and a browser for the tests of a file. `lifetime` is that of access tokens. */
export function world(lifetime = "10m"): World {
  let stage: Stage;
  let browser: Browser;
  let profiles: BrowserContext[] = [];
  let thrown: Error[] = [];
  beforeAll(async () => {
    stage = await openStage(lifetime);
    browser = await chromium.launch({ executablePath: inject("chromium"), args: arguments_ });
  });
  afterEach(async () => {
    await Promise.all(profiles.map((p) => p.close()));
    const uncaught = thrown;
    [profiles, thrown] = [[], []];
    await stage.do("heal");
    await stage.do("start");
    expect(uncaught, "uncaught errors in pages").toEqual([]);
  });
  afterAll(async () => {
    await browser?.close();
    await stage?.close();
  });
  const adopt = (context: BrowserContext) => {
    profiles.push(context);
    context.setDefaultTimeout(patience);
    context.on("weberror", (e) => thrown.push(e.error()));
    return context;
  };
  return {
    get stage() {
      return stage;
    },
    get browser() {
      return browser;
    },
    adopt,
    async profile(...init) {
      const context = adopt(await browser.newContext());
      for (const script of init) await context.addInitScript(script);
      return context;
    },
  };
}

/** Opens a page in a profile, with the client in it. */
export async function tab(profile: BrowserContext, origin: string, name = ""): Promise<Page> {
  const page = await profile.newPage();
  await page.goto(`${origin}/pages/${name}`);
  return page;
}

/** Waits until something is so in a page. */
export async function until<A>(page: Page, is: (arg: A) => unknown, arg?: A): Promise<void> {
  await page.waitForFunction(is as any, arg as any, { polling: 20, timeout: patience });
}

/** Signs in at the server that misbehaves. */
export const signIn = (stage: Stage, user: string) => stage.do("signIn", { user });

// Browsers without them: scripts for a profile.
export const noLocks = () => Object.defineProperty(Navigator.prototype, "locks", { get: () => undefined });
export const noChannels = () => void delete (globalThis as any).BroadcastChannel;
