import { IDBFactory } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Channel, Platform } from "../../src/platform.js";
import type { QueueConfig, SocketConfig } from "../../src/types.js";
import { newId } from "../../src/queue/id.js";
import { client, no, ok, Server, Session } from "../socket/fake.js";

const real = { setImmediate, setTimeout };

// fake-indexeddb runs on setImmediate, which stays real.
beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] }));
afterEach(() => void vi.useRealTimers());

async function settle(): Promise<void> {
  await vi.dynamicImportSettled();
  for (let i = 0; i < 30; i++) {
    await vi.advanceTimersByTimeAsync(0);
    await new Promise((r) => real.setImmediate(r));
  }
}
async function advance(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 500) {
    await vi.advanceTimersByTimeAsync(Math.min(left, 500));
    await settle();
  }
}

/** What tabs share: a database, channels and locks. */
class Browser {
  indexedDB = new IDBFactory();
  channels: (Channel & { name: string })[] = [];
  held = new Map<string, Promise<unknown>>();
  platform(locks = true, bus = true): Platform {
    // eslint-disable-next-line @typescript-eslint/no-this-alias
    const browser = this;
    class Bus implements Channel {
      onmessage: any = null;
      name: string;
      constructor(name: string) {
        this.name = name;
        browser.channels.push(this);
      }
      postMessage(data: unknown) {
        for (const c of browser.channels)
          if (c !== this && c.name === this.name) queueMicrotask(() => c.onmessage?.({ data: structuredClone(data) }));
      }
      close() {}
    }
    return {
      indexedDB: this.indexedDB,
      BroadcastChannel: bus ? Bus : (class { postMessage() {} close() {} onmessage = null } as any), // prettier-ignore
      ...(locks && {
        locks: {
          request: async (name: string, { signal }: any, run: any) => {
            const before = this.held.get(name);
            const mine = (async () => {
              await before;
              if (signal?.aborted) throw signal.reason;
              return run({});
            })();
            this.held.set(name, mine.catch(() => {}));
            return mine;
          },
        },
      }),
    };
  }
}

const BIG: QueueConfig = {};
function tab(queue: boolean | QueueConfig = BIG, more: { browser?: Browser; locks?: boolean; config?: SocketConfig; source?: any } = {}) {
  const browser = more.browser ?? new Browser();
  return { browser, ...client({ queue, ...more.config }, { source: more.source ?? new Session("ann"), platform: browser.platform(more.locks) }) };
}
const dataOf = (server: Server, event: string) => server.events.filter((e) => e[0] === event).map((e) => e[1]);
const idsOf = (server: Server) => server.events.map((e) => e.at(-1)?.$hf?.id);

