import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { HoldfastError } from "../../src/errors.js";
import { advance, client, no, ok, Session, settle } from "./fake.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("connecting", () => {
  it("does nothing before connect", async () => {
    const { server, socket, session, changes } = client();
    expect(socket.state).toEqual({ state: "disconnected", connected: false, connecting: false, final: true });
    socket.join("room").leave();
    await settle();
    expect([server.attempts, vi.getTimerCount(), session.listeners, changes]).toEqual([0, 0, 0, []]);
  });

  it("sends the token and says who it is", async () => {
    const { server, socket, changes } = client({ query: { v: "2" } });
    const done = socket.connect();
    expect(socket.connect()).toBeInstanceOf(Promise);
    await done;
    expect(server.auths).toEqual([{ token: "ann-1" }]);
    expect(server.peer.url.href).toBe("wss://rt.example.com/socket.io/?v=2&EIO=4&transport=websocket");
    await settle();
    expect(socket.session?.user.id).toBe("ann");
    expect(changes).toEqual(["connecting", "connected"]);
    expect(server.attempts).toBe(1);
  });

  it("makes another payload, or none", async () => {
    const { server, socket } = client({ auth: async (token) => ({ key: token, device: 1 }) });
    await socket.connect();
    expect(server.auths).toEqual([{ key: "ann-1", device: 1 }]);
    const plain = client({}, { source: undefined });
    await plain.socket.connect();
    expect(plain.server.auths).toEqual([undefined]);
  });

  it("a namespace", async () => {
    const { server, socket } = client({ namespace: "/admin" });
    server.ns = "/admin";
    await socket.connect();
    expect(await socket.emitAck("echo", 1)).toBe(1);
  });

  it("L42 reads the token at each attempt", async () => {
    const { server, socket, session } = client();
    server.up = false;
    const done = socket.connect();
    await settle();
    session.n = 7;
    server.up = true;
    await advance(1000);
    await done;
    expect(server.auths).toEqual([{ token: "ann-7" }]);
  });

  it("stops where there is no token", async () => {
    const { server, socket, changes } = client({}, { source: new Session() });
    await expect(socket.connect()).rejects.toMatchObject({ code: "SIGNED_OUT", final: true });
    expect([server.attempts, changes]).toEqual([0, ["connecting", "stopped SIGNED_OUT"]]);
  });

  it("an abort of who began it ends the attempts, of another one only his wait", async () => {
    const { server, socket } = client();
    server.hang = true;
    const [a, b] = [new AbortController(), new AbortController()];
    const first = socket.connect(a.signal);
    const second = socket.connect(b.signal);
    first.catch(() => {});
    await settle();
    b.abort();
    await expect(second).rejects.toMatchObject({ code: "CANCELED" });
    expect(socket.state.connecting).toBe(true);
    a.abort();
    await expect(first).rejects.toMatchObject({ code: "CANCELED" });
    expect(socket.state).toMatchObject({ state: "disconnected", final: true });
    await advance(100000);
    expect(server.attempts).toBe(1);
    await expect(socket.connect(AbortSignal.abort())).rejects.toMatchObject({ code: "CANCELED" });
  });

  it("an attempt has its time", async () => {
    const { server, socket } = client({ connectTimeout: 5000 });
    server.hang = true;
    void socket.connect();
    await advance(5001);
    expect(socket.state.error?.code).toBe("TIMEOUT");
    server.hang = false;
    await advance(1000);
    expect(socket.state.connected).toBe(true);
  });

  it("a token that never comes has its time, too", async () => {
    const source = new Session("ann");
    source.getAccessToken = () => new Promise(() => {});
    const { socket } = client({ connectTimeout: 5000 }, { source });
    void socket.connect();
    await advance(5001);
    expect(socket.state).toMatchObject({ state: "connecting", error: { code: "TIMEOUT" } });
  });
});

