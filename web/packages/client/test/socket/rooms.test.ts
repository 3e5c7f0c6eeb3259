import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { PresenceEvent } from "../../src/types.js";
import { advance, client, no, ok, settle } from "./fake.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const meta = (room: string, offset: number, epoch = "e") => ({ room, epoch, offset });

describe("L46", () => {
  it("joined before, twice and after; rejoined with positions; left by the last", async () => {
    const { server, socket } = client();
    const before = socket.join("before");
    await socket.connect();
    const a = socket.join("r");
    const b = socket.join("r");
    expect(await a.joined).toEqual({ epoch: "e", offset: 0 });
    await b.joined;
    await before.joined;
    expect(server.named("room:join").map((j) => j.room)).toEqual(["before", "r"]);
    const heard: unknown[] = [];
    a.on("note", (d, m) => heard.push(["a", d, m.offset]));
    b.onAny((e, d) => heard.push(["b", e, d]));
    before.on("note", (d) => heard.push(["before", d]));
    socket.on("note", (d, m) => heard.push(["socket", d, m.room]));
    server.peer.emit("note", 1, meta("r", 5));
    await settle();
    expect(heard).toEqual([["socket", 1, "r"], ["b", "note", 1], ["a", 1, 5]]);
    expect(a.position).toEqual({ epoch: "e", offset: 5 });
    a.leave();
    a.leave();
    heard.length = 0;
    server.peer.emit("note", 2, meta("r", 6));
    server.peer.close(1006);
    await advance(3000);
    expect(heard).toEqual([["socket", 2, "r"], ["b", "note", 2]]);
    expect(server.named("room:join").slice(2)).toEqual([
      { room: "before", since: { epoch: "e", offset: 0 } },
      { room: "r", since: { epoch: "e", offset: 6 } },
    ]);
    b.leave();
    await settle();
    expect(server.named("room:leave")).toEqual([{ room: "r" }]);
    server.peer.close(1006);
    await advance(3000);
    expect(server.named("room:join").slice(4).map((j) => j.room)).toEqual(["before"]);
  });

  it("joined again while the server has yet to see that it was left", async () => {
    const { server, socket } = client();
    let seen = () => {};
    server.answers["room:leave"] = (_d, _a, peer) => void (seen = () => peer.send(3, [ok({})], 1));
    await socket.connect();
    const a = socket.join("r");
    await a.joined;
    a.leave();
    const b = socket.join("r");
    await settle();
    expect(server.named("room:join").length).toBe(1);
    seen();
    await b.joined;
    expect(server.named("room:join").length).toBe(2);
    await expect(socket.join("s").joined).resolves.toBeTruthy();
  });

  it("left before the answer: joined rejects", async () => {
    const { server, socket } = client();
    await socket.connect();
    const a = socket.join("r");
    a.leave();
    await expect(a.joined).rejects.toMatchObject({ code: "LEFT" });
    await settle();
    expect(server.events.map((e) => e[0])).toEqual(["room:join", "room:leave"]);
  });

  it("at most 32 joins are under way at once", async () => {
    const { server, socket } = client();
    const held: (() => void)[] = [];
    let n = 0;
    server.answers["room:join"] = (data, _a, peer) => {
      const id = n++;
      held.push(() => peer.send(3, [ok({ room: data.room, epoch: "e", offset: 0 })], id));
    };
    for (let i = 0; i < 100; i++) socket.join(`r${i}`);
    await socket.connect();
    await settle();
    expect(held.length).toBe(32);
    held[0]!();
    held[1]!();
    await settle();
    expect(held.length).toBe(34);
  });

  it("stopped for good: nobody waits for a join", async () => {
    const { server, socket } = client();
    const a = socket.join("r");
    server.refusals.push({ message: "no", data: { code: "FORBIDDEN" } });
    await expect(socket.connect()).rejects.toMatchObject({ code: "FORBIDDEN" });
    await expect(a.joined).rejects.toMatchObject({ code: "FORBIDDEN" });
    await socket.connect();
    await settle();
    expect(a.position).toEqual({ epoch: "e", offset: 0 });
  });
});

