import { IDBFactory } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Channel } from "../../src/platform.js";
import { client, type Server } from "../socket/fake.js";

const real = { setImmediate };
beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] }));
afterEach(() => {
  vi.useRealTimers();
  open.length = 0;
});

async function settle(ms = 0): Promise<void> {
  await vi.dynamicImportSettled();
  for (let i = 0; i < 40; i++) {
    await vi.advanceTimersByTimeAsync(ms / 40);
    await new Promise((r) => real.setImmediate(r));
  }
}

const open: { name: string }[] = [];
class Bus implements Channel {
  onmessage: any = null;
  name: string;
  constructor(name: string) {
    open.push(this);
    this.name = name;
  }
  postMessage() {}
  close() {
    if (open.includes(this)) open.splice(open.indexOf(this), 1);
  }
}

/** Puts a state into the database, as another script would. */
async function put(indexedDB: IDBFactory, state: unknown, version = 1): Promise<void> {
  const db = await new Promise<any>((resolve) => {
    const r = indexedDB.open("holdfast", version);
    r.onupgradeneeded = () => r.result.createObjectStore("q");
    r.onsuccess = () => resolve(r.result);
  });
  db.transaction("q", "readwrite").objectStore("q").put(state, "state");
  db.close();
}

function tab(indexedDB: IDBFactory, locks?: any) {
  return client({ queue: true }, { source: undefined, platform: { indexedDB, BroadcastChannel: Bus, ...(locks && { locks }) } });
}
const sent = (server: Server) => server.events.map((e) => e[0]);
const item = (id: string, more = {}) => ({ id, user: "nobody", namespace: "/", event: "x", args: [1], createdAt: 1, bytes: 5, ...more });

describe("what the database holds is forged", () => {
  it.each([
    ["no object", 5],
    ["no lists", { items: "x", dead: 5, leases: null }],
    ["an item that is none", { items: [null, item("a")], dead: [], leases: {} }],
    ["an item without arguments", { items: [item("a", { args: undefined }), item("b")], dead: [], leases: {} }],
    ["an item whose event is none", { items: [item("a", { event: {} }), item("b")], dead: [], leases: {} }],
    ["an item without a size", { items: [item("a", { bytes: "1" }), item("b", { bytes: NaN })], dead: [], leases: {} }],
    ["something dead that is none", { items: [], dead: [null, { item: null }, { code: 5 }], leases: {} }],
  ])("%s: what is emitted now is sent, and kept", async (_, state) => {
    const indexedDB = new IDBFactory();
    await put(indexedDB, state);
    const { socket, server } = tab(indexedDB);
    await socket.connect();
    await settle(100);
    const done = socket.emit("mine", 1);
    await settle(2000);
    await done;
    expect(sent(server)).toContain("mine");
    expect([socket.queued, socket.dead.length]).toEqual([[], 0]);
    socket.close();
  });

  it("a newer version: memory goes on", async () => {
    const indexedDB = new IDBFactory();
    await put(indexedDB, { all: "new" }, 2);
    const { socket, server } = tab(indexedDB);
    const reports: unknown[] = [];
    const on = (e: unknown) => void reports.push(e);
    process.on("uncaughtException", on);
    try {
      await socket.connect();
      void socket.emit("mine", 1);
      await settle(2000);
    } finally {
      process.off("uncaughtException", on);
    }
    expect([sent(server), reports.length]).toEqual([["mine"], 1]);
    socket.close();
  });
});

describe("close leaves nothing", () => {
  it.each([true, false])("after an ack, locks: %s", async (locks) => {
    const { socket } = tab(new IDBFactory(), locks ? { request: (_n: string, _o: any, run: any) => run({}) } : undefined);
    await socket.connect();
    await settle();
    const ack = socket.emitAck("echo", 1);
    await settle(1200);
    expect(await ack).toBe(1);
    const waiting = socket.emitAck("late", 1, { timeout: 9000 });
    waiting.catch(() => {});
    socket.close();
    await settle();
    expect([vi.getTimerCount(), open]).toEqual([0, []]);
    await socket.connect();
    await settle();
    const again = socket.emitAck("echo", 2);
    await settle(1200);
    expect([await again, open.length]).toEqual([2, 1]);
    socket.close();
    await settle();
    expect([vi.getTimerCount(), open]).toEqual([0, []]);
  });
});