describe("L43", () => {
  const table: [string, number, string, number, string][] = [
    ["UNAUTHENTICATED", 4001, "connected", 2, "UNAUTHENTICATED"],
    ["", 4001, "connected", 2, "UNAUTHENTICATED"],
    ["SESSION_REVOKED", 4001, "disconnected", 1, "SESSION_REVOKED"],
    ["TOKEN_EXPIRED", 4002, "connected", 2, "TOKEN_EXPIRED"],
    ["PERMISSION_VERSION_STALE", 4002, "connected", 2, "PERMISSION_VERSION_STALE"],
    ["FORBIDDEN", 4003, "disconnected", 1, "FORBIDDEN"],
    ["", 4003, "disconnected", 1, "FORBIDDEN"],
    ["RATE_LIMITED", 4008, "connected", 2, "RATE_LIMITED"],
    ["SLOW_CONSUMER", 4009, "connected", 2, "SLOW_CONSUMER"],
    ["", 4010, "connected", 2, "CONNECTION_LIMIT"],
    ["GOING_AWAY", 1001, "connected", 2, "GOING_AWAY"],
    ["PROTOCOL_ERROR", 1002, "disconnected", 1, "PROTOCOL_ERROR"],
    ["", 1009, "disconnected", 1, "MESSAGE_TOO_LARGE"],
    ["INTERNAL", 1011, "connected", 2, "INTERNAL"],
    ["", 1012, "connected", 2, "CONNECTION_LOST"],
    ["", 1006, "connected", 2, "CONNECTION_LOST"],
  ];
  it.each(table)("close %s %i", async (reason, number, state, attempts, code) => {
    const { server, socket, session, changes } = client();
    await socket.connect();
    server.peer.close(number, reason);
    await settle();
    expect(changes[2]).toBe(`${state === "connected" ? "connecting" : "stopped"} ${code}`);
    await advance(1000);
    expect([socket.state.state, server.attempts]).toEqual([state, attempts]);
    const told = /UNAUTH|EXPIRED|STALE|REVOKED/.test(code);
    expect(session.refusals).toEqual(told ? [["ann-1", code]] : []);
    if (told && state === "connected") expect(server.auths[1]).toEqual({ token: "ann-2" });
  });

  it.each(table.filter((t) => t[0]))("auth:closing and 44 with %s", async (code, _n, state, attempts) => {
    const a = client();
    await a.socket.connect();
    a.server.peer.emit("auth:closing", { code, message: "why" });
    a.server.peer.close(1006);
    await settle();
    expect(a.changes[2]).toBe(`${state === "connected" ? "connecting" : "stopped"} ${code}`);
    await advance(1000);
    expect([a.socket.state.state, a.server.attempts]).toEqual([state, attempts]);

    const b = client();
    b.server.refusals.push({ message: "Unauthorized: so", data: { code } });
    const done = b.socket.connect();
    if (state !== "connected") await expect(done).rejects.toMatchObject({ code });
    await advance(1000);
    expect([b.socket.state.state, b.server.attempts]).toEqual([state, attempts]);
  });

  it.each([
    ["Invalid namespace", "NOT_FOUND"],
    ["jwt malformed", "UNAUTHENTICATED"],
    ["Token has expired", "TOKEN_EXPIRED"],
    ["no", "FORBIDDEN"],
  ])("44 of other servers: %s", async (message, code) => {
    const { server, socket } = client();
    server.refusals.push({ message }, { message }, { message }, { message });
    const done = socket.connect();
    done.catch(() => {});
    await advance(100000);
    await expect(done).rejects.toMatchObject({ code, final: true });
  });

  it("tokens that are refused for ever have an end", async () => {
    for (const [code, most] of [["UNAUTHENTICATED", 2], ["TOKEN_EXPIRED", 4]] as const) {
      const { server, socket } = client();
      for (let i = 0; i < 99; i++) server.refusals.push({ message: "", data: { code } });
      const done = socket.connect();
      done.catch(() => {});
      await advance(600000);
      expect(server.attempts).toBe(most);
      await expect(done).rejects.toMatchObject({ code });
    }
  });

  it("waits as long as it is told, and nothing shortens that", async () => {
    const { server, socket, window } = client();
    await socket.connect();
    server.peer.emit("auth:closing", { code: "RATE_LIMITED", message: "", retryAfter: 60 });
    server.peer.close(4008);
    await advance(59000);
    window.dispatchEvent(new Event("online"));
    await settle();
    expect(server.attempts).toBe(1);
    await advance(2000);
    expect(server.attempts).toBe(2);
  });

  it("packet 41 ends it for good", async () => {
    const { server, socket } = client();
    await socket.connect();
    server.peer.send(1);
    await advance(100000);
    expect([server.attempts, socket.state.final, socket.state.error?.code]).toEqual([1, true, "CONNECTION_LOST"]);
  });

  it.each(["9", "4", "42", '42[{}]', "451-[\"a\",{\"_placeholder\":true,\"num\":7}]"])("nonsense %s ends the connection, not the client", async (frame) => {
    const { server, socket } = client();
    await socket.connect();
    server.peer.raw(frame);
    await settle();
    expect(socket.state.error?.code).toBe("PROTOCOL_ERROR");
    await advance(1000);
    expect([server.attempts, socket.state.connected]).toEqual([2, true]);
  });
});

