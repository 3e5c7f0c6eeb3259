// Drives a Holdfast server with the official socket.io-client. The Go test
// calls it as: node npmclient.mjs SCENARIO TRANSPORTS < {"url","tokens","secret"…}
// An assertion that fails ends it with status 1 and the reason on stderr.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { io } from "socket.io-client";

const [scenario, transports] = [process.argv[2], process.argv[3].split(",")];
const { url, tokens, secret } = JSON.parse(readFileSync(0, "utf8"));
const open = [];

function dial(token, options = {}, namespace = "") {
  const socket = io(url + namespace, { transports, auth: { token }, forceNew: true, reconnection: false, ...options });
  open.push(socket);
  return socket;
}

const once = (emitter, event) => new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));

async function connected(token, options, namespace) {
  const socket = dial(token, options, namespace);
  const session = once(socket, "auth:session");
  await new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
  [socket.session] = await session;
  return socket;
}

// inbox keeps what a socket is told, in order, from now on.
function inbox(socket) {
  const box = { items: [], waiting: [] };
  socket.onAny((...event) => (box.waiting.length ? box.waiting.shift()(event) : box.items.push(event)));
  box.next = () => (box.items.length ? Promise.resolve(box.items.shift()) : new Promise((resolve) => box.waiting.push(resolve)));
  return box;
}

// short makes a token of alice's that is good for so many seconds from now, and not
// from the start of this program, which may take its time.
function short(seconds = 3) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: "alice", iat: now, exp: now + seconds })}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

async function ok(socket, event, ...args) {
  const answer = await socket.timeout(10_000).emitWithAck(event, ...args);
  assert.equal(answer.ok, true, `${event}: ${JSON.stringify(answer)}`);
  return answer.data;
}

