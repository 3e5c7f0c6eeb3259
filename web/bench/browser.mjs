// A Chromium, spoken to by the DevTools protocol alone: Playwright has each
// WebSocket frame of a page told to it, which costs the page more than the
// clients that are compared here do, and would make them look alike.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket } from "ws";

const flags = [
  "--headless=new", "--remote-debugging-port=0", "--enable-precise-memory-info", "--no-first-run", "--disable-gpu",
  "--disable-extensions", "--disable-component-update", "--disable-background-networking", "--disable-sync",
  "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-dev-shm-usage", "--mute-audio",
];

/** Starts the one in $CHROMIUM, or `chromium`. */
export async function startBrowser() {
  const place = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
  const root = process.getuid?.() === 0 ? ["--no-sandbox"] : []; // it won't start otherwise
  const child = spawn(process.env.CHROMIUM ?? "chromium", [...flags, ...root, `--user-data-dir=${place}`, "about:blank"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise((resolve) => child.once("close", resolve));
  const address = await new Promise((resolve, reject) => {
    let log = "";
    child.once("error", reject);
    void ended.then(() => reject(new Error(`chromium ended: ${log}`)));
    child.stderr.on("data", (chunk) => {
      log = (log + chunk).slice(-10_000);
      const found = /DevTools listening on (\S+)/.exec(log);
      if (found) resolve(found[1]);
    });
  });
  const call = await connect(address);
  return {
    version: (await call("Browser.getVersion")).product,
    page: (url) => openPage(call, url),
    async close() {
      await call("Browser.close").catch(() => {});
      await ended;
      rmSync(place, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}

/** Resolves with `call(method, params, sessionId)`, and `call.event` beside it. */
async function connect(address) {
  const ws = new WebSocket(address, { perMessageDeflate: false });
  await new Promise((resolve, reject) => ws.once("open", resolve).once("error", reject));
  const waiting = new Map();
  const events = new Map();
  let next = 1;
  const fail = () => {
    for (const { reject } of waiting.values()) reject(new Error("chromium is gone"));
    waiting.clear();
  };
  ws.on("close", fail).on("error", fail);
  ws.on("message", (text) => {
    const { id, result, error, method, sessionId } = JSON.parse(text);
    if (method) return events.get(method + sessionId)?.();
    const call = waiting.get(id);
    if (!call) return;
    waiting.delete(id);
    if (error) call.reject(new Error(`${call.method}: ${error.message}`));
    else call.resolve(result);
  });
  const call = (method, params = {}, sessionId) =>
    new Promise((resolve, reject) => {
      const id = next++;
      waiting.set(id, { method, resolve, reject });
      ws.send(JSON.stringify({ id, method, params, ...(sessionId && { sessionId }) }));
    });
  /** Resolves at the next event of that name. */
  call.event = (name, sessionId) => new Promise((resolve) => events.set(name + sessionId, resolve));
  return call;
}

/** A page of its own renderer and storage. */
async function openPage(call, url) {
  const { browserContextId } = await call("Target.createBrowserContext");
  const { targetId } = await call("Target.createTarget", { url: "about:blank", browserContextId });
  const { sessionId } = await call("Target.attachToTarget", { targetId, flatten: true });
  const session = (method, params) => call(method, params, sessionId);
  // Of the thread, not of the wall: what else runs on the machine does not count.
  await session("Performance.enable", { timeDomain: "threadTicks" });
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await session("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  await session("Page.enable");
  const loaded = call.event("Page.loadEventFired", sessionId);
  await session("Page.navigate", { url });
  await loaded; // modules have run by then
  await session("Page.disable");
  return {
    evaluate,
    session,
    /** CPU milliseconds of the main thread so far: of all its tasks, and of scripts in them. */
    async cpu() {
      const { metrics } = await session("Performance.getMetrics");
      const of = (name) => metrics.find((m) => m.name === name).value * 1000;
      return { tasks: of("TaskDuration"), scripts: of("ScriptDuration") };
    },
    /** Bytes of the JavaScript heap that are in use once what is garbage has gone. */
    async heap() {
      for (let i = 0; i < 2; i++) await session("HeapProfiler.collectGarbage");
      return (await session("Runtime.getHeapUsage")).usedSize;
    },
    close: () => call("Target.disposeBrowserContext", { browserContextId }),
  };
}