describe("L44", () => {
  it("full jitter from 1 s to 30 s, for ever", async () => {
    const { server, socket, random, changes } = client();
    await socket.connect();
    server.up = false;
    random.value = 0.999;
    server.peer.close(1006);
    let spent = 0;
    for (const [at, n] of [[998, 1], [1000, 2], [2990, 2], [3000, 3], [6990, 3], [6995, 4], [3_600_000, 125]] as const) {
      await advance(at - spent);
      spent = at;
      expect(server.attempts).toBe(n);
    }
    server.up = true;
    await advance(31000);
    expect(socket.state).toMatchObject({ connected: true });
    expect("error" in socket.state).toBe(false);
    expect(changes).toEqual(["connecting", "connected", "connecting CONNECTION_LOST", "connecting NETWORK", "connected"]);
  });

  it("the state says when it is tried again, and what carries it", async () => {
    const { server, socket, random } = client();
    expect(socket.state.transport).toBe(undefined);
    await socket.connect();
    expect(socket.state).toMatchObject({ connected: true, transport: "websocket" });
    server.up = false;
    random.value = 0.5;
    server.peer.close(1006);
    await settle();
    expect(socket.state.retryAt).toBe(Date.now() + 500);
    server.up = true;
    await advance(499);
    expect(server.attempts).toBe(1);
    await advance(1);
    expect(server.attempts).toBe(2);
    expect(socket.state.connected).toBe(true);
    expect("retryAt" in socket.state).toBe(false);
  });

  it("no ping for pingInterval + pingTimeout", async () => {
    const { server, socket } = client();
    await socket.connect();
    for (let i = 0; i < 5; i++) {
      await advance(25000);
      server.peer.raw("2");
    }
    await advance(44000);
    expect(server.attempts).toBe(1);
    server.silent = true;
    await advance(1001);
    expect(socket.state.error?.code).toBe("TIMEOUT");
    server.silent = false;
    await advance(1000);
    expect([server.attempts, socket.state.connected]).toEqual([2, true]);
  });

  it.each(["online", "visibilitychange", "pageshow"])("%s ends the wait", async (event) => {
    const { server, socket, window, random } = client();
    random.value = 0.9;
    server.up = false;
    void socket.connect();
    await settle();
    server.up = true;
    window.dispatchEvent(new Event(event));
    await settle();
    expect([server.attempts, socket.state.connected]).toEqual([2, true]);
  });

  it("waking after sleep finds a dead connection", async () => {
    const { server, socket, window } = client();
    await socket.connect();
    window.dispatchEvent(new Event("visibilitychange"));
    expect(socket.state.connected).toBe(true);
    vi.setSystemTime(Date.now() + 3600_000); // timers stand still
    window.dispatchEvent(new Event("visibilitychange"));
    expect(socket.state.error?.code).toBe("TIMEOUT");
    await advance(1000);
    expect([server.attempts, socket.state.connected]).toEqual([2, true]);
  });
});