const scenarios = {
  async connect() {
    const socket = await connected(tokens.alice);
    assert.equal(socket.session.user.id, "alice");
    assert.ok(socket.session.expiresIn > 3500);
    const last = transports.at(-1);
    if (socket.io.engine.transport.name !== last) await once(socket.io.engine, "upgrade");
    assert.equal(socket.io.engine.transport.name, last);
    assert.deepEqual(await ok(socket, "echo", { text: "grüße 🎉", list: [1, null, true] }), { text: "grüße 🎉", list: [1, null, true] });
  },

  async tokens() {
    for (const [name, code, message] of [
      ["wrong", "UNAUTHENTICATED", /Unauthorized/],
      ["expired", "TOKEN_EXPIRED", /^Unauthorized: token expired$/],
      ["missing", "UNAUTHENTICATED", /Unauthorized/],
      ["oversized", "UNAUTHENTICATED", /Unauthorized/],
    ]) {
      const [err] = await once(dial(tokens[name]), "connect_error");
      assert.match(err.message, message, name);
      assert.equal(err.data?.code, code, name);
    }
    // The same manager may try again with a better token.
    let token = tokens.expired;
    const socket = dial(undefined, { auth: (cb) => cb({ token }) });
    await once(socket, "connect_error");
    token = tokens.alice;
    socket.connect();
    await once(socket, "connect");
  },

  async header() {
    const socket = await connected(undefined, { auth: {}, extraHeaders: { Authorization: `Bearer ${tokens.alice}` } });
    assert.equal(socket.session.user.id, "alice");
  },

  async acks() {
    const socket = await connected(tokens.alice);
    socket.on("ask", (a, b, answer) => answer({ sum: a + b }));
    assert.equal(await ok(socket, "ask-me", { a: 2, b: 40 }), 42);
    const refused = await socket.emitWithAck("nobody:home", 1);
    assert.deepEqual(refused, { ok: false, error: { message: refused.error.message, code: "NOT_FOUND" } });
    assert.deepEqual(await new Promise((resolve) => socket.emit("raw", 1, "two", { three: 3 }, (...args) => resolve(args))), [1, "two", { three: 3 }]);
    assert.equal(await ok(socket, "echo"), null); // a missing payload arrives as null
  },

  async binary() {
    const socket = await connected(tokens.alice);
    const bytes = Buffer.from([0, 1, 2, 250, 255]);
    const [back, meta] = await new Promise((resolve) => socket.emit("raw", bytes, { in: [bytes, { deep: bytes }] }, (...args) => resolve(args)));
    assert.deepEqual(back, bytes);
    assert.deepEqual(meta, { in: [bytes, { deep: bytes }] });
    const file = await ok(socket, "upload", { name: "a.bin", body: bytes });
    assert.deepEqual(file, { name: "a.bin", size: 5, body: bytes });
    await ok(socket, "room:join", { room: "files" });
    const heard = once(socket, "file");
    await ok(socket, "room:publish", { room: "files", event: "file", data: { body: bytes } });
    const [data, where] = await heard;
    assert.deepEqual(data, { body: bytes });
    assert.equal(where.room, "files");
    const big = Buffer.alloc(60_000, 7);
    assert.deepEqual((await ok(socket, "upload", { name: "big", body: big })).body, big);
  },

  async namespaces() {
    const manager = await connected(tokens.alice, { forceNew: true });
    const admin = manager.io.socket("/admin", { auth: { token: tokens.alice } });
    open.push(admin);
    const session = once(admin, "auth:session");
    admin.connect();
    assert.equal((await session)[0].connection, manager.session.connection);
    assert.equal(await ok(admin, "where"), "/admin");
    assert.equal(await ok(manager, "where"), "/");
    const [err] = await once(dial(tokens.alice, {}, "/nowhere"), "connect_error");
    assert.equal(err.message, "Invalid namespace");
    admin.disconnect();
    assert.equal(await ok(manager, "where"), "/");
  },

  async rooms() {
    const members = await Promise.all([connected(tokens.alice), connected(tokens.bob)]);
    const logs = members.map((m) => {
      const log = [];
      m.on("n", (data, meta) => log.push([data, meta.offset, meta.from]));
      return log;
    });
    for (const m of members) await ok(m, "room:join", { room: "r" });
    await Promise.all(members.map((m, who) => Promise.all(Array.from({ length: 60 }, (_, i) => ok(m, "room:publish", { room: "r", event: "n", data: who * 1000 + i })))));
    while (logs.some((l) => l.length < 120)) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(logs[0], logs[1]); // one order
    assert.deepEqual(logs[0].map((e) => e[1]), Array.from({ length: 120 }, (_, i) => i + 1));
    const refused = await members[0].emitWithAck("room:join", { room: "secret" });
    assert.equal(refused.error.code, "FORBIDDEN");
  },

  async since() {
    const alice = await connected(tokens.alice);
    const bob = await connected(tokens.bob);
    const { epoch, offset } = await ok(alice, "room:join", { room: "s" });
    for (let i = 0; i < 20; i++) await ok(bob, "room:publish", { room: "s", event: "n", data: i });
    alice.disconnect();
    for (let i = 20; i < 40; i++) await ok(bob, "room:publish", { room: "s", event: "n", data: i });
    const again = await connected(tokens.alice);
    const log = [];
    again.on("n", (data) => log.push(data));
    const joined = await ok(again, "room:join", { room: "s", since: { epoch, offset } });
    assert.equal(joined.recovered, true);
    assert.deepEqual(log, Array.from({ length: 40 }, (_, i) => i)); // all of it came before the ack
    const lost = await ok(bob, "room:join", { room: "s", since: { epoch: "other", offset: 3 } });
    assert.equal(lost.recovered, false);
  },

  // Who is in a room, who types there, and signals: by user, whatever number
  // of tabs he has.
  async presence() {
    const room = "p";
    const bob = await connected(tokens.bob);
    const heard = inbox(bob);
    const first = await ok(bob, "room:join", { room, presence: { at: "start" } });
    const self = { id: "bob", name: "BOB", data: { at: "start" }, connections: 1 };
    assert.deepEqual(first.presence, [self]);

    const tabs = [await connected(tokens.alice), await connected(tokens.alice)];
    const said = tabs.map(inbox);
    const { presence } = await ok(tabs[0], "room:join", { room });
    assert.deepEqual(presence, [{ id: "alice", name: "ALICE", connections: 1 }, self]);
    assert.deepEqual(await heard.next(), ["presence:join", { room, user: { id: "alice", name: "ALICE" } }]);
    await ok(tabs[1], "room:join", { room, presence: { color: "rot 🎨" } }); // the same user: an update
    const user = { id: "alice", name: "ALICE", data: { color: "rot 🎨" } };
    assert.deepEqual(await heard.next(), ["presence:update", { room, user }]);
    assert.deepEqual(await ok(bob, "presence:get", { room }), [{ ...user, connections: 2 }, self]);
    user.data = { color: "blau" };
    await ok(tabs[0], "presence:update", { room, data: user.data });
    assert.deepEqual(await heard.next(), ["presence:update", { room, user }]);
    assert.deepEqual(await ok(tabs[1], "presence:get", { room }), [{ ...user, connections: 2 }, self]);

    await ok(tabs[0], "typing", { room });
    assert.deepEqual(await heard.next(), ["user_typing", { room, user: { id: "alice", name: "ALICE" } }]);

    const cursor = { x: 3, y: [4, null] };
    await ok(tabs[0], "room:signal", { room, event: "cursor", data: cursor, key: "mouse" });
    const signal = ["cursor", cursor, { room, from: "alice", key: "mouse" }];
    assert.deepEqual(await heard.next(), signal);
    assert.deepEqual(await said[1].next(), signal); // the other tab, and of all this only the signal
    tabs[0].emit("room:signal", { room, event: "plain" });
    assert.deepEqual(await heard.next(), ["plain", null, { room, from: "alice" }]);
    assert.deepEqual(await said[1].next(), ["plain", null, { room, from: "alice" }]);

    for (const [event, payload, code] of [
      ["presence:get", { room: "elsewhere" }, "FORBIDDEN"],
      ["presence:update", { room, data: "x".repeat(5000) }, "MESSAGE_TOO_LARGE"],
      ["room:publish", { room, event: "user_typing", data: {} }, "INVALID_ARGUMENT"], // nobody forges them
      ["room:signal", { room, event: "presence:join", data: {} }, "INVALID_ARGUMENT"],
    ]) {
      const refused = await tabs[0].emitWithAck(event, payload);
      assert.equal(refused.error?.code, code, `${event}: ${JSON.stringify(refused)}`);
    }

    tabs[0].disconnect(); // one tab less is nothing to tell
    await ok(tabs[1], "room:signal", { room, event: "still" });
    assert.deepEqual(await heard.next(), ["still", null, { room, from: "alice" }]);
    while ((await ok(bob, "presence:get", { room }))[0].connections > 1) await new Promise((resolve) => setTimeout(resolve, 5));
    await ok(tabs[1], "room:leave", { room });
    const [left, who] = await heard.next();
    assert.deepEqual([left, who.room, who.user.id], ["presence:leave", room, "alice"]);
    assert.deepEqual(await ok(bob, "presence:get", { room }), [self]);
    assert.deepEqual([heard.items, said[0].items, said[1].items], [[], [], []]);
  },

  // The same id is answered with the first ack, on another connection as well.
  async ids() {
    const hf = (id) => ({ $hf: { id } });
    const alice = await connected(tokens.alice);
    assert.ok(alice.session.features.includes("id"));
    const first = await ok(alice, "count", { n: 1 }, hf("one"));
    assert.deepEqual(first, { call: 1, id: "one", got: '{"n":1}' });
    assert.deepEqual(await ok(alice, "count", { n: 1 }, hf("one")), first);
    assert.equal((await ok(alice, "count", { n: 1 }, hf("two"))).call, 2);
    assert.deepEqual(await ok(alice, "count", hf("three")), { call: 3, id: "three", got: "null" });
    assert.equal((await ok(alice, "count", { n: 1 })).call, 4); // without an id, each counts
    assert.equal((await alice.emitWithAck("echo", { n: 1 }, hf("one"))).error.code, "CONFLICT");
    const twice = await Promise.all([ok(alice, "count", 5, hf("five")), ok(alice, "count", 5, hf("five"))]);
    assert.deepEqual(twice[0], twice[1]);
    assert.equal(twice[0].call, 5);
    alice.disconnect();
    const again = await connected(tokens.alice);
    assert.deepEqual(await ok(again, "count", { n: 1 }, hf("one")), first);
    const bob = await connected(tokens.bob); // whose ids are his own
    assert.equal((await ok(bob, "count", { n: 1 }, hf("one"))).call, 6);
    const published = await ok(again, "room:publish", { room: "i", event: "n", data: 1 }, hf("pub"));
    assert.deepEqual(await ok(again, "room:publish", { room: "i", event: "n", data: 1, id: "pub" }), published);
  },

  // Events keep coming while the transport is changed under them.
  async upgrade() {
    for (let round = 0; round < 10; round++) {
      const socket = await connected(tokens.alice);
      const log = [];
      socket.on("tick", (n) => log.push(n));
      await ok(socket, "ticks", 300);
      while (log.length < 300) await new Promise((resolve) => setTimeout(resolve, 2));
      assert.deepEqual(log, Array.from({ length: 300 }, (_, i) => i));
      if (transports.length > 1 && socket.io.engine.transport.name === "polling") await once(socket.io.engine, "upgrade");
      assert.equal(socket.io.engine.transport.name, transports.at(-1));
      socket.disconnect();
    }
  },

  // At the expiry the server closes so that an official client comes back.
  async expiry() {
    const calls = [() => short(), () => tokens.alice];
    const socket = dial(undefined, { auth: (cb) => cb({ token: calls.shift()() }), reconnection: true, reconnectionDelay: 10 });
    const closing = once(socket, "auth:closing");
    const expiring = once(socket, "auth:expiring");
    const disconnected = once(socket, "disconnect"); // a polling payload may hold all three
    await once(socket, "connect");
    assert.equal((await expiring)[0].reason, "expiry");
    assert.equal((await closing)[0].code, "TOKEN_EXPIRED");
    const [reason] = await disconnected;
    assert.ok(["transport close", "transport error"].includes(reason), reason);
    const session = once(socket, "auth:session");
    await once(socket, "connect");
    assert.equal((await session)[0].user.id, "alice");
  },

  async refresh() {
    const socket = await connected(short(6)); // time for a busy machine to get in, and refresh
    let closed = false;
    socket.on("disconnect", () => (closed = true));
    const data = await ok(socket, "auth:refresh", { token: tokens.alice });
    assert.ok(data.expiresIn > 3500 && data.expiresAt > Date.now());
    const refused = await socket.emitWithAck("auth:refresh", { token: tokens.bob });
    assert.equal(refused.error.code, "FORBIDDEN");
    await new Promise((resolve) => setTimeout(resolve, 7500)); // past the first token's end and grace
    assert.equal(closed, false);
    assert.equal(await ok(socket, "where"), "/");
  },

  // A drain must leave an official client reconnecting, not stopped.
  async drain() {
    const socket = await connected(tokens.alice, { reconnection: true, reconnectionDelay: 50 });
    const closing = once(socket, "auth:closing");
    const trying = once(socket.io, "reconnect_attempt");
    console.log("connected"); // the Go test now shuts the server down
    assert.equal((await closing)[0].code, "GOING_AWAY");
    await trying;
  },
};

const timer = setTimeout(() => {
  console.error(`${scenario} over ${transports}: no end in 100 s`);
  process.exit(1);
}, 100_000);
try {
  await scenarios[scenario]();
} catch (err) {
  console.error(err.stack ?? err);
  process.exitCode = 1;
}
clearTimeout(timer);
for (const socket of open) socket.disconnect();
