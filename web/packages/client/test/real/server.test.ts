// Plays against the real server: `go` has to be there.
import { WebSocket } from "ws";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Platform } from "../../src/platform.js";
import { createSocket } from "../../src/socket/socket.js";
import type { PresenceEvent, RealtimeSocket, SocketConfig, TokenSource } from "../../src/types.js";
import { build, mint, portOf, remove, start, type Running } from "./holdfast.js";

class Source implements TokenSource {
  token: string;
  refusals: string[] = [];
  readonly user: string;
  #handlers: [string, (e: any) => void][] = [];
  constructor(user: string, seconds?: number) {
    this.user = user;
    this.token = mint(user, seconds);
  }
  async getAccessToken() {
    return this.token;
  }
  async refused(token: string, error: { code: string }) {
    this.refusals.push(error.code);
    if (token === this.token) this.token = mint(this.user);
  }
  getUser() {
    return { id: this.user };
  }
  on(event: any, fn: any) {
    this.#handlers.push([event, fn]);
    return () => {};
  }
  rotate() {
    this.token = mint(this.user);
    for (const [e, fn] of this.#handlers) if (e === "refresh") fn({ accessToken: this.token, source: "self" });
  }
}

const open: RealtimeSocket[] = [];
function client(url: string, source: TokenSource, config: SocketConfig = {}, platform: Platform = { WebSocket: WebSocket as any }) {
  const socket = createSocket<any>({ url: () => url, config: { minBackoff: 50, ...config }, source, platform, withCredentials: false });
  open.push(socket);
  return socket;
}

/** Resolves at the first of what is told of that `test` is true for. */
function until<T>(subscribe: (fn: (v: T) => void) => () => void, test: (v: T) => boolean = () => true): Promise<T> {
  return new Promise((resolve) => {
    const off = subscribe((v) => {
      if (!test(v)) return;
      queueMicrotask(() => off());
      resolve(v);
    });
  });
}

describe("the real server", { timeout: 300_000 }, () => {
  let server: Running;
  beforeAll(async () => {
    build();
    server = await start();
  }, 300_000);
  afterEach(() => {
    for (const s of open.splice(0)) s.close();
  });
  afterAll(async () => {
    await server?.stop();
    remove();
  });

  it.each(["websocket", "polling"] as const)("connect, join, publish, ack, presence over %s", async (transport) => {
    const config: SocketConfig = { transports: [transport] };
    const ann = client(server.url, new Source("ann"), config);
    const bob = client(server.url, new Source("bob"), config);
    await Promise.all([ann.connect(), bob.connect()]);
    const room = ann.join(`board-${transport}`);
    const heard = until<PresenceEvent>((fn) => room.onPresence(fn), (e) => e.kind === "join");
    const { offset } = await room.joined;
    expect(ann.session?.user.id).toBe("ann");
    const event = until<any>((fn) => room.on("card", (data, meta) => fn({ data, meta })));
    const theirs = bob.join(`board-${transport}`, { presence: { at: 1 } });
    expect(await heard).toMatchObject({ kind: "join", user: { id: "bob", data: { at: 1 } } });
    await theirs.joined;
    expect(room.present.map((p) => p.id)).toEqual(["ann", "bob"]);
    expect((await room.presence()).map((p) => p.id)).toEqual(["ann", "bob"]);
    const at = await bob.publish(`board-${transport}`, "card", { n: 1 }, { id: "one" });
    expect(at.offset).toBeGreaterThan(offset);
    expect(await event).toMatchObject({ data: { n: 1 }, meta: { room: `board-${transport}`, id: "one", from: "bob", ...at } });
    expect(await bob.publish(`board-${transport}`, "card", { n: 1 }, { id: "one" })).toEqual(at);
    await expect(ann.emitAck("nobody-handles-this")).rejects.toMatchObject({ code: "NOT_FOUND" });
    const typing = until<boolean>((fn) => room.onTyping((_u, on) => fn(on)));
    theirs.typing();
    expect(await typing).toBe(true);
    const signal = until<any>((fn) => room.onSignal("cursor", (d, m) => fn([d, m.from, m.key])));
    theirs.signal("cursor", { x: 1 }, "mouse");
    expect(await signal).toEqual([{ x: 1 }, "bob", "mouse"]);
  });

  it("L40 the token rotates in place", async () => {
    const source = new Source("ann");
    const socket = client(server.url, source);
    await socket.connect();
    const room = socket.join("rotation");
    await room.joined;
    const before = socket.session!;
    source.rotate();
    await until((fn) => {
      const timer = setInterval(() => socket.session !== before && fn(0), 10);
      return () => clearInterval(timer);
    });
    expect(socket.session!.connection).toBe(before.connection);
    await socket.publish("rotation", "x", 1);
  });

  it("L43 a token that is refused is renewed once; one that ends is renewed in band", async () => {
    const source = new Source("ann", -60);
    const socket = client(server.url, source);
    await socket.connect();
    expect(source.refusals).toEqual(["TOKEN_EXPIRED"]);
    let seconds = 4;
    let short = new Source("ann", seconds);
    let other = client(server.url, short);
    await other.connect();
    // Where the machine is slow it has ended before it was shown: then it is one that lives longer.
    while (short.refusals.length) {
      short = new Source("ann", (seconds *= 2));
      other = client(server.url, short);
      await other.connect();
    }
    const expiring = until((fn) => other.on("auth:expiring", fn));
    const before = other.session;
    await expiring;
    await until((fn) => {
      const timer = setInterval(() => other.session !== before && fn(0), 10);
      return () => clearInterval(timer);
    });
    expect([short.refusals, other.state.connected]).toEqual([["TOKEN_EXPIRED"], true]);
  });

  it("L48 a restart: rooms come back, and lost history is told", async () => {
    const socket = client(server.url, new Source("ann"));
    await socket.connect();
    const room = socket.join("restart");
    await room.joined;
    const heard: unknown[] = [];
    room.on("n", (d) => heard.push(d));
    await room.publish("n", 1);
    const away = until(() => socket.subscribe(() => {}), () => true);
    void away;
    const down = until((fn) => socket.subscribe(() => fn(0)), () => !socket.state.connected);
    const reset = until((fn) => room.onReset(fn));
    await server.stop();
    await down;
    expect(socket.state.connecting).toBe(true);
    server = await start(portOf(server));
    await reset;
    await room.publish("n", 2);
    expect(await socket.emitAck("room:leave", { room: "none" })).toBeDefined();
    expect(heard).toEqual([1, 2]);
  });

  it("L48 a cut: what was missed comes once and in order", async () => {
    const sockets: WebSocket[] = [];
    class Cuttable extends WebSocket {
      constructor(url: string) {
        super(url);
        sockets.push(this);
      }
    }
    const socket = client(server.url, new Source("ann"), {}, { WebSocket: Cuttable as any });
    await socket.connect();
    const room = socket.join("cut");
    await room.joined;
    const heard: unknown[] = [];
    const third = until<unknown>((fn) => room.on("n", (d) => (heard.push(d), fn(d))), (d) => d === 3);
    const other = client(server.url, new Source("bob"));
    await other.connect();
    await other.publish("cut", "n", 1);
    sockets[0]!.terminate();
    await other.publish("cut", "n", 2);
    await other.publish("cut", "n", 3);
    await third;
    expect(heard).toEqual([1, 2, 3]);
  });

  it("bytes come back, by a WebSocket and by polling where no WebSocket can be opened", async () => {
    class Blocked {
      onclose: any;
      readyState = 0;
      constructor() {
        queueMicrotask(() => this.onclose?.({ code: 1006, reason: "", wasClean: false }));
      }
      send() {}
      close() {}
    }
    for (const [name, platform] of [["ws", { WebSocket: WebSocket as any }], ["polling", { WebSocket: Blocked as any }]] as const) {
      const socket = client(server.url, new Source("ann"), {}, platform);
      await socket.connect();
      const room = socket.join(`bytes-${name}`);
      await room.joined;
      const event = until<any>((fn) => room.on("file", fn));
      const bytes = Uint8Array.from({ length: 50_000 }, (_, i) => i);
      await room.publish("file", { name: "é", body: bytes, blob: new Blob([new Uint8Array([255, 0])]) });
      const got = await event;
      expect(got.name).toBe("é");
      expect(Buffer.compare(Buffer.from(got.body), Buffer.from(bytes))).toBe(0);
      expect([...new Uint8Array(got.blob)]).toEqual([255, 0]);
    }
  });

  it("L61 a queue: kept while away, sent once when back", async () => {
    const socket = client(server.url, new Source("ann"), { queue: { storage: "memory" } });
    const done = [1, 2, 3].map((n) => socket.publish("queue", "n", n));
    const other = client(server.url, new Source("bob"));
    await other.connect();
    const room = other.join("queue");
    await room.joined;
    const heard: unknown[] = [];
    const third = until<unknown>((fn) => room.on("n", (d) => (heard.push(d), fn(d))), (d) => d === 3);
    await socket.connect();
    expect((await Promise.all(done)).map((p) => p.epoch.length > 0)).toEqual([true, true, true]);
    await third;
    expect([heard, socket.queued, socket.dead]).toEqual([[1, 2, 3], [], []]);
  });
});