describe("L40, L41", () => {
  it("L40 a new token is presented in place, and acks in flight arrive", async () => {
    const { server, socket, session } = client();
    let late: () => void = () => {};
    server.answers.slow = (_d, _a, peer) => void (late = () => peer.send(3, [ok(1)], 0));
    await socket.connect();
    await settle();
    const ack = socket.emitAck("slow");
    session.rotate();
    await settle();
    expect(server.named("auth:refresh")).toEqual([{ token: "ann-2" }]);
    expect(socket.session?.expiresAt).toBe(5);
    late();
    expect(await ack).toBe(1);
    expect(server.attempts).toBe(1);
  });

  it("L40 auth:expiring renews; so does a change of permissions", async () => {
    const { server, socket, session } = client();
    await socket.connect();
    server.peer.emit("auth:expiring", { expiresAt: 1, expiresIn: 1, reason: "expiry" });
    await settle();
    server.peer.emit("auth:expiring", { expiresAt: 1, expiresIn: 1, reason: "permissions" });
    await settle();
    expect(session.refusals).toEqual([["ann-1", "TOKEN_EXPIRED"], ["ann-2", "PERMISSION_VERSION_STALE"]]);
    expect(server.named("auth:refresh")).toEqual([{ token: "ann-2" }, { token: "ann-3" }]);
    expect(server.attempts).toBe(1);
  });

  it("L40 a warning of a token that has been replaced renews nothing", async () => {
    const { server, socket, session } = client();
    server.answers["auth:refresh"] = () => ok({ expiresAt: 5000 });
    await socket.connect();
    const warn = async (expiresAt?: number) => {
      server.peer.emit("auth:expiring", { expiresAt, reason: "expiry" });
      await settle();
      return session.refusals.length;
    };
    expect(await warn()).toBe(1);
    expect([await warn(4999), await warn(5000), await warn()]).toEqual([1, 2, 3]);
  });

  it("L40 a refresh that fails in passing is tried again; one that is refused is not", async () => {
    const { server, socket, session } = client();
    await socket.connect();
    await settle();
    let n = 0;
    server.answers["auth:refresh"] = () => (n++ ? ok({ expiresAt: 9 }) : no("INTERNAL"));
    session.rotate();
    await advance(1000);
    expect(server.named("auth:refresh").length).toBe(2);
    server.answers["auth:refresh"] = () => no("FORBIDDEN");
    session.rotate();
    await advance(100);
    expect([server.named("auth:refresh").length, server.attempts]).toEqual([3, 1]);
  });

  it("L41 a plain Socket.IO server: reconnects with the new token", async () => {
    const { server, socket, session } = client();
    server.session = undefined;
    await socket.connect();
    session.rotate();
    await advance(2000);
    expect(server.auths).toEqual([{ token: "ann-1" }, { token: "ann-2" }]);
    expect(socket.state.connected).toBe(true);
  });
});

describe("L45", () => {
  it("close is closed, whatever happens", async () => {
    const { server, socket, session, window, changes } = client();
    await socket.connect();
    const { peer } = server;
    socket.close();
    expect(socket.state).toMatchObject({ state: "closed", final: true });
    session.rotate();
    session.signIn("bob");
    window.dispatchEvent(new Event("online"));
    await advance(600000);
    expect([server.attempts, peer.closed, session.listeners, vi.getTimerCount()]).toEqual([1, true, 0, 0]);
    expect(changes).toEqual(["connecting", "connected", "closed CLOSED"]);
    await socket.connect(); // is asked for again
    expect([server.attempts, server.auths[1]]).toEqual([2, { token: "bob-3" }]);
  });

  it("closed between attempts, during one, and at once", async () => {
    const { server, socket } = client();
    server.up = false;
    const done = socket.connect();
    done.catch(() => {});
    await settle();
    socket.close();
    await expect(done).rejects.toMatchObject({ code: "CLOSED" });
    void socket.connect().catch(() => {});
    socket.close();
    await advance(100000);
    expect([server.attempts, vi.getTimerCount()]).toEqual([1, 0]);
  });

  it("connect, close and connect again, as React's StrictMode does", async () => {
    const { server, socket } = client();
    const room = socket.join("r");
    socket.connect().catch(() => {});
    socket.close();
    await socket.connect();
    await settle();
    expect([server.peers.length, socket.state.connected, room.position]).toEqual([1, true, { epoch: "e", offset: 0 }]);
  });
});

