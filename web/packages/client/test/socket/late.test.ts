import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { advance, client, settle } from "./fake.js";

const immediate = setImmediate; // taken before it is faked

// The code of rooms as a page gets it: late, and not at the first try.
let load: () => Promise<void>;
let loads: number;

beforeEach(() => {
  vi.useFakeTimers();
  loads = 0;
  vi.resetModules();
  vi.doMock("../../src/socket/rooms.js", async (original) => {
    loads++;
    await load();
    return original();
  });
});
afterEach(() => {
  vi.doUnmock("../../src/socket/rooms.js");
  vi.useRealTimers();
});

/** Until it is so, whatever files are read meanwhile. */
const until = async (so: () => boolean) => {
  while (!so()) {
    await new Promise((resolve) => immediate(resolve));
    await settle();
  }
};

describe("rooms whose code comes late", () => {
  it("do then what they were asked for, in its order", async () => {
    let go!: () => void;
    load = () => new Promise((resolve) => (go = resolve));
    const { server, socket } = client();
    await socket.connect();
    const room = socket.join("r");
    const heard: unknown[] = [];
    room.on("note", (d) => heard.push(d));
    room.on("note", () => heard.push("taken back"))();
    const state = room.setPresence({ at: 1 });
    const left = socket.join("left");
    left.leave();
    expect([room.position, room.present]).toEqual([undefined, []]);
    await until(() => go !== undefined);
    expect(server.named("room:join")).toEqual([]);
    go();
    await until(() => server.named("room:join").length > 0);
    await state;
    expect(await room.joined).toEqual({ epoch: "e", offset: 0 });
    await expect(left.joined).rejects.toMatchObject({ code: "LEFT" });
    expect(server.named("presence:update")).toEqual([{ room: "r", data: { at: 1 } }]);
    server.peer.emit("note", 7, { room: "r", epoch: "e", offset: 1 });
    await settle();
    expect(heard).toEqual([7]);
    expect(room.position).toEqual({ epoch: "e", offset: 1 });
    room.leave();
    await settle();
    expect(server.named("room:leave").at(-1)).toEqual({ room: "r" });
    expect(loads).toBe(1);
  });

  it("are loaded again where that failed; a sign-in of somebody else drops what was joined before", async () => {
    let offline = true;
    load = async () => {
      if (offline) throw new Error("offline");
    };
    const { server, socket, session } = client();
    await socket.connect();
    const theirs = socket.join("theirs");
    const why: unknown[] = [];
    theirs.onLeft((e) => why.push(e.code));
    await until(() => loads > 0);
    session.signIn("bob");
    await advance(1000);
    const mine = socket.join("mine");
    offline = false;
    await advance(5000); // not so long that the silent server is taken for gone
    await until(() => server.named("room:join").length > 0);
    await mine.joined;
    expect(why).toEqual(["SIGNED_OUT"]);
    await expect(theirs.joined).rejects.toMatchObject({ code: "SIGNED_OUT" });
    expect(server.named("room:join").map((j) => j.room)).toEqual(["mine"]);
    expect(loads).toBeGreaterThan(1);
  });

  it("are loaded by the next connection where the socket was closed meanwhile, without a timer", async () => {
    load = async () => {
      throw new Error("offline");
    };
    const { socket } = client();
    await socket.connect();
    const room = socket.join("r");
    room.joined.catch(() => {});
    await until(() => loads > 0 && vi.getTimerCount() > 1);
    socket.close();
    expect(vi.getTimerCount()).toBe(0);
    load = async () => {};
    const before = loads;
    await socket.connect();
    await until(() => !!room.position);
    expect(loads).toBe(before + 1);
    socket.close();
  });

  it("are joined before what is emitted afterwards, and no load that fails keeps that back", async () => {
    let go!: (fails: boolean) => void;
    load = () => new Promise((resolve, reject) => (go = (fails) => (fails ? reject(new Error("offline")) : resolve())));
    const { server, socket } = client();
    await socket.connect();
    socket.join("r").joined.catch(() => {});
    const first = socket.emitAck("echo", 1);
    const given = socket.emitAck("echo", 2, { signal: AbortSignal.abort() });
    await expect(given).rejects.toMatchObject({ code: "CANCELED" });
    await until(() => go !== undefined);
    expect(server.events).toEqual([]);
    go(true);
    await until(() => server.events.length > 0);
    expect(await first).toBe(1);
    await advance(1000);
    await until(() => loads > 1);
    const second = socket.emit("note", 3);
    go(false);
    await until(() => server.named("note").length > 0);
    await second;
    expect(server.events.map((e) => e[0])).toEqual(["echo", "room:join", "note"]);
    socket.close();
  });

  it("keep nobody waiting when the socket has stopped", async () => {
    load = () => new Promise(() => {});
    const { socket } = client();
    await socket.connect();
    const room = socket.join("r");
    socket.close();
    await expect(room.joined).rejects.toMatchObject({ code: "CLOSED" });
  });
});