describe("L47", () => {
  it("a refused join is told, and not tried again", async () => {
    const { server, socket } = client();
    server.answers["room:join"] = () => no("FORBIDDEN");
    await socket.connect();
    const a = socket.join("secret");
    const left: string[] = [];
    a.onLeft((e) => left.push(e.code));
    await expect(a.joined).rejects.toMatchObject({ code: "FORBIDDEN", final: true });
    server.peer.close(1006);
    await advance(60000);
    expect([left, server.named("room:join").length]).toEqual([["FORBIDDEN"], 1]);
  });

  it.each(["RATE_LIMITED", "INTERNAL", "CONNECTION_LIMIT", "GOING_AWAY"])(
    "a rejoin that is refused for the time being is tried again until it works: %s",
    async (code) => {
      const { server, socket } = client();
      await socket.connect();
      const a = socket.join("r");
      await a.joined;
      const left: string[] = [];
      a.onLeft((e) => left.push(e.code));
      let n = 0;
      server.answers["room:join"] = (d) => (n++ < 40 ? no(code) : ok({ room: d.room, epoch: "e", offset: 7 }));
      server.peer.close(1006);
      await advance(3_600_000);
      expect([left, n > 40, a.position]).toEqual([[], true, { epoch: "e", offset: 7 }]);
    },
  );

  it("a rejoin that no new token helps is given up after five", async () => {
    const { server, socket } = client();
    await socket.connect();
    const a = socket.join("r");
    await a.joined;
    const left: string[] = [];
    a.onLeft((e) => left.push(e.code));
    server.answers["room:join"] = () => no("PERMISSION_VERSION_STALE");
    server.peer.close(1006);
    await advance(600_000);
    expect([left, server.named("room:join").length]).toEqual([["PERMISSION_VERSION_STALE"], 7]);
  });

  it("a rejoin that is refused for permissions that changed: after a refresh", async () => {
    const { server, socket } = client();
    await socket.connect();
    const a = socket.join("r");
    await a.joined;
    let n = 0;
    server.answers["room:join"] = (d) => (n++ ? ok({ room: d.room, epoch: "e", offset: 0 }) : no("PERMISSION_VERSION_STALE"));
    server.peer.close(1006);
    await advance(3000);
    expect([n, server.named("auth:refresh").length]).toEqual([2, 1]);
  });

  it("room:left", async () => {
    const { server, socket } = client();
    await socket.connect();
    const a = socket.join("r");
    await a.joined;
    const left: unknown[] = [];
    a.onLeft((e) => left.push([e.code, e.message]));
    server.peer.emit("room:left", { room: "r", code: "FORBIDDEN", message: "gone" });
    await settle();
    expect(left).toEqual([["FORBIDDEN", "gone"]]);
    a.leave();
    await settle();
    expect(server.named("room:leave")).toEqual([]);
    await expect(a.setPresence(1)).rejects.toMatchObject({ code: "LEFT" });
  });
});

describe("L48", () => {
  it("what was missed comes in order, once, before live events", async () => {
    const { server, socket } = client();
    await socket.connect();
    const a = socket.join("r", { since: { epoch: "e", offset: 3 } });
    const heard: unknown[] = [];
    a.on("note", (d) => heard.push(d));
    a.onReset(() => heard.push("reset"));
    server.answers["room:join"] = (d, _a, peer) => {
      for (let i = d.since.offset; i < 6; i++) peer.emit("note", i + 1, meta("r", i + 1));
      return ok({ room: "r", epoch: "e", offset: 6, recovered: true });
    };
    server.peer.close(1006);
    await advance(3000);
    server.peer.emit("note", 6, meta("r", 6));
    server.peer.emit("note", 7, meta("r", 7));
    await settle();
    expect(heard).toEqual([4, 5, 6, 7]);
  });

  it("lost history is told", async () => {
    const { server, socket } = client();
    await socket.connect();
    const a = socket.join("r");
    await a.joined;
    const reset: unknown[] = [];
    a.onReset((p) => reset.push(p));
    server.answers["room:join"] = () => ok({ room: "r", epoch: "f", offset: 2, recovered: false });
    server.peer.close(1006);
    await advance(3000);
    expect(reset).toEqual([{ epoch: "f", offset: 2 }]);
    expect(a.position).toEqual({ epoch: "f", offset: 2 });
  });
});