describe("L49", () => {
  it("sign-out stops", async () => {
    const { server, socket, session } = client();
    await socket.connect();
    const ack = socket.emitAck("nothing");
    server.answers.nothing = () => undefined;
    session.signOut();
    expect(socket.state).toMatchObject({ state: "disconnected", final: true, error: { code: "SIGNED_OUT" } });
    await expect(ack).rejects.toMatchObject({ code: "CONNECTION_LOST" });
    await advance(100000);
    expect(server.attempts).toBe(1);
  });

  it("another user: rooms are dropped, and nothing is sent as another", async () => {
    const { server, socket, session } = client();
    await socket.connect();
    const room = socket.join("r");
    const left: string[] = [];
    room.onLeft((e) => left.push(e.code));
    await room.joined;
    session.user = { id: "bob" }; // not told of yet
    await expect(socket.emit("x")).rejects.toMatchObject({ code: "NOT_CONNECTED" });
    session.signIn("bob");
    await advance(10);
    expect([left, socket.state.connected, server.attempts]).toEqual([["SIGNED_OUT"], true, 2]);
    expect(server.named("room:join").length).toBe(1);
    expect(server.auths[1]).toEqual({ token: "bob-2" });
    expect(await socket.emitAck("echo", 1)).toBe(1);
  });

  it("another user by a function of the application: the server tells", async () => {
    let token = "ann-1";
    const source = { getAccessToken: async () => token, refused: async () => {} };
    const { server, socket } = client({}, { source });
    await socket.connect();
    const room = socket.join("r");
    const left: string[] = [];
    room.onLeft((e) => left.push(e.code));
    await room.joined;
    token = "bob-1";
    server.peer.close(1006);
    await advance(3000);
    expect([left, socket.state.connected, socket.session?.user.id]).toEqual([["SIGNED_OUT"], true, "bob"]);
  });
});

describe("L50", () => {
  it("once before connect, off inside a handler, and a handler that throws", async () => {
    const thrown: unknown[] = [];
    const { server, socket } = client();
    const uncaught = vi.spyOn(globalThis, "queueMicrotask");
    const heard: string[] = [];
    socket.once("e", (n) => heard.push("once " + n));
    const off = socket.on("e", (n) => {
      heard.push("off " + n);
      off();
      socket.off("e", last);
    });
    const last = () => heard.push("never");
    socket.on("e", last);
    uncaught.mockImplementation((fn) => {
      try {
        fn();
      } catch (e) {
        thrown.push(e);
      }
    });
    socket.on("e", () => {
      throw "boom";
    });
    socket.on("e", (n, meta) => heard.push(`on ${n} ${JSON.stringify(meta)}`));
    socket.onAny((event, args) => heard.push(`any ${event} ${args}`));
    uncaught.mockRestore();
    await socket.connect();
    await settle();
    heard.length = 0;
    const spy = vi.spyOn(globalThis, "queueMicrotask").mockImplementation((fn) => {
      Promise.resolve().then(() => {
        try {
          fn();
        } catch (e) {
          thrown.push(e);
        }
      });
    });
    server.peer.emit("e", 1, 2);
    await settle();
    server.peer.emit("e", 3);
    await settle();
    spy.mockRestore();
    expect(heard).toEqual(["any e 1,2", "once 1", "off 1", "on 1 {}", "any e 3", "on 3 {}"]);
    expect(thrown).toEqual(["boom", "boom"]);
    expect(socket.state.connected).toBe(true);
  });

  it("onSend and onReceive change and drop", async () => {
    const { server, socket } = client({
      onSend: (e, args) => (e === "drop" ? null : e === "more" ? [...args, "x"] : undefined),
      onReceive: (e, args) => (e === "drop" ? null : e === "more" ? [`${args[0]}!`] : undefined),
    });
    await socket.connect();
    await settle();
    const heard: unknown[] = [];
    socket.onAny((e, args) => heard.push([e, ...args]));
    await socket.emit("drop", 1);
    await socket.emit("more", 1);
    await socket.emit("same", 1);
    await expect(socket.emitAck("drop")).rejects.toMatchObject({ code: "CANCELED" });
    for (const e of ["drop", "more", "same"]) server.peer.emit(e, 1);
    await settle();
    expect(server.events).toEqual([["more", 1, "x"], ["same", 1]]);
    expect(heard).toEqual([["more", "1!"], ["same", 1]]);
  });
});