describe.each(["indexedDB", "memory"] as const)("%s", (storage) => {
  it("L60 emits while offline are kept, in order, with ids; L61 sent in order, one at a time, removed on ack", async () => {
    const { server, socket } = tab({ storage });
    let told = 0;
    socket.subscribeQueue(() => told++);
    for (let i = 0; i < 3; i++) await socket.emit("add", i);
    const items = socket.queued;
    expect(items.map((i) => [i.event, i.args, i.user, i.namespace])).toEqual([0, 1, 2].map((i) => ["add", [i], "ann", "/"]));
    expect(items.every((i) => /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(i.id))).toBe(true);
    expect(told).toBe(3);
    expect(socket.queued).toBe(items);
    let release: () => void = () => {};
    server.answers.add = (_d, _a, peer) => void (release = () => peer.send(3, [ok(1)], server.events.length - 1));
    void socket.connect();
    await settle();
    expect(dataOf(server, "add")).toEqual([0]);
    expect(socket.queued.length).toBe(3);
    release();
    await settle();
    expect(dataOf(server, "add")).toEqual([0, 1]);
    expect(socket.queued.length).toBe(2);
    release();
    await settle();
    release();
    await settle();
    expect([dataOf(server, "add"), socket.queued]).toEqual([[0, 1, 2], []]);
    expect(idsOf(server)).toEqual(items.map((i) => i.id));
  });

  it("L62 the connection drops between send and ack: the same id", async () => {
    const { server, socket } = tab({ storage });
    void socket.connect();
    await settle();
    server.answers.add = () => undefined;
    const ack = socket.emitAck("add", 1);
    await settle();
    server.peer.close(1006);
    server.answers.add = () => ok("done");
    await advance(1500);
    expect(await ack).toBe("done");
    const [a, b] = idsOf(server);
    expect([a === b, server.events.length, socket.queued.length]).toEqual([true, 2, 0]);
  });

  it("L64 full: an error, or the oldest are dropped and named", async () => {
    const full = tab({ storage, maxItems: 2 });
    await full.socket.emit("add", 1);
    await full.socket.emit("add", 2);
    await expect(full.socket.emit("add", 3)).rejects.toMatchObject({ code: "QUEUE_FULL" });
    expect(full.socket.queued.length).toBe(2);
    const big = tab({ storage, maxBytes: 100 });
    await big.socket.emit("add", "x".repeat(60));
    await expect(big.socket.emit("add", "x".repeat(60))).rejects.toMatchObject({ code: "QUEUE_FULL" });
    await expect(big.socket.emit("add", "x".repeat(200))).rejects.toMatchObject({ code: "QUEUE_FULL" });
    const dropped: unknown[] = [];
    const drop = tab({ storage, maxItems: 2, dropOldest: true, onDropped: (i) => dropped.push(i.args[0]) });
    const first = drop.socket.emitAck("add", 1);
    first.catch(() => {});
    for (const n of [2, 3, 4]) await drop.socket.emit("add", n);
    expect([dropped, drop.socket.queued.map((i) => i.args[0])]).toEqual([[1, 2], [3, 4]]);
    await expect(first).rejects.toMatchObject({ code: "QUEUE_FULL" });
  });

  it("L65 refused for good: to the dead, and those behind it go on", async () => {
    const { server, socket } = tab({ storage });
    const dead: unknown[] = [];
    socket.onDead((d) => dead.push([d.item.args[0], d.error.code]));
    server.answers.add = (d) => (d === 2 ? no("FORBIDDEN") : ok({}));
    for (const n of [1, 2, 3]) await socket.emit("add", n);
    const answer = socket.emitAck("add", 2);
    answer.catch(() => {});
    void socket.connect();
    await settle();
    await expect(answer).rejects.toMatchObject({ code: "FORBIDDEN" });
    expect(dataOf(server, "add")).toEqual([1, 2, 3, 2]);
    expect(dead).toEqual([[2, "FORBIDDEN"], [2, "FORBIDDEN"]]);
    expect(socket.dead.map((d) => [d.item.event, d.error.code])).toEqual([["add", "FORBIDDEN"], ["add", "FORBIDDEN"]]);
    expect(socket.queued).toEqual([]);
  });

  it("L65 what is too large for the server, or refused by a code that nobody knows, is dead", async () => {
    const { server, socket } = tab({ storage });
    server.handshake.maxPayload = 200;
    server.answers.odd = () => no("ODD");
    await socket.emit("add", "x".repeat(300));
    await socket.emit("odd");
    void socket.connect();
    await settle();
    expect(socket.dead.map((d) => d.error.code)).toEqual(["MESSAGE_TOO_LARGE", "ODD"]);
  });

  it("refused for the time being: the same again, after a while; those behind it wait", async () => {
    const { server, socket } = tab({ storage });
    let n = 0;
    server.answers.add = (d) => (d === 1 && n++ < 2 ? no("RATE_LIMITED", { retryAfter: 1 }) : ok({}));
    await socket.emit("add", 1);
    await socket.emit("add", 2);
    void socket.connect();
    await settle();
    expect(dataOf(server, "add")).toEqual([1]);
    await advance(6000);
    expect(dataOf(server, "add")).toEqual([1, 1, 1, 2]);
    expect(socket.queued).toEqual([]);
  });

  it("L66 aborted before it was sent: withdrawn; afterwards the queue goes on", async () => {
    const { server, socket } = tab({ storage });
    const a = new AbortController();
    const gone = socket.emitAck("add", 1, { signal: a.signal });
    gone.catch(() => {});
    await settle();
    a.abort();
    await expect(gone).rejects.toMatchObject({ code: "CANCELED" });
    await settle();
    expect(socket.queued).toEqual([]);
    void socket.connect();
    await settle();
    server.answers.add = () => undefined;
    const b = new AbortController();
    const late = socket.emitAck("add", 2, { signal: b.signal });
    late.catch(() => {});
    await settle();
    b.abort();
    await expect(late).rejects.toMatchObject({ code: "CANCELED" });
    expect(socket.queued.length).toBe(1);
    await expect(socket.emit("add", 3, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "CANCELED" });
    expect(dataOf(server, "add")).toEqual([2]);
  });

  it("the timeout of an ack counts from when it is sent; the event stays", async () => {
    const { server, socket } = tab({ storage });
    const ack = socket.emitAck("add", 1, { timeout: 1000 });
    let error: any;
    ack.catch((e) => (error = e));
    await advance(5000);
    expect(error).toBe(undefined);
    server.answers.add = () => undefined;
    void socket.connect();
    await settle();
    await advance(1500);
    expect([error?.code, socket.queued.length]).toEqual(["TIMEOUT", 1]);
  });

  it("L49 nothing of one is sent as another", async () => {
    const { server, socket, session } = tab({ storage });
    await socket.emit("add", "of ann");
    session.signIn("bob");
    await socket.emit("add", "of bob");
    void socket.connect();
    await settle();
    expect(dataOf(server, "add")).toEqual(["of bob"]);
    expect(socket.queued.map((i) => i.user)).toEqual(["ann"]);
    session.signIn("ann");
    await advance(3000);
    expect(dataOf(server, "add")).toEqual(["of bob", "of ann"]);
    session.user = undefined;
    await expect(socket.emit("add", 1)).rejects.toMatchObject({ code: "SIGNED_OUT" });
  });

  it("a plain server: at least once, with three tries", async () => {
    const { server, socket } = tab({ storage }, { config: { ackTimeout: 1000 } });
    server.session = undefined;
    server.answers.never = () => undefined;
    await socket.emit("never", 1);
    await socket.emit("add", 2);
    void socket.connect();
    await advance(15000);
    expect(server.events.map((e) => e.slice(0, 2))).toEqual([["never", 1], ["never", 1], ["never", 1], ["add", 2]]);
    expect(idsOf(server)).toEqual([undefined, undefined, undefined, undefined]);
    expect(socket.dead.map((d) => d.item.event)).toEqual(["never"]);
  });

  it("bytes, and what is changed after emit", async () => {
    const { server, socket } = tab({ storage });
    const data = { n: 1, bytes: new Uint8Array([1, 2]), blob: new Blob(["abc"]) };
    const kept = socket.emit("add", data);
    const after = socket.emit("add", 2);
    data.n = 9;
    await kept;
    await after;
    void socket.connect();
    await settle();
    const [first, second] = dataOf(server, "add");
    expect([first.n, [...new Uint8Array(first.bytes)], new TextDecoder().decode(first.blob), second]).toEqual([1, [1, 2], "abc", 2]);
  });

  it("whose it is where the source does not say: the token, the server; else nobody knows", async () => {
    const jwt = `x.${btoa(JSON.stringify({ sub: "ann" }))}.y`;
    const source = { getAccessToken: async () => jwt, refused: async () => {} };
    const a = tab({ storage }, { source });
    await a.socket.emit("add", 1);
    expect(a.socket.queued[0]!.user).toBe("ann");
    const b = client({ queue: { storage: "memory" } }, { source: undefined });
    await expect(b.socket.emit("add", 1)).rejects.toMatchObject({ code: "NOT_CONNECTED" });
    b.server.userOf = () => ({ id: "bob" });
    void b.socket.connect();
    await settle();
    expect(b.socket.queued).toEqual([]);
    b.server.answers.add = () => undefined;
    await b.socket.emit("add", 1);
    expect(b.socket.queued[0]!.user).toBe("bob");
  });

  it("volatile goes past it", async () => {
    const { server, socket } = tab({ storage });
    await socket.emit("cursor", 1, { volatile: true });
    await expect(socket.emitAck("cursor", 1, { volatile: true })).rejects.toMatchObject({ code: "NOT_CONNECTED" });
    void socket.connect();
    await settle();
    await socket.emit("cursor", 2, { volatile: true });
    expect(server.events).toEqual([["cursor", 2]]);
  });

  it("close: nobody waits any more", async () => {
    const { socket } = tab({ storage });
    const ack = socket.emitAck("add", 1);
    ack.catch(() => {});
    await settle();
    socket.close();
    await expect(ack).rejects.toMatchObject({ code: "CLOSED" });
    await settle();
    expect(socket.queued).toEqual([]);
  });
});