describe("beside events", () => {
  it("presence: the list, joins, updates, leaves, sync after a reconnect, paused", async () => {
    const { server, socket } = client();
    server.answers["room:join"] = (d) => ok({ room: d.room, epoch: "e", offset: 0, presence: [{ id: "ann", connections: 1 }] });
    const a = socket.join("r", { presence: { at: 1 } });
    const heard: PresenceEvent[] = [];
    a.onPresence((e) => heard.push(e));
    const first = a.present;
    await socket.connect();
    await a.joined;
    expect(server.named("room:join")).toEqual([{ room: "r", presence: { at: 1 } }]);
    expect(server.named("presence:update")).toEqual([]);
    const bob = { id: "bob", name: "Bob" };
    server.peer.emit("presence:join", { room: "r", user: bob });
    server.peer.emit("presence:update", { room: "r", user: { ...bob, data: 2 } });
    await settle();
    expect(a.present).toEqual([{ id: "ann", connections: 1 }, { ...bob, data: 2 }]);
    expect(a.present).toBe(a.present);
    expect(first).toEqual([]);
    server.peer.emit("presence:leave", { room: "r", user: bob });
    server.peer.emit("presence:paused", { room: "r", viewers: 600 });
    server.peer.emit("presence:resumed", { room: "r", viewers: 1 });
    server.peer.emit("presence:join", { room: "other", user: bob });
    await settle();
    expect(heard.map((e) => e.kind)).toEqual(["sync", "join", "update", "leave", "paused", "resumed"]);
    server.answers["room:join"] = (d) => ok({ room: d.room, epoch: "e", offset: 0, viewers: 600 });
    server.peer.close(1006);
    await advance(3000);
    expect(heard.slice(6)).toEqual([{ kind: "sync", users: [] }, { kind: "paused" }]);
    await a.setPresence({ at: 2 });
    expect(server.named("presence:update")).toEqual([{ room: "r", data: { at: 2 } }]);
    server.answers["presence:get"] = () => ok([bob]);
    expect(await a.presence()).toEqual([bob]);
  });

  it("setPresence while away is said with the next join", async () => {
    const { server, socket } = client();
    const a = socket.join("r");
    await a.setPresence(1);
    await socket.connect();
    await a.joined;
    expect(server.named("room:join")).toEqual([{ room: "r", presence: 1 }]);
  });

  it("presence of a join goes with it, and that of a second one after it", async () => {
    const { server, socket } = client();
    await socket.connect();
    await socket.join("r", { presence: 1 }).joined;
    socket.join("r", { presence: 2 });
    await settle();
    expect(server.events).toEqual([["room:join", { room: "r", presence: 1 }], ["presence:update", { room: "r", data: 2 }]]);
  });

  it("typing: one message in 3 s, begin and end", async () => {
    const { server, socket } = client();
    await socket.connect();
    const a = socket.join("r");
    await a.joined;
    const heard: unknown[] = [];
    a.onTyping((u, on) => heard.push([u.id, on]));
    for (let i = 0; i < 10; i++) {
      a.typing();
      await advance(500);
    }
    expect(server.named("typing").length).toBe(2);
    server.peer.emit("user_typing", { room: "r", user: { id: "bob" } });
    await advance(4000);
    server.peer.emit("user_typing", { room: "r", user: { id: "bob" } });
    await advance(4900);
    expect(heard).toEqual([["bob", true]]);
    await advance(200);
    expect(heard).toEqual([["bob", true], ["bob", false]]);
    server.peer.emit("user_typing", { room: "r", user: { id: "bob" } });
    await settle();
    a.leave();
    await settle();
    await advance(10000);
    expect(heard.length).toBe(3);
  });

  it("signals: the newest of each event and key, one in 100 ms", async () => {
    const { server, socket } = client();
    await socket.connect();
    const a = socket.join("r");
    a.signal("lost", 0);
    await a.joined;
    for (let i = 0; i < 50; i++) {
      a.signal("cursor", i, "mouse");
      a.signal("cursor", -i, "pen");
      await advance(10);
    }
    await advance(1000);
    const sent = server.named("room:signal");
    expect(sent.length).toBeGreaterThanOrEqual(6);
    expect(sent.length).toBeLessThanOrEqual(8);
    expect(sent[0]).toEqual({ room: "r", event: "cursor", data: 0, key: "mouse" });
    expect(sent.filter((s) => s.key === "mouse").at(-1).data).toBe(49);
    expect(sent.filter((s) => s.key === "pen").at(-1).data).toBe(-49);
    expect(vi.getTimerCount()).toBe(1); // the watch for pings
    const heard: unknown[] = [];
    a.onSignal("cursor", (d, m) => heard.push([d, m.from, m.key]));
    a.on("cursor", () => heard.push("no event"));
    a.onAny(() => heard.push("no event"));
    server.peer.emit("cursor", { x: 1 }, { room: "r", from: "bob", key: "mouse" });
    await settle();
    expect(heard).toEqual([[{ x: 1 }, "bob", "mouse"]]);
  });

  it("L50 a room's handler that leaves, throws or unsubscribes", async () => {
    const { server, socket } = client();
    await socket.connect();
    const [a, b] = [socket.join("r"), socket.join("r")];
    await b.joined;
    const heard: string[] = [];
    a.on("note", () => {
      heard.push("a");
      b.leave();
      a.leave();
    });
    a.on("note", () => heard.push("a2"));
    b.on("note", () => heard.push("b"));
    server.peer.emit("note", 1, meta("r", 1));
    await settle();
    expect(heard).toEqual(["a"]);
    expect(server.named("room:leave").length).toBe(1);
  });
});