describe("emits", () => {
  it("acks, errors, timeouts, aborts", async () => {
    const { server, socket, session } = client({ ackTimeout: 3000 });
    await expect(socket.emit("x")).rejects.toMatchObject({ code: "NOT_CONNECTED" });
    await expect(socket.emitAck("x")).rejects.toMatchObject({ code: "NOT_CONNECTED" });
    await socket.emit("x", 1, { volatile: true });
    await socket.connect();
    await settle();
    server.answers.plain = () => ({ ok: true, data: 1, more: 2 });
    server.answers.none = () => undefined;
    server.answers.no = () => no("FORBIDDEN", { details: { a: 1 } });
    server.answers.odd = () => no("ODD");
    expect(await socket.emitAck("echo", { a: [1] })).toEqual({ a: [1] });
    expect(await socket.emitAck("plain")).toEqual({ ok: true, data: 1, more: 2 });
    await expect(socket.emitAck("no")).rejects.toMatchObject({ code: "FORBIDDEN", details: { a: 1 }, final: true });
    await expect(socket.emitAck("odd")).rejects.toMatchObject({ code: "ODD" });
    const slow = socket.emitAck("none");
    slow.catch(() => {});
    await advance(3001);
    await expect(slow).rejects.toMatchObject({ code: "TIMEOUT" });
    const ctl = new AbortController();
    const gone = socket.emitAck("none", 1, { signal: ctl.signal });
    ctl.abort();
    await expect(gone).rejects.toMatchObject({ code: "CANCELED" });
    for (const name of ["connect", "disconnecting", "", "a\u0001", "x".repeat(129)])
      await expect(socket.emit(name)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(socket.emit("big", "x".repeat(1e6))).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
    const ring: any = {};
    ring.ring = ring;
    await expect(socket.emit("ring", ring)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(socket.emitAck("ring", ring)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(session.touched).toBeGreaterThan(5);
    expect(socket.state.connected).toBe(true);
  });

  it("bytes, both ways", async () => {
    const { socket } = client();
    await socket.connect();
    const back = await socket.emitAck("echo", { a: new Uint8Array([1, 2]), b: [new Uint8Array([3]).buffer] });
    expect([...new Uint8Array(back.a)]).toEqual([1, 2]);
    expect([...new Uint8Array(back.b[0])]).toEqual([3]);
  });

  it("answers what the server asks", async () => {
    const { server, socket } = client();
    await socket.connect();
    await settle();
    socket.handle("ask", (n) => n * 0);
    const off = socket.handle("ask", (n) => n + 1);
    socket.handle("no", () => {
      throw new HoldfastError("CONFLICT", "taken");
    });
    const ask = async (id: number, ...args: unknown[]) => {
      server.peer.send(2, args, id);
      await settle();
    };
    await ask(7, "ask", 1);
    await ask(8, "no");
    off();
    await ask(9, "ask", 1);
    expect(server.acks).toEqual([[7, ok(2)], [8, { ok: false, error: { code: "CONFLICT", message: "taken" } }]]);
  });

  it("publish", async () => {
    const { server, socket } = client();
    server.answers["room:publish"] = () => ok({ epoch: "e", offset: 3 });
    await socket.connect();
    expect(await socket.publish("r", "e", 1, { id: "i" })).toEqual({ epoch: "e", offset: 3 });
    expect(server.named("room:publish")).toEqual([{ room: "r", event: "e", data: 1, id: "i" }]);
    server.answers["room:publish"] = () => no("FORBIDDEN");
    await expect(socket.publish("r", "e")).rejects.toBeInstanceOf(HoldfastError);
  });
});