describe("tabs", () => {
  it.each([
    ["with Web Locks", true],
    ["with leases", false],
  ])("L67 each item is sent by one, %s", async (_name, locks) => {
    const browser = new Browser();
    const a = tab(true, { browser, locks });
    const b = tab(true, { browser, locks });
    for (let i = 0; i < 4; i++) await [a, b][i % 2]!.socket.emit("add", i);
    void a.socket.connect();
    await settle();
    void b.socket.connect();
    await settle();
    await a.socket.emit("add", 4);
    await b.socket.emit("add", 5);
    const ack = b.socket.emitAck("echo", "by b");
    await advance(5000);
    const all = [...dataOf(a.server, "add"), ...dataOf(b.server, "add")];
    expect(all).toEqual([0, 1, 2, 3, 4, 5]);
    expect(dataOf(b.server, "add")).toEqual([]);
    expect(await ack).toBe("by b");
    a.socket.close(); // the other takes over
    await b.socket.emit("add", 6);
    await advance(20000);
    expect(dataOf(b.server, "add")).toEqual([6]);
    expect([a.socket.queued, b.socket.queued]).toEqual([[], []]);
  });

  it("L67 an event that another tab keeps is seen, and sent", async () => {
    const browser = new Browser();
    const a = tab(true, { browser });
    const b = tab(true, { browser });
    void a.socket.connect();
    b.socket.subscribeQueue(() => {});
    await settle();
    await b.socket.emit("add", 1);
    await settle();
    expect([dataOf(a.server, "add"), a.socket.queued, b.socket.queued]).toEqual([[1], [], []]);
  });

  it("L63 whoever subscribes without a connection is told of what was kept before", async () => {
    const browser = new Browser();
    const a = tab(true, { browser });
    await a.socket.emit("add", 1);
    browser.channels.length = 0;
    const b = tab(true, { browser });
    const seen: unknown[] = [];
    b.socket.subscribeQueue(() => seen.push(b.socket.queued.map((i) => i.args)));
    await settle();
    expect(seen.at(-1)).toEqual([[1]]);
  });

  it("L63 a page that ends: the next one has what was kept", async () => {
    const browser = new Browser();
    const a = tab(true, { browser });
    await a.socket.emit("add", { n: 1, b: new Uint8Array([7]) });
    const { id } = a.socket.queued[0]!;
    browser.channels.length = 0;
    const b = tab(true, { browser });
    void b.socket.connect();
    await settle();
    const [sent] = dataOf(b.server, "add");
    expect([sent.n, [...new Uint8Array(sent.b)], idsOf(b.server)]).toEqual([1, [7], [id]]);
  });
});

