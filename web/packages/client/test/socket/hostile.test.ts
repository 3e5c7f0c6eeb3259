import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { advance, client, ok, settle } from "./fake.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const meta = { room: "r", epoch: "e", offset: 1 };

describe("a server that is hostile", () => {
  it("names of events are no keys of ours, nor of objects", async () => {
    const { server, socket } = client();
    const heard: unknown[] = [];
    await socket.connect();
    const room = socket.join("r");
    await room.joined;
    socket.subscribe(() => heard.push("state"));
    socket.onDead((d) => heard.push(["dead", d]));
    socket.onAny((event) => heard.push(event));
    room.onLeft((e) => heard.push(["left", e]));
    room.onReset((e) => heard.push(["reset", e]));
    room.onTyping((e) => heard.push(["typing", e]));
    for (const key of ["a", "s", "d", "q", "l", "r", "t", "p"]) {
      server.peer.emit(`\0${key}`, 1);
      server.peer.emit(`\0${key}`, 1, { ...meta, offset: ++meta.offset });
    }
    server.peer.emit("toString", 1);
    server.peer.raw('42["__proto__",{"__proto__":{"bad":1}},{"room":"r","epoch":"e","offset":99}]');
    await settle();
    expect(heard).toEqual(["toString", "__proto__"]);
    expect(socket.state.connected).toBe(true);
    expect(({} as any).bad).toBe(undefined);
  });
});

describe("races", () => {
  it("an `auth` that throws at once, where there is no token", async () => {
    const auth = () => {
      throw new Error("none");
    };
    const { socket } = client({ auth }, { source: undefined });
    const done = socket.connect();
    done.catch(() => {});
    await settle();
    expect([socket.state.connecting, socket.state.error?.code]).toEqual([true, "NETWORK"]);
    socket.close();
  });

  it("a room that is joined again in the handler of its end stays", async () => {
    const { socket, session, server } = client();
    await socket.connect();
    let joins = 0;
    const join = () => {
      if (++joins > 5) throw new Error("for ever");
      socket.join("r").onLeft((e) => e.code === "SIGNED_OUT" && join());
    };
    join();
    await settle();
    session.signIn("bob");
    await advance(10);
    expect(joins).toBe(2);
    expect(server.named("room:join").length).toBe(2);
    expect(server.events.at(-1)![0]).toBe("room:join");
  });

  it.each([0, 1])("L20 permissions that change while a token is renewed: renewed once more", async (late) => {
    const { socket, server, session } = client();
    let times = 0;
    server.answers["auth:refresh"] = (_, __, peer) => {
      const stale = () => peer.emit("auth:expiring", { reason: "permissions" });
      if (!times++) late ? queueMicrotask(stale) : stale();
      return ok({ expiresAt: 5 });
    };
    await socket.connect();
    await settle();
    server.peer.emit("auth:expiring", { reason: "expiry" });
    await settle();
    expect(session.refusals.map(([, code]) => code)).toEqual(["TOKEN_EXPIRED", "PERMISSION_VERSION_STALE"]);
    expect(server.named("auth:refresh").map((r) => r.token)).toEqual(["ann-2", "ann-3"]);
  });

  it("an emit whose signal has aborted is not sent", async () => {
    const { socket, server } = client();
    await socket.connect();
    const signal = AbortSignal.abort();
    for (const options of [{ signal }, { signal, volatile: true }])
      await expect(socket.emit("x", 1, options)).rejects.toMatchObject({ code: "CANCELED" });
    await settle();
    expect(server.named("x")).toEqual([]);
  });

  it("join, leave and join again at once: one membership", async () => {
    const { socket, server } = client();
    await socket.connect();
    for (let i = 0; i < 5; i++) socket.join("r").leave();
    const room = socket.join("r");
    await room.joined;
    expect(server.events.map((e) => e[0]).slice(-1)).toEqual(["room:join"]);
    expect(server.named("room:join").length - server.named("room:leave").length).toBe(1);
  });

  it("connect in the handler of the close begins anew", async () => {
    const { socket, server } = client();
    await socket.connect();
    const off = socket.subscribe(() => {
      if (socket.state.state !== "closed") return;
      off();
      void socket.connect();
    });
    socket.close();
    await settle();
    expect([socket.state.connected, server.attempts]).toEqual([true, 2]);
    socket.close();
  });

  it.each([0, 1, 2, 3, 4, 5, 6, 7, 8])("closed %i microtasks after connect: nothing goes on", async (n) => {
    const { socket, server, session } = client();
    socket.connect().catch(() => {});
    socket.join("r");
    for (let i = 0; i < n; i++) await Promise.resolve();
    socket.close();
    await settle();
    const [attempts, events] = [server.attempts, server.events.length];
    await advance(60_000);
    expect([socket.state.state, server.attempts, server.events.length, session.listeners]).toEqual(["closed", attempts, events, 0]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("no timer is left by close", () => {
  const uses: Record<string, (c: ReturnType<typeof client>) => unknown> = {
    nothing: () => {},
    ack: ({ socket, server }) => {
      server.answers["x"] = () => undefined;
      socket.emitAck("x").catch(() => {});
    },
    typing: async ({ socket, server }) => {
      const room = socket.join("r");
      await room.joined;
      room.typing();
      server.peer.emit("user_typing", { room: "r", user: { id: "bob" } });
      await settle();
    },
    signals: async ({ socket }) => {
      const room = socket.join("r");
      await room.joined;
      room.signal("cursor", 1);
      room.signal("cursor", 2);
    },
    renewal: async ({ server, session }) => {
      session.refused = () => Promise.reject(Object.assign(new Error("away"), { final: false }));
      server.peer.emit("auth:expiring", {});
      await settle();
    },
    reconnect: ({ server }) => {
      server.up = false;
      server.peer.close(1006);
      return settle();
    },
  };
  it.each(Object.keys(uses))("%s", async (name) => {
    const c = client();
    await c.socket.connect();
    await settle();
    await uses[name]!(c);
    c.socket.close();
    await settle();
    expect(vi.getTimerCount()).toBe(0);
  });
});
