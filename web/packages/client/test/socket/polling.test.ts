import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createSocket } from "../../src/socket/socket.js";
import { Session } from "./fake.js";

const real = { setImmediate };
beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] }));
afterEach(() => void vi.useRealTimers());

async function advance(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
  await vi.dynamicImportSettled(); // of polling's code, which timers know nothing of
  for (let i = 0; i < 50; i++) {
    await new Promise((r) => real.setImmediate(r));
    await vi.advanceTimersByTimeAsync(0);
  }
}

/** A network in which no WebSocket can be opened, and a server that answers polls. */
function network() {
  const n = {
    tries: [] as string[],
    posts: [] as string[],
    redirects: new Set<string | undefined>(),
    waiting: undefined as ((packets: string) => void) | undefined,
    box: [] as string[],
    first: () => new Response('0{"sid":"s1","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100000}'),
    say(...packets: string[]) {
      n.box.push(...packets);
      n.waiting?.(n.box.splice(0).join("\x1e"));
    },
    lose() {
      n.waiting?.("1");
    },
  };
  class Blocked {
    onclose: any;
    constructor() {
      n.tries.push("websocket");
      queueMicrotask(() => this.onclose?.({ code: 1006, reason: "" }));
    }
    close() {}
  }
  const fetch = async (url: string, init: RequestInit): Promise<Response> => {
    n.redirects.add(init.redirect);
    const sid = new URL(url).searchParams.get("sid");
    if (init.method === "POST") {
      n.posts.push(init.body as string);
      if ((init.body as string).startsWith("40")) n.say('40{"sid":"x"}', '42["auth:session",{"connection":"c","user":{"id":"ann"},"features":[]}]');
      return new Response("ok");
    }
    if (!sid) {
      n.tries.push("polling");
      return n.first();
    }
    if (n.box.length) return new Response(n.box.splice(0).join("\x1e"));
    return new Promise((resolve, reject) => {
      n.waiting = (text) => ((n.waiting = undefined), resolve(new Response(text)));
      init.signal!.addEventListener("abort", () => reject(init.signal!.reason));
    });
  };
  const socket = createSocket<any>({
    url: () => "https://rt.example.com",
    config: {},
    source: new Session("ann"),
    platform: { WebSocket: Blocked as any, fetch: fetch as any, events: new EventTarget(), random: () => 0.5 },
    withCredentials: false,
  });
  return { n, socket };
}

it("polling is tried after two WebSockets, kept while it works, and a WebSocket again after a minute", async () => {
  const { n, socket } = network();
  void socket.connect();
  await advance(0);
  await advance(600);
  await advance(1100);
  expect([n.tries, socket.state.connected]).toEqual([["websocket", "websocket", "polling"], true]);
  expect(socket.state.transport).toBe("polling");
  n.tries.length = 0;
  n.lose(); // at once, so the wait goes on growing
  await advance(2100);
  expect([n.tries, socket.state.connected]).toEqual([["polling"], true]);
  for (let i = 0; i < 4; i++) {
    await advance(20_000);
    n.say("2");
    await advance(0);
  }
  expect(n.posts.filter((p) => p === "3").length).toBe(4);
  n.tries.length = 0;
  n.lose();
  await advance(600);
  await advance(1100);
  expect([n.tries, socket.state.connected]).toEqual([["websocket", "polling"], true]);
  socket.close();
  await advance(0);
  expect(n.posts.slice(-1)[0]!.split("\x1e").at(-1)).toBe("1");
});

it("L43 a refusal over polling says what it is; a page of a proxy is no answer for good once it has worked", async () => {
  const { n, socket } = network();
  n.first = () => Response.json({ error: "no", code: "ORIGIN_NOT_ALLOWED" }, { status: 403 });
  const done = socket.connect();
  done.catch(() => {});
  await advance(0);
  await advance(600);
  await advance(1100);
  await expect(done).rejects.toMatchObject({ code: "ORIGIN_NOT_ALLOWED", message: "no", final: true });

  const other = network();
  other.n.first = () => new Response("<html>", { status: 503, headers: { "Retry-After": "7" } });
  void other.socket.connect();
  await advance(0);
  await advance(600);
  await advance(1100);
  expect(other.socket.state).toMatchObject({ state: "connecting", error: { code: "GOING_AWAY", retryAfter: 7 } });
  await advance(6000);
  expect(other.n.tries).toEqual(["websocket", "websocket", "polling"]);
});

it("what carries a token is not redirected", async () => {
  const { n, socket } = network();
  socket.connect().catch(() => {});
  await advance(5000);
  expect(socket.state.connected).toBe(true);
  expect([...n.redirects]).toEqual(["error"]);
  socket.close();
  await advance(0);
});