describe("IndexedDB that fails", () => {
  it.each([
    ["throws", { open: () => { throw new DOMException("blocked", "SecurityError"); } }], // prettier-ignore
    ["fails", { open: () => { const r: any = { error: new Error("no") }; queueMicrotask(() => r.onerror()); return r; } }], // prettier-ignore
    ["hangs", { open: () => ({}) }],
  ])("%s: memory goes on, and it is told once", async (_name, indexedDB) => {
    const uncaught: unknown[] = [];
    const spy = vi.spyOn(globalThis, "queueMicrotask").mockImplementation((fn) => {
      void Promise.resolve().then(() => {
        try {
          fn();
        } catch (e) {
          uncaught.push(e);
        }
      });
    });
    const { server, socket } = client({ queue: true }, { platform: { indexedDB: indexedDB as any } });
    const kept = Promise.all([socket.emit("add", 1), socket.emit("add", 2)]);
    await advance(7500); // it is waited for 7 s
    await kept;
    void socket.connect();
    await settle();
    spy.mockRestore();
    expect(dataOf(server, "add")).toEqual([1, 2]);
    expect(uncaught.length).toBe(1);
  });

  it("a quota that ends later: what is known goes on in memory", async () => {
    const uncaught: unknown[] = [];
    const browser = new Browser();
    const { server, socket } = tab(true, { browser });
    await socket.emit("add", 1);
    const spy = vi.spyOn(globalThis, "queueMicrotask").mockImplementation((fn) => {
      void Promise.resolve().then(() => {
        try {
          fn();
        } catch (e) {
          uncaught.push(e);
        }
      });
    });
    const db = await new Promise<any>((r) => {
      const open = browser.indexedDB.open("holdfast");
      open.onsuccess = () => r(open.result);
    });
    const put = vi.spyOn(Object.getPrototypeOf(db.transaction("q").objectStore("q")), "put").mockImplementation(() => {
      throw new DOMException("full", "QuotaExceededError");
    });
    await socket.emit("add", 2);
    await socket.emit("add", 3);
    void socket.connect();
    await settle();
    put.mockRestore();
    spy.mockRestore();
    expect(dataOf(server, "add")).toEqual([1, 2, 3]);
    expect(uncaught.length).toBe(1);
  });
});

it("ids sort by time", () => {
  expect(newId(0).slice(0, 10)).toBe("0000000000");
  expect(newId(1469918176385).slice(0, 10)).toBe("01ARYZ6S41");
  expect(new Set(Array.from({ length: 1000 }, () => newId(5))).size).toBe(1000);
});
